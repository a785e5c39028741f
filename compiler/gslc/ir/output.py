"""What is written: text files below the output folder."""

from __future__ import annotations

from gslc.ir.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """One file; `path` is relative to the output folder with `/`, `text` ends with a newline and has LF line ends."""

    path: str
    text: str
