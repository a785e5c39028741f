"""Every diagnostic code with its documentation entry, one module a room; loaded only to explain, document or report."""

from __future__ import annotations

from importlib import import_module

from gslc.ir.diagnostic import CodeEntry

ROOMS = (
    "frontend",
    "importers",
    "lock",
    "sources",
    "eligible",
    "gguf",
    "vllm",
    "speech",
    "placement",
    "check",
    "output",
    "targets",
    "files",
    "reading",
)


def all_codes() -> dict[str, CodeEntry]:
    """All entries by code, sorted; two rooms that claim one code are a bug and raise ValueError."""
    found: dict[str, CodeEntry] = {}
    for room in ROOMS:
        table = import_module(f"gslc.ir.codes.{room}").CODES
        clash = found.keys() & table.keys()
        if clash:
            raise ValueError(f"codes claimed twice: {sorted(clash)}")
        found.update(table)
    return dict(sorted(found.items()))
