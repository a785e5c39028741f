"""Diagnostics as people read them in a terminal: place, code, sentence, the line with a caret, and one action."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gslc.frontend.tokens import redacted
from gslc.ir.diagnostic import Diagnostic, Place, Severity

COLOURS: Mapping[str, str] = {"error": "31", "warning": "33", "note": "36", "help": "32", "frame": "34"}
MAX_EXCERPT = 160  # characters of a source line that are shown
TAB = "    "
CODE_OF_SECRETS = "GS160"  # a literal secret: its line is never shown, since logs are kept
# What could move the cursor, recolour the terminal, or reorder what is read (bidi, zero width, line separators).
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def render_text(diagnostics: tuple[Diagnostic, ...], sources: Mapping[str, str], *, colour: bool = False) -> str:
    """All diagnostics, and a line that counts them; "" for none.

    `sources` holds the text of files by the name that places use; excerpts are left out for the rest.
    """
    if not diagnostics:
        return ""
    lines = {file: text.removeprefix("\ufeff").split("\n") for file, text in sources.items()}
    for diagnostic in diagnostics:
        place = diagnostic.place
        if diagnostic.code == CODE_OF_SECRETS and 1 <= place.line <= len(lines.get(place.file, ())):
            lines[place.file][place.line - 1] = ""
    paint = Paint(colour)
    blocks = [render_one(diagnostic, lines, paint) for diagnostic in diagnostics]
    return "".join(blocks) + summary(diagnostics, paint) + "\n"


class Paint:
    """Puts text into colour, or leaves it as it is."""

    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def __call__(self, text: str, name: str, *, bold: bool = False) -> str:
        """The text in the colour of that name."""
        if not self.colour:
            return text
        return f"\x1b[{'1;' if bold else ''}{COLOURS[name]}m{text}\x1b[0m"


def render_one(diagnostic: Diagnostic, lines: Mapping[str, list[str]], paint: Paint) -> str:
    """One diagnostic, its excerpt, related places and help."""
    severity: Severity = diagnostic.severity
    head = f"{shown_place(diagnostic.place)}: {paint(f'{severity}[{diagnostic.code}]', severity, bold=True)}: "
    parts = [head + escape(diagnostic.message) + "\n", excerpt(diagnostic.place, lines, paint, severity)]
    for related in diagnostic.related:
        parts.append(f"  {shown_place(related.place)}: {paint('note', 'note')}: {escape(related.message)}\n")
        parts.append(excerpt(related.place, lines, paint, "note"))
    if diagnostic.help:
        parts.append(f"  {paint('help', 'help', bold=True)}: {escape(diagnostic.help)}\n")
    return "".join(parts)


def excerpt(place: Place, lines: Mapping[str, list[str]], paint: Paint, colour: str) -> str:
    """The line of a place with a caret below its column, or "" where the text is not known."""
    text = lines.get(place.file)
    if text is None or not 1 <= place.line <= len(text):
        return ""
    line = redacted(text[place.line - 1].rstrip("\r"))
    if not line.strip():
        return ""
    start = max(0, place.column - 1 - MAX_EXCERPT // 2) if len(line) > MAX_EXCERPT else 0
    cut = line[start : start + MAX_EXCERPT]
    before = escape(cut[: max(0, place.column - 1 - start)].replace("\t", TAB))
    number = str(place.line)
    gutter = " " * len(number)
    bar = paint("|", "frame")
    caret = paint("^", colour, bold=True)
    pad = "".join("  " if wide(character) else " " for character in before)
    shown = escape(cut.replace("\t", TAB))
    return f" {paint(number, 'frame')} {bar} {shown}\n {gutter} {bar} {pad}{caret}\n"


def wide(character: str) -> bool:
    """True for characters that take two columns in a terminal."""
    if character.isascii():
        return False
    from unicodedata import east_asian_width  # most files never need it

    return east_asian_width(character) in ("W", "F")


def shown_place(place: Place) -> str:
    """A place as editors and terminals link it."""
    return escape(f"{place.file}:{place.line}:{place.column}")


def summary(diagnostics: tuple[Diagnostic, ...], paint: Paint) -> str:
    """How many errors, warnings and notes there are."""
    counts = []
    for severity in ("error", "warning", "note"):
        count = sum(diagnostic.severity == severity for diagnostic in diagnostics)
        if count:
            counts.append(paint(f"{count} {severity}{'s' if count > 1 else ''}", severity, bold=True))
    return ", ".join(counts)


def escape(text: str) -> str:
    """Text without tokens, and without characters that a terminal would obey: they are shown by number."""
    return UNSAFE.sub(numbered, redacted(text))


def numbered(found: re.Match[str]) -> str:
    """A character as an escape."""
    character = found.group()
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    code = ord(character)
    return named.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )
