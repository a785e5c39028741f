"""The search: a scarce-first best fit for what has no seat yet."""

from __future__ import annotations

from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.problem import Problem, Replica
from gslc.passes.placing.state import State
from gslc.passes.placing.sticky import Kept


def fill(problem: Problem, state: State, fitter: Fitter, kept: Kept, *, replan: bool) -> None:
    """Place what has no seat."""
    todo = [replica for replica in problem.replicas if state.positions[replica.id] is None]
    for replica in sorted(todo, key=scarce_first):
        position = fitter.best(state, replica)
        if position is not None:
            state.take(replica, position)


def scarce_first(replica: Replica) -> tuple[int, int, int, int]:
    """Higher priority, then the largest demand, then by name."""
    task = replica.task
    demand = max(
        (sum(o.parts[0].needs) + o.parts[0].memory for zone in task.zones for o in zone.options[:1]), default=0
    )
    hosts = sum(len(zone.hosts) for zone in task.zones)
    return (-task.priority, -demand, hosts, replica.id)
