"""The exact judge: the best placement of a small fleet by constraint programming, and a planted answer to start from.

Shares with the planner only the input (requirements, hosts), not a line of its search. Every answer is added up again
before it counts. Replicas over several hosts are left to the hand-made cases.
"""

from __future__ import annotations

from dataclasses import dataclass

from gslc.ir.inputs import Cluster, Host, Model, RequirementPart

SECONDS = 20.0
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """The best found: replicas placed, bytes offloaded, cards used; `proved` for each of the three."""

    placed: int
    offloaded_bytes: int
    cards: int
    proved: tuple[bool, bool, bool]


def judge(fleet: Cluster, seconds: float = SECONDS) -> Verdict:  # noqa: C901, PLR0912 - one model, read downwards
    """Replicas placed, then least offload, then fewest cards, each proved or the best found in the time."""
    from ortools.sat.python import cp_model

    solver_model = cp_model.CpModel()
    uses: dict[tuple[str, int], list[tuple[object, int, bool]]] = {}  # card -> (taken, MiB, alone)
    ram: dict[str, list[tuple[object, int]]] = {}
    placed, offload = [], []
    ways_at: dict[tuple[str, str], list[object]] = {}
    for entry in fleet.models:
        for _ in range(entry.replicas):
            ways = []
            for requirement in entry.requirements:
                part = requirement.parts[0]
                for host in _hosts_of(entry, fleet):
                    if not _fits(part, host):
                        continue
                    way = solver_model.NewBoolVar("")
                    ways.append(way)
                    ways_at.setdefault((entry.name, host.name), []).append(way)
                    ram.setdefault(host.name, []).append((way, _up(part.memory_bytes)))
                    if part.offload_bytes:
                        offload.append((way, _up(part.offload_bytes)))
                    taken = [solver_model.NewBoolVar("") for _ in host.gpus]
                    if part.gpus:
                        solver_model.Add(sum(taken) == part.gpus * way)
                        for gpu, one in zip(host.gpus, taken, strict=True):
                            row = uses.setdefault((host.name, gpu.index), [])
                            row.append((one, _up(part.gpu_memory_bytes), entry.exclusive_gpus))
            if ways:
                solver_model.Add(sum(ways) <= 1)
                placed.extend(ways)
    busy = []
    for host in fleet.hosts:
        solver_model.Add(sum(size * way for way, size in ram.get(host.name, ())) <= host.memory_bytes // MIB)
        for gpu in host.gpus:
            row = uses.get((host.name, gpu.index), [])
            used = solver_model.NewBoolVar("")
            busy.append(used)
            solver_model.Add(sum(size * one for one, size, _ in row) <= gpu.kind.memory_bytes // MIB)
            for one, _, alone in row:
                solver_model.Add(one <= used)
                if alone:
                    solver_model.Add(sum(other for other, _, _ in row) <= 1 + len(row) * (1 - one))
    for entry in fleet.models:
        if entry.anti_affinity:
            for host in fleet.hosts:
                solver_model.Add(sum(ways_at.get((entry.name, host.name), ())) <= 1)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    results: list[int] = []
    proved: list[bool] = []
    goals = (
        (sum(placed), True),
        (sum(size * way for way, size in offload), False),
        (sum(busy), False),
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
        status = solver.Solve(solver_model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            raise ValueError(f"the judge found no placement in its time: {solver.StatusName(status)}")
        value = round(solver.ObjectiveValue())
        results.append(value)
        proved.append(status == cp_model.OPTIMAL)
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
