"""What every command shares: exit statuses, where diagnostics go, and how a run ends."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Literal, NoReturn, TypeAlias

from gslc.ir.diagnostic import Diagnostic, Place, has_errors, sort_key
from gslc.ir.record import dataclass

Format: TypeAlias = Literal["text", "json", "github", "sarif", "markdown"]

DONE = 0
INPUT_ERROR = 1
USAGE_ERROR = 2
OUT_OF_DATE = 3
OUTSIDE_FAILED = 4  # files or network


# Warnings of what the cluster file might lead to, and the errors of what it led to: one of them is enough.
COVERED_BY = {"GS167": "GS663"}  # two hosts of one address; a replica spans them


def less_covered(diagnostics: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """The diagnostics without warnings that an error about the same places makes needless."""
    found = tuple(diagnostics)
    said = {(one.code, _places(one)) for one in found if one.severity == "error"}
    return (one for one in found if (COVERED_BY.get(one.code), _places(one)) not in said)


def _places(diagnostic: Diagnostic) -> frozenset[Place]:
    """All places that a diagnostic speaks of."""
    return frozenset((diagnostic.place, *(related.place for related in diagnostic.related)))


class Exit(Exception):
    """The run is over with this status; everything was said."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(slots=True, kw_only=True)
class Session:
    """One run of a command: collects diagnostics, prints them once as wanted, knows the sources for excerpts."""

    format: Format = "text"
    quiet: bool = False
    verbose: bool = False
    diagnostics: list[Diagnostic] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.process_time)
    timings: list[tuple[str, float]] = field(default_factory=list)
    members: Mapping[str, object] = field(default_factory=dict)  # what the command adds to the JSON envelope, empty

    def add(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Keep diagnostics for the end of the run."""
        self.diagnostics.extend(diagnostics)

    def lap(self, stage: str) -> None:
        """Note the CPU seconds since the last lap under the name of a stage."""
        now = time.process_time()
        self.timings.append((stage, now - self.started))
        self.started = now

    def finish(self, status: int, *, text: str = "", extra: Mapping[str, object] | None = None) -> NoReturn:
        """Print all that was collected and end the run.

        text goes to stdout with the formats text and markdown (unless -q); `extra` are the further members of the JSON
        envelope. An error among the diagnostics makes status 0 or 3 a 1, since 1 beats 3, unless the status is 4.
        """
        found = tuple(sorted(less_covered(dict.fromkeys(self.diagnostics)), key=sort_key))
        if self.quiet:
            found = tuple(d for d in found if d.severity == "error")
        self._print(found, text, dict(extra or {}))
        if self.verbose:
            for stage, seconds in self.timings:
                print(f"{stage:<10} {seconds:.3f} s CPU", file=sys.stderr)
        sys.stdout.flush()
        raise Exit(status)

    def fail_if_errors(self, status: int = INPUT_ERROR, *, extra: Mapping[str, object] | None = None) -> None:
        """End the run with `status` when an error was collected."""
        if has_errors(self.diagnostics):
            self.finish(status, extra=extra)

    def _print(self, found: tuple[Diagnostic, ...], text: str, extra: dict[str, object]) -> None:
        if self.format == "json":
            from gslc.report.diagnostics_json import diagnostic_object

            envelope: dict[str, object] = {"version": 1, "diagnostics": [diagnostic_object(d) for d in found]}
            envelope.update({"plan": None, "files": [], **self.members} | extra)
            print(json.dumps(envelope, ensure_ascii=False, indent=1))
            return
        if self.format == "github":
            from gslc.report.diagnostics_github import github_annotations

            sys.stdout.write(github_annotations(found))
            return
        if self.format == "sarif":
            from gslc.report.diagnostics_sarif import sarif_log

            sys.stdout.write(sarif_log(found))
            return
        if found:
            from gslc.report.diagnostics_text import render_text

            sys.stderr.write(render_text(found, self.sources, colour=wants_colour(sys.stderr)))
        if text and not self.quiet:
            sys.stdout.write(text if text.endswith("\n") else text + "\n")


def wants_colour(stream: object) -> bool:
    """True on a terminal, unless NO_COLOR is set or the terminal is dumb."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())
