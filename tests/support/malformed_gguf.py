"""GGUF headers that no engine loads, by name: what is wrong with each, and a word that the error must hold."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from model_files import gguf, text, value_of

Case = tuple[str, bytes, str]  # name, file, a part of the message
U32, U64 = struct.Struct("<I"), struct.Struct("<Q")
HUGE = (1 << 63, (1 << 64) - 1, 1 << 62, 1 << 40, 1 << 31, 70_000)


def preamble(tensors: int, keys: int, version: int = 3) -> bytes:
    """Magic, version and counts."""
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def key(name: str | bytes, kind: int, payload: bytes) -> bytes:
    """A key with a value of any type."""
    return text(name) + U32.pack(kind) + payload


ARCHITECTURE = key("general.architecture", 8, text("llama"))


def tensor(name: str | bytes, shape: tuple[int, ...], kind: int, offset: int, dimensions: int | None = None) -> bytes:
    """An entry of the tensor table, checked by nothing."""
    count = len(shape) if dimensions is None else dimensions
    return text(name) + U32.pack(count) + b"".join(map(U64.pack, shape)) + U32.pack(kind) + U64.pack(offset)


def with_keys(*keys: bytes, room: int = 4096) -> bytes:
    """A file with these keys after the architecture, and some room behind."""
    return preamble(0, 1 + len(keys)) + ARCHITECTURE + b"".join(keys) + bytes(room)


def with_tensors(*tensors: bytes, room: int = 1 << 16) -> bytes:
    """A file with these tensors, and room for small data."""
    return preamble(len(tensors), 1) + ARCHITECTURE + b"".join(tensors) + bytes(room)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _preambles()
    yield from _keys()
    yield from _arrays()
    yield from _floods()
    yield from _tensors()
    yield from _cut_off()


def _preambles() -> Iterator[Case]:
    yield "empty", b"", "expected the magic"
    yield "three bytes", b"GGU", "expected the magic"
    yield "zeros", bytes(64), "expected the magic GGUF"
    yield "reversed magic", b"FUGG" + bytes(60), "reversed"
    for name, start in (
        ("ggml", b"lmgg"),
        ("zip", b"PK\3\4"),
        ("html", b"<!DO"),
        ("safetensors", b"\x40\0\0\0"),
    ):
        yield f"a {name} file", start + bytes(60), "expected the magic GGUF"
    yield "a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:", "git lfs pull"
    yield "magic alone", b"GGUF", "the version"
    for version in (0, 4, 5, 77, 0xFFFF, 0xFFFFFFFF):
        yield f"version {version}", b"GGUF" + struct.pack("<IQQ", version, 0, 0), "expected version 2 or 3"
    yield "version 1", b"GGUF" + struct.pack("<III", 1, 0, 0) + bytes(32), "GGUF v1"
    yield "version 1, big-endian", b"GGUF" + struct.pack(">III", 1, 0, 0) + bytes(32), "GGUF v1"
    yield "version 9, big-endian", b"GGUF" + struct.pack(">IQQ", 9, 0, 0), "expected version 2 or 3"
    yield "no counts", b"GGUF" + U32.pack(3), "tensor count"
    yield "no key count", b"GGUF" + U32.pack(3) + U64.pack(0), "key count"
    for count in HUGE:
        yield f"{count} tensors", preamble(count, 0) + bytes(200), "tensor count of at most"
        yield f"{count} keys", preamble(0, count) + bytes(200), "key count of at most"
    yield "no architecture", preamble(0, 0) + bytes(64), "general.architecture"


def _keys() -> Iterator[Case]:
    yield "empty key", with_keys(key("", 4, U32.pack(1))), "a key of 1 to"
    yield "key of 65,536 bytes", with_keys(key("k" * 65_536, 4, U32.pack(1))), "a key of 1 to"
    yield "key not UTF-8", with_keys(key(b"\xff\xfe", 4, U32.pack(1))), "UTF-8"
    yield "key with a NUL", with_keys(key("a\0b", 4, U32.pack(1))), "control characters"
    yield "key with a line break", with_keys(key("a\nb", 4, U32.pack(1))), "control characters"
    yield "key twice", with_keys(key("a", 4, U32.pack(1)), key("a", 4, U32.pack(2))), "a second time"
    yield "key of another type twice", with_keys(key("a", 4, U32.pack(1)), key("a", 8, text("x"))), "a second time"
    for length in HUGE:
        yield f"key length {length}", with_keys(U64.pack(length) + b"abc"), "key"
        yield f"text length {length}", with_keys(key("a", 8, U64.pack(length) + b"abc")), "within the"
    for kind in (13, 14, 99, 255, 1 << 16, 1 << 31):
        yield f"value type {kind}", with_keys(key("a", kind, bytes(8))), "value type"
    yield "bool of 2", with_keys(key("a", 7, b"\2")), "0 or 1"
    yield "text not UTF-8", with_keys(key("a", 8, text(b"\xc3\x28"))), "UTF-8"
    for name, kind, payload in (
        ("0", 4, U32.pack(0)), ("3", 4, U32.pack(3)), ("48", 4, U32.pack(48)), ("131072", 4, U32.pack(131_072)),
        ("u64", 10, U64.pack(32)), ("text", 8, text("32")), ("negative", 5, struct.pack("<i", -32)),
    ):  # fmt: skip
        yield f"alignment {name}", with_keys(key("general.alignment", kind, payload)), "general.alignment"
    yield "block count as text", with_keys(key("llama.block_count", 8, text("many"))), "block_count"
    yield "block count negative", with_keys(key("llama.block_count", 5, struct.pack("<i", -1))), "block_count"
    yield "block count huge", with_keys(key("llama.block_count", 10, U64.pack(1 << 60))), "block_count"
    yield (
        "architecture as number",
        preamble(0, 1) + key("general.architecture", 4, U32.pack(1)) + bytes(64),
        "general.architecture",
    )
    yield (
        "architecture empty",
        preamble(0, 1) + key("general.architecture", 8, text("")) + bytes(64),
        "general.architecture",
    )


def _floods() -> Iterator[Case]:
    """More hyper-parameters than any model has."""
    texts = [key(f"k{number}", 8, text("x" * 4000)) for number in range(2_200)]
    yield "texts of 8.8 MB", with_keys(*texts), "more than any has"
    names = [key(f"{number:04}" + "k" * 60_000, 0, b"x") for number in range(150)]
    yield "keys of 9 MB", with_keys(*names), "more than any has"
    numbers = _array(0, 4096, bytes(4096))
    yield "a million numbers", with_keys(*(key(f"k{n}", 9, numbers) for n in range(300))), "more than any has"
    yield "140,000 arrays", with_keys(key("a", 9, _array(9, 140_000, _array(0, 0) * 140_000))), "more than any has"


def _array(kind: int, count: int, payload: bytes = b"") -> bytes:
    return U32.pack(kind) + U64.pack(count) + payload


def _arrays() -> Iterator[Case]:
    for count in HUGE:
        yield f"array of {count} numbers", with_keys(key("a", 9, _array(4, count))), "elements"
        yield f"array of {count} texts", with_keys(key("a", 9, _array(8, count))), "elements"
        yield f"array of {count} arrays", with_keys(key("a", 9, _array(9, count))), "elements"
        yield f"vocabulary with a text of {count}", with_keys(
            key("tokenizer.ggml.tokens", 9, _array(8, 2, text("ok") + U64.pack(count)))
        ), "within the"  # fmt: skip
    yield "array of an unknown type", with_keys(key("a", 9, _array(13, 1))), "element type"
    yield "array of bools with a 7", with_keys(key("a", 9, _array(7, 3, b"\1\0\7"))), "0 or 1"
    deep = _array(4, 1, U32.pack(1))
    for _ in range(8):
        deep = _array(9, 1, deep)
    yield "arrays nested 9 deep", with_keys(key("a", 9, deep)), "nested"
    # 49 bytes that kept a published reader busy for ever: an array of more arrays than there are bytes.
    tight = preamble(0, 1) + key("a", 9, _array(9, 1 << 60))
    yield "49 bytes of nesting", tight[:49], "elements"
    yield "empty arrays without end", with_keys(key("a", 9, _array(9, 1000, _array(9, 0) * 10)), room=0), "elements"


def _tensors() -> Iterator[Case]:
    yield "empty tensor name", with_tensors(tensor("", (32,), 0, 0)), "name of 1 to"
    yield "tensor name of 64 bytes", with_tensors(tensor("n" * 64, (32,), 0, 0)), "name of 1 to"
    yield "tensor name not UTF-8", with_tensors(tensor(b"\xff", (32,), 0, 0)), "UTF-8"
    yield "tensor name with a bell", with_tensors(tensor("a\x07", (32,), 0, 0)), "control characters"
    yield "tensor twice", with_tensors(tensor("a", (32,), 0, 0), tensor("a", (32,), 0, 128)), "a second time"
    for dimensions in (5, 6, 100, 1 << 31, (1 << 32) - 1):
        yield f"{dimensions} dimensions", with_tensors(tensor("a", (32,) * 5, 0, 0, dimensions)), "at most 4 dimensions"
    for size in (0, 1 << 63, (1 << 64) - 1):
        yield f"dimension of {size}", with_tensors(tensor("a", (size,), 0, 0)), "dimensions from 1 up"
    yield "product over 64 bits", with_tensors(tensor("a", (1 << 32, 1 << 32), 0, 0)), "more bytes"
    yield "product that wraps to 0", with_tensors(tensor("a", (1 << 31, 1 << 31, 4), 0, 0)), "more bytes"
    yield "product of four", with_tensors(tensor("a", (1 << 20,) * 4, 0, 0)), "more bytes"
    for kind in (4, 5, 31, 32, 33, 36, 37, 38):
        yield f"removed type {kind}", with_tensors(tensor("a", (256,), kind, 0)), "removed"
    for kind in (42, 99, 1 << 31):
        yield f"unknown type {kind}", with_tensors(tensor("a", (256,), kind, 0)), "doesn't have"
    for row, kind, block in ((31, 2, 32), (33, 8, 32), (128, 12, 256), (255, 14, 256), (1, 39, 32), (32, 40, 64)):
        yield f"rows of {row} in type {kind}", with_tensors(tensor("a", (row,), kind, 0)), f"multiple of {block}"
    for offset in (32, 1, 128, 1 << 62, (1 << 64) - 1):
        yield f"first offset {offset}", with_tensors(tensor("a", (32,), 0, offset)), "at data offset 0"
    yield "hole", with_tensors(tensor("a", (32,), 0, 0), tensor("b", (32,), 0, 256)), "at data offset 128"
    yield "overlap", with_tensors(tensor("a", (32,), 0, 0), tensor("b", (32,), 0, 0)), "at data offset 128"
    yield "data cut off", with_tensors(tensor("a", (1 << 20,), 0, 0)), "cut off"
    yield "data beyond any disk", with_tensors(tensor("a", (1 << 40,), 0, 0)), "cut off"
    many = tuple(tensor(f"t{number}", (1 << 45, 1 << 13), 0, number << 60) for number in range(6))
    yield "sum over 62 bits", with_tensors(*many), "a file can hold"


def _cut_off() -> Iterator[Case]:
    whole = gguf(
        {"general.architecture": "llama", "llama.block_count": 1, "x.list": [1, 2], "x.text": "word"},
        [("blk.0.attn_q.weight", (32, 2), "Q8_0")],
        tokens=3,
    )
    for end in range(5, len(whole.head), 9):
        yield f"cut at byte {end}", whole.head[:end], ""
    yield "value cut", preamble(0, 1) + key("a", 4, b"\1"), "the value of a"
    assert value_of(1)
