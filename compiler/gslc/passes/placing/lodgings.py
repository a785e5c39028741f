"""Who may lie where on a small fleet, in flat integers: the ways of each replica, on which hosts and cards."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import TypeAlias

from gslc.ir.record import dataclass
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.problem import ModelTask, Option, Part, Problem, Replica
from gslc.passes.placing.state import ALONE, State

Seat: TypeAlias = tuple[int, int, int]  # host, way, bytes of host memory
Lodging: TypeAlias = tuple[Seat, ...]  # one for each part
Cards: TypeAlias = tuple[int, ...]  # of the whole fleet, as `host_of` counts them; the largest need first
Single: TypeAlias = tuple[int, int, frozenset[int]]  # bytes on one card, bytes of host memory, cards
MOST_LODGINGS = 400  # of one replica
FALLBACK = 300  # weight of a replica that finds its place in host memory; one that finds none has 2,000 and more
TAKEN = -1  # bytes free on a card that one replica has alone, or that is shut


@dataclass(frozen=True, slots=True)
class Way:
    """Bytes on each of some cards, the largest first, which must be among `allowed`."""

    needs: tuple[int, ...]
    alone: bool
    allowed: Cards


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
        self.ground_users = tuple(self.users)
        self.ground_room = sum([free for free in self.free if free > 0])
        self.cards = [range(base, base + len(state.users[host])) for host, base in enumerate(self.base)]
        self.ground_memory = tuple(state.memory)
        self.ports = None if problem.ports is None else [problem.ports - used for used in state.ports_used]
        self.ways: list[Way] = []
        self._numbers: dict[Way, int] = {}
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
        if any(way.needs == (0,) for way in self.ways):
            self.cards = [range(cards.start, cards.stop + 1) for cards in self.cards]
        self._drop_wasteful()
        self.single: dict[tuple[int, int], Single] = {}  # who takes one card on a host
        self.alone: set[int] = set()  # of these, who takes it alone
        for number in self.movable:
            self._find_single(number)
        self.scarcity = {number: self._scarcity_of(number) for number in self.movable}
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
        rows = self._rows(replica, only)
        if not rows:
            return
        self.lodgings[number] = [row[0] for row in rows]
        self.options[number] = [row[1] for row in rows]
        if task.apart:
            self.clash[number] = task.index
        if task.port is not None:
            self.port[number] = task.port
        if self.ports is not None:
            self.wants[number] = self.options[number][0].parts[0].ports - task.port_outside

    def _rows(self, replica: Replica, only: tuple[Option, ...] | None) -> list[tuple[Lodging, Option]]:
        """The lodgings of a replica, with their options: those of `only`, else those with the least offload."""
        task = replica.task
        rows: list[tuple[Lodging, Option]] = []
        for zone in task.zones:
            for option in zone.options:
                if option in only if only is not None else option.offload <= task.least_offload:
                    for host in zone.hosts:
                        if self.state.admits(task, host):
                            rows += [((seat,), option) for seat in self._seats(task, option.parts[0], host)]
        for option, hosts in task.wide:
            if option in only if only is not None else option.offload <= task.least_offload:
                rows += [(lodging, option) for lodging in self._wide(task, option, hosts)]
        return rows[:MOST_LODGINGS]

    def offer(self, replica: Replica, options: tuple[Option, ...]) -> bool:
        """Let a replica without a place be laid out in these ways and in no other; False, and no change: in none."""
        rows = self._rows(replica, options)
        if not rows:
            return False
        number = replica.id
        for host in self.at[number]:
            self.single.pop((number, host), None)
        self.alone.discard(number)
        self.lodgings[number] = [row[0] for row in rows]
        self.options[number] = [row[1] for row in rows]
        self._sort(number, [self._bulk(lodging) for lodging in self.lodgings[number]], most=None)
        self._find_single(number)
        return True

    def _seats(self, task: ModelTask, part: Part, host: int) -> list[Seat]:
        """The ways of a part on a host: one for each kind of cards where they must be alike."""
        problem = self.problem
        kinds, base = problem.kinds[host], self.base[host]
        shelf = Way(needs=(0,), alone=False, allowed=(base + len(kinds),))
        memory = part.memory_unified if problem.unified[host] else part.memory
        if memory > self.ground_memory[host] or part.indices is not None:
            return []
        if part.count == 0:
            return [(host, self._number_of(shelf), memory)]
        allowed = tuple(range(len(kinds))) if task.pins is None else task.pins.get(host, ())
        if part.kind is not None:
            wanted = problem.kind_numbers.get(part.kind, -1)
            allowed = tuple(card for card in allowed if kinds[card] == wanted)
        groups = [allowed]
        if part.same_kind and part.count > 1 and not problem.one_kind[host]:
            groups = [tuple(card for card in allowed if kinds[card] == kind) for kind in sorted(set(kinds))]
        found: list[Seat] = []
        for group in groups:
            way = Way(needs=part.needs, alone=part.exclusive, allowed=tuple([base + card for card in group]))
            if self._fits_ground(way):
                found.append((host, self._number_of(way), memory))
        return found

    def _number_of(self, way: Way) -> int:
        if way not in self._numbers:
            self._numbers[way] = len(self.ways)
            self.ways.append(way)
        return self._numbers[way]

    def _fits_ground(self, way: Way) -> bool:
        usable = sorted([self.ground[card] for card in way.allowed if not (way.alone and self.ground_users[card])])
        tight = usable[len(usable) - len(way.needs) :][::-1] if len(usable) >= len(way.needs) else []
        return len(tight) == len(way.needs) and all(free >= need for free, need in zip(tight, way.needs, strict=True))

    def _wide(self, task: ModelTask, option: Option, hosts: tuple[int, ...]) -> list[Lodging]:
        problem = self.problem
        seats: list[dict[int, Seat]] = []
        for number, part in enumerate(option.parts):
            ways = {
                host: self._seats(task, part, host)
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
        total = 0
        for _, number, _ in lodging:
            way = self.ways[number]
            if way.alone and way.needs:
                fitting = sorted([self.ground[card] for card in way.allowed if self.ground[card] >= way.needs[-1]])
                total += sum(fitting[: len(way.needs)])
            else:
                total += sum(way.needs)
        return total

    def _drop_wasteful(self) -> None:
        """Leave out what takes more bytes on cards than the fleet has to spare when everyone takes the least."""
        sizes = {number: [self._bulk(lodging) for lodging in rows] for number, rows in self.lodgings.items()}
        spare = self.ground_room - sum([min(row) for row in sizes.values()])
        for number, row in sizes.items():
            self._sort(number, row, most=spare if spare >= 0 and self.held is None else None)

    def _sort(self, number: int, sizes: list[int], *, most: int | None) -> None:
        """Put the lodgings of a replica with the fewest bytes first, and leave those out that take `most` more."""
        lodgings, options, least = self.lodgings[number], self.options[number], min(sizes)
        rows = sorted([(size - least, index) for index, size in enumerate(sizes)])
        if most is not None:
            rows = [row for row in rows if row[0] <= most]
        self.excess[number] = [size for size, _ in rows]
        self.options[number] = [options[index] for _, index in rows]
        self.lodgings[number] = [lodgings[index] for _, index in rows]
        self.at[number] = {}
        for lodging in self.lodgings[number]:
            if len(lodging) == 1:
                self.at[number].setdefault(lodging[0][0], lodging[0])

    def _find_single(self, number: int) -> None:
        for host, (_, way_number, memory) in self.at[number].items():
            way = self.ways[way_number]
            if len(way.needs) == 1:
                self.single[number, host] = (way.needs[0], memory, frozenset(way.allowed))
                if way.alone:
                    self.alone.add(number)

    def _weigh(self, *, counted: bool) -> None:
        """Weights for who has no place: bytes on cards in thousandths of all; a priority outweighs all below it.

        counted: by number instead; and who has another place, in host memory, weighs what lies there then.
        """
        whole = max(1, self.ground_room)
        replicas = self.problem.replicas
        levels = sorted({replicas[number].task.priority for number in self.movable}, reverse=True)
        self.level = {number: levels.index(replicas[number].task.priority) for number in self.movable}
        factor = 1
        for level in range(len(levels) - 1, -1, -1):
            total = 1000
            for number in self.movable:
                if self.level[number] == level:
                    weight = self._weight(number, whole, factor, counted=counted)
                    self.weight[number] = weight
                    total += weight
            factor = max(factor, total)

    def _weight(self, number: int, whole: int, factor: int, *, counted: bool) -> int:
        lodgings = self.lodgings[number]
        share = min([self._bulk(lodging) for lodging in lodgings]) * 1000 // whole
        if share == 0:
            share = lodgings[0][0][2] * 1000 // self.whole_memory
        if not counted:
            return factor * (1 + share)
        fallback = self._fallback(number)
        return factor * (2000 + share if fallback is None else FALLBACK + fallback * 1000 // whole)

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
