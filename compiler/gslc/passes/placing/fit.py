"""The best seats for one replica on a fleet as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from gslc.ir.placement import Elastic
from gslc.passes.placing.cards import fit_alike
from gslc.passes.placing.freehost import free_host, least_on_cards, room_on
from gslc.passes.placing.options import Fit, Key, Option, Part
from gslc.passes.placing.pools import Pool, Room
from gslc.passes.placing.problem import ModelTask, Problem, Replica
from gslc.passes.placing.state import Position, Spot, State

Style: TypeAlias = int
BINPACK = 0  # no new card where one in use will do, then the tightest
TIGHTEST = 1  # the tightest card, in use or not
FIRST = 2  # the first host by name
CARDS = 3  # a Fit has its key by style first, then its cards
UNKNOWN: Fit = ((), (), (), ())  # stands for a condition that no model has asked for yet
SCAN = 48  # conditions of a pool that are all looked at; above, sorted lists lead to the tightest
LOOK = 64  # entries of a sorted list that are looked at for the best, before the first that fits is taken
ENOUGH = 12  # of these, fitting ones that are compared
SPAN_LEADERS = 2  # leaders tried for a replica over several hosts
SPAN_TRIES = 6  # sets of hosts tried: an estimate over several hosts takes 10 to 20 ms
ROOMIEST = 3  # hosts on which an elastic choice is tried before it is said to fit nowhere
TIGHTEST_TRIED = 2  # hosts with less room that are tried when it fits the roomiest
SPAN_HOSTS = 9  # a leader and 8 followers, as many RPC servers as GPUStack tries (its DEFAULT_MAX_RPC_SERVER_COUNT)
WIDE_BRANCHES = 6  # hosts tried for one part before the part before it is moved


class Fitter:
    """Finds positions. Elastic answers are remembered: a fit is pure, and equal hosts get equal answers."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.remembered: dict[object, tuple[Elastic, Option | None]] = {}  # the elastic keeps its identity alive
        self.fits_left: int | None = None  # elastic fits that a search may still pay for; None: as many as it wants
        self.steps = 0

    def best(
        self, state: State, replica: Replica, *, clean: bool = False, lean: bool = False, style: Style = BINPACK
    ) -> Position | None:
        """The best position by offloaded bytes, rank, and what `style` weighs; None where nothing fits.

        clean: only with the least offload that the model can have. lean: by bytes on cards in place of the rank.
        """
        task = replica.task
        most_offload = task.least_offload if clean else None
        best: Position | None = None
        best_key: Key | None = None
        by_host = task.spread or task.pins is not None
        for zone in task.zones:
            room = None if by_host else self._room_of(state, zone.hosts)
            for option in zone.lean if lean else zone.options:
                level = option.bulk if lean else option.rank
                if most_offload is not None and option.offload > most_offload:
                    break
                if best_key is not None and (option.offload, level) > best_key[:2]:
                    break
                part = option.single
                assert part is not None  # zones hold options of one part
                if room is not None and (
                    part.memory > room[2] or (part.count and part.needs[0] > room[part.exclusive])
                ):
                    continue
                found = self.best_spot(state, task, part, zone.hosts, style)
                if found is not None:
                    key = (option.offload, level, *found[0])
                    if best_key is None or key < best_key:
                        best, best_key = Position(option=option, spots=(found[1],)), key
        for option, hosts in task.wide:
            if most_offload is not None and option.offload > most_offload:
                break
            if best_key is not None and (option.offload, option.bulk if lean else option.rank) >= best_key[:2]:
                break
            spots = self.wide_spots(state, task, option, hosts)
            if spots is not None:
                best, best_key = Position(option=option, spots=spots), (option.offload, option.rank)
        return self._elastic(state, task, best, best_key, most_offload)

    def _room_of(self, state: State, hosts: tuple[int, ...]) -> Room | None:
        """The most that any of these hosts has, where they are so few conditions that all would be looked at."""
        pool = state.pool(hosts)
        if len(pool.buckets) > SCAN:
            return None
        return pool.room or state.room_of(pool)

    def best_spot(
        self, state: State, task: ModelTask, part: Part, hosts: tuple[int, ...], style: Style
    ) -> tuple[Key, Spot] | None:
        """The spot for a part on one of `hosts` that `style` likes best, and its score."""
        if task.spread or task.pins is not None:
            return self._best_by_host(state, task, part, hosts, style)
        pool = state.pool(hosts)
        buckets = pool.buckets
        if len(buckets) <= SCAN:
            if not task.plain:
                return self._best_among(state, task, part, pool, buckets, style, len(buckets))
            asked = (id(part), style)
            if asked not in pool.spots:
                pool.spots[asked] = self._best_among(state, task, part, pool, buckets, style, len(buckets))
            return pool.spots[asked]
        needed = part.memory if part.count == 0 else part.needs[-1]
        for way in part.ways:
            entries, first = state.at_least(pool, way, needed)
            numbers = [number for _, number in entries[first : first + LOOK]]
            found = self._best_among(state, task, part, pool, numbers, style, ENOUGH)
            if found is not None:
                return found
            rest = [number for _, number in entries[first + LOOK :]]
            found = self._best_among(state, task, part, pool, rest, style, 1)
            if found is not None:
                return found
        return None

    def _best_among(
        self,
        state: State,
        task: ModelTask,
        part: Part,
        pool: Pool,
        conditions: Iterable[int],
        style: Style,
        enough: int,
    ) -> tuple[Key, Spot] | None:
        """The best spot in the given conditions, after looking at `enough` that fit."""
        fits, buckets, plain = part.fits, pool.buckets, task.plain
        best: Fit | None = None
        best_host = -1
        for number in conditions:
            fit = fits.get(number, UNKNOWN)
            if fit is UNKNOWN:
                self.steps += 1
                fit = fits[number] = self._fit(state, task, part, buckets[number][0])
            if fit is None:
                continue
            if plain:
                host = buckets[number][0]
            else:
                admitted = next((other for other in buckets[number] if state.admits(task, other)), None)
                if admitted is None:
                    continue
                host = admitted
            if best is None or fit[style] < best[style] or (fit[style] == best[style] and host < best_host):
                best, best_host = fit, host
            enough -= 1
            if not enough:
                break
        return ((*best[style], best_host), (best_host, best[CARDS])) if best is not None else None

    def _fit(self, state: State, task: ModelTask, part: Part, host: int) -> Fit | None:
        single = part.count == 1 and not self.problem.links[host]
        if task.pins is None and part.alike and (single or self.problem.alike[host]):
            memory = state.memory[host]
            if memory < (part.memory_unified if self.problem.unified[host] else part.memory):
                return None
            return fit_alike(part, memory, state.sorted_cards(state.condition[host]))
        cards = state.cards_for(part, host, task)
        if cards is None:
            return None
        free, users = state.free[host], state.users[host]
        new, left = 0, 0
        for card in cards:
            left += free[card]
            if users[card] == 0:
                new += 1
        if not part.exclusive:
            left -= part.bulk
        crosses = int(state.crosses(part, (host, cards))) if self.problem.linked else 0
        rest = (state.untouched[host], state.memory[host] - part.memory, crosses)
        return ((new, left, *rest), (left, new, *rest), (), cards)

    def _best_by_host(
        self, state: State, task: ModelTask, part: Part, hosts: tuple[int, ...], style: Style
    ) -> tuple[Key, Spot] | None:
        """As best_spot, host by host: for pins, and for spread, where the company on a host counts."""
        best: tuple[Key, Spot] | None = None
        for host in hosts:
            if not state.admits(task, host):
                continue
            if task.pins is None:
                number = state.condition[host]
                if number not in part.fits:
                    self.steps += 1
                    part.fits[number] = self._fit(state, task, part, host)
                fit = part.fits[number]
            else:
                self.steps += 1
                fit = self._fit(state, task, part, host)
            if fit is None:
                continue
            new, left, untouched, memory_left, crosses = fit[BINPACK]
            if task.spread:
                crowd = state.of_model.get((task.index, host), 0)
                score: Key = (crowd, len(state.on_host[host]), -new, -memory_left, crosses, host)
            elif style == BINPACK:
                score = (new, left, untouched, memory_left, crosses, host)
            else:
                score = (left, new, crosses, host)
            if best is None or score < best[0]:
                best = (score, (host, fit[CARDS]))
        return best

    def key(self, state: State, task: ModelTask, option: Option, part: Part, host: int, cards: tuple[int, ...]) -> Key:
        """What one spot costs: offloaded bytes, rank, then the crowd (spread) or new cards and leftovers (binpack)."""
        memory_left = state.memory[host] - part.memory
        if task.spread:
            crowd = state.of_model.get((task.index, host), 0)
            crosses = int(state.crosses(part, (host, cards))) if self.problem.linked else 0
            return (option.offload, option.rank, crowd, len(state.on_host[host]), -memory_left, crosses, host)
        if not cards:
            return (option.offload, option.rank, 0, state.untouched[host], memory_left, host)
        free, users = state.free[host], state.users[host]
        new, left = 0, 0
        for card in cards:
            left += free[card]
            if users[card] == 0:
                new += 1
        if not part.exclusive:
            left -= part.bulk
        crosses = int(state.crosses(part, (host, cards))) if self.problem.linked else 0
        return (option.offload, option.rank, new, left, state.untouched[host], memory_left, crosses, host)

    # -------------------------------------------------------- several hosts

    def wide_spots(
        self, state: State, task: ModelTask, option: Option, hosts: Iterable[int]
    ) -> tuple[Spot, ...] | None:
        """Different hosts of one target, all with addresses, for the parts of an option; None where there are none."""
        by_target: dict[str, list[int]] = {}
        for host in hosts:
            if self.problem.reachable[host]:
                by_target.setdefault(self.problem.hosts[host].target, []).append(host)
        order = sorted(
            range(len(option.parts)),
            key=lambda number: (-sum(option.parts[number].needs), -option.parts[number].memory, number),
        )
        parts = list(dict.fromkeys(option.parts[number] for number in reversed(order)))  # the smallest needs first
        for target in sorted(by_target):
            self.steps += len(by_target[target])
            near = [
                host
                for host in by_target[target]
                if any(state.cards_for(part, host, task) is not None for part in parts)
            ]
            if len(near) < len(order):
                continue  # without this every set of too few hosts would be tried
            found = self._wide_search(state, task, option, near, order, {})
            if found is not None:
                return tuple(found[number] for number in range(len(option.parts)))
        return None

    def _wide_search(
        self, state: State, task: ModelTask, option: Option, hosts: list[int], order: list[int], taken: dict[int, Spot]
    ) -> dict[int, Spot] | None:
        if len(taken) == len(order):
            return taken
        number = order[len(taken)]
        part = option.parts[number]
        busy = {host for host, _ in taken.values()}
        ways: list[tuple[Key, Spot]] = []
        for host in hosts:
            if host in busy or not self.admits_part(state, task, host, number):
                continue
            self.steps += 1
            cards = state.cards_for(part, host, task)
            if cards is not None:
                ways.append((self.key(state, task, option, part, host, cards), (host, cards)))
        ways.sort()
        for _, spot in ways[:WIDE_BRANCHES]:
            found = self._wide_search(state, task, option, hosts, order, {**taken, number: spot})
            if found is not None:
                return found
        return None

    def admits_part(self, state: State, task: ModelTask, host: int, number: int) -> bool:
        """A fixed port is the leader's; followers take theirs from the range."""
        if state.admits(task, host):
            return True
        return number > 0 and task.port is not None and not (task.apart and state.of_model.get((task.index, host), 0))

    # -------------------------------------------------------- elastic choices

    def _elastic(
        self, state: State, task: ModelTask, best: Position | None, best_key: Key | None, most_offload: int | None
    ) -> Position | None:
        """The better of `best` and what the elastic choices find, tried by rank."""
        for rank in task.elastic_ranks:
            if best_key is not None and best_key[0] == 0 and best_key[1] <= rank:
                break
            for way in self._ways_of_rank(state, task, rank):
                if most_offload is not None and way.option.offload > most_offload:
                    continue
                host, cards = way.spots[0]
                key = self.key(state, task, way.option, way.option.parts[0], host, cards)
                if best_key is None or key < best_key:
                    best, best_key = way, key
        return best

    def _ways_of_rank(self, state: State, task: ModelTask, rank: int) -> list[Position]:
        """Positions of the elastic choices of one rank: on the roomiest host, then on the tightest that may do too."""
        rooms: list[tuple[int, int, Elastic]] = []
        found: list[Position] = []
        spanning: dict[int, Elastic] = {}
        for number, zone in enumerate(task.zones):
            for elastic in zone.elastic:
                if elastic.rank != rank:
                    continue
                if elastic.spans_hosts:
                    spanning[number] = elastic
                    continue
                for bucket in state.pool(zone.hosts).buckets.values():
                    host = next((one for one in bucket if state.admits(task, one)), None)
                    if host is not None and zone.host_class.gpu_kinds:
                        rooms.append((room_on(state, task, host), host, elastic))
        way = self.spanning(state, task, spanning) if spanning else None
        found.extend([way] if way is not None else [])
        rooms.sort(key=lambda room: (-room[0], room[1]))
        for index, (_, host, elastic) in enumerate(rooms[:ROOMIEST]):
            way = self.stretched(state, task, elastic, host)
            if way is None:
                continue
            found.append(way)
            needed = sum(sum(part.needs) for part in way.option.parts)
            if way.option.offload == 0:
                tighter = [room for room in rooms[index + 1 :] if room[0] >= needed]
                for _, other, stretch in tighter[: -TIGHTEST_TRIED - 1 : -1]:
                    way = self.stretched(state, task, stretch, other)
                    found.extend([way] if way is not None else [])
                break
        return found

    def stretched(self, state: State, task: ModelTask, elastic: Elastic, host: int) -> Position | None:
        """The position of an elastic choice on one host, or None."""
        return self.span(state, task, elastic, (host,)) if state.admits(task, host) else None

    def spanning(self, state: State, task: ModelTask, elastics: Mapping[int, Elastic]) -> Position | None:
        """The position of an elastic choice over several hosts: the largest leaders, the fewest followers first.

        `elastics` has the choice for leaders of each zone, by the zone's number.
        """
        room = [
            (room_on(state, task, host), host)
            for other in task.zones
            for host in other.hosts
            if self.problem.reachable[host] and self.admits_part(state, task, host, 1)
        ]
        room = [entry for entry in room if entry[0] > 0]
        room.sort(key=lambda entry: (-entry[0], entry[1]))
        least = least_on_cards(task)
        numbers = task.zone_number
        leaders = [entry for entry in room if numbers[entry[1]] in elastics and state.admits(task, entry[1])]
        tries = 0
        for size in range(2, min(SPAN_HOSTS, len(room)) + 1):
            for own, leader in leaders[:SPAN_LEADERS]:
                target = self.problem.hosts[leader].target
                near = [entry for entry in room if entry[1] != leader and self.problem.hosts[entry[1]].target == target]
                followers = near[: size - 1]
                if len(followers) < size - 1 or own + sum(entry[0] for entry in followers) < least:
                    continue
                tries += 1
                found = self.span(state, task, elastics[numbers[leader]], (leader, *(host for _, host in followers)))
                if found is not None:
                    return found
                if tries == SPAN_TRIES:
                    return None
        return None

    def span(self, state: State, task: ModelTask, elastic: Elastic, hosts: tuple[int, ...]) -> Position | None:
        """The position of an elastic choice on these hosts, leader first, or None."""
        allowed = None if task.pins is None else tuple(task.pins.get(host, ()) for host in hosts)
        classes = tuple(task.zone_number[host] for host in hosts)
        signature = (id(elastic), tuple(state.condition[host] for host in hosts), classes, allowed)
        known = self.remembered.get(signature)
        if known is None:
            if self.fits_left is not None:
                if self.fits_left == 0:
                    return None
                self.fits_left -= 1
            self.steps += len(hosts)
            choice = elastic.fit(tuple(free_host(self.problem, state, task, host) for host in hosts))
            option = self.problem.maker.option(choice) if choice is not None else None
            known = self.remembered[signature] = (elastic, option)
        option = known[1]
        if option is None or len(option.parts) > len(hosts):
            return None
        spots: list[Spot] = []
        for part, host in zip(option.parts, hosts, strict=False):
            cards = state.cards_for(part, host, task)
            if cards is None:
                return None
            spots.append((host, cards))
        return Position(option=option, spots=tuple(spots))
