"""What a build of llama.cpp or llama-box does with its flags and its memory: one profile per known change."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Literal

from gslc.ir.record import dataclass

Product = Literal["llama.cpp", "llama-box"]

# Build numbers at which upstream changed. A pull request's own build number is not published with it, so the
# numbers are interpolated between dated builds (b6325: 2025-08-30, b9272: 2026-05-22, b10760: 2026-09-02,
# b11669: 2026-10-15) and rounded towards the side on which gslc asks for more memory.
BUILD_FLASH_VALUE = 6325  # `-fa on|off|auto`, automatic by default (PR 15434, 2025-08)
BUILD_CACHE_RAM = 6730  # `--cache-ram`, 8192 MiB by default (PR 16391, 2025-10)
BUILD_CONTEXT_PADDED = 6990  # context padded to 256, slots padded too (PR 17046, 2025-11)
BUILD_FIT = 7407  # `--fit`, on by default (PR 16653, 2025-12)
BUILD_AUTO_SLOTS = 7420  # `-np` unset: 4 slots, one shared cache; `--no-kv-unified` (2025-12)
BUILD_OUTPUT_FIRST = 7550  # `-ngl` counts the output layer first (PR 18148, 2025-12)
BUILD_RPC_PIPELINE = 7800  # pipeline parallelism over RPC too (PR 18626, 2026-01)
BUILD_LOGITS_PER_SLOT = 9500  # one logits row a slot instead of one a token (PR 23861, 2026-06)
BUILD_LOAD_MODE = 10500  # `--load-mode` replaces --mmap, --no-mmap, --mlock (2026)
BUILD_MEASURED = 11370  # commit 0c1e57098 (2026-10-01, library 0.5.0), which the truth tables were measured with
BUILD_MIXED_INPUTS = 11500  # a third input path for tokens and raw embeddings in one batch (in 11669, not in 0c1e57098)
BUILD_MAPPED_PIECES = 11669  # maps the tensors the host uses, piece by piece; 0c1e57098 maps from the first to the last
BUILD_NEWEST = 11669  # the build this release was tested with

LLAMA_BOX_NEWEST = "v0.0.171"
LLAMA_CPP_DEFAULT = f"b{BUILD_NEWEST}"
# Debian's version of llama.cpp-tools -> the upstream build that `llama-server --version` prints
DEBIAN_BUILDS = {"0.5": BUILD_MEASURED, "0.7": BUILD_NEWEST}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagTable:
    """The flags of an engine: spelling -> (setting, values taken); and the removed ones with the engine's advice."""

    settings: dict[str, tuple[str, int]]
    removed: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """How one build behaves. `build` is the llama.cpp build (that llama-box embeds)."""

    product: Product
    version: str
    build: int
    newer_than_known: bool = False

    @property
    def output_first(self) -> bool:
        """`-ngl N` is the output layer and the last N-1 blocks; before: the last N blocks, the output if N > blocks."""
        return self.product == "llama.cpp" and self.build >= BUILD_OUTPUT_FIRST

    @property
    def logits_per_slot(self) -> bool:
        """The server reserves one row of logits a slot; before: one a token of the ubatch."""
        return self.product == "llama.cpp" and self.build >= BUILD_LOGITS_PER_SLOT

    @property
    def flash_default(self) -> bool:
        """Flash attention is on where nothing is said."""
        return self.flash_takes_value

    @property
    def flash_takes_value(self) -> bool:
        """`-fa` wants on, off or auto; before it was a switch."""
        return self.product == "llama.cpp" and self.build >= BUILD_FLASH_VALUE

    @property
    def auto_slots(self) -> bool:
        """`-np` unset means 4 slots that share one cache; `--no-kv-unified` exists."""
        return self.product == "llama.cpp" and self.build >= BUILD_AUTO_SLOTS

    @property
    def has_fit(self) -> bool:
        """The engine rewrites what it was not told unless `--fit off`."""
        return self.product == "llama.cpp" and self.build >= BUILD_FIT

    @property
    def has_cache_ram(self) -> bool:
        """The server keeps prompts in host memory, up to `--cache-ram` MiB."""
        return self.product == "llama.cpp" and self.build >= BUILD_CACHE_RAM

    @property
    def context_padded(self) -> bool:
        """Context and slot sizes are padded to 256 cells."""
        return self.product == "llama.cpp" and self.build >= BUILD_CONTEXT_PADDED

    @property
    def rpc_pipeline(self) -> bool:
        """Several RPC devices work as a pipeline, with four copies of the inputs."""
        return self.product == "llama.cpp" and self.build >= BUILD_RPC_PIPELINE

    @property
    def mixed_inputs(self) -> bool:
        """The graph holds a path for batches that mix tokens and raw embeddings."""
        return self.product == "llama.cpp" and self.build >= BUILD_MIXED_INPUTS

    @property
    def maps_pieces(self) -> bool:
        """Only the tensors that the host uses are mapped; before, all from the first to the last of them."""
        return self.product == "llama.cpp" and self.build >= BUILD_MAPPED_PIECES

    @property
    def default_context(self) -> int:
        """`-c` unset: 0 is the model's own context."""
        return 4096 if self.product == "llama-box" else 0

    @property
    def flags(self) -> FlagTable:
        """The flags it knows."""
        return flag_table(self.product, self.product == "llama.cpp" and self.build >= BUILD_LOAD_MODE)


@cache
def flag_table(product: Product, load_mode: bool) -> FlagTable:
    """The flag table of an engine, from the data beside this module."""
    name = "llama_box_flags.json" if product == "llama-box" else "llama_server_flags.json"
    table = json.loads(files("gslc.engines").joinpath("data", name).read_text(encoding="utf-8"))
    settings = {spelling: (row[1], row[0]) for row in table["flags"] for spelling in row[1:]}
    removed = {spelling: row[0] for row in table["removed"] for spelling in row[1:]}
    if not load_mode:
        for spelling in ("--mmap", "--no-mmap", "--mlock"):
            if removed.pop(spelling, None):
                settings[spelling] = ("--mlock" if spelling == "--mlock" else "--mmap", 0)
    return FlagTable(settings=settings, removed=removed)


def profile_of(product: Product, version: str | None) -> EngineProfile | None:
    """The profile of a version as users write it (b11669, 11669, 0.7.0, v0.0.171), None where it is none of these."""
    if product == "llama-box":
        written = version or LLAMA_BOX_NEWEST
        match = re.fullmatch(r"v?0\.0\.([0-9]{1,6})", written)
        # v0.0.171 (2025-08-15) embeds llama.cpp sources of that month
        return match and EngineProfile(
            product=product, version="v0.0." + match[1], build=6160, newer_than_known=int(match[1]) > 171
        )
    written = version or LLAMA_CPP_DEFAULT
    if match := re.fullmatch(r"b?([0-9]{4,6})", written):
        build = int(match[1])
        return EngineProfile(product=product, version=f"b{build}", build=build, newer_than_known=build > BUILD_NEWEST)
    if match := re.match(r"(?:1:)?([0-9]{1,6}\.[0-9]{1,6})(?:\.[0-9]{1,6})?(?:[+-].*)?$", written):
        known = DEBIAN_BUILDS.get(match[1])
        return EngineProfile(
            product=product, version=written, build=known or BUILD_NEWEST, newer_than_known=known is None
        )
    return None
