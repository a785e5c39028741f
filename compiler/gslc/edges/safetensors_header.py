"""Safetensors headers: the tensor table of a file from its first bytes alone.

The format: u64 little-endian length, that many bytes of JSON (name -> dtype, shape, data_offsets), then the data, which
the tensors cover without holes (safetensors 0.6, `SafeTensors::read_metadata`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from gslc.edges.header_cursor import LFS_POINTER, HeaderError
from gslc.edges.ranges import RangeReader
from gslc.edges.tensor_groups import RawTensor
from gslc.ir.record import dataclass
from gslc.ir.tensor_types import SAFETENSORS_BITS, safetensors_tensor_bytes

# Published shards have headers of 10-200 KB; one file with 100,000 tensors has 12 MB. The format allows 100 MB.
HEADER_MAX = 16 * 1024 * 1024
TENSORS_MAX = 65_536
FIRST_READ_BYTES = 128 * 1024
DIMENSIONS_MAX = 8
NAME_MAX = 1_024
DATA_MAX = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsHeader:
    """The header of one file; tensors in data order."""

    name: str
    tensors: tuple[RawTensor, ...]
    header_sha256: str
    header_bytes: int  # with the length in front
    data_bytes: int


def read_safetensors_header(reader: RangeReader) -> SafetensorsHeader:
    """The header of one file; HeaderError with offset and expectation for anything malformed."""
    raw = _header_bytes(reader)
    table = _parse(reader.name, raw[8:])
    data_bytes = reader.size_bytes - len(raw)
    tensors = _tensors(reader.name, table, data_bytes)
    return SafetensorsHeader(
        name=reader.name,
        tensors=tensors,
        header_sha256=hashlib.sha256(raw).hexdigest(),
        header_bytes=len(raw),
        data_bytes=data_bytes,
    )


def _header_bytes(reader: RangeReader) -> bytes:
    """Length field and JSON, read with one request where the header is of usual size."""
    if reader.size_bytes < 10:
        raise HeaderError(
            reader.name, 0, f"expected a header length and a header, the file has {reader.size_bytes} bytes"
        )
    raw = reader.read(0, min(FIRST_READ_BYTES, reader.size_bytes))
    if raw.startswith(LFS_POINTER):
        raise HeaderError(reader.name, 0, "expected a header, found a Git LFS pointer: run `git lfs pull`")
    length = int.from_bytes(raw[:8], "little")
    most = min(HEADER_MAX, reader.size_bytes - 8)
    if not 2 <= length <= most:
        raise HeaderError(reader.name, 0, f"expected a header length from 2 to {most}, found {length}")
    missing = 8 + length - len(raw)
    if missing > 0:
        raw += reader.read(len(raw), missing)
    if len(raw) < 8 + length:
        raise HeaderError(reader.name, len(raw), f"expected a header of {length} bytes, the file ends here")
    return raw[: 8 + length]


def _parse(name: str, raw: bytes) -> dict[str, object]:
    """The JSON object; its brackets are counted before it is parsed.

    A table has two lists and one object a tensor, so a text with more, which could fill the memory, is refused.
    """
    entries = raw.count(b'"dtype"')
    # A tensor has three members, and at most eight dimensions and two offsets; beside the table there is only
    # __metadata__, a few short pairs (16,384 commas and colons leave room for them).
    crowded = raw.count(b"[") > 2 * entries + 2 or raw.count(b"{") > entries + 2
    crowded = crowded or max(raw.count(b","), raw.count(b":")) > 12 * entries + 16_384
    if entries > TENSORS_MAX or crowded:
        raise HeaderError(name, 8, f"expected a table of at most {TENSORS_MAX} tensors and nothing else")
    try:
        table: object = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as wrong:
        raise HeaderError(name, 8 + wrong.start, "expected UTF-8") from None
    except json.JSONDecodeError as wrong:
        raise HeaderError(name, 8 + wrong.pos, f"expected JSON: {wrong.msg}") from None
    except (RecursionError, ValueError):
        raise HeaderError(name, 8, "expected JSON with flat entries and numbers of usual size") from None
    if not isinstance(table, dict):
        raise HeaderError(name, 8, "expected a JSON object")
    table.pop("__metadata__", None)
    return table


def _tensors(name: str, table: dict[str, object], data_bytes: int) -> tuple[RawTensor, ...]:
    entries = sorted((_entry(name, key, value) for key, value in table.items()), key=lambda entry: (entry[0], entry[1]))
    running = 0
    for begin, end, tensor in entries:
        if begin != running or end < begin:
            raise HeaderError(name, 8, f"expected {tensor.name} at data offset {running}, found {begin} to {end}")
        size = safetensors_tensor_bytes(tensor.type, tensor.shape)
        if end - begin != size:
            raise HeaderError(
                name,
                8,
                f"expected {size} bytes for {tensor.name} ({tensor.type} {list(tensor.shape)}), found {end - begin}",
            )
        running = end
    if running != data_bytes:
        raise HeaderError(name, 8, f"expected {running} bytes of tensors after the header, the file has {data_bytes}")
    return tuple(tensor for _, _, tensor in entries)


def _entry(name: str, key: str, value: object) -> tuple[int, int, RawTensor]:
    if not 0 < len(key) <= NAME_MAX or not key.isprintable():
        raise HeaderError(
            name, 8, f"expected a printable tensor name of 1 to {NAME_MAX} characters, found {key[:40]!r}"
        )
    if not isinstance(value, dict):
        raise HeaderError(name, 8, f"expected an object for {key}")
    dtype, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in SAFETENSORS_BITS:
        raise HeaderError(name, 8, f"expected a dtype of the format for {key}, found {str(dtype)[:40]!r}")
    numbers = _numbers(shape, DIMENSIONS_MAX)
    span = _numbers(offsets, 2)
    if numbers is None or span is None or len(span) != 2:
        raise HeaderError(name, 8, f"expected whole numbers as shape and data_offsets of {key}")
    return span[0], span[1], RawTensor(key, dtype, numbers)


def _numbers(value: object, most: int) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > most:
        return None
    if not all(type(number) is int and 0 <= number < DATA_MAX for number in value):
        return None
    return tuple(value)


def joined_sha256(headers: Sequence[SafetensorsHeader]) -> str:
    """One file's own header hash, else the hash over the hashes of all files in order."""
    if len(headers) == 1:
        return headers[0].header_sha256
    return hashlib.sha256("".join(header.header_sha256 for header in headers).encode("ascii")).hexdigest()
