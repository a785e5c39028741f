"""The objective (contract section 4.7) as a tuple of integers: lower is better, compared left to right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from gslc.passes.placing.problem import Problem
from gslc.passes.placing.state import Spot, State

Cost: TypeAlias = tuple[int, ...]


class Weigher:
    """The cost of states of one problem. `homes` are the seats that the lock has; leaving one is a move."""

    def __init__(self, problem: Problem, homes: Mapping[int, tuple[Spot, ...]]) -> None:
        self.problem = problem
        self.homes = homes
        self.priorities = sorted({task.priority for task in problem.tasks}, reverse=True)
        self.asked = dict.fromkeys(self.priorities, 0)  # replicas by priority
        for replica in problem.replicas:
            self.asked[replica.task.priority] += 1
        self.spreads = [task for task in problem.tasks if task.spread]

    def cost(self, state: State) -> Cost:
        """Unplaced replicas by priority, offloaded bytes, moves, ranks, cards in use, crowding, crossings."""
        unplaced = [asked - state.placed[priority] for priority, asked in self.asked.items()]
        moves = 0
        for number, home in self.homes.items():
            position = state.positions[number]
            if position is not None and position.spots != home:
                moves += 1
        cards, crowding, crossings = self.cards(state), self.crowding(state), self.crossings(state)
        return (*unplaced, state.offload, moves, state.ranks, cards, crowding, crossings)

    def cards(self, state: State) -> int:
        """Cards that a replica uses which is to be packed; cards that only spread models use are not counted."""
        if not self.spreads:
            return sum(len(row) for row in state.users) - sum(state.untouched)
        used: set[Spot] = set()
        for number, position in enumerate(state.positions):
            if position is not None and not self.problem.replicas[number].task.spread:
                used.update((host, (card,)) for host, cards in position.spots for card in cards)
        return len(used)

    def crowding(self, state: State) -> int:
        """Pairs of replicas of one spread model that share a host."""
        total = 0
        for task in self.spreads:
            counts: dict[int, int] = {}
            for number in task.replicas:
                position = state.positions[number]
                for host, _ in position.spots if position is not None else ():
                    counts[host] = counts.get(host, 0) + 1
            total += sum(count * (count - 1) // 2 for count in counts.values())
        return total

    def crossings(self, state: State) -> int:
        """Groups of cards that are not all in one NVLink island, on hosts that know theirs."""
        if not self.problem.linked:
            return 0
        return sum(
            state.crosses(part, spot)
            for position in state.positions
            if position is not None
            for part, spot in zip(position.option.parts, position.spots, strict=True)
        )
