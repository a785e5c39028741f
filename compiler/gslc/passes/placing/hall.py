"""A small fleet as the search of rebuild.py sees it: who lies on which cards, in flat integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.lodgings import Lodging, Lodgings
from gslc.passes.placing.options import Option, Part
from gslc.passes.placing.problem import Problem, Replica
from gslc.passes.placing.seats import TAKEN, Cards, Seat
from gslc.passes.placing.state import Position, Spot, State

Snapshot: TypeAlias = tuple[dict[int, Lodging], dict[int, tuple[Cards, ...]]]
FEW_HOSTS = 4  # lodgings are looked up by host where a search fills at most one host in so many


class Hall(Lodgings):
    """Cards and the replicas that may move. Host memory may be overdrawn on the way (`over`); a card never is."""

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
        super().__init__(problem, state, fitter, movable, held=held, counted=counted)
        self.memory = list(state.memory)
        self.room = [sum([self.free[card] for card in cards if self.free[card] > 0]) for cards in self.cards]
        self.on: list[dict[int, Seat]] = [{} for _ in problem.hosts]
        self.lone: list[list[int]] = [[] for _ in self.free]  # replicas that use this card and no other
        self.version = [0] * len(self.free)
        self._by_host: dict[int, tuple[list[Lodging], dict[int, list[int]]]] = {}  # by the list: host -> places in it
        self.out = set(self.movable)  # replicas without a place
        self.where: dict[int, Lodging] = {}
        self.seating: dict[int, tuple[Cards, ...]] = {}

    # -------------------------------------------------------- questions

    def option_of(self, number: int) -> Option:
        """How a replica is laid out now."""
        return self.options[number][self.lodgings[number].index(self.where[number])]

    def missing(self) -> list[int]:
        """Replicas without a place, by number."""
        return sorted(self.out)

    def over(self) -> int:
        """Bytes by which host memory is overdrawn, all hosts together."""
        return -sum([free for free in self.memory if free < 0])

    def cost(self) -> int:
        """What is wrong: the weight of those without a place, and overdrawn memory in thousandths; 0 is a solution."""
        over = self.over()
        wrong = sum([self.weight[number] for number in self.out])
        return wrong + (1 + over * 1000 // self.whole_memory if over else 0)

    def fresh(self, card: int) -> bool:
        """True when nobody uses the card."""
        return self.users[card] == 0

    def clashes(self, host: int, leaving: tuple[int, ...], coming: tuple[int, ...]) -> bool:
        """True when replicas that may not share a host or a port would, or when ports would run out."""
        if not self.ruled:
            return False
        if self.ports is not None:
            wants = self.wants
            more = sum([wants[number] for number in coming]) - sum([wants[number] for number in leaving])
            if more > 0 and more > self.ports[host]:
                return True
        for rule in (self.clash, self.port):
            marks = [rule[number] for number in coming if number in rule]
            if not marks:
                continue  # those who are there already get on with each other
            if len(marks) > 1 and len(set(marks)) < len(marks):
                return True
            for number in self.on[host]:
                if number in rule and rule[number] in marks and number not in leaving:
                    return True
        return False

    def lodgings_on(self, number: int, hosts: list[int]) -> Iterable[int]:
        """Which lodgings of a replica may be on some hosts alone; on most hosts of the fleet: all."""
        lodgings = self.lodgings[number]
        if len(hosts) * FEW_HOSTS > self.hosts:
            return range(len(lodgings))
        known = self._by_host.get(id(lodgings))
        if known is None:
            places: dict[int, list[int]] = {}
            for index, lodging in enumerate(lodgings):
                places.setdefault(lodging[0][0], []).append(index)
            known = self._by_host[id(lodgings)] = (lodgings, places)
        return sorted([index for host in hosts for index in known[1].get(host, ())])

    # -------------------------------------------------------- changes

    def put(self, number: int, lodging: Lodging, seating: tuple[Cards, ...]) -> None:
        """Give a replica its seats and cards."""
        self.where[number] = lodging
        self.seating[number] = seating
        self.out.remove(number)
        free, users, version, room = self.free, self.users, self.version, self.room
        for index, seat in enumerate(lodging):
            host, way_number, memory = seat
            cards = seating[index]
            self.on[host][number] = seat
            self.memory[host] -= memory
            if self.ports is not None:
                self.ports[host] -= self.wants[number]
            way = self.ways[way_number]
            needs, alone = way.needs, way.alone
            for slot, card in enumerate(cards):
                if alone:
                    room[host] -= free[card]
                    free[card] = TAKEN
                else:
                    room[host] -= needs[slot]
                    free[card] -= needs[slot]
                users[card] += 1
                version[card] += 1
            if len(cards) == 1:
                self.lone[card].append(number)

    def take_out(self, number: int) -> None:
        """Take a replica's seats back."""
        free, users, version, room = self.free, self.users, self.version, self.room
        self.out.add(number)
        seating = self.seating.pop(number)
        for index, (host, way_number, memory) in enumerate(self.where.pop(number)):
            cards = seating[index]
            del self.on[host][number]
            self.memory[host] += memory
            if self.ports is not None:
                self.ports[host] += self.wants[number]
            way = self.ways[way_number]
            needs, alone = way.needs, way.alone
            for slot, card in enumerate(cards):
                if alone:
                    free[card] = self.ground[card]
                    room[host] += free[card]
                else:
                    room[host] += needs[slot]
                    free[card] += needs[slot]
                users[card] -= 1
                version[card] += 1
            if len(cards) == 1:
                self.lone[card].remove(number)

    def clear(self) -> None:
        """Take everyone out."""
        for number in list(self.where):
            self.take_out(number)

    def snapshot(self) -> Snapshot:
        """Where everyone lies, to come back to."""
        return dict(self.where), dict(self.seating)

    def restore(self, snapshot: Snapshot) -> None:
        """Make a snapshot true again."""
        where, seating = snapshot
        for number in [one for one, cards in self.seating.items() if seating.get(one) is not cards]:
            self.take_out(number)
        for number, cards in seating.items():
            if number not in self.where:
                self.put(number, where[number], cards)

    def shut(self, card: int) -> None:
        """Let nobody use a card that is empty."""
        self.room[self.host_of[card]] -= self.free[card]
        self.free[card] = self.ground[card] = TAKEN
        self.version[card] += 1

    def reopen(self, card: int, size: int) -> None:
        """Let a card of `size` bytes be used again."""
        self.room[self.host_of[card]] += size
        self.free[card] = self.ground[card] = size
        self.version[card] += 1

    # -------------------------------------------------------- from and to positions

    def seat_all(self, positions: list[Position | None]) -> None:
        """Take over where the replicas lie now, as far as it is among their lodgings."""
        for number in self.movable:
            position = positions[number]
            if position is None:
                continue
            hosts = tuple([host for host, _ in position.spots])
            for lodging, option in zip(self.lodgings[number], self.options[number], strict=True):
                if option is not position.option or tuple([seat[0] for seat in lodging]) != hosts:
                    continue
                seating = self._flat(position)
                ways = [self.ways[seat[1]] for seat in lodging]
                if all(set(cards) <= set(way.allowed) for cards, way in zip(seating, ways, strict=True)):
                    self.put(number, lodging, seating)
                    break

    def _flat(self, position: Position) -> tuple[Cards, ...]:
        found: list[Cards] = []
        for part, (host, cards) in zip(position.option.parts, position.spots, strict=True):
            order = cards if part.uniform else tuple([cards[slot] for slot in part.slots])
            shelf = (len(self.state.users[host]),)
            found.append(tuple([self.base[host] + card for card in order or shelf]))
        return tuple(found)

    def positions_of(self, snapshot: Snapshot) -> dict[int, Position]:
        """The positions of a snapshot in which no host memory is overdrawn."""
        where, seating = snapshot
        found: dict[int, Position] = {}
        for number in sorted(where):
            option = self.options[number][self.lodgings[number].index(where[number])]
            spots: list[Spot] = []
            for part, seat, cards in zip(option.parts, where[number], seating[number], strict=True):
                base = self.base[seat[0]]
                own = tuple([card - base for card in cards]) if part.count else ()
                spots.append((seat[0], _in_device_order(part, own)))
            found[number] = Position(option=option, spots=tuple(spots))
        return found


def _in_device_order(part: Part, cards: tuple[int, ...]) -> tuple[int, ...]:
    """Cards given largest need first, as the engine counts them."""
    if part.uniform:
        return tuple(sorted(cards))
    found = [0] * part.count
    for slot, card in zip(part.slots, cards, strict=True):
        found[slot] = card
    return tuple(found)
