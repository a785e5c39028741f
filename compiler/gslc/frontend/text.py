"""The text of a file: UTF-8 of a bounded size, without characters that a reviewer would not see; places in it."""

from __future__ import annotations

import re
from bisect import bisect_right

from gslc.ir.diagnostic import Diagnostic, Place

MAX_TEXT_BYTES = 16 * 1024 * 1024  # a file with 10,000 hosts of 8 cards and 20,000 models has 11 MB
BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
ASCII_ALLOWED = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F)])
# Controls, and characters that hide or reorder what a reviewer sees (bidi marks, zero width, line separators, tags),
# surrogates and noncharacters. U+200C and U+200D are left in: scripts and emoji in comments need them.
UNSEEN = (
    "\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U000e0000-\U000e007f"
)
FORBIDDEN = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f{UNSEEN}]|\r(?!\n)")


def place_at(file: str, line_starts: list[int], offset: int) -> Place:
    """The place of a character offset."""
    line = bisect_right(line_starts, offset)
    return Place(file=file, line=line, column=offset - line_starts[line - 1] + 1)


def place_in(file: str, text: str, offset: int) -> Place:
    """The place of a character offset, counted from the start of the text."""
    return Place(file=file, line=text.count("\n", 0, offset) + 1, column=offset - text.rfind("\n", 0, offset))


def decode(data: str | bytes, file: str) -> str | Diagnostic:
    """The text without its byte order mark, or why it is none."""
    if len(data) > MAX_TEXT_BYTES:
        return Diagnostic(
            code="GS103",
            message=f"{file} has {len(data):,} bytes; more than {MAX_TEXT_BYTES:,} are not read",
            place=Place(file=file),
            help="split the file and join the parts with include",
        )
    if isinstance(data, str):
        text = data
    else:
        for mark, encoding in BYTE_ORDER_MARKS.items():
            if data.startswith(mark):
                return Diagnostic(
                    code="GS101",
                    message=f"{file} is {encoding}; gslc reads UTF-8",
                    place=Place(file=file),
                    help=f"save it as UTF-8, e.g. iconv -f {encoding} -t UTF-8",
                )
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8")
            return Diagnostic(
                code="GS101",
                message=f"byte 0x{data[error.start]:02x} is not UTF-8 ({error.reason})",
                place=place_in(file, before, len(before)),
                help="save the file as UTF-8",
            )
    text = text.removeprefix("\ufeff")
    return unseen_character(text, file) or text


def unseen_character(text: str, file: str) -> Diagnostic | None:
    """The first character that a reviewer would not see, as a diagnostic."""
    if text.isascii() and "\r" not in text and not text.encode("ascii").translate(None, ASCII_ALLOWED):
        return None
    found = FORBIDDEN.search(text)
    if found is None:
        return None
    return Diagnostic(
        code="GS102",
        message=f"the character {describe_character(found.group())} is not allowed",
        place=place_in(file, text, found.start()),
        help="remove it; in double quotes, \\n and \\t stand for a line break and a tab",
    )


def describe_character(character: str) -> str:
    """A character by number, for those that can't be shown."""
    names = {"\0": " (NUL)", "\r": " (carriage return)", "\x7f": " (delete)", "\x1b": " (escape)"}
    return f"U+{ord(character):04X}{names.get(character, '')}"
