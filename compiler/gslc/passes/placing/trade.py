"""Exchanges between cards of a small fleet: they gather free bytes for who has no place, and level host memory.

Where cards are filled to the last byte, a seat is only made by exchanging groups of replicas of unequal size between
two cards; and where host memory is, only by exchanging groups of equal size between two hosts. Both are one move here:
a group leaves card A for card B, another one comes back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from gslc.passes.placing.dice import Dice
from gslc.passes.placing.groups import MOST_LONE, Bundle, bundles_of
from gslc.passes.placing.hall import Hall

PARTNERS = 5  # cards with which a card exchanges, looked at for one move
GROUPS = 24  # groups of an overdrawn host, looked at for one move
MATCHES = 4  # groups of another host that are weighed for one of these
REST = 4  # turns for which a replica stays where an exchange has put it
PATIENCE = 12  # turns without a gain before levelling gives up


class Trader:
    """Exchanges on one hall; what it costs is counted in `steps`."""

    def __init__(self, hall: Hall, dice: Dice) -> None:
        self.hall = hall
        self.dice = dice
        self.steps = 0
        self.turn = 0
        self.moved: dict[int, int] = {}  # replica -> turn
        self._known: dict[int, tuple[int, list[Bundle]]] = {}
        self._large_enough: dict[int, list[tuple[int, list[int]]]] = {}  # by replica: host, cards
        self._known_on: dict[int, tuple[list[int], list[Bundle]]] = {}
        self._met: dict[tuple[int, ...], list[Bundle]] = {}  # by the card and who is on it

    def run(self, steps: int) -> int:
        """The cost that is left after at most about so many steps."""
        hall = self.hall
        last = self.steps + steps
        while self.steps < last:
            missing = [number for number in hall.missing() if hall.at[number]]
            lone = [number for number in missing if hall.single[number]]
            if not lone:
                break
            self.turn += 1
            number = lone[self.dice.below(len(lone))]
            if not self._insert(number) and not self._make_room(number) and not self._gather():
                break
        if hall.over():
            self._level(last)
        return hall.cost()

    # -------------------------------------------------------- groups

    def bundles(self, card: int) -> list[Bundle]:
        """The groups that may leave a card, nobody among them, by size."""
        hall = self.hall
        known = self._known.get(card)
        if known is not None and known[0] == hall.version[card]:
            return known[1]
        self.steps += 1
        key = (card, *hall.lone[card])
        met = self._met.get(key) if len(key) <= MOST_LONE + 1 else None
        if met is None:
            met = self._met[key] = bundles_of(hall, self.dice, card)
        self._known[card] = (hall.version[card], met)
        return met

    def _bundles_on(self, host: int) -> list[Bundle]:
        """The groups that may leave any card of a host, by size."""
        hall = self.hall
        cards = hall.cards[host]
        version = hall.version[cards.start : cards.stop]
        known = self._known_on.get(host)
        if known is None or known[0] != version:
            found = sorted([bundle for card in cards for bundle in self.bundles(card)])
            known = self._known_on[host] = (version, found)
        return known[1]

    def _lands(self, group: tuple[int, ...], card: int, free: int, *, empty: bool) -> int | None:
        """Host memory that a group needs on a card with `free` bytes, `empty` if it has it alone; None: no place."""
        hall = self.hall
        host = hall.host_of[card]
        memory = 0
        for number in group:
            single = hall.single[number].get(host)
            if single is None or card not in single[2]:
                return None
            if number in hall.alone:
                if not empty or len(group) > 1 or single[0] > hall.ground[card]:
                    return None
                free = 0
            else:
                free -= single[0]
                if free < 0:
                    return None
            memory += single[1]
        return memory

    def _after(self, card: int, bundle: Bundle) -> tuple[int, bool]:
        """Bytes free on a card once a group has left, and whether nobody is left there."""
        hall = self.hall
        group = bundle[3]
        if group and group[0] in hall.alone:
            return hall.ground[card], True
        return hall.free[card] + bundle[0], hall.users[card] == len(group)

    def _change(self, one: Bundle, two: Bundle) -> int | None:
        """By how much overdrawn memory grows when two groups change cards; None where they can't."""
        hall = self.hall
        here, there = one[2], two[2]
        self.steps += 1
        free, empty = self._after(there, two)
        coming = self._lands(one[3], there, free, empty=empty)
        if coming is None:
            return None
        free, empty = self._after(here, one)
        back = self._lands(two[3], here, free, empty=empty)
        if back is None:
            return None
        host, other = hall.host_of[here], hall.host_of[there]
        if host == other:
            return 0
        if hall.ruled and (hall.clashes(host, one[3], two[3]) or hall.clashes(other, two[3], one[3])):
            return None
        left, right = hall.memory[host], hall.memory[other]
        left_after, right_after = left + one[1] - back, right + two[1] - coming
        before, after = min(0, left) + min(0, right), min(0, left_after) + min(0, right_after)
        return before - after

    def _apply(self, one: Bundle, two: Bundle) -> None:
        hall = self.hall
        for number in (*one[3], *two[3]):
            hall.take_out(number)
            self.moved[number] = self.turn
        for group, card in ((one[3], two[2]), (two[3], one[2])):
            host = hall.host_of[card]
            for number in group:
                hall.put(number, (hall.at[number][host],), ((card,),))

    # -------------------------------------------------------- a place for one replica

    def _targets(self, number: int) -> list[int]:
        """Cards that are large enough for a replica, in random order."""
        hall = self.hall
        rows = self._large_enough.get(number)
        if rows is None:
            rows = self._large_enough[number] = [
                (host, [card for card in hall.cards[host] if card in single[2] and hall.ground[card] >= single[0]])
                for host, single in hall.single[number].items()
            ]
        ruled = hall.ruled
        found = [card for host, cards in rows if not (ruled and hall.clashes(host, (), (number,))) for card in cards]
        self.dice.shuffle(found)
        return found

    def _insert(self, number: int) -> bool:
        """Put a replica on the tightest card where it fits, without overdrawing more."""
        hall = self.hall
        best: tuple[int, int] | None = None
        alone = number in hall.alone
        singles, free, users, host_of = hall.single[number], hall.free, hall.users, hall.host_of
        for card in self._targets(number):
            host = host_of[card]
            need, memory, _ = singles[host]
            if free[card] < need or (alone and users[card]):
                continue
            short = max(0, memory - max(0, hall.memory[host]))
            key = (short, free[card] - need)
            if best is None or key < best:
                best, chosen = key, card
        if best is None:
            return False
        host = hall.host_of[chosen]
        hall.put(number, (hall.at[number][host],), ((chosen,),))
        self.moved[number] = self.turn
        return True

    def _make_room(self, number: int) -> bool:
        """Put a replica on a card from which another card takes more than it gives back."""
        hall = self.hall
        if number in hall.alone:
            return False
        free = hall.free
        givers = [card for card in range(len(free)) if free[card] > 0]
        best: tuple[int, Bundle, Bundle] | None = None
        singles = hall.single[number]
        most = max([free[card] for card in givers], default=0)
        for card in self._targets(number):
            gap = singles[hall.host_of[card]][0] - free[card]
            if most < gap:
                continue
            for other in givers:
                if free[other] < gap or other == card:
                    continue
                mine, theirs = self.bundles(card), self.bundles(other)
                self.steps += 1
                for one in mine:
                    if one[0] < gap:
                        continue
                    first = bisect_left(theirs, (one[0] - free[other],))
                    final = bisect_right(theirs, (one[0] - gap + 1,))
                    for two in theirs[first:final]:
                        change = self._change(one, two)
                        if change is not None and (best is None or change < best[0]):
                            best = (change, one, two)
                            if change <= 0:
                                return self._take(number, best)
        return best is not None and self._take(number, best)

    def _take(self, number: int, found: tuple[int, Bundle, Bundle]) -> bool:
        hall = self.hall
        _, one, two = found
        card = one[2]
        host = hall.host_of[card]
        self._apply(one, two)
        if hall.free[card] < hall.single[number][host][0] or hall.clashes(host, (), (number,)):
            return True  # something changed: a new fleet to look at
        hall.put(number, (hall.at[number][host],), ((card,),))
        self.moved[number] = self.turn
        return True

    def _gather(self) -> bool:
        """Move free bytes of one card to another one, as many as can be."""
        hall, dice, free = self.hall, self.dice, self.hall.free
        givers = [card for card in range(len(free)) if free[card] > 0]
        if not givers:
            return False
        giver = givers[dice.below(len(givers))]
        others = (
            [card for card in givers if card != giver]
            if dice.below(3)
            else [card for cards in hall.cards for card in cards]
        )
        theirs = self.bundles(giver)
        spare = free[giver]
        best: tuple[int, Bundle, Bundle] | None = None
        for card in dice.sample(others, PARTNERS):
            if card == giver or free[card] < 0:
                continue
            self.steps += 1
            for one in self.bundles(card):
                if not one[0]:
                    continue
                index = bisect_left(theirs, (one[0] - spare,))
                if index == len(theirs) or theirs[index][0] >= one[0]:
                    continue
                gain = one[0] - theirs[index][0]  # bytes that become free on `card`
                score = (free[card] + gain) ** 2 + (spare - gain) ** 2 - free[card] ** 2 - spare**2
                score = score * (60 + dice.below(80)) // 100
                if best is None or score > best[0]:
                    change = self._change(one, theirs[index])
                    if change is not None and change <= 0:
                        best = (score, one, theirs[index])
        if best is None:
            return len(givers) > 1
        self._apply(best[1], best[2])
        return True

    # -------------------------------------------------------- host memory

    def _level(self, last: int) -> None:
        """Exchange groups between hosts until no host memory is overdrawn; the best fleet is kept."""
        hall = self.hall
        here = best = hall.over()
        kept = hall.snapshot()
        stale = 0
        while best and self.steps < last and stale < PATIENCE:
            self.turn += 1
            move = self._levelling()
            if move is None:
                stale += 1
                continue
            here += move[0]
            self._apply(move[1], move[2])
            stale += 1
            if here < best:
                best, kept, stale = here, hall.snapshot(), 0
        if here > best:
            hall.restore(kept)

    def _levelling(self) -> tuple[int, Bundle, Bundle] | None:
        """The exchange of an overdrawn host that helps most; it may do harm, but not undo what was just done."""
        hall, dice = self.hall, self.dice
        drawn = [host for host, free in enumerate(hall.memory) if free < 0]
        host = drawn[dice.below(len(drawn))]
        mine = [bundle for card in hall.cards[host] for bundle in self.bundles(card) if self._rested(bundle)]
        best: tuple[int, Bundle, Bundle] | None = None
        others = {other: self._bundles_on(other) for other in range(hall.hosts) if other != host}
        most = {other: max([hall.free[card] for card in hall.cards[other]], default=0) for other in others}
        self.steps += hall.hosts
        for one in dice.sample(mine, GROUPS):
            room = max(0, hall.free[one[2]])
            for other, theirs in others.items():
                first = bisect_left(theirs, (one[0] - most[other],))
                final = bisect_right(theirs, (one[0] + room + 1,))
                rows = theirs[first:final]
                for two in dice.sample(rows, MATCHES):
                    if two[1] >= one[1] or not self._rested(two):
                        continue
                    change = self._change(one, two)
                    if change is not None and (best is None or change < best[0]):
                        best = (change, one, two)
        return best

    def _rested(self, bundle: Bundle) -> bool:
        moved, turn = self.moved, self.turn
        return all(turn - moved.get(number, -REST) >= REST for number in bundle[3])
