"""JSON text -> checked values, with the place of what is wrong. Places cost nothing until something is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from gslc.ir.diagnostic import Place
from gslc.ir.record import dataclass

JsonPath = tuple[str | int, ...]

# 2^63 - 1: no size, port or count is larger; Python would take any number of digits.
_MAX_INTEGER = 9_223_372_036_854_775_807


class Malformed(Exception):
    """What is wrong, and where: a path into the value, or line and column of the text."""

    def __init__(self, message: str, path: JsonPath = (), line: int = 1, column: int = 1) -> None:
        """`message` starts behind "… is not JSON: " or "… is not a gslc plan: "."""
        super().__init__(message)
        self.message = message
        self.path = path
        self.line = line
        self.column = column

    def place_in(self, file: str) -> Place:
        """The place in `file`."""
        return Place(file=file, line=self.line, column=self.column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A value that was read; `value` holds what json.loads gives."""

    value: object


def parse_json(text: str) -> Parsed | Malformed:
    """The value of a JSON text. Duplicate keys, NaN, Infinity, huge numbers and deep nesting are refused."""
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        message = "the file is empty" if not text.strip() else error.msg[:1].lower() + error.msg[1:]
        return Malformed(message, line=error.lineno, column=error.colno)
    except Malformed as error:
        return error
    except RecursionError:
        return Malformed("it is nested too deep")
    except ValueError:  # Python refuses to read integers of more than 4,300 digits
        return Malformed("it holds a number of thousands of digits")
    # Half a surrogate pair can only come from an escape, and can't be printed again in any encoding.
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return Malformed("it holds half of a surrogate pair")
    return Parsed(value=value)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Malformed(f'the key "{key}" stands twice in one object')
            seen.add(key)
    return found


def _no_constant(name: str) -> object:
    raise Malformed(f"{name} is no JSON number")


@dataclass(frozen=True, slots=True)
class Reader:
    """An object of the document with its path; each method gives one member, checked, or raises Malformed."""

    value: Mapping[str, object]
    path: JsonPath = ()

    @classmethod
    def of(cls, value: object, path: JsonPath = ()) -> Reader:
        """The reader of an object."""
        if not isinstance(value, dict):
            raise Malformed(f"{_name(path)} must be an object, not {_kind(value)}", path)
        return cls(value, path)

    def malformed(self, key: str, message: str) -> Malformed:
        """The exception for a member."""
        path = (*self.path, key)
        return Malformed(f"{_name(path)} {message}", path)

    def wrong(self, key: str, wanted: str) -> Malformed:
        """The exception for a member that is missing or of another kind."""
        if key not in self.value:
            return Malformed(f'{_name(self.path)} has no "{key}"', self.path)
        return self.malformed(key, f"must be {wanted}, not {_kind(self.value[key])}")

    def child(self, key: str, *, optional: bool = False) -> Reader:
        """A member object; the empty object where it may be missing."""
        if optional and key not in self.value:
            return Reader({}, (*self.path, key))
        if not isinstance(self.value.get(key), dict):
            raise self.wrong(key, "an object")
        return Reader.of(self.value[key], (*self.path, key))

    def objects(self, key: str, *, optional: bool = False) -> list[Reader]:
        """A list of objects; empty where it may be missing."""
        if optional and key not in self.value:
            return []
        member = self.value.get(key)
        if not isinstance(member, list):
            raise self.wrong(key, "a list")
        return [Reader.of(item, (*self.path, key, number)) for number, item in enumerate(member)]

    def text(self, key: str, default: str | None = None) -> str:
        """A text; `default` where it is missing."""
        member = self.value.get(key, default)
        if not isinstance(member, str):
            raise self.wrong(key, "text")
        return member

    def text_or_none(self, key: str) -> str | None:
        """A text, or None where it is null or missing."""
        return None if self.value.get(key) is None else self.text(key)

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number; `default` where it is missing."""
        member = self.value.get(key, default)
        if not isinstance(member, int) or isinstance(member, bool):
            raise self.wrong(key, "a whole number")
        if abs(member) > _MAX_INTEGER:
            raise self.malformed(key, "is larger than any size, port or count")
        return member

    def natural(self, key: str, default: int | None = None) -> int:
        """A whole number from 0."""
        member = self.integer(key, default)
        if member < 0:
            raise self.malformed(key, "must not be negative")
        return member

    def natural_or_none(self, key: str) -> int | None:
        """A whole number from 0, or None where it is null or missing."""
        return None if self.value.get(key) is None else self.natural(key)

    def number_or_none(self, key: str) -> float | None:
        """A number from 0 to 1, or None where it is null or missing."""
        member = self.value.get(key)
        if member is None:
            return None
        if not isinstance(member, int | float) or isinstance(member, bool) or not 0 <= member <= 1:
            raise self.wrong(key, "a number from 0 to 1")
        return float(member)

    def truth(self, key: str) -> bool:
        """True or false; false where it is missing."""
        member = self.value.get(key, False)
        if not isinstance(member, bool):
            raise self.wrong(key, "true or false")
        return member

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        member = self.value.get(key)
        if not isinstance(member, list) or not all(type(item) is int for item in member):
            raise self.wrong(key, "a list of whole numbers")
        return tuple(member)

    def naturals(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers from 0."""
        member = self.integers(key)
        if any(item < 0 for item in member):
            raise self.malformed(key, "must not hold negative numbers")
        return member

    def naturals_or_none(self, key: str) -> tuple[int, ...] | None:
        """A list of whole numbers from 0, or None where it is null or missing."""
        return None if self.value.get(key) is None else self.naturals(key)

    def lists_of_naturals(self, key: str) -> tuple[tuple[int, ...], ...]:
        """A list of lists of whole numbers from 0; empty where it is missing."""
        member = self.value.get(key, [])
        if not isinstance(member, list):
            raise self.wrong(key, "a list of lists")
        items = Reader({str(number): item for number, item in enumerate(member)}, (*self.path, key))
        return tuple(items.naturals(name) for name in items.value)

    def text_list(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        member = self.value.get(key)
        if not isinstance(member, list):
            raise self.wrong(key, "a list of texts")
        items = Reader({str(number): item for number, item in enumerate(member)}, (*self.path, key))
        return tuple(items.text(name) for name in items.value)

    def texts(self, key: str) -> dict[str, str]:
        """A map of texts; empty where it is missing."""
        items = self.child(key, optional=True)
        return {name: items.text(name) for name in items.value}


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names[type(value)]


def _name(path: JsonPath) -> str:
    """A path as people write it: instances[0].shards[0].memory."""
    if not path:
        return "the document"
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


_BLANKS = re.compile(r"[ \t\n\r]*")
_VALUE = json.JSONDecoder()


def located(text: str, path: JsonPath, file: str) -> Place:
    """The place of the value at `path` in a valid JSON text, or of its nearest parent that is there."""
    offset = _skip_blanks(text, 0)
    for step in path:
        member = _member(text, offset, step)
        if member is None:
            break
        offset = member
    line = text.count("\n", 0, offset) + 1
    return Place(file=file, line=line, column=offset - (text.rfind("\n", 0, offset) + 1) + 1)


def _member(text: str, offset: int, step: str | int) -> int | None:
    """Where the member `step` of the container at `offset` starts, or None where it has none."""
    if text[offset] != ("{" if isinstance(step, str) else "["):
        return None
    index = 0
    offset = _skip_blanks(text, offset + 1)
    while text[offset] not in "]}":
        name: str | int = index
        if isinstance(step, str):
            name, offset = _VALUE.raw_decode(text, offset)
            offset = _skip_blanks(text, _skip_blanks(text, offset) + 1)  # behind the colon
        if name == step:
            return offset
        offset = _skip_blanks(text, _VALUE.raw_decode(text, offset)[1])
        if text[offset] == ",":
            offset = _skip_blanks(text, offset + 1)
        index += 1
    return None


def _skip_blanks(text: str, offset: int) -> int:
    found = _BLANKS.match(text, offset)
    return offset if found is None else found.end()
