"""Reaching the files of a cluster: the cluster file (or standard input) and what it includes, never outside its folder."""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass

from gslc.edges.files import MAX_INPUT_BYTES, read_input
from gslc.ir.diagnostic import Diagnostic, Outcome, Place

MAX_LISTED = 100_000  # entries that one glob may look at
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class ClusterFiles:
    """The reader of one cluster. `file` is the cluster file as the user named it, or `-`; includes are relative to its folder."""

    file: str

    @property
    def folder(self) -> str:
        """The folder that includes are relative to; the working directory for standard input."""
        return "." if self.file == STANDARD_INPUT else os.path.dirname(self.file) or "."

    def read_main(self) -> Outcome[bytes]:
        """The bytes of the cluster file."""
        if self.file != STANDARD_INPUT:
            return read_input(self.file)
        try:
            return Outcome(value=sys.stdin.buffer.read(MAX_INPUT_BYTES + 1))
        except (OSError, ValueError, AttributeError) as error:  # closed, or none was given
            return failed("GS860", self.file, f"cannot read standard input: {error}", "give the path of a cluster file")

    def read(self, path: str) -> Outcome[bytes]:
        """The bytes of an included file.

        Links are resolved first and must stay below the folder; the resolved path is then opened part by part without
        following links, so that nothing can be swapped in between.
        """
        shown = os.path.join(os.path.dirname(self.file), path) if self.file != STANDARD_INPUT else path
        root = os.path.realpath(self.folder)
        real = os.path.realpath(os.path.join(root, *path.split("/")))
        if os.path.commonpath((root, real)) != root:
            return failed("GS863", shown, f"{shown} leads out of the cluster's folder to {real}", "copy the file into the folder")
        try:
            handle = open_below(root, os.path.relpath(real, root))
        except OSError as error:
            return failed("GS860", shown, f"cannot read {shown}: {error.strerror}", "check the path and its permissions")
        with os.fdopen(handle, "rb") as file:
            return read_regular(file.fileno(), shown)

    def expand(self, pattern: str) -> tuple[str, ...]:
        """The paths below the folder that match a glob, sorted; hidden files match only patterns that name the dot."""
        found: list[str] = []
        walk(self.folder, "", pattern.split("/"), found, [MAX_LISTED])
        return tuple(sorted(set(found)))


def open_below(root: str, relative: str) -> int:
    """A handle on a file below `root`, no part of whose path is a link. Raises OSError."""
    parts = relative.split(os.sep)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)


def read_regular(handle: int, shown: str) -> Outcome[bytes]:
    """The bytes of an open regular file of a sane size."""
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        return failed("GS861", shown, f"{shown} is not a regular file", "give the path of a text file")
    if status.st_size > MAX_INPUT_BYTES:
        message = f"{shown} has {status.st_size} bytes; more than {MAX_INPUT_BYTES} are not read"
        return failed("GS862", shown, message, "split the file, and join the parts with include")
    chunks = []
    while chunk := os.read(handle, 1 << 20):
        chunks.append(chunk)
    return Outcome(value=b"".join(chunks))


def walk(folder: str, prefix: str, parts: list[str], found: list[str], left: list[int]) -> None:
    """Add to `found` what matches below one folder; `left` counts down the entries that may still be looked at."""
    head, rest = parts[0], parts[1:]
    matcher = part_matcher(head)
    for name, is_folder in listing(folder, left):
        path = f"{prefix}{name}"
        if head == "**":
            if is_folder and not name.startswith("."):
                walk(os.path.join(folder, name), f"{path}/", parts, found, left)
            continue
        if not matcher.match(name) or (name.startswith(".") and not head.startswith(".")):
            continue
        if rest and is_folder:
            walk(os.path.join(folder, name), f"{path}/", rest, found, left)
        elif not rest and not is_folder:
            found.append(path)
    if head == "**" and rest:
        walk(folder, prefix, rest, found, left)


def listing(folder: str, left: list[int]) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, and whether each is a folder itself; a folder reached by a link is not entered by `**`."""
    try:
        with os.scandir(folder) as entries:
            names = sorted((entry.name, entry.is_dir()) for entry in entries)
    except OSError:
        return []
    left[0] -= len(names)
    return names if left[0] >= 0 else []


def part_matcher(part: str) -> re.Pattern[str]:
    """The expression of one part of a glob."""
    from fnmatch import translate

    return re.compile(translate(part))


def failed(code: str, file: str, message: str, help_text: str) -> Outcome[bytes]:
    """An outcome that holds one error about a file."""
    return Outcome(value=None, diagnostics=(Diagnostic(code=code, place=Place(file=file), message=message, help=help_text),))
