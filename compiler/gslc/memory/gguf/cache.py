"""The KV cache and the recurrent state, per device, byte for byte."""

from __future__ import annotations

from gslc.memory.gguf.assign import HOST
from gslc.memory.gguf.runtime import Runtime
from gslc.memory.gguf.shape import CACHELESS, RECURRENT, ModelShape
from gslc.memory.gguf.types import is_quantized, pad, row_bytes

BUFFER_ALIGNMENT = 32
CUDA_ALIGNMENT = 128
MATRIX_ROW_PADDING = 512
STATE_BYTES = 4  # recurrent states are always F32 (llama_model::create_memory)


def block_cache_bytes(shape: ModelShape, block: int, run: Runtime, alignment: int = BUFFER_ALIGNMENT) -> int:
    """Bytes of one block's keys and values over all streams (llama_kv_cache's constructor).

    K rows and V rows of `cells` per stream; latent attention keeps K only; without flash attention a model whose V
    widths differ from block to block pads them all to the widest.
    """
    if not shape.attends[block]:
        return 0
    cells = run.window_cells if shape.windowed[block] else run.cells
    rows = cells * run.streams
    keys = _cache_tensor(run.key_type, shape.key_width(block), rows, alignment)
    if shape.latent:
        return keys
    width = shape.value_width(block)
    if not run.flash:
        width = max((shape.value_width(i) for i in range(shape.blocks)), default=width)
    return keys + _cache_tensor(run.value_type, width, rows, alignment)


def _cache_tensor(type_name: str, width: int, rows: int, alignment: int) -> int:
    """One tensor; CUDA adds a padding tail to quantised rows that are no multiple of 512 (MATRIX_ROW_PADDING)."""
    size = rows * row_bytes(type_name, width)
    if alignment >= CUDA_ALIGNMENT and is_quantized(type_name) and width % MATRIX_ROW_PADDING:
        size += row_bytes(type_name, MATRIX_ROW_PADDING - width % MATRIX_ROW_PADDING)
    return pad(size, alignment)


def block_state_bytes(shape: ModelShape, block: int, run: Runtime) -> int:
    """Bytes of one block's recurrent state: convolution and scan state of every slot."""
    if block >= shape.trunk or not shape.recurrent[block]:
        return 0
    conv = STATE_BYTES * run.slots * shape.conv_state
    scan = STATE_BYTES * run.slots * shape.scan_state
    return pad(conv, BUFFER_ALIGNMENT) + pad(scan, BUFFER_ALIGNMENT)


def cache_bytes(
    shape: ModelShape, layers: tuple[int, ...], devices: int, run: Runtime, alignment: int = BUFFER_ALIGNMENT
) -> tuple[tuple[int, ...], int]:
    """Cache and state on every device, and in host memory."""
    totals = [0] * devices
    host = 0
    for block in range(shape.blocks):
        device = layers[block] if run.kv_offload else HOST
        step = BUFFER_ALIGNMENT if device == HOST else alignment
        size = block_cache_bytes(shape, block, run, step) + block_state_bytes(shape, block, run)
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
