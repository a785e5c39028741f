"""Sizes of ggml's tensor types."""

from __future__ import annotations

from gslc.ir.tensor_types import GGML_TYPES

BLOCKS = {name: (kind.block_elements, kind.block_bytes) for name, kind in GGML_TYPES.items()}
UNKNOWN_TYPE = (1, 4)  # no type of ggml is wider per element than F32, F64 and I64 apart: an upper bound


def is_known(type_name: str) -> bool:
    """True when the size of the type is known."""
    return type_name.upper() in BLOCKS


def block_elements(type_name: str) -> int:
    """Elements in one block of the type."""
    return BLOCKS.get(type_name.upper(), UNKNOWN_TYPE)[0]


def is_quantized(type_name: str) -> bool:
    """True for the types that store several elements in one block."""
    return block_elements(type_name) > 1


def row_bytes(type_name: str, elements: int) -> int:
    """Bytes of a row; a row that is no whole number of blocks is rounded up."""
    block, size = BLOCKS.get(type_name.upper(), UNKNOWN_TYPE)
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
