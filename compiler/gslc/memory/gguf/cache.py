"""The KV cache and the recurrent state, per device, byte for byte."""

from __future__ import annotations

from gslc.memory.gguf.assign import HOST
from gslc.memory.gguf.runtime import Runtime
from gslc.memory.gguf.shape import CACHELESS, HYBRID, RECURRENT, ModelShape
from gslc.memory.gguf.types import pad, row_bytes

BUFFER_ALIGNMENT = 32
STATE_BYTES = 4  # recurrent states are always F32 (llama_model::create_memory)


def block_cache_bytes(shape: ModelShape, block: int, run: Runtime) -> int:
    """Bytes of one block's keys and values over all streams (llama_kv_cache's constructor).

    K rows and V rows of `cells` per stream; latent attention keeps K only; without flash attention a model whose V
    widths differ from block to block pads them all to the widest.
    """
    if not shape.attends[block]:
        return 0
    cells = run.window_cells if shape.windowed[block] else run.cells
    rows = cells * run.streams
    keys = rows * row_bytes(run.key_type, shape.key_width(block))
    if shape.latent:
        return pad(keys, BUFFER_ALIGNMENT)
    width = shape.value_width(block)
    if not run.flash:
        width = max((shape.value_width(i) for i in range(shape.blocks)), default=width)
    values = rows * row_bytes(run.value_type, width)
    return pad(keys, BUFFER_ALIGNMENT) + pad(values, BUFFER_ALIGNMENT)


def block_state_bytes(shape: ModelShape, block: int, run: Runtime) -> int:
    """Bytes of one block's recurrent state: convolution and scan state of every slot."""
    if block >= shape.trunk or not shape.recurrent[block]:
        return 0
    conv = STATE_BYTES * run.slots * shape.conv_state
    scan = STATE_BYTES * run.slots * shape.scan_state
    return pad(conv, BUFFER_ALIGNMENT) + pad(scan, BUFFER_ALIGNMENT)


def cache_bytes(shape: ModelShape, layers: tuple[int, ...], devices: int, run: Runtime) -> tuple[tuple[int, ...], int]:
    """Cache and state on every device, and in host memory."""
    totals = [0] * devices
    host = 0
    for block in range(shape.blocks):
        size = block_cache_bytes(shape, block, run) + block_state_bytes(shape, block, run)
        device = layers[block] if run.kv_offload else HOST
        if device == HOST:
            host += size
        else:
            totals[device] += size
    return tuple(totals), host


def bytes_per_token(shape: ModelShape, run: Runtime) -> int:
    """What one more token of context adds over all devices: full-attention blocks only."""
    if shape.arch in RECURRENT or shape.arch in CACHELESS:
        return 0
    total = 0
    for block in range(shape.blocks):
        if shape.attends[block] and not shape.windowed[block]:
            total += row_bytes(run.key_type, shape.key_width(block))
            if not shape.latent:
                total += row_bytes(run.value_type, shape.value_width(block))
    return total


def is_hybrid(shape: ModelShape) -> bool:
    """True where blocks with a cache and blocks with a state are mixed."""
    return shape.arch in HYBRID
