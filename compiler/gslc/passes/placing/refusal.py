"""Why a replica has no seat, in the user's own numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from gslc.ir.diagnostic import Decision, Diagnostic
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.ports import Ports
from gslc.passes.placing.problem import Problem, Replica
from gslc.passes.placing.state import State
from gslc.passes.placing.sticky import Kept


@dataclass(slots=True, eq=False)
class Refusals:
    """A code for every unplaced replica, and what to say about them."""

    codes: dict[int, str] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


def explain_unplaced(
    problem: Problem,
    state: State,
    fitter: Fitter,
    kept: Kept,
    ports: Ports,
    unplaced: tuple[Replica, ...],
    *,
    replan: bool,
) -> Refusals:
    """One diagnostic a model with unplaced replicas; models that no host can run were reported before (GS380)."""
    result = Refusals()
    for task in problem.tasks:
        missing = [replica for replica in unplaced if replica.task is task]
        if not missing:
            continue
        code = "GS402" if task.candidates.hosts else "GS380"
        for replica in missing:
            result.codes[replica.id] = code
        if code == "GS380":
            continue
        names = ", ".join(f"{task.name}-{replica.number}" for replica in missing)
        result.diagnostics.append(
            Diagnostic(
                code=code,
                message=f"no place for {names}",
                place=problem.cluster.places.key("models", task.name),
            )
        )
    return result
