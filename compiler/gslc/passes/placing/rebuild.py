"""Small fleets, host by host: who lies on which host is searched, the cards of a host are packed exactly.

Starts come from completion.py; a few hosts at a time are emptied and filled anew (ruin and recreate). At last a replica
without a place takes the seat of those with the least penalty (Nagata and Bräysy 2009, as in ejection.py), but a host
is asked whether *all* of its replicas together fit its cards, so that no order on the cards is ever in the way.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TypeAlias

from gslc.passes.placing.completion import Completer
from gslc.passes.placing.dice import Dice
from gslc.passes.placing.hall import Hall, Lodging, Seat
from gslc.passes.placing.state import Position

Bundle: TypeAlias = tuple[int, int, tuple[int, ...]]  # bytes on cards, bytes of host memory, replicas

SEARCHED = 2  # starts that are searched from
RENEWED = 3  # starts that are renewed a few hosts at a time
ROUND = 4  # what a renewal costs besides one for each replica
MOST_EMPTIED = 2  # hosts that are emptied together with the first
ROOMY = 4  # all but one in so many renewals empty hosts with room on their cards rather than any
WORSE = 15  # thousandths of the fleet by which a renewed one may be worse, at most
TRIED = 10  # lodgings looked at for one ejection
EXCHANGED = 2  # lodgings for which an exchange is looked for
ASKED = 30  # questions of one search for an exchange
SHAKES = 3  # random swaps after an ejection
MOST_OUT = 3  # replicas that leave one host for one
CANDIDATES = 6  # sets of leaving replicas for which a host is asked


def rebuild(
    hall: Hall, starts: list[list[Position | None]], completions: int, work: int, steps: int
) -> dict[int, Lodging]:
    """Where the replicas of a hall lie in the best fleet found, from given starts and from filled cards."""
    rows: list[tuple[int, int, dict[int, Lodging]]] = []
    for positions in starts:
        hall.clear()
        hall.seat_all(positions)
        rows.append((hall.left(), len(rows), dict(hall.where)))
    dice = Dice(3)
    for _ in range(completions):
        if min(rows)[0] == 0:
            break
        hall.clear()
        Completer(hall, dice, list(range(hall.hosts))).run()
        rows.append((hall.left(), len(rows), dict(hall.where)))
    rows.sort(key=lambda row: row[:2])
    for index, row in enumerate(rows[:RENEWED]):
        left, where = renew(hall, dice, row, work)
        rows[index] = (left, row[1], where)
        if left == 0:
            break
    rows.sort(key=lambda row: row[:2])
    best: tuple[tuple[int, int], dict[int, Lodging]] | None = None
    for _, number, where in rows[:SEARCHED]:
        _lodge(hall, where)
        rebuilder = Rebuilder(hall, number + 1)
        done = rebuilder.run(steps)
        assert rebuilder.best is not None
        if best is None or rebuilder.best[0] < best[0]:
            best = rebuilder.best
        if done:
            break
    assert best is not None  # there is one start at least
    return best[1]


def renew(
    hall: Hall, dice: Dice, start: tuple[int, int, dict[int, Lodging]], work: int
) -> tuple[int, dict[int, Lodging]]:
    """The best fleet after emptying a few hosts, again and again, and filling their cards anew."""
    best = here = (start[0], start[2])
    _lodge(hall, here[1])
    while work > 0 and best[0]:
        missing = hall.missing()
        hosts = _some_hosts(hall, dice, missing[dice.below(len(missing))])
        for host in hosts:
            for number in list(hall.on[host]):
                if all(seat[0] in hosts for seat in hall.where[number]):
                    hall.take_out(number)
        work -= ROUND + len(hall.missing())
        Completer(hall, dice, hosts).run()
        left = hall.left()
        if left < best[0]:
            best = (left, dict(hall.where))
        if left <= here[0] + dice.below(WORSE):
            here = (left, dict(hall.where))
        else:
            _lodge(hall, here[1])
    return best


def _some_hosts(hall: Hall, dice: Dice, number: int) -> list[int]:
    """A few hosts, one of them from where a replica may lie."""
    lodging = hall.lodgings[number][dice.below(len(hall.lodgings[number]))]
    hosts = [seat[0] for seat in lodging]
    others = [host for host in range(hall.hosts) if host not in hosts]
    count = 1 + dice.below(MOST_EMPTIED)
    dice.shuffle(others)
    if dice.below(ROOMY):
        others.sort(key=lambda host: -hall.room[host] * (50 + dice.below(100)))
    return hosts + others[:count]


def _lodge(hall: Hall, where: dict[int, Lodging]) -> None:
    """Make `where` true."""
    for number in [number for number, lodging in hall.where.items() if where.get(number) is not lodging]:
        hall.take_out(number)
    for number, lodging in where.items():
        if number not in hall.where:
            hall.put(number, lodging)


class Rebuilder:
    """One search over a hall; `best` is the fewest without a place, by bytes, and where the others lie then."""

    def __init__(self, hall: Hall, seed: int) -> None:
        self.hall = hall
        self.dice = Dice(seed)
        self.penalty = dict.fromkeys(hall.lodgings, 1)
        self.bundles: dict[int, tuple[int, list[Bundle]]] = {}
        self.best: tuple[tuple[int, int], dict[int, Lodging]] | None = None

    def run(self, steps: int) -> bool:
        """True when everyone has a place; at most about `steps` questions are asked."""
        hall, penalty = self.hall, self.penalty
        pool = sorted(hall.missing(), key=lambda number: (hall.weight[number], number))
        self._remember(pool)
        last = hall.steps() + steps
        while pool and hall.steps() < last:
            hall.turns += 1
            number = pool.pop()
            if not self._insert(number) and not self._exchange(number):
                penalty[number] += 1
                out = self._force(number)
                if out is None:
                    pool.insert(0, number)
                    self._shake()
                    continue
                pool.extend(out)
                self._shake()
            self._remember(pool)
        return not pool

    def _remember(self, pool: list[int]) -> None:
        weight = self.hall.weight
        cost = (sum([weight[number] for number in pool]), len(pool))
        if self.best is None or cost < self.best[0]:
            self.best = (cost, dict(self.hall.where))

    # -------------------------------------------------------- moves

    def _insert(self, number: int) -> bool:
        """Put a replica where it fits as things are: the leanest way, then the tightest host."""
        hall = self.hall
        found: list[tuple[int, int, int]] = []
        for index, lodging in enumerate(hall.lodgings[number]):
            left = 0
            for host, _, memory, size in lodging:
                if hall.memory[host] < memory or hall.room[host] < size:
                    break
                left += hall.room[host] - size
            else:
                found.append((hall.excess[number][index], left + self.dice.below(hall.blur), index))
        found.sort()
        for _, _, index in found:
            lodging = hall.lodgings[number][index]
            if all(hall.fits(seat[0], (), ((number, seat),)) for seat in lodging):
                hall.put(number, lodging)
                return True
        return False

    def _exchange(self, number: int) -> bool:
        """Put a replica on a host while up to two there change places with up to two of another host."""
        hall = self.hall
        left = ASKED
        single = [lodging[0] for lodging in hall.lodgings[number] if len(lodging) == 1]
        for seat in self.dice.sample(single, EXCHANGED):
            host, _, memory, size = seat
            short, memory_short = size - hall.room[host], memory - hall.memory[host]
            for held, held_memory, leaving in self._bundles(host):
                if held < short or held_memory < memory_short or not leaving:
                    continue
                for other in range(hall.hosts):
                    if other == host:
                        continue
                    bundles = self._bundles(other)
                    least = bisect_left(bundles, (held - hall.room[other],))
                    most = bisect_right(bundles, (held - short + 1,))
                    low, high = held_memory - hall.memory[other], held_memory - memory_short
                    for _, back_memory, coming in bundles[least:most]:
                        if low <= back_memory <= high:
                            left -= 1
                            if self._swap(number, seat, other, leaving, coming):
                                return True
                            if left == 0:
                                return False
        return False

    def _swap(
        self, number: int | None, seat: Seat, other: int, leaving: tuple[int, ...], coming: tuple[int, ...]
    ) -> bool:
        """`leaving` go from the seat's host to `other`, `coming` the other way, and `number` takes the seat."""
        hall, host = self.hall, seat[0]
        there = [(one, hall.seat_at(one, other)) for one in leaving]
        here = [(one, hall.seat_at(one, host)) for one in coming]
        if number is not None:
            here.append((number, seat))
        going = [(one, found) for one, found in there if found is not None]
        arriving = [(one, found) for one, found in here if found is not None]
        if len(going) < len(there) or len(arriving) < len(here):
            return False
        if not hall.fits(other, coming, tuple(going)) or not hall.fits(host, leaving, tuple(arriving)):
            return False
        for one in (*leaving, *coming):
            hall.take_out(one)
        for one, found in (*going, *arriving):
            hall.put(one, (found,))
        return True

    def _force(self, number: int) -> list[int] | None:
        """Put a replica where those with the least penalty leave; who they are, or None."""
        hall = self.hall
        best: tuple[int, Lodging, set[int]] | None = None
        lodgings = hall.lodgings[number]
        indices = self.dice.sample(list(range(len(lodgings))), TRIED)
        for index in indices:
            lodging = lodgings[index]
            cost = hall.excess[number][index] * 3 // (hall.blur or 1)
            out: set[int] = set()
            for seat in lodging:
                limit = None if best is None else best[0] - cost
                found = self._leaving(number, seat, limit)
                if found is None:
                    break
                out.update(found[1])
                cost += found[0]
            else:
                if best is None or cost < best[0]:
                    best = (cost, lodging, out)
        if best is None:
            return None
        leaving = sorted(best[2], key=lambda one: (hall.weight[one], one))
        for one in leaving:
            hall.take_out(one)
        hall.put(number, best[1])
        return leaving

    def _leaving(self, number: int, seat: Seat, limit: int | None) -> tuple[int, tuple[int, ...]] | None:
        """The least penalty for a seat, times a thousand, and who leaves for it."""
        hall, penalty, weight = self.hall, self.penalty, self.hall.weight
        host, _, memory, size = seat
        short, memory_short = size - hall.room[host], memory - hall.memory[host]
        ways: list[tuple[int, tuple[int, ...]]] = []
        for held, held_memory, members in self._bundles(host, wide=True):
            if held >= short and held_memory >= memory_short:
                cost = sum([penalty[one] * 1000 + weight[one] for one in members])
                if limit is None or cost < limit:
                    ways.append((cost, members))
        ways.sort()
        for cost, members in ways[:CANDIDATES]:
            if hall.fits(host, members, ((number, seat),)):
                return cost, members
        return None

    def _shake(self) -> None:
        """Swap random replicas of different hosts, so that the next ejection meets another fleet."""
        hall, dice = self.hall, self.dice
        names = hall.movable
        for _ in range(SHAKES):
            one, two = names[dice.below(len(names))], names[dice.below(len(names))]
            here, there = hall.where.get(one), hall.where.get(two)
            if here is None or len(here) > 1:
                continue
            if there is None:
                continue
            if len(there) > 1 or there[0][0] == here[0][0]:
                continue
            self._swap(None, here[0], there[0][0], (one,), (two,) if dice.below(3) else ())

    def _bundles(self, host: int, *, wide: bool = False) -> list[Bundle]:
        """None, one or two replicas of a host together, by bytes on cards; wide: also those that lie elsewhere too."""
        hall = self.hall
        key = 2 * host + wide
        known = self.bundles.get(key)
        if known is not None and known[0] == hall.version[host]:
            return known[1]
        single: list[Bundle] = [
            (seat[3], seat[2], (one,)) for one, seat in hall.on[host].items() if wide or len(hall.where[one]) == 1
        ]
        found: list[Bundle] = [(0, 0, ()), *single]
        for index, (size, memory, members) in enumerate(single):
            found += [
                (size + more, memory + more_memory, members + others)
                for more, more_memory, others in single[index + 1 :]
            ]
        found.sort()
        self.bundles[key] = (hall.version[host], found)
        return found
