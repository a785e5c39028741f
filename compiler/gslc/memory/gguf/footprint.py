"""All memory of one GGUF model under given settings: every device and the host."""

from __future__ import annotations

from gslc.engines.llama_profile import EngineProfile
from gslc.engines.llama_settings import LlamaSettings
from gslc.ir.inputs import Vendor
from gslc.ir.plan import DeviceMemory
from gslc.ir.record import dataclass
from gslc.memory.gguf.assign import HOST, assign_layers
from gslc.memory.gguf.bound import bound_compute
from gslc.memory.gguf.cache import bytes_per_token, cache_bytes
from gslc.memory.gguf.graphs import graph_compute
from gslc.memory.gguf.graphs.needed import UnlikeGraph
from gslc.memory.gguf.overhead import PROCESS, PROCESS_WITH_GPU, TOKEN_BYTES, overhead_of
from gslc.memory.gguf.runtime import Runtime, runtime_of
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.weights import CUDA_ALIGNMENT, HOST_ALIGNMENT, WeightPlan, plan_weights, tensor_home

PINNED_HOST = ("nvidia", "amd", "intel", "mthreads")  # backends whose devices offer host buffers of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as the engine lists it: what it is, and whether another process serves it (RPC)."""

    vendor: Vendor | None  # None: a card of which only the size is known
    remote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The answer: one entry a device, the host, and how the layers lie."""

    devices: tuple[DeviceMemory, ...]
    host: DeviceMemory
    layers: tuple[int, ...]
    run: Runtime
    weights: WeightPlan
    pipeline: bool
    bytes_per_token: int
    output_bytes: int  # the part of the host's compute that answers are read from
    exact: bool  # the compute buffers come from the architecture's own graph, not from the bound


def footprint(
    shape: ModelShape,
    settings: LlamaSettings,
    profile: EngineProfile,
    devices: tuple[Device, ...],
    *,
    host_arch: str = "amd64",
    free: tuple[int, ...] = (),
) -> Footprint:
    """Weights, cache, compute and overhead of every device and of the host, in bytes.

    The answer depends on the header alone, so models of a fleet that share a file share it.
    """
    header = shape.facts.header_sha256
    if not header:
        return _footprint(shape, settings, profile, devices, host_arch, free)
    key = (header, settings, profile, devices, host_arch, free)
    found = _remembered.get(key)
    if found is None:
        if len(_remembered) >= REMEMBERED_MOST:
            _remembered.clear()
        found = _remembered[key] = _footprint(shape, settings, profile, devices, host_arch, free)
    return found


REMEMBERED_MOST = 4096
_remembered: dict[tuple[object, ...], Footprint] = {}


def _footprint(
    shape: ModelShape,
    settings: LlamaSettings,
    profile: EngineProfile,
    devices: tuple[Device, ...],
    host_arch: str,
    free: tuple[int, ...],
) -> Footprint:
    run = runtime_of(shape, settings, profile)
    layers = assign_layers(shape.blocks, len(devices), settings, profile, free)
    local = [device for device in devices if not device.remote]
    pinned = bool(local) and local[0].vendor in PINNED_HOST
    alignment = CUDA_ALIGNMENT if any(device.vendor not in (None, "apple") for device in devices) else HOST_ALIGNMENT
    plan = plan_weights(
        shape,
        layers,
        len(devices),
        settings,
        arch=host_arch,
        alignment=alignment,
        repacks=settings.repack and not pinned,
        pieces=profile.maps_pieces or not settings.memory_mapped,
    )
    cached, host_cache = cache_bytes(shape, layers, len(devices), run, alignment)
    pipeline = is_pipeline(shape, settings, profile, devices, plan)
    exact = True
    wanted = settings.gpu_layers
    try:
        compute, host_compute = graph_compute(
            shape,
            run,
            layers,
            len(devices),
            tensor_home(shape, layers, settings, len(devices)),
            pipeline=pipeline,
            offload_ops=settings.op_offload and pinned,
            full=bool(devices) and (wanted is None or isinstance(wanted, str) or wanted > shape.blocks),
            alignment=alignment,
            host_experts=plan.host_experts,
            unpacks_cache=alignment >= CUDA_ALIGNMENT,
        )
    except UnlikeGraph:
        exact = False
        compute, host_compute = bound_compute(
            shape,
            run,
            layers,
            len(devices),
            pipeline=pipeline,
            streams_weights=settings.op_offload and pinned and _streams(layers, plan),
            unpacks_cache=alignment >= CUDA_ALIGNMENT,
        )
    sparse = is_sparse(shape)
    memory = []
    for index, device in enumerate(devices):
        memory.append(
            DeviceMemory(
                weights=plan.devices[index],
                kv_cache=cached[index],
                compute=compute[index],
                # also where no layer lies: llama-server asks every card that it sees for its memory at start, and an
                # RPC server its own, which makes a driver context there
                overhead=device_overhead(device, run, sparse=sparse, streamed=_streams(layers, plan)),
            )
        )
    return Footprint(
        devices=tuple(memory),
        host=DeviceMemory(
            weights=plan.mapped + plan.repacked,
            kv_cache=host_cache,
            compute=host_compute + output_bytes(shape, run),
            overhead=host_overhead(shape, settings, profile, gpu=bool(devices)),
        ),
        layers=layers,
        run=run,
        weights=plan,
        pipeline=pipeline,
        bytes_per_token=bytes_per_token(shape, run),
        output_bytes=output_bytes(shape, run),
        exact=exact,
    )


def is_pipeline(
    shape: ModelShape,
    settings: LlamaSettings,
    profile: EngineProfile,
    devices: tuple[Device, ...],
    plan: WeightPlan,
) -> bool:
    """Pipeline parallelism: several devices, everything offloaded, layer split, no overrides (llama_context)."""
    wanted = settings.gpu_layers
    everything = wanted is None or isinstance(wanted, str) or wanted > shape.blocks
    capable = all(device.vendor == "nvidia" or (_asynchronous(device) and profile.rpc_pipeline) for device in devices)
    return (
        len(devices) > 1
        and everything
        and capable
        and settings.split_mode == "layer"
        and settings.kv_offload
        and not plan.has_overrides
    )


def _asynchronous(device: Device) -> bool:
    """Served over RPC, or a card that is not known to be otherwise."""
    return device.remote or device.vendor is None


def is_sparse(shape: ModelShape) -> bool:
    """Experts, latent attention or recurrent blocks: they load more kernels and libraries."""
    return bool(shape.experts) or shape.latent or bool(shape.integer("attention.kv_lora_rank")) or any(shape.recurrent)


def _streams(layers: tuple[int, ...], plan: WeightPlan) -> bool:
    return HOST in layers[:-1] or bool(plan.host_experts)


def device_overhead(device: Device, run: Runtime, *, sparse: bool, streamed: bool) -> int:
    """What the process takes on the card beyond its buffers; nothing is known for a card without a vendor."""
    if device.vendor is None:
        return 0
    row = overhead_of(device.vendor)
    total = row.sparse if sparse else row.dense
    total += 0 if run.flash else row.no_flash
    total += row.streamed if streamed else 0
    return total + row.batch_per_token * max(0, run.tokens - 512)


def output_bytes(shape: ModelShape, run: Runtime) -> int:
    """The buffer that answers are read from: logits (and embeddings) of every slot (llama_context::output_reserve)."""
    width = shape.vocabulary + (shape.embedding if run.embedding else 0)
    return 4 * run.slots * width


def host_overhead(shape: ModelShape, settings: LlamaSettings, profile: EngineProfile, *, gpu: bool) -> int:
    """The process, its tokenizer, and the prompt cache that the settings allow."""
    cached = 0
    if profile.has_cache_ram:
        wanted = 8192 if settings.cache_ram_mib is None else settings.cache_ram_mib
        cached = max(0, wanted) << 20
    return (PROCESS_WITH_GPU if gpu else PROCESS) + TOKEN_BYTES * shape.vocabulary + cached
