"""The exact judge: the best placement of a fleet by constraint programming, or how good it can be at most.

Shares with the planner only the input (requirements, hosts), not a line of its search. Replicas over several hosts are
left to the hand-made cases.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gslc.ir.inputs import Cluster, Host, Model, RequirementPart
from gslc.ir.placement import Placement

Uses: TypeAlias = dict[tuple[str, int], list[tuple[Any, int, bool]]]  # card -> (taken, MiB, alone)
Ram: TypeAlias = dict[str, list[tuple[Any, int]]]  # host -> (way, MiB)
SECONDS = 20.0
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """The best found: replicas placed, bytes offloaded, cards used; `proved` for each of the three."""

    placed: int
    offloaded_bytes: int
    cards: int
    proved: tuple[bool, bool, bool]


@dataclass(slots=True)
class Question:
    """A fleet as a constraint model; sizes are MiB, needs rounded up and capacities down."""

    model: Any
    placed: list[Any] = field(default_factory=list)
    offload: list[tuple[Any, int]] = field(default_factory=list)
    busy: list[Any] = field(default_factory=list)
    ways: dict[tuple[str, int, int, str], tuple[Any, list[Any]]] = field(default_factory=dict)

    def hint(self, placement: Placement) -> None:
        """Start from a placement."""
        self.model.ClearHints()
        at = {
            (entry.model, entry.replica, entry.choice.layout.requirement, entry.seats[0].host): entry.seats[0].gpus
            for entry in placement.assignments
        }
        for key, (way, taken) in self.ways.items():
            self.model.AddHint(way, key in at)
            for card, one in enumerate(taken):
                self.model.AddHint(one, key in at and card in at[key])


def question(fleet: Cluster) -> Question:
    """What must hold, as in docs/placement.md, written down once more."""
    from ortools.sat.python import cp_model

    asked = Question(model=cp_model.CpModel())
    uses: Uses = {}
    ram: Ram = {}
    for entry in fleet.models:
        for replica in range(entry.replicas):
            _add_ways(asked, fleet, entry, replica, uses, ram)
    for host in fleet.hosts:
        _hold_host(asked, host, uses, ram)
    for entry in fleet.models:
        for host in fleet.hosts if entry.anti_affinity else ():
            place = (entry.name, host.name)
            there = [way for (name, _, _, where), (way, _) in asked.ways.items() if (name, where) == place]
            asked.model.Add(sum(there) <= 1)
    return asked


def _add_ways(asked: Question, fleet: Cluster, entry: Model, replica: int, uses: Uses, ram: Ram) -> None:
    """One variable for each way of a replica on each host, and one for each card that it may take there."""
    ways = []
    for number, requirement in enumerate(entry.requirements):
        part = requirement.parts[0]
        for host in _hosts_of(entry, fleet):
            if not _fits(part, host):
                continue
            way = asked.model.NewBoolVar("")
            ways.append(way)
            ram.setdefault(host.name, []).append((way, _up(part.memory_bytes)))
            if part.offload_bytes:
                asked.offload.append((way, _up(part.offload_bytes)))
            taken = [asked.model.NewBoolVar("") for _ in host.gpus] if part.gpus else []
            asked.ways[entry.name, replica, number, host.name] = (way, taken)
            if part.gpus:
                asked.model.Add(sum(taken) == part.gpus * way)
            for gpu, one in zip(host.gpus, taken, strict=False):
                row = uses.setdefault((host.name, gpu.index), [])
                row.append((one, _up(part.gpu_memory_bytes), entry.exclusive_gpus))
    if ways:
        asked.model.Add(sum(ways) <= 1)
        asked.placed.extend(ways)


def _hold_host(asked: Question, host: Host, uses: Uses, ram: Ram) -> None:
    """The memory of a host and of its cards, and who has a card alone."""
    asked.model.Add(sum(size * way for way, size in ram.get(host.name, ())) <= host.memory_bytes // MIB)
    for gpu in host.gpus:
        row = uses.get((host.name, gpu.index), [])
        used = asked.model.NewBoolVar("")
        asked.busy.append(used)
        asked.model.Add(sum(size * one for one, size, _ in row) <= gpu.kind.memory_bytes // MIB)
        for one, _, alone in row:
            asked.model.Add(one <= used)
            if alone:
                asked.model.Add(sum(other for other, _, _ in row) <= 1 + len(row) * (1 - one))


def solver_of(seconds: float) -> Any:
    """A solver that answers the same every time, as far as a limit in seconds lets it."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    return solver


def most_placed(fleet: Cluster, start: Placement, seconds: float) -> tuple[int, int]:
    """How many replicas the best placement that was found holds, and how many any placement holds at most."""
    asked = question(fleet)
    asked.hint(start)
    asked.model.Maximize(sum(asked.placed))
    solver = solver_of(seconds)
    status = solver.Solve(asked.model)
    found = round(solver.ObjectiveValue()) if solver.StatusName(status) in {"OPTIMAL", "FEASIBLE"} else 0
    return max(found, len(start.assignments)), int(solver.BestObjectiveBound() + 1e-6)


def judge(fleet: Cluster, seconds: float = SECONDS) -> Verdict:
    """Replicas placed, then least offload, then fewest cards, each proved or the best found in the time."""
    asked = question(fleet)
    solver_model = asked.model
    solver = solver_of(seconds)
    results: list[int] = []
    proved: list[bool] = []
    goals = (
        (sum(asked.placed), True),
        (sum(size * way for way, size in asked.offload), False),
        (sum(asked.busy), False),
    )
    for goal, more_is_better in goals:
        if isinstance(goal, int):
            results.append(goal)
            proved.append(True)
            continue
        if more_is_better:
            solver_model.Maximize(goal)
        else:
            solver_model.Minimize(goal)
        status = solver.StatusName(solver.Solve(solver_model))
        if status not in {"OPTIMAL", "FEASIBLE"}:
            raise ValueError(f"the judge found no placement in its time: {status}")
        value = round(solver.ObjectiveValue())
        results.append(value)
        proved.append(status == "OPTIMAL")
        solver_model.Add(goal >= value if more_is_better else goal <= value)
        solver_model.ClearHints()
        for index in range(len(solver_model.Proto().variables)):
            variable = solver_model.GetBoolVarFromProtoIndex(index)
            solver_model.AddHint(variable, solver.Value(variable))
    return Verdict(results[0], results[1] * MIB, results[2], (proved[0], proved[1], proved[2]))


def _hosts_of(entry: Model, fleet: Cluster) -> list[Host]:
    wanted = dict(entry.host_selector or ())
    return [host for host in fleet.hosts if all(host.labels.get(label) == value for label, value in wanted.items())]


def _fits(part: RequirementPart, host: Host) -> bool:
    large = sum(1 for gpu in host.gpus if gpu.kind.memory_bytes >= part.gpu_memory_bytes)
    return part.memory_bytes <= host.memory_bytes and large >= part.gpus


def _up(size: int) -> int:
    return -(-size // MIB)
