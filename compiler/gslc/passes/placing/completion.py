"""Fleets in which cards are filled to the last byte: minimum bin slack (Gupta and Ho 1999), with dice.

The largest replica that is left takes the card on which others can fill what remains best, and these come along.
"""

from __future__ import annotations

from typing import TypeAlias

from gslc.passes.placing.dice import Dice
from gslc.passes.placing.hall import Hall
from gslc.passes.placing.lodgings import Lodging
from gslc.passes.placing.options import Option
from gslc.passes.placing.seats import Cards

Small: TypeAlias = tuple[int, int, int]  # bytes on its card, bytes of host memory, replica
COMPANY = 3  # replicas that come along onto one card, at most
TASTE = 8  # one in so many replicas with several ways is laid out in one of them at random
BLINK = 12  # one in so many candidates is overlooked, so that every start is another one


class Completer:
    """Fills the free cards of `hosts` in a hall with who has no place; nobody else moves.

    `loan` is how much host memory may be overdrawn on each host, as a divisor of what it has; 0: nothing.
    """

    def __init__(self, hall: Hall, dice: Dice, hosts: list[int], loan: int = 0) -> None:
        self.hall = hall
        self.dice = dice
        self.hosts = hosts
        self.filled = set(hosts)
        self.loan = [memory // loan if loan else 0 for memory in hall.state.memory]
        self.preferred: dict[int, Option] = {}
        self.steps = 0

    def run(self) -> None:
        """Fill the hall; who finds no place is left out."""
        hall, dice = self.hall, self.dice
        builds, scarcity, choosy = hall.builds, hall.scarcity, hall.choosy
        large: dict[int, list[tuple[int, int, int, int]]] = {}
        small: dict[int, list[tuple[int, int, int, int]]] = {}
        scarce = dice.below(4) > 0
        for number in hall.missing():
            level = hall.level[number]
            plain, cards, top, memory = builds[number]
            if number in choosy and self._prefers(number):
                plain = False
            rank = scarcity[number]
            if rank > 0 and not scarce:
                rank = 2
            if plain and rank > 0:
                small.setdefault(level, []).append((rank, -top, -memory, number))
            else:
                noise = 80 + dice.below(40)
                large.setdefault(level, []).append((rank, -cards, -top * noise, number))
        for level in sorted({*large, *small}):
            for *_, number in sorted(large.get(level, ())):
                self._place_large(number)
            self._fill([number for *_, number in sorted(small.get(level, ()))])

    def _prefers(self, number: int) -> bool:
        """Pick, now and then, one of several ways of a replica for this start; True where that was done."""
        if self.dice.below(TASTE):
            return False
        options = self.hall.options[number]
        self.preferred[number] = options[self.dice.below(len(options))]
        return True

    # -------------------------------------------------------- several cards, or a card alone

    def _place_large(self, number: int) -> None:
        """Cards for a replica on a random host among those that waste least."""
        hall, filled, memory, loan = self.hall, self.filled, self.hall.memory, self.loan
        lodgings, excess, options = hall.lodgings[number], hall.excess[number], hall.options[number]
        best: tuple[int, int, Lodging, tuple[Cards, ...]] | None = None
        preferred = self.preferred.get(number)
        for index in hall.lodgings_on(number, self.hosts):
            if best is not None and excess[index] > best[0]:
                break
            if preferred is not None and options[index] is not preferred:
                continue
            lodging = lodgings[index]
            for seat in lodging:
                if seat[0] not in filled or memory[seat[0]] + loan[seat[0]] < seat[2]:
                    break
            else:
                found = [self._cards_for(seat[1]) for seat in lodging]
                self.steps += 1
                seating = tuple([cards for cards in found if cards is not None])
                if len(seating) == len(lodging):
                    row = (excess[index], self.dice.below(1 << 20), lodging, seating)
                    best = row if best is None or row < best else best
        if best is not None and not self._clash(number, best[2]):
            hall.put(number, best[2], best[3])

    def _clash(self, number: int, lodging: Lodging) -> bool:
        return self.hall.ruled and any(self.hall.clashes(seat[0], (), (number,)) for seat in lodging)

    def _cards_for(self, way_number: int) -> Cards | None:
        way = self.hall.ways[way_number]
        free, users = self.hall.free, self.hall.users
        needs, least, count = way.needs, way.needs[-1], len(way.needs)
        tight = 0 if self.dice.below(2) else 1 << 60
        if way.alone:
            usable = [(free[card], card) for card in way.allowed if free[card] >= least and not users[card]]
        else:
            usable = [
                (free[card] + tight if users[card] else free[card], card) for card in way.allowed if free[card] >= least
            ]
        if len(usable) < count:
            return None
        if count == 1:
            return (min(usable)[1],)
        usable.sort()
        cards = tuple([card for _, card in usable[:count]])[::-1]
        if needs[0] > least and any(free[card] < need for card, need in zip(cards, needs, strict=True)):
            return None
        return cards

    # -------------------------------------------------------- one shared card

    def _fill(self, numbers: list[int]) -> None:
        hall = self.hall
        left = dict.fromkeys(numbers)
        while left:
            rows = list(left)
            first = rows[1] if len(rows) > 1 and self.dice.below(BLINK) == 0 else rows[0]
            best: tuple[int, int, tuple[int, ...]] | None = None
            del left[first]
            for card in self._spots(first):
                found = self._complete(first, card, left)
                if found is not None and (best is None or found[0] < best[0]):
                    best = (found[0], card, found[1])
                    if best[0] == 0:
                        break
            if best is None:
                continue
            _, card, company = best
            for number in (first, *company):
                lodging = (hall.at[number][hall.host_of[card]],)
                if number != first and self._clash(number, lodging):
                    continue
                left.pop(number, None)
                hall.put(number, lodging, ((card,),))

    def _spots(self, number: int) -> list[int]:
        """One card of each kind and fill where a replica fits, in random order."""
        hall = self.hall
        free, alike, memory, loan = hall.free, hall.alike, hall.memory, self.loan
        singles = hall.single[number]
        found: dict[tuple[int, int, int], int] = {}
        for host in self.hosts:
            single = singles.get(host)
            if single is None or single[1] > memory[host] + loan[host]:
                continue
            if hall.ruled and self._clash(number, (hall.at[number][host],)):
                continue
            need, _, allowed = single
            for card in hall.cards[host]:
                if free[card] >= need and card in allowed:
                    found.setdefault((host, free[card], alike[card]), card)
        spots = list(found.values())
        self.dice.shuffle(spots)
        return spots

    def _complete(self, first: int, card: int, left: dict[int, None]) -> tuple[int, tuple[int, ...]] | None:
        """Bytes that stay free on a card with a replica and the best company, and who that is."""
        hall, dice = self.hall, self.dice
        host = hall.host_of[card]
        own = hall.single[first][host]
        target = hall.free[card] - own[0]
        memory = hall.memory[host] - own[1] + self.loan[host]
        if target == 0:
            return 0, ()
        rows: list[Small] = []
        single, alone, below = hall.single, hall.alone, dice.below
        for number in left:
            small = single[number].get(host)
            if small is None or small[0] > target or small[1] > memory or card not in small[2] or number in alone:
                continue
            if below(BLINK):
                rows.append((small[0], small[1], number))
        fair = memory // max(1, hall.room[host] >> 20)  # host memory for each MiB that is left on cards
        rows.sort(key=lambda row: (-row[0], abs(row[1] - (row[0] >> 20) * fair)))
        return self._search(rows, 0, target, memory, COMPANY, target, ())

    def _search(
        self, rows: list[Small], start: int, target: int, memory: int, depth: int, bound: int, chosen: tuple[int, ...]
    ) -> tuple[int, tuple[int, ...]]:
        best, company = target, chosen
        bound = min(bound, target)
        self.steps += 1
        for index in range(start, len(rows)):
            need, held, number = rows[index]
            if need > target or held > memory:
                continue
            if target - need * depth >= bound:
                break
            if depth == 1:
                return (target - need, (*chosen, number)) if target - need < best else (best, company)
            found = self._search(rows, index + 1, target - need, memory - held, depth - 1, bound, (*chosen, number))
            if found[0] < best:
                best, company = found
                bound = min(bound, best)
                if best == 0:
                    break
        return best, company
