"""GGUF headers: what a file holds, from its first bytes alone.

Bounded and iterative: nothing is allocated from a declared count, nothing recurses, and vocabularies are walked over
without being kept. Written because the reader of the `gguf` package (0.19.0) needs 10-14 s and 645-880 MiB for a
vocabulary of 128k-262k tokens, accepts 37 of 108 malformed headers, and hangs on one of 49 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from gslc.edges.gguf_keys import ALIGNMENT_KEY, KeyReader, printable
from gslc.edges.header_cursor import LFS_POINTER, Cursor
from gslc.edges.ranges import RangeReader
from gslc.edges.tensor_groups import RawTensor
from gslc.engines.kinds import IMAGE
from gslc.ir.facts import HyperValue
from gslc.ir.record import dataclass
from gslc.ir.tensor_types import GGML_REMOVED, GGML_TYPES, element_count

MAGIC = b"GGUF"
MAGIC_REVERSED = b"FUGG"
HEADER_LIMIT = 64 * 1024 * 1024  # published headers have 0.6-16 MB; more would take seconds to walk
CHUNK_BYTES = 1024 * 1024
TENSOR_NAME_MAX = 63  # GGML_MAX_NAME is 64 with its NUL
TENSOR_NAME_MAX_IMAGE = 127  # stable-diffusion.cpp builds ggml with GGML_MAX_NAME=128
COUNT_MAX = 65_536  # keys, and tensors
DIMENSIONS_MAX = 4  # GGML_MAX_DIMS
ALIGNMENT_DEFAULT = 32
ALIGNMENT_MAX = 65_536
TENSOR_BYTES_MAX = 1 << 62
VOCABULARY_MAX = (1 << 31) - 1

_TYPE_NAMES = {kind.number: name for name, kind in GGML_TYPES.items()}
IMAGE_FALLBACK = "diffusion"


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
    data_bytes: int  # up to the end of the last tensor
    file_bytes: int


def read_header(reader: RangeReader, *, limit_bytes: int = HEADER_LIMIT, chunk_bytes: int = CHUNK_BYTES) -> GgufHeader:
    """The header of one file; HeaderError with offset and expectation for anything that llama.cpp would not load.

    Big-endian files are read too (`big_endian` says so); no engine on amd64 or arm64 loads them.
    """
    return _Parser(Cursor(reader, limit_bytes=limit_bytes, chunk_bytes=chunk_bytes), reader.size_bytes).run()


class _Parser:
    """One pass over one header."""

    def __init__(self, cursor: Cursor, file_bytes: int) -> None:
        self._cursor = cursor
        self._file_bytes = file_bytes
        self._use_order("<")

    def _use_order(self, order: str) -> None:
        self._order = order
        self._u32 = struct.Struct(order + "I")
        self._u64 = struct.Struct(order + "Q")
        self._keys = KeyReader(self._cursor, order)

    def run(self) -> GgufHeader:
        cursor = self._cursor
        version = self._version()
        tensor_count = self._count("tensor count", minimum_bytes=24)
        key_count = self._count("key count", minimum_bytes=13)
        for _ in range(key_count):
            self._keys.key_value()
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
            hyper=self._keys.hyper,
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
        if magic == LFS_POINTER[:4]:
            raise cursor.fail("expected the magic GGUF, found a Git LFS pointer: run `git lfs pull`", 0)
        if magic != MAGIC:
            raise cursor.fail(f"expected the magic GGUF, found {printable(magic)}", 0)
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

    # -------------------------------------------------------------- tensors

    def _alignment(self) -> int:
        alignment = self._keys.hyper.get(ALIGNMENT_KEY, ALIGNMENT_DEFAULT)
        if not isinstance(alignment, int) or not 0 < alignment <= ALIGNMENT_MAX or alignment & (alignment - 1):
            raise self._cursor.fail(
                f"expected general.alignment to be a power of two up to {ALIGNMENT_MAX}, found {alignment}"
            )
        return alignment

    def _tensors(self, count: int, alignment: int) -> tuple[list[RawTensor], int]:
        """The table, and where the last tensor ends in the data (not every converter pads it)."""
        architecture = self._keys.hyper.get("general.architecture", IMAGE_FALLBACK)
        longest = TENSOR_NAME_MAX_IMAGE if architecture in IMAGE else TENSOR_NAME_MAX
        tensors: list[RawTensor] = []
        names: set[str] = set()
        running = end = 0
        for _ in range(count):
            place = self._cursor.offset
            name = self._keys.name("a tensor's name", longest)
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
            end = running + size
            running += -(-size // alignment) * alignment
            if running > TENSOR_BYTES_MAX:
                raise self._cursor.fail(f"the tensors up to {name} have more bytes than a file can hold", place)
            tensors.append(tensor)
        return tensors, end

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
        if self._keys.tokens:
            return self._keys.tokens
        architecture = self._keys.hyper.get("general.architecture")
        declared = self._keys.hyper.get(f"{architecture}.vocab_size", 0)
        if isinstance(declared, bool) or not isinstance(declared, int) or not 0 < declared <= VOCABULARY_MAX:
            return 0
        return declared
