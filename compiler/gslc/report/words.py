"""Words and figures as all reports print them."""

from __future__ import annotations

import re
from collections.abc import Sequence

GIB = 1 << 30
MIB = 1 << 20

# Control characters could drive a terminal; bidirectional and invisible ones make text look like other text.
_HOSTILE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with control, bidirectional and invisible characters shown as escapes."""
    return _HOSTILE.sub(lambda found: found.group().encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def size(amount: int) -> str:
    """Bytes in words: GiB with one decimal, whole MiB below 1 GiB, bytes below 1 MiB. Rounded to nearest, halves up."""
    if amount < 0:
        return f"-{size(-amount)}"
    mebibytes = (amount + MIB // 2) // MIB
    if mebibytes >= 1024:
        tenths = (amount * 10 + GIB // 2) // GIB
        return f"{tenths // 10:,}.{tenths % 10} GiB"
    if amount >= MIB:
        return f"{mebibytes} MiB"
    return f"{amount} B" if amount else "0"


def signed_size(amount: int) -> str:
    """A difference in bytes with its sign."""
    return size(amount) if amount < 0 else f"+{size(amount)}"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(names: list[str], limit: int = 12) -> str:
    """Names joined by commas; behind `limit` only how many more there are."""
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit:,} more"


def table(rows: Sequence[tuple[str, ...]], right: frozenset[int] = frozenset(), indent: str = "") -> list[str]:
    """Rows in aligned columns two blanks apart; columns in `right` are aligned to the right. Nothing trails a line."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines
