"""Weights per rank, from the tensor table of the files where there is one, else from config.json."""

from __future__ import annotations

from gslc.ir.facts import SafetensorsFacts
from gslc.memory.vllm.shape import Shape
from gslc.memory.vllm.weights import RankWeights, rank_weights


def model_weights(
    facts: SafetensorsFacts,
    shape: Shape,
    tensor_parallel: int,
    pipeline_parallel: int,
    *,
    dtype: str,
    expert_parallel: bool = False,
) -> tuple[RankWeights, ...]:
    """Parameters of one rank of each pipeline stage, first stage first."""
    return rank_weights(shape, tensor_parallel, pipeline_parallel, dtype=dtype, expert_parallel=expert_parallel)
