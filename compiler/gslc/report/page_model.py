"""The fleet as a picture needs it: hosts, their devices, and what lies on each device, with capacities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, TypeAlias

from gslc.documents.plan import PlanDocument, sum_memory
from gslc.ir.plan import DeviceMemory, HostSummary
from gslc.ir.record import dataclass

Part: TypeAlias = Literal["weights", "kv_cache", "compute", "overhead", "stated", "reserved", "free"]

# In stacking order, with the words of the legend.
PART_WORDS: dict[Part, str] = {
    "weights": "Weights",
    "kv_cache": "KV cache",
    "compute": "Compute",
    "overhead": "Overhead",
    "stated": "Stated",
    "reserved": "Reserved",
    "free": "Free",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """What one process of an instance takes of a device. role is "" for a leader."""

    instance: str
    model: str
    role: str
    memory: DeviceMemory

    def parts(self) -> tuple[tuple[Part, int], ...]:
        """The bytes by part, in stacking order, without empty parts."""
        memory = self.memory
        every: tuple[tuple[Part, int], ...] = (
            ("weights", memory.weights),
            ("kv_cache", memory.kv_cache),
            ("compute", memory.compute),
            ("overhead", memory.overhead),
            ("stated", memory.stated),
        )
        return tuple((part, amount) for part, amount in every if amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU, or a host's RAM. capacity_bytes is None where the plan has no inventory."""

    label: str  # "GPU 0", "RAM", "Unified"
    name: str  # the card's model, "" for RAM
    capacity_bytes: int | None
    reserved_bytes: int
    residents: tuple[Resident, ...]

    @property
    def used_bytes(self) -> int:
        """What the instances take."""
        return sum(resident.memory.total for resident in self.residents)

    @property
    def whole_bytes(self) -> int:
        """The length of the bar: the capacity, or what is used where that is unknown or (in an edited plan) more."""
        return max(self.capacity_bytes or 0, self.used_bytes, 1)

    @property
    def free_bytes(self) -> int:
        """What is left behind instances and reservation."""
        return max(0, (self.capacity_bytes or 0) - self.reserved_bytes - self.used_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host with its devices. ram is None with unified memory: there `gpus` is the one device that all share."""

    name: str
    platform: str  # linux/amd64, "" where unknown
    labels: tuple[tuple[str, str], ...]  # without os, arch and host
    gpus: tuple[Device, ...]
    ram: Device | None
    unified: bool
    gpu_count: int
    nvlink: tuple[tuple[int, ...], ...] = ()  # islands of linked cards; (): not said

    @property
    def models(self) -> tuple[str, ...]:
        """The models that lie here, sorted."""
        devices = (*self.gpus, *(() if self.ram is None else (self.ram,)))
        return tuple(sorted({resident.model for device in devices for resident in device.residents}))


def fleet(document: PlanDocument) -> tuple[HostView, ...]:
    """All hosts of the plan by name: those of its inventory, and those that only shards speak of."""
    on_gpu: dict[tuple[str, int], list[Resident]] = defaultdict(list)
    in_ram: dict[str, list[Resident]] = defaultdict(list)
    highest: dict[str, int] = {}
    for one in document.instances:
        for shard in one.shards:
            role = "" if shard.role == "leader" else f"{shard.role} {shard.rank}"
            highest[shard.host] = max(highest.get(shard.host, -1), *shard.gpus, -1)
            for index, memory in zip(shard.gpus, shard.memory.gpus, strict=True):
                on_gpu[shard.host, index].append(Resident(instance=one.name, model=one.model, role=role, memory=memory))
            if shard.memory.host.total or not shard.gpus:
                in_ram[shard.host].append(
                    Resident(instance=one.name, model=one.model, role=role, memory=shard.memory.host)
                )
    known = {host.name: host for host in document.hosts}
    return tuple(
        _host(name, known.get(name), highest.get(name, -1), on_gpu, in_ram.get(name, []))
        for name in sorted(known.keys() | highest.keys())
    )


def _host(
    name: str,
    summary: HostSummary | None,
    highest: int,
    on_gpu: dict[tuple[str, int], list[Resident]],
    in_ram: list[Resident],
) -> HostView:
    cards = () if summary is None else summary.gpus
    count = max(len(cards), highest + 1)
    gpus = tuple(
        Device(
            label=f"GPU {index}",
            name=cards[index].model if index < len(cards) else "",
            capacity_bytes=cards[index].memory_bytes if index < len(cards) else None,
            reserved_bytes=0 if summary is None else summary.reserved_gpu_memory_bytes,
            residents=tuple(on_gpu.get((name, index), ())),
        )
        for index in range(count)
    )
    ram = Device(
        label="RAM",
        name="",
        capacity_bytes=None if summary is None else summary.memory_bytes,
        reserved_bytes=0 if summary is None else summary.reserved_memory_bytes,
        residents=tuple(in_ram),
    )
    unified = summary is not None and summary.unified_memory and bool(gpus)
    if unified:
        gpus = (_shared(gpus, ram),)
    return HostView(
        name=name,
        platform="" if summary is None else f"{summary.os}/{summary.arch}",
        labels=()
        if summary is None
        else tuple(pair for pair in summary.labels if pair[0] not in ("os", "arch", "host")),
        gpus=gpus,
        ram=None if unified else ram,
        unified=unified,
        gpu_count=count,
        nvlink=() if summary is None else summary.nvlink,
    )


def _shared(gpus: tuple[Device, ...], ram: Device) -> Device:
    """GPUs and RAM of a host with unified memory as the one pool that they are."""
    joined: dict[tuple[str, str], Resident] = {}
    for resident in (one for device in (*gpus, ram) for one in device.residents):
        key = (resident.instance, resident.role)
        before = joined.get(key)
        memory = resident.memory if before is None else sum_memory(before.memory, resident.memory)
        joined[key] = Resident(instance=resident.instance, model=resident.model, role=resident.role, memory=memory)
    return Device(
        label="Unified",
        name=gpus[0].name,
        capacity_bytes=ram.capacity_bytes,
        reserved_bytes=ram.reserved_bytes,
        residents=tuple(joined.values()),
    )


def part_sums(devices: Iterable[Device]) -> dict[Part, int]:
    """Bytes by part over several devices, reservation and free space included, empty parts left out."""
    sums: dict[Part, int] = dict.fromkeys(PART_WORDS, 0)
    for device in devices:
        for resident in device.residents:
            for part, amount in resident.parts():
                sums[part] += amount
        if device.capacity_bytes is not None:
            sums["reserved"] += min(device.reserved_bytes, max(0, device.capacity_bytes - device.used_bytes))
            sums["free"] += device.free_bytes
    return {part: amount for part, amount in sums.items() if amount}


def short_name(model: str) -> str:
    """A card's name without the words that every card of its maker carries."""
    for prefix in ("NVIDIA GeForce ", "NVIDIA ", "AMD Radeon ", "AMD Instinct ", "AMD ", "Apple ", "Intel "):
        if model.startswith(prefix) and len(model) > len(prefix):
            return model[len(prefix) :]
    return model
