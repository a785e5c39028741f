"""The keys of a GGUF header: scalars, texts and arrays, kept where they say something of the model's shape."""

from __future__ import annotations

import math
import struct

from gslc.edges.header_cursor import Cursor
from gslc.ir.facts import HyperValue, Scalar

KEY_LENGTH_MAX = 65_535  # the format's own limit
NESTING_MAX = 4
KEPT_TEXT_MAX = 4_096  # a longer text (a licence, a template) is no hyper-parameter
KEPT_ARRAY_MAX = 4_096
ALIGNMENT_KEY = "general.alignment"
# What keys may cost in memory and time: bytes of names and kept texts, 8 for a kept element, 64 for an array. Published
# headers cost a few thousand; without a limit 64 MiB of small keys would need gigabytes.
BUDGET = 8 * 1024 * 1024
ELEMENT_COST, ARRAY_COST = 8, 64

# Value types: name and struct letter (gguf.h, enum gguf_type).
_SCALARS: dict[int, tuple[str, str]] = {
    0: ("uint8", "B"), 1: ("int8", "b"), 2: ("uint16", "H"), 3: ("int16", "h"), 4: ("uint32", "I"), 5: ("int32", "i"),
    6: ("float32", "f"), 7: ("bool", "B"), 10: ("uint64", "Q"), 11: ("int64", "q"), 12: ("float64", "d"),
}  # fmt: skip
_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9
_FLOATS = (6, 12)
_KEPT_TOKENIZER = {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.token_type_count"}


class KeyReader:
    """Reads keys one after the other; `hyper` and `tokens` (the vocabulary's length) grow as it does."""

    def __init__(self, cursor: Cursor, order: str) -> None:
        self._cursor = cursor
        self._u32 = struct.Struct(order + "I")
        self._u64 = struct.Struct(order + "Q")
        self._structs = {code: struct.Struct(order + letter) for code, (_, letter) in _SCALARS.items()}
        self._seen: set[str] = set()
        self._budget = BUDGET
        self.hyper: dict[str, HyperValue] = {}
        self.tokens = 0

    def _spend(self, cost: int) -> None:
        self._budget -= cost
        if self._budget < 0:
            raise self._cursor.fail("expected the hyper-parameters of one model, found more than any has")

    # -------------------------------------------------------------- texts

    def _text_length(self, what: str) -> int:
        cursor = self._cursor
        place = cursor.offset
        length = cursor.number(self._u64, f"the length of {what}")
        if length > cursor.bytes_left:
            raise cursor.fail(
                f"expected {what} within the {cursor.bytes_left} bytes that are left, its length is {length}", place
            )
        return length

    def name(self, what: str, most: int) -> str:
        """A key or a tensor's name: UTF-8, not empty, not longer than the format allows."""
        place = self._cursor.offset
        length = self._text_length(what)
        if not 0 < length <= most:
            raise self._cursor.fail(f"expected {what} of 1 to {most} bytes, its length is {length}", place)
        raw = self._cursor.take(length, what)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._cursor.fail(f"expected {what} in UTF-8, found {printable(raw[:24])}", place) from None
        if not text.isprintable():
            raise self._cursor.fail(f"expected {what} without control characters, found {printable(raw[:24])}", place)
        return text

    def key_value(self) -> None:
        """Reads one key with its value."""
        cursor = self._cursor
        place = cursor.offset
        key = self.name("a key", KEY_LENGTH_MAX)
        if key in self._seen:
            raise cursor.fail(f"the key {key} stands here a second time", place)
        self._seen.add(key)
        self._spend(len(key))
        type_place = cursor.offset
        code = cursor.number(self._u32, f"the type of {key}")
        kept = not key.startswith("tokenizer.") or key in _KEPT_TOKENIZER
        if code == _ARRAY:
            self._array(key, kept)
        elif code == _STRING:
            self._string(key, kept)
        elif code in _SCALARS:
            value = self._scalar(code, key)
            if key == ALIGNMENT_KEY and code != _UINT32:
                raise cursor.fail(f"expected {key} as uint32, found {_SCALARS[code][0]}", type_place)
            if kept:
                self.hyper[key] = value
        else:
            raise cursor.fail(f"expected a value type from 0 to 12 for {key}, found {code}", type_place)

    def _scalar(self, code: int, key: str) -> Scalar:
        shape = self._structs[code]
        place = self._cursor.offset
        self._cursor.need(shape.size, f"the value of {key}")
        value = shape.unpack_from(self._cursor.window, self._cursor.at)[0]
        self._cursor.at += shape.size
        return self._checked(code, value, key, place)

    def _checked(self, code: int, value: float, key: str, place: int) -> Scalar:
        if code == _BOOL:
            if value not in (0, 1):
                raise self._cursor.fail(f"expected 0 or 1 for {key}, found {value}", place)
            return value == 1
        if code in _FLOATS and not math.isfinite(value):
            return str(value)  # JSON has no spelling for it; no engine computes memory from it
        return value

    def _string(self, key: str, kept: bool) -> None:
        place = self._cursor.offset
        length = self._text_length(f"the value of {key}")
        if not kept or length > KEPT_TEXT_MAX:
            self._cursor.skip(length, f"the value of {key}")
            return
        self._spend(length)
        raw = self._cursor.take(length, f"the value of {key}")
        try:
            self.hyper[key] = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._cursor.fail(f"expected the value of {key} in UTF-8", place) from None

    # -------------------------------------------------------------- arrays

    def _array(self, key: str, kept: bool) -> None:
        """One array; nested ones are walked with a counter of what is still open, and never kept."""
        code, count = self._array_head(key)
        if code != _ARRAY:
            self._items(key, code, count, kept)
            return
        open_arrays = [count]
        while open_arrays:
            if open_arrays[-1] == 0:
                open_arrays.pop()
                continue
            open_arrays[-1] -= 1
            place = self._cursor.offset
            code, count = self._array_head(key)
            if code != _ARRAY:
                self._items(key, code, count, kept=False)
                continue
            open_arrays.append(count)
            if len(open_arrays) >= NESTING_MAX:
                raise self._cursor.fail(f"expected arrays nested at most {NESTING_MAX} deep in {key}", place)

    def _array_head(self, key: str) -> tuple[int, int]:
        cursor = self._cursor
        self._spend(ARRAY_COST)
        place = cursor.offset
        code = cursor.number(self._u32, f"the element type of {key}")
        if code not in _SCALARS and code not in (_STRING, _ARRAY):
            raise cursor.fail(f"expected an element type from 0 to 12 for {key}, found {code}", place)
        place = cursor.offset
        count = cursor.number(self._u64, f"the length of {key}")
        smallest = 8 if code == _STRING else 12 if code == _ARRAY else self._structs[code].size
        if count > cursor.bytes_left // smallest:
            raise cursor.fail(
                f"expected {key} within the {cursor.bytes_left} bytes that are left, it declares {count} elements",
                place,
            )
        return code, count

    def _items(self, key: str, code: int, count: int, kept: bool) -> None:
        if key == "tokenizer.ggml.tokens":
            self.tokens = count
        kept = kept and count <= KEPT_ARRAY_MAX
        if kept:
            self._spend(count * ELEMENT_COST)
        if code == _STRING:
            if kept:
                self._kept_strings(key, count)
            else:
                self._skip_strings(key, count)
        elif kept:
            self.hyper[key] = tuple(self._scalar(code, key) for _ in range(count))
        else:
            self._cursor.skip(count * self._structs[code].size, f"the elements of {key}")

    def _kept_strings(self, key: str, count: int) -> None:
        texts: list[str] = []
        total = 0
        for _ in range(count):
            length = self._text_length(f"an element of {key}")
            total += length
            if total > KEPT_TEXT_MAX:
                self._cursor.skip(length, f"an element of {key}")
                self._skip_strings(key, count - len(texts) - 1)
                return
            self._spend(length)
            raw = self._cursor.take(length, f"an element of {key}")
            texts.append(raw.decode("utf-8", "replace"))
        self.hyper[key] = tuple(texts)

    def _skip_strings(self, key: str, count: int) -> None:
        """Walks over strings; the loop handles what lies whole in the window, which is nearly everything."""
        cursor = self._cursor
        unpack = self._u64.unpack_from
        while count:
            window, at = cursor.window, cursor.at
            last = len(window) - 8
            while count and at <= last:
                after = at + 8 + unpack(window, at)[0]
                if after > len(window):
                    break
                at = after
                count -= 1
            cursor.at = at
            if count:
                cursor.skip(self._text_length(f"an element of {key}"), f"an element of {key}")
                count -= 1


def printable(raw: bytes) -> str:
    """Bytes for a message, escaped."""
    return repr(raw)[1:]
