"""Layouts that vLLM refuses, each with its rule and its numbers."""

from __future__ import annotations

import pytest
from tests.support.vllm_models import H200, T4, files_of

from gslc.ir.facts import Json
from gslc.ir.inputs import GpuKind
from gslc.memory.vllm.cards import card_refusals, effective_dtype
from gslc.memory.vllm.legality import Terms, refusals
from gslc.memory.vllm.shape import Shape, read_shape

LLAMA, QWEN = "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct"
A100 = GpuKind(model="NVIDIA A100", vendor="nvidia", memory_bytes=80 << 30, compute_capability=(8, 0))
MI300 = GpuKind(model="AMD Instinct MI300X", vendor="amd", memory_bytes=192 << 30)
AWQ: Json = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}
GPTQ: Json = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}
BLOCKS: Json = {"quant_method": "fp8", "weight_block_size": (128, 128), "activation_scheme": "dynamic"}


def shape(name: str, **changes: Json) -> Shape:
    return read_shape(files_of(name, **changes))


def rules(of: Shape, tensor: int, stages: int = 1, **terms: object) -> list[tuple[str, str]]:
    asked = Terms(**{"version": "0.26.0", **terms})  # type: ignore[arg-type]
    return [(item.rule, item.detail) for item in refusals(of, tensor, stages, asked)]


def names(of: Shape, tensor: int, stages: int = 1, **terms: object) -> set[str]:
    return {rule for rule, _ in rules(of, tensor, stages, **terms)}


def test_heads_must_divide() -> None:
    assert ("attention heads", "28 attention heads: tensor parallel 8 needs 28 % 8 == 0, it is 4") in rules(
        shape(QWEN), 8
    )


def test_the_padded_vocabulary_must_divide_even_where_the_heads_do() -> None:
    found = dict(rules(shape(QWEN), 7))
    assert found["vocabulary"].endswith("152064 % 7 == 0, it is 3")
    assert "attention heads" not in found


def test_kv_heads_divide_or_are_replicated_evenly() -> None:
    phi = shape(
        LLAMA,
        hidden_size=5120,
        intermediate_size=17920,
        num_attention_heads=40,
        num_key_value_heads=10,
        vocab_size=100352,
    )
    assert [size for size in (1, 2, 4, 5, 8, 10) if not rules(phi, size)] == [1, 2]
    assert (
        dict(rules(phi, 4))["key and value heads"]
        == "40 heads, 10 KV heads: tensor parallel 4 needs 10 % 4 == 0 or 4 % 10 == 0"
    )


def test_an_architecture_that_never_replicates_ends_at_its_kv_heads() -> None:
    assert names(shape("openai/gpt-oss-20b"), 8) == set()
    assert names(shape("openai/gpt-oss-20b"), 16) == {"key and value heads"}


def test_feed_forward_widths_must_divide() -> None:
    assert "widths" in names(shape("meta-llama/Llama-2-13b-hf"), 5)


def test_experts_are_split_by_width_unless_by_count() -> None:
    moe = shape("Qwen/Qwen3-30B-A3B", moe_intermediate_size=766)
    assert names(moe, 4) == {"widths"}
    assert names(moe, 4, expert_parallel=True) == set()


@pytest.mark.parametrize(("inter", "tensor", "legal"), [(29568, 8, False), (29696, 8, True), (29568, 1, True)])
def test_quantisation_groups_may_not_straddle_ranks(inter: int, tensor: int, legal: bool) -> None:
    big: dict[str, Json] = {
        "hidden_size": 8192, "intermediate_size": inter, "num_attention_heads": 64, "num_key_value_heads": 8,
    }  # fmt: skip
    for method in (AWQ, GPTQ):
        assert ("quantization groups" not in names(shape(QWEN, quantization_config=method, **big), tensor)) is legal


def test_awq_packs_outputs() -> None:
    odd = shape(
        LLAMA,
        quantization_config=AWQ,
        intermediate_size=1028,
        hidden_size=1024,
        num_attention_heads=8,
        num_key_value_heads=8,
    )
    assert "packed values" in names(odd, 1)


def test_marlin_tiles_were_a_rule_before_padding() -> None:
    old = shape(
        QWEN,
        quantization_config=GPTQ,
        intermediate_size=64 * 149,
        hidden_size=4096,
        num_attention_heads=32,
        num_key_value_heads=4,
    )
    assert "Marlin tiles" in names(old, 1, version="0.10.2")
    assert "Marlin tiles" not in names(old, 1, version="0.26.0")


def test_fp8_blocks_divide_what_a_rank_holds() -> None:
    moe = shape("Qwen/Qwen3-30B-A3B", quantization_config=BLOCKS)
    assert names(moe, 2) == set()
    assert ("FP8 blocks", "expert up has 192 outputs on each of 4 ranks: not a multiple of the block of 128") in rules(
        moe, 4
    )
    assert names(moe, 4, expert_parallel=True) == set()


def test_latent_attention_has_no_kv_heads_to_divide() -> None:
    assert names(shape("deepseek-ai/DeepSeek-V2-Lite"), 16) == set()


def test_the_vision_tower_divides_or_runs_data_parallel() -> None:
    tower: Json = {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 15}
    seeing = shape(QWEN, vision_config=tower)
    assert names(seeing, 2) == {"vision tower heads"}
    assert names(seeing, 2, vision_data_parallel=True) == set()
    assert names(seeing, 2, vision_off=True) == set()


def test_stages_need_layers_and_an_architecture_that_can() -> None:
    assert names(shape(LLAMA), 1, 33) == {"layers"}
    assert names(shape(LLAMA, architectures=("BertModel",)), 1, 2) == {"pipeline support"}
    assert names(shape(LLAMA), 2, 4) == set()


def test_cards_are_too_old_for_a_dtype_or_a_method() -> None:
    terms = Terms(version="0.26.0")

    def told(of: Shape, kind: GpuKind, asked: Terms = terms) -> list[str]:
        return [item.detail for item in card_refusals(of, kind, asked)]

    dynamic: Json = {
        "quant_method": "compressed-tensors",
        "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float"}, "input_activations": {"num_bits": 8}}},
    }
    assert told(shape(LLAMA), T4) == []
    assert told(shape(LLAMA), T4, Terms(version="0.26.0", dtype="bfloat16")) == [
        "bfloat16 needs compute capability 8.0, Tesla T4 has 7.5"
    ]
    assert told(shape("openai/gpt-oss-20b"), T4) == ["mxfp4 needs compute capability 8.0, Tesla T4 has 7.5"]
    assert told(shape(LLAMA, quantization_config=dynamic), A100) == [
        "compressed-tensors-float needs compute capability 8.9, NVIDIA A100 has 8.0"
    ]
    assert told(shape(LLAMA), A100, Terms(version="0.26.0", kv_cache_dtype="fp8")) == [
        "an fp8 KV cache needs compute capability 8.9, NVIDIA A100 has 8.0"
    ]
    assert told(shape(LLAMA, quantization_config=dynamic), MI300) == []


def test_old_cards_load_in_half_precision() -> None:
    assert effective_dtype(shape(LLAMA), T4, "auto") == "float16"
    assert effective_dtype(shape(LLAMA), H200, "auto") == "bfloat16"
    assert effective_dtype(shape(LLAMA), H200, "half") == "float16"


def test_positions_and_token_types_of_an_encoder_are_split_like_a_vocabulary() -> None:
    found = rules(shape("bert-base"), 3)
    assert (
        "vocabulary",
        "a table of positions with 512 rows, padded to 512: tensor parallel 3 needs 512 % 3 == 0, it is 2",
    ) in found


def test_mamba_groups_are_split_whole_unless_there_is_one() -> None:
    assert "Mamba groups" in names(shape("mamba-codestral"), 16)
    assert names(shape("granite-4-h-tiny"), 4) == set()


def test_cards_that_a_release_is_no_longer_built_for_are_refused() -> None:
    volta = GpuKind(model="Tesla V100", vendor="nvidia", memory_bytes=32 << 30, compute_capability=(7, 0))
    (found,) = card_refusals(shape(LLAMA), volta, Terms(version="0.26.0"))
    assert found.detail == "vLLM 0.26.0 is built for compute capability 7.5, Tesla V100 has 7.0"
    assert card_refusals(shape(LLAMA), volta, Terms(version="0.18.1")) == ()


def test_models_that_are_not_stable_in_half_precision_are_refused_on_old_cards() -> None:
    gemma = shape("google/gemma-2-9b-it")
    assert [item.rule for item in card_refusals(gemma, T4, Terms(version="0.26.0"))] == ["dtype"]
    assert card_refusals(gemma, T4, Terms(version="0.26.0", dtype="float32")) == ()
    assert card_refusals(gemma, H200, Terms(version="0.26.0")) == ()


def test_modules_that_stay_as_they_are_have_no_groups_to_divide() -> None:
    odd: dict[str, Json] = {
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "hidden_size": 768,
        "intermediate_size": 2048,
    }
    plain: Json = {"quant_method": "fp8", "weight_block_size": (128, 128)}
    kept: Json = {
        "quant_method": "fp8",
        "weight_block_size": (128, 128),
        "modules_to_not_convert": ("re:.*self_attn.*",),
    }
    assert "FP8 blocks" in names(shape(QWEN, quantization_config=plain, **odd), 4)
    assert "FP8 blocks" not in names(shape(QWEN, quantization_config=kept, **odd), 4)
