"""The placement problem in small integers: hosts, cards, replicas and the options of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from gslc.ir.inputs import Cluster, GpuKind, Host
from gslc.ir.placement import Candidates, Choice, Elastic, HostClass, PartNeed


Example: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...]]  # memory, free bytes and users (at most 1) by card


@dataclass(slots=True, eq=False)
class Part:
    """What one host must give; needs are sorted largest first, `slots[i]` is the device-order position of needs[i]."""

    count: int
    needs: tuple[int, ...]
    slots: tuple[int, ...]
    uniform: bool
    memory: int
    memory_unified: int  # host memory where the GPUs draw on it too
    exclusive: bool
    same_kind: bool
    kind: GpuKind | None
    indices: tuple[int, ...] | None
    ports: int
    ways: tuple[tuple[str, int], ...]  # how to ask a pool for hosts, see State.value_of
    fits: dict[int, tuple[tuple[int, ...], int, int, int, int] | None] = field(default_factory=dict)  # by condition


@dataclass(slots=True, eq=False)
class Option:
    """One choice, compiled. `key` sorts options of one replica from best to worst, moves aside."""

    choice: Choice
    rank: int
    offload: int
    gpus: int
    parts: tuple[Part, ...]
    single: Part | None  # the only part, where there is one

    @property
    def key(self) -> tuple[int, int, int, str]:
        """Better options first: fewer offloaded bytes, better rank, fewer cards."""
        return (self.offload, self.rank, self.gpus, self.choice.label)


@dataclass(slots=True, eq=False)
class Zone:
    """Eligible hosts of one class, with the options of a model there."""

    class_index: int
    host_class: HostClass
    hosts: tuple[int, ...]
    options: tuple[Option, ...]  # fixed choices, best first
    elastic: tuple[Elastic, ...]


@dataclass(slots=True, eq=False)
class ModelTask:
    """A model as the search sees it. `wide` are the options with several parts, each with the hosts it may use."""

    index: int
    name: str
    candidates: Candidates
    priority: int
    spread: bool
    apart: bool  # anti_affinity: host
    port: int | None
    pins: Mapping[int, tuple[int, ...]] | None  # host -> allowed cards
    one_family: bool  # its hosts mix Nomad with other targets, and one Nomad job must hold all replicas
    plain: bool  # nothing but memory decides which of two hosts in the same condition it may use
    compile_zones: ZoneMaker
    replicas: tuple[int, ...] = ()  # replica ids
    _zones: tuple[Zone, ...] | None = None
    first: tuple[Option | None] | None = None  # its best option anywhere, see placing.orders
    _least: int | None = None
    _wide: tuple[tuple[Option, tuple[int, ...]], ...] = ()
    zone_by_host: dict[int, Zone] = field(default_factory=dict)

    @property
    def zones(self) -> tuple[Zone, ...]:
        """The zones, compiled when they are first asked for."""
        if self._zones is None:
            self._zones, self._wide = self.compile_zones.zones_of(self.candidates)
        return self._zones

    @property
    def least_offload(self) -> int:
        """The fewest bytes in host memory with which a model can do; elastic choices are taken to need none."""
        if self._least is None:
            zones = self.zones
            offloads = [option.offload for zone in zones for option in zone.options]
            offloads += [option.offload for option, _ in self._wide]
            stretches = any(zone.elastic for zone in zones)
            self._least = 0 if stretches else min(offloads, default=0)
        return self._least

    @property
    def wide(self) -> tuple[tuple[Option, tuple[int, ...]], ...]:
        """Options with parts on several hosts, best first, and the hosts that offer each."""
        _ = self.zones
        return self._wide

    def zone_at(self, host: int) -> Zone | None:
        """The zone that holds a host, or None where the model may not run there."""
        if not self.zone_by_host:
            for zone in self.zones:
                for member in zone.hosts:
                    self.zone_by_host[member] = zone
        return self.zone_by_host.get(host)


@dataclass(slots=True, eq=False)
class Replica:
    """One replica to place; ids are dense and sorted by model name and number."""

    id: int
    task: ModelTask
    number: int


class ZoneMaker:
    """Compiles options, sharing equal parts and options among all models."""

    def __init__(self, host_index: Mapping[str, int], hosts: tuple[Host, ...]) -> None:
        self.host_index = host_index
        self.hosts = hosts
        self.class_index: dict[HostClass, int] = {}
        self.parts: dict[object, Part] = {}
        self.members: dict[int, tuple[tuple[str, ...], tuple[int, ...]]] = {}

    def zones_of(self, candidates: Candidates) -> tuple[tuple[Zone, ...], tuple[tuple[Option, tuple[int, ...]], ...]]:
        """The zones of a model, and its options over several hosts."""
        zones: list[Zone] = []
        wide: dict[int, tuple[Option, list[int]]] = {}
        across: list[tuple[Choice, int]] = []
        for group in candidates.groups:
            options = candidates.options[group.host_class]
            hosts = self._indices(group.hosts)
            single = [self.option(choice) for choice in options.fixed if len(choice.parts) == 1]
            single.sort(key=lambda option: option.key)
            for choice in options.fixed:
                if len(choice.parts) > 1:
                    self._add_wide(choice, hosts, wide, across)
            zones.append(
                Zone(
                    class_index=self.class_index.setdefault(group.host_class, len(self.class_index)),
                    host_class=group.host_class,
                    hosts=hosts,
                    options=tuple(single),
                    elastic=options.elastic,
                )
            )
        ordered = sorted(wide.values(), key=lambda entry: entry[0].key)
        return tuple(zones), tuple((option, tuple(sorted(hosts))) for option, hosts in ordered)

    def _add_wide(
        self,
        choice: Choice,
        hosts: tuple[int, ...],
        wide: dict[int, tuple[Option, list[int]]],
        across: list[tuple[Choice, int]],
    ) -> None:
        if choice.across_classes:
            for known, number in across:
                if known == choice:
                    wide[number][1].extend(hosts)
                    return
            across.append((choice, len(wide)))
        wide[len(wide)] = (self.option(choice), list(hosts))

    def _indices(self, names: tuple[str, ...]) -> tuple[int, ...]:
        known = self.members.get(id(names))
        if known is None:
            known = (names, tuple(sorted(self.host_index[name] for name in names)))
            self.members[id(names)] = known
        return known[1]

    def option(self, choice: Choice) -> Option:
        """A choice, compiled."""
        parts = tuple(self.part(need, choice.exclusive) for need in choice.parts)
        return Option(
            choice=choice,
            rank=choice.rank,
            offload=choice.offloaded_bytes,
            gpus=sum(part.count for part in parts),
            parts=parts,
            single=parts[0] if len(parts) == 1 else None,
        )

    def part(self, need: PartNeed, exclusive: bool) -> Part:
        """A part, compiled; equal parts are one object."""
        sizes = tuple(gpu.total for gpu in need.gpus)
        host = need.host.total
        key = (sizes, host, exclusive, need.same_kind, need.kind, need.indices, len(need.ports))
        found = self.parts.get(key)
        if found is None:
            slots = tuple(sorted(range(len(sizes)), key=lambda slot: (-sizes[slot], slot)))
            found = Part(
                count=len(sizes),
                needs=tuple(sizes[slot] for slot in slots),
                slots=slots,
                uniform=len(set(sizes)) <= 1,
                memory=host,
                memory_unified=host + sum(sizes),
                exclusive=exclusive,
                same_kind=need.same_kind,
                kind=need.kind,
                indices=need.indices,
                ports=len(need.ports),
                ways=_ways(len(sizes), exclusive),
            )
            self.parts[key] = found
        return found


def _ways(count: int, exclusive: bool) -> tuple[tuple[str, int], ...]:
    """The lists that lead to hosts for a part, best first."""
    if count == 0:
        return (("memory", 0),)
    if exclusive:
        return (("whole", count),)
    return (("touched", 1), ("any", 1)) if count == 1 else (("any", count),)


@dataclass(slots=True, eq=False)
class Problem:
    """Everything the searches read and never change."""

    cluster: Cluster
    hosts: tuple[Host, ...]  # sorted by name
    host_index: Mapping[str, int]
    tasks: tuple[ModelTask, ...]  # sorted by model name
    replicas: tuple[Replica, ...]
    maker: ZoneMaker
    gpu_capacity: tuple[tuple[int, ...], ...]
    memory_capacity: tuple[int, ...]
    unified: tuple[bool, ...]
    kinds: tuple[tuple[int, ...], ...]  # per host and card: the number of its kind
    one_kind: tuple[bool, ...]
    kind_numbers: Mapping[GpuKind, int]
    reachable: tuple[bool, ...]  # has an address
    conditions: dict[object, int] = field(default_factory=dict)  # what is free on a host -> its number, for all states
    examples: list[Example] = field(default_factory=list)  # by number


def problem_of(candidates: Iterable[Candidates], cluster: Cluster) -> Problem:
    """The problem of a cluster; sorted, so that the order of the input never matters."""
    hosts = tuple(sorted(cluster.hosts, key=lambda host: host.name))
    host_index = {host.name: index for index, host in enumerate(hosts)}
    maker = ZoneMaker(host_index, hosts)
    tasks: list[ModelTask] = []
    replicas: list[Replica] = []
    for index, entry in enumerate(sorted(candidates, key=lambda entry: entry.request.model.name)):
        task = _task_of(index, entry, maker)
        first = len(replicas)
        replicas.extend(
            Replica(id=first + number, task=task, number=number) for number in range(entry.request.model.replicas)
        )
        task.replicas = tuple(range(first, len(replicas)))
        tasks.append(task)
    kind_numbers: dict[GpuKind, int] = {}
    known: dict[int, int] = {}  # kinds from one table entry are one object: hash each object once
    kinds = tuple(
        tuple(
            known[id(gpu.kind)]
            if id(gpu.kind) in known
            else known.setdefault(id(gpu.kind), kind_numbers.setdefault(gpu.kind, len(kind_numbers)))
            for gpu in host.gpus
        )
        for host in hosts
    )
    return Problem(
        cluster=cluster,
        hosts=hosts,
        host_index=host_index,
        tasks=tuple(tasks),
        replicas=tuple(replicas),
        maker=maker,
        gpu_capacity=tuple(
            tuple(max(0, gpu.kind.memory_bytes - host.reserved_gpu_memory_bytes) for gpu in host.gpus) for host in hosts
        ),
        memory_capacity=tuple(max(0, host.memory_bytes - host.reserved_memory_bytes) for host in hosts),
        unified=tuple(host.unified_memory for host in hosts),
        kinds=kinds,
        one_kind=tuple(len(set(row)) <= 1 for row in kinds),
        kind_numbers=kind_numbers,
        reachable=tuple(host.address is not None for host in hosts),
    )


def _task_of(index: int, candidates: Candidates, maker: ZoneMaker) -> ModelTask:
    model = candidates.request.model
    pins: dict[int, tuple[int, ...]] | None = None
    if model.gpus:
        pins = {}
        for host, card in sorted(model.gpus):
            if host in maker.host_index:
                number = maker.host_index[host]
                pins[number] = (*pins.get(number, ()), card)
    targets = {group.host_class.target for group in candidates.groups}
    one_family = model.replicas > 1 and "nomad" in targets and len(targets) > 1
    return ModelTask(
        index=index,
        name=model.name,
        candidates=candidates,
        priority=model.priority,
        spread=model.placement == "spread",
        apart=model.anti_affinity == "host",
        port=model.port,
        pins=pins,
        one_family=one_family,
        plain=not (one_family or model.anti_affinity or model.port is not None or model.gpus),
        compile_zones=maker,
    )
