"""The layouts that the planner finds fit, and nothing better was left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import truth

from gslc.engines.llama_profile import profile_of
from gslc.engines.llama_settings import LlamaSettings
from gslc.memory.gguf.footprint import Device
from gslc.memory.gguf.offload import Planner, fits

GIB = 1 << 30
NEW = profile_of("llama.cpp", "b11669")
assert NEW
CARD = Device(vendor="nvidia")


def planner(model: str) -> Planner:
    """A planner for a measured model at 8192 tokens."""
    settings = LlamaSettings(context_tokens=8192, parallel=1, unified=False)
    return Planner(shape=truth.model_shape(model), settings=settings, profile=NEW)


def test_uneven_cards_get_uneven_shares() -> None:
    plan = planner("llama3.3-70b-q4_k_m").spread((CARD, CARD), (40 * GIB, 16 * GIB), 81)
    assert plan is not None
    assert plan.split[0] > 2 * plan.split[1] > 0
    assert sum(plan.split) == 81
    assert fits(plan, (40 * GIB, 16 * GIB))


def test_a_model_that_is_too_large_for_the_cards_is_not_laid_out() -> None:
    found = planner("llama3.3-70b-q4_k_m")
    assert found.spread((CARD, CARD), (20 * GIB, 16 * GIB), 81) is None
    assert found.shortfall((CARD, CARD), (20 * GIB, 16 * GIB)) > 4 * GIB


def test_partial_offload_takes_the_most_layers_that_fit() -> None:
    found = planner("llama3.1-8b-q4_k_m")
    plan = found.partial((CARD,), (4 * GIB,), 64 * GIB)
    assert plan is not None
    assert 0 < plan.gpu_layers < 33
    assert fits(plan, (4 * GIB,))
    one_more = found.lay((CARD,), (plan.gpu_layers + 1,), plan.gpu_layers + 1)
    assert not fits(one_more, (4 * GIB,))


def test_experts_leave_the_card_before_whole_layers_do() -> None:
    plan = planner("qwen3-30b-a3b-q4_k_m").partial((CARD,), (12 * GIB,), 64 * GIB)
    assert plan is not None
    assert plan.gpu_layers == 49
    assert 0 < plan.cpu_moe_layers < 48
    fewer = planner("qwen3-30b-a3b-q4_k_m").lay((CARD,), (49,), 49, plan.cpu_moe_layers - 1)
    assert not fits(fewer, (12 * GIB,))


def test_a_host_without_room_for_the_rest_refuses_partial_offload() -> None:
    assert planner("llama3.3-70b-q4_k_m").partial((CARD,), (24 * GIB,), 8 * GIB) is None


@pytest.mark.parametrize("model", ["llama3.1-8b-q4_k_m", "gemma3-27b-q4_k_m", "deepseek-v2-lite-q4_k_m"])
def test_more_memory_never_means_fewer_layers(model: str) -> None:
    found = planner(model)
    layers = []
    for room in range(2, 14, 2):
        plan = found.partial((CARD,), (room * GIB,), 256 * GIB)
        layers.append(plan.gpu_layers * 1000 - plan.cpu_moe_layers if plan else 0)
    assert layers == sorted(layers)


def test_a_longer_context_needs_more_memory_on_the_card() -> None:
    short = planner("llama3.1-8b-q4_k_m")
    long = replace(short, settings=replace(short.settings, context_tokens=32768))
    assert long.on_one(CARD).on_gpus > short.on_one(CARD).on_gpus


def test_quantised_caches_are_smaller() -> None:
    plain = planner("llama3.1-8b-q4_k_m")
    packed = replace(plain, settings=replace(plain.settings, key_type="q8_0", value_type="q8_0"))
    device = packed.on_one(CARD).footprint.devices[0]
    assert device.kv_cache * 32 == plain.on_one(CARD).footprint.devices[0].kv_cache * 17
