"""The ways to lay a GGUF model out on hosts of one class."""

from __future__ import annotations

from dataclasses import replace

from gslc.ir.diagnostic import Decision, Excluded
from gslc.ir.nvlink import linked_cards, links_of
from gslc.ir.placement import Choice, Elastic, FreeGpu, FreeHost, HostClass, Options, PartNeed
from gslc.ir.plan import DeviceMemory, Layout
from gslc.ir.record import dataclass
from gslc.memory.gguf.footprint import Device
from gslc.memory.gguf.offload import DEVICES_MAX, Plan, Planner
from gslc.memory.gguf.request import Resolved

RANK_ONE_GPU = 0
RANK_SEVERAL_GPUS = 1
RANK_SEVERAL_HOSTS = 2
RANK_PARTIAL = 3
RANK_CPU = 4
# Host RAM of a ggml-rpc-server: program, libraries, staging (upstream caps it at one tensor chunk).
RPC_SERVER_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What the model's switches allow, and how a choice is written down."""

    planner: Planner
    resolved: Resolved
    name: str
    exclusive: bool
    basis_of_vendor: dict[str, str]

    @property
    def divides(self) -> bool:
        """Whether layers may lie on several cards: -sm none puts all on one."""
        return self.resolved.settings.split_mode != "none"

    def choice(self, rank: int, label: str, plan: Plan, parts: tuple[PartNeed, ...], full: Plan | None) -> Choice:
        """A choice with its layout; offloaded bytes are what a fully offloaded plan would have on its cards."""
        everything = _movable(full) if full is not None else 0
        offloaded = max(0, everything - _movable(plan)) if rank >= RANK_PARTIAL else 0
        layout = Layout(
            gpu_layers=plan.gpu_layers,
            layers=self.planner.layers,
            tensor_split=plan.split if len(plan.split) > 1 else None,
            cpu_moe_layers=plan.cpu_moe_layers or None,
            context=self.resolved.context,
            parallel=self.resolved.parallel,
        )
        return Choice(
            rank=rank,
            label=label,
            parts=parts,
            layout=layout,
            offloaded_bytes=offloaded,
            exclusive=self.exclusive,
            basis="measured" if _all_measured(parts, self.basis_of_vendor) else "derived",
            decisions=(self._decision(label, plan),),
        )

    def _decision(self, label: str, plan: Plan) -> Decision:
        run = plan.footprint.run
        return Decision(
            subject=self.name,
            topic="memory",
            chosen=label,
            rule="gguf-footprint",
            because=f"{plan.gpu_layers} of {self.planner.layers} layers on the GPUs, "
            f"{run.cells * run.streams} cache cells",
            evidence=(
                ("gpu_bytes", plan.on_gpus),
                ("host_bytes", plan.footprint.host.total),
                ("weights", sum(d.weights for d in plan.footprint.devices)),
                ("kv_cache", sum(d.kv_cache for d in plan.footprint.devices)),
                ("compute", sum(d.compute for d in plan.footprint.devices)),
                ("overhead", sum(d.overhead for d in plan.footprint.devices)),
                ("pipeline_parallel", plan.footprint.pipeline),
                ("graph_known", plan.footprint.exact),
            ),
        )


def _movable(plan: Plan) -> int:
    return sum(device.weights + device.kv_cache for device in plan.footprint.devices)


def _all_measured(parts: tuple[PartNeed, ...], basis: dict[str, str]) -> bool:
    return all(value == "measured" for value in basis.values()) and any(part.gpus for part in parts)


def gguf_options(
    ways: Ways, host_class: HostClass, *, cpu_offload: bool, distributed: bool, one_gpu_only: bool = False
) -> Options:
    """One GPU, several GPUs, several hosts, partial offload, CPU: what the class and the switches allow."""
    planner, resolved = ways.planner, ways.resolved
    settings = resolved.settings
    kinds = host_class.gpu_kinds
    pinned = pinned_layers(resolved, planner)
    split = settings.tensor_split
    fixed: list[Choice] = []
    elastic: list[Elastic] = []
    vendor = kinds[0].vendor if kinds else None
    full = planner.on_one(Device(vendor=vendor)) if vendor else None
    if pinned is not None and pinned < planner.layers:
        return _pinned_options(ways, host_class, pinned, full, distributed=distributed)
    if full is not None and (split is None or len(split) == 1):
        part = PartNeed(gpus=full.footprint.devices, host=full.footprint.host)
        fixed.append(ways.choice(RANK_ONE_GPU, "one GPU", full, (part,), full))
    if not one_gpu_only:
        if len(kinds) > 1 and ways.divides:
            elastic.append(SeveralGpus(ways=ways))
        if distributed and kinds and ways.divides:
            elastic.append(SeveralHosts(ways=ways))
        if cpu_offload and kinds and split is None and pinned is None:
            elastic.append(Partial(ways=ways))
    if pinned is not None:
        return Options(fixed=tuple(fixed), elastic=tuple(elastic), refused=(_not_on_cpu(ways, pinned),))
    cpu = planner.on_cpu()
    reference = full or planner.on_one(Device(vendor="nvidia"))
    part = PartNeed(gpus=(), host=cpu.footprint.host)
    fixed.append(ways.choice(RANK_CPU, "CPU", cpu, (part,), reference))
    return Options(fixed=tuple(fixed), elastic=tuple(elastic))


def pinned_layers(resolved: Resolved, planner: Planner) -> int | None:
    """The user's own number of layers on GPUs, at most all of them; None where gslc decides."""
    wanted = resolved.settings.gpu_layers
    if wanted == "all":
        return planner.layers
    return min(wanted, planner.layers) if isinstance(wanted, int) else None


def _not_on_cpu(ways: Ways, pinned: int) -> Excluded:
    said = "-ngl in args" if "-ngl" in ways.resolved.parsed.given else "gpu_layers"
    detail = f"{said} pins {pinned} of {ways.planner.layers} layers to GPUs"
    return Excluded(what="CPU", rule="gpu_layers", detail=detail)


def _pinned_options(ways: Ways, host_class: HostClass, pinned: int, full: Plan | None, *, distributed: bool) -> Options:
    """The user's own number of layers: the same on one GPU, or over several; 0 is the CPU."""
    planner = ways.planner
    if pinned == 0:
        cpu = planner.on_cpu()
        choice = ways.choice(RANK_PARTIAL, "CPU", cpu, (PartNeed(gpus=(), host=cpu.footprint.host),), full)
        return Options(fixed=(replace(choice, needs_no_switch=True),))
    if not host_class.gpu_kinds:
        return Options(refused=(_not_on_cpu(ways, pinned),))
    plan = planner.lay((Device(vendor=host_class.gpu_kinds[0].vendor),), (pinned,), pinned)
    part = PartNeed(gpus=plan.footprint.devices, host=plan.footprint.host)
    label = f"{pinned} of {planner.layers} layers on one GPU"
    elastic: list[Elastic] = []
    if ways.divides and len(host_class.gpu_kinds) > 1:
        elastic.append(SeveralGpus(ways=ways))
    if ways.divides and distributed:
        elastic.append(SeveralHosts(ways=ways))
    return Options(fixed=(ways.choice(RANK_PARTIAL, label, plan, (part,), full),), elastic=tuple(elastic))


def _devices(gpus: tuple[FreeGpu, ...], *, remote: bool = False) -> tuple[Device, ...]:
    return tuple(Device(vendor=gpu.kind.vendor, remote=remote) for gpu in gpus)


def _free(gpus: tuple[FreeGpu, ...]) -> tuple[int, ...]:
    return tuple(gpu.free_bytes for gpu in gpus)


def _roomiest(host: FreeHost, count: int) -> tuple[FreeGpu, ...]:
    """The `count` cards with the most room, in index order; of equal ones linked ones, then the lower indices."""
    ranked = [(-gpu.free_bytes, gpu.index) for gpu in sorted(host.gpus, key=lambda gpu: gpu.index)]
    islands = host.host_class.nvlink
    if islands:
        indices = linked_cards(ranked, count, links_of(islands, ranked[-1][1] + 1))
    else:
        indices = [index for _, index in sorted(ranked)[:count]]
    by_index = {gpu.index: gpu for gpu in host.gpus}
    return tuple(by_index[index] for index in sorted(indices))


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralGpus:
    """All layers over several cards of one host: as few cards as do, filled evenly by what is free on them."""

    ways: Ways
    rank: int = RANK_SEVERAL_GPUS
    spans_hosts: bool = False
    label: str = "several GPUs"

    def fit(self, hosts: tuple[FreeHost, ...]) -> Choice | None:
        """The fewest cards that hold all (or the pinned number of) layers."""
        host = hosts[0]
        for count in self._counts(len(host.gpus)):
            gpus = _roomiest(host, count)
            plan = self._plan(gpus)
            if plan is not None and plan.footprint.host.total <= host.memory_free:
                return self._choice(plan, gpus)
        return None

    def restore(self, layout: Layout, hosts: tuple[FreeHost, ...]) -> Choice | None:
        """The same layers on the same cards, or None where the model or the settings have changed."""
        plan = _restored(self.ways, layout, _devices(hosts[0].gpus))
        return self._choice(plan, hosts[0].gpus) if plan is not None else None

    def shortfall(self, hosts: tuple[FreeHost, ...]) -> int:
        """Bytes missing on all cards of the host together."""
        gpus = hosts[0].gpus
        if self.fit(hosts) is not None:
            return 0
        return self.ways.planner.shortfall(_devices(gpus), _free(gpus))

    def _counts(self, available: int) -> range:
        split = self.ways.resolved.settings.tensor_split
        if split is not None:
            return range(len(split), len(split) + 1) if 1 < len(split) <= available else range(0)
        return range(2, min(available, DEVICES_MAX) + 1)

    def _plan(self, gpus: tuple[FreeGpu, ...]) -> Plan | None:
        return _plan_for(self.ways, _devices(gpus), _free(gpus))

    def _choice(self, plan: Plan, gpus: tuple[FreeGpu, ...]) -> Choice:
        part = PartNeed(gpus=plan.footprint.devices, host=plan.footprint.host, indices=tuple(gpu.index for gpu in gpus))
        return self.ways.choice(self.rank, f"{len(gpus)} GPUs", plan, (part,), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralHosts:
    """All layers over cards of several hosts: the leader's own, and one RPC server per remote card."""

    ways: Ways
    rank: int = RANK_SEVERAL_HOSTS
    spans_hosts: bool = True
    label: str = "several hosts"

    def fit(self, hosts: tuple[FreeHost, ...]) -> Choice | None:
        """The fewest cards with one at least on every host; RPC devices come first in the engine's list."""
        if len(hosts) < 2 or any(not host.gpus for host in hosts):
            return None
        total = sum(len(host.gpus) for host in hosts)
        for count in range(len(hosts), min(total, DEVICES_MAX) + 1):
            chosen = _chosen_cards(hosts, count)
            plan = self._plan(chosen)
            if plan is not None and plan.footprint.host.total <= hosts[0].memory_free:
                return self._choice(plan, chosen)
        return None

    def restore(self, layout: Layout, hosts: tuple[FreeHost, ...]) -> Choice | None:
        """The same layers on the same cards, or None where the model or the settings have changed."""
        chosen = tuple(host.gpus for host in hosts)
        plan = _restored(self.ways, layout, _engine_devices(chosen))
        return self._choice(plan, chosen) if plan is not None else None

    def shortfall(self, hosts: tuple[FreeHost, ...]) -> int:
        """Bytes missing on all cards of the hosts together."""
        if self.fit(hosts) is not None:
            return 0
        chosen = tuple(host.gpus for host in hosts)
        return self.ways.planner.shortfall(_engine_devices(chosen), _engine_free(chosen))

    def _plan(self, chosen: tuple[tuple[FreeGpu, ...], ...]) -> Plan | None:
        return _plan_for(self.ways, _engine_devices(chosen), _engine_free(chosen))

    def _choice(self, plan: Plan, chosen: tuple[tuple[FreeGpu, ...], ...]) -> Choice:
        memory = list(plan.footprint.devices)
        remote = [memory.pop(0) for gpus in chosen[1:] for _ in gpus]
        parts = [PartNeed(gpus=tuple(memory), host=plan.footprint.host, indices=tuple(gpu.index for gpu in chosen[0]))]
        for gpus in chosen[1:]:
            needs = tuple(remote.pop(0) for _ in gpus)
            parts.append(
                PartNeed(
                    gpus=needs,
                    host=DeviceMemory(overhead=RPC_SERVER_BYTES * len(gpus)),
                    indices=tuple(gpu.index for gpu in gpus),
                    ports=("rpc",) * len(gpus),
                )
            )
        label = f"{sum(len(gpus) for gpus in chosen)} GPUs on {len(chosen)} hosts"
        return self.ways.choice(self.rank, label, plan, tuple(parts), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """As much as fits on the cards of one host, the rest in its memory."""

    ways: Ways
    rank: int = RANK_PARTIAL
    spans_hosts: bool = False
    label: str = "partial offload"

    def fit(self, hosts: tuple[FreeHost, ...]) -> Choice | None:
        """The most bytes on the cards; as few cards as reach it."""
        host = hosts[0]
        best: tuple[int, Choice] | None = None
        most = min(len(host.gpus), DEVICES_MAX) if self.ways.divides else min(len(host.gpus), 1)
        for count in range(1, most + 1):
            gpus = _roomiest(host, count)
            plan = self.ways.planner.partial(_devices(gpus), _free(gpus), host.memory_free)
            if plan is None:
                continue
            moved = _movable(plan)
            if best is None or moved > best[0]:
                best = (moved, self._choice(plan, gpus))
        return best[1] if best is not None else None

    def restore(self, layout: Layout, hosts: tuple[FreeHost, ...]) -> Choice | None:
        """The same layers on the same cards, or None where the model or the settings have changed."""
        plan = _restored(self.ways, layout, _devices(hosts[0].gpus))
        return self._choice(plan, hosts[0].gpus) if plan is not None else None

    def shortfall(self, hosts: tuple[FreeHost, ...]) -> int:
        """Bytes of host memory missing for what does not fit on the cards."""
        host = hosts[0]
        if self.fit(hosts) is not None:
            return 0
        return max(1, self.ways.planner.on_cpu().footprint.host.total - host.memory_free - sum(_free(host.gpus)))

    def _choice(self, plan: Plan, gpus: tuple[FreeGpu, ...]) -> Choice:
        part = PartNeed(gpus=plan.footprint.devices, host=plan.footprint.host, indices=tuple(gpu.index for gpu in gpus))
        where = "one GPU" if len(gpus) == 1 else f"{len(gpus)} GPUs"
        label = f"{plan.gpu_layers} of {self.ways.planner.layers} layers on {where}"
        if plan.cpu_moe_layers:
            label += f", experts of {min(plan.cpu_moe_layers, self.ways.planner.shape.blocks)} blocks in host memory"
        full = self.ways.planner.on_one(Device(vendor=gpus[0].kind.vendor)) if gpus else None
        return self.ways.choice(self.rank, label, plan, (part,), full)


def _chosen_cards(hosts: tuple[FreeHost, ...], count: int) -> tuple[tuple[FreeGpu, ...], ...]:
    """The roomiest `count` cards, one at least on every host."""
    picked = {(i, gpu.index) for i, host in enumerate(hosts) for gpu in _roomiest(host, 1)}
    rest = sorted(
        ((-gpu.free_bytes, i, gpu.index) for i, host in enumerate(hosts) for gpu in host.gpus),
    )
    for _, i, index in rest:
        if len(picked) >= count:
            break
        picked.add((i, index))
    return tuple(tuple(gpu for gpu in host.gpus if (i, gpu.index) in picked) for i, host in enumerate(hosts))


def _engine_devices(chosen: tuple[tuple[FreeGpu, ...], ...]) -> tuple[Device, ...]:
    remote = tuple(device for gpus in chosen[1:] for device in _devices(gpus, remote=True))
    return remote + _devices(chosen[0])


def _engine_free(chosen: tuple[tuple[FreeGpu, ...], ...]) -> tuple[int, ...]:
    return tuple(room for gpus in chosen[1:] for room in _free(gpus)) + _free(chosen[0])


def _plan_for(ways: Ways, devices: tuple[Device, ...], free: tuple[int, ...]) -> Plan | None:
    """All layers (or the pinned number) over these devices, by the user's split where one is given."""
    planner, settings = ways.planner, ways.resolved.settings
    pinned = pinned_layers(ways.resolved, planner)
    layers = planner.layers if pinned is None else pinned
    if settings.tensor_split is None:
        return planner.spread(devices, free, layers)
    if len(settings.tensor_split) != len(devices):
        return None
    plan = planner.lay(devices, planner.whole_layers(settings.tensor_split, layers), layers)
    fitting = all(need.total <= room for need, room in zip(plan.footprint.devices, free, strict=True))
    return plan if fitting else None


def _restored(ways: Ways, layout: Layout, devices: tuple[Device, ...]) -> Plan | None:
    """The locked layout, laid again; None where it does not belong to this model, engine or number of cards."""
    planner, resolved = ways.planner, ways.resolved
    same = (layout.layers, layout.context, layout.parallel) == (planner.layers, resolved.context, resolved.parallel)
    pinned = pinned_layers(resolved, planner)
    if not same or layout.gpu_layers is None or layout.gpu_layers > planner.layers:
        return None
    if pinned is not None and pinned != layout.gpu_layers:
        return None
    wanted = resolved.settings.tensor_split
    split = layout.tensor_split or (layout.gpu_layers,)
    if wanted is not None and len(devices) > 1 and planner.whole_layers(wanted, layout.gpu_layers) != split:
        return None
    if len(split) != len(devices):
        return None
    return planner.lay(devices, split, layout.gpu_layers, layout.cpu_moe_layers or 0)
