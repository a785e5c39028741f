"""Who may lie where on a small fleet, in flat integers: the ways of each replica, on which hosts and cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations
from typing import TypeAlias

from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.options import Option
from gslc.passes.placing.problem import ModelTask, Problem, Replica
from gslc.passes.placing.seats import TAKEN, Cards, Seat, Seats
from gslc.passes.placing.state import ALONE, State

Lodging: TypeAlias = tuple[Seat, ...]  # one for each part
Single: TypeAlias = tuple[int, int, frozenset[int]]  # bytes on one card, bytes of host memory, cards
Build: TypeAlias = tuple[bool, int, int, int]  # leanest way: one shared card, cards, most bytes on one, else in memory
MOST_LODGINGS = 400  # of one replica
Kind: TypeAlias = tuple[int, ...]  # model and the options that a replica is held to: replicas of one kind are alike
FALLBACK = 300  # weight of a replica that finds its place in host memory; one that finds none has 2,000 and more


class Lodgings:
    """The lodgings of replicas over a state in which only the others are placed.

    Behind the cards of each host stands a shelf for replicas without a card: a card of no bytes, so that they can be
    exchanged like the others. Where `held` has options for a replica, it may be laid out in no other way. counted: one
    replica more without a place is worse than any bytes; else, as fits a fleet in which all have a place, the bytes
    count.
    """

    def __init__(
        self,
        problem: Problem,
        state: State,
        fitter: Fitter,
        movable: list[Replica],
        *,
        held: Mapping[int, tuple[Option, ...]] | None = None,
        counted: bool = False,
    ) -> None:
        self.problem = problem
        self.state = state
        self.fitter = fitter
        self.held = held
        self.hosts = len(problem.hosts)
        self.base: list[int] = []  # the first card of each host
        self.host_of: list[int] = []
        self.free: list[int] = []
        self.users: list[int] = []
        self.alike: list[int] = []  # cards of a host with one number can stand for each other
        for host in range(self.hosts):
            self._enter_host(host)
        self.ground = list(self.free)
        self.ground_room = sum([free for free in self.free if free > 0])
        self.cards = [range(base, base + len(state.users[host])) for host, base in enumerate(self.base)]
        self.ground_memory = tuple(state.memory)
        self.ports = None if problem.ports is None else [problem.ports - used for used in state.ports_used]
        self.seats = Seats(problem, state, self.base)
        self.ways = self.seats.ways
        self.kind: dict[int, Kind] = {}
        self._known: dict[Kind, tuple[list[Lodging], list[Option]]] = {}
        self.lodgings: dict[int, list[Lodging]] = {}
        self.options: dict[int, list[Option]] = {}  # of each lodging
        self.excess: dict[int, list[int]] = {}  # bytes on cards above the least, of each lodging
        self.at: dict[int, dict[int, Seat]] = {}  # replica -> host -> its leanest seat there
        self.clash: dict[int, int] = {}  # replica -> model that may have one replica a host
        self.port: dict[int, int] = {}
        self.wants: dict[int, int] = {}  # replica -> ports of the range, where they are few
        for replica in movable:
            self._enter(replica)
        self.ruled = bool(self.clash or self.port or self.ports is not None)
        self.movable = sorted(self.lodgings)
        if self.seats.shelf:
            self.cards = [range(cards.start, cards.stop + 1) for cards in self.cards]
        self.single: dict[int, dict[int, Single]] = {}  # replica -> host -> its seat there, if that is one card
        self.alone: set[int] = set()  # of these, who takes it alone
        self.choosy: set[int] = set()  # who can be laid out in several ways
        self.builds: dict[int, Build] = {}
        self._sets: dict[Cards, frozenset[int]] = {}
        self._drop_wasteful()
        self.scarcity = self._by_kind(self._scarcity_of)
        self.whole_memory = max(1, sum(self.ground_memory))
        self.level: dict[int, int] = {}
        self.weight: dict[int, int] = {}
        self._weigh(counted=counted)

    def _enter_host(self, host: int) -> None:
        problem, state = self.problem, self.state
        users = state.users[host]
        pinned = any(task.pins is not None and host in task.pins for task in problem.tasks)
        self.base.append(len(self.free))
        self.host_of += [host] * (len(users) + 1)
        self.free += [TAKEN if user == ALONE else free for free, user in zip(state.free[host], users, strict=True)]
        self.users += [1 if user else 0 for user in users]
        self.alike += range(len(users)) if pinned else problem.kinds[host]
        self.free.append(0)
        self.users.append(0)
        self.alike.append(-1)

    def _enter(self, replica: Replica) -> None:
        task, number = replica.task, replica.id
        only = self.held.get(number) if self.held is not None else None
        kind = (task.index, *[id(option) for option in only or ()])
        rows = self._known.get(kind)
        if rows is None:
            rows = self._known[kind] = self._rows(replica, only)
        if not rows[0]:
            return
        self.kind[number] = kind
        self.lodgings[number], self.options[number] = rows
        if task.apart:
            self.clash[number] = task.index
        if task.port is not None:
            self.port[number] = task.port
        if self.ports is not None:
            self.wants[number] = self.options[number][0].parts[0].ports - task.port_outside

    def _rows(self, replica: Replica, only: tuple[Option, ...] | None) -> tuple[list[Lodging], list[Option]]:
        """The lodgings of a replica, with their options: those of `only`, else those with the least offload."""
        task, seats = replica.task, self.seats
        lodgings: list[Lodging] = []
        options: list[Option] = []
        for zone in task.zones:
            hosts = zone.hosts if task.plain else [host for host in zone.hosts if self.state.admits(task, host)]
            for option in zone.options:
                if option in only if only is not None else option.offload <= task.least_offload:
                    part = option.parts[0]
                    lodgings += [(seat,) for host in hosts for seat in seats.of(task, part, host)]
                    options += [option] * (len(lodgings) - len(options))
        for option, hosts in task.wide:
            if option in only if only is not None else option.offload <= task.least_offload:
                lodgings += self._wide(task, option, hosts)
                options += [option] * (len(lodgings) - len(options))
        return lodgings[:MOST_LODGINGS], options[:MOST_LODGINGS]

    def _by_kind(self, answer: Callable[[int], int]) -> dict[int, int]:
        """A number for each replica, asked once for replicas that are alike."""
        found: dict[Kind, int] = {}
        for number in self.movable:
            if self.kind[number] not in found:
                found[self.kind[number]] = answer(number)
        return {number: found[self.kind[number]] for number in self.movable}

    def offer(self, replica: Replica, options: tuple[Option, ...]) -> bool:
        """Let a replica without a place be laid out in these ways and in no other; False, and no change: in none."""
        rows = self._rows(replica, options)
        if not rows[0]:
            return False
        number = replica.id
        self.alone.discard(number)
        self.lodgings[number], self.options[number] = rows
        self._sort(number, [self._bulk(lodging) for lodging in rows[0]], most=None)
        return True

    def _wide(self, task: ModelTask, option: Option, hosts: tuple[int, ...]) -> list[Lodging]:
        problem = self.problem
        seats: list[dict[int, Seat]] = []
        for number, part in enumerate(option.parts):
            ways = {
                host: self.seats.of(task, part, host)
                for host in hosts
                if problem.reachable[host] and self.fitter.admits_part(self.state, task, host, number)
            }
            seats.append({host: found[0] for host, found in ways.items() if found})
        fitting = sorted({host for row in seats for host in row})
        found: list[Lodging] = []
        for chosen in permutations(fitting, len(option.parts)):
            if len(found) >= MOST_LODGINGS:
                break
            if len({problem.hosts[host].target for host in chosen}) > 1:
                continue
            if all(host in row for host, row in zip(chosen, seats, strict=True)):
                found.append(tuple([row[host] for host, row in zip(chosen, seats, strict=True)]))
        return found

    def _bulk(self, lodging: Lodging) -> int:
        """Bytes on cards, whole cards where they are taken alone."""
        bulk = self.seats.bulk
        return bulk[lodging[0][1]] if len(lodging) == 1 else sum([bulk[way] for _, way, _ in lodging])

    def _drop_wasteful(self) -> None:
        """Leave out what takes more bytes on cards than the fleet has to spare when everyone takes the least."""
        rows = {kind: [self._bulk(lodging) for lodging in known[0]] for kind, known in self._known.items() if known[0]}
        least = {kind: min(row) for kind, row in rows.items()}
        spare = self.ground_room - sum([least[self.kind[number]] for number in self.movable])
        first: dict[Kind, int] = {}
        for number in self.movable:
            kind = self.kind[number]
            if kind not in first:
                first[kind] = number
                self._sort(number, rows[kind], most=spare if spare >= 0 and self.held is None else None)
            else:
                self._share(first[kind], number)

    def _share(self, twin: int, number: int) -> None:
        """Give a replica the lodgings of another one that is like it."""
        self.lodgings[number], self.options[number] = self.lodgings[twin], self.options[twin]
        self.excess[number], self.at[number] = self.excess[twin], self.at[twin]
        self.single[number], self.builds[number] = self.single[twin], self.builds[twin]
        if twin in self.choosy:
            self.choosy.add(number)
        if twin in self.alone:
            self.alone.add(number)

    def _sort(self, number: int, sizes: list[int], *, most: int | None) -> None:
        """Put the lodgings of a replica with the fewest bytes first, and leave those out that take `most` more."""
        lodgings, options, least = self.lodgings[number], self.options[number], min(sizes)
        rows = sorted([(size - least, index) for index, size in enumerate(sizes)])
        if most is not None:
            rows = [row for row in rows if row[0] <= most]
        self.excess[number] = [size for size, _ in rows]
        self.options[number] = [options[index] for _, index in rows]
        self.lodgings[number] = [lodgings[index] for _, index in rows]
        self.builds[number] = self._build_of(number)
        self.choosy.discard(number)
        if self.options[number][0] is not self.options[number][-1]:
            self.choosy.add(number)
        at = self.at[number] = {}
        for lodging in self.lodgings[number]:
            if len(lodging) == 1:
                at.setdefault(lodging[0][0], lodging[0])
        single = self.single[number] = {}
        for host, (_, way_number, memory) in at.items():
            way = self.ways[way_number]
            if len(way.needs) == 1:
                allowed = self._sets.get(way.allowed)
                if allowed is None:
                    allowed = self._sets[way.allowed] = frozenset(way.allowed)
                single[host] = (way.needs[0], memory, allowed)
                if way.alone:
                    self.alone.add(number)

    def _build_of(self, number: int) -> Build:
        leanest = self.lodgings[number][0]
        shapes = [self.ways[seat[1]] for seat in leanest]
        top = max([max(way.needs) for way in shapes])
        cards = sum([len(way.needs) for way in shapes])
        return (cards == 1 and not shapes[0].alone, cards, top, 0 if top else leanest[0][2])

    def _weigh(self, *, counted: bool) -> None:
        """Weights for who has no place: bytes on cards in thousandths of all; a priority outweighs all below it.

        counted: by number instead; and who has another place, in host memory, weighs what lies there then.
        """
        replicas = self.problem.replicas
        levels = sorted({replicas[number].task.priority for number in self.movable}, reverse=True)
        self.level = {number: levels.index(replicas[number].task.priority) for number in self.movable}
        worth = self._by_kind(lambda number: self._worth(number, counted=counted))
        factor = 1
        for level in range(len(levels) - 1, -1, -1):
            total = 1000
            for number in self.movable:
                if self.level[number] == level:
                    self.weight[number] = factor * worth[number]
                    total += self.weight[number]
            factor = max(factor, total)

    def _worth(self, number: int, *, counted: bool) -> int:
        whole = max(1, self.ground_room)
        lodgings = self.lodgings[number]
        share = self._bulk(lodgings[0]) * 1000 // whole  # the first takes the least
        if share == 0:
            share = lodgings[0][0][2] * 1000 // self.whole_memory
        if not counted:
            return 1 + share
        fallback = self._fallback(number)
        return 2000 + share if fallback is None else FALLBACK + fallback * 1000 // whole

    def _fallback(self, number: int) -> int | None:
        """Bytes in host memory with which a replica that finds no place can do; None: it stays without one."""
        task = self.problem.replicas[number].task
        rows = [option.offload for zone in task.zones for option in zone.options if option.offload > task.least_offload]
        return min(rows) - task.least_offload if rows and self.held is None else None

    def _scarcity_of(self, number: int) -> int:
        """-1 for pinned replicas, 0 for those with one place, 1 for those that half of the hosts may take, else 2."""
        if self.problem.replicas[number].task.pins is not None:
            return -1
        if len(self.lodgings[number]) == 1:
            return 0
        hosts = {seat[0] for lodging in self.lodgings[number] for seat in lodging}
        return 1 if 2 * len(hosts) <= self.hosts else 2
