"""The memory-relevant settings of llama-server and llama-box, as typed values."""

from __future__ import annotations

from typing import Literal

from gslc.ir.record import dataclass

GpuLayers = int | Literal["all", "auto"]
FlashAttention = Literal["on", "off", "auto"]
SplitMode = Literal["none", "layer", "row", "tensor"]

KV_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
ALL_LAYERS = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaSettings:
    """What an engine is told. None means "not said": the engine's default holds (EngineProfile knows it).

    context_tokens is the engine's total (-c), over all slots. tensor_split is the list as given, in device order.
    """

    context_tokens: int | None = None
    parallel: int | None = None
    unified: bool | None = None
    batch: int = 2048
    ubatch: int = 512
    flash: FlashAttention | None = None
    key_type: str = "f16"
    value_type: str = "f16"
    gpu_layers: GpuLayers | None = None
    tensor_split: tuple[float, ...] | None = None
    split_mode: SplitMode = "layer"
    main_gpu: int = 0
    overrides: tuple[tuple[str, str], ...] = ()  # (regular expression on the tensor name, buffer), first match wins
    cpu_moe_layers: int = 0  # --n-cpu-moe; ALL_LAYERS for --cpu-moe
    cpu_ffn_layers: int = 0
    kv_offload: bool = True
    repack: bool = True
    op_offload: bool = True
    swa_full: bool = False
    embedding: bool = False
    rerank: bool = False
    pooling: str | None = None
    projector_offload: bool = True
    memory_mapped: bool = True
    cache_ram_mib: int | None = None
    context_checkpoints: int | None = None
