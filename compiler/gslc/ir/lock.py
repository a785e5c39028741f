"""What gslc.lock pins: facts per model, and the seats of every instance."""

from __future__ import annotations

from collections.abc import Mapping

from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import BackendName
from gslc.ir.plan import Layout
from gslc.ir.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """GPUs of one host, in the engine's device order, and the ports taken there (leader: HTTP first, then master)."""

    host: str
    gpus: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPlacement:
    """Where a replica lies, leader first."""

    model: str
    replica: int
    backend: BackendName
    seats: tuple[Seat, ...]
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """gslc.lock, read. `facts` is keyed by the model's name; placements are sorted by model and replica."""

    cluster: str
    facts: Mapping[str, ModelFacts]
    placements: tuple[LockedPlacement, ...] = ()
