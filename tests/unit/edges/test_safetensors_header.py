"""Safetensors headers: the table of a file, and what is refused."""

from __future__ import annotations

import json
import random
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import safetensors

from gslc.edges.header_cursor import HeaderError
from gslc.edges.ranges import BytesReader
from gslc.edges.safetensors_header import FIRST_READ_BYTES, SafetensorsHeader, joined_sha256, read_safetensors_header
from gslc.edges.tensor_groups import RawTensor
from gslc.ir.tensor_types import SAFETENSORS_BITS, safetensors_tensor_bytes


def header_of(raw: bytes) -> SafetensorsHeader:
    return read_safetensors_header(BytesReader(raw, "model.safetensors"))


def file_of(table: object, data: int = 0, length: int | None = None) -> bytes:
    raw = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(data)


def entry(shape: object = (2,), begin: object = 0, end: object = 8, dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": [begin, end]}


def test_a_header_gives_the_table_in_data_order() -> None:
    file = safetensors([("b", (2, 3), "BF16"), ("a", (), "F32"), ("c", (5,), "I64")])
    header = header_of(file.part(0, file.size))
    assert header.tensors == (RawTensor("b", "BF16", (2, 3)), RawTensor("a", "F32", ()), RawTensor("c", "I64", (5,)))
    assert header.header_bytes + header.data_bytes == file.size
    assert header.data_bytes == 12 + 4 + 40


def test_a_long_header_is_read_with_a_second_request() -> None:
    file = safetensors([(f"model.layers.{number}.weight", (4,), "F16") for number in range(3_000)])
    assert len(file.head) > FIRST_READ_BYTES
    assert len(header_of(file.part(0, file.size)).tensors) == 3_000


def test_types_of_four_bits_are_counted_in_half_bytes() -> None:
    assert safetensors_tensor_bytes("F4", (3, 5)) == 8
    assert safetensors_tensor_bytes("F6_E2M3", (4,)) == 3
    assert len(header_of(file_of({"a": entry((4,), 0, 2, "F4")}, 2)).tensors) == 1


def test_a_hash_over_several_files_depends_on_their_order() -> None:
    one, two = header_of(file_of({"a": entry()}, 8)), header_of(file_of({"b": entry()}, 8))
    assert joined_sha256([one]) == one.header_sha256
    assert joined_sha256([one, two]) != joined_sha256([two, one])


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    file = safetensors([("a", (4,), "F16")])
    whole = BytesReader(file.part(0, file.size), "model.safetensors")
    short = BytesReader(file.part(0, 12), "model.safetensors")
    short.size_bytes = whole.size_bytes
    with pytest.raises(HeaderError, match="the file ends here"):
        read_safetensors_header(short)


MALFORMED = {
    "empty": (b"", "header length"),
    "short": (b"\0" * 9, "header length"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "zeros": (bytes(100), "from 2 to"),
    "length beyond the file": (file_of({}, length=1000), "from 2 to"),
    "length of all ones": (b"\xff" * 100, "from 2 to"),
    "length over the limit": (struct.pack("<Q", 17 << 20) + bytes(100), "from 2 to"),
    "no JSON": (file_of(b"{nope}    "), "expected JSON"),
    "not UTF-8": (file_of(b'{"\xff\xff": 1}   '), "UTF-8"),
    "a list": (file_of(b"[]        "), "JSON object"),
    "a number": (file_of(b"12345678"), "JSON object"),
    "nesting": (file_of(b"[" * 5000), "nothing else"),
    "objects in objects": (file_of(b'{"a":' * 5000), "nothing else"),
    "many empty lists": (file_of(b"{" + b'"a":[],' * 9000), "nothing else"),
    "many numbers": (file_of(b'{"a": {"dtype": "F32", "shape": [' + b"1," * 20_000 + b"1]}}"), "nothing else"),
    "many pairs": (file_of(b"{" + b",".join(b'"k%d":1' % n for n in range(20_000)) + b"}"), "nothing else"),
    "a huge number": (file_of(b'{"a": ' + b"1" * 6000 + b"}"), "usual size"),
    "entry no object": (file_of({"a": 1}), "an object for a"),
    "no dtype": (file_of({"a": {"shape": [], "data_offsets": [0, 4]}}, 4), "dtype of the format"),
    "unknown dtype": (file_of({"a": entry(dtype="Q4")}, 8), "dtype of the format"),
    "dtype a number": (file_of({"a": entry(dtype=4)}, 8), "dtype of the format"),
    "negative dimension": (file_of({"a": entry((-2,))}, 8), "whole numbers"),
    "fractional dimension": (file_of({"a": entry((2.0,))}, 8), "whole numbers"),
    "true as dimension": (file_of({"a": entry((True,))}, 8), "whole numbers"),
    "shape a text": (file_of({"a": entry("2")}, 8), "whole numbers"),
    "nine dimensions": (file_of({"a": entry((1,) * 9)}, 8), "whole numbers"),
    "one offset": (file_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}, 8), "whole numbers"),
    "a hole": (file_of({"a": entry((2,), 4, 12)}, 12), "data offset 0"),
    "an overlap": (file_of({"a": entry(), "b": entry((2,), 4, 12)}, 12), "data offset 8"),
    "backwards": (file_of({"a": entry((2,), 0, -1)}, 8), "whole numbers"),
    "another size": (file_of({"a": entry((3,))}, 8), "expected 12 bytes for a"),
    "data cut off": (file_of({"a": entry()}, 7), "expected 8 bytes of tensors"),
    "data too long": (file_of({"a": entry()}, 9), "expected 8 bytes of tensors"),
    "empty name": (file_of({"": entry()}, 8), "printable tensor name"),
    "control character": (file_of({"a\n": entry()}, 8), "printable tensor name"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "words"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_header_is_refused_with_its_place(raw: bytes, words: str) -> None:
    with pytest.raises(HeaderError) as refused:
        header_of(raw)
    assert words in refused.value.message
    assert refused.value.name == "model.safetensors"


shapes = st.lists(st.integers(0, 9), max_size=4).map(tuple)
tables = st.lists(st.tuples(st.from_regex(r"[a-z.0-9]{1,12}", fullmatch=True), shapes, st.sampled_from(sorted(SAFETENSORS_BITS))), max_size=8, unique_by=lambda item: item[0])  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(tables)
def test_what_was_written_is_read(tensors: list[tuple[str, tuple[int, ...], str]]) -> None:
    file = safetensors(tensors)
    read = header_of(file.part(0, file.size)).tensors
    assert sorted(read) == sorted(RawTensor(name, kind, shape) for name, shape, kind in tensors)


def _mutations(count: int) -> None:
    chance = random.Random(3)
    seed = safetensors([("model.layers.0.a", (4, 4), "BF16"), ("b", (2,), "F32")])
    whole = seed.part(0, seed.size)
    for _ in range(count):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(raw))
            raw[place : place + chance.randint(0, 3)] = bytes(
                chance.randrange(256) for _ in range(chance.randint(0, 3))
            )
        with suppress(HeaderError):
            header_of(bytes(raw))


def test_mutated_headers_give_a_table_or_the_declared_error() -> None:
    _mutations(2_000)


@pytest.mark.fuzz
def test_fifty_thousand_mutated_headers_give_a_table_or_the_declared_error() -> None:
    _mutations(50_000)
