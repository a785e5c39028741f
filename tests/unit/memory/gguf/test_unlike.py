"""Files of known architectures that lack what the architecture is made of: bounded with a warning, never refused here."""

from __future__ import annotations

import dataclasses

import pytest
from truth import MEASURED, _models, model_facts

from gslc.engines.llama_profile import EngineProfile, profile_of
from gslc.engines.llama_settings import LlamaSettings
from gslc.ir.facts import GgufFacts
from gslc.memory.gguf.footprint import Device, Footprint, footprint
from gslc.memory.gguf.graphs import GRAPHS
from gslc.memory.gguf.review import doubt_message
from gslc.memory.gguf.shape import ModelShape

DEVICES = (Device(vendor="nvidia"),)
SETTINGS = LlamaSettings(context_tokens=2048, parallel=1)


def profile() -> EngineProfile:
    found = profile_of("llama.cpp", MEASURED)
    assert found is not None
    return found


def measured(facts: GgufFacts) -> Footprint:
    return footprint(ModelShape(facts), SETTINGS, profile(), DEVICES)


def without(facts: GgufFacts, name: str) -> GgufFacts:
    kept = tuple(group for group in facts.tensors if group.name != name)
    return dataclasses.replace(facts, tensors=kept, header_sha256="")


def with_keys(facts: GgufFacts, **keys: int) -> GgufFacts:
    hyper = {**facts.hyper, **{f"{facts.architecture}.{key.replace('__', '.')}": n for key, n in keys.items()}}
    return dataclasses.replace(facts, hyper=hyper, header_sha256="")


def one_of_each_architecture() -> list[str]:
    rows = {row["architecture"]: name for name, row in sorted(_models().items())}
    return [name for architecture, name in sorted(rows.items()) if architecture in GRAPHS]


@pytest.mark.parametrize("name", one_of_each_architecture())
def test_every_tensor_may_be_missing(name: str) -> None:
    facts = model_facts(name)
    assert doubt_message(ModelShape(facts)) == ""
    for group in facts.tensors:
        lacking = without(facts, group.name)
        found = measured(lacking)
        assert found.exact or doubt_message(ModelShape(lacking)), group.name
        assert min(found.devices[0].compute, found.host.compute) >= 0


def test_a_missing_tensor_is_named_in_the_warning() -> None:
    facts = model_facts("llama3.2-1b-f16")
    lacking = without(facts, "blk.{}.attn_v.weight")
    assert "'llama' without attn_v" in doubt_message(ModelShape(lacking))
    assert not measured(lacking).exact


@pytest.mark.parametrize("experts", [513, 1 << 40])
def test_an_impossible_number_of_experts_costs_no_time(experts: int) -> None:
    lacking = with_keys(model_facts("gpt-oss-20b-l4-mxfp4"), expert_used_count=experts)
    assert "a possible expert_used_count" in doubt_message(ModelShape(lacking))
    assert not measured(lacking).exact


def test_a_count_of_zero_that_the_graph_divides_by_is_a_doubt() -> None:
    lacking = with_keys(model_facts("qwen3-next-80b-a3b-q4_k_m"), ssm__time_step_rank=0)
    assert "a possible count of heads or groups" in doubt_message(ModelShape(lacking))
    assert not measured(lacking).exact


def test_a_projector_in_the_same_file_may_have_more_blocks_than_the_model() -> None:
    facts = model_facts("llama3.2-1b-f16")
    group = next(group for group in facts.tensors if group.blocks)
    vision = dataclasses.replace(group, name="v.blk.{}.attn_q.weight", blocks=tuple(range(64)))
    both = dataclasses.replace(facts, tensors=(*facts.tensors, vision), header_sha256="")
    assert measured(both).devices[0].weights == measured(facts).devices[0].weights
