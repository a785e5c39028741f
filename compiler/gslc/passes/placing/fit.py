"""The best seats for one replica on a fleet as it is now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from gslc.ir.placement import Elastic, FreeGpu, FreeHost
from gslc.passes.placing.problem import ModelTask, Option, Part, Problem, Replica, Zone
from gslc.passes.placing.state import ALONE, Position, Spot, State

Key: TypeAlias = tuple[int, ...]  # lower is better, compared left to right
SPAN_LEADERS = 4  # leaders tried for a replica over several hosts; more only repeat what the largest four showed
SPAN_HOSTS = 9  # a leader and 8 followers, as many RPC servers as GPUStack tries (its DEFAULT_MAX_RPC_SERVER_COUNT)
WIDE_BRANCHES = 6  # hosts tried for one part before the part before it is moved


class Fitter:
    """Finds positions. Elastic answers are remembered: a fit is pure, and equal hosts get equal answers."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.remembered: dict[object, Option | None] = {}
        self.steps = 0

    def best(self, state: State, replica: Replica, most_offload: int | None = None) -> Position | None:
        """The best position by offloaded bytes, rank, new cards, waste, and name; None where nothing fits."""
        task = replica.task
        best: Position | None = None
        best_key: Key | None = None
        for zone in task.zones:
            for option in zone.options:
                if most_offload is not None and option.offload > most_offload:
                    break
                if best_key is not None and (option.offload, option.rank) > best_key[:2]:
                    break
                part = option.single
                assert part is not None  # zones hold options of one part
                for host in zone.hosts:
                    if not state.admits(task, host):
                        continue
                    self.steps += 1
                    cards = state.cards_for(part, host, task)
                    if cards is None:
                        continue
                    key = self.key(state, task, option, part, host, cards)
                    if best_key is None or key < best_key:
                        best, best_key = Position(option=option, spots=((host, cards),)), key
        for option, hosts in task.wide:
            if most_offload is not None and option.offload > most_offload:
                break
            if best_key is not None and (option.offload, option.rank) >= best_key[:2]:
                break
            spots = self.wide_spots(state, task, option, hosts)
            if spots is not None:
                best, best_key = Position(option=option, spots=spots), (option.offload, option.rank)
        return self._elastic(state, task, best, best_key, most_offload)

    def key(self, state: State, task: ModelTask, option: Option, part: Part, host: int, cards: tuple[int, ...]) -> Key:
        """What one spot costs: offloaded bytes, rank, then the crowd (spread) or new cards and leftovers (binpack)."""
        memory_left = state.memory[host] - part.memory
        if task.spread:
            crowd = state.of_model.get((task.index, host), 0)
            return (option.offload, option.rank, crowd, len(state.on_host[host]), -memory_left, host)
        if not cards:
            return (option.offload, option.rank, 0, state.untouched[host], memory_left, host)
        free, users = state.free[host], state.users[host]
        new, left = 0, 0
        for card in cards:
            left += free[card]
            if users[card] == 0:
                new += 1
        if not part.exclusive:
            left -= sum(part.needs)
        return (option.offload, option.rank, new, left, state.untouched[host], memory_left, host)

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
        for target in sorted(by_target):
            found = self._wide_search(state, task, option, by_target[target], order, {})
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
            if host in busy or not self._wide_admits(state, task, host, number):
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

    def _wide_admits(self, state: State, task: ModelTask, host: int, number: int) -> bool:
        """A fixed port is the leader's; followers take theirs from the range."""
        if state.admits(task, host):
            return True
        return number > 0 and task.port is not None and not (task.apart and state.of_model.get((task.index, host), 0))

    # -------------------------------------------------------- elastic choices

    def _elastic(
        self, state: State, task: ModelTask, best: Position | None, best_key: Key | None, most_offload: int | None
    ) -> Position | None:
        for zone in task.zones:
            for elastic in zone.elastic:
                if best_key is not None and best_key[0] == 0 and best_key[1] <= elastic.rank:
                    continue
                if elastic.spans_hosts:
                    found = self.spanning(state, task, zone, elastic)
                    ways = [found] if found is not None else []
                else:
                    ways = [way for host in zone.hosts if (way := self.stretched(state, task, elastic, host))]
                for way in ways:
                    host, cards = way.spots[0]
                    if most_offload is not None and way.option.offload > most_offload:
                        continue
                    key = self.key(state, task, way.option, way.option.parts[0], host, cards)
                    if best_key is None or key < best_key:
                        best, best_key = way, key
        return best

    def free_host(self, state: State, task: ModelTask, host: int) -> FreeHost:
        """A host as an elastic choice may see it: the model's pins and other models' exclusive cards left out."""
        source = self.problem.hosts[host]
        alone = task.candidates.request.model.exclusive_gpus
        users, free = state.users[host], state.free[host]
        allowed = range(len(free)) if task.pins is None else task.pins.get(host, ())
        zone = task.zone_at(host)
        assert zone is not None  # only eligible hosts are asked
        return FreeHost(
            name=source.name,
            host_class=zone.host_class,
            gpus=tuple(
                FreeGpu(index=card, kind=source.gpus[card].kind, free_bytes=free[card])
                for card in sorted(allowed)
                if card < len(free) and users[card] != ALONE and not (alone and users[card])
            ),
            memory_free=state.memory[host],
        )

    def stretched(self, state: State, task: ModelTask, elastic: Elastic, host: int) -> Position | None:
        """The position of an elastic choice on one host, or None."""
        if not state.admits(task, host):
            return None
        zone = task.zone_at(host)
        assert zone is not None
        self.steps += 1
        allowed = None if task.pins is None else task.pins.get(host, ())
        usable = tuple(min(count, 1) for count in state.users[host])
        signature = (id(elastic), zone.class_index, state.memory[host], tuple(state.free[host]), usable, allowed)
        if signature not in self.remembered:
            choice = elastic.fit((self.free_host(state, task, host),))
            self.remembered[signature] = self.problem.maker.option(choice) if choice is not None else None
        option = self.remembered[signature]
        if option is None:
            return None
        cards = state.cards_for(option.parts[0], host, task)
        return Position(option=option, spots=((host, cards),)) if cards is not None else None

    def spanning(self, state: State, task: ModelTask, zone: Zone, elastic: Elastic) -> Position | None:
        """The position of an elastic choice over several hosts: the largest leaders, the fewest followers first."""
        room = [
            (self._room(state, task, host), host)
            for other in task.zones
            for host in other.hosts
            if self.problem.reachable[host] and self._wide_admits(state, task, host, 1)
        ]
        room.sort(key=lambda entry: (-entry[0], entry[1]))
        mine = set(zone.hosts)
        leaders = [host for _, host in room if host in mine and state.admits(task, host)][:SPAN_LEADERS]
        for size in range(2, min(SPAN_HOSTS, len(room)) + 1):
            for leader in leaders:
                target = self.problem.hosts[leader].target
                others = [host for _, host in room if host != leader and self.problem.hosts[host].target == target]
                if len(others) < size - 1:
                    continue
                found = self.span(state, task, elastic, (leader, *others[: size - 1]))
                if found is not None:
                    return found
        return None

    def span(self, state: State, task: ModelTask, elastic: Elastic, hosts: tuple[int, ...]) -> Position | None:
        """The position of an elastic choice on these hosts, leader first, or None."""
        self.steps += len(hosts)
        choice = elastic.fit(tuple(self.free_host(state, task, host) for host in hosts))
        if choice is None or len(choice.parts) > len(hosts):
            return None
        option = self.problem.maker.option(choice)
        spots: list[Spot] = []
        for part, host in zip(option.parts, hosts, strict=False):
            cards = state.cards_for(part, host, task)
            if cards is None:
                return None
            spots.append((host, cards))
        return Position(option=option, spots=tuple(spots))

    def _room(self, state: State, task: ModelTask, host: int) -> int:
        users, free = state.users[host], state.free[host]
        allowed = range(len(free)) if task.pins is None else task.pins.get(host, ())
        return sum(free[card] for card in allowed if card < len(free) and users[card] != ALONE)
