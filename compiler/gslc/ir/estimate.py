"""What `gslc estimate` asks and gets: one model on given devices, without an inventory."""

from __future__ import annotations

from typing import Literal

from gslc.ir.diagnostic import Decision
from gslc.ir.inputs import BackendName, GpuKind
from gslc.ir.plan import Basis, DeviceMemory
from gslc.ir.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateAsk:
    """The question. A device given as a bare size has model "" and no capability. devices () is the CPU."""

    context: int | None = None
    parallel: int | None = None
    devices: tuple[GpuKind, ...] = ()
    host_memory_bytes: int | None = None
    gpu_layers: int | Literal["all", "auto"] | None = None
    tensor_split: tuple[int, ...] | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    kv_cache_type: str | None = None
    gpu_memory_utilization: int | Literal["auto"] | None = None  # thousandths
    engine: str | None = None  # llama.cpp, llama-box, vllm, vox-box
    engine_version: str | None = None
    max_context: bool = False
    args: tuple[str, ...] = ()  # engine arguments, understood as in the model key `args`


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The answer; `devices` in the order asked. max_context is None where it was not asked or nothing fits."""

    backend: BackendName
    engine_version: str
    layers: int | None
    gpu_layers: int | None
    devices: tuple[DeviceMemory, ...]
    host: DeviceMemory
    fits: bool
    max_context: int | None
    kv_bytes_per_token: int
    basis: Basis
    decisions: tuple[Decision, ...] = ()
    tensor_split: tuple[int, ...] | None = None  # GGUF over several devices: whole layers, in the order of `devices`
    cpu_moe_layers: int | None = None  # GGUF: blocks whose experts stay in host memory
    context: int | None = None  # tokens of one request that the answer is for
