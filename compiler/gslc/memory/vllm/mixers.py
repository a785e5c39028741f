"""Layers that keep a state instead of keys and values: Mamba, Mamba 2, gated delta nets."""

from __future__ import annotations

from collections.abc import Iterator

from gslc.memory.vllm.config import flag
from gslc.memory.vllm.matrix import FLOAT32_BYTES, Matrix
from gslc.memory.vllm.shape import Shape


def state_space(shape: Shape) -> Iterator[Matrix]:
    """The Mamba mixers of a model, of either version."""
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
    # A single group cannot be split: every rank holds it whole (MambaMixer2, n_groups == 1).
    split = states if mixer.groups > 1 else 0
    halves = (states // 2, states // 2) if split else ()
    if not split:
        rows = mixer.convolution + int(mixer.convolution_bias)
        yield Matrix(name="mixer group convolution", split="whole", outputs=states, inputs=rows, layers=layers)
        yield Matrix(name="mixer group", split="whole", outputs=states, inputs=hidden, layers=layers, quantized=True)
    yield Matrix(
        name="mixer convolution",
        split="column",
        outputs=inner + split,
        inputs=mixer.convolution,
        parts=(inner, *halves),
        bias=mixer.convolution_bias,
        layers=layers,
    )
    yield Matrix(
        name="mixer input",
        split="column",
        outputs=2 * inner + split + mixer.heads,
        inputs=hidden,
        parts=(inner, inner, *halves, mixer.heads),
        bias=mixer.projection_bias,
        layers=layers,
        quantized=True,
    )
    yield Matrix(name="mixer heads", split="column", outputs=mixer.heads, inputs=2, layers=layers)
    yield Matrix(name="mixer decay", split="column", outputs=mixer.heads, layers=layers, value_bytes=FLOAT32_BYTES)
    if flag(shape.config, "mamba_rms_norm", default=True):
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


def delta_net(shape: Shape) -> Iterator[Matrix]:
    """The gated delta nets of a model."""
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
