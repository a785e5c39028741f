"""Starts for rebuild.py in which cards are filled to the last byte: minimum bin slack (Gupta and Ho 1999), with dice.

The largest replica that is left takes the card on which others can fill what remains best, and these come along.
"""

from __future__ import annotations

from typing import TypeAlias

from gslc.passes.placing.dice import Dice
from gslc.passes.placing.hall import Hall, Lodging

Small: TypeAlias = tuple[int, int, int]  # bytes on its card, bytes of host memory, replica
COMPANY = 3  # replicas that come along onto one card, at most
BLINK = 12  # one in so many candidates is overlooked, so that every start is another one


class Completer:
    """One start, built in a hall in which `hosts` are empty and nobody else moves."""

    def __init__(self, hall: Hall, dice: Dice, hosts: list[int]) -> None:
        self.hall = hall
        self.dice = dice
        self.hosts = hosts
        self.empty = empty = set(hosts)
        self.ruled = bool(hall.clash or hall.port)
        self.free = [
            list(cards.free) if host in empty else [-1] * len(cards.free) for host, cards in enumerate(hall.cards)
        ]
        self.fresh = [list(cards.fresh) for cards in hall.cards]
        self.cards: dict[tuple[int, int], tuple[int, ...]] = {}  # by replica and host
        self.steps = 0
        for host in hosts:
            self._keep(host)

    def _keep(self, host: int) -> None:
        """Cards for those on a host that stay, because they lie on other hosts too."""
        rows = sorted((seat[1], number) for number, seat in self.hall.on[host].items())
        seating = self.hall.packer.seats(self.hall.ground[host], tuple([way for way, _ in rows]))
        if seating is None:
            for _, number in rows:
                self.hall.take_out(number)
            return
        for (way, number), cards in zip(rows, seating, strict=True):
            self._take(number, host, way, cards)

    def run(self) -> None:
        """Fill the hall; who finds no place is left out."""
        hall, ways = self.hall, self.hall.packer.ways
        large: list[tuple[int, int, int, int]] = []
        small: list[tuple[int, int, int]] = []
        scarce = self.dice.below(4) > 0
        for number in hall.missing():
            shapes = [ways[seat[1]] for lodging in hall.lodgings[number][:1] for seat in lodging]
            plain = len(shapes) == 1 and len(shapes[0].needs) == 1 and not shapes[0].alone
            top = max([max(way.needs, default=0) for way in shapes])
            rank = hall.scarcity[number] if scarce or hall.scarcity[number] == 0 else 2
            if plain and rank:
                small.append((rank, -top, number))
            else:
                noise = 80 + self.dice.below(40)
                large.append((rank, -sum([len(way.needs) for way in shapes]), -top * noise, number))
        for *_, number in sorted(large):
            self._place_large(number)
        self._fill([number for *_, number in sorted(small)])
        hall.note_cards(self.hosts, self.cards)

    # -------------------------------------------------------- several cards, or a card alone

    def _place_large(self, number: int) -> None:
        """Cards for a replica on a random host among those that waste least."""
        hall = self.hall
        rows: list[tuple[int, int, Lodging, list[tuple[int, ...]]]] = []
        for excess, lodging in zip(hall.excess[number], hall.lodgings[number], strict=True):
            if rows and excess > rows[0][0]:
                break
            if any(seat[0] not in self.empty or hall.memory[seat[0]] < seat[2] for seat in lodging):
                continue
            cards = [self._cards_for(seat[0], seat[1]) for seat in lodging]
            self.steps += 1
            if None not in cards:
                rows.append(
                    (excess, self.dice.below(1 << 20), lodging, [found for found in cards if found is not None])
                )
        if not rows:
            return
        _, _, lodging, seating = min(rows)
        if self._clash(number, lodging):
            return
        for seat, chosen in zip(lodging, seating, strict=True):
            self._take(number, seat[0], seat[1], chosen)
        hall.put(number, lodging)

    def _clash(self, number: int, lodging: Lodging) -> bool:
        return self.ruled and any(self.hall.clashes(seat[0], (), ((number, seat),)) for seat in lodging)

    def _cards_for(self, host: int, way_number: int) -> tuple[int, ...] | None:
        way = self.hall.packer.ways[way_number]
        if not way.needs:
            return ()
        free, fresh = self.free[host], self.fresh[host]
        tight = 0 if self.dice.below(2) else 1 << 60
        usable = sorted(
            [
                (free[card] + (0 if fresh[card] else tight), card)
                for card in way.allowed
                if free[card] >= way.needs[-1] and (fresh[card] or not way.alone)
            ]
        )
        if len(usable) < len(way.needs):
            return None
        cards = tuple([card for _, card in usable[: len(way.needs)]])[::-1]
        fits = all(free[card] >= need for card, need in zip(cards, way.needs, strict=True))
        return cards if fits else None

    def _take(self, number: int, host: int, way_number: int, cards: tuple[int, ...]) -> None:
        way = self.hall.packer.ways[way_number]
        for card, need in zip(cards, way.needs, strict=True):
            self.free[host][card] = -1 if way.alone else self.free[host][card] - need
            self.fresh[host][card] = False
        self.cards[number, host] = cards

    # -------------------------------------------------------- one shared card

    def _fill(self, numbers: list[int]) -> None:
        left = dict.fromkeys(numbers)
        while left:
            rows = list(left)
            first = rows[1] if len(rows) > 1 and self.dice.below(BLINK) == 0 else rows[0]
            best: tuple[int, int, int, tuple[int, ...]] | None = None
            del left[first]
            for host, card in self._spots(first):
                found = self._complete(first, host, card, left)
                if found is not None and (best is None or found[0] < best[0]):
                    best = (found[0], host, card, found[1])
                    if best[0] == 0:
                        break
            if best is None:
                continue
            _, host, card, company = best
            for number in (first, *company):
                seat = self.hall.at[number][host]
                lodging = (seat,)
                if number != first and self._clash(number, lodging):
                    continue
                left.pop(number, None)
                self._take(number, host, seat[1], (card,))
                self.hall.put(number, lodging)

    def _spots(self, number: int) -> list[tuple[int, int]]:
        """One card of each kind and fill where a replica fits, in random order."""
        hall = self.hall
        found: dict[tuple[int, int, int], tuple[int, int]] = {}
        for host in self.hosts:
            small = hall.small.get((number, host))
            if small is None or small[1] > hall.memory[host]:
                continue
            if self.ruled and self._clash(number, (hall.at[number][host],)):
                continue
            free, alike, need = self.free[host], hall.cards[host].alike, small[0]
            for card in small[2]:
                if free[card] >= need:
                    found.setdefault((host, free[card], alike[card]), (host, card))
        spots = list(found.values())
        self.dice.shuffle(spots)
        return spots

    def _complete(self, first: int, host: int, card: int, left: dict[int, None]) -> tuple[int, tuple[int, ...]] | None:
        """Bytes that stay free on a card with a replica and the best company, and who that is."""
        hall, dice = self.hall, self.dice
        own = hall.small[first, host]
        target = self.free[host][card] - own[0]
        memory = hall.memory[host] - own[1]
        if target == 0:
            return 0, ()
        rows: list[Small] = []
        for number in left:
            small = hall.small.get((number, host))
            if small is None or small[0] > target or small[1] > memory or card not in small[2]:
                continue
            if dice.below(BLINK):
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
