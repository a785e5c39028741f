"""A config.json that can be no model's is named for the value that shows it."""

from __future__ import annotations

import pytest
from tests.support.vllm_models import RTX_4090, facts_of, host_of, request_of, truth_configs

from gslc.backends.vllm import Vllm
from gslc.edges.config_facts import kept_config
from gslc.memory.vllm.plausible import implausible

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
ABOVE = "above 4611686018427387904"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("num_hidden_layers", 10**9, "num_hidden_layers is 1000000000"),
        ("num_hidden_layers", 10**30, f"num_hidden_layers is {ABOVE}"),
        ("num_hidden_layers", -(10**30), "num_hidden_layers is below -4611686018427387904"),
        ("num_hidden_layers", 1e30, f"num_hidden_layers is {ABOVE}"),
        ("intermediate_size", 10**30, f"intermediate_size is {ABOVE}"),
        ("num_attention_heads", float("inf"), "num_attention_heads is inf, not a number"),
        ("vocab_size", "many", "vocab_size is many, not a number"),
        ("intermediate_size", "x" * 99, f"intermediate_size is {'x' * 40}…, not a number"),
        ("rope_scaling", "x", "rope_scaling is x, not an object"),
        ("rope_scaling", [1], "rope_scaling is a list, not an object"),
        ("quantization_config", "x", "quantization_config is x, not an object"),
        ("torch_dtype", "float77", "torch_dtype is float77, which is no type of torch"),
        ("dtype", "float77", "dtype is float77, which is no type of torch"),
        ("torch_dtype", 16, "torch_dtype is 16, which is no type of torch"),
    ],
)
def test_what_no_model_has_is_refused_at_the_source(key: str, value: object, said: str) -> None:
    kept = kept_config({key: value})[key]
    request = request_of(LLAMA, host_of("atlas", RTX_4090), facts=facts_of(LLAMA, **{key: kept}))
    (found,) = Vllm().review(request)
    assert (found.code, found.message) == ("GS340", f"model chat: config.json describes no model: {said}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rope_scaling", None),
        ("quantization_config", {}),
        ("torch_dtype", "torch.bfloat16"),
        ("torch_dtype", "float8_e4m3fn"),
        ("torch_dtype", None),
        ("model_max_length", 10**30),
        ("inner", {"dtype": "int4"}),
    ],
)
def test_what_published_models_say_is_taken(key: str, value: object) -> None:
    assert implausible({**truth_configs()[LLAMA], **kept_config({key: value})}) is None


def test_every_model_of_the_truth_tables_is_plausible() -> None:
    assert [(name, implausible(config)) for name, config in truth_configs().items() if implausible(config)] == []
