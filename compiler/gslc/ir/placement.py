"""What the placer works with: classes of hosts, and per model the ways in which a replica can be laid out there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Protocol

from gslc.ir.diagnostic import Decision, Diagnostic, Excluded
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import Arch, BackendName, Cluster, EnginePin, GpuKind, Model, Os, TargetName
from gslc.ir.lock import Seat
from gslc.ir.plan import Basis, DeviceMemory, Layout, Unplaced
from gslc.ir.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HostClass:
    """Hosts that no model can tell apart, save by label, name and what is already on them.

    gpu_capacity[i] and memory_capacity are what may be used (total less reserved), in bytes. With unified_memory the
    GPUs draw on memory_capacity too.
    """

    os: Os
    arch: Arch
    target: TargetName
    unified_memory: bool
    gpu_kinds: tuple[GpuKind, ...]
    gpu_capacity: tuple[int, ...]
    memory_capacity: int
    engines: tuple[tuple[str, EnginePin], ...]  # resolved: cluster pins with the host's overrides, sorted by name
    nomad_driver: str | None = None
    has_uuids: bool = False
    nvlink: tuple[tuple[int, ...], ...] = ()  # islands of linked cards; (): not said

    def __hash__(self) -> int:
        """A hash of the sizes alone: classes are looked up once per model, and the nested kinds are slow to hash."""
        return hash((self.memory_capacity, self.gpu_capacity, self.target))


@dataclass(frozen=True, slots=True, kw_only=True)
class PartNeed:
    """What one host must give to a choice.

    `gpus` has one entry a card, in the engine's device order; () runs on the CPU. `indices` names the cards where the
    choice was made for particular ones (an elastic choice), else any free cards do. same_kind: all cards alike.
    `ports` are the names of the ports to allocate: ("http",), ("http", "master"), ("rpc", "rpc"), ().
    """

    gpus: tuple[DeviceMemory, ...]
    host: DeviceMemory
    indices: tuple[int, ...] | None = None
    same_kind: bool = False
    ports: tuple[str, ...] = ("http",)
    kind: GpuKind | None = None  # only cards of this kind: the need was worked out for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to lay a replica out: parts on different hosts, leader first.

    `rank` orders the choices of a model: lower is better (contract section 4, orders 3-6, or the place in
    `requirements`). `offloaded_bytes` is what lies in host RAM though a better rank would have it on a GPU.
    exclusive: nobody else may use the cards.
    """

    rank: int
    label: str  # "one GPU", "tensor parallel 2", "24 of 33 layers on one GPU", "CPU"
    parts: tuple[PartNeed, ...]
    layout: Layout
    offloaded_bytes: int = 0
    exclusive: bool = False
    basis: Basis = "derived"
    decisions: tuple[Decision, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()  # remarks to make when it is taken: too few requests at once, …
    across_classes: bool = False  # the parts may lie on hosts of different classes that all offer an equal choice
    common: tuple[tuple[str, str], ...] = ()  # across_classes: what these hosts must have in common, by its key
    needs_no_switch: bool = False  # runs on the CPU, and yet is allowed without `cpu_offload` (a speech model)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeGpu:
    """A card and what is left on it, in bytes."""

    index: int
    kind: GpuKind
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeHost:
    """A host as an elastic choice sees it: only the cards that the replica may use, and host memory left."""

    name: str
    host_class: HostClass
    gpus: tuple[FreeGpu, ...]
    memory_free: int


class Elastic(Protocol):
    """A way of laying out that depends on what is free: several uneven cards, partial offload, RPC over hosts.

    Both methods are pure: same arguments, same answer.
    """

    @property
    def rank(self) -> int:
        """Its place in the order of choices."""
        ...

    @property
    def spans_hosts(self) -> bool:
        """True when one replica lies on several hosts."""
        ...

    @property
    def label(self) -> str:
        """The way in words."""
        ...

    def fit(self, hosts: tuple[FreeHost, ...]) -> Choice | None:
        """The best choice on these hosts (leader first; one unless spans_hosts), or None. parts[i] lies on hosts[i]."""
        ...

    def restore(self, layout: Layout, hosts: tuple[FreeHost, ...]) -> Choice | None:
        """The choice with exactly this locked layout and all the cards given, or None where it is no longer legal."""
        ...

    def shortfall(self, hosts: tuple[FreeHost, ...]) -> int:
        """Bytes that are missing on these hosts for the best attempt; 0 when it fits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All ways to lay a model out on hosts of one class; parts of one fixed choice all lie on hosts of that class.

    `refused` says which layouts were ruled out beforehand and why (tensor parallel 3: 28 heads …).
    """

    fixed: tuple[Choice, ...] = ()
    elastic: tuple[Elastic, ...] = ()
    refused: tuple[Excluded, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A model with all that is known of it, before any host is looked at."""

    model: Model
    facts: ModelFacts | None  # None for backend custom without a source
    backend: BackendName
    selector: Mapping[str, str]
    cluster: Cluster = field(compare=False)
    assumed_file_bytes: int | None = None  # "what if": lay out a file of this size, of which no more is known


@dataclass(frozen=True, slots=True, kw_only=True)
class HostGroup:
    """Eligible hosts of one class, by name."""

    host_class: HostClass
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Who may run a model: the hosts by name, the same hosts grouped by class, and the options per class.

    `options` may be computed on first use. `excluded` has the hosts that may not run it, with the rule.
    """

    request: Request
    hosts: tuple[str, ...]
    options: Mapping[HostClass, Options]
    excluded: tuple[Excluded, ...] = ()
    decisions: tuple[Decision, ...] = ()
    groups: tuple[HostGroup, ...] = ()
    vary: Callable[[Request, HostClass], Options] | None = None  # the options of a changed request: "what if"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A replica and its seats; choice.parts[i] lies on seats[i]."""

    model: str
    replica: int
    choice: Choice
    seats: tuple[Seat, ...]
    moved_from: tuple[Seat, ...] | None = None  # the locked seats, where they could not be kept
    moved_because: str = ""
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUsage:
    """What is taken and what is left on one host, in bytes.

    gpu_free_bytes are on cards that are not held exclusively. Stranded bytes are of no use to a replica like those
    placed: what is left on exclusive cards, and on shared ones less than the smallest share that any replica takes.
    """

    host: str
    gpus: int
    gpus_used: int
    gpu_free_bytes: int
    gpu_stranded_bytes: int
    memory_free_bytes: int
    largest_free_gpu_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementStats:
    """Figures of the whole fleet, for `-v` and the JSON report.

    room: for 1, 2, 4 … cards of one host, the most bytes that each of them still has: what the next model may ask for.
    """

    replicas: int
    placed: int
    gpus: int
    gpus_used: int
    offloaded_bytes: int
    kept: int
    moved: int
    steps: int  # of the search, out of its budget
    room: tuple[tuple[int, int], ...]
    hosts: tuple[HostUsage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where every replica lies, sorted by model name and replica number, and which could not be placed."""

    assignments: tuple[Assignment, ...]
    unplaced: tuple[Unplaced, ...]
    stats: PlacementStats
