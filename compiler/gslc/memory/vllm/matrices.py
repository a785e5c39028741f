"""The parameters of a model as vLLM builds them: every matrix with the way tensor parallelism splits it.

One description serves twice: `legality` asks whether the splits divide, `weights` counts bytes per rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gslc.memory.vllm.config import flag, integer, text
from gslc.memory.vllm.shape import Experts, Mla, Shape

Split: TypeAlias = Literal["column", "row", "heads", "whole", "vocabulary", "expert_column", "expert_row"]
Stage: TypeAlias = Literal["block", "first", "last"]
FLOAT32_BYTES = 4
VOCABULARY_PADDING = 64  # vllm/model_executor/layers/vocab_parallel_embedding.py: DEFAULT_VOCAB_PADDING_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """`outputs` x `inputs` values, `repeats` times in every layer of `layers`.

    heads: the query, key and value projections side by side; key and value heads are replicated where there are fewer
    than ranks. column parts are split one by one (gate and up). whole: every rank holds all of it.
    """

    name: str
    split: Split
    outputs: int
    inputs: int = 1
    parts: tuple[int, ...] = ()  # outputs of the matrices stored side by side; () for one
    bias: bool = False
    repeats: int = 1
    layers: tuple[int, ...] = ()
    stage: Stage = "block"
    quantized: bool = False
    value_bytes: int | None = None  # None: the model's dtype


def matrices(shape: Shape) -> tuple[Matrix, ...]:
    """All parameters of the model."""
    return tuple(
        [
            *_ends(shape),
            *_attention(shape),
            *_state_space(shape),
            *_linear(shape),
            *_feed_forward(shape),
            *_norms(shape),
        ]
        + list(_encoder(shape))
    )


def decided(shape: Shape, habit: bool | str, default: bool = False) -> bool:
    """A family's bias: fixed, or what the named key of the configuration says."""
    return flag(shape.config, habit, default=default) if isinstance(habit, str) else habit


def _ends(shape: Shape) -> Iterator[Matrix]:
    family, hidden = shape.family, shape.hidden
    width = integer(shape.config, "word_embed_proj_dim", default=hidden) if shape.model_type == "opt" else hidden
    if shape.encoder_only:
        yield Matrix(name="word embeddings", split="vocabulary", outputs=shape.vocabulary, inputs=hidden, stage="first")
        types = integer(shape.config, "type_vocab_size", default=2)
        yield Matrix(name="token types", split="whole", outputs=types, inputs=hidden, stage="first")
    else:
        yield Matrix(name="embedding", split="vocabulary", outputs=shape.vocabulary, inputs=width, stage="first")
    if width != hidden:
        yield Matrix(name="project_in", split="whole", outputs=hidden, inputs=width, stage="first")
        yield Matrix(name="project_out", split="whole", outputs=width, inputs=hidden, stage="last")
    if family.positions is not None and text(shape.config, "position_embedding_type", default="absolute") == "absolute":
        rows = shape.positions + family.positions
        yield Matrix(name="positions", split="whole", outputs=rows, inputs=hidden, stage="first")
    norm = (2 if family.norm_bias else 1) if family.norm_weight else 0
    if family.embedding_norm or shape.encoder_only:
        yield Matrix(name="embedding norm", split="whole", outputs=norm, inputs=hidden, stage="first")
    if family.final_norm and norm:
        yield Matrix(name="final norm", split="whole", outputs=norm, inputs=hidden, stage="last")
    if not shape.encoder_only and shape.architecture.endswith(
        ("LMHeadModel", "ForCausalLM", "ForConditionalGeneration")
    ) | (shape.architecture == ""):
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
        split="column",
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
        name="router", split="whole", outputs=experts.count, inputs=hidden, bias=experts.gate_bias, layers=layers
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


def _state_space(shape: Shape) -> Iterator[Matrix]:
    layers = tuple(index for index, kind in enumerate(shape.kinds) if kind in {"mamba", "both"})
    mixer = shape.state_space
    if not layers or mixer is None:
        return
    hidden, inner = shape.hidden, mixer.inner
    if mixer.version == 1:
        yield Matrix(
            name="mixer convolution",
            split="column",
            outputs=inner,
            inputs=mixer.convolution,
            bias=mixer.convolution_bias,
            layers=layers,
        )
        yield Matrix(
            name="mixer input",
            split="column",
            outputs=2 * inner,
            inputs=hidden,
            parts=(inner, inner),
            bias=mixer.projection_bias,
            layers=layers,
            quantized=True,
        )
        yield Matrix(
            name="mixer parameters", split="row", outputs=mixer.rank + 2 * mixer.state, inputs=inner, layers=layers
        )
        yield Matrix(name="mixer steps", split="column", outputs=inner, inputs=mixer.rank, bias=True, layers=layers)
        yield Matrix(
            name="mixer decay",
            split="column",
            outputs=inner,
            inputs=mixer.state,
            layers=layers,
            value_bytes=FLOAT32_BYTES,
        )
        yield Matrix(name="mixer skip", split="column", outputs=inner, layers=layers)
        yield Matrix(
            name="mixer output",
            split="row",
            outputs=hidden,
            inputs=inner,
            bias=mixer.projection_bias,
            layers=layers,
            quantized=True,
        )
        if mixer.inner_norms:
            yield Matrix(name="mixer norms", split="whole", outputs=mixer.rank + 2 * mixer.state, layers=layers)
        return
    states = 2 * mixer.groups * mixer.state
    yield Matrix(
        name="mixer convolution",
        split="column",
        outputs=inner + states,
        inputs=mixer.convolution,
        parts=(inner, states // 2, states // 2),
        bias=mixer.convolution_bias,
        layers=layers,
    )
    yield Matrix(
        name="mixer input",
        split="column",
        outputs=2 * inner + states + mixer.heads,
        inputs=hidden,
        parts=(inner, inner, states // 2, states // 2, mixer.heads),
        bias=mixer.projection_bias,
        layers=layers,
        quantized=True,
    )
    yield Matrix(name="mixer heads", split="column", outputs=mixer.heads, inputs=2, layers=layers)
    yield Matrix(name="mixer decay", split="column", outputs=mixer.heads, layers=layers, value_bytes=FLOAT32_BYTES)
    yield Matrix(name="mixer norm", split="column", outputs=inner, layers=layers)
    yield Matrix(
        name="mixer output",
        split="row",
        outputs=hidden,
        inputs=inner,
        bias=mixer.projection_bias,
        layers=layers,
        quantized=True,
    )


def _linear(shape: Shape) -> Iterator[Matrix]:
    layers = tuple(index for index, kind in enumerate(shape.kinds) if kind == "linear")
    mixer = shape.linear
    if not layers or mixer is None:
        return
    keys, values = mixer.key_heads * mixer.key_width, mixer.value_heads * mixer.value_width
    yield Matrix(
        name="delta net convolution", split="column", outputs=2 * keys + values, inputs=mixer.convolution, layers=layers
    )
    yield Matrix(
        name="delta net input",
        split="column",
        outputs=2 * keys + 2 * values,
        inputs=shape.hidden,
        parts=(keys, keys, values, values),
        layers=layers,
        quantized=True,
    )
    yield Matrix(
        name="delta net gates", split="column", outputs=2 * mixer.value_heads, inputs=shape.hidden, layers=layers
    )
    yield Matrix(name="delta net steps", split="column", outputs=mixer.value_heads, layers=layers)
    yield Matrix(
        name="delta net decay", split="column", outputs=mixer.value_heads, layers=layers, value_bytes=FLOAT32_BYTES
    )
    yield Matrix(name="delta net norm", split="whole", outputs=mixer.value_width, layers=layers)
    yield Matrix(
        name="delta net output", split="row", outputs=shape.hidden, inputs=values, layers=layers, quantized=True
    )


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
    yield Matrix(
        name="norms",
        split="whole",
        outputs=norms * (2 if biased else 1),
        inputs=shape.hidden,
        layers=tuple(range(shape.layers)),
    )


def _encoder(shape: Shape) -> Iterator[Matrix]:
    """Whisper's encoder and the cross attention of its decoder."""
    if not shape.cross_attention:
        return
    hidden, layers = shape.hidden, tuple(range(shape.encoder_layers))
    width = integer(shape.config, "encoder_ffn_dim", default=4 * hidden)
    mels = integer(shape.config, "num_mel_bins", default=80)
    yield Matrix(
        name="audio convolutions", split="whole", outputs=hidden, inputs=3 * mels + 3 * hidden + 2, stage="first"
    )
    yield Matrix(name="audio positions", split="whole", outputs=shape.encoder_positions, inputs=hidden, stage="first")
    yield Matrix(name="encoder norm", split="whole", outputs=2, inputs=hidden, stage="first")
    for name, holders in (("encoder", layers), ("cross attention", tuple(range(shape.layers)))):
        yield Matrix(
            name=f"{name} query, key and value",
            split="heads",
            outputs=3 * hidden,
            inputs=hidden,
            parts=(hidden, hidden, hidden),
            bias=True,
            layers=holders,
        )
        yield Matrix(name=f"{name} output", split="row", outputs=hidden, inputs=hidden, bias=True, layers=holders)
        yield Matrix(name=f"{name} norm", split="whole", outputs=2, inputs=hidden, layers=holders)
    yield Matrix(name="encoder up", split="column", outputs=width, inputs=hidden, bias=True, layers=layers)
    yield Matrix(name="encoder down", split="row", outputs=hidden, inputs=width, bias=True, layers=layers)
    yield Matrix(name="encoder norms", split="whole", outputs=2, inputs=hidden, layers=layers)
