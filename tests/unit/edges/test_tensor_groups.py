"""Tensor tables made short, and told in full again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gslc.edges.tensor_groups import RawTensor, expand, group_tensors
from gslc.ir.facts import TensorGroup


def grouped(*names: str, shape: tuple[int, ...] = (4,)) -> list[tuple[str, tuple[int, ...], int]]:
    return [
        (group.name, group.blocks, group.experts)
        for group in group_tensors(RawTensor(name, "F16", shape) for name in names)
    ]


def test_blocks_of_one_shape_are_one_group() -> None:
    assert grouped("blk.0.attn_q.weight", "blk.1.attn_q.weight") == [("blk.{}.attn_q.weight", (0, 1), 0)]


def test_another_type_or_shape_is_another_group() -> None:
    tensors = [
        RawTensor("blk.0.w", "Q4_K", (4,)),
        RawTensor("blk.1.w", "Q6_K", (4,)),
        RawTensor("blk.2.w", "Q4_K", (8,)),
        RawTensor("blk.3.w", "Q4_K", (4,)),
    ]
    assert group_tensors(tensors) == (
        TensorGroup(name="blk.{}.w", type="Q4_K", shape=(4,), blocks=(0, 3)),
        TensorGroup(name="blk.{}.w", type="Q4_K", shape=(8,), blocks=(2,)),
        TensorGroup(name="blk.{}.w", type="Q6_K", shape=(4,), blocks=(1,)),
    )


def test_experts_that_are_stored_apart_are_counted() -> None:
    names = [f"model.layers.{layer}.mlp.experts.{expert}.up_proj.weight" for layer in (1, 2) for expert in range(3)]
    assert grouped(*names) == [("model.layers.{}.mlp.experts.{}.up_proj.weight", (1, 2), 3)]
    assert grouped(*(f"blk.0.ffn_up.{expert}.weight" for expert in range(8))) == [("blk.{}.ffn_up.{}.weight", (0,), 8)]


def test_experts_with_gaps_keep_their_numbers() -> None:
    assert grouped("layers.0.experts.1.w", "layers.1.experts.1.w") == [("layers.{}.experts.1.w", (0, 1), 0)]


def test_numbers_that_count_no_blocks_stay() -> None:
    assert grouped("mm.0.weight", "mm.2.weight", "visual.merger.mlp.0.weight") == [
        ("mm.0.weight", (), 0),
        ("mm.2.weight", (), 0),
        ("visual.merger.mlp.0.weight", (), 0),
    ]
    assert grouped("layers.01.w") == [("layers.01.w", (), 0)]
    assert grouped("token_embd.weight") == [("token_embd.weight", (), 0)]


def test_a_name_with_braces_is_left_alone() -> None:
    assert grouped("blk.0.{}.w", "blk.1.{}.w") == [("blk.0.{}.w", (), 0), ("blk.1.{}.w", (), 0)]


parts = st.sampled_from(["blk", "layers", "experts", "ffn_up", "w", "0", "1", "2", "11", "mlp", "00", "{}"])
names = st.lists(parts, min_size=1, max_size=6).map(".".join)
raw_tensors = st.lists(st.builds(RawTensor, names, st.sampled_from(["F32", "F16"]), st.sampled_from([(2,), (3, 4)])), max_size=30, unique_by=lambda item: item.name)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(raw_tensors)
def test_every_tensor_can_be_told_from_the_groups(tensors: list[RawTensor]) -> None:
    groups = group_tensors(tensors)
    assert sorted(expand(groups)) == sorted(tensors)
    assert sum(group.count for group in groups) == len(tensors)
    assert groups == group_tensors(reversed(tensors))
