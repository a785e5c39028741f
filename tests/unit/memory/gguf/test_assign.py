"""Where layers go, by the engine's rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gslc.engines.llama_profile import profile_of
from gslc.engines.llama_settings import LlamaSettings
from gslc.memory.gguf.assign import HOST, assign_layers

NEW = profile_of("llama.cpp", "b11669")
OLD = profile_of("llama-box", "v0.0.171")
assert NEW
assert OLD


def test_since_december_2025_the_output_layer_is_offloaded_first() -> None:
    assert assign_layers(4, 1, LlamaSettings(gpu_layers=2), NEW) == (HOST, HOST, HOST, 0, 0)


def test_before_it_the_output_layer_came_last() -> None:
    assert assign_layers(4, 1, LlamaSettings(gpu_layers=2), OLD) == (HOST, HOST, 0, 0, HOST)
    assert assign_layers(4, 1, LlamaSettings(gpu_layers=5), OLD) == (0, 0, 0, 0, 0)


def test_no_layers_means_the_host() -> None:
    assert assign_layers(2, 1, LlamaSettings(gpu_layers=0), NEW) == (HOST, HOST, HOST)


def test_split_mode_none_uses_the_main_gpu() -> None:
    assert set(assign_layers(3, 2, LlamaSettings(split_mode="none", main_gpu=1), NEW)) == {1}


@given(split=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_whole_layers_that_sum_to_the_offloaded_ones_are_met_exactly(split: list[int]) -> None:
    layers = sum(split)
    settings = LlamaSettings(gpu_layers=layers, tensor_split=tuple(float(part) for part in split))
    found = assign_layers(layers - 1, len(split), settings, NEW)
    assert [found.count(device) for device in range(len(split))] == split


@given(blocks=st.integers(1, 100), layers=st.integers(0, 120), devices=st.integers(1, 6))
def test_every_layer_has_one_place_and_devices_come_in_order(blocks: int, layers: int, devices: int) -> None:
    for profile in (NEW, OLD):
        found = assign_layers(blocks, devices, LlamaSettings(gpu_layers=layers), profile)
        assert len(found) == blocks + 1
        on_devices = [device for device in found if device != HOST]
        assert on_devices == sorted(on_devices)
        assert len(on_devices) <= max(layers, 0)
