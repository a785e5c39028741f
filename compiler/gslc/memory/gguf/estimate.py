"""The answer to `gslc estimate` for a GGUF file: no inventory, just devices."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from gslc.engines.llama_args import ArgProblem
from gslc.engines.llama_profile import EngineProfile, Product, profile_of
from gslc.engines.paths import source_of
from gslc.ir.diagnostic import Diagnostic, Outcome, Place, Severity, has_errors
from gslc.ir.estimate import Estimate, EstimateAsk
from gslc.ir.facts import GgufFacts, ModelFacts
from gslc.ir.inputs import Model
from gslc.ir.plan import Basis, DeviceMemory
from gslc.memory.gguf.footprint import Device
from gslc.memory.gguf.offload import Plan, Planner, fits
from gslc.memory.gguf.overhead import overhead_of
from gslc.memory.gguf.projector import projector_bytes
from gslc.memory.gguf.request import KeyProblem, Resolved, resolve
from gslc.memory.gguf.review import doubt_message, version_note
from gslc.memory.gguf.shape import ModelShape

CONTEXT_STEP = 256  # the engine pads contexts to this
CONTEXT_MOST = 1 << 20  # searched up to here where the file names no length
OPTIONS = {
    "context": "--context",
    "parallel": "--parallel",
    "gpu_layers": "--gpu-layers",
    "tensor_split": "--tensor-split",
    "kv_cache_type": "--kv-cache-type",
}


def estimate(facts: ModelFacts, ask: EstimateAsk) -> Outcome[Estimate]:
    """Memory of the model on the devices asked for; errors for what the engine would refuse."""
    if facts.gguf is None:
        raise ValueError("a GGUF estimate needs GGUF facts")
    product: Product = "llama-box" if ask.engine == "llama-box" else "llama.cpp"
    profile = profile_of(product, ask.engine_version)
    if profile is None:
        return Outcome(value=None, diagnostics=(bad_version(product, ask),))
    asker = _Asker(facts, facts.gguf, ask, profile)
    diagnostics = list(asker.diagnostics)
    if has_errors(diagnostics):
        return Outcome(value=None, diagnostics=tuple(diagnostics))
    plan = asker.plan(asker.resolved)
    longest = asker.longest() if ask.max_context else None
    return Outcome(value=asker.answer(plan, longest), diagnostics=tuple(diagnostics))


def bad_version(product: Product, ask: EstimateAsk) -> Diagnostic:
    """What is said of a version that the engine never had."""
    form = "b11669" if product == "llama.cpp" else "v0.0.171"
    return Diagnostic(
        code="GS312",
        message=f"{product} has no version {ask.engine_version}: its versions look like {form}",
        place=Place(file="--engine"),
        help="write the version as the engine prints it",
    )


class _Asker:
    """One question, read."""

    def __init__(self, facts: ModelFacts, gguf: GgufFacts, ask: EstimateAsk, profile: EngineProfile) -> None:
        self.facts = facts
        self.ask = ask
        self.profile = profile
        self.shape = ModelShape(gguf)
        self.free = tuple(kind.memory_bytes for kind in ask.devices)
        self.devices = tuple(Device(vendor=kind.vendor if kind.model else None) for kind in ask.devices)
        self.cuda = tuple(Device(vendor=kind.vendor) for kind in ask.devices)
        self.model = self._model()
        self.resolved = self._resolve(self.model)
        self.diagnostics = self._problems()

    def _model(self) -> Model:
        ask = self.ask
        layers = ask.gpu_layers if isinstance(ask.gpu_layers, int) else None
        return Model(
            name="model",
            source=source_of(self.facts.source),
            context=ask.context,
            parallel=ask.parallel,
            gpu_layers=layers,
            tensor_split=ask.tensor_split,
            kv_cache_type=ask.kv_cache_type,
            args=ask.args[1:] if ask.args and not ask.args[0].startswith("-") else ask.args,
        )

    def _resolve(self, model: Model) -> Resolved:
        return resolve(model, self.facts, self.shape, self.profile, whole_command=True)

    # ------------------------------------------------------------ what is wrong

    def _problems(self) -> list[Diagnostic]:
        found = [self._diagnostic(problem) for problem in self.resolved.problems]
        split = self.resolved.settings.tensor_split
        if split is not None and self.devices and len(split) != len(self.devices):
            found.append(
                Diagnostic(
                    code="GS307",
                    message=f"the tensor split has {len(split)} numbers for {len(self.devices)} devices",
                    place=Place(file="--tensor-split"),
                    help="give one number per device, in the order of --devices",
                )
            )
        settings = self.resolved.settings
        if settings.split_mode == "none" and self.devices and settings.main_gpu >= len(self.devices):
            found.append(
                Diagnostic(
                    code="GS304",
                    message=f"-mg {settings.main_gpu} with -sm none: there are {len(self.devices)} devices, from 0",
                    place=Place(file="engine arguments"),
                    help=f"give a device from 0 to {len(self.devices) - 1}",
                )
            )
        if doubt := doubt_message(self.shape):
            found.append(
                Diagnostic(
                    code="GS310",
                    severity="warning",
                    message=doubt,
                    place=Place(file=self.facts.source),
                    help="measure it once and compare",
                )
            )
        if note := version_note(self.profile):
            found.append(Diagnostic(code="GS313", severity="note", message=note, place=Place(file="--engine")))
        return found

    @staticmethod
    def _diagnostic(problem: ArgProblem | KeyProblem) -> Diagnostic:
        if isinstance(problem, ArgProblem):
            place = Place(file="engine arguments", column=problem.index + 1)
        else:
            place = Place(file=OPTIONS.get(problem.key, problem.key))
        return Diagnostic(
            code=problem.code,
            severity=cast("Severity", problem.severity),
            message=problem.message,
            place=place,
            help=problem.help,
        )

    # ------------------------------------------------------------ layouts

    def planner(self, resolved: Resolved) -> Planner:
        """The planner for these settings; -ngl and -ts are given with each layout."""
        projector = self.facts.projector
        bytes_first = projector_bytes(projector) if projector and resolved.settings.projector_offload else 0
        return Planner(
            shape=self.shape,
            settings=resolved.settings,
            profile=self.profile,
            first_device_bytes=bytes_first,
        )

    def plan(self, resolved: Resolved) -> Plan:
        """The layout asked for: all layers, a number of them, or the most that fit."""
        planner = self.planner(resolved)
        settings = resolved.settings
        if not self.devices or settings.gpu_layers == 0:
            return self._idle(planner)
        layers = min(settings.gpu_layers, planner.layers) if isinstance(settings.gpu_layers, int) else planner.layers
        if settings.tensor_split is not None or settings.split_mode == "none":
            return self._given(planner, layers)
        room = self._room(planner, layers)
        whole = planner.spread(self.devices, room, layers)
        if whole is not None:
            return whole
        if self.ask.gpu_layers == "auto" or settings.gpu_layers == "auto":
            return self._most(planner, room)
        return planner.lay(self.devices, _by_size(self.free, layers), layers)

    def _most(self, planner: Planner, room: tuple[int, ...]) -> Plan:
        """The most that fits. A card that also streams weights of the host needs more besides than a full one."""
        host = self.ask.host_memory_bytes or 1 << 62
        while (part := planner.partial(self.devices, room, host)) is not None:
            extra = self.unnamed_overhead(part)
            real = tuple(max(0, amount - extra[i]) for i, amount in enumerate(self.free))
            if fits(part, real):
                return part
            room = tuple(min(pair) for pair in zip(room, real, strict=True))
        return self._idle(planner)

    def _idle(self, planner: Planner) -> Plan:
        plan = planner.on_cpu()
        empty = tuple(DeviceMemory() for _ in self.devices)
        return replace(plan, footprint=replace(plan.footprint, devices=empty))

    def _given(self, planner: Planner, layers: int) -> Plan:
        """The user's own split, or everything on the main GPU."""
        settings = planner.settings
        if settings.tensor_split is not None:
            whole = tuple(int(part) for part in settings.tensor_split)
            exact = all(float(a) == b for a, b in zip(whole, settings.tensor_split, strict=True))
            return planner.lay(self.devices, whole, layers) if exact else planner.lay_given(self.devices, layers)
        return planner.lay_given(self.devices, layers)

    def _room(self, planner: Planner, layers: int) -> tuple[int, ...]:
        """Free bytes of each card less what is not counted for a card without a name."""
        even = _by_size(self.free, layers)
        plan = planner.lay(self.devices, even, layers)
        extra = self.unnamed_overhead(plan)
        return tuple(max(0, amount - extra[i]) for i, amount in enumerate(self.free))

    def unnamed_overhead(self, plan: Plan) -> tuple[int, ...]:
        """For cards given as a size: the overhead of an NVIDIA card, and what CUDA's compute buffer has more.

        The other parts follow the rules that all devices share, so that they can be compared with the engine's log.
        """
        if all(device.vendor is not None for device in self.devices):
            return (0,) * len(self.devices)
        planner = self.planner(self.resolved)
        twin = planner.twin(plan, self.cuda)
        found = []
        for index, device in enumerate(self.devices):
            here, there = plan.footprint.devices[index], twin.footprint.devices[index]
            used = here.total > 0
            found.append(0 if device.vendor is not None or not used else max(0, there.total - here.total))
        return tuple(found)

    # ------------------------------------------------------------ the answer

    def fits(self, plan: Plan) -> bool:
        """True when every device, and the host where its size is given, has room."""
        extra = self.unnamed_overhead(plan) if self.devices else ()
        room = tuple(amount - extra[i] for i, amount in enumerate(self.free))
        host = self.ask.host_memory_bytes
        return fits(plan, room) and (host is None or plan.footprint.host.total <= host)

    def longest(self) -> int | None:
        """The longest context of one request that fits, up to what the model was trained for; None where none does."""
        most = self.shape.integer("context_length") or CONTEXT_MOST
        low, high, best = 1, max(1, most // CONTEXT_STEP), None
        while low <= high:
            middle = (low + high) // 2
            if self._fits_with(middle * CONTEXT_STEP):
                best, low = middle * CONTEXT_STEP, middle + 1
            else:
                high = middle - 1
        if best is not None and best < most and best + CONTEXT_STEP > most and self._fits_with(most):
            return most
        return best

    def _fits_with(self, context: int) -> bool:
        args = _without_context(self.model.args)
        resolved = self._resolve(replace(self.model, context=context, args=args))
        return self.fits(self.plan(resolved))

    def answer(self, plan: Plan, longest: int | None) -> Estimate:
        """The estimate of a layout."""
        extra = self.unnamed_overhead(plan) if self.devices else ()
        memory = tuple(
            replace(device, overhead=device.overhead + extra[i]) for i, device in enumerate(plan.footprint.devices)
        )
        named = bool(self.devices) and all(device.vendor is not None for device in self.devices)
        measured = named and all(overhead_of(kind.vendor).basis == "measured" for kind in self.ask.devices)
        basis: Basis = "measured" if measured and plan.footprint.exact else "derived"
        return Estimate(
            backend=self.profile.product,
            engine_version=self.profile.version,
            layers=self.shape.blocks + 1,
            gpu_layers=plan.gpu_layers,
            devices=memory,
            host=plan.footprint.host,
            fits=self.fits(plan),
            max_context=longest,
            kv_bytes_per_token=plan.footprint.bytes_per_token,
            basis=basis,
            tensor_split=plan.split if len(plan.split) > 1 else None,
            cpu_moe_layers=plan.cpu_moe_layers or None,
            context=self.resolved.context,
        )


def _by_size(free: tuple[int, ...], layers: int) -> tuple[int, ...]:
    """Whole layers in proportion to the sizes, every device with one at least where there are enough."""
    total = max(1, sum(free))
    split = [amount * layers // total for amount in free]
    for index in range(len(split)):
        if not split[index] and layers >= len(split):
            split[index] = 1
    while sum(split) > layers:
        split[split.index(max(split))] -= 1
    while sum(split) < layers:
        best = max(range(len(split)), key=lambda i: (free[i] - total * split[i] // max(1, layers), -i))
        split[best] += 1
    return tuple(split)


def _without_context(args: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments less -c."""
    kept: list[str] = []
    skip = False
    for word in args:
        spelling, attached, _ = word.partition("=")
        if skip:
            skip = False
        elif spelling in ("-c", "--ctx-size", "--ctx_size"):
            skip = not attached
        else:
            kept.append(word)
    return tuple(kept)
