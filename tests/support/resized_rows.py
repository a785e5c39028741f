"""Weights on devices and hosts as a table scaled by file size has them, beside the table of the real file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from quant_mixes import BASES, mixed
from truth import model_facts

from gslc.engines.llama_profile import profile_of
from gslc.engines.llama_settings import LlamaSettings
from gslc.ir.facts import GgufFacts
from gslc.memory.gguf.assign import assign_layers
from gslc.memory.gguf.resized import Spread, resized
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.weights import plan_weights

MODELS = (
    "llama3.1-8b-q4_k_m", "llama3.3-70b-q4_k_m", "llama3.2-1b-f16", "qwen3-4b-q4_k_m", "qwen2.5-32b-q4_k_m", "gemma3-27b-q4_k_m",
    "phi3-mini-q4_k_m", "granite4-h-micro-q4_k_m", "qwen3-30b-a3b-q4_k_m", "mixtral-8x7b-q4_k_m", "deepseek-v2-lite-q4_k_m",
    "qwen3-next-80b-a3b-q4_k_m", "gpt-oss-20b-mxfp4",
)  # fmt: skip
MODES = ("one card", "CPU", "two cards", "partial: card", "partial: host", "experts: card", "experts: host")
SPLITS = ((1.0, 1.0), (1.0, 3.0), (3.0, 1.0))
CUDA_ALIGNMENT = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Bytes of weights in one place, estimated and real."""

    model: str
    asked: str  # the quantisation whose header is known
    other: str  # the one of which only the size is
    mode: str
    estimated: int
    real: int

    @property
    def error(self) -> float:
        """Relative; above 0: too much was estimated."""
        return (self.estimated - self.real) / self.real


@cache
def _mix(model: str, quantization: str) -> GgufFacts:
    return mixed(model_facts(model), quantization)


@cache
def _real(model: str, quantization: str) -> ModelShape:
    return ModelShape(_mix(model, quantization))


@cache
def rows_of(model: str, asked: str) -> tuple[Row, ...]:
    """All layouts of all smaller quantisations."""
    return tuple(_rows_of(model, asked))


def _rows_of(model: str, asked: str) -> Iterator[Row]:
    known = _mix(model, asked)
    for other in BASES:
        size = _mix(model, other).file_bytes
        if size >= known.file_bytes:
            continue
        for mode, estimated, real in _places(_scaled(known, size, "together"), _scaled(known, size, "apart"), _real(model, other)):  # fmt: skip
            if real:
                yield Row(model=model, asked=asked, other=other, mode=mode, estimated=estimated, real=real)


def _scaled(facts: GgufFacts, size: int, spread: Spread) -> ModelShape:
    scaled = resized(facts, size, spread)
    assert scaled is not None
    return ModelShape(scaled)


def _places(together: ModelShape, apart: ModelShape, real: ModelShape) -> Iterator[tuple[str, int, int]]:
    layers = real.blocks + 1
    yield "one card", _weights(together, layers)[0], _weights(real, layers)[0]
    yield "CPU", _weights(together, 0, devices=0)[-1], _weights(real, 0, devices=0)[-1]
    for split in SPLITS:
        cards, exact_cards = _weights(apart, layers, 2, split)[:2], _weights(real, layers, 2, split)[:2]
        for estimated, exact in zip(cards, exact_cards, strict=True):
            yield "two cards", estimated, exact
    for count in (layers // 8, layers // 4, layers // 2, 3 * layers // 4, layers - 1):
        (card, host), (exact_card, exact_host) = _weights(apart, count), _weights(real, count)
        yield "partial: card", card, exact_card
        yield "partial: host", host, exact_host
    if real.experts:
        for count in (layers // 4, layers // 2):
            (card, host), (exact_card, exact_host) = _weights(apart, layers, moe=count), _weights(real, layers, moe=count)  # fmt: skip
            yield "experts: card", card, exact_card
            yield "experts: host", host, exact_host


def _weights(
    shape: ModelShape, layers: int, devices: int = 1, split: tuple[float, ...] | None = None, moe: int = 0
) -> tuple[int, ...]:
    """Bytes on each device and, last, in host memory."""
    profile = profile_of("llama.cpp", None)
    assert profile is not None
    settings = replace(LlamaSettings(), gpu_layers=layers, tensor_split=split, cpu_moe_layers=moe)
    plan = plan_weights(
        shape, assign_layers(shape.blocks, devices, settings, profile), devices, settings, alignment=CUDA_ALIGNMENT,
        repacks=not devices, pieces=True,
    )  # fmt: skip
    return (*plan.devices, plan.mapped + plan.repacked)
