"""What `gslc lock --replan` would do for replicas that a build with a lock can't place: found out by trying."""

from __future__ import annotations

from gslc.ir.record import dataclass
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.problem import Problem
from gslc.passes.placing.search import fill
from gslc.passes.placing.state import State
from gslc.passes.placing.sticky import Kept


@dataclass(frozen=True, slots=True)
class ReplanAnswer:
    """Replicas that a new plan places and this one does not, and how many replicas it moves."""

    places: frozenset[int]
    moves: int


def try_replan(problem: Problem, state: State, fitter: Fitter, kept: Kept) -> ReplanAnswer:
    """The answer for the state of a finished build; the state is left as it was."""
    before = state.snapshot()
    ports = dict(state.fixed_ports)
    state.forget_locked_ports()
    fill(problem, state, fitter, kept, replan=True)
    places = frozenset(
        number for number, old in enumerate(before) if old is None and state.positions[number] is not None
    )
    moves = sum(
        1
        for number in kept.kept
        if (new := state.positions[number]) is None or (old := before[number]) is None or new.spots != old.spots
    )
    state.restore(before)
    state.fixed_ports = ports
    return ReplanAnswer(places=places, moves=moves)
