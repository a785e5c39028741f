"""What each layer of a model keeps between steps, and which layers hold experts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from gslc.memory.vllm.config import Config, flag, integer, integers, interval, text, words

LayerKind: TypeAlias = Literal["full", "sliding", "chunked", "mamba", "linear", "both", "mlp"]

ATTENTION_FREE = frozenset({"mamba", "mamba2", "falcon_mamba"})


def layer_kinds(inner: Config, model_type: str, layers: int) -> tuple[LayerKind, ...]:
    """The kind of every layer, first layer first. A pattern of another length is cut, or continued with attention."""
    return (*_kinds(inner, model_type, layers), *_all("full", layers))[:layers]


def expert_layers(inner: Config, model_type: str, layers: int) -> tuple[int, ...]:
    """The layers whose feed-forward is a mixture of experts."""
    if model_type == "jamba":
        period, offset = (
            interval(inner, "expert_layer_period", default=2),
            integer(inner, "expert_layer_offset", default=1),
        )
        return tuple(index for index in range(layers) if index % period == offset)
    if model_type == "llama4_text":
        written = integers(inner, "moe_layers")
        step = max(1, integer(inner, "interleave_moe_layer_step", default=1))
        return written or tuple(range(step - 1, layers, step))
    dense = set(integers(inner, "mlp_only_layers"))
    first = integer(inner, "first_k_dense_replace")
    step = max(1, integer(inner, "decoder_sparse_step", default=1))
    frequency = max(1, integer(inner, "moe_layer_freq", default=1))
    return tuple(
        index
        for index in range(layers)
        if index >= first and index not in dense and (index + 1) % step == 0 and index % frequency == 0
    )


def _kinds(inner: Config, model_type: str, layers: int) -> tuple[LayerKind, ...]:
    if model_type in ATTENTION_FREE:
        return _all("mamba", layers)
    pattern = text(inner, "hybrid_override_pattern")
    if pattern:
        letters: dict[str, LayerKind] = {"M": "mamba", "*": "full", "-": "mlp", "E": "mlp"}
        return tuple(map(letters.__getitem__, (letter if letter in letters else "*" for letter in pattern)))
    written = words(inner, "layer_types") or words(inner, "layers_block_type")
    if len(written) >= layers > 0:
        return tuple(_kind(word, inner) for word in written[:layers])
    return _kinds_by_rule(inner, model_type, layers)


def _kind(word: str, inner: Config) -> LayerKind:
    if word == "sliding_attention":
        return "sliding" if integer(inner, "sliding_window") else "full"
    if word == "chunked_attention":
        return "chunked"
    if word == "linear_attention":
        return "linear"
    if word in {"mamba", "mamba2", "recurrent", "m", "conv"}:
        return "mamba"
    return "both" if word == "hybrid" else "full"


def _all(kind: LayerKind, layers: int) -> tuple[LayerKind, ...]:
    """The same kind for every layer."""
    return tuple(kind for _ in range(layers))


def _mix(attends: Iterable[bool], other: LayerKind) -> tuple[LayerKind, ...]:
    """Full attention where `attends` is true, the other kind elsewhere."""
    full: LayerKind = "full"
    return tuple(full if held else other for held in attends)


def _kinds_by_rule(inner: Config, model_type: str, layers: int) -> tuple[LayerKind, ...]:
    window = integer(inner, "sliding_window")
    if model_type == "falcon_h1":
        return _all("both", layers)
    if model_type == "jamba":
        period, offset = interval(inner, "attn_layer_period", default=8), integer(inner, "attn_layer_offset", default=4)
        return _mix((index % period == offset for index in range(layers)), "mamba")
    if model_type == "bamba":
        attention = integers(inner, "attn_layer_indices")
        return _mix((index in attention for index in range(layers)), "mamba")
    if model_type in {"qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"}:
        step = interval(inner, "full_attention_interval", default=4)
        return _mix(((index + 1) % step == 0 for index in range(layers)), "linear")
    if model_type == "llama4_text" and integer(inner, "attention_chunk_size"):
        written = integers(inner, "no_rope_layers")
        usual = tuple(int((index + 1) % 4 != 0) for index in range(layers))
        rotated = written if len(written) >= layers else usual
        return _mix((not rotated[index] for index in range(layers)), "chunked")
    if not window:
        return _all("full", layers)
    if model_type in {"gemma2", "gpt_oss"}:
        return _mix((index % 2 == 1 for index in range(layers)), "sliding")
    if model_type in {"gemma3", "gemma3_text", "cohere2", "exaone4", "olmo3"}:
        pattern = interval(
            inner, "sliding_window_pattern", "_sliding_window_pattern", default=6 if "gemma" in model_type else 4
        )
        return _mix(((index + 1) % pattern == 0 for index in range(layers)), "sliding")
    if model_type.startswith("qwen"):
        if not flag(inner, "use_sliding_window"):
            return _all("full", layers)
        first = integer(inner, "max_window_layers", default=layers)
        return _mix((index < first for index in range(layers)), "sliding")
    return _all("sliding", layers)
