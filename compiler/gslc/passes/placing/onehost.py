"""Whether needs fit the cards of one host together: an exact, bounded search, each question asked once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

NODES = 150  # of one search; a question that needs more counts as "no"
Seating: TypeAlias = tuple[tuple[int, ...], ...]  # cards for each way, in the order asked


@dataclass(frozen=True, slots=True)
class Cards:
    """What a host gives: bytes free by card (-1: not to be used), whether nobody is on it, and which are alike."""

    free: tuple[int, ...]
    fresh: tuple[bool, ...]
    alike: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """Bytes on each of some cards, the largest first, which must be among `allowed`."""

    needs: tuple[int, ...]
    alone: bool
    allowed: tuple[int, ...]


class Packer:
    """Seats ways on cards; cards and ways are interned, so that equal questions have one answer."""

    def __init__(self) -> None:
        self.steps = 0
        self.grounds: dict[Cards, int] = {}
        self.cards: list[Cards] = []
        self.numbers: dict[Way, int] = {}
        self.ways: list[Way] = []
        self.order: list[tuple[int, ...]] = []
        self.known: dict[tuple[int, tuple[int, ...]], Seating | None] = {}

    def ground(self, cards: Cards) -> int:
        """The number of a host's cards."""
        if cards not in self.grounds:
            self.grounds[cards] = len(self.cards)
            self.cards.append(cards)
        return self.grounds[cards]

    def way(self, way: Way) -> int:
        """The number of a way."""
        if way not in self.numbers:
            self.numbers[way] = len(self.ways)
            self.ways.append(way)
            self.order.append((not way.alone, len(way.allowed), -max(way.needs, default=0), -len(way.needs)))
        return self.numbers[way]

    def seats(self, ground: int, ways: tuple[int, ...]) -> Seating | None:
        """Cards for all ways (sorted numbers), or None."""
        question = (ground, ways)
        if question in self.known:
            return self.known[question]
        order = self.order
        ranks = sorted(range(len(ways)), key=lambda index: order[ways[index]])
        found = _Descent(self.cards[ground], [self.ways[ways[index]] for index in ranks])
        answer: Seating | None = None
        if found.seat(0, found.spare):
            seating: list[tuple[int, ...]] = [()] * len(ways)
            for index, cards in zip(ranks, found.chosen, strict=True):
                seating[index] = cards
            answer = tuple(seating)
        self.steps += 1 + found.nodes
        self.known[question] = answer
        return answer


class _Descent:
    """One depth-first search: exclusive ways first, then the largest needs, on the tightest card first."""

    def __init__(self, cards: Cards, ways: list[Way]) -> None:
        self.free = list(cards.free)
        self.fresh = list(cards.fresh)
        self.alike = cards.alike
        self.ways = ways
        self.chosen: list[tuple[int, ...]] = []
        self.nodes = 0
        shared = [way.needs for way in ways if not way.alone and way.needs]
        self.smallest = min([needs[-1] for needs in shared], default=0)
        demand = sum([sum(needs) for needs in shared])
        usable = sum([free for free in self.free if free >= self.smallest])
        self.spare = usable - demand  # bytes that may be wasted

    def seat(self, index: int, spare: int) -> bool:
        """Seat the ways from `index` on; False where that can't be done within the bound."""
        if index == len(self.ways):
            return True
        self.nodes += 1
        if self.nodes > NODES or spare < 0:
            return False
        way = self.ways[index]
        count = len(way.needs)
        if count == 0:
            self.chosen.append(())
            if self.seat(index + 1, spare):
                return True
            self.chosen.pop()
            return False
        need = way.needs[-1]
        free, fresh, alike = self.free, self.fresh, self.alike
        usable = [
            (free[card], alike[card], card)
            for card in way.allowed
            if free[card] >= need and (fresh[card] or not way.alone)
        ]
        if len(usable) < count:
            return False
        usable.sort()
        return self._try(index, way, usable, spare)

    def _try(self, index: int, way: Way, usable: list[tuple[int, int, int]], spare: int) -> bool:
        """Seat a way on one set of its usable cards after the other, the tightest first, alike ones once."""
        tried: set[tuple[tuple[int, int], ...]] = set()
        for group in combinations(usable, len(way.needs)):
            state = tuple([entry[:2] for entry in group])
            if state not in tried:
                tried.add(state)
                if self._take(index, way, tuple([entry[2] for entry in group]), spare):
                    return True
        return False

    def _take(self, index: int, way: Way, cards: tuple[int, ...], spare: int) -> bool:
        """Seat a way on cards (smallest free first) and go on; everything is put back where that fails."""
        free, fresh = self.free, self.fresh
        before = [(card, free[card], fresh[card]) for card in cards]
        needs = way.needs[::-1]
        if any(size < need for (_, size, _), need in zip(before, needs, strict=True)):
            return False
        for (card, size, _), need in zip(before, needs, strict=True):
            if way.alone:
                spare -= size if size >= self.smallest else 0
                free[card] = -1
            else:
                left = free[card] = size - need
                if left < self.smallest:
                    spare -= left
                fresh[card] = False
        self.chosen.append(cards[::-1])  # as the needs: the largest first
        if self.seat(index + 1, spare):
            return True
        self.chosen.pop()
        for card, size, was_fresh in before:
            free[card], fresh[card] = size, was_fresh
        return False
