"""A tensor table that is scaled to the size of another file, beside the table that file really has.

The tables are those of published models, in the types that llama-quantize gives them (tests/support/quant_mixes.py).
`python tests/bench/resized.py` prints all of it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from quant_mixes import mixed
from resized_rows import MODES, Row, rows_of
from truth import model_facts

from gslc.ir.facts import GgufFacts, TensorGroup
from gslc.memory.gguf.resized import resized
from gslc.memory.gguf.types import block_of, is_assumed, is_known, tensor_bytes

# One of each kind: dense, tied, fused, experts, hybrid. The bench has 13, seen from two quantisations each.
SOME = ("llama3.1-8b-q4_k_m", "gemma3-27b-q4_k_m", "phi3-mini-q4_k_m", "mixtral-8x7b-q4_k_m", "gpt-oss-20b-mxfp4")


@pytest.mark.parametrize("model", SOME)
def test_no_device_and_no_host_is_counted_with_less_than_the_real_file_takes(model: str) -> None:
    rows = rows_of(model, "Q8_0")
    assert {row.mode for row in rows} <= set(MODES)
    assert len(rows) > 300
    assert [row for row in rows if row.estimated < row.real] == []


def test_a_whole_model_on_one_card_is_counted_within_two_percent() -> None:
    """Of files down to three bits, without embeddings of their own width (bartowski's _L)."""
    usual = ("Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "Q4_0", "IQ4_XS", "Q3_K_L", "Q3_K_M")
    rows = [row for row in rows_of("llama3.1-8b-q4_k_m", "Q8_0") if row.mode == "one card" and row.other in usual]
    assert len(rows) == len(usual)
    assert max(row.error for row in rows) < 0.02


def test_a_row_says_which_way_it_errs() -> None:
    assert Row(model="m", asked="Q8_0", other="Q4_0", mode="one card", estimated=110, real=100).error == 0.1


# ------------------------------------------------------------------ the table


def small(kind: str = "Q8_0", width: int = 256) -> GgufFacts:
    tensors = (
        TensorGroup(name="blk.{}.attn_norm.weight", type="F32", shape=(width,), blocks=(0, 1)),
        TensorGroup(name="blk.{}.ffn_up.weight", type=kind, shape=(width, 512), blocks=(0, 1)),
        TensorGroup(name="output.weight", type=kind, shape=(width, 100)),
        TensorGroup(name="token_embd.weight", type=kind, shape=(width, 100)),
    )
    return GgufFacts(
        architecture="llama", hyper={"llama.block_count": 2}, vocabulary_size=100, tensors=tensors, header_sha256="ab",
        header_bytes=0, file_bytes=sum(tensor_bytes(g.type, g.shape) * g.count for g in tensors),
    )  # fmt: skip


def test_norms_keep_their_type_and_matrices_get_a_size() -> None:
    facts = resized(small(), 200_000, "together")
    assert facts is not None
    assert facts.file_bytes == 200_000
    assert [is_assumed(group.type) for group in facts.tensors] == [False, True, True, True]
    assert facts.tensors[0] == small().tensors[0]
    assert [group.shape for group in facts.tensors] == [group.shape for group in small().tensors]


def test_what_lies_on_one_card_is_at_most_the_file() -> None:
    facts = resized(small(), 200_000, "together")
    assert facts is not None
    on_card = sum(tensor_bytes(g.type, g.shape) * g.count for g in facts.tensors if g.name != "token_embd.weight")
    assert on_card <= 200_000 + 2 * 512 + 100  # rows are rounded up to bytes


def test_a_file_of_f32_alone_has_matrices_too() -> None:
    facts = resized(small("F32"), small("F16").file_bytes, "apart")
    assert facts is not None
    assert [is_assumed(group.type) for group in facts.tensors] == [False, True, True, True]


@pytest.mark.parametrize("size", [0, 1, 2048, 30_000])
def test_a_file_that_is_too_small_for_the_tensors_is_no_quantisation(size: int) -> None:
    assert resized(small(), size, "together") is None
    assert resized(small(), size, "apart") is None


def test_facts_without_matrices_stay_what_they_are() -> None:
    only_norms = replace(small(), tensors=small().tensors[:1])
    facts = resized(only_norms, 4096, "apart")
    assert facts is not None
    assert facts.tensors == only_norms.tensors


def test_estimates_of_the_two_are_not_mistaken_for_each_other() -> None:
    keys = {facts.header_sha256 for spread in ("together", "apart") for size in (200_000, 300_000) if (facts := resized(small(), size, spread))}  # type: ignore[arg-type]  # fmt: skip
    assert len(keys | {small().header_sha256}) == 5
    unnamed = resized(replace(small(), header_sha256=""), 200_000, "apart")
    assert unnamed is not None
    assert unnamed.header_sha256 == ""


def test_an_assumed_type_has_the_size_that_its_name_says() -> None:
    assert block_of("ANY4096:2508") == (4096, 2508)
    assert tensor_bytes("ANY4096:2508", (4096, 3)) == 7524
    assert is_known("ANY32:17")
    for other in ("ANY", "ANY0:1", "ANY1:0", "ANY1:1x", "Q9"):
        assert not is_known(other)
        assert block_of(other) == (1, 4)


def test_a_mixture_has_the_published_size() -> None:
    """bartowski/Meta-Llama-3.1-8B-Instruct-GGUF, as listed: the mixes of these tests are those of real files."""
    published = {"Q8_0": 8_540_775_840, "Q6_K": 6_596_011_424, "Q5_K_M": 5_732_992_416, "Q4_K_M": 4_920_739_232, "Q3_K_M": 4_018_922_912, "Q2_K": 3_179_136_416}  # fmt: skip
    for label, size in published.items():
        assert abs(mixed(model_facts("llama3.1-8b-q4_k_m"), label).file_bytes - size) < 8_000_000  # its header
