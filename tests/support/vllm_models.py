"""Models and hosts for the tests of vLLM, from config.json alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from gslc.backends.vllm import Vllm
from gslc.ir.diagnostic import Place
from gslc.ir.facts import FileFact, Json, ModelFacts, ModelKind, SafetensorsFacts, TensorGroup
from gslc.ir.inputs import Cluster, EnginePin, Gpu, GpuKind, Host, Model, Source
from gslc.ir.inputs import Path as PlacePath
from gslc.ir.lock import Seat
from gslc.ir.placement import Assignment, Choice, HostClass, Request
from gslc.ir.plan import Launch

GIB = 1 << 30
TRUTH = Path(__file__).parents[1] / "data" / "truth"
RTX_4090 = GpuKind(
    model="NVIDIA GeForce RTX 4090", vendor="nvidia", memory_bytes=24564 << 20, compute_capability=(8, 9)
)
H200 = GpuKind(model="NVIDIA H200", vendor="nvidia", memory_bytes=150109880320, compute_capability=(9, 0))
T4 = GpuKind(model="Tesla T4", vendor="nvidia", memory_bytes=15360 << 20, compute_capability=(7, 5))


class Lines:
    """Places by the path itself: the line is its length, the column its last number."""

    def at(self, *path: str | int) -> Place:
        last = path[-1]
        return Place(file="cluster.yaml", line=len(path), column=last + 1 if isinstance(last, int) else 1)

    def key(self, *path: str | int) -> Place:
        return self.at(*path)


def frozen(value: object) -> Json:
    """A JSON value as the lock holds it: lists are tuples."""
    if isinstance(value, list):
        return tuple(frozen(item) for item in value)
    if isinstance(value, dict):
        return {str(key): frozen(item) for key, item in value.items()}
    return cast("Json", value)


def truth_configs() -> dict[str, Mapping[str, Json]]:
    """config.json of the models of the truth files, by name."""
    document = json.loads((TRUTH / "vllm_configs.json").read_text(encoding="utf-8"))
    return {name: cast("Mapping[str, Json]", frozen(config)) for name, config in document["configs"].items()}


CONFIGS = truth_configs()


def files_of(name: str, tensors: tuple[TensorGroup, ...] = (), **changes: Json) -> SafetensorsFacts:
    """The safetensors facts of a truth model, keys of its config changed."""
    config = {**CONFIGS[name], **changes}
    return SafetensorsFacts(config=config, tensors=tensors, parameter_bytes=0, header_sha256=None)


def facts_of(name: str, kind: ModelKind = "chat", **changes: Json) -> ModelFacts:
    """The facts of a truth model."""
    return ModelFacts(
        source=f"hf://{name}",
        revision="a" * 40,
        files=(FileFact(path="model.safetensors", size_bytes=GIB), FileFact(path="config.json", size_bytes=1024)),
        kind=kind,
        kind_reason="config.json",
        safetensors=files_of(name, **changes),
    )


def host_of(
    name: str, *kinds: GpuKind, engines: Mapping[str, EnginePin] | None = None, target: str = "systemd"
) -> Host:
    """A Linux host with these cards."""
    return Host(
        name=name,
        address=f"10.0.0.{ord(name[0]) - 96}",
        listen=f"10.0.0.{ord(name[0]) - 96}",
        os="linux",
        arch="amd64",
        memory_bytes=128 * GIB,
        unified_memory=False,
        reserved_memory_bytes=2 * GIB,
        reserved_gpu_memory_bytes=0,
        labels={"os": "linux", "arch": "amd64", "host": name},
        target=target,
        model_dir="/var/lib/gslc/models",
        engines=engines or {},
        nomad_driver=None,
        gpus=tuple(Gpu(index=index, kind=kind) for index, kind in enumerate(kinds)),
    )


def class_of(host: Host, engines: Mapping[str, EnginePin] | None = None) -> HostClass:
    """The class that a host is in."""
    return HostClass(
        os=host.os,
        arch=host.arch,
        target=host.target,
        unified_memory=host.unified_memory,
        gpu_kinds=tuple(gpu.kind for gpu in host.gpus),
        gpu_capacity=tuple(gpu.kind.memory_bytes - host.reserved_gpu_memory_bytes for gpu in host.gpus),
        memory_capacity=host.memory_bytes - host.reserved_memory_bytes,
        engines=tuple(sorted({**(engines or {}), **host.engines}.items())),
        nvlink=host.nvlink,
    )


def request_of(
    name: str,
    *hosts: Host,
    kind: ModelKind = "chat",
    version: str | None = None,
    facts: ModelFacts | None = None,
    **keys: object,
) -> Request:
    """A request for a truth model under the name `chat`, with these model keys."""
    keys.setdefault("source", Source(kind="hf", text=f"hf://{name}", repository=name))
    model = Model(name="chat", **keys)  # type: ignore[arg-type]  # keys of the test's own
    engines = {"vllm": EnginePin(version=version)} if version is not None else {}
    cluster = Cluster(
        name="lab",
        target="systemd",
        port_range=(20000, 29999),
        engines=engines,
        hosts=hosts,
        models=(model,),
        places=Lines(),
    )
    return Request(model=model, facts=facts or facts_of(name, kind), backend="vllm", selector={}, cluster=cluster)


def choices_of(request: Request, host: Host) -> tuple[Choice, ...]:
    """The choices on hosts of this host's class."""
    return Vllm().options(request, class_of(host, request.cluster.engines)).fixed


def launches_of(request: Request, *hosts: Host) -> tuple[Launch, ...]:
    """The launches of the best choice, its parts on the hosts in the order given."""
    choice = min(choices_of(request, hosts[0]), key=lambda item: item.rank)
    seats = tuple(
        Seat(host=host.name, gpus=tuple(range(len(part.gpus))), ports=(20000, 20001)[: len(part.ports)])
        for host, part in zip(hosts, choice.parts, strict=False)
    )
    assignment = Assignment(model="chat", replica=0, choice=choice, seats=seats)
    return Vllm().launches(request, assignment, {host.name: host for host in hosts})


__all__ = [
    "CONFIGS",
    "GIB",
    "H200",
    "RTX_4090",
    "T4",
    "TRUTH",
    "Lines",
    "PlacePath",
    "choices_of",
    "class_of",
    "facts_of",
    "files_of",
    "frozen",
    "host_of",
    "launches_of",
    "request_of",
]
