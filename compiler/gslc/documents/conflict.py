"""The two sides of a file that Git left with conflict markers."""

from __future__ import annotations

import re

_LINE = re.compile(r"[^\n]*\n|[^\n]+")  # str.splitlines knows nine more line ends


def sides_of(text: str) -> tuple[str, str] | None:
    """The text with our side of every conflict and with theirs; None without a conflict, or where markers don't pair.

    Both `merge.conflictStyle` forms are read: in diff3 and zdiff3 the common ancestor stands between `|||||||` and
    `=======`, and belongs to neither side.
    """
    ours: list[str] = []
    theirs: list[str] = []
    at = "outside"
    found = False
    for line in _LINE.findall(text):
        if line.startswith("<<<<<<< ") and at == "outside":
            at, found = "ours", True
        elif line.startswith("|||||||") and at == "ours":
            at = "base"
        elif line.rstrip("\r\n") == "=======" and at in ("ours", "base"):
            at = "theirs"
        elif line.startswith(">>>>>>> ") and at == "theirs":
            at = "outside"
        else:
            if at in ("outside", "ours"):
                ours.append(line)
            if at in ("outside", "theirs"):
                theirs.append(line)
    return ("".join(ours), "".join(theirs)) if found and at == "outside" else None
