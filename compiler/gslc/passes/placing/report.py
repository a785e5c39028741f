"""Decisions and figures about a finished placement."""

from __future__ import annotations

from dataclasses import field

from gslc.ir.diagnostic import Decision, Diagnostic, Exhausted, Outranked, Refusal
from gslc.ir.lock import LockedPlacement, Seat
from gslc.ir.placement import Assignment, HostUsage, PlacementStats
from gslc.ir.record import dataclass
from gslc.passes.placing.linked import island_decisions
from gslc.passes.placing.options import Option, Zone
from gslc.passes.placing.problem import Problem, Replica
from gslc.passes.placing.state import Position, State
from gslc.passes.placing.sticky import Kept

ROOM_SIZES = (1, 2, 4, 8)  # cards of one host that the next model may ask for


@dataclass(slots=True, eq=False)
class Refusals:
    """A code for every unplaced replica, and what to say about them."""

    codes: dict[int, str] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


def seats_text(seats: tuple[Seat, ...]) -> str:
    """Seats in words: "atlas GPU 0,1 + bolt CPU"."""
    return " + ".join(
        f"{seat.host} GPU {','.join(str(card) for card in seat.gpus)}" if seat.gpus else f"{seat.host} CPU"
        for seat in seats
    )


def placed_decisions(
    problem: Problem,
    state: State,
    replica: Replica,
    seats: tuple[Seat, ...],
    entry: LockedPlacement | None,
    because: str,
) -> tuple[Decision, ...]:
    """Why a replica is laid out as it is (its own input and seat), and why it lies there (the fleet's)."""
    position = state.positions[replica.id]
    assert position is not None  # only placed replicas have seats
    option = position.option
    place = problem.cluster.places.key("models", replica.task.name)
    subject = f"{replica.task.name}-{replica.number}"
    card_need = max((part.needs[0] for part in option.parts if part.count), default=0)
    if option.gpus:
        room = min(problem.gpu_capacity[host][card] for host, cards in position.spots for card in cards)
        needed, what = card_need, "on a card"
    else:
        room = min(problem.memory_capacity[host] for host, _ in position.spots)
        needed, what = max(part.memory for part in option.parts), "of host memory"
    layout = Decision(
        subject=subject,
        topic="layout",
        chosen=f"{option.choice.label} on {seats_text(seats)}",
        rule=f"alternative {option.rank}",
        because=f"it needs at most {needed:,} bytes {what}, and {room:,} bytes may be used there",
        evidence=(("needed_bytes", needed), ("capacity_bytes", room), ("offloaded_bytes", option.offload)),
        rejected=_refused_layouts(replica, position),
        place=place,
    )
    if entry is None:
        chosen, rule, why = "placed", "search", "the lock had no seat for it"
    elif because:
        chosen, rule, why = f"moved from {seats_text(entry.seats)}", "moved", because
    else:
        chosen, rule, why = "kept", "sticky", "its locked seat is still legal"
    hosts = len(replica.task.candidates.hosts)
    seat = Decision(
        subject=subject,
        topic="seat",
        chosen=chosen,
        rule=rule,
        because=why,
        evidence=(("eligible_hosts", hosts),),
        rejected=_better_layouts(state, replica, position),
        place=place,
        scope="fleet",
    )
    if not problem.linked:
        return (layout, seat)
    return (layout, seat, *island_decisions(problem, state, replica, kept=chosen == "kept"))


def _refused_layouts(replica: Replica, position: Position) -> tuple[Refusal, ...]:
    """Layouts ruled out on hosts like the leader's, and better ones that are too large for them when empty."""
    zone = replica.task.zone_at(position.spots[0][0])
    if zone is None:
        return ()
    refused: list[Refusal] = list(zone.refused)
    if position.option.rank > 0:
        refused.extend(
            _too_large(zone, option)
            for option in zone.all_options()
            if option.rank < position.option.rank and option not in zone.options
        )
    return tuple(refused)


def _too_large(zone: Zone, option: Option) -> Exhausted:
    """What an empty host of a zone lacks for an option."""
    part = option.parts[0]
    sizes = sorted(zone.host_class.gpu_capacity, reverse=True)
    room = sizes[part.count - 1] if 0 < part.count <= len(sizes) else 0
    if part.count and part.needs[0] > room:
        return Exhausted(what=option.choice.label, dimension="memory on a card", needed=part.needs[0], available=room)
    memory = part.memory_unified if zone.host_class.unified_memory else part.memory
    return Exhausted(
        what=option.choice.label, dimension="host memory", needed=memory, available=zone.host_class.memory_capacity
    )


def _better_layouts(state: State, replica: Replica, position: Position) -> tuple[Refusal, ...]:
    """Better layouts that would fit the host empty, and what is left there for them beside the others."""
    host = position.spots[0][0]
    zone = replica.task.zone_at(host)
    if zone is None or position.option.rank == 0:
        return ()
    found: list[Refusal] = []
    for option in zone.options:
        if option.rank >= position.option.rank:
            continue
        part = option.parts[0]
        usable = sorted(
            (free for free, users in zip(state.free[host], state.users[host], strict=True) if users >= 0), reverse=True
        )
        left = usable[part.count - 1] if 0 < part.count <= len(usable) else 0
        if part.count and part.needs[0] > left:
            found.append(
                Exhausted(what=option.choice.label, dimension="memory on a card", needed=part.needs[0], available=left)
            )
        else:
            score, best = (position.option.offload, position.option.rank), (option.offload, option.rank)
            found.append(
                Outranked(what=option.choice.label, score=best, best=score, detail="the fleet as a whole gains by it")
            )
    return tuple(found)


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
    smallest = _smallest_share(state)
    hosts = tuple(_usage(problem, state, host, smallest) for host in range(len(problem.hosts)))
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


def _smallest_share(state: State) -> int:
    """The fewest bytes that any placed replica takes on a shared card: less than this is of no use to one like them."""
    return min(
        (
            part.needs[-1]
            for position in state.positions
            if position is not None
            for part in position.option.parts
            if part.count and not part.exclusive
        ),
        default=0,
    )


def _usage(problem: Problem, state: State, host: int, smallest: int) -> HostUsage:
    free = [size for size, users in zip(state.free[host], state.users[host], strict=True) if users >= 0]
    return HostUsage(
        host=problem.hosts[host].name,
        gpus=len(state.users[host]),
        gpus_used=sum(1 for users in state.users[host] if users),
        gpu_free_bytes=sum(free),
        gpu_stranded_bytes=sum(
            size
            for size, users in zip(state.free[host], state.users[host], strict=True)
            if users < 0 or (users > 0 and size < smallest)
        ),
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
