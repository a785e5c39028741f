"""Instances over several hosts: what each part needs, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gslc.engines.vllm_flags import Argument
from gslc.engines.vllm_ray import (
    EXECUTOR_FLAG,
    NATIVE_NODES_FROM,
    OBJECT_STORE_BYTES,
    OWN_PORTS,
    RAY_INSTALLED_BEFORE,
    RAY_NODES_FROM,
    starts_hosts_with,
)
from gslc.ir.diagnostic import Diagnostic, Excluded, Place
from gslc.ir.inputs import GpuKind, Host
from gslc.ir.placement import Choice, Request
from gslc.ir.plan import DeviceMemory
from gslc.memory.vllm.view import View

# Ray's own processes on a host, resident: 0.7 GB on the leader's and 0.6 GB on the others with Ray 2.40 and 2.48,
# 0.95 GB with all extras of 2.50 (store, raylet, agents, monitors, one idle worker).
RAY_PROCESSES_BYTES = 1 << 30


def ports_of(node: int, nodes: int) -> tuple[str, ...]:
    """The ports that a part answers on: the leader's server, and where the other hosts find it."""
    if node:
        return ()
    return ("http", "master") if nodes > 1 else ("http",)


def with_ports(choice: Choice) -> Choice:
    """The choice with the ports of an instance of vLLM on its parts."""
    parts = choice.parts
    ported = tuple(replace(part, ports=ports_of(node, len(parts))) for node, part in enumerate(parts))
    return choice if ported == parts else replace(choice, parts=ported)


def ray_host_bytes() -> int:
    """Host memory of Ray itself on each host of an instance: its processes, and the store in /dev/shm."""
    return RAY_PROCESSES_BYTES + OBJECT_STORE_BYTES


def parts_of(devices: tuple[DeviceMemory, ...], nodes: int, *, by_ray: bool) -> tuple[tuple[DeviceMemory, ...], ...]:
    """The cards of each host's part, leader first, from the demand of every rank.

    Ray gives stages to followers by their addresses, which are not known here: with it every follower has room for the
    largest stage of any.
    """
    per_node = len(devices) // nodes
    parts = [devices[node * per_node : (node + 1) * per_node] for node in range(nodes)]
    if by_ray and nodes > 2:
        largest = tuple(
            max(column, key=lambda need: (need.total, need.weights)) for column in zip(*parts[1:], strict=True)
        )
        parts[1:] = [largest] * (nodes - 1)
    return tuple(parts)


def against_ray(kinds: Iterable[GpuKind], view: View) -> tuple[Excluded, ...]:
    """Why cards can't serve an instance over several hosts by Ray: it counts other vendors' by other variables."""
    vendors = sorted({kind.vendor for kind in kinds} - {"nvidia"})
    if not view.by_ray or not vendors:
        return ()
    detail = f"vLLM {view.version} starts several hosts with Ray, which gslc sets up for nvidia, not {vendors[0]}"
    return (Excluded(what="several hosts", rule="Ray", detail=detail),)


def review_executor(request: Request, view: View, argument: Argument) -> Diagnostic | None:
    """What is wrong with a backend of the user's own; `ray` is taken where the release comes with Ray."""
    model, asked = request.model, argument.value
    if asked == "ray" and model.distributed and view.by_ray:
        return None
    message, remedy = f"{EXECUTOR_FLAG} is set by gslc", f"remove {EXECUTOR_FLAG}; `distributed` decides it"
    if asked == "ray" and model.distributed:
        message = f"{EXECUTOR_FLAG} ray: vLLM {view.version} comes without Ray, the last release with it is before "
        message += RAY_INSTALLED_BEFORE
        remedy = f"remove {EXECUTOR_FLAG}: this release starts several hosts by itself"
    place = request.cluster.places.at("models", model.name, "args", argument.index)
    return Diagnostic(code="GS347", message=f"model {model.name}: {message}", place=place, help=remedy)


def review_spanning(request: Request, view: View, hosts: tuple[Host, ...]) -> Iterator[Diagnostic]:
    """What stands against starting several hosts; `hosts` are those that the release may run the model on."""
    model = request.model
    if not model.distributed:
        return
    places = request.cluster.places
    if starts_hosts_with(view.version, view.settings.executor) is None:
        yield Diagnostic(
            code="GS355",
            message=f"model {model.name}: gslc does not know how vLLM {view.version} starts several hosts; the oldest "
            f"release that was looked at is {RAY_NODES_FROM}",
            place=places.at("models", model.name, "distributed"),
            help=f"pin vllm {NATIVE_NODES_FROM} or newer in `engines`",
        )
    elif view.by_ray and hosts:
        yield from _ray_hosts(request, view, hosts)


def _ray_hosts(request: Request, view: View, hosts: tuple[Host, ...]) -> Iterator[Diagnostic]:
    model, places = request.model, request.cluster.places
    # without an address a host is given no part of such an instance
    reachable = [(host, host.address) for host in hosts if host.address is not None]
    folders = {host.model_dir: host.name for host, _ in reversed(reachable)}
    if len(folders) > 1 and (model.source is None or model.source.kind != "file"):
        first, second = sorted(folders.items(), key=lambda pair: pair[1])[:2]
        yield _say(
            request,
            "GS366",
            f"vLLM {view.version} loads a model at one path on all its hosts, and model_dir is {first[0]} on "
            f"{first[1]}, {second[0]} on {second[1]}",
            places.at("hosts", second[1], "model_dir"),
            f"set the same model_dir, or pin vllm {NATIVE_NODES_FROM} or newer",
        )
    for host, address in reachable:
        if ":" in address:
            yield _say(
                request,
                "GS367",
                f"vLLM {view.version} starts several hosts with Ray, which has no use for {address} of {host.name}",
                places.at("hosts", host.name, "address"),
                f"give an IPv4 address or a name, or pin vllm {NATIVE_NODES_FROM} or newer",
            )
    low, high = request.cluster.port_range
    for port, owner in OWN_PORTS.items():
        if low <= port <= high:
            yield _say(
                request,
                "GS368",
                f"port_range {low}-{high} holds {port}, which Ray keeps for its {owner}",
                places.at("port_range"),
                f"choose a port_range without {' and '.join(str(own) for own in OWN_PORTS)}",
            )


def _say(request: Request, code: str, message: str, place: Place, remedy: str) -> Diagnostic:
    return Diagnostic(code=code, message=f"model {request.model.name}: {message}", place=place, help=remedy)
