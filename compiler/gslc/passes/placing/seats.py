"""Where a part may lie on the hosts of a small fleet, and in which ways: worked out once for hosts that are alike."""

from __future__ import annotations

from typing import TypeAlias

from gslc.ir.record import dataclass
from gslc.passes.placing.options import Part
from gslc.passes.placing.problem import ModelTask, Problem
from gslc.passes.placing.state import ALONE, State

Seat: TypeAlias = tuple[int, int, int]  # host, way, bytes of host memory
Cards: TypeAlias = tuple[int, ...]  # of the whole fleet, as `host_of` counts them; the largest need first
TAKEN = -1  # bytes free on a card that one replica has alone, or that is shut


@dataclass(slots=True, eq=False)
class Way:
    """Bytes on each of some cards, the largest first, which must be among `allowed`."""

    needs: tuple[int, ...]
    alone: bool
    allowed: Cards


class Seats:
    """The seats that parts have on the hosts of a state as it is now. `base` is the first card of each host.

    Behind the cards of each host stands a shelf for replicas without a card, see Lodgings.
    """

    def __init__(self, problem: Problem, state: State, base: list[int]) -> None:
        self.problem = problem
        self.state = state
        self.base = base
        self.ways: list[Way] = []
        self.bulk: list[int] = []  # bytes on cards that each way takes; whole cards where they are taken alone
        self.shelf: dict[int, int] = {}  # host -> the way of its shelf, where someone needs no card
        self._known: dict[
            tuple[int, int, Cards | None], list[Seat]
        ] = {}  # by part, host and the cards that may be used
        self._shapes: dict[tuple[int, int], list[tuple[Cards, int]]] = {}  # by part and condition of a host

    def of(self, task: ModelTask, part: Part, host: int) -> list[Seat]:
        """The seats of a part on a host: one for each kind of cards where they must be alike."""
        pinned = None if task.pins is None else task.pins.get(host, ())
        key = (id(part), host, pinned)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._found(part, host, pinned)
        return known

    def _found(self, part: Part, host: int, pinned: Cards | None) -> list[Seat]:
        memory = part.memory_unified if self.problem.unified[host] else part.memory
        if memory > self.state.memory[host] or part.indices is not None:
            return []
        if part.count == 0:
            if host not in self.shelf:
                self.shelf[host] = self._way((0,), (self.base[host] + len(self.state.free[host]),), alone=False, bulk=0)
            return [(host, self.shelf[host], memory)]
        key = (id(part), self.state.condition[host])
        shapes = self._shapes.get(key) if pinned is None else None
        if shapes is None:
            shapes = self._shapes_of(part, host, pinned)
            if pinned is None:
                self._shapes[key] = shapes
        base = self.base[host]
        found: list[Seat] = []
        for cards, bulk in shapes:
            allowed = tuple([base + card for card in cards])
            found.append((host, self._way(part.needs, allowed, alone=part.exclusive, bulk=bulk), memory))
        return found

    def _way(self, needs: tuple[int, ...], allowed: Cards, *, alone: bool, bulk: int) -> int:
        self.ways.append(Way(needs=needs, alone=alone, allowed=allowed))
        self.bulk.append(bulk)
        return len(self.ways) - 1

    def _shapes_of(self, part: Part, host: int, pinned: Cards | None) -> list[tuple[Cards, int]]:
        """Groups of a host's cards that have room for a part, and the bytes that it takes on each."""
        problem = self.problem
        kinds = problem.kinds[host]
        allowed = tuple(range(len(kinds))) if pinned is None else pinned
        if part.kind is not None:
            wanted = problem.kind_numbers.get(part.kind, -1)
            allowed = tuple([card for card in allowed if kinds[card] == wanted])
        groups = [allowed]
        if part.same_kind and part.count > 1 and not problem.one_kind[host]:
            groups = [tuple([card for card in allowed if kinds[card] == kind]) for kind in sorted(set(kinds))]
        return [(group, self._bulk_of(part, host, group)) for group in groups if self._has_room(part, host, group)]

    def _has_room(self, part: Part, host: int, cards: Cards) -> bool:
        free, users = self.state.free[host], self.state.users[host]
        usable = [
            TAKEN if users[card] == ALONE else free[card] for card in cards if not (part.exclusive and users[card])
        ]
        if len(usable) < part.count:
            return False
        usable.sort(reverse=True)
        return all(size >= need for size, need in zip(usable, part.needs, strict=False))

    def _bulk_of(self, part: Part, host: int, cards: Cards) -> int:
        if not part.exclusive:
            return part.bulk
        free, users = self.state.free[host], self.state.users[host]
        ground = [TAKEN if users[card] == ALONE else free[card] for card in cards]
        return sum(sorted([size for size in ground if size >= part.needs[-1]])[: part.count])
