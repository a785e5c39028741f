"""The cluster file and its includes on disk; never a file outside the cluster file's folder."""

from __future__ import annotations

import fnmatch
import os
import sys
from dataclasses import field

from gslc.edges.files import MAX_INPUT_BYTES, failed, read_input
from gslc.ir.diagnostic import Outcome
from gslc.ir.record import dataclass

STDIN = "-"
MAX_DEPTH = 16  # folders that a `**` goes down


@dataclass(slots=True, kw_only=True)
class ClusterFiles:
    """A reader of one cluster: its main file (or standard input) and what lies below its folder.

    `sources` keeps the text of each file that was read, by the name that messages use.
    """

    main: str
    sources: dict[str, bytes] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder that includes are relative to."""
        return "." if self.main == STDIN else os.path.dirname(self.main) or "."

    @property
    def name(self) -> str:
        """The main file as messages name it."""
        return "<stdin>" if self.main == STDIN else self.main

    def read_main(self) -> Outcome[bytes]:
        """The bytes of the cluster file, or of standard input."""
        if self.main == STDIN:
            data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
            if len(data) > MAX_INPUT_BYTES:
                return failed(
                    "GS862", self.name, f"standard input has more than {MAX_INPUT_BYTES} bytes", "split it with include"
                )
            outcome: Outcome[bytes] = Outcome(value=data)
        else:
            outcome = read_input(self.main)
        return self._kept(self.name, outcome)

    def read(self, path: str) -> Outcome[bytes]:
        """The bytes of an include, whose real place must lie below the folder."""
        shown = os.path.join("" if self.folder == "." else self.folder, path)
        root = os.path.realpath(self.folder)
        real = os.path.realpath(os.path.join(root, path))
        if not real.startswith(root + os.sep):
            return failed(
                "GS863", shown, f"{shown} leads out of the folder of {self.name}", "copy the file into the folder"
            )
        return self._kept(shown, read_input(shown))

    def expand(self, pattern: str) -> tuple[str, ...]:
        """The regular files below the folder that match a glob, sorted; hidden files only where the pattern says so."""
        found: set[str] = set()
        self._descend(self.folder, "", pattern.split("/"), 0, found)
        return tuple(sorted(found))

    def _descend(self, folder: str, prefix: str, parts: list[str], depth: int, found: set[str]) -> None:
        """Add the matches of the remaining parts of a pattern in one folder."""
        part, rest = parts[0], parts[1:]
        if part == "**":
            self._descend(folder, prefix, rest or ["*"], depth, found)
        for name, is_folder in entries(folder):
            hidden = name.startswith(".") and not part.startswith(".")
            path = f"{prefix}{name}"
            if hidden:
                continue
            if part == "**" and is_folder and depth < MAX_DEPTH:
                self._descend(os.path.join(folder, name), f"{path}/", parts, depth + 1, found)
            elif fnmatch.fnmatchcase(name, part):
                if rest and is_folder:
                    self._descend(os.path.join(folder, name), f"{path}/", rest, depth + 1, found)
                elif not rest and not is_folder:
                    found.add(path)

    def _kept(self, name: str, outcome: Outcome[bytes]) -> Outcome[bytes]:
        if outcome.value is not None:
            self.sources[name] = outcome.value
        return outcome


def entries(folder: str) -> list[tuple[str, bool]]:
    """The names in a folder, sorted, each with whether it is a folder; links are files, which reading judges."""
    try:
        with os.scandir(folder) as listing:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing)
    except OSError:
        return []
