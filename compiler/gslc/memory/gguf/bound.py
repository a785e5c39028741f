"""An upper bound of the compute buffers for any architecture, from the shapes of the tensors alone."""

from __future__ import annotations

from gslc.memory.gguf.assign import HOST
from gslc.memory.gguf.runtime import Runtime
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.types import pad

FLOAT = 4
# Results that live at one time between two matrix products. Every graph of llama.cpp that was measured (see
# docs/memory.md) keeps fewer than the two widest results of a block, three rows of the embedding and one of the heads.
WIDE_RESULTS = 2
EMBEDDING_ROWS = 3
PIPELINE_COPIES = 4  # GGML_SCHED_MAX_COPIES


def bound_compute(
    shape: ModelShape, run: Runtime, layers: tuple[int, ...], devices: int, *, pipeline: bool
) -> tuple[tuple[int, ...], int]:
    """Compute bytes that no known graph exceeds: per device, and of the host."""
    tokens = run.tokens
    mask = pad(run.cells * (tokens // run.streams if run.streams > 1 else tokens) * (2 if run.flash else 4), 256)
    mask = mask * run.streams if run.streams > 1 else mask
    masks = mask * (2 if shape.window else 1)
    widths = sorted((_width(shape, block) for block in range(shape.blocks)), reverse=True)
    heads = max(shape.heads, default=0)
    attention = heads * max((max(shape.key_head(b), shape.value_head(b)) for b in range(shape.blocks)), default=0)
    peak = WIDE_RESULTS * (widths[0] if widths else 0) + EMBEDDING_ROWS * shape.embedding + 2 * attention
    scores = 0 if run.flash else heads * run.cells * tokens * FLOAT
    state = 2 * FLOAT * run.slots * (shape.scan_state + shape.conv_state)
    work = FLOAT * tokens * peak + scores + state
    logits = FLOAT * run.rows * (shape.vocabulary + shape.embedding)
    inputs = masks + FLOAT * tokens * shape.embedding
    each = max(work, logits) + (PIPELINE_COPIES if pipeline else 1) * inputs
    used = {device for device in layers if device != HOST}
    on_devices = tuple(each if device in used else 0 for device in range(devices))
    host = each if HOST in layers[:-1] or not devices else (PIPELINE_COPIES if pipeline else 1) * inputs + logits
    return on_devices, host


def _width(shape: ModelShape, block: int) -> int:
    """The widest result a block computes for one token: rows of its widest matrix, times the experts in use."""
    widest = 0
    for group in shape.block_tensors(block):
        if len(group.shape) < 2:
            continue
        used = max(1, shape.used_experts) if len(group.shape) > 2 and "_exps" in group.name else 1
        widest = max(widest, group.shape[1] * used, group.shape[0] * used if used > 1 else 0)
    return widest
