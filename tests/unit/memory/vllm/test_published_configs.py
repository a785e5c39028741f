"""What published config.json files leave out, and what vLLM makes of it."""

from __future__ import annotations

from gslc.ir.facts import Json, ModelFacts, SafetensorsFacts
from gslc.memory.vllm.context import derived_max_tokens
from gslc.memory.vllm.kv import layer_token_bytes
from gslc.memory.vllm.shape import read_shape
from gslc.memory.vllm.view import Keys, view_of

VERSION = "0.26.0"
GEMMA3_4B: dict[str, Json] = {
    "architectures": ("Gemma3ForConditionalGeneration",),
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    },
}
MINICPM3: dict[str, Json] = {
    "architectures": ("MiniCPM3ForCausalLM",),
    "model_type": "minicpm3",
    "hidden_size": 2560,
    "intermediate_size": 6400,
    "num_hidden_layers": 62,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
    "q_lora_rank": 768,
    "kv_lora_rank": 256,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 32,
    "vocab_size": 73448,
    "max_position_embeddings": 32768,
}
MAMBA: dict[str, Json] = {
    "architectures": ("MambaForCausalLM",),
    "model_type": "mamba",
    "hidden_size": 768,
    "num_hidden_layers": 24,
    "state_size": 16,
    "conv_kernel": 4,
    "intermediate_size": 1536,
    "time_step_rank": 48,
    "vocab_size": 50280,
}


def files(config: dict[str, Json]) -> SafetensorsFacts:
    return SafetensorsFacts(config=config, tensors=(), parameter_bytes=0, header_sha256=None)


def model(config: dict[str, Json]) -> ModelFacts:
    return ModelFacts(
        source="hf://lab/model",
        revision="a" * 40,
        files=(),
        kind="chat",
        kind_reason="config.json",
        safetensors=files(config),
    )


def test_a_nested_language_model_is_what_its_configuration_class_assumes() -> None:
    shape = read_shape(files(GEMMA3_4B))
    assert (shape.heads, shape.kv_heads, shape.head_width, shape.vocabulary) == (8, 4, 256, 262208)
    assert shape.window == 1024
    assert derived_max_tokens(files(GEMMA3_4B), VERSION) == 131072


def test_minicpm3_caches_the_keys_and_values_of_every_head() -> None:
    shape = read_shape(files(MINICPM3))
    assert layer_token_bytes(shape, 1, 2) == 2 * 40 * 96 * 2
    assert layer_token_bytes(shape, 4, 2) == 2 * 10 * 96 * 2
    assert shape.mla is not None
    assert shape.mla.value_width == 64


def test_a_model_without_a_length_takes_the_context_that_is_asked_for() -> None:
    asked = view_of(model(MAMBA), Keys(context=100_000), (), VERSION)
    assert asked is not None
    assert (asked.context, asked.context_ceiling) == (100_000, 100_000)
    silent = view_of(model(MAMBA), Keys(), (), VERSION)
    assert silent is not None
    assert (silent.context, silent.context_ceiling) == (2048, 2048)
