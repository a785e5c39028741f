"""NVLink islands: the cards of a host dealt out anew where groups cross islands, without a change in any other term.

What lies on a card stays together and moves as a whole to another card of the same kind, so that as many bytes are
free, as many cards are in use and as many replicas are placed as before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import field
from typing import TypeAlias

from gslc.ir.record import dataclass
from gslc.passes.placing.cost import Weigher
from gslc.passes.placing.problem import ModelTask, Problem
from gslc.passes.placing.resettle import resettle
from gslc.passes.placing.state import ALONE, Position, State

DEALS = 2_000  # bundles dealt while one host is searched; 16 cards in groups of 2 and 4 are done in a few hundred
ALL_DEALS = 30_000  # for the whole fleet
Look: TypeAlias = tuple[tuple[tuple[int, tuple[bool, ...], int], ...], tuple[int, ...]]
Space: TypeAlias = tuple[int, tuple[bool, ...], int]  # kind of card, which pins allow it, island


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A card with what lies on it, to be put on a card of some space. `groups` are those that it belongs to."""

    card: int
    groups: tuple[int, ...]
    spaces: tuple[Space, ...]


@dataclass(slots=True)
class Table:
    """One host: bundles in the order in which they are dealt, room by space, and the islands that groups are in."""

    bundles: list[Bundle] = field(default_factory=list)
    room: dict[Space, int] = field(default_factory=dict)
    touched: list[dict[int, int]] = field(default_factory=list)  # by group: island -> cards there
    left: list[int] = field(default_factory=list)  # by group: bundles still to be dealt


def join_islands(problem: Problem, state: State, weigher: Weigher, held: Collection[int]) -> None:
    """Re-choose the cards of all replicas but the held ones so that fewer groups cross islands; no other term changes.

    First on each host, then on other hosts for the groups that find no whole island on their own.
    """
    changed = {**deal_out(problem, state, held), **resettle(problem, state, weigher, held)}
    for task in changed.values():
        _number(state, task, held)


def deal_out(problem: Problem, state: State, held: Collection[int]) -> dict[int, ModelTask]:
    """Deal out the cards of every host with a crossing group; the answer has the models whose replicas moved."""
    budget = ALL_DEALS
    changed: dict[int, ModelTask] = {}
    for host in _crossed(problem, state, held):
        dealer = Dealer(table_of(problem, state, host, held), min(DEALS, budget))
        moves = dealer.moves(cards_of_space(problem, state, host, held))
        budget -= dealer.deals
        if moves:
            changed.update(_move(problem, state, host, moves))
        if budget <= 0:
            break
    return changed


def _crossed(problem: Problem, state: State, held: Collection[int]) -> list[int]:
    """Hosts with a group that crosses islands and may move."""
    found = {
        spot[0]
        for number, position in enumerate(state.positions)
        if position is not None and number not in held
        for part, spot in zip(position.option.parts, position.spots, strict=True)
        if part.indices is None and state.crosses(part, spot)
    }
    return sorted(found)


def _on(problem: Problem, state: State, host: int) -> Iterator[tuple[int, ModelTask, int]]:
    """Replicas with a part on a host, by id: id, model, number of the part."""
    for number in sorted(state.on_host[host]):
        position = state.positions[number]
        assert position is not None  # on_host has placed replicas only
        for index, (where, _) in enumerate(position.spots):
            if where == host:
                yield number, problem.replicas[number].task, index


def _still(problem: Problem, state: State, host: int, held: Collection[int]) -> set[int]:
    """Cards that keep what lies on them: a held replica, or one that was laid out for this very card."""
    still: set[int] = set()
    for number, _, index in _on(problem, state, host):
        position = state.positions[number]
        assert position is not None
        if number in held or position.option.parts[index].indices is not None:
            still.update(position.spots[index][1])
    return still


def _spaces(problem: Problem, state: State, host: int) -> tuple[list[Space], list[ModelTask]]:
    """The space of every card, and the pinned models on the host in the order of its flags."""
    pinned = list({task.index: task for _, task, _ in _on(problem, state, host) if task.pins is not None}.values())
    spaces = [
        (problem.kinds[host][card], tuple([card in (task.pins or {}).get(host, ()) for task in pinned]), island)
        for card, island in enumerate(problem.links[host])
    ]
    return spaces, pinned


def cards_of_space(problem: Problem, state: State, host: int, held: Collection[int]) -> dict[Space, list[int]]:
    """The cards that may get another's bundle, by space."""
    still = _still(problem, state, host, held)
    found: dict[Space, list[int]] = {}
    for card, space in enumerate(_spaces(problem, state, host)[0]):
        if card not in still:
            found.setdefault(space, []).append(card)
    return found


def table_of(problem: Problem, state: State, host: int, held: Collection[int]) -> Table:
    """A host with its bundles taken up; groups on cards that stay count as touching their islands."""
    spaces, pinned = _spaces(problem, state, host)
    still = _still(problem, state, host, held)
    table = Table(room={space: len(cards) for space, cards in cards_of_space(problem, state, host, held).items()})
    groups: dict[int, list[int]] = {}
    pins: dict[int, set[int]] = {}
    sets: list[tuple[int, ...]] = []
    for number, task, index in _on(problem, state, host):
        position = state.positions[number]
        assert position is not None
        cards = position.spots[index][1]
        for card in cards:
            groups.setdefault(card, [])
            if task.pins is not None:
                pins.setdefault(card, set()).add(pinned.index(task))
        if position.option.parts[index].group and not set(cards) <= still:
            sets.append(cards)
    sets.sort(key=lambda cards: (-len(cards), cards))
    for group, cards in enumerate(sets):
        table.touched.append({})
        table.left.append(len(set(cards) - still))
        for card in cards:
            if card in still:
                island = spaces[card][2]
                table.touched[group][island] = table.touched[group].get(island, 0) + 1
            else:
                groups[card].append(group)
    order = [card for cards in sets for card in cards] + sorted(
        groups, key=lambda card: (-len(pins.get(card, ())), card)
    )
    for card in dict.fromkeys(order):
        if card not in still:
            fitting = tuple(
                space
                for space in table.room
                if space[0] == spaces[card][0] and all(space[1][pin] for pin in pins.get(card, ()))
            )
            table.bundles.append(Bundle(card=card, groups=tuple(groups[card]), spaces=fitting))
    return table


class Dealer:
    """A depth-first search over the bundles of one host, exact within its bound.

    Islands with the same room that the same unfinished groups touch are alike: one of them is tried, and of two ways
    to alike tables the better one is followed.
    """

    def __init__(self, table: Table, bound: int) -> None:
        self.table = table
        self.bound = bound
        self.deals = 0
        self.floor = self._floor()
        self.dealt: list[Space] = []
        self.best: tuple[int, int] = (0, 0)
        self.answer: list[Space] | None = None
        self.seen: dict[tuple[object, ...], tuple[int, int]] = {}

    def moves(self, cards: dict[Space, list[int]]) -> dict[int, int]:
        """The new card of every bundle; empty where the cards of now are as good as any that were found."""
        table = self.table
        home = {card: space for space, members in cards.items() for card in members}
        islands = [set(touched) for touched in table.touched]
        for bundle in table.bundles:
            for group in bundle.groups:
                islands[group].add(home[bundle.card][2])
        self.best = (sum(len(one) > 1 for one in islands), sum(len(one) - 1 for one in islands))
        start = [max(0, len(touched) - 1) for touched in table.touched]  # of the cards that stay
        self._deal(0, (sum(count > 0 for count in start), sum(start)))
        if self.answer is None:
            return {}
        free = {space: list(members) for space, members in cards.items()}
        found: dict[int, int] = {}
        for bundle, space in zip(table.bundles, self.answer, strict=True):
            if home[bundle.card] == space:
                found[bundle.card] = bundle.card
                free[space].remove(bundle.card)
        for bundle, space in zip(table.bundles, self.answer, strict=True):
            if bundle.card not in found:
                found[bundle.card] = free[space].pop(0)
        return found

    def _floor(self) -> tuple[int, int]:
        """What no dealing can beat: each group in the fewest islands that have room for it alone."""
        crossing = further = 0
        for group, touched in enumerate(self.table.touched):
            room: dict[int, int] = {}
            bundle = next(one for one in self.table.bundles if group in one.groups)
            for space in bundle.spaces:
                room[space[2]] = room.get(space[2], 0) + self.table.room[space]
            missing = self.table.left[group] - sum(room.get(island, 0) for island in touched)
            islands = len(touched)
            for size in sorted((size for island, size in room.items() if island not in touched), reverse=True):
                if missing <= 0:
                    break
                missing -= size
                islands += 1
            crossing += islands > 1
            further += islands - 1
        return crossing, further

    def _deal(self, index: int, cost: tuple[int, int]) -> None:
        """Deal the bundles from `index` on, and remember the dealing if it is better than the best."""
        if cost >= self.best or self.best == self.floor:
            return
        if index == len(self.table.bundles):
            self.best, self.answer = cost, list(self.dealt)
            return
        alike = self._looks()
        key = (index, tuple(sorted(alike.values())))
        if self.seen.get(key, self.best) <= cost:
            return
        self.seen[key] = cost
        bundle = self.table.bundles[index]
        tried: set[object] = set()
        for space in self._ordered(bundle):
            look = (space[:2], alike[space[2]])
            if look in tried or self.deals >= self.bound:
                continue
            tried.add(look)
            self.deals += 1
            crossing, further = self._put(bundle, space)
            self._deal(index + 1, (cost[0] + crossing, cost[1] + further))
            self._take_back(bundle, space)

    def _looks(self) -> dict[int, Look]:
        """What tells an island from others now: its room, and the unfinished groups that touch it."""
        rooms: dict[int, list[tuple[int, tuple[bool, ...], int]]] = {}
        for (kind, pins, island), room in self.table.room.items():
            rooms.setdefault(island, []).append((kind, pins, room))
        groups: dict[int, list[int]] = {island: [] for island in rooms}
        for group, touched in enumerate(self.table.touched):
            if self.table.left[group]:
                for island in touched:
                    groups.setdefault(island, []).append(group)
        return {island: (tuple(sorted(rooms.get(island, ()))), tuple(found)) for island, found in groups.items()}

    def _ordered(self, bundle: Bundle) -> list[Space]:
        """The spaces with room for a bundle: where its groups are, then the tightest that takes their rest."""
        table = self.table
        rest = max((table.left[group] for group in bundle.groups), default=1)
        room: dict[int, int] = {}
        for space in bundle.spaces:
            room[space[2]] = room.get(space[2], 0) + table.room[space]

        def rank(space: Space) -> tuple[int, bool, int, Space]:
            island = space[2]
            strange = sum(island not in table.touched[group] for group in bundle.groups)
            short = room[island] < rest
            return (strange, short, -room[island] if short else room[island], space)

        return sorted((space for space in bundle.spaces if table.room[space]), key=rank)

    def _put(self, bundle: Bundle, space: Space) -> tuple[int, int]:
        """Deal a bundle to a space; the answer: how many groups cross more, and islands beyond their first."""
        table = self.table
        table.room[space] -= 1
        self.dealt.append(space)
        crossing = further = 0
        for group in bundle.groups:
            touched = table.touched[group]
            table.left[group] -= 1
            if space[2] not in touched and touched:
                crossing += len(touched) == 1
                further += 1
            touched[space[2]] = touched.get(space[2], 0) + 1
        return crossing, further

    def _take_back(self, bundle: Bundle, space: Space) -> None:
        table = self.table
        table.room[space] += 1
        self.dealt.pop()
        for group in bundle.groups:
            touched = table.touched[group]
            table.left[group] += 1
            touched[space[2]] -= 1
            if not touched[space[2]]:
                del touched[space[2]]


def _move(problem: Problem, state: State, host: int, moves: dict[int, int]) -> dict[int, ModelTask]:
    """Move what lies on cards of a host to other cards; the answer has the models whose replicas moved."""
    positions = state.snapshot()
    moved: dict[int, ModelTask] = {}
    for number, task, index in list(_on(problem, state, host)):
        position = positions[number]
        assert position is not None
        cards = position.spots[index][1]
        new = tuple([moves.get(card, card) for card in cards])
        part = position.option.parts[index]
        if part.uniform or (part.group and all(state.users[host][card] in (1, ALONE) for card in cards)):
            new = tuple(sorted(new))
        if new != cards:
            spots = (*position.spots[:index], (host, new), *position.spots[index + 1 :])
            positions[number] = Position(option=position.option, spots=spots)
            moved[task.index] = task
    state.restore(positions)
    return moved


def _number(state: State, task: ModelTask, held: Collection[int]) -> None:
    """Give the positions of a model to its lowest numbers again, in the order of hosts and cards."""
    positions = state.snapshot()
    movable = {
        number: position
        for number in task.replicas
        if number not in held and (position := positions[number]) is not None
    }
    order = sorted(movable.values(), key=lambda position: position.spots)
    for number, position in zip(movable, order, strict=True):
        positions[number] = position
    state.restore(positions)
