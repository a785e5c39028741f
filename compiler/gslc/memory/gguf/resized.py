"""The tensor table of another quantisation of a model, as far as the size of its file tells it.

Which tensor has which type is not known, so every figure is an upper bound: what lies together on one device is never
counted with less than it can take, and the parts may add up to more than the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

from gslc.ir.facts import GgufFacts, TensorGroup
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.types import assumed_type, is_quantized, tensor_bytes
from gslc.memory.gguf.weights import EXPERTS, INPUT_PREFIXES, INPUT_TENSORS, NOT_MATRICES

Spread: TypeAlias = Literal["together", "apart"]
Part: TypeAlias = Literal["kept", "input", "head", "expert", "other"]

# Bits of an element. The smallest type of ggml, Q1_0, has 18 bytes for 128 elements; a file below that is no
# quantisation of this model.
LEAST_BITS = 1
# llama-quantize and the recipes of bartowski and Unsloth give embeddings, the output head and the attention of models
# with experts at most Q8_0 (8.5 bits) where the file as a whole has no more, else 16 bits.
FINE = (34, 32)
FINEST = (2, 1)
# Of the recipes of llama-quantize, Q3_K_L gives the embeddings least beside the average of its file: 3.44 of 4.30 bits
# for Llama 3.1 8B, 80 %.
LEAST_INPUT = (3, 4)
# How much more than its share a run of layers takes: Q4_K_M gives the last eighth of a dense model's layers more bits.
UNEVEN = (19, 18)


def resized(facts: GgufFacts, file_bytes: int, spread: Spread) -> GgufFacts | None:
    """The facts of the same model in a file of another size; None where the size can't be that of this model.

    together: right for layouts that have all layers on one device, or all in host memory; the bytes of the file bound
    them. apart: for layers that are divided among devices and the host, each part with what it may have beyond its
    share.
    """
    table = _Table(facts, file_bytes)
    if table.budget * 8 < LEAST_BITS * table.elements:
        return None
    size_of = table.together() if spread == "together" else table.apart()
    tensors = tuple(
        group if table.parts[group] == "kept" else replace(group, type=_row_type(group, size_of(group)))
        for group in facts.tensors
    )
    # estimates are remembered by the header: this one is nobody's
    header = f"{facts.header_sha256}:{file_bytes}:{spread}" if facts.header_sha256 else ""
    return replace(facts, tensors=tensors, file_bytes=file_bytes, header_sha256=header)


def _row_type(group: TensorGroup, size_bytes: int) -> str:
    """A type whose block is one row, so that the tensor takes these bytes, rounded up to whole bytes a row."""
    rows = _elements(group) // group.shape[0]
    return assumed_type(group.shape[0], max(1, -(-size_bytes // rows)))


def _elements(group: TensorGroup) -> int:
    """Elements of one tensor of a group."""
    total = 1
    for length in group.shape:
        total *= length
    return total


class _Table:
    """The tensors by what is known of them in every quantisation, with sums in bytes and elements."""

    def __init__(self, facts: GgufFacts, file_bytes: int) -> None:
        self.parts: Mapping[TensorGroup, Part] = {group: _part_of(facts, group) for group in facts.tensors}
        self.scaled = tuple(group for group, part in self.parts.items() if part != "kept")
        kept = sum(_bytes(group) for group, part in self.parts.items() if part == "kept")
        self.tied = ModelShape(facts).tied
        self.has_experts = any(part == "expert" for part in self.parts.values())
        self.budget = file_bytes - kept  # with the header, which is small: an upper bound of the scaled tensors
        self.elements = sum(_elements(group) * group.count for group in self.scaled)
        self.known = sum(_bytes(group) for group in self.scaled)

    def together(self) -> Callable[[TensorGroup], int]:
        """Sizes whose sum on one device is at most the file: what stays on the host counts least in the rest.

        A tied table lies in both places: there it is counted with most, and the rest with what is left.
        """
        inputs = [group for group in self.scaled if self.parts[group] == "input"]
        generous = {group: min(self.fine(group), self._most(group)) for group in inputs}
        low = {group: generous[group] if self.tied else self.least(group) for group in inputs}
        left = self.budget - sum(low[group] * group.count for group in inputs)
        known = self.known - sum(_bytes(group) for group in inputs)
        return lambda group: generous[group] if group in generous else _up(_single(group) * left, known)

    def apart(self) -> Callable[[TensorGroup], int]:
        """Sizes that hold for any part of the model by itself."""
        fine = {group: self.fine(group) for group in self.scaled if self._is_fine(group)}
        least = sum(self.least(group) * group.count for group in fine)
        left = self.budget - least
        rest = [group for group in self.scaled if group not in fine]
        known = sum(_bytes(group) for group in rest)
        elements = sum(_elements(group) * group.count for group in rest)

        def size_of(group: TensorGroup) -> int:
            if group in fine:
                return fine[group]
            share = max(_up(_single(group) * left, known), _up(_elements(group) * left, elements))
            return _up(share * UNEVEN[0], UNEVEN[1])

        return size_of

    def _is_fine(self, group: TensorGroup) -> bool:
        part = self.parts[group]
        return part in ("input", "head") or (part == "other" and self.has_experts)

    def average(self, group: TensorGroup) -> int:
        """The share of a tensor by its elements."""
        return _up(_elements(group) * self.budget, self.elements)

    def least(self, group: TensorGroup) -> int:
        """What recipes give a tensor at least: embeddings less than their share, a spared tensor no less."""
        share = self.budget * _elements(group) // self.elements
        return share * LEAST_INPUT[0] // LEAST_INPUT[1] if self.parts[group] == "input" and not self.tied else share

    def fine(self, group: TensorGroup) -> int:
        """A tensor that recipes spare: its share or Q8_0, the larger; 16 bits in a file with more than Q8_0 has."""
        coarse = self.budget * FINE[1] <= self.elements * (FINE[0] + 1)
        size, block = FINE if coarse else FINEST
        return max(
            self.average(group), _up(_single(group) * self.budget, self.known), _up(_elements(group) * size, block)
        )

    def _most(self, group: TensorGroup) -> int:
        """What a tensor takes where all others have the fewest bits that there are."""
        others = self.elements - _elements(group) * group.count
        return (self.budget - others * LEAST_BITS // 8) // group.count


def _part_of(facts: GgufFacts, group: TensorGroup) -> Part:
    """kept: the same in every quantisation, as norms and biases are."""
    is_input = group.name in INPUT_TENSORS or group.name.startswith(INPUT_PREFIXES)
    kind, wide = group.type.upper(), len(group.shape) > 1
    halved = wide and kind in ("F16", "BF16")
    whole = wide and kind == "F32" and _all_whole(facts) and (is_input or not NOT_MATRICES.search(group.name))
    if not (is_quantized(kind) or halved or whole):
        return "kept"
    if is_input:
        return "input"
    if not group.blocks:
        return "head"
    return "expert" if EXPERTS.search("." + group.name.split(".", 2)[-1]) else "other"


def _all_whole(facts: GgufFacts) -> bool:
    """True for a file of F32 alone."""
    return all(group.type.upper() == "F32" for group in facts.tensors)


def _single(group: TensorGroup) -> int:
    return tensor_bytes(group.type, group.shape)


def _bytes(group: TensorGroup) -> int:
    return _single(group) * group.count


def _up(numerator: int, denominator: int) -> int:
    """A quotient, rounded up."""
    return -(-numerator // denominator) if denominator else 0
