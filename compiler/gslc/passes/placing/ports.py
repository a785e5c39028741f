"""Ports for every seat: locked ones stay, the rest get the lowest free of the range on their host."""

from __future__ import annotations

from dataclasses import field

from gslc.ir.lock import LockedPlacement
from gslc.ir.record import dataclass
from gslc.passes.placing.problem import Problem
from gslc.passes.placing.state import State


@dataclass(slots=True, eq=False)
class Ports:
    """Ports by replica and part; `short` are replicas for which the range had none left, with the host."""

    given: dict[int, list[tuple[int, ...]]] = field(default_factory=dict)
    short: list[tuple[int, int]] = field(default_factory=list)


def give_ports(problem: Problem, state: State, locked: dict[int, LockedPlacement], kept: set[int]) -> Ports:
    """Ports for all placed replicas: fixed ones, then locked ones that are still legal, then the lowest free."""
    first, last = problem.cluster.port_range
    taken: list[set[int]] = [set() for _ in problem.hosts]
    result = Ports()
    for replica in problem.replicas:
        position = state.positions[replica.id]
        if position is not None and replica.task.port is not None:
            taken[position.spots[0][0]].add(replica.task.port)
    for number in sorted(kept):
        _keep(problem, state, number, locked[number], taken, result)
    lowest = [first] * len(problem.hosts)
    for replica in problem.replicas:
        position = state.positions[replica.id]
        if position is None:
            continue
        rows = result.given.setdefault(replica.id, [() for _ in position.spots])
        for number, (part, (host, _)) in enumerate(zip(position.option.parts, position.spots, strict=True)):
            if len(rows[number]) == part.ports:
                continue
            row: list[int] = []
            for name in range(part.ports):
                if number == 0 and name == 0 and replica.task.port is not None:
                    row.append(replica.task.port)
                    continue
                port = lowest[host]
                while port in taken[host]:
                    port += 1
                lowest[host] = port + 1
                if port > last:
                    result.short.append((replica.id, host))
                    break
                taken[host].add(port)
                row.append(port)
            rows[number] = tuple(row)
    return result


def _keep(
    problem: Problem, state: State, number: int, entry: LockedPlacement, taken: list[set[int]], result: Ports
) -> None:
    """Keep the locked ports of a replica's seats where they are still in the range, free and as many as are needed."""
    first, last = problem.cluster.port_range
    position = state.positions[number]
    assert position is not None  # kept replicas are placed
    fixed = problem.replicas[number].task.port
    rows: list[tuple[int, ...]] = []
    for index, (part, (host, _), seat) in enumerate(
        zip(position.option.parts, position.spots, entry.seats, strict=True)
    ):
        own_fixed = fixed if index == 0 else None
        from_range = seat.ports[1:] if own_fixed is not None else seat.ports
        legal = (
            len(seat.ports) == part.ports
            and len(set(seat.ports)) == len(seat.ports)
            and (own_fixed is None or seat.ports[:1] == (own_fixed,))
            and all(first <= port <= last and port not in taken[host] for port in from_range)
        )
        if legal:
            taken[host].update(seat.ports)
        rows.append(seat.ports if legal else ())
    result.given[number] = rows
