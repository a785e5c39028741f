"""GGUF headers: what a file holds, from its first bytes alone.

Bounded and iterative: nothing is allocated from a declared count, nothing recurses, and vocabularies are walked over
without being kept. Written because the reader of the `gguf` package (0.19.0) needs 10-14 s and 645-880 MiB for a
vocabulary of 128k-262k tokens, accepts 37 of 108 malformed headers, and hangs on one of 49 bytes.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gslc.edges.header_cursor import Cursor, HeaderError
from gslc.edges.ranges import RangeReader
from gslc.edges.tensor_groups import RawTensor, group_tensors
from gslc.engines.kinds import IMAGE
from gslc.ir.facts import GgufFacts, HyperValue, Scalar
from gslc.ir.tensor_types import GGML_REMOVED, GGML_TYPES, element_count

MAGIC = b"GGUF"
MAGIC_REVERSED = b"FUGG"
HEADER_LIMIT_LOCAL = 512 * 1024 * 1024
HEADER_LIMIT_REMOTE = 64 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
KEY_LENGTH_MAX = 65_535  # the format's own limit
TENSOR_NAME_MAX = 63  # GGML_MAX_NAME is 64 with its NUL
TENSOR_NAME_MAX_IMAGE = 127  # stable-diffusion.cpp builds ggml with GGML_MAX_NAME=128
COUNT_MAX = 65_536  # keys, and tensors
DIMENSIONS_MAX = 4  # GGML_MAX_DIMS
NESTING_MAX = 4
ALIGNMENT_DEFAULT = 32
ALIGNMENT_MAX = 65_536
KEPT_TEXT_MAX = 4_096  # a longer text (a licence, a template) is no hyper-parameter
KEPT_ARRAY_MAX = 4_096
TENSOR_BYTES_MAX = 1 << 62

# Value types: name and struct letter (gguf.h, enum gguf_type).
_SCALARS: dict[int, tuple[str, str]] = {
    0: ("uint8", "B"), 1: ("int8", "b"), 2: ("uint16", "H"), 3: ("int16", "h"), 4: ("uint32", "I"), 5: ("int32", "i"),
    6: ("float32", "f"), 7: ("bool", "B"), 10: ("uint64", "Q"), 11: ("int64", "q"), 12: ("float64", "d"),
}  # fmt: skip
_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9
_FLOATS = (6, 12)
_TYPE_NAMES = {kind.number: name for name, kind in GGML_TYPES.items()}
_KEPT_TOKENIZER = {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.token_type_count"}
_ALIGNMENT_KEY = "general.alignment"
IMAGE_FALLBACK = "diffusion"
_IMAGE_TENSORS = (
    "model.diffusion_model.",
    "first_stage_model.",
    "cond_stage_model.",
    "double_blocks.",
    "joint_blocks.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """The header of one file; tensors in file order."""

    name: str
    version: int
    big_endian: bool
    hyper: dict[str, HyperValue]
    vocabulary_size: int
    tensors: tuple[RawTensor, ...]
    header_bytes: int  # up to the first byte of tensor data, padding included
    header_sha256: str
    data_bytes: int  # padded sum of the tensors
    file_bytes: int


def read_header(
    reader: RangeReader, *, limit_bytes: int = HEADER_LIMIT_LOCAL, chunk_bytes: int = CHUNK_BYTES
) -> GgufHeader:
    """The header of one file; HeaderError with offset and expectation for anything that llama.cpp would not load.

    Big-endian files are read too (`big_endian` says so); no engine on amd64 or arm64 loads them.
    """
    return _Parser(Cursor(reader, limit_bytes=limit_bytes, chunk_bytes=chunk_bytes), reader.size_bytes).run()


class _Parser:
    """One pass over one header."""

    def __init__(self, cursor: Cursor, file_bytes: int) -> None:
        self._cursor = cursor
        self._file_bytes = file_bytes
        self._hyper: dict[str, HyperValue] = {}
        self._seen: set[str] = set()
        self._tokens = 0
        self._use_order("<")

    def _use_order(self, order: str) -> None:
        self._u32 = struct.Struct(order + "I")
        self._u64 = struct.Struct(order + "Q")
        self._structs = {code: struct.Struct(order + letter) for code, (_, letter) in _SCALARS.items()}
        self._order = order

    def run(self) -> GgufHeader:
        cursor = self._cursor
        version = self._version()
        tensor_count = self._count("tensor count", minimum_bytes=24)
        key_count = self._count("key count", minimum_bytes=13)
        for _ in range(key_count):
            self._key_value()
        alignment = self._alignment()
        tensors, data_bytes = self._tensors(tensor_count, alignment)
        self._padding(alignment, tensors)
        header_bytes = cursor.offset
        if data_bytes > self._file_bytes - header_bytes:
            raise cursor.fail(
                f"expected {data_bytes} bytes of tensors from here on, the file has {self._file_bytes - header_bytes}: "
                "it is cut off, or a download is not finished"
            )
        return GgufHeader(
            name=cursor.name,
            version=version,
            big_endian=self._order == ">",
            hyper=self._hyper,
            vocabulary_size=self._vocabulary_size(),
            tensors=tuple(tensors),
            header_bytes=header_bytes,
            header_sha256=cursor.digest(),
            data_bytes=data_bytes,
            file_bytes=self._file_bytes,
        )

    # -------------------------------------------------------------- preamble

    def _version(self) -> int:
        cursor = self._cursor
        magic = cursor.take(4, "the magic GGUF")
        if magic == MAGIC_REVERSED:
            raise cursor.fail("expected the magic GGUF, found it reversed", 0)
        if magic != MAGIC:
            raise cursor.fail(f"expected the magic GGUF, found {_printable(magic)}", 0)
        version = cursor.number(self._u32, "the version")
        # v3 brought big endian without a flag: such a version number has its low 16 bits clear.
        if version and not version & 0xFFFF:
            self._use_order(">")
            version = int.from_bytes(version.to_bytes(4, "little"), "big")
        if version == 1:
            raise cursor.fail(
                "expected version 2 or 3, found GGUF v1, which llama.cpp no longer loads: convert the model again", 4
            )
        if version not in (2, 3):
            raise cursor.fail(f"expected version 2 or 3, found {version}", 4)
        return version

    def _count(self, what: str, *, minimum_bytes: int) -> int:
        cursor = self._cursor
        place = cursor.offset
        count = cursor.number(self._u64, f"the {what}")
        most = min(COUNT_MAX, cursor.bytes_left // minimum_bytes)
        if count > most:
            raise cursor.fail(f"expected a {what} of at most {most}, found {count}", place)
        return count

    # -------------------------------------------------------------- keys

    def _text_length(self, what: str) -> int:
        cursor = self._cursor
        place = cursor.offset
        length = cursor.number(self._u64, f"the length of {what}")
        if length > cursor.bytes_left:
            raise cursor.fail(
                f"expected {what} within the {cursor.bytes_left} bytes that are left, its length is {length}", place
            )
        return length

    def _name(self, what: str, most: int) -> str:
        """A key or a tensor's name: UTF-8, not empty, not longer than the format allows."""
        place = self._cursor.offset
        length = self._text_length(what)
        if not 0 < length <= most:
            raise self._cursor.fail(f"expected {what} of 1 to {most} bytes, its length is {length}", place)
        raw = self._cursor.take(length, what)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._cursor.fail(f"expected {what} in UTF-8, found {_printable(raw[:24])}", place) from None
        if not text.isprintable():
            raise self._cursor.fail(f"expected {what} without control characters, found {_printable(raw[:24])}", place)
        return text

    def _key_value(self) -> None:
        cursor = self._cursor
        place = cursor.offset
        key = self._name("a key", KEY_LENGTH_MAX)
        if key in self._seen:
            raise cursor.fail(f"the key {key} stands here a second time", place)
        self._seen.add(key)
        type_place = cursor.offset
        code = cursor.number(self._u32, f"the type of {key}")
        kept = not key.startswith("tokenizer.") or key in _KEPT_TOKENIZER
        if code == _ARRAY:
            self._array(key, kept)
        elif code == _STRING:
            self._string(key, kept)
        elif code in _SCALARS:
            value = self._scalar(code, key)
            if key == _ALIGNMENT_KEY and code != _UINT32:
                raise cursor.fail(f"expected {key} as uint32, found {_SCALARS[code][0]}", type_place)
            if kept:
                self._hyper[key] = value
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
        raw = self._cursor.take(length, f"the value of {key}")
        try:
            self._hyper[key] = raw.decode("utf-8")
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
            self._tokens = count
        kept = kept and count <= KEPT_ARRAY_MAX
        if code == _STRING:
            if kept:
                self._kept_strings(key, count)
            else:
                self._skip_strings(key, count)
        elif kept:
            self._hyper[key] = tuple(self._scalar(code, key) for _ in range(count))
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
            raw = self._cursor.take(length, f"an element of {key}")
            texts.append(raw.decode("utf-8", "replace"))
        self._hyper[key] = tuple(texts)

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

    # -------------------------------------------------------------- tensors

    def _alignment(self) -> int:
        alignment = self._hyper.get(_ALIGNMENT_KEY, ALIGNMENT_DEFAULT)
        if not isinstance(alignment, int) or not 0 < alignment <= ALIGNMENT_MAX or alignment & (alignment - 1):
            raise self._cursor.fail(
                f"expected general.alignment to be a power of two up to {ALIGNMENT_MAX}, found {alignment}"
            )
        return alignment

    def _tensors(self, count: int, alignment: int) -> tuple[list[RawTensor], int]:
        """The table, and the padded sum of the tensors' bytes."""
        architecture = self._hyper.get("general.architecture", IMAGE_FALLBACK)
        longest = TENSOR_NAME_MAX_IMAGE if architecture in IMAGE else TENSOR_NAME_MAX
        tensors: list[RawTensor] = []
        names: set[str] = set()
        running = 0
        for _ in range(count):
            place = self._cursor.offset
            name = self._name("a tensor's name", longest)
            if name in names:
                raise self._cursor.fail(f"the tensor {name} stands here a second time", place)
            names.add(name)
            tensor, size = self._tensor(name)
            offset_place = self._cursor.offset
            offset = self._cursor.number(self._u64, f"the offset of {name}")
            if offset != running:
                raise self._cursor.fail(
                    f"expected {name} at data offset {running}, where the tensor before it ends, found {offset}",
                    offset_place,
                )
            running += -(-size // alignment) * alignment
            if running > TENSOR_BYTES_MAX:
                raise self._cursor.fail(f"the tensors up to {name} have more bytes than a file can hold", place)
            tensors.append(tensor)
        return tensors, running

    def _tensor(self, name: str) -> tuple[RawTensor, int]:
        """Name, type and shape of one entry, and its bytes."""
        cursor = self._cursor
        place = cursor.offset
        dimensions = cursor.number(self._u32, f"the dimension count of {name}")
        if dimensions > DIMENSIONS_MAX:
            raise cursor.fail(f"expected at most {DIMENSIONS_MAX} dimensions for {name}, found {dimensions}", place)
        place = cursor.offset
        shape = tuple(cursor.number(self._u64, f"a dimension of {name}") for _ in range(dimensions))
        if any(not 0 < dimension < TENSOR_BYTES_MAX for dimension in shape):
            raise cursor.fail(f"expected dimensions from 1 up for {name}, found {shape}", place)
        type_place = cursor.offset
        code = cursor.number(self._u32, f"the type of {name}")
        type_name = _TYPE_NAMES.get(code)
        if type_name is None:
            removed = GGML_REMOVED.get(code)
            known = (
                f"{removed}, a type that ggml removed: convert the model again"
                if removed
                else f"type {code}, which ggml doesn't have"
            )
            raise cursor.fail(f"expected a tensor type for {name}, found {known}", type_place)
        block = GGML_TYPES[type_name]
        row = shape[0] if shape else 1
        if row % block.block_elements:
            raise cursor.fail(
                f"expected rows of {name} to be a multiple of {block.block_elements} ({type_name}), found {row}", place
            )
        size = element_count(shape) // block.block_elements * block.block_bytes
        if size > TENSOR_BYTES_MAX:
            raise cursor.fail(f"{name} has more bytes than a file can hold", place)
        return RawTensor(name, type_name, shape), size

    def _padding(self, alignment: int, tensors: Sequence[RawTensor]) -> None:
        """Moves to the first byte of data. A file without tensors may end right after its keys."""
        short = -self._cursor.offset % alignment
        if tensors or short <= self._cursor.bytes_left:
            self._cursor.skip(short, "the padding before the data")

    def _vocabulary_size(self) -> int:
        if self._tokens:
            return self._tokens
        architecture = self._hyper.get("general.architecture")
        declared = self._hyper.get(f"{architecture}.vocab_size", 0)
        return declared if isinstance(declared, int) and not isinstance(declared, bool) and declared > 0 else 0


def _printable(raw: bytes) -> str:
    return repr(raw)[1:]


# ------------------------------------------------------------------ one model, several files


def gguf_facts(headers: Sequence[GgufHeader]) -> GgufFacts:
    """The facts of a model from the headers of all its files; HeaderError where they don't belong together."""
    first = headers[0]
    architecture = _architecture(first)
    for header in headers:
        if header.big_endian:
            message = f"the file is big-endian (GGUF v{header.version}), which engines refuse: convert the model again"
            raise HeaderError(header.name, 4, message)
    _check_split(headers)
    blocks = first.hyper.get(f"{architecture}.block_count", 0)
    if isinstance(blocks, bool) or not isinstance(blocks, int) or not 0 <= blocks < COUNT_MAX:
        raise HeaderError(
            first.name, 0, f"expected {architecture}.block_count to be a number of blocks, found {blocks}"
        )
    return GgufFacts(
        architecture=architecture,
        hyper=dict(sorted(first.hyper.items())),
        vocabulary_size=first.vocabulary_size,
        tensors=group_tensors(_all_tensors(headers)),
        header_sha256=_joined_sha256(headers),
        header_bytes=sum(header.header_bytes for header in headers),
        file_bytes=sum(header.file_bytes for header in headers),
    )


def _architecture(header: GgufHeader) -> str:
    """What the file says; "diffusion" for stable-diffusion.cpp's files, which are known by their tensors alone."""
    architecture = header.hyper.get("general.architecture")
    if isinstance(architecture, str) and architecture:
        return architecture
    if any(tensor.name.startswith(_IMAGE_TENSORS) for tensor in header.tensors):
        return IMAGE_FALLBACK
    raise HeaderError(header.name, 0, "expected the key general.architecture")


def _joined_sha256(headers: Sequence[GgufHeader]) -> str:
    """The header's own hash for one file; for a split the hash over the hashes of its files, in order."""
    if len(headers) == 1:
        return headers[0].header_sha256
    return hashlib.sha256("".join(header.header_sha256 for header in headers).encode("ascii")).hexdigest()


def _all_tensors(headers: Sequence[GgufHeader]) -> Iterable[RawTensor]:
    seen: set[str] = set()
    for header in headers:
        for tensor in header.tensors:
            if tensor.name in seen:
                raise HeaderError(header.name, 0, f"the tensor {tensor.name} is in an earlier file of the split too")
            seen.add(tensor.name)
            yield tensor


def _check_split(headers: Sequence[GgufHeader]) -> None:
    """llama.cpp refuses a split whose files disagree on their number, order or tensor count."""
    for index, header in enumerate(headers):
        count = header.hyper.get("split.count", 1)
        number = header.hyper.get("split.no", 0)
        if count in (0, 1) and len(headers) == 1:
            return
        if count != len(headers):
            raise HeaderError(
                header.name, 0, f"expected split.count to be the {len(headers)} files of the model, found {count}"
            )
        if number != index:
            raise HeaderError(header.name, 0, f"expected split.no {index}, found {number}")
    declared = headers[0].hyper.get("split.tensors.count")
    found = sum(len(header.tensors) for header in headers)
    if declared is not None and declared != found:
        raise HeaderError(headers[0].name, 0, f"expected {declared} tensors in all files of the split, found {found}")


def read_gguf_header(reader: RangeReader, *, limit_bytes: int = HEADER_LIMIT_LOCAL) -> GgufFacts:
    """The facts of a model that is one file; HeaderError with offset and expectation otherwise."""
    return gguf_facts([read_header(reader, limit_bytes=limit_bytes)])
