"""Memory of a multimodal projector (mmproj) on the first device."""

from __future__ import annotations

from gslc.ir.facts import GgufFacts
from gslc.memory.gguf.types import pad, tensor_bytes

FLOAT = 4
CHANNELS = 3
DYNAMIC = ("qwen2vl_merger", "qwen2.5vl_merger", "qwen2.5o", "qwen3vl_merger", "pixtral", "kimivl", "lfm2", "cogvlm")
WINDOWED = ("qwen2.5vl_merger", "qwen2.5o")
DYNAMIC_TOKENS = 46 * 46  # the warm-up image of projectors with a dynamic resolution (tools/mtmd/clip.cpp)
MERGED = 4  # patches of one of their tokens: 2 x 2


def projector_bytes(facts: GgufFacts) -> int:
    """Weights and the compute buffer of the image that the engine warms up with."""
    weights = sum(pad(tensor_bytes(group.type, group.shape), 128) * group.count for group in facts.tensors)
    return weights + projector_compute_bytes(facts)


def projector_compute_bytes(facts: GgufFacts) -> int:
    """Compute bytes: for each patch its pixels, two activations and the widest of feed forward and Q, K, V.

    Measured for Qwen2-VL-2B (46 x 46 tokens): 267 MiB, which this gives: 8464 patches of (588 + 2 x 1280 + 5120)
    floats. Projectors with a window add their mask, patches squared in f32 and f16.
    """
    hyper = facts.hyper
    embedding = _integer(hyper.get("clip.vision.embedding_length"))
    width = _integer(hyper.get("clip.vision.feed_forward_length"))
    patch = max(1, _integer(hyper.get("clip.vision.patch_size"), 14))
    size = _integer(hyper.get("clip.vision.image_size"), 336)
    kind = str(hyper.get("clip.projector_type", hyper.get("clip.vision.projector_type", "")))
    patches = DYNAMIC_TOKENS * MERGED if kind in DYNAMIC else (size // patch) ** 2
    gates = 2 if any("ffn_gate" in group.name for group in facts.tensors) else 1
    widest = max(gates * width, 3 * embedding)
    mask = patches * patches * (FLOAT + 2) if kind in WINDOWED else 0
    return FLOAT * patches * (CHANNELS * patch * patch + 2 * embedding + widest) + mask


def _integer(value: object, default: int = 0) -> int:
    return int(value) if isinstance(value, int | float) else default
