"""A fleet in which all have a place, made better: better ways for replicas that could have them, fewer cards in use.

Both are searches of rebuild.py for a place: a replica that gives its way up for a better one has none for the moment,
and so have those on a card that is to be emptied; exchanges make room for them, or everything stays as it was.
"""

from __future__ import annotations

from gslc.passes.placing.completion import Completer
from gslc.passes.placing.dice import Dice
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.hall import Hall
from gslc.passes.placing.options import Option, option_key
from gslc.passes.placing.problem import Problem, Replica
from gslc.passes.placing.rebuild import renew
from gslc.passes.placing.state import Position, State
from gslc.passes.placing.trade import Trader

TRIAL_STEPS = 40  # of exchanges to empty one card, or to make room for one better way
TRIAL_WORK = 150  # of renewals after them, on fleets of up to FEW replicas
FEW = 64
SPREAD_OVER = 3  # cards that are opened, in turn, to see whether two others become empty


class Tidier:
    """Improves one state in place. `movable` are the replicas that may change their seats; `work` is a budget."""

    def __init__(self, problem: Problem, state: State, fitter: Fitter, movable: list[Replica], work: int) -> None:
        self.problem = problem
        self.state = state
        self.fitter = fitter
        self.movable = movable
        self.work = work
        self.dice = Dice(11)
        self.counted: set[int] = set()

    # -------------------------------------------------------- better ways

    def improve(self) -> None:
        """Give replicas fewer offloaded bytes, or a better rank, the worst first."""
        start = self.state.snapshot()
        rows: list[tuple[int, int, Replica, tuple[Option, ...]]] = []
        for replica in self.movable:
            position = start[replica.id]
            better = _better(replica, position.option) if position is not None else ()
            if position is not None and better:
                rows.append((-position.option.offload, -position.option.rank, replica, better))
        hall = self._hall(start) if rows else None
        if hall is None:
            self.state.restore(start)
            return
        for _, _, replica, better in sorted(rows, key=lambda row: (row[0], row[1], row[2].id)):
            if self.work <= 0:
                break
            self._improve(hall, replica, better)
        self._accept(hall, start)

    def _improve(self, hall: Hall, replica: Replica, better: tuple[Option, ...]) -> None:
        kept, number = hall.snapshot(), replica.id
        option = hall.option_of(number)
        hall.take_out(number)
        if hall.offer(replica, better) and self._settle(hall):
            return
        if number in hall.where:
            hall.take_out(number)
        hall.offer(replica, (option,))
        hall.restore(kept)

    # -------------------------------------------------------- fewer cards

    def empty_cards(self) -> None:
        """Empty cards one after the other, those with the fewest bytes first, then open one to empty two."""
        start = self.state.snapshot()
        hall = self._hall(start)
        if hall is None:
            self.state.restore(start)
            return
        self.counted = self._counted(hall)
        shut: dict[int, int] = {}
        for card, free in enumerate(hall.free):
            if free > 0 and not self._movers(hall, card) and card not in self.counted:
                shut[card] = free
                hall.shut(card)
        self._empty_any(hall, shut)
        for card in self._kinds_of(hall, shut):
            if self.work <= 0:
                break
            kept, closed = hall.snapshot(), dict(shut)
            hall.reopen(card, shut.pop(card))
            if self._empty_any(hall, shut) < 2:
                for other in shut.keys() - closed.keys():
                    hall.reopen(other, shut[other])
                hall.restore(kept)
                if card not in shut:
                    hall.shut(card)
                shut = closed
        self._accept(hall, start)

    def _counted(self, hall: Hall) -> set[int]:
        """Cards in use by replicas that stay, those of spread models aside: they count whoever joins them."""
        return {
            hall.base[host] + card
            for replica, position in zip(self.problem.replicas, self.state.positions, strict=True)
            if position is not None and not replica.task.spread
            for host, cards in position.spots
            for card in cards
        }

    def _movers(self, hall: Hall, card: int) -> list[int]:
        """The replicas of a hall on a card."""
        on = hall.on[hall.host_of[card]]
        return [number for number in on if any(card in cards for cards in hall.seating[number])]

    def _kinds_of(self, hall: Hall, shut: dict[int, int]) -> list[int]:
        """One unused card of each size and host, the largest first."""
        found: dict[tuple[int, int], int] = {}
        for card, size in sorted(shut.items()):
            found.setdefault((size, hall.host_of[card]), card)
        return [card for (_, _), card in sorted(found.items(), reverse=True)][:SPREAD_OVER]

    def _empty_any(self, hall: Hall, shut: dict[int, int]) -> int:
        """Empty what can be emptied; how many cards it were."""
        done = 0
        failed: set[int] = set()
        while self.work > 0:
            card = self._next(hall, failed)
            if card is None:
                break
            if self._empty(hall, card, shut):
                done += 1
            else:
                failed.add(card)
        return done

    def _next(self, hall: Hall, failed: set[int]) -> int | None:
        """The card with the fewest bytes that the others have room for."""
        free = hall.free
        spare = sum([room for room in free if room > 0])
        rows = [
            (hall.ground[card] - free[card], card)
            for card in range(len(free))
            if free[card] >= 0 and self._movers(hall, card) and card not in self.counted and card not in failed
        ]
        rows = [row for row in rows if row[0] and row[0] <= spare - free[row[1]]]
        return min(rows)[1] if rows else None

    def _empty(self, hall: Hall, card: int, shut: dict[int, int]) -> bool:
        kept = hall.snapshot()
        for number in self._movers(hall, card):
            hall.take_out(number)
        shut[card] = hall.free[card]
        hall.shut(card)
        if self._settle(hall):
            return True
        hall.reopen(card, shut.pop(card))
        hall.restore(kept)
        return False

    # -------------------------------------------------------- both

    def _hall(self, start: list[Position | None]) -> Hall | None:
        """The fleet with everyone who may move seated as in `start`, laid out as now and in no other way."""
        held = {
            replica.id: (position.option,) for replica in self.movable if (position := start[replica.id]) is not None
        }
        movable = [replica for replica in self.movable if replica.id in held]
        if not movable:
            return None
        self.work -= len(movable)
        self.state.restore([None if number in held else position for number, position in enumerate(start)])
        hall = Hall(self.problem, self.state, self.fitter, movable, held=held)
        hall.seat_all(start)
        return None if hall.missing() or len(hall.movable) < len(movable) else hall

    def _settle(self, hall: Hall) -> bool:
        """Find a place for all that are missing; True when nothing is wrong then."""
        self.work -= TRIAL_STEPS
        trader = Trader(hall, self.dice)
        if any(len(hall.ways[seat[1]].needs) > 1 for one in hall.missing() for seat in hall.lodgings[one][0]):
            Completer(hall, self.dice, list(range(hall.hosts))).run()
        cost = trader.run(TRIAL_STEPS)
        if cost and len(hall.movable) <= FEW:
            self.work -= TRIAL_WORK
            cost, _, found = renew(hall, trader, (cost, 0, hall.snapshot()), TRIAL_WORK)
            hall.restore(found)
        return cost == 0

    def _accept(self, hall: Hall, start: list[Position | None]) -> None:
        """Take over the seats of a hall in which nothing is wrong."""
        positions = list(start)
        for number, position in hall.positions_of(hall.snapshot()).items():
            positions[number] = position
        self.state.restore(positions)


def _better(replica: Replica, option: Option) -> tuple[Option, ...]:
    """The options of a replica that are better than one, the best first."""
    task = replica.task
    found = [one for zone in task.zones for one in zone.options] + [one for one, _ in task.wide]
    here = option_key(option)[:2]
    return tuple(sorted({one for one in found if option_key(one)[:2] < here}, key=option_key))
