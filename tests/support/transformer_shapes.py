"""Tensor tables of published models, from their config.json, by the names that transformers saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from model_files import Tensor

Config = Mapping[str, object]


def tensor_table(config: Config) -> Iterator[Tensor]:
    """Every tensor of the checkpoint, shapes slowest dimension first."""
    architecture = str(config["architectures"][0])  # type: ignore[index]
    if architecture == "FalconForCausalLM":
        yield from _falcon(config)
        return
    hidden, vocabulary = _number(config, "hidden_size"), _number(config, "vocab_size")
    yield "model.embed_tokens.weight", (vocabulary, hidden), "BF16"
    yield "model.norm.weight", (hidden,), "BF16"
    if not config.get("tie_word_embeddings", False):
        yield "lm_head.weight", (vocabulary, hidden), "BF16"
    for layer in range(_number(config, "num_hidden_layers")):
        at = f"model.layers.{layer}."
        norms = 1 if architecture == "CohereForCausalLM" else 4 if architecture.startswith("Gemma") else 2
        names = (
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        )
        for name in names[:norms]:
            yield f"{at}{name}.weight", (hidden,), "BF16"
        attention = _latent if "kv_lora_rank" in config else _attention
        yield from attention(config, architecture, f"{at}self_attn.")
        yield from _feed_forward(config, architecture, layer, at)


def _number(config: Config, key: str, default: int | None = None) -> int:
    value = config.get(key, default)
    assert isinstance(value, int), key
    return value


def _attention(config: Config, architecture: str, at: str) -> Iterator[Tensor]:
    hidden, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    size = _number(config, "head_dim", hidden // heads)
    query, key = heads * size, _number(config, "num_key_value_heads") * size
    bias = architecture == "Qwen2ForCausalLM" or config.get("attention_bias", False)
    if architecture == "Phi3ForCausalLM":
        yield f"{at}qkv_proj.weight", (query + 2 * key, hidden), "BF16"
    else:
        for name, width in (("q_proj", query), ("k_proj", key), ("v_proj", key)):
            yield f"{at}{name}.weight", (width, hidden), "BF16"
            if bias:
                yield f"{at}{name}.bias", (width,), "BF16"
    yield f"{at}o_proj.weight", (hidden, query), "BF16"
    if architecture == "GptOssForCausalLM":
        yield f"{at}o_proj.bias", (hidden,), "BF16"
        yield f"{at}sinks", (heads,), "BF16"
    if architecture.startswith(("Qwen3", "Gemma3")):
        yield f"{at}q_norm.weight", (size,), "BF16"
        yield f"{at}k_norm.weight", (size,), "BF16"


def _latent(config: Config, architecture: str, at: str) -> Iterator[Tensor]:
    """Multi-head latent attention of DeepSeek V2, without a compressed query."""
    del architecture
    hidden, heads, rank = (_number(config, name) for name in ("hidden_size", "num_attention_heads", "kv_lora_rank"))
    rope, plain, value = (_number(config, name) for name in ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"))
    yield f"{at}q_proj.weight", (heads * (plain + rope), hidden), "BF16"
    yield f"{at}kv_a_proj_with_mqa.weight", (rank + rope, hidden), "BF16"
    yield f"{at}kv_a_layernorm.weight", (rank,), "BF16"
    yield f"{at}kv_b_proj.weight", (heads * (plain + value), rank), "BF16"
    yield f"{at}o_proj.weight", (hidden, heads * value), "BF16"


def _feed_forward(config: Config, architecture: str, layer: int, at: str) -> Iterator[Tensor]:
    hidden, inner = _number(config, "hidden_size"), _number(config, "intermediate_size")
    if architecture == "GptOssForCausalLM":
        yield from _gpt_oss_experts(config, f"{at}mlp.")
    elif architecture == "MixtralForCausalLM":
        experts = _number(config, "num_local_experts")
        yield f"{at}block_sparse_moe.gate.weight", (experts, hidden), "BF16"
        for expert in range(experts):
            for name, shape in (("w1", (inner, hidden)), ("w2", (hidden, inner)), ("w3", (inner, hidden))):
                yield f"{at}block_sparse_moe.experts.{expert}.{name}.weight", shape, "BF16"
    elif architecture == "Phi3ForCausalLM":
        yield f"{at}mlp.gate_up_proj.weight", (2 * inner, hidden), "BF16"
        yield f"{at}mlp.down_proj.weight", (hidden, inner), "BF16"
    elif "moe_intermediate_size" in config and layer >= _number(config, "first_k_dense_replace", 0):
        experts = _number(config, "num_experts", _number(config, "n_routed_experts", 0))
        width = _number(config, "moe_intermediate_size")
        yield f"{at}mlp.gate.weight", (experts, hidden), "BF16"
        for expert in range(experts):
            yield from _gated(f"{at}mlp.experts.{expert}.", hidden, width)
        shared = _number(config, "n_shared_experts", 0)
        if shared:
            yield from _gated(f"{at}mlp.shared_experts.", hidden, shared * width)
    else:
        yield from _gated(f"{at}mlp.", hidden, inner)


def _gated(at: str, hidden: int, inner: int) -> Iterator[Tensor]:
    yield f"{at}gate_proj.weight", (inner, hidden), "BF16"
    yield f"{at}up_proj.weight", (inner, hidden), "BF16"
    yield f"{at}down_proj.weight", (hidden, inner), "BF16"


def _gpt_oss_experts(config: Config, at: str) -> Iterator[Tensor]:
    """MXFP4: blocks of 32 values in 16 bytes, and a scale byte for each."""
    hidden, inner, experts = (
        _number(config, name) for name in ("hidden_size", "intermediate_size", "num_local_experts")
    )
    yield f"{at}router.weight", (experts, hidden), "BF16"
    yield f"{at}router.bias", (experts,), "BF16"
    for name, rows, columns in (("gate_up_proj", 2 * inner, hidden), ("down_proj", hidden, inner)):
        yield f"{at}experts.{name}_blocks", (experts, rows, columns // 32, 16), "U8"
        yield f"{at}experts.{name}_scales", (experts, rows, columns // 32), "U8"
        yield f"{at}experts.{name}_bias", (experts, rows), "BF16"


def _falcon(config: Config) -> Iterator[Tensor]:
    """Falcon with one key and value head; its checkpoint holds the output beside the embeddings."""
    hidden, heads, vocabulary = (_number(config, name) for name in ("hidden_size", "num_attention_heads", "vocab_size"))
    size = hidden // heads
    yield "transformer.word_embeddings.weight", (vocabulary, hidden), "BF16"
    yield "lm_head.weight", (vocabulary, hidden), "BF16"
    for name in ("weight", "bias"):
        yield f"transformer.ln_f.{name}", (hidden,), "BF16"
    for layer in range(_number(config, "num_hidden_layers")):
        at = f"transformer.h.{layer}."
        yield f"{at}self_attention.query_key_value.weight", (hidden + 2 * size, hidden), "BF16"
        yield f"{at}self_attention.dense.weight", (hidden, hidden), "BF16"
        yield f"{at}mlp.dense_h_to_4h.weight", (4 * hidden, hidden), "BF16"
        yield f"{at}mlp.dense_4h_to_h.weight", (hidden, 4 * hidden), "BF16"
        for name in ("weight", "bias"):
            yield f"{at}input_layernorm.{name}", (hidden,), "BF16"
