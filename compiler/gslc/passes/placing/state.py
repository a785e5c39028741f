"""What is free on every host while a search runs, and which seats a replica could take there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gslc.passes.placing.problem import ModelTask, Option, Part, Problem, Replica

Cards: TypeAlias = tuple[int, ...]  # card numbers in the engine's device order
Spot: TypeAlias = tuple[int, Cards]  # a host and cards there
ALONE = -1  # users of a card that is held exclusively


@dataclass(slots=True, eq=False)
class Position:
    """An option and where each of its parts lies."""

    option: Option
    spots: tuple[Spot, ...]


class State:
    """Free memory, users of every card and the position of every placed replica. Changed in place by the searches."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.memory = list(problem.memory_capacity)
        self.free = [list(row) for row in problem.gpu_capacity]
        self.users = [[0] * len(row) for row in problem.gpu_capacity]
        self.untouched = [len(row) for row in problem.gpu_capacity]
        self.positions: list[Position | None] = [None] * len(problem.replicas)
        self.on_host: list[dict[int, None]] = [{} for _ in problem.hosts]  # replica ids, in order of arrival
        self.of_model: dict[tuple[int, int], int] = {}  # (model, host) -> replicas there
        self.fixed_ports: dict[tuple[int, int], int] = {}  # (host, port) -> replica id, or -1 for a locked port
        self.families: dict[int, list[int]] = {}  # model -> [replicas on Nomad, elsewhere]

    # -------------------------------------------------------- changes

    def take(self, replica: Replica, position: Position) -> None:
        """Give a replica its seats."""
        task = replica.task
        unified = self.problem.unified
        for part, (host, cards) in zip(position.option.parts, position.spots, strict=True):
            self.memory[host] -= part.memory_unified if unified[host] else part.memory
            free, users = self.free[host], self.users[host]
            for need, slot in zip(part.needs, part.slots, strict=True):
                card = cards[slot]
                free[card] -= need
                if users[card] == 0:
                    self.untouched[host] -= 1
                users[card] = ALONE if part.exclusive else users[card] + 1
            self.on_host[host][replica.id] = None
            key = (task.index, host)
            self.of_model[key] = self.of_model.get(key, 0) + 1
        self.positions[replica.id] = position
        if task.port is not None:
            self.fixed_ports[position.spots[0][0], task.port] = replica.id
        if task.one_family:
            self.families.setdefault(task.index, [0, 0])[self._family(position.spots[0][0])] += 1

    def release(self, replica: Replica) -> Position:
        """Take a replica's seats back; the answer is where it was."""
        task = replica.task
        position = self.positions[replica.id]
        assert position is not None  # only placed replicas are released
        unified = self.problem.unified
        for part, (host, cards) in zip(position.option.parts, position.spots, strict=True):
            self.memory[host] += part.memory_unified if unified[host] else part.memory
            free, users = self.free[host], self.users[host]
            for need, slot in zip(part.needs, part.slots, strict=True):
                card = cards[slot]
                free[card] += need
                users[card] = 0 if users[card] == ALONE else users[card] - 1
                if users[card] == 0:
                    self.untouched[host] += 1
            del self.on_host[host][replica.id]
            self.of_model[task.index, host] -= 1
        self.positions[replica.id] = None
        if task.port is not None:
            del self.fixed_ports[position.spots[0][0], task.port]
        if task.one_family:
            self.families[task.index][self._family(position.spots[0][0])] -= 1
        return position

    # -------------------------------------------------------- questions

    def _family(self, host: int) -> int:
        return 0 if self.problem.hosts[host].target == "nomad" else 1

    def admits(self, task: ModelTask, host: int) -> bool:
        """True when the rules that are not about memory let one more replica of the model onto the host."""
        if task.apart and self.of_model.get((task.index, host), 0):
            return False
        if task.port is not None and (host, task.port) in self.fixed_ports:
            return False
        if task.one_family:
            counts = self.families.get(task.index)
            if counts is not None and counts[1 - self._family(host)]:
                return False
        return True

    def cards_for(self, part: Part, host: int, task: ModelTask) -> Cards | None:
        """The cards that fit a part best on a host, in device order; None where it does not fit. () needs no card."""
        problem = self.problem
        if self.memory[host] < (part.memory_unified if problem.unified[host] else part.memory):
            return None
        if part.count == 0:
            return ()
        free, users = self.free[host], self.users[host]
        allowed = range(len(free)) if task.pins is None else task.pins.get(host, ())
        if part.indices is not None:
            return self._named_cards(part, host, allowed)
        smallest = part.needs[-1]
        if part.exclusive:
            usable = [(free[card], card) for card in allowed if users[card] == 0 and free[card] >= smallest]
        else:
            usable = [
                (free[card] if users[card] else free[card] + UNTOUCHED, card)
                for card in allowed
                if users[card] >= 0 and free[card] >= smallest
            ]
        if part.kind is not None:
            kinds, wanted = problem.kinds[host], problem.kind_numbers.get(part.kind, -1)
            usable = [entry for entry in usable if kinds[entry[1]] == wanted]
        if len(usable) < part.count:
            return None
        if part.count == 1:
            return (min(usable)[1],)
        if part.same_kind and not problem.one_kind[host]:
            return self._cards_of_one_kind(part, host, usable)
        return _best_cards(part, usable, free)

    def _named_cards(self, part: Part, host: int, allowed: object) -> Cards | None:
        free, users = self.free[host], self.users[host]
        cards = part.indices or ()
        for need, slot in zip(part.needs, part.slots, strict=True):
            card = cards[slot]
            if card >= len(free) or free[card] < need or users[card] == ALONE:
                return None
            if part.exclusive and users[card]:
                return None
            if card not in allowed:  # type: ignore[operator]
                return None
        return cards

    def _cards_of_one_kind(self, part: Part, host: int, usable: list[tuple[int, int]]) -> Cards | None:
        kinds = self.problem.kinds[host]
        best: tuple[int, Cards] | None = None
        for kind in sorted({kinds[card] for _, card in usable}):
            group = [entry for entry in usable if kinds[entry[1]] == kind]
            if len(group) < part.count:
                continue
            cards = _best_cards(part, group, self.free[host])
            if cards is None:
                continue
            size = sum(self.free[host][card] for card in cards)
            if best is None or size < best[0]:
                best = (size, cards)
        return best[1] if best is not None else None

    def snapshot(self) -> list[Position | None]:
        """The positions of now, to come back to."""
        return list(self.positions)

    def restore(self, positions: list[Position | None]) -> None:
        """Make `positions` true again."""
        replicas = self.problem.replicas
        changed = [number for number, old in enumerate(positions) if old is not self.positions[number]]
        for number in changed:
            if self.positions[number] is not None:
                self.release(replicas[number])
        for number in changed:
            position = positions[number]
            if position is not None:
                self.take(replicas[number], position)


UNTOUCHED = 1 << 60  # sorts cards that nobody uses behind all that are in use; larger than any memory


def _best_cards(part: Part, usable: list[tuple[int, int]], free: list[int]) -> Cards | None:
    """The tightest cards for the needs, largest need first; always finds cards where there are any."""
    usable.sort()
    if part.uniform:
        return tuple(sorted(card for _, card in usable[: part.count]))
    chosen: dict[int, int] = {}
    left = [card for _, card in usable]
    for need, slot in zip(part.needs, part.slots, strict=True):
        found = next((card for card in left if free[card] >= need), None)
        if found is None:
            return None
        left.remove(found)
        chosen[slot] = found
    return tuple(chosen[slot] for slot in range(part.count))
