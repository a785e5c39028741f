"""Memory of a multimodal projector (mmproj) on the first device."""

from __future__ import annotations

from gslc.ir.facts import GgufFacts
from gslc.memory.gguf.types import pad, tensor_bytes

FLOAT = 4


def projector_bytes(facts: GgufFacts) -> int:
    """Weights and the compute buffer of the largest image that the engine warms up with."""
    weights = sum(pad(tensor_bytes(group.type, group.shape), 128) * group.count for group in facts.tensors)
    return weights + projector_compute_bytes(facts)


def projector_compute_bytes(facts: GgufFacts) -> int:
    """Compute bytes: activations of the widest layer, and the attention scores, over the patches of one image.

    tools/mtmd/clip.cpp reserves the graph of one image of the projector's own size; for projectors with a dynamic
    resolution (qwen2vl and its like) of 46 x 46 merged tokens.
    """
    hyper = facts.hyper
    embedding = _integer(hyper.get("clip.vision.embedding_length"))
    width = _integer(hyper.get("clip.vision.feed_forward_length"))
    heads = _integer(hyper.get("clip.vision.attention.head_count"))
    patch = max(1, _integer(hyper.get("clip.vision.patch_size"), 14))
    size = _integer(hyper.get("clip.vision.image_size"), 336)
    kind = str(hyper.get("clip.projector_type", hyper.get("clip.vision.projector_type", "")))
    patches = DYNAMIC_TOKENS * MERGED if kind in DYNAMIC else (size // patch) ** 2
    flash = FLOAT * patches * (2 * width + 4 * embedding)
    mask = patches * patches * 2 if heads else 0
    return flash + mask


DYNAMIC = ("qwen2vl_merger", "qwen2.5vl_merger", "qwen2.5o", "qwen3vl_merger", "pixtral", "kimivl", "lfm2", "cogvlm")
DYNAMIC_TOKENS = 46 * 46
MERGED = 4  # patches of one token: 2 x 2


def _integer(value: object, default: int = 0) -> int:
    return int(value) if isinstance(value, int | float) else default
