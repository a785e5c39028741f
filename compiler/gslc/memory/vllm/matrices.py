"""The parameters of a model as vLLM builds them: every matrix with the way tensor parallelism splits it.

One description serves twice: `legality` asks whether the splits divide, `weights` counts bytes per rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gslc.memory.vllm.config import flag, integer, text
from gslc.memory.vllm.encoders import audio_encoder, encoder_ends, vision_tower
from gslc.memory.vllm.matrix import FLOAT32_BYTES, Matrix, Split
from gslc.memory.vllm.mixers import delta_net, state_space
from gslc.memory.vllm.shape import Experts, Mla, Shape

# Served through the Transformers backend without a plan for tensor parallelism: all but the vocabulary is on every
# rank.
UNSPLIT = frozenset({"gpt_bigcode"})


def matrices(shape: Shape) -> tuple[Matrix, ...]:
    """All parameters of the model."""
    found = (
        *_ends(shape),
        *_attention(shape),
        *state_space(shape),
        *delta_net(shape),
        *_feed_forward(shape),
        *_norms(shape),
        *audio_encoder(shape),
        *vision_tower(shape),
    )
    if shape.model_type not in UNSPLIT:
        return found
    return tuple(item if item.split == "vocabulary" else replace(item, split="whole") for item in found)


def decided(shape: Shape, habit: bool | str, default: bool = False) -> bool:
    """A family's bias: fixed, or what the named key of the configuration says."""
    return flag(shape.config, habit, default=default) if isinstance(habit, str) else habit


def _ends(shape: Shape) -> Iterator[Matrix]:
    family, hidden = shape.family, shape.hidden
    width = integer(shape.config, "word_embed_proj_dim", default=hidden) if shape.model_type == "opt" else hidden
    if shape.encoder_only:
        yield from encoder_ends(shape)
        return
    # Whisper's is a plain embedding that its head shares: whole on every rank.
    split: Split = "whole" if shape.cross_attention else "vocabulary"
    yield Matrix(name="embedding", split=split, outputs=shape.vocabulary, inputs=width, stage="first")
    if width != hidden:
        yield Matrix(name="project_in", split="whole", outputs=hidden, inputs=width, stage="first")
        yield Matrix(name="project_out", split="whole", outputs=width, inputs=hidden, stage="last")
    if family.positions is not None and text(shape.config, "position_embedding_type", default="absolute") == "absolute":
        rows = shape.positions + family.positions
        yield Matrix(name="positions", split="whole", outputs=rows, inputs=hidden, stage="first")
    norm = (2 if family.norm_bias else 1) if family.norm_weight else 0
    if family.embedding_norm:
        yield Matrix(name="embedding norm", split="whole", outputs=norm, inputs=hidden, stage="first")
    # OPT-350M normalises behind its layers and has no norm at the end.
    ends_in_norm = family.final_norm and flag(shape.config, "do_layer_norm_before", default=True)
    if ends_in_norm and norm:
        yield Matrix(name="final norm", split="whole", outputs=norm, inputs=hidden, stage="last")
    # A bare MistralModel has a head too where it generates; where it pools, the files themselves tell that they
    # have none.
    yield Matrix(
        name="output head",
        split="vocabulary",
        outputs=shape.vocabulary,
        inputs=width,
        stage="last",
        bias=family.head_bias,
    )


def _attention(shape: Shape) -> Iterator[Matrix]:
    layers = tuple(index for index, kind in enumerate(shape.kinds) if kind in {"full", "sliding", "chunked", "both"})
    if not layers or not shape.heads:
        return
    if shape.mla is not None:
        yield from _latent_attention(shape, shape.mla, layers)
        return
    family, width, hidden = shape.family, shape.head_width, shape.hidden
    queries, keys = shape.heads * width, shape.kv_heads * width
    gate = queries if shape.linear is not None and flag(shape.config, "attn_output_gate", default=True) else 0
    yield Matrix(
        name="query, key and value",
        split="heads",
        outputs=queries + gate + 2 * keys,
        inputs=hidden,
        parts=(queries + gate, keys, keys),
        bias=decided(shape, family.qkv_bias, default=_writes_bias(shape)),
        layers=layers,
        quantized=True,
    )
    yield Matrix(
        name="attention output",
        split="row",
        outputs=hidden,
        inputs=queries,
        bias=decided(shape, family.output_bias, default=_writes_bias(shape)),
        layers=layers,
        quantized=True,
    )
    if family.qk_norm == "head":
        yield Matrix(name="query and key norms", split="whole", outputs=2, inputs=width, layers=layers)
    elif family.qk_norm == "full":
        yield Matrix(name="query and key norms", split="whole", outputs=1, inputs=queries + keys, layers=layers)
    if flag(shape.config, "use_qk_norm") and shape.model_type in {"cohere", "glm4_moe"}:
        per_head = shape.model_type == "cohere"
        yield Matrix(
            name="query and key norms",
            split="column" if per_head else "whole",
            outputs=shape.heads + shape.kv_heads if per_head else 2,
            inputs=width,
            layers=layers,
        )
    if shape.model_type == "gpt_oss":
        yield Matrix(name="attention sinks", split="column", outputs=shape.heads, layers=layers)


def _writes_bias(shape: Shape) -> bool:
    """Families whose bias key is assumed true where the configuration leaves it out (OPT, StarCoder2, GPT-NeoX)."""
    return shape.model_type in {"opt", "starcoder2", "gpt_neox"}


def _latent_attention(shape: Shape, mla: Mla, layers: tuple[int, ...]) -> Iterator[Matrix]:
    """DeepSeek: the projections down to the ranks are whole on every rank, those up to the heads are split."""
    hidden, heads = shape.hidden, shape.heads
    query_width = mla.nope_width + mla.rope_width
    if mla.query_rank:
        yield Matrix(
            name="query down", split="whole", outputs=mla.query_rank, inputs=hidden, layers=layers, quantized=True
        )
        yield Matrix(name="query norm", split="whole", outputs=1, inputs=mla.query_rank, layers=layers)
    yield Matrix(
        name="query up",
        split="column",
        outputs=heads * query_width,
        inputs=mla.query_rank or hidden,
        layers=layers,
        quantized=True,
    )
    yield Matrix(
        name="key and value down",
        split="whole",
        outputs=mla.latent_rank + mla.rope_width,
        inputs=hidden,
        layers=layers,
        quantized=True,
    )
    yield Matrix(name="key and value norm", split="whole", outputs=1, inputs=mla.latent_rank, layers=layers)
    yield Matrix(
        name="key and value up",
        split="column",
        outputs=heads * (mla.nope_width + mla.value_width),
        inputs=mla.latent_rank,
        layers=layers,
        quantized=True,
    )
    yield Matrix(
        name="attention output",
        split="row",
        outputs=hidden,
        inputs=heads * mla.value_width,
        layers=layers,
        quantized=True,
    )


def _feed_forward(shape: Shape) -> Iterator[Matrix]:
    if shape.model_type in {"mamba", "mamba2", "falcon_mamba"}:
        return
    experts = shape.experts
    sparse = set(experts.layers) if experts is not None else set()
    hybrid = shape.model_type == "nemotron_h"
    dense = tuple(
        index for index, kind in enumerate(shape.kinds) if index not in sparse and (not hybrid or kind == "mlp")
    )
    if experts is not None:
        yield from _experts(shape, experts)
    if not dense or not shape.intermediate:
        return
    yield from _mlp(shape, "feed-forward", shape.intermediate, dense, gated=shape.family.gated and not hybrid)


def _mlp(shape: Shape, name: str, width: int, layers: tuple[int, ...], *, gated: bool) -> Iterator[Matrix]:
    bias = decided(shape, shape.family.mlp_bias, default=_writes_bias(shape))
    up_parts = (width, width) if gated else ()
    yield Matrix(
        name=f"{name} up",
        split="whole" if shape.model_type == "modernbert" else "column",  # its up projection is a plain layer
        outputs=sum(up_parts) or width,
        inputs=shape.hidden,
        parts=up_parts,
        bias=bias,
        layers=layers,
        quantized=True,
    )
    yield Matrix(
        name=f"{name} down", split="row", outputs=shape.hidden, inputs=width, bias=bias, layers=layers, quantized=True
    )


def _experts(shape: Shape, experts: Experts) -> Iterator[Matrix]:
    hidden, layers = shape.hidden, experts.layers
    yield Matrix(
        name="router",
        split="whole",
        outputs=experts.count,
        inputs=hidden,
        bias=experts.gate_bias,
        layers=layers,
        value_bytes=FLOAT32_BYTES if shape.model_type == "glm4_moe" else None,
    )
    if experts.router_bias:
        yield Matrix(
            name="router correction",
            split="whole",
            outputs=experts.router_bias,
            layers=layers,
            value_bytes=FLOAT32_BYTES,
        )
    yield Matrix(
        name="expert up",
        split="expert_column",
        outputs=2 * experts.width,
        inputs=hidden,
        parts=(experts.width, experts.width),
        repeats=experts.count,
        bias=experts.biases,
        layers=layers,
        quantized=True,
    )
    yield Matrix(
        name="expert down",
        split="expert_row",
        outputs=hidden,
        inputs=experts.width,
        repeats=experts.count,
        bias=experts.biases,
        layers=layers,
        quantized=True,
    )
    if experts.shared_width:
        yield from _mlp(shape, "shared expert", experts.shared_width, layers, gated=True)
    if experts.shared_gate:
        yield Matrix(name="shared expert gate", split="whole", outputs=1, inputs=hidden, layers=layers)


def _norms(shape: Shape) -> Iterator[Matrix]:
    family = shape.family
    norms = family.norms
    if shape.model_type == "falcon":
        norms = (
            2
            if flag(shape.config, "new_decoder_architecture") or not flag(shape.config, "parallel_attn", default=True)
            else 1
        )
    if shape.model_type == "nemotron_h":
        norms = 1
    if not family.norm_weight or not norms:
        return
    biased = family.norm_bias and not flag(shape.config, "no_bias")
    if shape.model_type == "modernbert":  # its first layer has no norm before the attention
        yield Matrix(name="first norm", split="whole", outputs=1, inputs=shape.hidden, layers=(0,))
        layers = tuple(range(1, shape.layers))
    else:
        layers = tuple(range(shape.layers))
    yield Matrix(
        name="norms",
        split="whole",
        outputs=norms * (2 if biased else 1),
        inputs=shape.hidden,
        layers=layers,
    )
