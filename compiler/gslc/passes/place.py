"""Seats for every replica: what is locked stays, the rest is placed by the objective of docs/placement.md."""

from __future__ import annotations

from gslc.ir.diagnostic import Decision, Diagnostic, Outcome
from gslc.ir.inputs import Cluster
from gslc.ir.lock import Lock, Seat
from gslc.ir.placement import Assignment, Candidates, Placement
from gslc.ir.plan import Unplaced
from gslc.passes.placing.cost import Weigher
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.islands import join_islands
from gslc.passes.placing.ports import Ports, give_ports
from gslc.passes.placing.problem import Problem, Replica, problem_of
from gslc.passes.placing.replan import try_replan
from gslc.passes.placing.report import Refusals, moved_note, placed_decisions, stats_of
from gslc.passes.placing.search import fill, homes_of
from gslc.passes.placing.state import Position, State
from gslc.passes.placing.sticky import Kept, keep_locked


def place_models(
    candidates: tuple[Candidates, ...], cluster: Cluster, lock: Lock, *, replan: bool = False
) -> Outcome[Placement]:
    """The placement of all replicas; what could not be placed is in `unplaced`, with error diagnostics that say why.

    Without `replan` a locked placement that is still legal never moves. With it everything may, and the objective
    weighs the moves.
    """
    problem = problem_of(candidates, cluster)
    fitter = Fitter(problem)
    state = State(problem)
    kept = keep_locked(problem, lock, state, fitter)
    if not replan:
        hold_locked_ports(state, kept)
    fill(problem, state, fitter, kept, replan=replan)
    if problem.linked:
        weigher = Weigher(problem, homes_of(problem, kept))
        join_islands(problem, state, weigher, staying(problem, state, kept))
    ports = give_ports(problem, state, kept.locked, staying(problem, state, kept))
    for number, _ in ports.short:
        if state.positions[number] is not None:
            state.release(problem.replicas[number])
    assignments, notes = assignments_of(problem, state, kept, ports)
    unplaced = tuple(replica for replica in problem.replicas if state.positions[replica.id] is None)
    replanned = try_replan(problem, state, fitter, kept) if unplaced and kept.kept and not replan else None
    refusals = Refusals()
    if unplaced:
        # half of the placer's code, which a build that places everything does without
        from gslc.passes.placing.refusal import explain_unplaced

        refusals = explain_unplaced(problem, state, fitter, unplaced, dict(ports.short), replanned)
    placement = Placement(
        assignments=assignments,
        unplaced=tuple(
            Unplaced(model=replica.task.name, replica=replica.number, code=refusals.codes[replica.id])
            for replica in unplaced
        ),
        stats=stats_of(problem, state, kept, assignments, fitter.steps),
    )
    decisions = tuple(decision for assignment in assignments for decision in assignment.decisions)
    remarks = dict.fromkeys(remark for assignment in assignments for remark in assignment.choice.diagnostics)
    return Outcome(
        value=placement,
        decisions=(*decisions, *refusals.decisions),
        diagnostics=(*refusals.diagnostics, *notes, *remarks),
    )


def hold_locked_ports(state: State, kept: Kept) -> None:
    """Keep the locked ports of kept replicas from models that want a fixed one."""
    for number in sorted(kept.kept):
        position = state.positions[number]
        assert position is not None  # kept replicas are placed
        for (host, _), seat in zip(position.spots, kept.locked[number].seats, strict=True):
            for port in seat.ports:
                state.hold_locked_port(host, port)


def staying(problem: Problem, state: State, kept: Kept) -> set[int]:
    """Replicas that lie exactly where the lock has them."""
    return {
        number for number, entry in kept.locked.items() if same_seats(problem, state.positions[number], entry.seats)
    }


def same_seats(problem: Problem, position: Position | None, seats: tuple[Seat, ...]) -> bool:
    """True when a position has the hosts and cards of `seats`."""
    if position is None or len(position.spots) != len(seats):
        return False
    return all(
        problem.hosts[host].name == seat.host and cards == seat.gpus
        for (host, cards), seat in zip(position.spots, seats, strict=True)
    )


def assignments_of(
    problem: Problem, state: State, kept: Kept, ports: Ports
) -> tuple[tuple[Assignment, ...], tuple[Diagnostic, ...]]:
    """The placed replicas, sorted by model and number, and a note for each that had to move."""
    assignments: list[Assignment] = []
    notes: list[Diagnostic] = []
    for replica in problem.replicas:
        position = state.positions[replica.id]
        if position is None:
            continue
        assignment = _assignment(problem, state, replica, ports.given[replica.id], kept)
        assignments.append(assignment)
        if assignment.moved_from is not None:
            notes.append(moved_note(problem, assignment))
    return tuple(assignments), tuple(notes)


def _assignment(
    problem: Problem, state: State, replica: Replica, ports: list[tuple[int, ...]], kept: Kept
) -> Assignment:
    position = state.positions[replica.id]
    assert position is not None  # only placed replicas are assigned
    seats = tuple(
        Seat(host=problem.hosts[host].name, gpus=cards, ports=row)
        for (host, cards), row in zip(position.spots, ports, strict=True)
    )
    entry = kept.locked.get(replica.id)
    moved = entry is not None and not same_seats(problem, position, entry.seats)
    because = kept.lost.get(replica.id, "a new plan was asked for") if moved else ""
    decisions: tuple[Decision, ...] = placed_decisions(problem, state, replica, seats, entry, because)
    return Assignment(
        model=replica.task.name,
        replica=replica.number,
        choice=position.option.choice,
        seats=seats,
        moved_from=entry.seats if moved and entry is not None else None,
        moved_because=because,
        decisions=decisions,
    )
