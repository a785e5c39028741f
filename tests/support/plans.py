"""Small plans made by hand, for the tests of the targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from gslc.ir.diagnostic import Place
from gslc.ir.inputs import Cluster, Gpu, GpuKind, Host, Model, Vendor
from gslc.ir.placement import HostClass
from gslc.ir.plan import DeviceMemory, Instance, Launch, Layout, Plan, Shard, ShardMemory

GIB = 1 << 30
ROOT = FilePath(__file__).resolve().parents[2]


class NoPlaces:
    """Places of a cluster that was never a file: the path stands for the line."""

    def at(self, *path: str | int) -> Place:
        return Place(file="/".join(str(part) for part in path))

    def key(self, *path: str | int) -> Place:
        return self.at(*path)


def templates(path: str) -> str:
    """A shipped file of this checkout."""
    return (ROOT / path).read_text(encoding="utf-8")


def make_gpus(count: int, vendor: Vendor = "nvidia", *, uuids: bool = False) -> tuple[Gpu, ...]:
    kind = GpuKind(model=f"{vendor} card", vendor=vendor, memory_bytes=24 * GIB)
    return tuple(
        Gpu(index=index, kind=kind, uuid=f"GPU-{index:08x}-0000-4000-8000-000000000000" if uuids else None)
        for index in range(count)
    )


def make_host(name: str = "atlas", **changes: Any) -> Host:
    address = changes.pop("address", "127.0.0.1")
    host = Host(
        name=name,
        address=address,
        listen=address,
        os="linux",
        arch="amd64",
        memory_bytes=64 * GIB,
        unified_memory=False,
        reserved_memory_bytes=2 * GIB,
        reserved_gpu_memory_bytes=0,
        labels={"host": name, "os": "linux", "arch": "amd64"},
        target="systemd",
        model_dir="/var/lib/gslc/models",
        engines={},
        nomad_driver=None,
        gpus=(),
    )
    return replace(host, **changes)


def make_launch(name: str = "chat-0", **changes: Any) -> Launch:
    launch = Launch(
        name=name,
        role="leader",
        rank=0,
        host="atlas",
        program="/usr/local/bin/server",
        argv=("--port", "20000"),
        image="registry.example/server:1",
        listen="127.0.0.1",
        port=20000,
        health_path="/health",
        model_dir="/var/lib/gslc/models",
    )
    return replace(launch, **changes)


def make_instance(launches: Launch | tuple[Launch, ...], **changes: Any) -> Instance:
    """An instance of which each launch is one shard; model and replica come from the first launch's name."""
    parts = launches if isinstance(launches, tuple) else (launches,)
    model, _, replica = parts[0].name.rpartition("-")
    instance = Instance(
        name=parts[0].name,
        model=model,
        replica=int(replica),
        backend="llama.cpp",
        engine_version="b1",
        target="systemd",
        served_name=model,
        kind="chat",
        selector={},
        shards=tuple(
            Shard(
                host=launch.host,
                role=launch.role,
                rank=launch.rank,
                gpus=launch.gpus,
                address=launch.listen,
                port=launch.port,
                memory=ShardMemory(gpus=tuple(DeviceMemory() for _ in launch.gpus), host=DeviceMemory()),
                launch=launch,
            )
            for launch in parts
        ),
        layout=Layout(),
        basis="derived",
        exclusive=False,
    )
    return replace(instance, **changes)


def make_plan(*instances: Instance, cluster: str = "lab") -> Plan:
    return Plan(cluster=cluster, instances=tuple(sorted(instances, key=lambda one: (one.model, one.replica))))


def make_cluster(*hosts: Host, models: Iterable[Model] = (), target: str = "systemd", name: str = "lab") -> Cluster:
    return Cluster(
        name=name,
        target=target,
        port_range=(20000, 29999),
        engines={},
        hosts=tuple(sorted(hosts, key=lambda host: host.name)),
        models=tuple(models),
        places=NoPlaces(),
    )


def host_class(**changes: Any) -> HostClass:
    given = HostClass(
        os="linux",
        arch="amd64",
        target="systemd",
        unified_memory=False,
        gpu_kinds=(),
        gpu_capacity=(),
        memory_capacity=GIB,
        engines=(),
    )
    return replace(given, **changes)
