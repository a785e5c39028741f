"""Numbers as people write them: sizes, whole numbers, fractions, ranges.

Every reader takes the text of a scalar and whether it was quoted, and answers the value or the Mistake. Digits are
counted before int() is called: a number of a million digits costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from gslc.frontend.mistake import Mistake, shown

T = TypeVar("T")
ScalarReader: TypeAlias = Callable[[str, bool], "T | Mistake"]

UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
MAX_SIZE_BYTES = 1 << 50  # 1 PiB: beyond any host; keeps sums far from every limit
SMALLEST_BARE_BYTES = 1 << 20  # a bare 24 was meant as 24GiB, not as 24 bytes

SIZE = re.compile(r"([0-9]{1,16})(?:\.([0-9]{1,3}))? ?([KMGT]i?B|B)\Z")
LOOSE_SIZE = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,3})?) ?([kmgt])i?b?\Z", re.IGNORECASE)
WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\Z")
FRACTION = re.compile(r"([01])(?:\.([0-9]{1,3})0*)?\Z")
TRUE_WORDS = frozenset({"yes", "on", "y", "True", "TRUE", "Yes", "On"})
FALSE_WORDS = frozenset({"no", "off", "n", "False", "FALSE", "No", "Off"})


def size(text: str, quoted: bool, *, round_up: bool = False) -> int | Mistake:
    """A size in bytes; fractions of a byte are dropped, or with round_up (for demands) counted whole."""
    found = SIZE.match(text)
    if found:
        whole, fraction, unit = found.groups()
        thousandths = int(whole) * 1000 + int((fraction or "").ljust(3, "0"))
        total = thousandths * UNITS[unit]
        bytes_ = -(-total // 1000) if round_up else total // 1000
        if bytes_ > MAX_SIZE_BYTES:
            return Mistake(
                code="GS137", message=f"is {shown(text)}; more than 1024TiB is not read", help="check the unit"
            )
        return bytes_
    if WHOLE.match(text):
        return bare_size(text, quoted)
    loose = LOOSE_SIZE.match(text)
    meant = (
        f"did you mean {loose[1]}{loose[2].upper()}iB?" if loose else "write a number with a unit: 24GiB, 80GB, 512MiB"
    )
    return Mistake(code="GS141", message=f"wants a size, not {shown(text)}", help=meant)


def bare_size(text: str, quoted: bool) -> int | Mistake:
    """A size given as a number of bytes."""
    if quoted:
        return Mistake(
            code="GS141",
            message=f"wants a size, not the text {shown(text)}",
            help=f"did you mean {text}GiB? A number of bytes stands without quotes",
        )
    number = int(text)
    if number < 0:
        return Mistake(code="GS137", message=f"can't be negative ({text})", help="write a size: 24GiB")
    if 0 < number < SMALLEST_BARE_BYTES:
        return Mistake(
            code="GS142",
            message=f"is {text}, which would be {text} bytes",
            help=f"did you mean {text}GiB?" if number < 10_000 else f"did you mean {text}MiB?",
        )
    if number > MAX_SIZE_BYTES:
        return Mistake(
            code="GS137", message=f"is {text} bytes; more than 1024TiB is not read", help="write a size: 24GiB"
        )
    return number


def positive_size(text: str, quoted: bool) -> int | Mistake:
    """A size above 0 in bytes."""
    answer = size(text, quoted)
    return Mistake(code="GS137", message="is 0", help="write what it has: 24GiB") if answer == 0 else answer


def demand_size(text: str, quoted: bool) -> int | Mistake:
    """A size that something needs, in bytes, rounded up."""
    return size(text, quoted, round_up=True)


def whole_number(minimum: int, maximum: int) -> ScalarReader[int]:
    """The reader of whole numbers from minimum to maximum."""

    def read(text: str, quoted: bool) -> int | Mistake:
        if quoted or not WHOLE.match(text):
            what = f"the text {shown(text)}" if quoted else shown(text)
            action = (
                f"write {text} without quotes"
                if quoted and WHOLE.match(text)
                else f"write a number, e.g. {max(minimum, 1)}"
            )
            return Mistake(code="GS134", message=f"wants a whole number, not {what}", help=action)
        number = int(text)
        if not minimum <= number <= maximum:
            return Mistake(
                code="GS137",
                message=f"is {number}; it must be from {minimum} to {maximum}",
                help="write a number in that range",
            )
        return number

    return read


def boolean(text: str, quoted: bool) -> bool | Mistake:
    """`true` or `false`, and no other spelling."""
    if not quoted and text in ("true", "false"):
        return text == "true"
    if text in TRUE_WORDS or (quoted and text == "true"):
        action = "write true, without quotes" if quoted else "write true"
    elif text in FALSE_WORDS or (quoted and text == "false"):
        action = "write false, without quotes" if quoted else "write false"
    else:
        action = "write true or false"
    return Mistake(code="GS135", message=f"wants true or false, not {shown(text)}", help=action)


def utilization(text: str, quoted: bool) -> int | str | Mistake:
    """A share of a GPU's memory in thousandths (1..1000), or "auto"."""
    if text == "auto":
        return "auto"
    found = FRACTION.match(text)
    if quoted or not found or len(text) > MAX_FRACTION_CHARACTERS:
        action = (
            f"did you mean 0.{text}?"
            if re.match(r"[1-9][0-9]?\Z", text)
            else "write a share of the memory, e.g. 0.9, or auto"
        )
        return Mistake(
            code="GS134",
            message=f"wants a number from 0.001 to 1 with up to three decimals, not {shown(text)}",
            help=action,
        )
    thousandths = int(found[1]) * 1000 + int((found[2] or "").ljust(3, "0"))
    if not 1 <= thousandths <= 1000:
        return Mistake(
            code="GS137", message=f"is {text}; it must be from 0.001 to 1", help="write a share of the memory, e.g. 0.9"
        )
    return thousandths


MAX_FRACTION_CHARACTERS = 12


def port_range(text: str, quoted: bool) -> tuple[int, int] | Mistake:
    """First and last port of `20000-29999`, both usable."""
    found = re.match(r"([1-9][0-9]{0,4}) ?- ?([1-9][0-9]{0,4})\Z", text)
    if not found:
        return Mistake(
            code="GS148",
            message=f"wants two ports, not {shown(text)}",
            help="write the first and the last: 20000-29999",
        )
    first, last = int(found[1]), int(found[2])
    if not first <= last <= 65535:
        return Mistake(
            code="GS148",
            message=f"is {first}-{last}; the first may not be above the last, nor the last above 65535",
            help="write, e.g. 20000-29999",
        )
    return first, last


def compute_capability(text: str, quoted: bool) -> tuple[int, int] | Mistake:
    """Major and minor number of an NVIDIA compute capability, "8.9"."""
    found = re.match(r"([1-9][0-9]?)\.([0-9])\Z", text)
    if not found:
        return Mistake(
            code="GS149", message=f"wants a compute capability, not {shown(text)}", help='write it like "8.9"'
        )
    return int(found[1]), int(found[2])
