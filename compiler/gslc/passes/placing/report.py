"""Decisions and figures about a finished placement."""

from __future__ import annotations

from gslc.ir.diagnostic import Decision, Diagnostic
from gslc.ir.lock import LockedPlacement, Seat
from gslc.ir.placement import Assignment, HostUsage, PlacementStats
from gslc.passes.placing.problem import Problem, Replica
from gslc.passes.placing.state import Position, State
from gslc.passes.placing.sticky import Kept

ROOM_SIZES = (1, 2, 4, 8)  # cards of one host that the next model may ask for


def seats_text(seats: tuple[Seat, ...]) -> str:
    """Seats in words: "atlas GPU 0,1 + bolt CPU"."""
    return " + ".join(
        f"{seat.host} GPU {','.join(str(card) for card in seat.gpus)}" if seat.gpus else f"{seat.host} CPU"
        for seat in seats
    )


def placed_decisions(
    problem: Problem,
    replica: Replica,
    position: Position,
    seats: tuple[Seat, ...],
    entry: LockedPlacement | None,
    because: str,
) -> tuple[Decision, ...]:
    """Why a replica lies where it lies: its layout against the cards' size, and whether the lock or the search chose."""
    option = position.option
    needs = max((max(part.needs, default=0) for part in option.parts), default=0)
    room = min(
        (problem.gpu_capacity[host][card] for host, cards in position.spots for card in cards),
        default=min(problem.memory_capacity[host] for host, _ in position.spots),
    )
    needed = needs if option.gpus else sum(part.memory for part in option.parts)
    where = "each card at most" if option.gpus else "host memory"
    layout = Decision(
        subject=f"{replica.task.name}-{replica.number}",
        topic="layout",
        chosen=f"{option.choice.label} on {seats_text(seats)}",
        rule=f"alternative {option.rank}",
        because=f"it needs {needed:,} bytes ({where}), and {room:,} bytes may be used there",
        evidence=(("needed_bytes", needed), ("capacity_bytes", room), ("offloaded_bytes", option.offload)),
        place=problem.cluster.places.key("models", replica.task.name),
    )
    if entry is None:
        chosen, rule, why = "placed", "search", "the lock had no seat for it"
    elif because:
        chosen, rule, why = f"moved from {seats_text(entry.seats)}", "moved", because
    else:
        chosen, rule, why = "kept", "sticky", "its locked seat is still legal"
    seat = Decision(
        subject=layout.subject, topic="seat", chosen=chosen, rule=rule, because=why, place=layout.place, scope="fleet"
    )
    return (layout, seat)


def moved_note(problem: Problem, assignment: Assignment) -> Diagnostic:
    """The note about one move."""
    before = seats_text(assignment.moved_from or ())
    return Diagnostic(
        code="GS407",
        severity="note",
        message=f"moved: {assignment.model}-{assignment.replica} from {before} to {seats_text(assignment.seats)}, "
        f"because {assignment.moved_because}",
        place=problem.cluster.places.key("models", assignment.model),
    )


def stats_of(
    problem: Problem, state: State, kept: Kept, assignments: tuple[Assignment, ...], steps: int
) -> PlacementStats:
    """The figures of the fleet."""
    hosts = tuple(_usage(problem, state, host) for host in range(len(problem.hosts)))
    return PlacementStats(
        replicas=len(problem.replicas),
        placed=len(assignments),
        gpus=sum(usage.gpus for usage in hosts),
        gpus_used=sum(usage.gpus_used for usage in hosts),
        offloaded_bytes=sum(assignment.choice.offloaded_bytes for assignment in assignments),
        kept=sum(1 for number in kept.locked if state.positions[number] is not None)
        - sum(1 for assignment in assignments if assignment.moved_from is not None),
        moved=sum(1 for assignment in assignments if assignment.moved_from is not None),
        steps=steps,
        room=_room(state),
        hosts=hosts,
    )


def _usage(problem: Problem, state: State, host: int) -> HostUsage:
    free = [size for size, users in zip(state.free[host], state.users[host], strict=True) if users >= 0]
    return HostUsage(
        host=problem.hosts[host].name,
        gpus=len(state.users[host]),
        gpus_used=sum(1 for users in state.users[host] if users),
        gpu_free_bytes=sum(free),
        gpu_stranded_bytes=0,
        memory_free_bytes=state.memory[host],
        largest_free_gpu_bytes=max(free, default=0),
    )


def _room(state: State) -> tuple[tuple[int, int], ...]:
    best = dict.fromkeys(ROOM_SIZES, 0)
    for frees, users in zip(state.free, state.users, strict=True):
        usable = sorted((size for size, count in zip(frees, users, strict=True) if count >= 0), reverse=True)
        for size in ROOM_SIZES:
            if len(usable) >= size:
                best[size] = max(best[size], usable[size - 1])
    return tuple(sorted(best.items()))
