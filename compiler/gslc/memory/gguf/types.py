"""Sizes of ggml's tensor types."""

from __future__ import annotations

# (elements per block, bytes per block): ggml/src/ggml.c `type_traits` and ggml-common.h, ggml 0.25-0.27.
BLOCKS: dict[str, tuple[int, int]] = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "F64": (1, 8),
    "I8": (1, 1),
    "I16": (1, 2),
    "I32": (1, 4),
    "I64": (1, 8),
    "Q1_0": (128, 18),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q8_1": (32, 40),
    "Q2_K": (256, 84),
    "Q3_K": (256, 110),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    "Q8_K": (256, 292),
    "IQ1_S": (256, 50),
    "IQ1_M": (256, 56),
    "IQ2_XXS": (256, 66),
    "IQ2_XS": (256, 74),
    "IQ2_S": (256, 82),
    "IQ3_XXS": (256, 98),
    "IQ3_S": (256, 110),
    "IQ4_NL": (32, 18),
    "IQ4_XS": (256, 136),
    "TQ1_0": (256, 54),
    "TQ2_0": (256, 66),
    "MXFP4": (32, 17),
    "NVFP4": (64, 36),
}
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
