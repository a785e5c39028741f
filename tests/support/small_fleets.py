"""Small clusters for the tests of the passes, made without YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gslc.backends.custom import Custom
from gslc.contracts import Registry
from gslc.ir.diagnostic import Excluded, Outcome, Place
from gslc.ir.inputs import Cluster, Gpu, GpuKind, Host, Model, Requirement, RequirementPart
from gslc.ir.lock import Lock, LockedPlacement
from gslc.ir.output import OutputFile
from gslc.ir.placement import Assignment, Candidates, HostClass, Placement
from gslc.ir.plan import Plan
from gslc.passes.assemble import assemble
from gslc.passes.eligible import find_candidates
from gslc.passes.place import place_models

GIB = 1 << 30


class NoPlaces:
    """Places of a cluster that was never a file: the path stands in for the file name."""

    def at(self, *path: str | int) -> Place:
        return Place(file="/".join(map(str, path)))

    key = at


class AnyTarget:
    """A target that runs everywhere and writes nothing."""

    def __init__(self, name: str, refuses: str | None = None) -> None:
        self.name = name
        self.refuses = refuses

    def excludes(self, host_class: HostClass) -> Excluded | None:
        if self.refuses == host_class.os:
            return Excluded(what="", rule="target", detail=f"{self.name} does not run on {host_class.os}")
        return None

    def review(self, plan: Plan, cluster: Cluster) -> tuple[()]:
        return ()

    def render(self, plan: Plan, cluster: Cluster) -> Outcome[tuple[OutputFile, ...]]:
        return Outcome(value=())


REGISTRY = Registry(
    backends={"custom": Custom()}, targets={name: AnyTarget(name) for name in ("systemd", "compose", "nomad")}
)


def card(gib: int, model: str | None = None) -> GpuKind:
    return GpuKind(model=model or f"card-{gib}", vendor="nvidia", memory_bytes=gib * GIB, compute_capability=(8, 9))


def host(name: str, gpus: Sequence[int] = (), memory: int = 64, **keys: object) -> Host:
    """A host with cards of the given GiB, nothing reserved."""
    labels = {"os": "linux", "arch": "amd64", "host": name, **keys.pop("labels", {})}  # type: ignore[dict-item]
    fields: dict[str, object] = {
        "name": name,
        "address": f"host-{name}",
        "listen": f"host-{name}",
        "os": "linux",
        "arch": "amd64",
        "memory_bytes": memory * GIB,
        "unified_memory": False,
        "reserved_memory_bytes": 0,
        "reserved_gpu_memory_bytes": 0,
        "labels": labels,
        "target": "systemd",
        "model_dir": "/var/lib/gslc/models",
        "engines": {},
        "nomad_driver": None,
        "gpus": tuple(Gpu(index=index, kind=card(gib)) for index, gib in enumerate(gpus)),
    }
    return Host(**{**fields, **keys})  # type: ignore[arg-type]


def need(gpus: int = 0, gpu_memory: float = 0, memory: float = 0, offload: float = 0) -> RequirementPart:
    return RequirementPart(
        gpus=gpus,
        gpu_memory_bytes=int(gpu_memory * GIB),
        memory_bytes=int(memory * GIB),
        offload_bytes=int(offload * GIB),
    )


def model(name: str, *alternatives: RequirementPart | Sequence[RequirementPart], **keys: object) -> Model:
    """A custom model; each alternative is one part or a list of parts."""
    requirements = tuple(
        Requirement(parts=(entry,) if isinstance(entry, RequirementPart) else tuple(entry)) for entry in alternatives
    )
    fields: dict[str, object] = {
        "name": name,
        "source": None,
        "backend": "custom",
        "command": ("/bin/serve", "--port", "{port}"),
        "requirements": requirements,
    }
    return Model(**{**fields, **keys})  # type: ignore[arg-type]


def cluster(hosts: Sequence[Host], models: Sequence[Model], **keys: object) -> Cluster:
    fields: dict[str, object] = {
        "name": "lab",
        "target": "systemd",
        "port_range": (20000, 29999),
        "engines": {},
        "hosts": tuple(sorted(hosts, key=lambda entry: entry.name)),
        "models": tuple(sorted(models, key=lambda entry: entry.name)),
        "places": NoPlaces(),
    }
    return Cluster(**{**fields, **keys})  # type: ignore[arg-type]


EMPTY_LOCK = Lock(cluster="lab", facts={})


def candidates_of(fleet: Cluster, registry: Registry = REGISTRY) -> tuple[Candidates, ...]:
    found = find_candidates(fleet, {}, registry)
    assert found.value is not None, found.diagnostics
    return found.value


def place(fleet: Cluster, lock: Lock = EMPTY_LOCK, *, replan: bool = False) -> Outcome[Placement]:
    return place_models(candidates_of(fleet), fleet, lock, replan=replan)


def lock_of(placement: Placement) -> Lock:
    return Lock(
        cluster="lab",
        facts={},
        placements=tuple(
            LockedPlacement(
                model=entry.model,
                replica=entry.replica,
                backend="custom",
                seats=entry.seats,
                layout=entry.choice.layout,
            )
            for entry in placement.assignments
        ),
    )


def where(outcome: Outcome[Placement]) -> Mapping[str, str]:
    """Seats by replica: m-0 -> "atlas:0,1 bolt:3"."""
    assert outcome.value is not None
    return {
        f"{entry.model}-{entry.replica}": " ".join(
            f"{seat.host}:{','.join(str(index) for index in seat.gpus)}" for seat in entry.seats
        )
        for entry in outcome.value.assignments
    }


def by_name(placement: Placement) -> Mapping[str, Assignment]:
    return {f"{entry.model}-{entry.replica}": entry for entry in placement.assignments}


def plan_of(fleet: Cluster, placement: Placement) -> Plan:
    """The plan that the compiler makes of a placement."""
    candidates = {entry.request.model.name: entry for entry in candidates_of(fleet)}
    hosts = {entry.name: entry for entry in fleet.hosts}
    instances = assemble(placement.assignments, candidates, hosts, REGISTRY)
    return Plan(cluster=fleet.name, instances=instances, unplaced=placement.unplaced)
