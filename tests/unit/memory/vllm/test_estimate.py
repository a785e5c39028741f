"""The question that people ask before they buy, whether it starts on their card."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.vllm_models import CONFIGS, GIB, H200, RTX_4090, T4, facts_of

from gslc.ir.diagnostic import Outcome
from gslc.ir.estimate import Estimate, EstimateAsk
from gslc.ir.facts import Json
from gslc.ir.inputs import GpuKind
from gslc.memory.vllm import estimate

LLAMA, QWEN = "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct"
BARE = GpuKind(model="", vendor="nvidia", memory_bytes=24 * GIB)


def asked(name: str, *devices: GpuKind, **ask: object) -> Outcome[Estimate]:
    return estimate(facts_of(name), EstimateAsk(devices=devices, **ask))  # type: ignore[arg-type]


def answer(name: str, *devices: GpuKind, **ask: object) -> Estimate:
    outcome = asked(name, *devices, **ask)
    assert outcome.value is not None, outcome.diagnostics
    return outcome.value


def codes(name: str, *devices: GpuKind, **ask: object) -> list[str]:
    return [item.code for item in asked(name, *devices, **ask).diagnostics]


def test_the_pool_is_the_budget_less_everything_else() -> None:
    found = answer(LLAMA, H200, args=("--gpu-memory-utilization", "0.92", "--enforce-eager"))
    (device,) = found.devices
    assert found.fits
    assert device.weights == 16_060_522_496
    assert device.weights + device.kv_cache + device.compute == 138_101_089_895
    assert abs(device.kv_cache - 120_809_456_743) < 256 << 20
    assert found.kv_bytes_per_token == 131_072


def test_the_command_line_that_was_measured_gives_the_length_that_was_measured() -> None:
    args = ("--max-model-len", "-1", "--gpu-memory-utilization", "0.92", "--enforce-eager")
    found = answer(LLAMA, BARE, args=args, max_context=True)
    assert found.max_context is not None
    assert 0.98 * 54_128 <= found.max_context <= 54_128


def test_a_model_that_is_too_large_does_not_fit_and_that_is_no_error() -> None:
    outcome = asked("Qwen/Qwen2.5-32B-Instruct", RTX_4090)
    assert outcome.value is not None
    assert not outcome.value.fits
    assert [(item.code, item.severity) for item in outcome.diagnostics] == [("GS365", "note")]


def test_the_longest_context_is_told_only_where_it_was_asked_for() -> None:
    assert answer(LLAMA, RTX_4090).max_context is None
    longest = answer(LLAMA, RTX_4090, max_context=True).max_context
    assert longest is not None
    assert answer(LLAMA, RTX_4090, context=longest).fits
    assert not answer(LLAMA, RTX_4090, context=longest + 256).fits


def test_devices_follow_the_layout_and_idle_ones_hold_nothing() -> None:
    found = answer(QWEN, *[H200] * 4, tensor_parallel=2)
    assert [device.total > 0 for device in found.devices] == [True, True, False, False]
    assert answer(QWEN, *[H200] * 4, tensor_parallel=2, pipeline_parallel=2).devices[3].total > 0


def test_the_first_rank_pays_for_the_others() -> None:
    first, second = answer(QWEN, H200, H200).devices
    assert first.overhead > second.overhead > 1 * GIB


def test_a_layout_that_vllm_refuses_is_an_error_that_names_the_sizes() -> None:
    outcome = asked(QWEN, *[H200] * 7)
    assert outcome.value is None
    (found,) = outcome.diagnostics
    assert found.code == "GS349"
    assert "152064 % 7 == 0" in found.message
    assert found.help == "use tensor parallel 1, 2, 4"


@pytest.mark.parametrize(
    ("devices", "ask", "code"),
    [
        ((), {}, "GS362"),
        ((H200, RTX_4090), {}, "GS361"),
        ((H200,), {"tensor_parallel": 2}, "GS361"),
        ((H200,), {"context": 1_000_000}, "GS348"),
        ((H200,), {"kv_cache_type": "q4_0"}, "GS358"),
        ((H200,), {"args": ("--swap-space", "4")}, "GS342"),
        ((H200,), {"args": ("--no-such-flag",)}, "GS341"),
        ((H200,), {"args": ("--enable-expert-parallel",)}, "GS354"),
    ],
)
def test_what_can_not_be_counted_is_an_error(devices: tuple[GpuKind, ...], ask: dict[str, object], code: str) -> None:
    assert asked(LLAMA, *devices, **ask).value is None
    assert codes(LLAMA, *devices, **ask) == [code]


def test_a_card_without_the_instructions_is_an_error() -> None:
    assert codes("openai/gpt-oss-20b", T4) == ["GS360"]


def test_a_bare_size_has_no_capability_to_fail() -> None:
    assert answer("openai/gpt-oss-20b", BARE, context=4096).fits


def test_fewer_requests_than_asked_is_a_warning() -> None:
    assert codes(LLAMA, RTX_4090, parallel=100) == ["GS357"]


def test_lowering_the_utilisation_is_told() -> None:
    assert codes(QWEN, RTX_4090, RTX_4090) == ["GS364"]


def test_host_memory_counts_where_it_is_given() -> None:
    assert not answer(LLAMA, H200, host_memory_bytes=1 * GIB).fits
    assert answer(LLAMA, H200, host_memory_bytes=64 * GIB).fits


def test_without_a_configuration_there_is_nothing_to_count() -> None:
    outcome = estimate(replace(facts_of(LLAMA), safetensors=None), EstimateAsk(devices=(H200,)))
    assert [item.code for item in outcome.diagnostics] == ["GS340"]


def test_files_that_disagree_with_their_configuration_are_believed_and_told() -> None:
    from gslc.ir.facts import TensorGroup

    facts = facts_of(LLAMA)
    assert facts.safetensors is not None
    small = (TensorGroup(name="model.embed_tokens.weight", type="BF16", shape=(128_256, 4096)),)
    listed = replace(facts, safetensors=replace(facts.safetensors, tensors=small))
    outcome = estimate(listed, EstimateAsk(devices=(H200,)))
    assert [item.code for item in outcome.diagnostics] == ["GS363"]
    assert outcome.value is not None
    assert outcome.value.devices[0].weights == 128_256 * 4096 * 2


ODD: list[Json] = [
    0, -1, 1, 3, 10**6, 10**9, 10**18, None, "x", True, 1.5, float("inf"), float("nan"), (), ("a",), (1, 2), {}, {"a": 1},
    {"factor": 0, "rope_type": "yarn"}, {"quant_method": "awq", "bits": 0, "group_size": 0},
    {"quant_method": "fp8", "weight_block_size": (0, 0)}, {"quant_method": "compressed-tensors", "config_groups": {"g": {}}},
]  # fmt: skip
KEYS = sorted({key for config in CONFIGS.values() for key in config} | {"vision_config", "text_config", "kv_lora_rank"})


@given(
    st.sampled_from(sorted(CONFIGS)),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(ODD), max_size=4),
    st.integers(1, 4),
)
def test_no_config_json_breaks_the_estimate(name: str, odd: dict[str, Json], count: int) -> None:
    facts = facts_of(name)
    assert facts.safetensors is not None
    changed = replace(facts, safetensors=replace(facts.safetensors, config={**facts.safetensors.config, **odd}))
    outcome = estimate(changed, EstimateAsk(devices=(RTX_4090,) * count, max_context=True))
    assert outcome.value is not None or any(item.severity == "error" for item in outcome.diagnostics)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("num_hidden_layers", 10**9, "num_hidden_layers is 1000000000"),
        ("hidden_size", -1, "hidden_size is -1"),
        ("num_key_value_heads", 0, "num_key_value_heads is 0"),
        ("vocab_size", "many", "vocab_size is many, not a number"),
        ("text_config", {"num_attention_heads": 1.5}, "text_config: num_attention_heads is 1.5"),
    ],
)
def test_impossible_sizes_are_named_and_not_counted(key: str, value: Json, words: str) -> None:
    facts = facts_of(LLAMA, **{key: value})  # type: ignore[arg-type]
    (found,) = estimate(facts, EstimateAsk(devices=(H200,))).diagnostics
    assert found.code == "GS340"
    assert words in found.message
