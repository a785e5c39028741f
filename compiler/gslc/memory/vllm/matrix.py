"""One parameter of a model, with the way tensor parallelism splits it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gslc.ir.record import dataclass

Split: TypeAlias = Literal["column", "row", "heads", "whole", "vocabulary", "expert_column", "expert_row"]
Stage: TypeAlias = Literal["block", "first", "last"]
FLOAT32_BYTES = 4
VISION = "vision tower's "  # how the names of a tower's parameters begin: its splits have rules of their own
VOCABULARY_PADDING = 64  # vllm/model_executor/layers/vocab_parallel_embedding.py: DEFAULT_VOCAB_PADDING_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """`outputs` x `inputs` values, `repeats` times in every layer of `layers`.

    heads: the query, key and value projections side by side; key and value heads are replicated where there are fewer
    than ranks. column parts are split one by one (gate and up). whole: every rank holds all of it.
    """

    name: str
    split: Split
    outputs: int
    inputs: int = 1
    parts: tuple[int, ...] = ()  # outputs of the matrices stored side by side; () for one
    bias: bool = False
    repeats: int = 1
    layers: tuple[int, ...] = ()
    stage: Stage = "block"
    quantized: bool = False
    value_bytes: int | None = None  # None: the model's dtype
