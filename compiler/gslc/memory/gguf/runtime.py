"""What the engine will really run with: its defaults and roundings applied to the settings."""

from __future__ import annotations

from gslc.engines.llama_profile import EngineProfile
from gslc.engines.llama_settings import LlamaSettings
from gslc.ir.record import dataclass
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.types import pad

CELL_STEP = 256  # llama_context: n_ctx and the cells of a slot are padded to 256 (PR 17046)
AUTO_SLOTS = 4  # tools/server/server.cpp: -np unset


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """cells: of one stream; streams: how many caches there are; rows: logits rows reserved by the server."""

    cells: int
    streams: int
    slots: int
    unified: bool
    ubatch: int
    batch: int
    flash: bool
    key_type: str
    value_type: str
    window_cells: int
    rows: int
    embedding: bool
    kv_offload: bool
    op_offload: bool
    mixed_inputs: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of the largest graph: a ubatch, rounded up to whole sequences."""
        return pad(self.ubatch, self.slots)


def runtime_of(shape: ModelShape, settings: LlamaSettings, profile: EngineProfile) -> Runtime:
    """The settings as the engine applies them (llama_context's constructor, server.cpp, llama-kv-cache-iswa.cpp)."""
    slots, unified = settings.parallel, settings.unified
    if slots is None:
        slots = AUTO_SLOTS if profile.auto_slots else 1
        unified = True if profile.auto_slots else unified
    unified = bool(unified)
    context = settings.context_tokens or profile.default_context or shape.integer("context_length", 4096)
    flash = (settings.flash or ("auto" if profile.flash_default else "off")) != "off"
    if profile.context_padded:
        total = pad(context, CELL_STEP)
        cells = total if unified else pad(total // slots, CELL_STEP)
    else:
        total = context
        cells = pad(total if unified else total // slots, CELL_STEP if flash else 32)
    streams = 1 if unified else slots
    total = cells * streams if not unified else total
    embedding = settings.embedding or settings.rerank
    pooled = embedding or settings.pooling not in (None, "none")
    batch = settings.batch
    if settings.embedding or settings.rerank:
        batch = min(batch, settings.ubatch)
    causal = shape.key("attention.causal") is not False
    batch = min(total, batch) if causal else batch
    ubatch = min(batch, settings.ubatch)
    window_cells = 0
    if shape.window:
        wanted = shape.window * (slots if unified else 1) + ubatch
        window_cells = cells if settings.swa_full else pad(min(cells, wanted), CELL_STEP)
    tokens = min(total, ubatch)
    rows = min(tokens, batch) if pooled or not profile.logits_per_slot else min(tokens, slots)
    return Runtime(
        cells=cells,
        streams=streams,
        slots=slots,
        unified=unified,
        ubatch=tokens,
        batch=batch,
        flash=flash,
        key_type=settings.key_type.upper(),
        value_type=settings.value_type.upper(),
        window_cells=window_cells,
        rows=rows,
        embedding=embedding,
        kv_offload=settings.kv_offload,
        op_offload=settings.op_offload,
        mixed_inputs=profile.mixed_inputs,
    )
