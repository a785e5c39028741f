"""Ejection chains: make room for what has no place by taking out the replicas that are easiest to place elsewhere.

Every replica carries a penalty that grows each time it finds no place. A replica without a place takes the seat of the
replicas with the least penalty together, which then look for places of their own (Nagata and Bräysy's ejection pool for
vehicle routing, 2009). The best fleet seen is kept.
"""

from __future__ import annotations

from gslc.ir.record import dataclass
from gslc.passes.placing.cost import Cost, Weigher
from gslc.passes.placing.dice import Dice
from gslc.passes.placing.exchange import Exchanger
from gslc.passes.placing.fit import BINPACK, TIGHTEST, Fitter
from gslc.passes.placing.options import Option, Part
from gslc.passes.placing.orders import shares
from gslc.passes.placing.problem import ModelTask, Problem, Replica
from gslc.passes.placing.state import ALONE, Position, Spot, State

PAIRS = 5  # hosts and options that are looked at for one ejection
MOST_EJECTED = 16  # replicas taken out for one
WIDE_HOSTS = 12  # hosts looked at for each part of a replica over several hosts
ELASTIC_HOSTS = 2  # hosts emptied in turn for a replica that has elastic choices only
WASTE = 300_000  # an option that takes more bytes on cards than the leanest: this much for each `top` bytes more
SHAKES = 8  # random moves after every ejection
TIE = 1_000_000  # one penalty outweighs all sizes
BLINK = (
    5  # one in so many insertions takes the tightest card rather than one in use, so that searches don't run in circles
)


@dataclass(slots=True, eq=False)
class Crowd:
    """Who is on a host: per card replicas and bytes; cards that a fixed replica holds; host memory of the rest."""

    version: int
    holders: list[list[tuple[int, int]]]
    loose: list[list[tuple[int, int]]]  # those of them that may move
    stuck: set[int]
    sizes: dict[int, int]


class Ejector:
    """One search over a state that is changed in place."""

    def __init__(
        self, problem: Problem, state: State, fitter: Fitter, weigher: Weigher, fixed: frozenset[int], seed: int = 1
    ) -> None:
        self.problem = problem
        self.state = state
        self.fitter = fitter
        self.weigher = weigher
        self.fixed = fixed
        self.dice = Dice(seed)
        self.penalty = [1] * len(problem.replicas)
        weights = shares(problem)
        top = max(weights, default=1)
        self.bulk = [weight * 1000 // top for weight in weights]  # decides among equal penalties
        self.top = max((replica.task.least_bulk for replica in problem.replicas), default=0) or 1
        self.exchanger = Exchanger(problem, state, fixed, self.dice)
        self.crowds: dict[int, Crowd] = {}
        self.pairs: dict[tuple[int, bool], list[tuple[Option, int]]] = {}

    def run(self, pool: list[Replica], turns: int, *, clean: bool) -> None:
        """Place the replicas of `pool`, ejecting others, in at most `turns` turns; leaves the best fleet seen.

        clean: only options with the least offload that a model can have. The last of the pool is placed first.
        """
        state, penalty = self.state, self.penalty
        best = self._better(None)
        pool = list(pool)
        fewest = len(pool)
        while pool and turns > 0:
            turns -= 1
            replica = pool.pop()
            style = TIGHTEST if self.dice.below(BLINK) == 0 else BINPACK
            position = self.fitter.best(state, replica, clean=clean, lean=clean, style=style)
            if position is not None:
                state.take(replica, position)
            elif not self.exchanger.make_room(replica, clean=clean):
                penalty[replica.id] += 1
                ejected = self._force(replica, clean=clean)
                if ejected is None:
                    pool.insert(0, replica)
                    continue
                pool.extend(ejected)
                for _ in range(SHAKES):
                    self._shake(clean=clean)
            if len(pool) < fewest:
                fewest = len(pool)
                best = self._better(best)
        state.restore(self._better(best)[1])

    def _better(self, best: tuple[Cost, list[Position | None]] | None) -> tuple[Cost, list[Position | None]]:
        cost = self.weigher.cost(self.state)
        return (cost, self.state.snapshot()) if best is None or cost < best[0] else best

    # -------------------------------------------------------- taking seats

    def _force(self, replica: Replica, *, clean: bool) -> list[Replica] | None:
        """Seat a replica where the least penalty has to go; the answer is who lost a seat, None where nobody could."""
        task = replica.task
        best: int | None = None
        seat: tuple[Option, tuple[int, ...]] | None = None
        leaving: tuple[int, ...] = ()
        for option, host in self.dice.sample(self._pairs(task, clean=clean), PAIRS):
            found = self._cheapest(task, option.parts[0], host)
            if found is None:
                continue
            cost = found[0] + (option.bulk - task.least_bulk) * WASTE // self.top
            if best is None or cost < best:
                best, leaving = cost, found[1]
                seat = (option, (host,))
        if seat is None:
            for option, hosts in task.wide:
                if clean and option.offload > task.least_offload:
                    break
                wide = self._cheapest_wide(task, option, hosts)
                if wide is not None:
                    seat, leaving = (option, wide[0]), wide[1]
                    break
        if seat is None:
            return self._force_elastic(replica, clean=clean)
        return self._seat(replica, seat[0], seat[1], leaving)

    def _force_elastic(self, replica: Replica, *, clean: bool) -> list[Replica] | None:
        """Empty the roomiest of a few hosts, least penalty first, until a choice that depends on what is free fits."""
        task, state, replicas = replica.task, self.state, self.problem.replicas
        hosts = [host for zone in task.zones if zone.elastic for host in zone.hosts]
        for host in self.dice.sample(hosts, ELASTIC_HOSTS):
            company = [number for number in state.on_host[host] if number not in self.fixed]
            company.sort(key=lambda number: (self.penalty[number], self.bulk[number], number))
            before: list[tuple[Replica, Position]] = []
            for number in company[:MOST_EJECTED]:
                before.append((replicas[number], state.release(replicas[number])))
                position = self.fitter.best(state, replica, clean=clean)
                if position is not None:
                    state.take(replica, position)
                    return [other for other, _ in before]
            for other, old in before:
                state.take(other, old)
        return None

    def _seat(
        self, replica: Replica, option: Option, hosts: tuple[int, ...], leaving: tuple[int, ...]
    ) -> list[Replica] | None:
        """Release who has to leave and take their seats; None, and nothing changed, where a rule forbids it."""
        state = self.state
        ejected = [self.problem.replicas[number] for number in leaving]
        before = [(other, state.release(other)) for other in ejected]
        spots: list[Spot] = []
        for number, (part, host) in enumerate(zip(option.parts, hosts, strict=True)):
            cards = state.cards_for(part, host, replica.task)
            if cards is None or not (state.admits(replica.task, host) or (number > 0 and not replica.task.apart)):
                for other, position in before:
                    state.take(other, position)
                return None
            spots.append((host, cards))
        state.take(replica, Position(option=option, spots=tuple(spots)))
        return ejected

    def _cheapest_wide(
        self, task: ModelTask, option: Option, hosts: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Different hosts of one target for the parts of an option, and who has to leave them."""
        problem = self.problem
        reachable = [host for host in hosts if problem.reachable[host]]
        for target in sorted({problem.hosts[host].target for host in reachable}):
            near = [host for host in reachable if problem.hosts[host].target == target]
            chosen: list[int] = []
            leaving: set[int] = set()
            for part in option.parts:
                ways = [
                    (found[0], host, found[1])
                    for host in self.dice.sample(near, WIDE_HOSTS)
                    if host not in chosen and (found := self._cheapest(task, part, host)) is not None
                ]
                if not ways:
                    break
                _, host, numbers = min(ways)
                chosen.append(host)
                leaving.update(numbers)
            if len(chosen) == len(option.parts):
                return tuple(chosen), tuple(sorted(leaving))
        return None

    def _pairs(self, task: ModelTask, *, clean: bool) -> list[tuple[Option, int]]:
        """Options and hosts on which a model's options of one part fit when the host is empty."""
        found = self.pairs.get((task.index, clean))
        if found is None:
            found = self.pairs[task.index, clean] = [
                (option, host)
                for zone in task.zones
                for option in zone.options
                if not clean or option.offload <= task.least_offload
                for host in zone.hosts
                if self._fits_empty(option.parts[0], host)
            ]
        return found

    def _fits_empty(self, part: Part, host: int) -> bool:
        problem = self.problem
        if problem.memory_capacity[host] < (part.memory_unified if problem.unified[host] else part.memory):
            return False
        sizes = sorted(problem.gpu_capacity[host], reverse=True)
        return len(sizes) >= part.count and all(size >= need for size, need in zip(sizes, part.needs, strict=False))

    def _cheapest(self, task: ModelTask, part: Part, host: int) -> tuple[int, tuple[int, ...]] | None:
        """The replicas with the least penalty whose seats on a host make room for a part; None where nothing does."""
        state, penalty, problem = self.state, self.penalty, self.problem
        crowd = self.crowd(host)
        movable = crowd.sizes
        out: set[int] = set()
        if not task.plain:
            for number in state.on_host[host]:
                other = problem.replicas[number].task
                clash = (task.apart and other is task) or (task.port is not None and other.port == task.port)
                if clash:
                    if number not in movable:
                        return None
                    out.add(number)
        if part.count:
            chosen = self._cheapest_cards(task, part, host, crowd, out)
            if chosen is None:
                return None
            out = chosen
        if not self._free_memory(part, host, movable, out):
            return None
        if len(out) > MOST_EJECTED:
            return None
        cost = sum(penalty[number] * TIE + self.bulk[number] for number in out)
        return cost, tuple(sorted(out))

    def _cheapest_cards(  # noqa: C901, PLR0912 - one way a card, in order
        self,
        task: ModelTask,
        part: Part,
        host: int,
        crowd: Crowd,
        out: set[int],
    ) -> set[int] | None:
        """`out` and who else must leave so that enough cards are free for a part."""
        state, penalty, problem = self.state, self.penalty, self.problem
        holders, loose, stuck = crowd.holders, crowd.loose, crowd.stuck
        free, users = state.free[host], state.users[host]
        wanted = problem.kind_numbers.get(part.kind, -1) if part.kind is not None else None
        allowed = range(len(holders)) if task.pins is None else task.pins.get(host, ())
        need = part.needs[0]
        kinds = problem.kinds[host]
        ways: list[tuple[int, int, int, set[int]]] = []
        for card in allowed:
            if part.indices is not None and card not in part.indices:
                continue
            if problem.gpu_capacity[host][card] < need:
                continue
            if wanted is not None and kinds[card] != wanted:
                continue
            if part.exclusive or users[card] == ALONE:
                if card in stuck:
                    continue
                leaving = {number for number, _ in holders[card]}
            else:
                short = need - free[card]
                entries = loose[card]
                if out:
                    short -= sum([size for number, size in holders[card] if number in out])
                    entries = [entry for entry in entries if entry[0] not in out]
                if short <= 0:
                    ways.append((0, kinds[card], card, set()))
                    continue
                found = self._cover(short, entries)
                if found is None:
                    continue
                leaving = found
            ways.append((sum([penalty[number] for number in leaving if number not in out]), kinds[card], card, leaving))
        if part.same_kind and not problem.one_kind[host] and part.count > 1:
            by_kind: dict[int, list[tuple[int, int, int, set[int]]]] = {}
            for way in ways:
                by_kind.setdefault(way[1], []).append(way)
            enough = [group for group in by_kind.values() if len(group) >= part.count]
            if not enough:
                return None
            ways = min(enough, key=lambda group: sum(sorted(way[0] for way in group)[: part.count]))
        if len(ways) < part.count:
            return None
        ways.sort(key=lambda way: (way[0], way[2]))
        result = set(out)
        if part.count == 1:
            return result | ways[0][3]
        for _ in range(part.count):  # someone who leaves one card leaves the others too: count him once
            best = min(range(len(ways)), key=lambda index: sum(penalty[number] for number in ways[index][3] - result))
            result |= ways.pop(best)[3]
        return result

    def _cover(self, short: int, entries: list[tuple[int, int]]) -> set[int] | None:
        """The holders with the least penalty whose bytes reach `short`."""
        if short <= 0:
            return set()
        penalty = self.penalty
        single = [(penalty[number], size, number) for number, size in entries if size >= short]
        best = min(single, default=None)
        if best is not None and best[0] <= 2:
            return {best[2]}
        total = 0
        chosen: list[tuple[int, int]] = []
        for number, size in sorted(entries, key=lambda entry: (penalty[entry[0]], -entry[1])):
            chosen.append((number, size))
            total += size
            if total >= short:
                break
        else:
            return None
        for entry in sorted(chosen, key=lambda entry: -penalty[entry[0]]):
            if total - entry[1] >= short and len(chosen) > 1:
                chosen.remove(entry)
                total -= entry[1]
        if best is not None and best[0] <= sum(penalty[number] for number, _ in chosen):
            return {best[2]}
        return {number for number, _ in chosen}

    def crowd(self, host: int) -> Crowd:
        """Who is on a host, worked out again only after a change there."""
        version = self.state.version[host]
        known = self.crowds.get(host)
        if known is None or known.version != version:
            known = self.crowds[host] = self._crowd_of(host, version)
        return known

    def _crowd_of(self, host: int, version: int) -> Crowd:
        state, unified = self.state, self.problem.unified[host]
        holders: list[list[tuple[int, int]]] = [[] for _ in state.free[host]]
        stuck: set[int] = set()
        sizes: dict[int, int] = {}
        for number in state.on_host[host]:
            position = state.positions[number]
            assert position is not None
            for own, (where, cards) in zip(position.option.parts, position.spots, strict=True):
                if where != host:
                    continue
                for need, slot in zip(own.needs, own.slots, strict=True):
                    holders[cards[slot]].append((number, need))
                    if number in self.fixed:
                        stuck.add(cards[slot])
                if number not in self.fixed:
                    sizes[number] = own.memory_unified if unified else own.memory
        loose = [[entry for entry in row if entry[0] in sizes] for row in holders]
        return Crowd(version=version, holders=holders, loose=loose, stuck=stuck, sizes=sizes)

    def _free_memory(self, part: Part, host: int, sizes: dict[int, int], out: set[int]) -> bool:
        """Add to `out` until the host's memory suffices too."""
        unified = self.problem.unified[host]
        needed = part.memory_unified if unified else part.memory
        short = needed - self.state.memory[host] - sum([sizes[number] for number in out])
        if short <= 0:
            return True
        found = self._cover(short, [(number, size) for number, size in sizes.items() if number not in out and size > 0])
        if found is None:
            return False
        out |= found
        return True

    # -------------------------------------------------------- shaking

    def _shake(self, *, clean: bool) -> None:
        """Move one random replica to another place, so that the next ejection meets another fleet."""
        number = self.dice.below(len(self.problem.replicas))
        old = self.state.positions[number]
        if number in self.fixed or old is None:
            return
        replica = self.problem.replicas[number]
        pairs = self._pairs(replica.task, clean=clean)
        if not pairs:
            return
        option, host = pairs[self.dice.below(len(pairs))]
        if old.spots[0][0] == host or not self.state.admits(replica.task, host):
            return
        cards = self.state.cards_for(option.parts[0], host, replica.task)
        if cards is not None:
            self.state.release(replica)
            self.state.take(replica, Position(option=option, spots=((host, cards),)))
