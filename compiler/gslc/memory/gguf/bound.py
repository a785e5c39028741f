"""An upper bound of the compute buffers for any architecture, from the shapes of the tensors alone."""

from __future__ import annotations

from gslc.memory.gguf.assign import HOST
from gslc.memory.gguf.runtime import Runtime
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.types import is_quantized, pad, tensor_bytes

FLOAT = 4
INDEX = 8
# Results that live at one time between two matrix products. Every graph of llama.cpp that was measured (see
# docs/memory.md) keeps fewer than the three widest results of a block (gate, up and their product), three rows of the
# embedding and two of the heads.
WIDE_RESULTS = 3
SCAN_RESULTS = 3  # and of a recurrent block: what the convolution and the scan keep beside them
EMBEDDING_ROWS = 3
STATE_COPIES = 3  # as read, as scanned, and as written back
BIASED_SCORES = 4  # a bias by distance (T5) keeps the scores out of the fused kernel: they, the bias, both, the softmax
PIPELINE_COPIES = 4  # GGML_SCHED_MAX_COPIES


def bound_compute(
    shape: ModelShape,
    run: Runtime,
    layers: tuple[int, ...],
    devices: int,
    *,
    pipeline: bool,
    streams_weights: bool = False,
    unpacks_cache: bool = False,
) -> tuple[tuple[int, ...], int]:
    """Compute bytes that no known graph exceeds: per device, and of the host.

    streams_weights: devices multiply large batches by weights of the host, which they copy to themselves.
    unpacks_cache: devices that turn a quantised cache into halves before they attend to it (CUDA).
    """
    tokens = run.tokens
    mask = pad(run.cells * (tokens // run.streams if run.streams > 1 else tokens) * (2 if run.flash else 4), 256)
    mask = mask * run.streams if run.streams > 1 else mask
    masks = mask * (2 if shape.window else 1)
    widths = sorted((_width(shape, block) for block in range(shape.blocks)), reverse=True)
    heads = max(shape.heads, default=0)
    attention = heads * max((max(shape.key_head(b), shape.value_head(b)) for b in range(shape.blocks)), default=0)
    wide = WIDE_RESULTS + (SCAN_RESULTS if any(shape.recurrent) else 0)
    peak = wide * (widths[0] if widths else 0) + EMBEDDING_ROWS * shape.embedding + 2 * attention
    biased = any("attn_rel_b" in group.name for group in shape.facts.tensors)
    copies_of_scores = BIASED_SCORES if biased else 0 if run.flash else 1
    scores = copies_of_scores * heads * run.cells * tokens * FLOAT
    state = STATE_COPIES * FLOAT * run.slots * (shape.scan_state + shape.conv_state)
    work = FLOAT * tokens * peak + scores + state
    logits = FLOAT * run.rows * (shape.vocabulary + EMBEDDING_ROWS * shape.embedding)
    crossing = FLOAT * tokens * shape.embedding
    inputs = masks + crossing + _indices(shape, run)
    copies = PIPELINE_COPIES if pipeline else 1
    each = max(work, logits) + copies * (inputs + crossing)
    if unpacks_cache:
        each += _unpacked(shape, run)
    if streams_weights:
        each += _streamed(shape)
    used = {device for device in layers if device != HOST}
    on_devices = tuple(each if device in used else 0 for device in range(devices))
    host = each if HOST in layers[:-1] or not devices else copies * inputs + crossing + logits
    return on_devices, host


def _indices(shape: ModelShape, run: Runtime) -> int:
    """Inputs that say where keys and values go, and the rotations of a quantised cache (llama-kv-cache.cpp)."""
    blocks = range(shape.blocks)
    rows = 2 + (0 if run.flash else max((shape.value_width(b) for b in blocks), default=0))  # transposed without flash
    head = max((max(shape.key_head(b), shape.value_head(b)) for b in blocks), default=0)
    quantised = is_quantized(run.key_type) or is_quantized(run.value_type)
    return INDEX * run.tokens * rows + (2 * FLOAT * head * head if quantised else 0)


def _unpacked(shape: ModelShape, run: Runtime) -> int:
    """Keys and values of the widest block in halves, where the cache is quantised."""
    widths = [
        (shape.key_width(b) if is_quantized(run.key_type) else 0)
        + (shape.value_width(b) if is_quantized(run.value_type) else 0)
        for b in range(shape.blocks)
    ]
    return 2 * run.cells * run.streams * max(widths, default=0)


def _streamed(shape: ModelShape) -> int:
    """The largest weights of a block: one matrix in use and the next one on its way."""
    largest = 0
    for block in range(shape.blocks):
        sizes = sorted(tensor_bytes(group.type, group.shape) for group in shape.block_tensors(block))
        largest = max(largest, sum(sizes[-2:]))
    return largest


def _width(shape: ModelShape, block: int) -> int:
    """The widest result a block computes for one token: rows of its widest matrix, times the experts in use."""
    widest = 0
    for group in shape.block_tensors(block):
        if len(group.shape) < 2:
            continue
        used = max(1, shape.used_experts) if len(group.shape) > 2 and "_exps" in group.name else 1
        widest = max(widest, group.shape[1] * used, group.shape[0] * used if used > 1 else 0)
    return widest
