"""Compute buffers by laying out the architecture's own graph, as the engine does before it allocates anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gslc.memory.gguf.assign import HOST
from gslc.memory.gguf.graphs.build import Builder, Home
from gslc.memory.gguf.graphs.gemma3n import gemma3n
from gslc.memory.gguf.graphs.hybrids import delta_net, falcon_h1, jamba, lfm2, nemotron_h
from gslc.memory.gguf.graphs.models import QUIRKS, deepseek, encoder, granite_hybrid, recurrent, transformer
from gslc.memory.gguf.graphs.needed import UnlikeGraph
from gslc.memory.gguf.graphs.schedule import PIPELINE_COPIES, Scheduler
from gslc.memory.gguf.runtime import Runtime
from gslc.memory.gguf.shape import ModelShape

# The same parts in the same order as llama (src/models/<name>.cpp).
PLAIN = (
    "llama",
    "qwen2",
    "qwen3",
    "qwen3moe",
    "mistral3",
    "internlm2",
    "baichuan",
    "xverse",
    "orion",
    "exaone",
    "smollm3",
    "seed_oss",
    "arcee",
    "ernie4_5",
    "hunyuan-dense",
    "apertus",
    "bailingmoe",
    "maincoder",
)
GRAPHS: dict[str, Callable[[Builder, Sequence[int]], None]] = {
    "deepseek2": deepseek,
    "mamba": recurrent,
    "mamba2": recurrent,
    "granitehybrid": granite_hybrid,
    "jamba": jamba,
    "falcon-h1": falcon_h1,
    "lfm2": lfm2,
    "lfm2moe": lfm2,
    "nemotron_h": nemotron_h,
    "nemotron_h_moe": nemotron_h,
    "qwen3next": delta_net,
    "qwen35": delta_net,
    "qwen35moe": delta_net,
    "gemma3n": gemma3n,
    "bert": encoder,
    "nomic-bert": encoder,
    "nomic-bert-moe": encoder,
    "jina-bert-v2": encoder,
    "jina-bert-v3": encoder,
    **dict.fromkeys(QUIRKS, transformer),
    **dict.fromkeys(PLAIN, transformer),
}
HOST_ALIGNMENT = 32  # ggml-backend.cpp, TENSOR_ALIGNMENT
COUNTS = ("expert_used_count", "altup.num_inputs")  # each adds that many nodes to a block
COUNT_MOST = 512  # src/llama-hparams.h, LLAMA_MAX_EXPERTS
EDGE_BLOCKS = 2  # blocks kept at either end of a run of like ones: the allocator repeats itself from the second on


def is_known(architecture: str) -> bool:
    """True when the architecture's own graph is laid out here."""
    return architecture in GRAPHS


def missing_part(shape: ModelShape) -> str:
    """What the file lacks of the graph of its architecture, which is known; "" for nothing."""
    run = Runtime(
        cells=256, streams=1, slots=1, unified=False, ubatch=1, batch=1, flash=True, key_type="f16", value_type="f16",
        window_cells=256, rows=1, embedding=False, kv_offload=True, op_offload=True,
    )  # fmt: skip
    on_cpu = (HOST,) * (shape.blocks + 1)
    try:
        graph_compute(
            shape, run, on_cpu, 0, lambda _name, _block: HOST, pipeline=False, offload_ops=False, full=False,
            alignment=HOST_ALIGNMENT,
        )  # fmt: skip
    except UnlikeGraph as error:
        return str(error)
    return ""


def graph_compute(
    shape: ModelShape,
    run: Runtime,
    layers: tuple[int, ...],
    devices: int,
    home: Home,
    *,
    pipeline: bool,
    offload_ops: bool,
    full: bool,
    alignment: int,
    host_experts: frozenset[int] = frozenset(),
    unpacks_cache: bool = False,
    whole: bool = False,
) -> tuple[tuple[int, ...], int]:
    """Compute bytes per device and of the host, by the graph of the architecture.

    UnlikeGraph where the architecture is not known, and where the file lacks what the graph is made of.
    """

    def backend(device: int) -> int:
        return devices if device == HOST else device

    builder = Builder(
        shape,
        run,
        lambda name, block: backend(home(name, block)),
        lambda block: backend(layers[block]),
        cpu=devices,
        full=full,
        unpacks_cache=unpacks_cache,
    )
    deepstack = shape.integer("n_deepstack_layers")  # the first blocks, each with a part of its own to add
    kinds = [
        (layers[b], shape.windowed[b], shape.recurrent[b], b in host_experts, min(b, deepstack), signature(shape, b))
        for b in range(shape.trunk)
    ]
    blocks = list(range(shape.trunk)) if whole else kept_blocks(kinds)
    lay_out = GRAPHS.get(shape.arch)
    if lay_out is None:
        raise UnlikeGraph(shape.arch)
    for count in COUNTS:
        if shape.integer(count) > COUNT_MOST:
            raise UnlikeGraph(f"a possible {count}")
    try:
        lay_out(builder, blocks)
    except ZeroDivisionError as error:  # a count that the engine divides by is 0 or not in the header
        raise UnlikeGraph("a possible count of heads or groups") from error
    scheduler = Scheduler(devices, offload_ops=offload_ops, copies=PIPELINE_COPIES if pipeline else 1)
    sizes = scheduler.measure(builder.graph, [alignment] * devices + [HOST_ALIGNMENT])
    return tuple(sizes[:-1]), sizes[-1]


def signature(shape: ModelShape, block: int) -> int:
    """A number that is the same for blocks with the same tensors."""
    return hash(tuple(sorted((g.name, g.type, g.shape) for g in shape.block_tensors(block))))


def kept_blocks(kinds: Sequence[object]) -> list[int]:
    """The blocks that decide the size of the buffers: both ends of every run of like blocks, each pattern twice.

    The allocator's state is the same after each repetition of a pattern, so the repetitions between are left out.
    """
    kept: list[int] = []
    seen: dict[object, int] = {}
    count = len(kinds)
    for index, kind in enumerate(kinds):
        around = (kinds[index - 1] if index else None, kind, kinds[index + 1] if index + 1 < count else None)
        seen[around] = seen.get(around, 0) + 1
        if seen[around] <= EDGE_BLOCKS or index >= count - EDGE_BLOCKS:
            kept.append(index)
    return kept
