"""The placement problem in small integers: hosts, cards, replicas and the options of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TypeAlias

from gslc.engines.addresses import is_loopback
from gslc.ir.diagnostic import Excluded
from gslc.ir.inputs import Cluster, GpuKind, Host
from gslc.ir.nvlink import Links, links_of
from gslc.ir.placement import Candidates, Choice, Elastic, HostClass, Options, PartNeed
from gslc.ir.record import dataclass

FEW_PORTS = 256  # a host with as many replicas on it is not expected; below, ports are counted while placing
Key: TypeAlias = tuple[int, ...]  # lower is better, compared left to right
Fit: TypeAlias = tuple[Key, Key, Key, Key]  # how good a fit is by each style of fit.py, and its cards
Sizes: TypeAlias = list[tuple[int, int]]  # bytes free and card, sorted
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
    bulk: int  # bytes on all its cards together
    alike: bool  # it needs cards, the same of each of them, and names neither them nor their kind
    fits: dict[int, Fit | None] = field(default_factory=dict)  # by condition

    @property
    def group(self) -> bool:
        """True for several cards that work as one: they exchange data at every step, so that links between them count.

        Layers shared out over uneven cards (GGUF) hand over one activation a token: that is no group.
        """
        return self.count > 1 and self.same_kind


@dataclass(slots=True, eq=False)
class Option:
    """One choice, compiled. `key` sorts options of one replica from best to worst, moves aside."""

    choice: Choice
    rank: int
    offload: int
    gpus: int
    bulk: int  # bytes on all cards together
    parts: tuple[Part, ...]
    single: Part | None  # the only part, where there is one


def option_key(option: Option) -> tuple[int, int, int, str]:
    """Sorts better options first: fewer offloaded bytes, better rank, fewer cards."""
    return (option.offload, option.rank, option.gpus, option.choice.label)


class Zone:
    """Eligible hosts of one class, with the options of a model there, compiled when they are first asked for."""

    __slots__ = ("_candidates", "_found", "_lean", "_maker", "_options", "host_class", "hosts")

    def __init__(self, host_class: HostClass, hosts: tuple[int, ...], candidates: Candidates, maker: ZoneMaker) -> None:
        self.host_class = host_class
        self.hosts = hosts
        self._candidates = candidates
        self._maker = maker
        self._found: Options | None = None
        self._options: tuple[Option, ...] | None = None
        self._lean: tuple[Option, ...] | None = None

    @property
    def options(self) -> tuple[Option, ...]:
        """The fixed choices of one part that fit an empty host, best first."""
        if self._options is None:
            largest = self._maker.largest_of(self.host_class)
            found = self._maker.single_options(self._asked().fixed)[1]
            self._options = tuple([option for option in found if fits_empty(option.parts[0], self.host_class, largest)])
        return self._options

    @property
    def lean(self) -> tuple[Option, ...]:
        """The same, those that take the fewest bytes on cards first: what a search prefers where cards are scarce."""
        if self._lean is None:
            self._lean = tuple(sorted(self.options, key=lambda option: (option.offload, option.bulk, option.rank)))
        return self._lean

    def all_options(self) -> list[Option]:
        """The fixed choices of one part, also those that are too large for these hosts."""
        return list(self._maker.single_options(self._asked().fixed)[0])

    def _asked(self) -> Options:
        """What the backend offers on these hosts, asked once: a class of hosts is slow to look up."""
        if self._found is None:
            self._found = self._candidates.options[self.host_class]
        return self._found

    @property
    def elastic(self) -> tuple[Elastic, ...]:
        """The choices that depend on what is free."""
        return self._asked().elastic

    @property
    def refused(self) -> tuple[Excluded, ...]:
        """Layouts that were ruled out beforehand, and why."""
        return self._asked().refused

    @property
    def wide(self) -> tuple[Choice, ...]:
        """The fixed choices of several parts."""
        return tuple([choice for choice in self._asked().fixed if len(choice.parts) > 1])


def fits_empty(part: Part, host_class: HostClass, largest: tuple[int, ...]) -> bool:
    """True where a part fits a host of a class with nothing on it, the kinds of its cards aside.

    `largest` has what the cards of the class hold, the largest first.
    """
    if (part.memory_unified if host_class.unified_memory else part.memory) > host_class.memory_capacity:
        return False
    if part.count == 0:
        return True
    if part.count > len(largest):
        return False
    if part.uniform:
        return largest[part.count - 1] >= part.needs[0]
    return all(size >= need for size, need in zip(largest, part.needs, strict=False))


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
    port_outside: int  # 1 where a fixed port is not of the range, so that its leader takes one port less from it
    pins: Mapping[int, tuple[int, ...]] | None  # host -> allowed cards
    one_family: bool  # its hosts mix Nomad with other targets, and one Nomad job must hold all replicas
    plain: bool  # nothing but memory decides which of two hosts in the same condition it may use
    maker: ZoneMaker
    zones: tuple[Zone, ...]
    zone_number: Mapping[int, int]  # host -> its place in `zones`
    replicas: tuple[int, ...] = ()  # replica ids
    first: tuple[Option | None] | None = None  # its best option anywhere, see placing.orders
    demand: tuple[int, int] | None = None  # bytes on cards and in host memory that it takes
    _least: int | None = None
    _bulk: int | None = None
    _wide: tuple[tuple[Option, tuple[int, ...]], ...] | None = None
    _ranks: tuple[int, ...] | None = None

    @property
    def elastic_ranks(self) -> tuple[int, ...]:
        """The ranks of the choices that depend on what is free, best first."""
        if self._ranks is None:
            self._ranks = tuple(sorted({elastic.rank for zone in self.zones for elastic in zone.elastic}))
        return self._ranks

    @property
    def least_bulk(self) -> int:
        """The fewest bytes on cards that a clean option takes."""
        if self._bulk is None:
            self._bulk = min((zone.lean[0].bulk for zone in self.zones if zone.lean), default=0)
        return self._bulk

    @property
    def least_offload(self) -> int:
        """The fewest bytes in host memory with which a model can do; elastic choices are taken to need none."""
        if self._least is None:
            zones = self.zones
            offloads = [option.offload for zone in zones for option in zone.options[:1]]
            offloads += [option.offload for option, _ in self.wide]
            stretches = any(zone.elastic for zone in zones)
            self._least = 0 if stretches else min(offloads, default=0)
        return self._least

    @property
    def wide(self) -> tuple[tuple[Option, tuple[int, ...]], ...]:
        """Options with parts on several hosts, best first, and the hosts that offer each."""
        if self._wide is None:
            self._wide = self.maker.wide_of(self.zones)
        return self._wide

    def zone_at(self, host: int) -> Zone | None:
        """The zone that holds a host, or None where the model may not run there."""
        number = self.zone_number.get(host)
        return self.zones[number] if number is not None else None


@dataclass(slots=True, eq=False)
class Replica:
    """One replica to place; ids are dense and sorted by model name and number."""

    id: int
    task: ModelTask
    number: int


class ZoneMaker:
    """Compiles options, sharing equal parts and options among all models."""

    def __init__(self, host_index: Mapping[str, int]) -> None:
        self.host_index = host_index
        self.parts: dict[object, Part] = {}
        self.options: dict[int, tuple[Choice, Option]] = {}  # by identity: backends give one choice to many classes
        self.singles: dict[int, tuple[object, tuple[Option, ...], tuple[Option, ...]]] = {}
        self.largest: dict[int, tuple[object, tuple[int, ...]]] = {}
        self.layouts: dict[int, tuple[object, tuple[tuple[int, ...], ...], Mapping[int, int]]] = {}

    def zones_of(self, candidates: Candidates) -> tuple[tuple[Zone, ...], Mapping[int, int]]:
        """The zones of a model, and which of them holds a host. Models with the same groups share the hosts."""
        groups = candidates.groups
        known = self.layouts.get(id(groups))
        if known is None:
            hosts = tuple(tuple(sorted(self.host_index[name] for name in group.hosts)) for group in groups)
            where = {host: number for number, members in enumerate(hosts) for host in members}
            known = self.layouts[id(groups)] = (groups, hosts, where)
        zones = tuple(
            Zone(group.host_class, members, candidates, self) for group, members in zip(groups, known[1], strict=True)
        )
        return zones, known[2]

    def wide_of(self, zones: tuple[Zone, ...]) -> tuple[tuple[Option, tuple[int, ...]], ...]:
        """The options over several hosts; equal ones that go across classes are one."""
        found: list[tuple[Choice, list[int]]] = []
        for zone in zones:
            for choice in zone.wide:
                twin = next((hosts for known, hosts in found if choice.across_classes and known == choice), None)
                if twin is None:
                    found.append((choice, list(zone.hosts)))
                else:
                    twin.extend(zone.hosts)
        compiled = [(self.option(choice), tuple(sorted(hosts))) for choice, hosts in found]
        return tuple(sorted(compiled, key=lambda entry: option_key(entry[0])))

    def single_options(self, fixed: tuple[Choice, ...]) -> tuple[tuple[Option, ...], tuple[Option, ...]]:
        """The choices of one part, compiled, in their order and best first; the answer of equal classes is shared."""
        known = self.singles.get(id(fixed))
        if known is None:
            found = tuple([self.option(choice) for choice in fixed if len(choice.parts) == 1])
            ordered = tuple(sorted(found, key=option_key)) if len(found) > 1 else found
            known = self.singles[id(fixed)] = (fixed, found, ordered)
        return known[1:]

    def largest_of(self, host_class: HostClass) -> tuple[int, ...]:
        """What the cards of a class hold, the largest first."""
        known = self.largest.get(id(host_class))
        if known is None:
            sizes = tuple(sorted(host_class.gpu_capacity, reverse=True))
            known = self.largest[id(host_class)] = (host_class, sizes)
        return known[1]

    def option(self, choice: Choice) -> Option:
        """A choice, compiled."""
        known = self.options.get(id(choice))
        if known is not None:
            return known[1]
        parts = tuple(self.part(need, choice.exclusive) for need in choice.parts)
        option = Option(
            choice=choice,
            rank=choice.rank,
            offload=choice.offloaded_bytes,
            gpus=sum([part.count for part in parts]),
            bulk=sum([part.bulk for part in parts]),
            parts=parts,
            single=parts[0] if len(parts) == 1 else None,
        )
        self.options[id(choice)] = (choice, option)
        return option

    def part(self, need: PartNeed, exclusive: bool) -> Part:
        """A part, compiled; equal parts are one object."""
        sizes = tuple([gpu.total for gpu in need.gpus])
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
                bulk=sum(sizes),
                alike=len(set(sizes)) == 1 and need.kind is None and need.indices is None,
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
    reachable: tuple[bool, ...]  # has an address, and one that leads to it from other hosts
    links: tuple[Links, ...]  # per host: the NVLink island of each card; () where the host doesn't say
    linked: bool  # any host says
    alike: tuple[bool, ...]  # per host: its cards are of one kind, and it doesn't say which are linked
    ports: int | None = None  # how many a host has in port_range, where that is few enough to matter
    conditions: dict[object, int] = field(default_factory=dict)  # what is free on a host -> its number, for all states
    examples: list[Example] = field(default_factory=list)  # by number
    sorted_cards: dict[int, tuple[Sizes, Sizes]] = field(default_factory=dict)  # by number: see State.sorted_cards


def problem_of(candidates: Iterable[Candidates], cluster: Cluster) -> Problem:
    """The problem of a cluster; sorted, so that the order of the input never matters."""
    hosts = tuple(sorted(cluster.hosts, key=lambda host: host.name))
    host_index = {host.name: index for index, host in enumerate(hosts)}
    maker = ZoneMaker(host_index)
    tasks: list[ModelTask] = []
    replicas: list[Replica] = []
    first_port, last_port = cluster.port_range
    few_ports = last_port - first_port + 1 < FEW_PORTS
    for index, entry in enumerate(sorted(candidates, key=lambda entry: entry.request.model.name)):
        task = task_of(index, entry, maker, cluster.port_range)
        task.plain = task.plain and not few_ports
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
        reachable=tuple(host.address is not None and not is_loopback(host.address) for host in hosts),
        links=tuple(links_of(host.nvlink, len(host.gpus)) if host.nvlink else () for host in hosts),
        linked=any(host.nvlink for host in hosts),
        alike=tuple(len(set(row)) <= 1 and not host.nvlink for row, host in zip(kinds, hosts, strict=True)),
        ports=last_port - first_port + 1 if few_ports else None,
    )


def task_of(index: int, candidates: Candidates, maker: ZoneMaker, port_range: tuple[int, int]) -> ModelTask:
    """A model as the search sees it, without replicas yet."""
    model = candidates.request.model
    pins: dict[int, tuple[int, ...]] | None = None
    if model.gpus:
        pins = {}
        for host, card in sorted(model.gpus):
            if host in maker.host_index:
                number = maker.host_index[host]
                pins[number] = (*pins.get(number, ()), card)
    targets = {group.host_class.target for group in candidates.groups} if model.replicas > 1 else set()
    zones, zone_number = maker.zones_of(candidates)
    one_family = model.replicas > 1 and "nomad" in targets and len(targets) > 1
    return ModelTask(
        index=index,
        name=model.name,
        candidates=candidates,
        priority=model.priority,
        spread=model.placement == "spread",
        apart=model.anti_affinity == "host",
        port=model.port,
        port_outside=int(model.port is not None and not port_range[0] <= model.port <= port_range[1]),
        pins=pins,
        one_family=one_family,
        plain=not (one_family or model.anti_affinity or model.port is not None or model.gpus),
        maker=maker,
        zones=zones,
        zone_number=zone_number,
    )
