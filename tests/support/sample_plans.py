"""Small plans for tests: a builder with defaults, so that a test states only what it is about."""

from __future__ import annotations

from collections.abc import Mapping

from gslc.ir.diagnostic import Decision, Excluded, Exhausted
from gslc.ir.plan import (
    DeviceMemory,
    GpuSummary,
    HostSummary,
    Instance,
    Launch,
    Layout,
    Plan,
    Role,
    Shard,
    ShardMemory,
)

GIB = 1 << 30


def memory(total_gib: float) -> DeviceMemory:
    """A device's memory: 70 % weights, 20 % cache, the rest compute and overhead."""
    total = int(total_gib * GIB)
    weights, cache, compute = total * 70 // 100, total * 20 // 100, total * 6 // 100
    return DeviceMemory(weights=weights, kv_cache=cache, compute=compute, overhead=total - weights - cache - compute)


def host(name: str, *gpus: str, gib: int = 24, labels: Mapping[str, str] | None = None, ram: int = 128) -> HostSummary:
    """A Linux host with cards of `gib` GiB."""
    every = {"os": "linux", "arch": "amd64", "host": name, **(labels or {})}
    return HostSummary(
        name=name,
        os="linux",
        arch="amd64",
        labels=tuple(sorted(every.items())),
        memory_bytes=ram * GIB,
        reserved_memory_bytes=2 * GIB,
        gpus=tuple(GpuSummary(model=model, memory_bytes=gib * GIB) for model in gpus),
    )


def shard(
    where: str,
    gpus: tuple[int, ...] = (0,),
    *,
    name: str = "chat-0",
    role: Role = "leader",
    rank: int = 0,
    gib: float = 18,
    port: int = 20000,
    argv: tuple[str, ...] = ("serve", "/models/chat", "--max-model-len", "8192"),
    env: tuple[tuple[str, str], ...] = (),
    secret_env: tuple[tuple[str, str], ...] = (),
    group_restart: bool = False,
) -> Shard:
    """A shard on `where` that takes `gib` GiB of each of its GPUs."""
    launch = Launch(
        name=name,
        role=role,
        rank=rank,
        host=where,
        program="/usr/local/bin/vllm",
        argv=argv,
        image=None,
        env=env,
        secret_env=secret_env,
        gpus=gpus,
        port=port,
        group_restart=group_restart,
    )
    need = ShardMemory(gpus=tuple(memory(gib) for _ in gpus), host=memory(1))
    return Shard(
        host=where, role=role, rank=rank, gpus=gpus, address="10.0.0.11", port=port, memory=need, launch=launch
    )


def instance(
    model: str = "chat",
    replica: int = 0,
    *shards: Shard,
    where: str = "atlas",
    gpus: tuple[int, ...] = (0,),
    gib: float = 18,
    port: int = 20000,
    context: int = 8192,
    decisions: tuple[Decision, ...] | None = None,
    backend: str = "vllm",
    argv: tuple[str, ...] | None = None,
    target: str = "systemd",
) -> Instance:
    """A replica of a model; one shard on `where` unless shards are given."""
    name = f"{model}-{replica}"
    line = ("serve", f"/models/{model}", "--max-model-len", str(context)) if argv is None else argv
    parts = shards or (shard(where, gpus, name=name, gib=gib, port=port, argv=line),)
    width = max(1, len(parts[0].gpus))
    return Instance(
        name=name,
        model=model,
        replica=replica,
        backend=backend,
        engine_version="0.26.0",
        target=target,
        served_name=model,
        kind="chat",
        selector={"os": "linux", "arch": "amd64"},
        shards=parts,
        layout=Layout(tensor_parallel=width, layers=28, context=context, parallel=256, gpu_memory_utilization=900),
        basis="derived",
        exclusive=True,
        decisions=DECISIONS if decisions is None else decisions,
    )


DECISIONS = (
    Decision(
        subject="chat-0",
        topic="backend",
        chosen="vllm",
        rule="contract 4.1",
        because="the files are safetensors and the model is no speech model",
        evidence=(("format", "safetensors"),),
    ),
    Decision(
        subject="chat-0",
        topic="gpus",
        chosen="atlas GPU 0",
        rule="contract 4.4",
        because="one GPU is enough: 18.0 GiB of 24.0 GiB",
        evidence=(("needed", 18 * GIB), ("available", 24 * GIB)),
        rejected=(
            Exhausted(what="borealis GPU 0", dimension="gpu_memory", needed=18 * GIB, available=16 * GIB),
            Excluded(what="mini", rule="platform", detail="vLLM runs on linux/amd64, mini is darwin/arm64"),
        ),
    ),
)


def plan(*instances: Instance, hosts: tuple[HostSummary, ...] | None = None, cluster: str = "lab") -> Plan:
    """A plan of these instances; hosts atlas and borealis unless given."""
    inventory = (host("atlas", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090"), host("borealis", "NVIDIA L4"))
    return Plan(cluster=cluster, instances=instances, hosts=inventory if hosts is None else hosts)
