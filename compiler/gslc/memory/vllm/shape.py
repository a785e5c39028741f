"""The shape of a model as vLLM builds it, read from config.json: heads, widths, experts, kinds of layers."""

from __future__ import annotations

from typing import Literal

from gslc.ir.facts import SafetensorsFacts
from gslc.ir.record import dataclass
from gslc.memory.vllm.config import (
    Config,
    architecture,
    flag,
    integer,
    mapping,
    text,
    text_config,
)
from gslc.memory.vllm.families import DEFAULT_FAMILY, FAMILIES, Family
from gslc.memory.vllm.layer_kinds import LayerKind, expert_layers, layer_kinds
from gslc.memory.vllm.quantization import Quantization, read_quantization

ENCODER_ONLY = frozenset(
    {"bert", "roberta", "xlm-roberta", "modernbert", "nomic_bert", "gte", "new", "snowflake_gte", "distilbert"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mla:
    """Multi-head latent attention: ranks and head widths. query_rank 0: queries are projected directly.

    unpacked: the cache holds keys and values of every head instead of the latent (models/minicpm3.py).
    """

    query_rank: int
    latent_rank: int
    nope_width: int
    rope_width: int
    value_width: int
    unpacked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """The mixture of experts: how many, how wide, in which layers, and what every token passes besides."""

    count: int
    width: int
    per_token: int
    layers: tuple[int, ...]
    shared_width: int = 0
    shared_gate: bool = False
    router_bias: int = 0  # values of a correction bias a layer, held in float32
    gate_bias: bool = False
    biases: bool = False  # gpt-oss: each expert matrix has one


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpace:
    """A Mamba mixer: widths of its parts, as the layers of vLLM name them."""

    version: Literal[1, 2]
    inner: int
    state: int
    convolution: int
    groups: int = 1
    heads: int = 0
    head_width: int = 0
    rank: int = 0
    convolution_bias: bool = True
    projection_bias: bool = False
    inner_norms: bool = False
    state_dtype: str = ""  # of the recurrent state; "" follows the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAttention:
    """A gated delta net (Qwen3-Next): key and value heads with their widths."""

    key_heads: int
    value_heads: int
    key_width: int
    value_width: int
    convolution: int
    state_dtype: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """The vision tower: what the parallel layout has to divide."""

    layers: int
    heads: int
    hidden: int
    intermediate: int
    gated: bool = False
    patch_values: int = 0  # numbers of one patch: colours x height x width (x frames)
    patches: int = 0  # of a picture of the tower's own size
    merged: int = 0  # patches that become one token; 0: a projector of two layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Everything that legality, weights and the KV cache are counted from. Widths are in values, not bytes."""

    architecture: str
    model_type: str
    family: Family
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    intermediate: int
    vocabulary: int
    tied: bool
    dtype: str
    kinds: tuple[LayerKind, ...]
    window: int
    positions: int
    quantization: Quantization
    mla: Mla | None = None
    experts: Experts | None = None
    state_space: StateSpace | None = None
    linear: LinearAttention | None = None
    vision: Vision | None = None
    encoder_layers: int = 0  # Whisper's encoder, beside `layers` of its decoder
    encoder_positions: int = 0
    config: Config

    @property
    def encoder_only(self) -> bool:
        """True where no key or value is kept between steps (BERT and its kin)."""
        return self.model_type in ENCODER_ONLY

    @property
    def cross_attention(self) -> bool:
        """True for an encoder and a decoder (Whisper)."""
        return self.encoder_layers > 0

    @property
    def multimodal(self) -> bool:
        """True where the model has a tower for images."""
        return self.vision is not None


def read_shape(facts: SafetensorsFacts) -> Shape:
    """The shape of the model that these files hold."""
    config = facts.config
    inner = text_config(config)
    model_type = text(inner, "model_type", default=text(config, "model_type"))
    family = _family(model_type, inner)
    heads = integer(
        inner, "num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads", default=0
    )
    hidden = integer(inner, "hidden_size", "n_embd", "d_model", "n_embed", "dim", default=0)
    layers = integer(
        inner, "num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers", "encoder_layers", default=0
    )
    head_width = integer(
        inner, "head_dim", "attention_head_dim", "kv_channels", default=hidden // heads if heads else 0
    )
    kinds = layer_kinds(inner, model_type, layers)
    return Shape(
        architecture=architecture(config),
        model_type=model_type,
        family=family,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=_kv_heads(inner, model_type, heads),
        head_width=head_width,
        intermediate=_intermediate(inner, model_type, hidden),
        vocabulary=integer(inner, "vocab_size", "padded_vocab_size", default=integer(config, "vocab_size")),
        tied=family.always_tied
        or flag(config, "tie_word_embeddings", default=flag(inner, "tie_word_embeddings", default=family.tied)),
        dtype=text(inner, "torch_dtype", "dtype", default=text(config, "torch_dtype", "dtype", default="float32")),
        kinds=kinds,
        window=integer(inner, "sliding_window", "attention_chunk_size") if {"sliding", "chunked"} & set(kinds) else 0,
        positions=_positions(inner),
        quantization=read_quantization(config),
        mla=_mla(inner),
        experts=_experts(inner, model_type, layers, hidden),
        state_space=_state_space(inner, model_type, hidden),
        linear=_linear(inner),
        vision=_vision(config),
        encoder_layers=integer(inner, "encoder_layers") if model_type == "whisper" else 0,
        encoder_positions=integer(inner, "max_source_positions", default=1500) if model_type == "whisper" else 0,
        config=inner,
    )


def _family(model_type: str, inner: Config) -> Family:
    return FAMILIES.get(model_type, DEFAULT_FAMILY)


def _positions(inner: Config) -> int:
    return integer(
        inner, "max_target_positions", "max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "seq_length"
    )


def _kv_heads(inner: Config, model_type: str, heads: int) -> int:
    """Key and value heads; the spellings of vLLM's ModelConfig.get_total_num_kv_heads."""
    if model_type == "falcon":
        if flag(inner, "new_decoder_architecture"):
            return integer(inner, "num_kv_heads", "n_head_kv", default=heads)
        return 1 if flag(inner, "multi_query", default=True) else heads
    if model_type == "gpt_bigcode" and flag(inner, "multi_query", default=True):
        return 1
    if model_type == "chatglm" and flag(inner, "multi_query_attention"):
        return integer(inner, "multi_query_group_num", default=heads)
    nested = mapping(inner, "attn_config")
    if nested is not None:
        return integer(nested, "kv_n_heads", default=heads)
    return integer(inner, "num_key_value_heads", "n_head_kv", "num_kv_heads", "multi_query_group_num", default=heads)


def _intermediate(inner: Config, model_type: str, hidden: int) -> int:
    found = integer(
        inner, "intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "ffn_hidden_size", "intermediate_dim"
    )
    if model_type == "llama4_text":
        found = integer(inner, "intermediate_size_mlp", default=found)
    if model_type == "qwen":
        return found // 2
    if found:
        return found
    ratio = integer(inner, "expansion_ratio", default=4)
    return hidden * ratio


def _mla(inner: Config) -> Mla | None:
    rank = integer(inner, "kv_lora_rank")
    if not rank:
        return None
    unpacked = text(inner, "model_type") == "minicpm3"
    narrow = integer(inner, "hidden_size") // max(1, integer(inner, "num_attention_heads"))
    return Mla(
        query_rank=integer(inner, "q_lora_rank"),
        latent_rank=rank,
        nope_width=integer(inner, "qk_nope_head_dim", default=128),
        rope_width=integer(inner, "qk_rope_head_dim", default=64),
        value_width=integer(inner, "v_head_dim", default=narrow if unpacked else 128),
        unpacked=unpacked,
    )


def _experts(inner: Config, model_type: str, layers: int, hidden: int) -> Experts | None:
    nested = mapping(inner, "ffn_config") or inner
    count = integer(
        nested, "num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts", "num_routed_experts"
    )
    if count <= 1:
        return None
    width = integer(nested, "moe_intermediate_size", "expert_ffn_hidden_size", "ffn_hidden_size", "intermediate_size")
    shared = integer(
        inner, "shared_expert_intermediate_size", "shared_intermediate_size", "moe_shared_expert_intermediate_size"
    )
    shared_count = integer(inner, "n_shared_experts", "num_shared_experts")
    if not shared and shared_count and model_type != "jamba":
        shared = shared_count * width
    if model_type == "llama4_text":
        shared = width
    correction = text(inner, "topk_method") == "noaux_tc" or model_type in {"glm4_moe", "glm4_moe_lite"}
    return Experts(
        count=count,
        width=width,
        per_token=integer(
            nested, "num_experts_per_tok", "moe_top_k", "experts_per_token", "num_experts_per_token", default=2
        ),
        layers=expert_layers(inner, model_type, layers),
        shared_width=shared,
        shared_gate=model_type in {"qwen2_moe", "qwen3_next", "qwen3_5_moe_text"},
        router_bias=count if correction else 0,
        gate_bias=model_type == "gpt_oss",
        biases=model_type == "gpt_oss",
    )


def _state_space(inner: Config, model_type: str, hidden: int) -> StateSpace | None:
    if model_type in {"mamba", "falcon_mamba", "jamba"}:
        expand = integer(inner, "expand", "mamba_expand", default=2)
        rank = integer(inner, "time_step_rank", "mamba_dt_rank", default=-(-hidden // 16))
        return StateSpace(
            version=1,
            inner=integer(inner, "intermediate_size", default=expand * hidden)
            if model_type != "jamba"
            else expand * hidden,
            state=integer(inner, "state_size", "mamba_d_state", default=16),
            convolution=integer(inner, "conv_kernel", "mamba_d_conv", default=4),
            rank=rank,
            convolution_bias=flag(inner, "use_conv_bias", "mamba_conv_bias", default=True),
            projection_bias=flag(inner, "use_bias", "mamba_proj_bias"),
            inner_norms=model_type == "jamba",
        )
    heads = integer(inner, "mamba_n_heads", "mamba_num_heads", "num_heads")
    if not integer(inner, "mamba_d_state", "ssm_state_size", "state_size") or not heads:
        return None
    width = integer(inner, "mamba_d_head", "mamba_head_dim", "head_dim", default=64)
    return StateSpace(
        version=2,
        inner=integer(inner, "mamba_d_ssm", default=heads * width) or heads * width,
        state=integer(inner, "mamba_d_state", "ssm_state_size", "state_size", default=128),
        convolution=integer(inner, "mamba_d_conv", "conv_kernel", default=4),
        groups=integer(inner, "mamba_n_groups", "n_groups", default=1),
        heads=heads,
        head_width=width,
        convolution_bias=flag(inner, "mamba_conv_bias", "use_conv_bias", default=True),
        projection_bias=flag(inner, "mamba_proj_bias", "use_bias"),
        state_dtype=text(inner, "mamba_ssm_cache_dtype", default="float32" if model_type == "nemotron_h" else ""),
    )


def _linear(inner: Config) -> LinearAttention | None:
    value_heads = integer(inner, "linear_num_value_heads")
    if not value_heads:
        return None
    return LinearAttention(
        key_heads=integer(inner, "linear_num_key_heads"),
        value_heads=value_heads,
        key_width=integer(inner, "linear_key_head_dim", default=128),
        value_width=integer(inner, "linear_value_head_dim", default=128),
        convolution=integer(inner, "linear_conv_kernel_dim", default=4),
        state_dtype=text(inner, "mamba_ssm_dtype", "mamba_ssm_cache_dtype"),
    )


def _vision(config: Config) -> Vision | None:
    found = mapping(config, "vision_config")
    thinker = mapping(config, "thinker_config")
    if found is None and thinker is not None:
        found = mapping(thinker, "vision_config")
    if found is None:
        return None
    gated = "qwen2_5" in text(found, "model_type", default=text(config, "model_type"))
    hidden = integer(found, "hidden_size") if gated else integer(found, "embed_dim", "hidden_size", "width")
    patch = integer(found, "patch_size", default=14)
    merge = integer(found, "spatial_merge_size")
    side = integer(found, "image_size", default=336) // max(1, patch)
    return Vision(
        layers=integer(found, "depth", "num_hidden_layers", "layers"),
        heads=integer(found, "num_heads", "num_attention_heads", "heads", default=16),
        hidden=hidden,
        intermediate=integer(found, "intermediate_size", default=hidden * integer(found, "mlp_ratio", default=4)),
        gated=gated,
        patch_values=3 * patch * patch * integer(found, "temporal_patch_size", default=1),
        patches=side * side,
        merged=merge * merge,
    )
