"""The section `hosts`: a map -> Host, its GPUs looked up in the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, Protocol, cast

from gslc.frontend import names, sizes
from gslc.frontend.fields import Fields, Scan, read_fields, read_map
from gslc.frontend.mistake import shown
from gslc.frontend.nvlink import MAX_GPUS, read_nvlink
from gslc.frontend.sizes import ScalarReader
from gslc.frontend.source import Map, Mark, Node
from gslc.ir.host_share import shared_memory_bytes
from gslc.ir.inputs import Arch, EnginePin, Gpu, GpuKind, Host, Os, Vendor
from gslc.ir.record import dataclass

OS_NAMES = ("linux", "darwin", "windows")
ARCH_NAMES = ("amd64", "arm64")
VENDORS = ("nvidia", "amd", "apple", "ascend", "intel", "mthreads")
DRIVERS = ("docker", "raw_exec")
FACT_LABELS = ("os", "arch", "host")  # set by gslc on every host
MAX_GUESSES = 20  # unknown names for which the table is searched
GPU_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,128}\Z")
DEFAULT_MODEL_DIR = "/var/lib/gslc/models"
DEFAULT_RESERVED_MEMORY_BYTES = 2 << 30  # the kernel, the supervisor and an SSH session
ALL_INTERFACES = ("0.0.0.0", "::")  # noqa: S104  # refused as an address, nothing binds here

HOST_KEYS = frozenset(
    {
        "address", "listen", "os", "arch", "memory", "unified_memory", "reserved", "labels", "target", "model_dir",
        "engines", "nomad_driver", "gpus", "nvlink",
    }
)  # fmt: skip
GPU_KEYS = frozenset({"model", "count", "vendor", "memory", "compute_capability", "uuid"})
PIN_KEYS = frozenset({"version", "path", "image"})
RESERVED_KEYS = frozenset({"memory", "gpu_memory"})

os_name = names.choice(*OS_NAMES)
arch_name = names.choice(*ARCH_NAMES)
vendor_name = names.choice(*VENDORS)
driver_name = names.choice(*DRIVERS)
gpu_name = names.pattern(GPU_NAME, "the name of a card", "NVIDIA GeForce RTX 4090")
gpu_count = sizes.whole_number(1, MAX_GPUS)


class GpuTable(Protocol):
    """The cards that gslc knows by name."""

    def find(self, name: str) -> GpuKind | None:
        """The card of that name, or None."""
        ...

    def nearest(self, name: str) -> list[str]:
        """Names of known cards that a mistyped one may have meant, best first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDefaults:
    """What a host takes from the cluster, and the words that are known there."""

    target: str
    target_name: ScalarReader[str]
    engines: tuple[str, ...]
    gpu_table: GpuTable


def read_host(scan: Scan, name: str, node: Node, mark: Mark, defaults: HostDefaults) -> Host:
    """The host of an entry; its mistakes are noted, and the value is then of no use."""
    fields = read_fields(scan, node, mark, f"host {name}", HOST_KEYS)
    take = fields.take
    os: Os = cast("Os", take("os", os_name, "linux"))
    arch: Arch = cast("Arch", take("arch", arch_name, "amd64"))
    memory = fields.need("memory", sizes.positive_size, 0, "write how much RAM it has: memory: 128GiB")
    unified = take("unified_memory", sizes.boolean, False)
    address = take("address", names.address, None)
    if address in ALL_INTERFACES:
        fields.refuse(
            "address", "GS144", f"address of host {name} is {address}, which reaches no host", "write the host's own"
        )
    reserved_memory, reserved_gpu = fields.take_node("reserved", read_reserved, (DEFAULT_RESERVED_MEMORY_BYTES, 0))
    if 0 < memory <= reserved_memory:
        refuse_reserved(fields, name, memory, reserved_memory)
    labels = fields.take_node("labels", read_labels, {})
    before = len(scan.problems.found)
    gpus = read_gpus(fields, name, defaults.gpu_table, memory if unified else None)
    nvlink = read_nvlink(fields, name, gpus, sound=len(scan.problems.found) == before)
    return Host(
        name=name,
        address=address,
        listen=take("listen", names.address, address or "127.0.0.1"),
        os=os,
        arch=arch,
        memory_bytes=memory,
        unified_memory=unified,
        reserved_memory_bytes=reserved_memory,
        reserved_gpu_memory_bytes=reserved_gpu,
        labels={**labels, "arch": arch, "host": name, "os": os},
        target=take("target", defaults.target_name, defaults.target),
        model_dir=take("model_dir", names.absolute_path, DEFAULT_MODEL_DIR),
        engines=read_engines(fields, defaults.engines),
        nomad_driver=cast("Literal['docker', 'raw_exec'] | None", take("nomad_driver", driver_name, None)),
        gpus=gpus,
        nvlink=nvlink,
    )


def refuse_reserved(fields: Fields, name: str, memory: int, reserved: int) -> None:
    """Note that nothing is left of a host's memory."""
    fields.refuse(
        "reserved" if fields.has("reserved") else "memory",
        "GS152",
        f"host {name} has {memory} bytes of memory, of which {reserved} are reserved: nothing is left",
        "reserve less (reserved: {memory: 0}) or state more memory",
    )


def read_reserved(scan: Scan, node: Node, mark: Mark, label: str) -> tuple[int, int]:
    """Bytes kept free on the host and on each of its GPUs."""
    fields = read_fields(scan, node, mark, label, RESERVED_KEYS)
    memory = fields.take("memory", sizes.demand_size, DEFAULT_RESERVED_MEMORY_BYTES)
    return memory, fields.take("gpu_memory", sizes.demand_size, 0)


def read_labels(scan: Scan, node: Node, mark: Mark, label: str) -> Mapping[str, str]:
    """The user's labels of a host, sorted."""
    labels = read_map(scan, node, mark, label, names.label_key, names.label_value)
    for fact in FACT_LABELS:
        if fact in labels and isinstance(node, Map):
            message = f"{label} sets {fact}, which is always there and follows from the host itself"
            action = "remove it" if fact == "host" else f"remove it, and write {fact}: {labels[fact]} at the host"
            scan.refuse(node[fact][2], "GS172", message, action)
    return dict(sorted(labels.items()))


def read_engines(fields: Fields, known: tuple[str, ...]) -> Mapping[str, EnginePin]:
    """The engine pins of a cluster or host, sorted by name."""
    found = fields.find("engines")
    if found is None:
        return {}
    scan, entry = found
    pins = {}
    engines = read_fields(scan, entry[0], entry[1], fields.label("engines"), frozenset(known))
    for engine in sorted(engines.entries):
        node, mark, _ = engines.entries[engine]
        pin = read_fields(scan, node, mark, f"engine {engine}", PIN_KEYS)
        pins[engine] = EnginePin(
            version=pin.take("version", names.version, None),
            path=pin.take("path", names.absolute_path, None),
            image=pin.take("image", names.image, None),
        )
    return pins


# ------------------------------------------------------------------ GPUs


def read_gpus(fields: Fields, host: str, table: GpuTable, shared_memory: int | None) -> tuple[Gpu, ...]:
    """The devices of a host in PCI order. `shared_memory` is the host's memory where the GPUs draw on it."""
    found = fields.find("gpus")
    if found is None:
        return ()
    scan, (node, mark, _) = found
    label = fields.label("gpus")
    gpus: list[Gpu] = []
    for number, (item, at) in enumerate(scan.items(node, mark, label, MAX_GPUS), 1):
        entry = read_fields(scan, item, at, f"GPU entry {number} of host {host}", GPU_KEYS)
        count = entry.take("count", gpu_count, 1)
        uuid = entry.take("uuid", names.uuid, None)
        if uuid is not None and count > 1:
            entry.refuse(
                "uuid",
                "GS152",
                f"{entry.owner} has one uuid for {count} cards",
                "write one entry a card, each with its uuid",
            )
        kind = read_kind(entry, table, shared_memory)
        if len(gpus) + count > MAX_GPUS:
            scan.refuse(at, "GS153", f"host {host} has more than {MAX_GPUS:,} GPUs", "check count")
            return ()
        if kind is not None:
            first = len(gpus)
            gpus.extend(Gpu(index=index, kind=kind, uuid=uuid) for index in range(first, first + count))
    return tuple(gpus)


def read_kind(entry: Fields, table: GpuTable, shared_memory: int | None) -> GpuKind | None:
    """What the cards of an entry are, or None after the mistake was noted."""
    model = entry.need("model", gpu_name, None, "write its name as nvidia-smi -L prints it, or model: custom")
    memory = entry.take("memory", sizes.positive_size, None)
    capability = entry.take("compute_capability", sizes.compute_capability, None)
    vendor = cast("Vendor | None", entry.take("vendor", vendor_name, None))
    if model is None:
        return None
    kind = custom_kind(entry, vendor, shared_memory) if model == "custom" else table.find(model)
    if kind is None:
        if model != "custom":
            refuse_unknown(entry, model, table)
        return None
    if vendor is not None and vendor != kind.vendor:
        entry.refuse("vendor", "GS152", f"{kind.model} is made by {kind.vendor}, not by {vendor}", "remove vendor")
    if capability is not None and kind.vendor != "nvidia":
        entry.refuse(
            "compute_capability", "GS152", f"only NVIDIA cards have one, not {kind.vendor}", "remove compute_capability"
        )
    if kind.vendor == "apple" and shared_memory is None:
        entry.refuse(
            "model",
            "GS152",
            f"{entry.owner} is Apple silicon, whose GPU shares the host's memory",
            "set unified_memory: true at the host",
        )
    stated = memory if memory is not None else kind.memory_bytes
    if shared_memory is not None:
        most = shared_memory_bytes(kind.host_share, shared_memory) if kind.host_share else shared_memory
        stated = min(stated or most, shared_memory)
    elif not stated and "memory" not in entry.entries:
        entry.refuse("model", "GS151", f"the memory of {kind.model} is not known", "write it: memory: 24GiB")
    capability = capability or kind.compute_capability
    if stated == kind.memory_bytes and capability == kind.compute_capability:
        return kind  # the table's own record: a thousand hosts share it, and compare by identity
    return replace(kind, memory_bytes=stated, compute_capability=capability)


def custom_kind(entry: Fields, vendor: Vendor | None, shared_memory: int | None) -> GpuKind | None:
    """The card that an entry describes by hand, its memory still to be filled in."""
    missing = [key for key in ("vendor", "memory") if not entry.has(key) and not (key == "memory" and shared_memory)]
    for key in missing:
        example = "memory: 24GiB" if key == "memory" else "vendor: nvidia"
        entry.refuse("model", "GS151", f"{entry.owner} is custom and has no {key}", f"write {example}")
    if missing or vendor is None:
        return None
    return GpuKind(model="custom", vendor=vendor, memory_bytes=0)


def refuse_unknown(entry: Fields, model: str, table: GpuTable) -> None:
    """Note a card that is not in the table, with those that may be meant."""
    guesses = entry.scan.problems.guesses
    by_hand = "describe it by hand: model: custom, vendor: nvidia, memory: 24GiB"
    if model not in guesses and len(guesses) < MAX_GUESSES:
        near = " or ".join(table.nearest(model)[:3])
        guesses[model] = f"did you mean {near}? Else {by_hand}" if near else by_hand
    action = guesses.get(model, by_hand)
    entry.refuse("model", "GS150", f"{entry.owner}: the GPU {shown(model)} is not known", action)
