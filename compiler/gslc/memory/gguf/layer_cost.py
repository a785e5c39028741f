"""Bytes that move with one layer: its weights and its cache."""

from __future__ import annotations

from gslc.engines.llama_profile import EngineProfile
from gslc.engines.llama_settings import LlamaSettings
from gslc.memory.gguf.cache import block_cache_bytes, block_state_bytes
from gslc.memory.gguf.runtime import runtime_of
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.types import tensor_bytes
from gslc.memory.gguf.weights import EXPERTS


def layer_bytes(shape: ModelShape, item: int, settings: LlamaSettings, profile: EngineProfile, moe: int = 0) -> int:
    """Weights and cache of a block; for the last item (the output layer) the head alone."""
    if item >= shape.blocks:
        names = ("output.weight", "output_norm.weight", "cls.weight", "cls.output.weight")
        total = sum(tensor_bytes(g.type, g.shape) for name in names if (g := shape.by_name.get(name)))
        table = shape.tensor("token_embd")
        return total + (tensor_bytes(table.type, table.shape) if shape.tied and table else 0)
    total = 0
    for group in shape.block_tensors(item):
        if item < moe and EXPERTS.search("." + group.name.split(".", 2)[-1]):
            continue
        total += tensor_bytes(group.type, group.shape)
    run = runtime_of(shape, settings, profile)
    if run.kv_offload:
        total += block_cache_bytes(shape, item, run) + block_state_bytes(shape, item, run)
    return total
