"""Layouts that fit: how many layers go to which card, and which experts stay in host memory."""

from __future__ import annotations

from dataclasses import field, replace

from gslc.engines.llama_profile import EngineProfile
from gslc.engines.llama_settings import LlamaSettings
from gslc.ir.record import dataclass
from gslc.memory.gguf.assign import assign_layers
from gslc.memory.gguf.footprint import Device, Footprint, footprint
from gslc.memory.gguf.shape import ModelShape

FULL = 1000  # thousandths of a card's free bytes
DEVICES_MAX = 15  # GGML_SCHED_MAX_BACKENDS is 16, one of them the CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A layout with its memory: settings hold -ngl, -ts and --n-cpu-moe."""

    settings: LlamaSettings
    footprint: Footprint
    gpu_layers: int
    split: tuple[int, ...]
    cpu_moe_layers: int

    @property
    def on_gpus(self) -> int:
        """Bytes on all devices."""
        return sum(device.total for device in self.footprint.devices)


@dataclass(frozen=True, slots=True)
class Planner:
    """Finds layouts for one model under one engine; `settings` are the user's, without layers and split."""

    shape: ModelShape
    settings: LlamaSettings
    profile: EngineProfile
    host_arch: str = "amd64"
    first_device_bytes: int = 0  # a projector's memory, which goes to the first device
    laid: dict[tuple[object, ...], Plan] = field(init=False, default_factory=dict, compare=False, repr=False)

    @property
    def layers(self) -> int:
        """Blocks and the output layer."""
        return self.shape.blocks + 1

    def whole_layers(self, split: tuple[float, ...], layers: int) -> tuple[int, ...]:
        """A split of the user's in whole numbers: as given where it is in such, else the engine's layers."""
        if all(part == int(part) for part in split):
            return tuple(int(part) for part in split)
        asked = replace(self.settings, gpu_layers=layers, tensor_split=split)
        homes = assign_layers(self.shape.blocks, len(split), asked, self.profile)
        return tuple(homes.count(device) for device in range(len(split)))

    def lay(self, devices: tuple[Device, ...], split: tuple[int, ...], layers: int, moe: int = 0) -> Plan:
        """The memory of exactly this layout."""
        key = (devices, split, layers, moe)
        if key not in self.laid:
            self.laid[key] = self._lay(devices, split, layers, moe)
        return self.laid[key]

    def _lay(self, devices: tuple[Device, ...], split: tuple[int, ...], layers: int, moe: int) -> Plan:
        settings = replace(
            self.settings,
            gpu_layers=layers if devices else 0,
            tensor_split=tuple(float(part) for part in split) if len(devices) > 1 else None,
            cpu_moe_layers=max(moe, self.settings.cpu_moe_layers),
        )
        found = footprint(self.shape, settings, self.profile, devices, host_arch=self.host_arch)
        return Plan(
            settings=settings,
            footprint=self._with_projector(found),
            gpu_layers=layers if devices else 0,
            split=split,
            cpu_moe_layers=moe,
        )

    def _with_projector(self, found: Footprint) -> Footprint:
        """The footprint with the projector on the first device, or in host memory where there is none."""
        if not self.first_device_bytes:
            return found
        if not found.devices:
            return replace(found, host=replace(found.host, compute=found.host.compute + self.first_device_bytes))
        first = replace(found.devices[0], compute=found.devices[0].compute + self.first_device_bytes)
        return replace(found, devices=(first, *found.devices[1:]))

    def lay_given(self, devices: tuple[Device, ...], layers: int) -> Plan:
        """The memory with the split and mode that the settings hold."""
        settings = replace(self.settings, gpu_layers=layers)
        found = footprint(self.shape, settings, self.profile, devices, host_arch=self.host_arch)
        return Plan(
            settings=settings, footprint=self._with_projector(found), gpu_layers=layers, split=(), cpu_moe_layers=0
        )

    def twin(self, plan: Plan, devices: tuple[Device, ...]) -> Plan:
        """The same layout on other devices."""
        found = footprint(self.shape, plan.settings, self.profile, devices, host_arch=self.host_arch)
        return replace(plan, footprint=self._with_projector(found))

    def on_cpu(self) -> Plan:
        """Everything in host memory."""
        return self.lay((), (), 0)

    def on_one(self, device: Device) -> Plan:
        """Everything on one card."""
        return self.lay((device,), (self.layers,), self.layers)

    def spread(self, devices: tuple[Device, ...], free: tuple[int, ...], layers: int, moe: int = 0) -> Plan | None:
        """`layers` over these cards so that the fullest is as empty as possible; None where they do not fit.

        Cards take whole layers in their order, the last one with the output layer; every card takes one at least.
        """
        count = len(devices)
        if layers < count or count > DEVICES_MAX:
            return None
        if count == 1:
            plan = self.lay(devices, (layers,), layers, moe)
            return plan if fits(plan, free) else None
        costs = self._costs(devices, layers, moe)
        low, high = 1, FULL
        best: tuple[int, ...] | None = None
        while low <= high:
            middle = (low + high) // 2
            split = _fill(costs, free, middle, layers)
            if split is None:
                low = middle + 1
            else:
                best, high = split, middle - 1
        for split in self._near(best, costs, free, layers):
            plan = self.lay(devices, split, layers, moe)
            if fits(plan, free):
                return plan
        return None

    def shortfall(self, devices: tuple[Device, ...], free: tuple[int, ...]) -> int:
        """Bytes by which a fully offloaded model misses these cards; 0 when it fits."""
        if not devices:
            return self.on_cpu().footprint.host.total
        if self.spread(devices, free, self.layers) is not None:
            return 0
        even = _even(self.layers, len(devices))
        if even is None:
            return sum(free) and 1
        plan = self.lay(devices, even, self.layers)
        return max(1, plan.on_gpus - sum(free))

    def partial(self, devices: tuple[Device, ...], free: tuple[int, ...], host_free: int) -> Plan | None:
        """The most that fits on these cards with the rest in host memory.

        A model of experts first leaves experts of its first blocks in host memory with all layers on the cards (their
        attention and shared parts are what a card is for); only then whole layers go.
        """
        if self.shape.experts and not self.settings.cpu_moe_layers:
            plan = self._fewest_cpu_experts(devices, free)
            if plan is not None and plan.footprint.host.total <= host_free:
                return plan
        return self._most_layers(devices, free, host_free, self.shape.blocks if self.shape.experts else 0)

    def _fewest_cpu_experts(self, devices: tuple[Device, ...], free: tuple[int, ...]) -> Plan | None:
        best = None
        low, high = 1, self.shape.blocks
        while low <= high:
            middle = (low + high) // 2
            plan = self.spread(devices, free, self.layers, middle)
            if plan is None:
                low = middle + 1
            else:
                best, high = plan, middle - 1
        return best

    def _most_layers(self, devices: tuple[Device, ...], free: tuple[int, ...], host_free: int, moe: int) -> Plan | None:
        best = None
        low, high = len(devices), self.layers - 1
        while low <= high:
            middle = (low + high) // 2
            plan = self.spread(devices, free, middle, moe)
            if plan is None:
                high = middle - 1
            else:
                best, low = plan, middle + 1
        return best if best is not None and best.footprint.host.total <= host_free else None

    def _costs(self, devices: tuple[Device, ...], layers: int, moe: int) -> tuple[list[int], list[int]]:
        """Bytes of each offloaded layer, and of what each card needs beside its layers."""
        even = _even(layers, len(devices))
        plan = self.lay(devices, even or (layers,), layers, moe)
        start = self.layers - layers
        items = [self._layer_bytes(item, moe) for item in range(start, self.layers)]
        fixed = []
        for index, device in enumerate(plan.footprint.devices):
            mine = sum(
                items[item - start] for item in range(start, self.layers) if plan.footprint.layers[item] == index
            )
            fixed.append(max(0, device.total - mine))
        return items, [max(fixed)] * (len(fixed) - 1) + [max(fixed)]

    def _layer_bytes(self, item: int, moe: int) -> int:
        from gslc.memory.gguf.layer_cost import layer_bytes

        return layer_bytes(self.shape, item, self.settings, self.profile, moe)

    def _near(
        self, split: tuple[int, ...] | None, costs: tuple[list[int], list[int]], free: tuple[int, ...], layers: int
    ) -> list[tuple[int, ...]]:
        """The split found, then those that move one layer between neighbours, then a proportional one."""
        found: list[tuple[int, ...]] = []
        base = split or _fill(costs, tuple(amount + amount // 20 for amount in free), FULL, layers)
        if base is None:
            return found
        found.append(base)
        for index in range(len(base) - 1):
            for step in (1, -1):
                moved = list(base)
                moved[index] += step
                moved[index + 1] -= step
                if min(moved) >= 1:
                    found.append(tuple(moved))
        return found


def fits(plan: Plan, free: tuple[int, ...]) -> bool:
    """True when every device has room for its part."""
    return all(device.total <= room for device, room in zip(plan.footprint.devices, free, strict=True))


def _even(layers: int, count: int) -> tuple[int, ...] | None:
    if layers < count:
        return None
    return tuple(layers // count + (1 if index < layers % count else 0) for index in range(count))


def _fill(
    costs: tuple[list[int], list[int]], free: tuple[int, ...], thousandths: int, layers: int
) -> tuple[int, ...] | None:
    """Whole layers card by card, each filled to `thousandths` of its free bytes; None where layers are left over."""
    items, fixed = costs
    split = []
    at = 0
    for index, amount in enumerate(free):
        room = amount * thousandths // FULL - fixed[index]
        later = len(free) - index - 1
        taken = 0
        while at < layers - later and (taken == 0 or items[at] <= room):
            if items[at] > room:
                return None
            room -= items[at]
            at += 1
            taken += 1
        if taken == 0:
            return None
        split.append(taken)
    return tuple(split) if at == layers else None
