"""Bytes of parameters on each rank of a parallel layout."""

from __future__ import annotations

import re

from gslc.ir.record import dataclass
from gslc.memory.vllm.matrices import matrices
from gslc.memory.vllm.matrix import VOCABULARY_PADDING, Matrix
from gslc.memory.vllm.quantization import matrix_bytes
from gslc.memory.vllm.shape import Shape

DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "half": 2, "float": 4, "auto": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class RankWeights:
    """What one rank holds: every tensor's size with how often it is there, for the allocator's rounding."""

    total_bytes: int
    tensors: tuple[tuple[int, int], ...]  # (bytes, how many)


def value_bytes(shape: Shape, dtype: str | None = None) -> int:
    """Bytes of one unquantised value. vLLM loads float32 checkpoints in half precision unless told otherwise."""
    if dtype in {None, "auto"}:
        return 2
    return DTYPE_BYTES.get(dtype or "", 2)


def stage_layers(layers: int, stages: int, partition: tuple[int, ...] | None = None) -> tuple[tuple[int, ...], ...]:
    """The layers of each pipeline stage: what is left over goes to the stages before the last (get_pp_indices).

    partition: the number that the user gives to each stage.
    """
    if partition is not None and len(partition) == stages and sum(partition) == layers:
        counts = list(partition)
    else:
        counts = [layers // stages] * stages
        for index in range(2, layers % stages + 2):
            counts[-index] += 1
    starts = [sum(counts[:index]) for index in range(stages)]
    return tuple(tuple(range(start, start + count)) for start, count in zip(starts, counts, strict=True))


def rank_weights(
    shape: Shape,
    tensor_parallel: int,
    pipeline_parallel: int = 1,
    *,
    dtype: str | None = None,
    expert_parallel: bool = False,
    partition: tuple[int, ...] | None = None,
) -> tuple[RankWeights, ...]:
    """Parameters of one rank of each pipeline stage, first stage first; tensor-parallel ranks are alike."""
    stages = stage_layers(shape.layers, pipeline_parallel, partition)
    parameters = matrices(shape)
    return tuple(
        _stage(shape, parameters, tensor_parallel, index, stages, value_bytes(shape, dtype), expert_parallel)
        for index in range(pipeline_parallel)
    )


def _stage(
    shape: Shape,
    parameters: tuple[Matrix, ...],
    ranks: int,
    index: int,
    stages: tuple[tuple[int, ...], ...],
    width: int,
    expert_parallel: bool,
) -> RankWeights:
    held = set(stages[index])
    first, last = index == 0, index == len(stages) - 1
    tensors: list[tuple[int, int]] = []
    for matrix in parameters:
        count = (
            len(held.intersection(matrix.layers))
            if matrix.stage == "block"
            else int(first if matrix.stage == "first" else last)
        )
        if matrix.name == "output head" and shape.tied:
            # A tied head is the embedding itself on a stage that holds both, a second copy on the last of several.
            count = int(last and not first)
        if not count:
            continue
        tensors += [(size, number * count) for size, number in _tensors(shape, matrix, ranks, width, expert_parallel)]
    return RankWeights(total_bytes=sum(size * number for size, number in tensors), tensors=tuple(tensors))


def _tensors(shape: Shape, matrix: Matrix, ranks: int, width: int, expert_parallel: bool) -> list[tuple[int, int]]:
    """(bytes, how many) of one layer's share on one rank: the matrix and its bias."""
    size = matrix.value_bytes or width
    outputs, inputs, repeats, bias_rows = rank_shape(shape, matrix, ranks, expert_parallel=expert_parallel)
    quantized = matrix.quantized and converted(shape, matrix)
    weight = (
        matrix_bytes(shape.quantization, outputs, inputs, size, parts=max(1, len(matrix.parts)))
        if quantized
        else outputs * inputs * size
    )
    # Experts of a layer lie in one tensor.
    found = [(weight * repeats, 1)]
    if matrix.bias:
        found.append((bias_rows * repeats * size, 1))
    return found


def rank_shape(shape: Shape, matrix: Matrix, ranks: int, *, expert_parallel: bool = False) -> tuple[int, int, int, int]:
    """(outputs, inputs, repeats, bias values) of a matrix on one rank, rounded up where it does not divide."""
    outputs, inputs, repeats = matrix.outputs, matrix.inputs, matrix.repeats
    if matrix.split == "vocabulary":
        rows = -(-outputs // VOCABULARY_PADDING) * VOCABULARY_PADDING if shape.family.vocabulary_padding else outputs
        return -(-rows // ranks), inputs, repeats, -(-rows // ranks)
    if matrix.split == "column":
        share = -(-outputs // ranks)
        return share, inputs, repeats, share
    if matrix.split == "row":
        return outputs, -(-inputs // ranks), repeats, outputs
    if matrix.split == "heads":
        queries, keys, values = matrix.parts
        keys_held = max(1, shape.kv_heads)
        replicated = -(-ranks // keys_held) if keys_held < ranks else 1
        share = -(-queries // ranks) + (-(-(keys * replicated) // ranks)) + (-(-(values * replicated) // ranks))
        return share, inputs, repeats, share
    if matrix.split in {"expert_column", "expert_row"}:
        if expert_parallel:
            return outputs, inputs, -(-repeats // ranks), outputs
        if matrix.split == "expert_column":
            share = -(-outputs // ranks)
            return share, inputs, repeats, share
        return outputs, -(-inputs // ranks), repeats, outputs
    return outputs, inputs, repeats, outputs


# How lists of kept modules name what a matrix is made of; those that name single layers are left to the tensor table.
KEPT_AS = {
    "query, key and value": "self_attn",
    "attention output": "self_attn",
    "query up": "self_attn",
    "query down": "self_attn",
    "key and value up": "self_attn",
    "key and value down": "self_attn",
    "shared expert up": "shared_expert",
    "shared expert down": "shared_expert",
}


def converted(shape: Shape, matrix: Matrix) -> bool:
    """Whether the checkpoint's method touches this matrix; gpt-oss quantises its experts alone."""
    quantization = shape.quantization
    if quantization.method == "mxfp4":
        return matrix.name.startswith("expert")
    part = KEPT_AS.get(matrix.name)
    kept = part is not None and any(part in word and re.search(r"\.\d+\.", word) is None for word in quantization.kept)
    return bool(quantization.method) and not kept
