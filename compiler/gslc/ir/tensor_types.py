"""Bytes of tensors by type name: the block sizes of ggml, the dtypes of safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gslc.ir.facts import TensorGroup


class GgmlType(NamedTuple):
    """A ggml type: its number in the file, how many elements make a block, and the bytes of a block."""

    number: int
    block_elements: int
    block_bytes: int


# ggml.h and ggml-common.h at llama.cpp 0c1e57098. Q8_1 is 36 bytes there (two halves and 32 bytes).
GGML_TYPES: Mapping[str, GgmlType] = {
    "F32": GgmlType(0, 1, 4),
    "F16": GgmlType(1, 1, 2),
    "Q4_0": GgmlType(2, 32, 18),
    "Q4_1": GgmlType(3, 32, 20),
    "Q5_0": GgmlType(6, 32, 22),
    "Q5_1": GgmlType(7, 32, 24),
    "Q8_0": GgmlType(8, 32, 34),
    "Q8_1": GgmlType(9, 32, 36),
    "Q2_K": GgmlType(10, 256, 84),
    "Q3_K": GgmlType(11, 256, 110),
    "Q4_K": GgmlType(12, 256, 144),
    "Q5_K": GgmlType(13, 256, 176),
    "Q6_K": GgmlType(14, 256, 210),
    "Q8_K": GgmlType(15, 256, 292),
    "IQ2_XXS": GgmlType(16, 256, 66),
    "IQ2_XS": GgmlType(17, 256, 74),
    "IQ3_XXS": GgmlType(18, 256, 98),
    "IQ1_S": GgmlType(19, 256, 50),
    "IQ4_NL": GgmlType(20, 32, 18),
    "IQ3_S": GgmlType(21, 256, 110),
    "IQ2_S": GgmlType(22, 256, 82),
    "IQ4_XS": GgmlType(23, 256, 136),
    "I8": GgmlType(24, 1, 1),
    "I16": GgmlType(25, 1, 2),
    "I32": GgmlType(26, 1, 4),
    "I64": GgmlType(27, 1, 8),
    "F64": GgmlType(28, 1, 8),
    "IQ1_M": GgmlType(29, 256, 56),
    "BF16": GgmlType(30, 1, 2),
    "TQ1_0": GgmlType(34, 256, 54),
    "TQ2_0": GgmlType(35, 256, 66),
    "MXFP4": GgmlType(39, 32, 17),
    "NVFP4": GgmlType(40, 64, 36),
    "Q1_0": GgmlType(41, 128, 18),
}

# Types that ggml once had; a file that holds them is refused by every current engine (Q4_0_4_4 and its like were
# replaced by repacking at load time in December 2024).
GGML_REMOVED: Mapping[int, str] = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}

# Bits of one element (safetensors 0.6 `Dtype`). F4 and F6 pack several elements into a byte.
SAFETENSORS_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}


def element_count(shape: tuple[int, ...]) -> int:
    """Number of elements of one tensor; 1 for a scalar."""
    product = 1
    for dimension in shape:
        product *= dimension
    return product


def ggml_tensor_bytes(type_name: str, shape: tuple[int, ...]) -> int:
    """Bytes of one GGUF tensor, without alignment padding; KeyError for an unknown type."""
    kind = GGML_TYPES[type_name]
    return element_count(shape) // kind.block_elements * kind.block_bytes


def safetensors_tensor_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of one safetensors tensor; KeyError for an unknown dtype."""
    return (element_count(shape) * SAFETENSORS_BITS[dtype] + 7) // 8


def ggml_group_bytes(group: TensorGroup) -> int:
    """Bytes of all tensors of a GGUF group, without alignment padding."""
    return group.count * ggml_tensor_bytes(group.type, group.shape)


def safetensors_group_bytes(group: TensorGroup) -> int:
    """Bytes of all tensors of a safetensors group."""
    return group.count * safetensors_tensor_bytes(group.type, group.shape)
