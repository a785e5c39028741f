"""Changes to a model or a host that would place a replica, smallest first, each tried before it is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from gslc.engines.paths import source_of_other
from gslc.ir.diagnostic import Evidence
from gslc.ir.facts import ModelFacts, OtherQuantization
from gslc.ir.inputs import GpuKind, Model, Source
from gslc.ir.placement import Candidates, HostClass, Options, Request
from gslc.ir.record import dataclass
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.options import Part
from gslc.passes.placing.problem import ModelTask, Problem, Replica, task_of
from gslc.passes.placing.state import Position, State
from gslc.passes.placing.together import joining_changes
from gslc.passes.placing.written import (
    Change,
    default_utilizations,
    inherits,
    offloads,
    path_of,
    shorter_contexts,
)

SHORTEST_CONTEXT = 1024  # a shorter one is no longer worth proposing
DEFAULT_CONTEXT = 8192  # contract section 2: the default of `context`
GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A change, what came of it, and the action that asks for it. `evidence`: the sizes it was judged by."""

    what: str
    action: str
    places: bool
    evidence: tuple[tuple[str, Evidence], ...] = ()


def tried_changes(problem: Problem, state: State, fitter: Fitter, replicas: list[Replica]) -> tuple[Tried, ...]:
    """The changes in order up to the first that places all of a model's missing replicas on what is left now."""
    trial = _Trial(problem, state, fitter, replicas)
    tried: list[Tried] = []
    for change in _changes(trial):
        tried.append(change)
        if change.places:
            break
    return tuple(tried)


def _changes(trial: _Trial) -> Iterator[Tried]:
    """Changes in the order of what they cost: layout, length, quality, speed, then a rule, then money."""
    request = trial.request
    model = request.model
    where = f"models.{model.name}"
    cluster = trial.problem.cluster
    for joined in joining_changes(trial.problem, trial.state, trial.replicas):
        yield Tried(what=joined.what, action=joined.action, places=joined.places)
    yield from _free_layout(trial, where)
    yield from map(trial.change, default_utilizations(cluster, model, request.backend))
    if request.facts is not None and not model.requirements:
        lengths = shorter_contexts(
            cluster,
            model,
            request.backend,
            default=DEFAULT_CONTEXT,
            least=SHORTEST_CONTEXT,
            trained=_trained(request.facts),
        )
        yield from map(trial.change, lengths)
        yield from _quantizations(trial)
        if request.facts.gguf is not None:
            yield from map(trial.change, offloads(cluster, model))
        if not model.distributed:
            yield from _over_hosts(trial, f"set {where}.distributed to true")
    if model.anti_affinity is not None:
        action = f"remove {path_of(cluster, model, 'anti_affinity')}"
        yield trial.model("no anti_affinity", action, replace(model, anti_affinity=None))
    if model.exclusive_gpus:
        inherited = inherits(cluster, model, "exclusive_gpus")
        action = f"set {where}.exclusive_gpus to false" if inherited else f"remove {where}.exclusive_gpus"
        yield trial.model("shared GPUs", action, replace(model, exclusive_gpus=False))
    if model.gpus:
        action = f"remove {path_of(cluster, model, 'gpus')}, so that all GPUs may be used"
        yield trial.model("all GPUs", action, replace(model, gpus=()))
    yield from _one_more_card(trial)


def _trained(facts: ModelFacts) -> int:
    """The length that a GGUF model was trained for; 0 where its file does not say."""
    length = facts.gguf.hyper.get(f"{facts.gguf.architecture}.context_length") if facts.gguf is not None else None
    return length if isinstance(length, int) else 0


def _free_layout(trial: _Trial, where: str) -> Iterator[Tried]:
    """Without the sizes of parallelism that the model asks for."""
    model = trial.request.model
    free = replace(model, tensor_parallel=None, pipeline_parallel=None)
    if model.tensor_parallel is not None:
        changed = replace(free, pipeline_parallel=model.pipeline_parallel)
        yield trial.model("any tensor_parallel", f"remove {where}.tensor_parallel", changed)
    if model.pipeline_parallel is not None:
        changed = replace(free, tensor_parallel=model.tensor_parallel)
        yield trial.model("any pipeline_parallel", f"remove {where}.pipeline_parallel", changed)
    if model.tensor_parallel is not None and model.pipeline_parallel is not None:
        action = f"remove {where}.tensor_parallel and {where}.pipeline_parallel"
        yield trial.model("any sizes of both", action, free)


def _over_hosts(trial: _Trial, action: str) -> Iterator[Tried]:
    """A replica over several hosts; where that alone is not enough, with what brings the hosts together."""
    request = replace(trial.request, model=replace(trial.request.model, distributed=True))
    alone = trial.model("distributed", action, request.model)
    yield alone
    twins = () if alone.places else trial.twins(request)
    for joined in joining_changes(trial.problem, trial.state, list(twins)) if twins else ():
        if joined.places:
            yield Tried(what=f"distributed, {joined.what}", action=f"{action} and {joined.action}", places=True)


def _quantizations(trial: _Trial) -> Iterator[Tried]:
    """Smaller files of the same model: the largest that places, found by halving the list; each one that was tried.

    What does not fit with some file does not fit with a larger one, so the smallest is tried first: it answers for all
    when even that is too large. The one that places comes last.
    """
    model, facts = trial.request.model, trial.request.facts
    if facts is None or facts.gguf is None or model.source is None:
        return
    present = facts.gguf.file_bytes
    smaller = sorted(
        (other for other in facts.other_quantizations if other.size_bytes < present),
        key=lambda other: (other.size_bytes, other.name),
    )
    while smaller and not trial.has_layout(smaller[0]):
        del smaller[0]  # too small to be this model: it says nothing of the others
    best: Tried | None = None
    number, low, high = 0, 0, len(smaller) - 1
    while low <= high:
        found = trial.quantization(model.source, present, smaller[number])
        if found.places:
            best, low = found, number + 1
        else:
            yield found
            high = number - 1
        number = (low + high) // 2
    if best is not None:
        yield best


def _gib(size: int) -> str:
    """A size in GiB with two digits, so that neighbouring quantisations differ; in MiB below one GiB."""
    return f"{size / GIB:.2f} GiB" if size >= GIB else f"{size / (1 << 20):.1f} MiB"


class _Trial:
    """The missing replicas of a model, and the fleet on which changes are tried; it is left as it was."""

    def __init__(self, problem: Problem, state: State, fitter: Fitter, replicas: list[Replica]) -> None:
        self.problem = problem
        self.state = state
        self.fitter = fitter
        self.replicas = replicas
        self.task = replicas[0].task
        self.request = self.task.candidates.request

    def model(self, what: str, action: str, model: Model) -> Tried:
        """A change of the model's keys."""
        return Tried(what=what, action=action, places=bool(self.positions(replace(self.request, model=model))))

    def change(self, change: Change) -> Tried:
        """A change of a setting, wherever it is written."""
        return self.model(change.what, change.action, change.model)

    def quantization(self, present: Source, present_bytes: int, other: OtherQuantization) -> Tried:
        """Another file of the same model, of which only the size is known."""
        size = other.size_bytes
        source = source_of_other(present, other)
        positions = self.positions(replace(self.request, assumed_file_bytes=size))
        action = (
            f"use another quantisation: set models.{self.task.name}.source to {source} ({_gib(size)} instead of "
            f"{_gib(present_bytes)}: judged by the size of its file, it fits {self.hosts_of(positions)})"
        )
        sizes = (("present_file_bytes", present_bytes), ("other_file_bytes", size))
        return Tried(what=source, action=action, places=bool(positions), evidence=sizes)

    def has_layout(self, other: OtherQuantization) -> bool:
        """True where the backend knows a way to lay out a file of that size on any class of hosts."""
        candidates = self.task.candidates
        request = replace(self.request, assumed_file_bytes=other.size_bytes)
        if candidates.vary is None:
            return False
        options = (candidates.vary(request, group.host_class) for group in candidates.groups)
        return any(one.fixed or one.elastic for one in options)

    def twins(self, request: Request) -> tuple[Replica, ...]:
        """The replicas as replicas of the changed model; () where there is no way to ask for its options."""
        candidates = self.task.candidates
        if candidates.vary is None:
            return ()
        changed = replace(candidates, request=request, options=_Varied(candidates, request, candidates.vary))
        task = task_of(self.task.index, changed, self.problem.maker, self.problem.cluster.port_range)
        return tuple(Replica(id=replica.id, task=task, number=replica.number) for replica in self.replicas)

    def positions(self, request: Request) -> tuple[Position, ...]:
        """Where all the replicas find places as replicas of the changed model; () when one finds none."""
        placed: list[Replica] = []
        found: list[Position] = []
        for twin in self.twins(request):
            position = self.fitter.best(self.state, twin)
            if position is None:
                break
            self.state.take(twin, position)
            placed.append(twin)
            found.append(position)
        for twin in placed:
            self.state.release(twin)
        return tuple(found) if len(found) == len(self.replicas) else ()

    def hosts_of(self, positions: tuple[Position, ...]) -> str:
        """The names of the hosts of some positions."""
        hosts = sorted({host for position in positions for host, _ in position.spots})
        return ", ".join(self.problem.hosts[host].name for host in hosts)


class _Varied(Mapping[HostClass, Options]):
    """The options of a changed request."""

    def __init__(self, candidates: Candidates, request: Request, vary: Callable[[Request, HostClass], Options]) -> None:
        self._candidates = candidates
        self._request = request
        self._vary = vary
        self._found: dict[HostClass, Options] = {}

    def __getitem__(self, host_class: HostClass) -> Options:
        if host_class not in self._found:
            self._found[host_class] = self._vary(self._request, host_class)
        return self._found[host_class]

    def __iter__(self) -> Iterator[HostClass]:
        return iter(self._candidates.options)

    def __len__(self) -> int:
        return len(self._candidates.options)


def _one_more_card(trial: _Trial) -> Iterator[Tried]:
    """One more card of its own kinds for a host where the replica then fits; nothing where that helps no host."""
    problem, state, task = trial.problem, trial.state, trial.task
    vary = task.candidates.vary
    if vary is None or task.pins is not None:
        return
    tried: set[tuple[HostClass, int]] = set()
    for zone in task.zones:
        for host in zone.hosts:
            condition = (zone.host_class, state.condition[host])
            if condition in tried or not state.admits(task, host) or not zone.host_class.gpu_kinds:
                continue
            tried.add(condition)
            for kind in dict.fromkeys(reversed(zone.host_class.gpu_kinds)):
                what = f"one more {kind.model} ({kind.memory_bytes // GIB} GiB)"
                also = ", and as many for the others" if len(_missing(state, task)) > 1 else ""
                yield Tried(
                    what=f"{what} in {problem.hosts[host].name}",
                    action=f"add {what} to {problem.hosts[host].name}{also}",
                    places=_fits_with(problem, state, trial.replicas[0], host, kind, vary),
                )


def _missing(state: State, task: ModelTask) -> list[int]:
    return [number for number in task.replicas if state.positions[number] is None]


def _fits_with(
    problem: Problem,
    state: State,
    replica: Replica,
    host: int,
    kind: GpuKind,
    vary: Callable[[Request, HostClass], Options],
) -> bool:
    """True when a replica fits on a host as it is now with one card added."""
    task = replica.task
    zone = task.zone_at(host)
    assert zone is not None  # its zones are asked
    capacity = kind.memory_bytes - problem.hosts[host].reserved_gpu_memory_bytes
    old = zone.host_class
    larger = replace(old, gpu_kinds=(*old.gpu_kinds, kind), gpu_capacity=(*old.gpu_capacity, capacity))
    options = vary(task.candidates.request, larger)
    free, users = [*state.free[host], capacity], [*state.users[host], 0]
    for choice in options.fixed:
        if len(choice.parts) > 1:
            continue
        part = problem.maker.option(choice).parts[0]
        if state.memory[host] < (part.memory_unified if problem.unified[host] else part.memory):
            continue
        if any(_enough(part, cards) for cards in _alike(part, larger, free, users)):
            return True
    return False


def _alike(part: Part, host_class: HostClass, free: list[int], users: list[int]) -> Iterator[list[int]]:
    """What is free on the cards that a part may use together, the most first: of one kind where they must be alike."""
    cards = [
        (kind, size)
        for kind, size, user in zip(host_class.gpu_kinds, free, users, strict=True)
        if (user == 0 or (user > 0 and not part.exclusive)) and part.kind in {None, kind}
    ]
    kinds = dict.fromkeys(kind for kind, _ in cards) if part.same_kind else (None,)
    for wanted in kinds:
        yield sorted((size for kind, size in cards if wanted in {None, kind}), reverse=True)


def _enough(part: Part, free: list[int]) -> bool:
    return len(free) >= part.count and all(size >= need for size, need in zip(free, part.needs, strict=False))
