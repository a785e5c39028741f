"""Assignments to instances: every shard gets launch, address and memory; starts on a shared card get an order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from gslc.contracts import Backend, Registry
from gslc.ir.diagnostic import Decision
from gslc.ir.inputs import Host
from gslc.ir.placement import Assignment, Candidates, HostClass, HostGroup
from gslc.ir.plan import DeviceMemory, Instance, Launch, ModelFile, Shard, ShardMemory

NOTHING = DeviceMemory()


def assemble(
    assignments: Sequence[Assignment],
    candidates: Mapping[str, Candidates],
    hosts: Mapping[str, Host],
    registry: Registry,
    mirror: str | None = None,
) -> tuple[Instance, ...]:
    """The instances of all assignments, sorted by model and replica.

    mirror: a folder or URL that keeps the layout of model_dir, from which files come instead of from their hubs.
    """
    classes = ClassOfHost()
    instances = []
    for assignment in assignments:
        of_model = candidates[assignment.model]
        leader_class = classes.of(of_model.groups, assignment.seats[0].host)
        instances.append(instance_of(assignment, of_model, leader_class, hosts, registry, mirror))
    instances.sort(key=lambda instance: (instance.model, instance.replica))
    return in_starting_order(instances)


class ClassOfHost:
    """Looks up the class of a host in a model's groups; models that share their groups share the index."""

    def __init__(self) -> None:
        self._indices: dict[int, tuple[tuple[HostGroup, ...], dict[str, HostClass]]] = {}

    def of(self, groups: tuple[HostGroup, ...], host: str) -> HostClass:
        """The class of a host that is in one of the groups."""
        known = self._indices.get(id(groups))
        if known is None or known[0] is not groups:
            index = {name: group.host_class for group in groups for name in group.hosts}
            known = self._indices[id(groups)] = (groups, index)
        return known[1][host]


def instance_of(
    assignment: Assignment,
    candidates: Candidates,
    leader_class: HostClass,
    hosts: Mapping[str, Host],
    registry: Registry,
    mirror: str | None,
) -> Instance:
    """One instance with its shards, leader first."""
    request = candidates.request
    backend: Backend = registry.backends[request.backend]
    leader = hosts[assignment.seats[0].host]
    launches = backend.launches(request, assignment, hosts)
    if mirror is not None:
        launches = tuple(from_mirror(launch, mirror, hosts[launch.host].model_dir) for launch in launches)
    choice = assignment.choice
    model = request.model
    return Instance(
        name=f"{assignment.model}-{assignment.replica}",
        model=assignment.model,
        replica=assignment.replica,
        backend=request.backend,
        engine_version=backend.engine_version(request, leader_class),
        target=leader.target,
        served_name=model.served_name or model.name,
        kind=request.facts.kind if request.facts else "custom",
        selector=dict(sorted(request.selector.items())),
        shards=shards_of(assignment, launches, hosts),
        layout=choice.layout,
        basis=choice.basis,
        exclusive=choice.exclusive,
        decisions=tuple(d for d in decisions_of(candidates, assignment) if d.scope == "instance"),
    )


def decisions_of(candidates: Candidates, assignment: Assignment) -> tuple[Decision, ...]:
    """All decisions about a replica, in the order in which they were made."""
    return (*candidates.decisions, *assignment.choice.decisions, *assignment.decisions)


def shards_of(assignment: Assignment, launches: Sequence[Launch], hosts: Mapping[str, Host]) -> tuple[Shard, ...]:
    """One shard a launch; a part's memory goes to the launches that use its cards, its host memory to the first."""
    parts = {seat.host: (seat, part) for seat, part in zip(assignment.seats, assignment.choice.parts, strict=True)}
    host_memory_given: set[str] = set()
    shards = []
    for launch in launches:
        seat, part = parts[launch.host]
        by_card = dict(zip(seat.gpus, part.gpus, strict=True))
        host_memory = NOTHING if launch.host in host_memory_given else part.host
        host_memory_given.add(launch.host)
        host = hosts[launch.host]
        shards.append(
            Shard(
                host=launch.host,
                role=launch.role,
                rank=launch.rank,
                gpus=launch.gpus,
                address=host.address or host.listen,
                port=launch.port,
                memory=ShardMemory(gpus=tuple(by_card[index] for index in launch.gpus), host=host_memory),
                launch=launch,
            )
        )
    return tuple(shards)


def in_starting_order(instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """The instances, each told which others on its cards must be ready first.

    An engine that sizes itself by the memory that is free at its start mis-sizes when a neighbour loads at the same
    time (vLLM issue 55827), so all instances on such a card start one after another, in the order of their names.
    """
    on_card: defaultdict[tuple[str, int], list[Instance]] = defaultdict(list)
    for instance in instances:
        for shard in instance.shards:
            for gpu in shard.gpus:
                on_card[(shard.host, gpu)].append(instance)
    before: defaultdict[str, set[str]] = defaultdict(set)
    for sharing in on_card.values():
        if len(sharing) < 2 or not any(s.launch.measures_free_memory for i in sharing for s in i.shards):
            continue
        ordered = sorted({instance.name for instance in sharing})
        for first, second in pairwise(ordered):
            before[second].add(first)
    return tuple(
        replace(instance, startup_group=tuple(sorted(before[instance.name]))) if instance.name in before else instance
        for instance in instances
    )


def from_mirror(launch: Launch, mirror: str, model_dir: str) -> Launch:
    """The launch with its files fetched from a mirror that keeps the layout of model_dir."""
    base = mirror if "://" in mirror else "file://" + mirror
    files = tuple(moved(file, base.rstrip("/"), model_dir) for file in launch.files)
    return replace(launch, files=files)


def moved(file: ModelFile, base: str, model_dir: str) -> ModelFile:
    """A file with the mirror's address in place of the hub's; files that the user places stay his."""
    if file.url is None:
        return file
    from urllib.parse import quote

    relative = file.path.removeprefix(model_dir).lstrip("/")
    return replace(file, url=f"{base}/{quote(relative)}", token=None)
