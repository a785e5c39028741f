"""A small fleet as the search of rebuild.py sees it: who lies on which host, in flat integers."""

from __future__ import annotations

from itertools import permutations
from typing import TypeAlias

from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.onehost import Cards, Packer, Way
from gslc.passes.placing.problem import Option, Part, Problem, Replica
from gslc.passes.placing.state import ALONE, Position, Spot, State

Seat: TypeAlias = tuple[int, int, int, int]  # host, way, bytes of host memory, bytes on cards
Lodging: TypeAlias = tuple[Seat, ...]  # one for each part
MOST_LODGINGS = 400  # of one replica


class Hall:
    """Hosts and the replicas that may move, over a state in which only the others are placed."""

    def __init__(self, problem: Problem, state: State, fitter: Fitter, movable: list[Replica]) -> None:
        self.problem = problem
        self.state = state
        self.fitter = fitter
        self.packer = Packer()
        self.turns = 0
        self.questions = 0
        self.hosts = len(problem.hosts)
        self.memory = list(state.memory)
        self.cards = [self._cards_of(host) for host in range(self.hosts)]
        self.ground = [self.packer.ground(cards) for cards in self.cards]
        self.room = [sum([free for free in cards.free if free > 0]) for cards in self.cards]
        self.blur = max(1, sum(self.room) // 50)
        self.on: list[dict[int, Seat]] = [{} for _ in problem.hosts]
        self.where: dict[int, Lodging] = {}
        self.version = [0] * self.hosts
        self.lodgings: dict[int, list[Lodging]] = {}
        self.options: dict[int, list[Option]] = {}  # of each lodging
        self.excess: dict[int, list[int]] = {}  # bytes on cards above the least, of each lodging
        self.at: dict[int, dict[int, Seat]] = {}  # replica -> host -> its leanest seat there
        self.clash: dict[int, int] = {}  # replica -> model that may have one replica a host
        self.port: dict[int, int] = {}
        for replica in movable:
            self._enter(replica)
        self.movable = sorted(self.lodgings)
        self._drop_wasteful()
        ways = self.packer.ways
        self.small = {  # who shares one card on a host: bytes on it, bytes of host memory, cards
            (number, host): (ways[seat[1]].needs[0], seat[2], ways[seat[1]].allowed)
            for number, seats in self.at.items()
            for host, seat in seats.items()
            if len(ways[seat[1]].needs) == 1 and not ways[seat[1]].alone
        }
        self.scarcity = {number: self._scarcity_of(number) for number in self.movable}
        whole = max(1, sum(self.room))
        self.weight = {
            number: 1 + min([sum([seat[3] for seat in lodging]) for lodging in lodgings]) * 1000 // whole
            for number, lodgings in self.lodgings.items()
        }

    def _cards_of(self, host: int) -> Cards:
        problem, state = self.problem, self.state
        users = state.users[host]
        pinned = any(task.pins is not None and host in task.pins for task in problem.tasks)
        return Cards(
            free=tuple([-1 if user == ALONE else free for free, user in zip(state.free[host], users, strict=True)]),
            fresh=tuple([user == 0 for user in users]),
            alike=tuple(range(len(users))) if pinned else problem.kinds[host],
        )

    # -------------------------------------------------------- who may lie where

    def _enter(self, replica: Replica) -> None:
        task, number = replica.task, replica.id
        rows: list[tuple[Lodging, Option]] = []
        for zone in task.zones:
            for option in zone.options:
                if option.offload <= task.least_offload:
                    for host in zone.hosts:
                        if self.state.admits(task, host):
                            rows += [((seat,), option) for seat in self._seats(replica, option.parts[0], host)]
        for option, hosts in task.wide:
            if option.offload <= task.least_offload:
                rows += [(lodging, option) for lodging in self._wide(replica, option, hosts)]
        if not rows:
            return
        self.lodgings[number] = [row[0] for row in rows[:MOST_LODGINGS]]
        self.options[number] = [row[1] for row in rows[:MOST_LODGINGS]]
        if task.apart:
            self.clash[number] = task.index
        if task.port is not None:
            self.port[number] = task.port

    def _seats(self, replica: Replica, part: Part, host: int) -> list[Seat]:
        """The ways of a part on a host: one for each kind of cards where they must be alike."""
        problem, task = self.problem, replica.task
        cards, kinds = self.cards[host], problem.kinds[host]
        memory = part.memory_unified if problem.unified[host] else part.memory
        if memory > self.memory[host] or part.indices is not None:
            return []
        allowed = tuple(range(len(kinds))) if task.pins is None else task.pins.get(host, ())
        if part.kind is not None:
            wanted = problem.kind_numbers.get(part.kind, -1)
            allowed = tuple(card for card in allowed if kinds[card] == wanted)
        groups = [allowed]
        if part.same_kind and part.count > 1 and not problem.one_kind[host]:
            groups = [tuple(card for card in allowed if kinds[card] == kind) for kind in sorted(set(kinds))]
        found: list[Seat] = []
        for group in groups:
            way = self.packer.way(Way(needs=part.needs, alone=part.exclusive, allowed=group))
            if self.packer.seats(self.ground[host], (way,)) is not None:
                size = sum(part.needs)
                if part.exclusive and part.count:
                    size = sum(
                        sorted([cards.free[card] for card in group if cards.free[card] >= part.needs[-1]])[: part.count]
                    )
                found.append((host, way, memory, size))
        return found

    def _wide(self, replica: Replica, option: Option, hosts: tuple[int, ...]) -> list[Lodging]:
        problem, task = self.problem, replica.task
        reachable = [host for host in hosts if problem.reachable[host]]
        found: list[Lodging] = []
        for chosen in permutations(reachable, len(option.parts)):
            if len(found) >= MOST_LODGINGS:
                break
            if len({problem.hosts[host].target for host in chosen}) > 1:
                continue
            if not all(self.fitter.admits_part(self.state, task, host, part) for part, host in enumerate(chosen)):
                continue
            seats = [self._seats(replica, part, host) for part, host in zip(option.parts, chosen, strict=True)]
            if all(seats):
                found.append(tuple([ways[0] for ways in seats]))
        return found

    def _drop_wasteful(self) -> None:
        """Leave out what takes more bytes on cards than the fleet has to spare when everyone takes the least."""
        least = {
            number: min([sum([seat[3] for seat in lodging]) for lodging in lodgings])
            for number, lodgings in self.lodgings.items()
        }
        spare = sum(self.room) - sum(least.values())
        for number, lodgings in self.lodgings.items():
            sizes = [sum([seat[3] for seat in lodging]) - least[number] for lodging in lodgings]
            rows = [(size, index) for index, size in enumerate(sizes) if spare < 0 or size <= spare]
            rows.sort()
            self.excess[number] = [size for size, _ in rows]
            self.options[number] = [self.options[number][index] for _, index in rows]
            self.lodgings[number] = [lodgings[index] for _, index in rows]
            self.at[number] = {}
            for lodging in self.lodgings[number]:
                if len(lodging) == 1:
                    self.at[number].setdefault(lodging[0][0], lodging[0])

    def _scarcity_of(self, number: int) -> int:
        """0 for pinned replicas and those with one host, 1 for those that half of the hosts may take, else 2."""
        if self.problem.replicas[number].task.pins is not None or len(self.lodgings[number]) == 1:
            return 0
        hosts = {seat[0] for lodging in self.lodgings[number] for seat in lodging}
        return 1 if 2 * len(hosts) <= self.hosts else 2

    # -------------------------------------------------------- questions and changes

    def steps(self) -> int:
        """What the search has cost so far."""
        return 20 * self.turns + self.questions + self.packer.steps

    def missing(self) -> list[int]:
        """Replicas without a place, by number."""
        return [number for number in self.movable if number not in self.where]

    def left(self) -> int:
        """The weight of those without a place."""
        return sum([self.weight[number] for number in self.missing()])

    def seat_at(self, number: int, host: int) -> Seat | None:
        """The leanest seat of a replica on one host, or None."""
        return self.at[number].get(host)

    def fits(self, host: int, leaving: tuple[int, ...], coming: tuple[tuple[int, Seat], ...]) -> bool:
        """True when a host holds all of its replicas but `leaving`, and `coming`."""
        on = self.on[host]
        memory, room = self.memory[host], self.room[host]
        for number in leaving:
            seat = on[number]
            memory += seat[2]
            room += seat[3]
        for _, seat in coming:
            memory -= seat[2]
            room -= seat[3]
        if memory < 0 or room < 0:
            return False
        self.questions += 1
        if self.clashes(host, leaving, coming):
            return False
        ways = (
            [seat[1] for number, seat in on.items() if number not in leaving]
            if leaving
            else [seat[1] for seat in on.values()]
        )
        ways += [seat[1] for _, seat in coming]
        ways.sort()
        return self.packer.seats(self.ground[host], tuple(ways)) is not None

    def clashes(self, host: int, leaving: tuple[int, ...], coming: tuple[tuple[int, Seat], ...]) -> bool:
        """True when replicas that may not share a host or a port would."""
        if not self.clash and not self.port:
            return False
        names = [number for number in self.on[host] if number not in leaving] + [number for number, _ in coming]
        for rule in (self.clash, self.port):
            marks = [rule[number] for number in names if number in rule]
            if len(set(marks)) < len(marks):
                return True
        return False

    def put(self, number: int, lodging: Lodging) -> None:
        """Give a replica its seats."""
        self.where[number] = lodging
        for seat in lodging:
            host = seat[0]
            self.on[host][number] = seat
            self.memory[host] -= seat[2]
            self.room[host] -= seat[3]
            self.version[host] += 1

    def take_out(self, number: int) -> None:
        """Take a replica's seats back."""
        for seat in self.where.pop(number):
            host = seat[0]
            del self.on[host][number]
            self.memory[host] += seat[2]
            self.room[host] += seat[3]
            self.version[host] += 1

    # -------------------------------------------------------- from and to positions

    def seat_all(self, positions: list[Position | None]) -> None:
        """Take over where the replicas lie now, as far as it is among their lodgings."""
        for number in self.movable:
            position = positions[number]
            if position is None:
                continue
            hosts = tuple([host for host, _ in position.spots])
            for lodging, option in zip(self.lodgings[number], self.options[number], strict=True):
                if option is position.option and tuple([seat[0] for seat in lodging]) == hosts:
                    if all(self.fits(seat[0], (), ((number, seat),)) for seat in lodging):
                        self.put(number, lodging)
                    break

    def clear(self) -> None:
        """Take everyone out."""
        for number in list(self.where):
            self.take_out(number)

    def note_cards(self, hosts: list[int], cards: dict[tuple[int, int], tuple[int, ...]]) -> None:
        """Remember as answers the cards on which everyone was placed, by replica and host."""
        for host in hosts:
            rows = sorted((seat[1], number) for number, seat in self.on[host].items())
            question = (self.ground[host], tuple([way for way, _ in rows]))
            self.packer.known[question] = tuple([cards[number, host] for _, number in rows])

    def positions_of(self, where: dict[int, Lodging]) -> dict[int, Position]:
        """Cards for everyone in `where`."""
        spots: dict[int, list[Spot]] = {number: [] for number in where}
        chosen = {
            number: self.options[number][self.lodgings[number].index(lodging)] for number, lodging in where.items()
        }
        cards: dict[tuple[int, int], tuple[int, ...]] = {}
        for host in range(self.hosts):
            rows = sorted((seat[1], number) for number, lodging in where.items() for seat in lodging if seat[0] == host)
            seating = self.packer.seats(self.ground[host], tuple([way for way, _ in rows]))
            while seating is None:  # someone left, and the rest was not asked for, or not within the bound
                rows.pop()
                seating = self.packer.seats(self.ground[host], tuple([way for way, _ in rows]))
            for (_, number), found in zip(rows, seating, strict=True):
                cards[number, host] = found
        where = {
            number: lodging for number, lodging in where.items() if all((number, seat[0]) in cards for seat in lodging)
        }
        for number, lodging in where.items():
            for part, seat in zip(chosen[number].parts, lodging, strict=True):
                spots[number].append((seat[0], _in_device_order(part, cards[number, seat[0]])))
        return {number: Position(option=chosen[number], spots=tuple(spots[number])) for number in sorted(where)}


def _in_device_order(part: Part, cards: tuple[int, ...]) -> tuple[int, ...]:
    """Cards given largest need first, as the engine counts them."""
    if part.uniform:
        return tuple(sorted(cards))
    found = [0] * part.count
    for slot, card in zip(part.slots, cards, strict=True):
        found[slot] = card
    return tuple(found)
