"""Locked placements that are still legal, put back on their seats; and why the others could not be."""

from __future__ import annotations

from dataclasses import field, replace

from gslc.ir.lock import Lock, LockedPlacement
from gslc.ir.placement import FreeHost
from gslc.ir.record import dataclass
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.freehost import free_host
from gslc.passes.placing.options import Option
from gslc.passes.placing.problem import ModelTask, Problem, Replica
from gslc.passes.placing.state import Position, State


@dataclass(slots=True, eq=False)
class Kept:
    """What the lock still decides. `lost` says why a locked replica has to move."""

    locked: dict[int, LockedPlacement] = field(default_factory=dict)  # replica id -> its entry
    kept: set[int] = field(default_factory=set)
    refitted: set[int] = field(default_factory=set)  # same seats, another layout
    lost: dict[int, str] = field(default_factory=dict)


def keep_locked(problem: Problem, lock: Lock, state: State, fitter: Fitter) -> Kept:
    """Take every locked seat that is still legal, higher priority first, unchanged layouts before changed ones."""
    result = Kept()
    by_name = {(replica.task.name, replica.number): replica for replica in problem.replicas}
    for entry in lock.placements:
        replica = by_name.get((entry.model, entry.replica))
        if replica is not None:
            result.locked[replica.id] = entry
    order = sorted(result.locked, key=lambda number: (-problem.replicas[number].task.priority, number))
    changed: list[int] = []
    for number in order:
        replica, entry = problem.replicas[number], result.locked[number]
        reason = seat_refusal(problem, replica.task, entry)
        if reason is not None:
            result.lost[number] = reason
            continue
        position = locked_position(problem, state, fitter, replica, entry)
        if position is None:
            changed.append(number)
        else:
            state.take(replica, position)
            result.kept.add(number)
    for number in changed:
        replica, entry = problem.replicas[number], result.locked[number]
        position = refitted_position(problem, state, fitter, replica, entry)
        if position is None:
            result.lost[number] = _why_lost(problem, state, replica, entry)
        else:
            state.take(replica, position)
            result.kept.add(number)
            result.refitted.add(number)
    return result


def seat_refusal(problem: Problem, task: ModelTask, entry: LockedPlacement) -> str | None:
    """Why the locked seats can't be used whatever is free on them, or None."""
    if entry.backend != task.candidates.request.backend:
        return f"its backend is now {task.candidates.request.backend}, not {entry.backend}"
    for seat in entry.seats:
        host = problem.host_index.get(seat.host)
        if host is None:
            return f"host {seat.host} is gone"
        if task.zone_at(host) is None:
            return f"host {seat.host} may not run it any more{_excluding_rule(task, seat.host)}"
        cards = len(problem.gpu_capacity[host])
        missing = [card for card in seat.gpus if card >= cards]
        if missing:
            return f"GPU {missing[0]} of {seat.host} is gone"
        if task.pins is not None:
            outside = [card for card in seat.gpus if card not in task.pins.get(host, ())]
            if outside:
                return f"GPU {outside[0]} of {seat.host} is not among its `gpus` any more"
        if len(entry.seats) > 1 and not problem.reachable[host]:
            address = problem.hosts[host].address
            if address is None:
                return f"host {seat.host} has no address any more"
            return f"the address {address} of host {seat.host} does not lead to it from other hosts"
    if len({problem.hosts[problem.host_index[seat.host]].target for seat in entry.seats}) > 1:
        return "its hosts have different targets now"
    return None


def _excluding_rule(task: ModelTask, host: str) -> str:
    for excluded in task.candidates.excluded:
        if host in excluded.what.split(", "):
            return f" ({excluded.detail})"
    return ""


def locked_position(
    problem: Problem, state: State, fitter: Fitter, replica: Replica, entry: LockedPlacement
) -> Position | None:
    """The locked layout on the locked seats, or None where the needs have changed or it no longer fits."""
    task = replica.task
    hosts = tuple(problem.host_index[seat.host] for seat in entry.seats)
    zone = task.zone_at(hosts[0])
    assert zone is not None  # seat_refusal has looked
    if len(hosts) == 1:
        options = zone.options
    else:
        options = tuple(option for option, allowed in task.wide if set(hosts) <= set(allowed))
    for option in options:
        if option.choice.layout == entry.layout and state.allows(task, _seated(option, entry, hosts)):
            return _seated(option, entry, hosts)
    for elastic in zone.elastic:
        if elastic.spans_hosts != (len(hosts) > 1):
            continue
        frees = tuple(free_host(problem, state, task, host) for host in hosts)
        wanted = tuple(frozenset(seat.gpus) for seat in entry.seats)
        if any(cards - {gpu.index for gpu in free.gpus} for cards, free in zip(wanted, frees, strict=True)):
            continue
        choice = elastic.restore(entry.layout, _only_cards(frees, entry))
        if choice is None:
            continue
        option = problem.maker.option(choice)
        if state.allows(task, _seated(option, entry, hosts)):
            return _seated(option, entry, hosts)
    return None


def _only_cards(frees: tuple[FreeHost, ...], entry: LockedPlacement) -> tuple[FreeHost, ...]:
    """The hosts with the locked cards alone, in the locked device order."""
    return tuple(
        replace(free, gpus=tuple(gpu for index in seat.gpus for gpu in free.gpus if gpu.index == index))
        for free, seat in zip(frees, entry.seats, strict=True)
    )


def _seated(option: Option, entry: LockedPlacement, hosts: tuple[int, ...]) -> Position:
    return Position(
        option=option, spots=tuple((host, seat.gpus) for host, seat in zip(hosts, entry.seats, strict=True))
    )


def refitted_position(
    problem: Problem, state: State, fitter: Fitter, replica: Replica, entry: LockedPlacement
) -> Position | None:
    """Another layout of the model on exactly the locked seats, best first; None where none fits."""
    task = replica.task
    hosts = tuple(problem.host_index[seat.host] for seat in entry.seats)
    zone = task.zone_at(hosts[0])
    assert zone is not None
    if len(hosts) == 1:
        options = zone.options
    else:
        options = tuple(option for option, allowed in task.wide if set(hosts) <= set(allowed))
    best = next((option for option in options if state.allows(task, _seated(option, entry, hosts))), None)
    for elastic in zone.elastic:
        if elastic.spans_hosts != (len(hosts) > 1) or (best is not None and best.rank <= elastic.rank):
            continue
        frees = tuple(free_host(problem, state, task, host) for host in hosts)
        choice = elastic.fit(_only_cards(frees, entry))
        if choice is None:
            continue
        option = problem.maker.option(choice)
        cards = tuple(tuple(part.indices or seat.gpus) for part, seat in zip(option.parts, entry.seats, strict=False))
        same = len(option.parts) == len(hosts) and all(
            sorted(mine) == sorted(seat.gpus) for mine, seat in zip(cards, entry.seats, strict=True)
        )
        if same:
            return Position(option=option, spots=tuple(zip(hosts, cards, strict=True)))
    return _seated(best, entry, hosts) if best is not None else None


def _why_lost(problem: Problem, state: State, replica: Replica, entry: LockedPlacement) -> str:
    """What the locked seats lack now, in words."""
    task = replica.task
    seat = entry.seats[0]
    host = problem.host_index[seat.host]
    if task.port is not None and (host, task.port) in state.fixed_ports:
        return f"port {task.port} of {seat.host} is taken"
    if not state.admits(task, host):
        return f"its replicas must be on different hosts, or under one target, and {seat.host} is no longer possible"
    cards = f" GPU {', '.join(str(card) for card in seat.gpus)} of" if seat.gpus else ""
    free = min((state.free[host][card] for card in seat.gpus), default=state.memory[host])
    return f"its needs have changed, and{cards} {seat.host} has {free:,} bytes left for it"
