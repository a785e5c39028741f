"""Room for one replica by one exchange: some of a card's replicas change places with some of another card's.

Where cards are nearly full, a seat rarely becomes free by moving one replica out. An exchange of two small groups of
unequal size moves free bytes from card to card, and so collects the scattered rest of a fleet in one place.
"""

from __future__ import annotations

from typing import TypeAlias

from gslc.ir.record import dataclass
from gslc.passes.placing.dice import Dice
from gslc.passes.placing.options import Option
from gslc.passes.placing.problem import ModelTask, Problem, Replica
from gslc.passes.placing.state import ALONE, Position, State

Bundle: TypeAlias = tuple[int, int, tuple[int, ...]]  # bytes on the card, bytes in host memory, replicas
MOST_TARGETS = 32  # cards that are tried for the replica
MOST_SHELVES = 48  # other cards that each of them exchanges with
MOST_HELD = 6  # replicas on a card up to which pairs of them are exchanged too


@dataclass(slots=True, eq=False)
class Shelf:
    """A card that is shared, and the groups of one or two replicas that could leave it; the first group is nobody."""

    host: int
    card: int
    free: int
    bundles: list[Bundle]


class Exchanger:
    """Exchanges between the cards of one state."""

    def __init__(self, problem: Problem, state: State, fixed: frozenset[int], dice: Dice) -> None:
        self.problem = problem
        self.state = state
        self.fixed = fixed
        self.dice = dice
        self.known: dict[int, tuple[int, list[Shelf]]] = {}
        self.steps = 0
        self.may: dict[tuple[int, int, int, int], bool] = {}  # model, host, card, bytes: whether any rule allows it

    def make_room(self, replica: Replica, *, clean: bool) -> bool:
        """Seat a replica with the help of one exchange; False, and nothing changed, where none helps."""
        task = replica.task
        shelves = [shelf for host in range(len(self.problem.hosts)) for shelf in self.shelves(host)]
        for zone in task.zones:
            hosts = set(zone.hosts)
            for option in zone.lean:
                part = option.parts[0]
                if clean and option.offload > task.least_offload:
                    break
                if part.count != 1 or part.exclusive or part.indices is not None:
                    continue
                targets = [
                    shelf for shelf in shelves if shelf.host in hosts and self._large_enough(task, option, shelf)
                ]
                targets = self.dice.sample(targets, MOST_TARGETS)
                self.dice.shuffle(targets)
                for target in targets:
                    if self._try_target(replica, option, target, self.dice.sample(shelves, MOST_SHELVES)):
                        return True
        return False

    def _large_enough(self, task: ModelTask, option: Option, shelf: Shelf) -> bool:
        if self.problem.gpu_capacity[shelf.host][shelf.card] < option.parts[0].needs[0]:
            return False
        return task.pins is None or shelf.card in task.pins.get(shelf.host, ())

    def _try_target(self, replica: Replica, option: Option, target: Shelf, shelves: list[Shelf]) -> bool:
        part = option.parts[0]
        memory, unified = self.state.memory, self.problem.unified
        short = part.needs[0] - target.free
        ram = part.memory_unified if unified[target.host] else part.memory
        ram_short = ram - memory[target.host]
        for size, held, leaving in target.bundles:
            if size < short:
                continue
            most = size - short
            for other in shelves:
                least = size - other.free
                if other is target:
                    continue
                same_host = other.host == target.host
                if same_host and ram_short > 0:
                    continue
                for back, back_held, coming in other.bundles:
                    if back > most:
                        break
                    if back < least:
                        continue
                    if not same_host and (held - back_held < ram_short or held - back_held > memory[other.host]):
                        continue
                    if (leaving or coming) and self._exchange(replica, option, target, other, leaving, coming):
                        return True
        return False

    def _exchange(
        self,
        replica: Replica,
        option: Option,
        target: Shelf,
        other: Shelf,
        leaving: tuple[int, ...],
        coming: tuple[int, ...],
    ) -> bool:
        """Do it for real; put everything back where a rule forbids it."""
        if not self._admitted(replica.task, target.host, leaving):
            return False
        if not (self._may_move(leaving, other, coming) and self._may_move(coming, target, leaving)):
            return False
        self.steps += 1
        state, replicas = self.state, self.problem.replicas
        before = [(replicas[number], state.release(replicas[number])) for number in (*leaving, *coming)]
        done: list[Replica] = []
        moves: list[tuple[Replica, Shelf, int, Option | None]] = [(replica, target, option.parts[0].needs[0], option)]
        moves += [(replicas[number], other, self._size(before, number), None) for number in leaving]
        moves += [(replicas[number], target, self._size(before, number), None) for number in coming]
        for mover, shelf, size, way in moves:
            position = self._onto(mover.task, shelf, size, way)
            if position is None:
                for placed in done:
                    state.release(placed)
                for former, old in before:
                    state.take(former, old)
                return False
            state.take(mover, position)
            done.append(mover)
        return True

    def _admitted(self, task: ModelTask, host: int, leaving: tuple[int, ...]) -> bool:
        """False where a rule keeps a model off a host and goes on doing so when some replicas leave it."""
        if task.plain or self.state.admits(task, host):
            return True
        others = [self.problem.replicas[number].task for number in leaving]
        if self.problem.ports is not None and others:
            return True
        return any(other is task or (task.port is not None and other.port == task.port) for other in others)

    def _may_move(self, numbers: tuple[int, ...], shelf: Shelf, leaving: tuple[int, ...]) -> bool:
        """False where a rule keeps one of these replicas off a card whatever is free there once others leave."""
        for number in numbers:
            task, position = self.problem.replicas[number].task, self.state.positions[number]
            assert position is not None  # who lies on a shelf has a place
            size = position.option.parts[0].needs[0]
            key = (task.index, shelf.host, shelf.card, size)
            may = self.may.get(key)
            if may is None:
                may = self.may[key] = any(self._options_for(task, shelf, size))
            if not (may and self._admitted(task, shelf.host, leaving)):
                return False
        return True

    def _options_for(self, task: ModelTask, shelf: Shelf, size: int) -> list[Option]:
        """The options of a model that take one shared card and `size` bytes of it, where this card will do."""
        host, card = shelf.host, shelf.card
        zone = task.zone_at(host)
        if zone is None or (task.pins is not None and card not in task.pins.get(host, ())):
            return []
        return [option for option in zone.options if self._takes(option, host, card, size)]

    def _takes(self, option: Option, host: int, card: int, size: int) -> bool:
        part = option.parts[0]
        if part.count != 1 or part.exclusive or part.needs[0] != size or part.indices is not None:
            return False
        return part.kind is None or self.problem.kinds[host][card] == self.problem.kind_numbers.get(part.kind, -1)

    def _size(self, before: list[tuple[Replica, Position]], number: int) -> int:
        return next(position.option.parts[0].needs[0] for replica, position in before if replica.id == number)

    def _onto(self, task: ModelTask, shelf: Shelf, size: int, way: Option | None) -> Position | None:
        """The position of a model on one card with an option of one card and `size` bytes, or None."""
        state, host, card = self.state, shelf.host, shelf.card
        if not state.admits(task, host) or state.users[host][card] == ALONE or state.free[host][card] < size:
            return None
        for option in self._options_for(task, shelf, size):
            if way is not None and option is not way:
                continue
            part = option.parts[0]
            if state.memory[host] < (part.memory_unified if self.problem.unified[host] else part.memory):
                continue
            return Position(option=option, spots=((host, (card,)),))
        return None

    def shelves(self, host: int) -> list[Shelf]:
        """The shared cards of a host, worked out again only after a change there."""
        version = self.state.version[host]
        known = self.known.get(host)
        if known is None or known[0] != version:
            known = self.known[host] = (version, self._shelves_of(host))
        return known[1]

    def _shelves_of(self, host: int) -> list[Shelf]:
        state, unified = self.state, self.problem.unified[host]
        held: dict[int, list[Bundle]] = {
            card: [] for card in range(len(state.free[host])) if state.users[host][card] != ALONE
        }
        for number in state.on_host[host]:
            position = state.positions[number]
            if position is None or number in self.fixed or len(position.spots) > 1:
                continue
            part, cards = position.option.parts[0], position.spots[0][1]
            if len(cards) == 1 and not part.exclusive:
                memory = part.memory_unified if unified else part.memory
                held[cards[0]].append((part.needs[0], memory, (number,)))
        shelves: list[Shelf] = []
        for card, single in held.items():
            bundles: list[Bundle] = [(0, 0, ()), *single]
            if len(single) <= MOST_HELD:
                bundles += [
                    (first[0] + second[0], first[1] + second[1], first[2] + second[2])
                    for index, first in enumerate(single)
                    for second in single[index + 1 :]
                ]
            bundles.sort()
            shelves.append(Shelf(host=host, card=card, free=state.free[host][card], bundles=bundles))
        return shelves
