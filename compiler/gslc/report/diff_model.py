"""What changed between two plans, as data; the printers know nothing else."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gslc.ir.plan import DeviceMemory, Unplaced
from gslc.ir.record import dataclass

Change: TypeAlias = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatView:
    """Where a shard lies: "atlas GPU 0, 1", or "mini" for a CPU."""

    host: str
    gpus: tuple[int, ...]
    role: str

    def __str__(self) -> str:
        return f"{self.host} GPU {', '.join(map(str, self.gpus))}" if self.gpus else f"{self.host} CPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """A field of the plan with another value, both as they are printed; None: not given."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordChange:
    """A flag or an environment variable, with its values in the order of the command line.

    None: not given; (): given without a value.
    """

    name: str
    before: tuple[str, ...] | None
    after: tuple[str, ...] | None
    shard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryChange:
    """What an instance takes of one device. gpu None: host memory. None: nothing there."""

    host: str
    gpu: int | None
    before: DeviceMemory | None
    after: DeviceMemory | None

    @property
    def device(self) -> str:
        """The device in words."""
        return f"{self.host} RAM" if self.gpu is None else f"{self.host} GPU {self.gpu}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonChange:
    """A decision that came out differently, with the reason given now."""

    topic: str
    before: str | None
    after: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """What has to be started anew for an instance: the processes by name, and why. whole: all of them, as one group."""

    processes: tuple[str, ...]
    whole: bool
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDiff:
    """One replica. moved is only said of a replica that is in both plans."""

    name: str
    model: str
    change: Change
    before: tuple[SeatView, ...]
    after: tuple[SeatView, ...]
    moved: bool = False
    fields: tuple[FieldChange, ...] = ()
    flags: tuple[WordChange, ...] = ()
    env: tuple[WordChange, ...] = ()
    memory: tuple[MemoryChange, ...] = ()
    reasons: tuple[ReasonChange, ...] = ()
    restart: Restart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDiff:
    """A model with at least one replica that is not as it was."""

    model: str
    change: Change
    instances: tuple[InstanceDiff, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """A file of the output folder."""

    path: str
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Figures of one whole plan."""

    instances: int
    gpus_used: int
    gpu_bytes: int
    hosts_used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDiff:
    """All differences, sorted by name. files is None where one side is a lone plan.json.

    reasons_only: replicas of which nothing but the recorded reasons differs; nothing happens to them.
    gpus_freed and gpus_taken are (host, index) pairs; `hosts` are machines of the inventory itself.
    """

    old: str
    new: str
    cluster: tuple[str, str]
    models: tuple[ModelDiff, ...] = ()
    unchanged: int = 0
    reasons_only: tuple[str, ...] = ()
    gpus_freed: tuple[tuple[str, int], ...] = ()
    gpus_taken: tuple[tuple[str, int], ...] = ()
    hosts_freed: tuple[str, ...] = ()
    hosts_taken: tuple[str, ...] = ()
    hosts: tuple[tuple[str, Change], ...] = ()
    unplaced: tuple[Unplaced, ...] = ()  # without a place now, with one (or not there) before
    placed_again: tuple[Unplaced, ...] = ()
    files: tuple[FileDiff, ...] | None = None
    before: Totals
    after: Totals

    @property
    def different(self) -> bool:
        """True when anything at all differs: the plan's content, or a file."""
        return bool(
            self.models
            or self.reasons_only
            or self.hosts
            or self.unplaced
            or self.placed_again
            or self.files
            or self.cluster[0] != self.cluster[1]
        )

    @property
    def restarts(self) -> tuple[InstanceDiff, ...]:
        """The replicas that are interrupted: in both plans, and started anew."""
        return tuple(one for model in self.models for one in model.instances if one.restart is not None)
