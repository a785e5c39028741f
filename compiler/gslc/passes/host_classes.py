"""Hosts grouped into classes that no model can tell apart, save by label, name and what is already on them."""

from __future__ import annotations

from collections.abc import Mapping

from gslc.contracts import Registry
from gslc.ir.inputs import Cluster, EnginePin, Host
from gslc.ir.placement import HostClass


def classify_hosts(cluster: Cluster, registry: Registry) -> Mapping[str, HostClass]:
    """The class of every host by host name; equal classes are one object, to be told apart by identity."""
    names = sorted({*registry.backends, *cluster.engines, *(name for host in cluster.hosts for name in host.engines)})
    shared: dict[HostClass, HostClass] = {}
    engines: dict[tuple[tuple[str, EnginePin], ...], tuple[tuple[str, EnginePin], ...]] = {}
    classes: dict[str, HostClass] = {}
    for host in sorted(cluster.hosts, key=lambda host: host.name):
        overrides = tuple(sorted(host.engines.items()))
        resolved = engines.get(overrides)
        if resolved is None:
            resolved = tuple((name, _resolve(name, cluster, host, registry)) for name in names)
            engines[overrides] = resolved
        found = _class_of(host, resolved)
        classes[host.name] = shared.setdefault(found, found)
    return classes


def _class_of(host: Host, engines: tuple[tuple[str, EnginePin], ...]) -> HostClass:
    reserved = host.reserved_gpu_memory_bytes
    return HostClass(
        os=host.os,
        arch=host.arch,
        target=host.target,
        unified_memory=host.unified_memory,
        gpu_kinds=tuple(gpu.kind for gpu in host.gpus),
        gpu_capacity=tuple(max(0, gpu.kind.memory_bytes - reserved) for gpu in host.gpus),
        memory_capacity=max(0, host.memory_bytes - host.reserved_memory_bytes),
        engines=engines,
        nomad_driver=host.nomad_driver,
        has_uuids=any(gpu.uuid is not None for gpu in host.gpus),
        nvlink=host.nvlink,
    )


def _resolve(name: str, cluster: Cluster, host: Host, registry: Registry) -> EnginePin:
    """The pin of one engine on one host: the host's word before the cluster's before the release's."""
    backend = registry.backends.get(name)
    pin = backend.default_pin if backend is not None else EnginePin()
    for layer in (cluster.engines.get(name), host.engines.get(name)):
        if layer is not None:
            pin = _override(pin, layer)
    return pin


def _override(pin: EnginePin, layer: EnginePin) -> EnginePin:
    """`pin` with what `layer` says; another version forgets the image, which belonged to the version before it."""
    changes_version = layer.version is not None and layer.version != pin.version
    return EnginePin(
        version=layer.version if layer.version is not None else pin.version,
        path=layer.path if layer.path is not None else pin.path,
        image=layer.image if layer.image is not None else (None if changes_version else pin.image),
    )
