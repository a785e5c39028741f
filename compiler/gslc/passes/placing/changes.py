"""Changes to a model or a host that would place a replica, smallest first, each tried before it is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from gslc.ir.inputs import GpuKind, Model
from gslc.ir.placement import Candidates, HostClass, Options
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.problem import ModelTask, Problem, Replica, task_of
from gslc.passes.placing.state import State

SHORTEST_CONTEXT = 1024  # a shorter one is no longer worth proposing
DEFAULT_CONTEXT = 8192  # contract section 2: the default of `context`
GIB = 1 << 30


def smallest_change(problem: Problem, state: State, fitter: Fitter, replicas: list[Replica]) -> str | None:
    """The first change that places all of a model's missing replicas on what is left now, as one action; or None."""
    task = replicas[0].task
    for model, action in _changed_models(task):
        if _places(problem, state, fitter, replicas, model):
            return action
    return _one_more_card(problem, state, fitter, replicas[0])


def _changed_models(task: ModelTask) -> Iterator[tuple[Model, str]]:
    """Changes of the model, in the order in which users mind them least."""
    model = task.candidates.request.model
    where = f"models.{model.name}"
    facts = task.candidates.request.facts
    if facts is not None and not model.requirements:
        context = (model.context or DEFAULT_CONTEXT) // 2
        while context >= SHORTEST_CONTEXT:
            yield replace(model, context=context), f"set {where}.context to {context}"
            context //= 2
        if not model.cpu_offload and facts.gguf is not None:
            yield replace(model, cpu_offload=True), f"set {where}.cpu_offload to true"
        if not model.distributed:
            yield replace(model, distributed=True), f"set {where}.distributed to true"
    if model.anti_affinity is not None:
        yield replace(model, anti_affinity=None), f"remove {where}.anti_affinity"
    if model.exclusive_gpus:
        yield replace(model, exclusive_gpus=False), f"remove {where}.exclusive_gpus"
    if model.gpus:
        yield replace(model, gpus=()), f"remove {where}.gpus, so that all GPUs may be used"


def _places(problem: Problem, state: State, fitter: Fitter, replicas: list[Replica], model: Model) -> bool:
    """True when all the replicas find places as replicas of the changed model."""
    candidates = replicas[0].task.candidates
    if candidates.vary is None:
        return False
    changed = replace(
        candidates,
        request=replace(candidates.request, model=model),
        options=_Varied(candidates, model, candidates.vary),
    )
    task = task_of(replicas[0].task.index, changed, problem.maker)
    placed: list[Replica] = []
    for replica in replicas:
        twin = Replica(id=replica.id, task=task, number=replica.number)
        position = fitter.best(state, twin)
        if position is None:
            break
        state.take(twin, position)
        placed.append(twin)
    for twin in placed:
        state.release(twin)
    return len(placed) == len(replicas)


class _Varied(Mapping[HostClass, Options]):
    """The options of a changed model."""

    def __init__(self, candidates: Candidates, model: Model, vary: Callable[[Model, HostClass], Options]) -> None:
        self._candidates = candidates
        self._model = model
        self._vary = vary
        self._found: dict[HostClass, Options] = {}

    def __getitem__(self, host_class: HostClass) -> Options:
        if host_class not in self._found:
            self._found[host_class] = self._vary(self._model, host_class)
        return self._found[host_class]

    def __iter__(self) -> Iterator[HostClass]:
        return iter(self._candidates.options)

    def __len__(self) -> int:
        return len(self._candidates.options)


def _one_more_card(problem: Problem, state: State, fitter: Fitter, replica: Replica) -> str | None:
    """The action that puts one more card of its own kind into a host where the replica then fits; or None."""
    task = replica.task
    vary = task.candidates.vary
    if vary is None or task.pins is not None:
        return None
    tried: set[tuple[HostClass, int]] = set()
    for zone in task.zones:
        for host in zone.hosts:
            condition = (zone.host_class, state.condition[host])
            if condition in tried or not state.admits(task, host) or not zone.host_class.gpu_kinds:
                continue
            tried.add(condition)
            kind = zone.host_class.gpu_kinds[-1]
            if _fits_with(problem, state, replica, host, kind, vary):
                size = kind.memory_bytes // GIB
                also = ", and as many for the others" if len(_missing(state, task)) > 1 else ""
                return f"add one more {kind.model} ({size} GiB) to {problem.hosts[host].name}{also}"
    return None


def _missing(state: State, task: ModelTask) -> list[int]:
    return [number for number in task.replicas if state.positions[number] is None]


def _fits_with(
    problem: Problem,
    state: State,
    replica: Replica,
    host: int,
    kind: GpuKind,
    vary: Callable[[Model, HostClass], Options],
) -> bool:
    """True when a replica fits on a host as it is now with one card added."""
    task = replica.task
    zone = task.zone_at(host)
    assert zone is not None  # its zones are asked
    capacity = kind.memory_bytes - problem.hosts[host].reserved_gpu_memory_bytes
    old = zone.host_class
    larger = replace(old, gpu_kinds=(*old.gpu_kinds, kind), gpu_capacity=(*old.gpu_capacity, capacity))
    options = vary(task.candidates.request.model, larger)
    free, users = [*state.free[host], capacity], [*state.users[host], 0]
    for choice in options.fixed:
        if len(choice.parts) > 1:
            continue
        part = problem.maker.option(choice).parts[0]
        if state.memory[host] < (part.memory_unified if problem.unified[host] else part.memory):
            continue
        usable = sorted(
            (size for size, user in zip(free, users, strict=True) if user == 0 or (user > 0 and not part.exclusive)),
            reverse=True,
        )
        if len(usable) >= part.count and all(size >= need for size, need in zip(usable, part.needs, strict=False)):
            return True
    return False
