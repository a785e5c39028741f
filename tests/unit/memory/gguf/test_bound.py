"""The bound for unknown architectures, against the graphs of all that are known."""

from __future__ import annotations

import dataclasses

import pytest
from truth import MEASURED, _models, model_facts

from gslc.engines.llama_profile import profile_of
from gslc.engines.llama_settings import LlamaSettings
from gslc.ir.facts import GgufFacts
from gslc.memory.gguf.footprint import Device, footprint
from gslc.memory.gguf.graphs import GRAPHS
from gslc.memory.gguf.shape import ModelShape

CARD = Device(vendor="nvidia")
SETTINGS = (
    LlamaSettings(context_tokens=2048, parallel=1),
    LlamaSettings(context_tokens=32768, parallel=4),
    LlamaSettings(context_tokens=8192, parallel=1, flash="off"),
    LlamaSettings(context_tokens=8192, parallel=1, gpu_layers=3),
    LlamaSettings(context_tokens=131072, parallel=1, key_type="q8_0", value_type="q8_0"),
)


def compute(facts: GgufFacts, settings: LlamaSettings, devices: tuple[Device, ...]) -> tuple[int, ...]:
    profile = profile_of("llama.cpp", MEASURED)
    assert profile is not None
    found = footprint(ModelShape(dataclasses.replace(facts, header_sha256="")), settings, profile, devices)
    return (*(device.compute for device in found.devices), found.host.compute)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("devices", [(), (CARD,), (CARD, CARD)])
def test_no_known_graph_exceeds_the_bound(
    settings: LlamaSettings, devices: tuple[Device, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name, row in sorted(_models().items()) if row["architecture"] in GRAPHS]
    exact = {name: compute(model_facts(name), settings, devices) for name in names}
    for architecture in tuple(GRAPHS):
        monkeypatch.delitem(GRAPHS, architecture)
    for name in names:
        bound = compute(model_facts(name), settings, devices)
        assert all(most >= real for most, real in zip(bound, exact[name], strict=True)), (name, bound, exact[name])


def test_a_bias_by_distance_keeps_the_scores_in_memory() -> None:
    # flan-t5-xl at 8192 tokens: llama-fit-params of build 11669 prints 1,616 MiB on the CPU and 1,980 on a device
    heads, cells, tokens = 32, 8192, 512
    settings = LlamaSettings(context_tokens=cells, parallel=1)
    plain = model_facts("llama3.2-1b-q4_k_m")
    group = next(g for g in plain.tensors if g.name == "blk.{}.attn_q.weight")
    bias = dataclasses.replace(group, name="enc.blk.{}.attn_rel_b.weight", shape=(heads, 32))
    hyper = {key.replace("llama.", "t5."): value for key, value in plain.hyper.items()}
    t5 = dataclasses.replace(plain, architecture="t5", hyper=hyper, tensors=(*plain.tensors, bias))
    assert min(compute(t5, settings, ())) >= 3 * heads * cells * tokens * 4
