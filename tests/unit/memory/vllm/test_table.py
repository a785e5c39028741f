"""Weights from the tensor table are those of the real layers, too."""

from __future__ import annotations

import json

import pytest
from tests.support.vllm_models import TRUTH, files_of

from gslc.ir.facts import TensorGroup
from gslc.memory.vllm.legality import Terms, refusals
from gslc.memory.vllm.shape import read_shape
from gslc.memory.vllm.table import model_weights, table_rule
from gslc.memory.vllm.weights import rank_weights

TABLES: dict[str, list[tuple[str, str, list[int], list[int], int]]] = json.loads(
    (TRUTH / "vllm_tables.json").read_text(encoding="utf-8")
)["tables"]
LAYOUTS = [(1, 1), (2, 1), (4, 1), (8, 1), (2, 2), (1, 3)]


def table_of(name: str) -> tuple[TensorGroup, ...]:
    """The table as the lock holds it."""
    return tuple(
        TensorGroup(name=tensor, type=kind, shape=tuple(shape), blocks=blocks_of(span), experts=experts)
        for tensor, kind, shape, span, experts in TABLES[name]
    )


def blocks_of(span: list[int]) -> tuple[int, ...]:
    """[first, last], or the blocks themselves with -1 behind them."""
    if span and span[-1] == -1:
        return tuple(span[:-1])
    return tuple(range(span[0], span[-1] + 1)) if span else ()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_rank_of_every_legal_layout_holds_what_the_configuration_says(name: str) -> None:
    files = files_of(name, table_of(name))
    shape = read_shape(files)
    legal = [layout for layout in LAYOUTS if not refusals(shape, *layout, Terms(version="0.26.0"))]
    assert (1, 1) in legal
    for tensor, stages in legal:
        listed = model_weights(files, shape, tensor, stages, dtype="bfloat16")
        for found, wanted in zip(listed, rank_weights(shape, tensor, stages), strict=True):
            assert abs(found.total_bytes - wanted.total_bytes) * 1000 <= wanted.total_bytes, (tensor, stages)


def test_what_no_pattern_knows_is_whole_on_every_rank() -> None:
    shape = read_shape(files_of("Qwen/Qwen3-0.6B"))
    odd = TensorGroup(name="model.layers.{}.something_new.weight", type="BF16", shape=(8, 8), blocks=(0,))
    assert table_rule(odd, shape).split == "whole"


@pytest.mark.parametrize(
    "name", ["model.layers.{}.self_attn.rotary_emb.inv_freq", "transformer.h.{}.attn.masked_bias", "lm_head.weight"]
)
def test_buffers_and_tied_heads_are_not_loaded(name: str) -> None:
    shape = read_shape(files_of("Qwen/Qwen3-0.6B"))
    assert table_rule(TensorGroup(name=name, type="F32", shape=(64,)), shape).split == "skip"


def test_draft_layers_behind_the_last_are_not_loaded() -> None:
    files = files_of("Qwen/Qwen3-0.6B", table_of("Qwen/Qwen3-0.6B"))
    shape = read_shape(files)
    extra = TensorGroup(name="model.layers.{}.mlp.up_proj.weight", type="BF16", shape=(3072, 1024), blocks=(28,))
    longer = files_of("Qwen/Qwen3-0.6B", (*files.tensors, extra))
    assert model_weights(longer, shape, 1, 1, dtype="bfloat16") == model_weights(files, shape, 1, 1, dtype="bfloat16")


def test_packed_and_scaled_values_keep_their_own_width() -> None:
    shape = read_shape(files_of("Qwen/Qwen2.5-7B-Instruct"))
    packed = TensorGroup(
        name="model.layers.{}.mlp.down_proj.qweight", type="I32", shape=(18944, 448), blocks=tuple(range(28))
    )
    scale = TensorGroup(
        name="model.layers.{}.mlp.down_proj.weight_scale_inv", type="F32", shape=(28, 148), blocks=tuple(range(28))
    )
    files = files_of("Qwen/Qwen2.5-7B-Instruct", (packed, scale))
    (found,) = model_weights(files, shape, 4, 1, dtype="bfloat16")
    assert found.total_bytes == 28 * (18944 * 448 * 4 + 28 * 148 * 4) // 4
