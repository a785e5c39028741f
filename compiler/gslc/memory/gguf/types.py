"""Sizes of ggml's tensor types."""

from __future__ import annotations

import re
from functools import lru_cache

from gslc.ir.tensor_types import GGML_TYPES

BLOCKS = {name: (kind.block_elements, kind.block_bytes) for name, kind in GGML_TYPES.items()}
UNKNOWN_TYPE = (1, 4)  # no type of ggml is wider per element than F32, F64 and I64 apart: an upper bound
_ASSUMED = re.compile(r"ANY(?P<elements>[1-9]\d*):(?P<bytes>[1-9]\d*)\Z", re.ASCII)


def assumed_type(elements: int, size_bytes: int) -> str:
    """The name of a type that is not known by name: `elements` of it take `size_bytes`."""
    return f"ANY{elements}:{size_bytes}"


@lru_cache(maxsize=1024)
def block_of(type_name: str) -> tuple[int, int]:
    """Elements and bytes of one block of the type; those of the widest usual type where it is not known."""
    known = BLOCKS.get(type_name.upper())
    if known is not None:
        return known
    assumed = _ASSUMED.match(type_name)
    return UNKNOWN_TYPE if assumed is None else (int(assumed["elements"]), int(assumed["bytes"]))


def is_assumed(type_name: str) -> bool:
    """True for a type that only stands for a size."""
    return _ASSUMED.match(type_name) is not None


def is_known(type_name: str) -> bool:
    """True when the size of the type is known."""
    return type_name.upper() in BLOCKS or is_assumed(type_name)


def block_elements(type_name: str) -> int:
    """Elements in one block of the type."""
    return block_of(type_name)[0]


def is_quantized(type_name: str) -> bool:
    """True for the types that store several elements in one block."""
    return block_elements(type_name) > 1


def row_bytes(type_name: str, elements: int) -> int:
    """Bytes of a row; a row that is no whole number of blocks is rounded up."""
    block, size = block_of(type_name)
    return -(-elements // block) * size


def tensor_bytes(type_name: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor whose fastest dimension comes first, as ggml_nbytes counts them."""
    total = row_bytes(type_name, shape[0]) if shape else 0
    for length in shape[1:]:
        total *= length
    return total


def pad(value: int, step: int) -> int:
    """`value` rounded up to a multiple of `step`."""
    return -(-value // step) * step
