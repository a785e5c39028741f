"""The search: greedy starts, ejection chains for what is left, then ruin and repair for the rest of the objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from gslc.passes.placing.bound import least_cost, too_full
from gslc.passes.placing.cost import Cost, Weigher
from gslc.passes.placing.dice import Dice
from gslc.passes.placing.ejection import Ejector
from gslc.passes.placing.fit import BINPACK, FIRST, TIGHTEST, Fitter, Style
from gslc.passes.placing.hall import Hall
from gslc.passes.placing.orders import as_declared, largest_first, scarce_first, shares, smallest_first
from gslc.passes.placing.problem import Problem, Replica
from gslc.passes.placing.rebuild import rebuild
from gslc.passes.placing.state import Position, Spot, State
from gslc.passes.placing.sticky import Kept
from gslc.passes.placing.tidy import Tidier

Order: TypeAlias = Callable[[Replica], tuple[int, ...]]

# Budgets, in steps of the search and never in seconds. With them a planted fleet of 8 hosts and 40 replicas takes
# 70 to 90 ms on one core of an EPYC 9004 when nothing but the whole budget helps.
RESTARTS = 24  # noisy greedy starts
RESTARTS_OF_SMALL = 4  # of a small fleet: its time goes into a search card by card
RESTART_INSERTIONS = 6000  # replicas placed by all of them together
REBUILD_HOSTS = 16  # fleets that are searched card by card: so many hosts and replicas at most
REBUILD_REPLICAS = 64
MEDIUM_REPLICAS = 450  # replicas up to which larger fleets are searched so too, from a greedy start
MEDIUM_WORK = 6000
COMPLETIONS = 12  # starts with full cards
RENEWAL_WORK = 1650  # replicas placed while hosts are renewed, for each start
RENEWAL_WORK_OF_PAIR = 5  # and for each two replicas (n x n), at most: tiny fleets need less
CHAINS = 3  # ejection chains from the best starts
CHAIN_TURNS = 150  # turns of each
CHAIN_TURNS_AFTER = 15  # where a search card by card has been before
LARGE = 64  # hosts above which only the first start is made where it places all: its result is good, and time counts
REPAIRS = 60  # ruins and repairs of a fleet in which everything has a place
REPAIRS_OF_SMALL = 20  # of a small one in which something is left: its time went into chains
REPAIRS_OF_FULL = 1200  # of one that is too full for its replicas; there every repair still gains something
REPAIRS_OF_PAIR = 1  # and for each two replicas (n x n), at most
REPAIR_WORK = 200_000  # repairs x replicas, at most
SPARE_FITS = 6  # estimates of elastic choices that a search may ask for to polish a fleet in which all is well
SEARCH_FITS = 30  # and where it is not
SMALL = 48  # replicas up to which a fleet that is not too full is left to chains rather than to repairs
LARGE_INSERTIONS = 2000  # as RESTART_INSERTIONS, for large fleets
TIDY_WORK = 1200  # of looking for better ways and fewer cards in the end
RUIN = 8  # replicas taken out for one, at most
NOISE = (0, 30, 60, 100)  # percent by which an order is disturbed


def fill(problem: Problem, state: State, fitter: Fitter, kept: Kept, *, replan: bool) -> None:
    """Place what has no seat; with replan everything may move, else only what the lock doesn't hold."""
    fixed = frozenset() if replan else frozenset(kept.kept)
    Search(problem, state, fitter, Weigher(problem, homes_of(problem, kept)), fixed).run()


def homes_of(problem: Problem, kept: Kept) -> dict[int, tuple[Spot, ...]]:
    """The locked seats by replica, where their hosts still exist; nobody can go home to the others."""
    nowhere: tuple[Spot, ...] = ()
    return {
        number: tuple((problem.host_index[seat.host], seat.gpus) for seat in entry.seats)
        if all(seat.host in problem.host_index for seat in entry.seats)
        else nowhere
        for number, entry in kept.locked.items()
    }


class Search:
    """One fleet, searched. `best` is the best state so far; replicas in `fixed` never move."""

    def __init__(self, problem: Problem, state: State, fitter: Fitter, weigher: Weigher, fixed: frozenset[int]) -> None:
        self.problem = problem
        self.state = state
        self.fitter = fitter
        self.weigher = weigher
        self.fixed = fixed
        self.dice = Dice(7)
        self.homes = {  # where the lock has them, as far as it could be kept
            number: position
            for number, position in enumerate(state.positions)
            if position is not None and number not in fixed
        }
        self.best: tuple[Cost, list[Position | None]] = (weigher.cost(state), state.snapshot())
        self.levels = len(weigher.priorities)
        self.hopeless: set[int] = set()
        self.least: Cost = ()  # no placement is better; (): not known

    def run(self) -> None:
        """Leave the best state that was found."""
        anew = bool(self.homes)  # locked replicas may move: a new plan
        if anew:
            self._release_offloaded()
        todo = [replica for replica in self.problem.replicas if self.state.positions[replica.id] is None]
        if not todo:
            return
        base = self.state.snapshot()
        large = len(self.problem.hosts) > LARGE
        self.greedy(todo, scarce_first, BINPACK)
        self.find_hopeless(base)
        if not large:
            held = [position if number in self.fixed else None for number, position in enumerate(base)]
            self.least = least_cost(self.problem, self.weigher, held, self.hopeless)
        self.fitter.fits_left = SPARE_FITS if self.good() else SEARCH_FITS
        if not large:
            for order, style in (
                (largest_first, BINPACK),
                (largest_first, TIGHTEST),
                (largest_first, FIRST),
                (smallest_first, BINPACK),
                (as_declared, TIGHTEST),
            ):
                if self.done():
                    break
                self.state.restore(base)
                self.greedy(todo, order, style)
        if not self.good():
            self.restarts(todo, base, LARGE_INSERTIONS if large else RESTART_INSERTIONS, 1 if large else CHAINS)
        if anew and not self.good():
            everyone = list(self.problem.replicas)
            nobody: list[Position | None] = [None] * len(everyone)
            self.restarts(everyone, nobody, LARGE_INSERTIONS if large else RESTART_INSERTIONS, 1 if large else CHAINS)
        if not self.done():
            self.repair(self.repairs_to_make(large=large))
        if not (large or self.done()):
            self.tidy()
        self.fitter.fits_left = None
        self.state.restore(self.best[1])
        self.settle()

    def tidy(self) -> None:
        """Look for better ways and fewer cards in the best fleet, for those that have no home to go to."""
        self.state.restore(self.best[1])
        movable = [
            replica
            for replica in self.problem.replicas
            if replica.id not in self.homes
            and not replica.task.spread
            and self.best[1][replica.id] is not None
            and self._hosted(replica, self.best[1][replica.id])
        ]
        tidier = Tidier(self.problem, self.state, self.fitter, movable, TIDY_WORK)
        tidier.improve()
        self.remember()
        if not self.done():
            self.state.restore(self.best[1])
            tidier.empty_cards()
            self.remember()

    def _release_offloaded(self) -> None:
        """Take out who lies in host memory though the model could do without, so that a new plan looks for better."""
        for replica in self.problem.replicas:
            position = self.state.positions[replica.id]
            if position is None or replica.id not in self.homes:
                continue
            if position.option.offload > replica.task.least_offload:
                self.state.release(replica)

    def done(self) -> bool:
        """True when the best fleet is as good as any can be."""
        return self.best[0] <= self.least

    def good(self) -> bool:
        """True when all that can be placed is placed, and nothing is offloaded that could do without."""
        positions = self.best[1]
        for replica in self.problem.replicas:
            position = positions[replica.id]
            if replica.id in self.fixed or replica.id in self.hopeless:
                continue
            if position is None or position.option.offload > replica.task.least_offload:
                return False
        return True

    def find_hopeless(self, base: list[Position | None]) -> None:
        """Replicas that have no place even where nothing but the fixed ones is placed: no search will help them."""
        missing = [replica for replica in self.problem.replicas if self.best[1][replica.id] is None]
        if not missing:
            return
        self.state.restore([position if number in self.fixed else None for number, position in enumerate(base)])
        tried: dict[int, bool] = {}
        for replica in missing:
            if replica.task.index not in tried:
                tried[replica.task.index] = self.fitter.best(self.state, replica) is None
            if tried[replica.task.index]:
                self.hopeless.add(replica.id)

    def settle(self) -> None:
        """Give a model's positions to its lowest numbers, in the order of hosts, and homes to their owners."""
        homes = self.weigher.homes
        positions = self.state.snapshot()
        for task in self.problem.tasks:
            movable = [number for number in task.replicas if number not in self.fixed]
            if len(movable) < 2:
                continue
            found = [position for number in movable if (position := self.state.positions[number]) is not None]
            order = sorted(found, key=lambda position: position.spots)
            given: dict[int, Position] = {}
            for number in movable:
                home = next((position for position in order if position.spots == homes.get(number)), None)
                if home is not None:
                    given[number] = home
                    order.remove(home)
            free = [number for number in movable if number not in given]
            given.update(zip(free, order, strict=False))
            for number in movable:
                positions[number] = given.get(number)
        self.state.restore(positions)

    # -------------------------------------------------------- starts

    def greedy(self, todo: list[Replica], order: Order, style: Style) -> None:
        """Place one after the other, and remember."""
        for replica in sorted(todo, key=order):
            position = self.fitter.best(self.state, replica, style=style)
            if position is not None:
                self.state.take(replica, position)
        self.remember()

    def remember(self) -> None:
        """Keep the state if it is the best so far."""
        cost = self.weigher.cost(self.state)
        if cost < self.best[0]:
            self.best = (cost, self.state.snapshot())

    def repairs_to_make(self, *, large: bool) -> int:
        """How many repairs are worth their time."""
        count = sum(1 for replica in self.problem.replicas if replica.id not in self.fixed)
        if self.good():
            return 0 if large else REPAIRS
        if count <= SMALL and not too_full(self.problem):
            return REPAIRS_OF_SMALL
        return min(REPAIRS_OF_FULL, REPAIRS_OF_PAIR * count**2, REPAIR_WORK // count)

    def restarts(self, todo: list[Replica], base: list[Position | None], insertions: int, chains: int) -> None:
        """Noisy starts, a search card by card where the fleet is small enough, and ejection chains from the best."""
        small = self.small(len(todo))
        count = min(RESTARTS_OF_SMALL if small else RESTARTS, insertions // len(todo))
        starts = self.noisy_starts(todo, base, max(1, count))
        turns = CHAIN_TURNS
        if small:
            if not self.good():
                self.rebuild(starts[0], COMPLETIONS, min(RENEWAL_WORK, RENEWAL_WORK_OF_PAIR * len(todo) ** 2))
            if not self.stretches():
                chains, turns = 0, CHAIN_TURNS_AFTER
        elif len(todo) <= MEDIUM_REPLICAS and len(self.problem.hosts) <= LARGE and not self.good():
            self.rebuild(self.best[1], 0, MEDIUM_WORK)
            chains = 1 if self.stretches() else 0
        for number in range(min(chains, len(starts))):
            if self.good():
                return
            self.state.restore(starts[number])
            self.chain(number + 1, turns, clean=True)
        if any(self.best[0][: self.levels]) and not self.good():
            self.state.restore(self.best[1])
            self.chain(CHAINS + 1, turns, clean=False)

    def noisy_starts(self, todo: list[Replica], base: list[Position | None], count: int) -> list[list[Position | None]]:
        """Greedy starts in disturbed orders, without offload, the best first; each is then completed in any way."""
        starts: list[tuple[int, int, list[Position | None]]] = []
        weights = shares(self.problem)
        for number in range(count):
            self.state.restore(base)
            noise = NOISE[number // 2 % len(NOISE)]
            factor = [100 - noise // 2 + self.dice.below(noise + 1) for _ in self.problem.replicas]
            left = 0
            for replica in sorted(
                todo, key=lambda one: (-one.task.priority, -weights[one.id] * factor[one.id], one.id)
            ):
                position = self.fitter.best(self.state, replica, clean=True, lean=True, style=number % 2)
                if position is not None:
                    self.state.take(replica, position)
                else:
                    left += weights[replica.id]
            starts.append((left, number, self.state.snapshot()))
            self.complete()
            if self.good():
                break
        starts.sort(key=lambda start: start[:2])
        return [start[2] for start in starts]

    def small(self, count: int) -> bool:
        """True for a fleet that is searched card by card from the start, with `count` replicas to place."""
        return len(self.problem.hosts) <= REBUILD_HOSTS and count <= REBUILD_REPLICAS

    def stretches(self) -> bool:
        """True when some choices depend on what is free, which a search card by card does not know."""
        return any(zone.elastic for task in self.problem.tasks for zone in task.zones)

    def rebuild(self, start: list[Position | None], completions: int, work: int) -> None:
        """Search host by host from a start and from full cards, the highest priorities first; then place the rest."""
        hosted = [replica for replica in self.problem.replicas if self._hosted(replica, start[replica.id])]
        free = {replica.id for replica in hosted}
        counted = too_full(self.problem)
        for priority in self.weigher.priorities:
            movable = [replica for replica in hosted if replica.task.priority >= priority]
            last = len(movable) == len(hosted)
            if not movable or (not last and all(start[replica.id] is not None for replica in movable)):
                continue
            self.state.restore([None if number in free else position for number, position in enumerate(start)])
            hall = Hall(self.problem, self.state, self.fitter, movable, counted=counted)
            if hall.movable:
                found = rebuild(hall, start, completions, work)
                for number, position in hall.positions_of(found).items():
                    self.state.take(self.problem.replicas[number], position)
            start = self.state.snapshot()
            if last:
                break
        self.complete()

    def _hosted(self, replica: Replica, position: Position | None) -> bool:
        """True for a replica that a search card by card may move: not where it lies on cards picked for it."""
        if replica.id in self.fixed or replica.id in self.hopeless or replica.task.one_family:
            return False
        return position is None or all(part.indices is None for part in position.option.parts)

    def complete(self) -> None:
        """Place what is left in any way, and remember."""
        for replica in sorted(self.problem.replicas, key=smallest_first):
            if self.state.positions[replica.id] is None and replica.id not in self.hopeless:
                position = self.fitter.best(self.state, replica)
                if position is not None:
                    self.state.take(replica, position)
        self.remember()

    def chain(self, seed: int, turns: int, *, clean: bool) -> None:
        """Ejection chains from the state of now, then the rest in any way."""
        ejector = Ejector(self.problem, self.state, self.fitter, self.weigher, self.fixed, seed)
        missing = [
            replica
            for replica in self.problem.replicas
            if self.state.positions[replica.id] is None and replica.id not in self.hopeless
        ]
        ejector.run(sorted(missing, key=scarce_first, reverse=True), turns, clean=clean)
        self.complete()

    # -------------------------------------------------------- ruin and repair

    def repair(self, count: int) -> None:
        """Take a few neighbours out and put them back in another order, unless that makes the fleet worse."""
        movable = [replica for replica in self.problem.replicas if replica.id not in self.fixed]
        if len(movable) < 2:
            return
        state = self.state
        state.restore(self.best[1])
        for _ in range(count):
            former = self._ruin(movable)
            out = [replica for replica, _ in former if replica.id not in self.hopeless]
            if not out:
                continue
            self.dice.shuffle(out)
            way = self.dice.below(3)
            if way:
                out.sort(key=scarce_first if way == 1 else smallest_first)
            for replica in out:
                position = self._home(replica) or self.fitter.best(state, replica)
                if position is not None:
                    state.take(replica, position)
            cost = self.weigher.cost(state)
            if cost < self.best[0]:
                self.best = (cost, state.snapshot())
                if self.done():
                    return
            if cost > self.best[0]:  # an equal fleet is a new place to search from, and no better answer
                state.undo(former)

    def _ruin(self, movable: list[Replica]) -> list[tuple[Replica, Position | None]]:
        """Take out one random replica with some of its host's company, and some of another host's; where all were."""
        seed = movable[self.dice.below(len(movable))]
        out = [seed]
        position = self.state.positions[seed.id]
        hosts = [position.spots[0][0]] if position is not None else []
        zones = seed.task.zones
        if zones:
            zone = zones[self.dice.below(len(zones))]
            hosts.append(zone.hosts[self.dice.below(len(zone.hosts))])
        for host in hosts:
            company = [number for number in self.state.on_host[host] if number not in self.fixed and number != seed.id]
            out.extend(self.problem.replicas[number] for number in self.dice.sample(company, RUIN // 2))
        missing = [
            replica
            for replica in movable
            if self.state.positions[replica.id] is None and replica.id not in self.hopeless
        ]
        out.extend(self.dice.sample(missing, RUIN // 2))
        unique = {replica.id: replica for replica in out}.values()
        former = [(replica, self.state.positions[replica.id]) for replica in unique]
        for replica, position in former:
            if position is not None:
                self.state.release(replica)
        return former

    def _home(self, replica: Replica) -> Position | None:
        """The locked seats of a replica, where they are free for it now."""
        position = self.homes.get(replica.id)
        return position if position is not None and self.state.allows(replica.task, position) else None
