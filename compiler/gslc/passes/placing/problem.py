"""The placement problem in small integers: hosts, cards, replicas and the options of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TypeAlias

from gslc.engines.addresses import is_loopback
from gslc.ir.inputs import Cluster, GpuKind, Host
from gslc.ir.nvlink import Links, links_of
from gslc.ir.placement import Candidates
from gslc.ir.record import dataclass
from gslc.passes.placing.options import Option, Sizes, Zone, ZoneMaker

FEW_PORTS = 256  # a host with as many replicas on it is not expected; below, ports are counted while placing
Example: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...]]  # memory, free bytes and users (at most 1) by card


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
