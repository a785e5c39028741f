"""plan.json as readers see it: the same words as ir.plan, with only what the file holds."""

from __future__ import annotations

from collections.abc import Mapping

from gslc.ir.diagnostic import Decision
from gslc.ir.plan import DeviceMemory, HostSummary, Layout, Plan, Shard, ShardMemory, Unplaced
from gslc.ir.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardView:
    """One process of an instance. `argv` holds the arguments after the program; secrets are names only."""

    name: str
    host: str
    role: str
    rank: int
    gpus: tuple[int, ...]
    address: str
    port: int
    program: str
    image: str | None
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]  # sorted by name
    secret_env: tuple[tuple[str, str], ...]  # (variable, secret name), sorted
    memory: ShardMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """One placed replica; shards[0] leads."""

    name: str
    model: str
    replica: int
    backend: str
    engine_version: str
    target: str
    served_name: str
    kind: str
    selector: Mapping[str, str]
    shards: tuple[ShardView, ...]
    layout: Layout
    basis: str
    exclusive: bool
    group_restart: bool
    port: int
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDocument:
    """A plan, read. hosts is () for a plan without an inventory."""

    cluster: str
    instances: tuple[InstanceView, ...]
    unplaced: tuple[Unplaced, ...] = ()
    hosts: tuple[HostSummary, ...] = ()
    file: str = "plan.json"


def plan_document(plan: Plan, file: str = "plan.json") -> PlanDocument:
    """The view of a plan that is still in memory: what reading its file back gives, and all decisions and places."""
    instances = tuple(
        InstanceView(
            name=instance.name,
            model=instance.model,
            replica=instance.replica,
            backend=instance.backend,
            engine_version=instance.engine_version,
            target=instance.target,
            served_name=instance.served_name,
            kind=instance.kind,
            selector=instance.selector,
            shards=tuple(_shard_view(shard) for shard in instance.shards),
            layout=instance.layout,
            basis=instance.basis,
            exclusive=instance.exclusive,
            group_restart=any(shard.launch.group_restart for shard in instance.shards),
            port=instance.port,
            decisions=instance.decisions,
        )
        for instance in plan.instances
    )
    return PlanDocument(cluster=plan.cluster, instances=instances, unplaced=plan.unplaced, hosts=plan.hosts, file=file)


def sum_memory(one: DeviceMemory, other: DeviceMemory) -> DeviceMemory:
    """What two take of one device, part by part."""
    return DeviceMemory(
        weights=one.weights + other.weights,
        kv_cache=one.kv_cache + other.kv_cache,
        compute=one.compute + other.compute,
        overhead=one.overhead + other.overhead,
        stated=one.stated + other.stated,
    )


def _shard_view(shard: Shard) -> ShardView:
    launch = shard.launch
    return ShardView(
        name=launch.name,
        host=shard.host,
        role=shard.role,
        rank=shard.rank,
        gpus=shard.gpus,
        address=shard.address,
        port=shard.port,
        program=launch.program,
        image=launch.image,
        argv=launch.argv,
        env=tuple(sorted(launch.env)),
        secret_env=tuple(sorted(launch.secret_env)),
        memory=shard.memory,
    )
