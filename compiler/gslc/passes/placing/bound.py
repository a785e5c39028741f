"""What no placement of a fleet can be better than: a search that has reached it is done."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

from gslc.passes.placing.cost import Cost, Weigher
from gslc.passes.placing.options import Option
from gslc.passes.placing.problem import ModelTask, Problem
from gslc.passes.placing.state import Position


def least_cost(problem: Problem, weigher: Weigher, held: list[Position | None], hopeless: Collection[int]) -> Cost:
    """A cost that no placement is below, term by term read in order.

    `held` has the positions of replicas that never move; `hopeless` are those that no placement has room for. A term
    assumes that those before it are as good as they can be: then everyone is laid out in one of his best ways, and the
    cards have to hold at least the bytes of these.
    """
    unplaced = dict.fromkeys(weigher.priorities, 0)
    offload = ranks = shared = 0
    alone: list[int] = []
    known: dict[int, list[Option]] = {}
    for replica in problem.replicas:
        task, position = replica.task, held[replica.id]
        if replica.id in hopeless:
            unplaced[task.priority] += 1
            continue
        if position is None and task.index not in known:
            known[task.index] = best_options(task)
        options = known[task.index] if position is None else [position.option]
        if not options:
            continue  # its choices depend on what is free: they may take anything
        offload += options[0].offload
        ranks += options[0].rank
        if task.spread:
            continue  # what only spread models use is not counted
        if all(part.exclusive for option in options for part in option.parts) and len(options) == 1:
            alone += [need for part in options[0].parts for need in part.needs]
        else:
            shared += min(option.bulk for option in options)
    return (*unplaced.values(), offload, 0, ranks, _fewest_cards(problem, shared, alone), 0, 0)


def best_options(task: ModelTask) -> list[Option]:
    """The options with the fewest offloaded bytes, of these the best rank; none where a model has elastic ones."""
    if any(zone.elastic for zone in task.zones):
        return []
    found = {option: None for zone in task.zones for option in zone.options}
    found.update((option, None) for option, _ in task.wide)
    best = min(((option.offload, option.rank) for option in found), default=None)
    return [option for option in found if (option.offload, option.rank) == best]


def _fewest_cards(problem: Problem, shared: int, alone: list[int]) -> int:
    """The fewest cards that hold so many bytes together, beside those that `alone` has one each of."""
    sizes = sorted([size for row in problem.gpu_capacity for size in row])
    for need in sorted(alone, reverse=True):  # each takes the smallest, so that the largest are left
        first = bisect_left(sizes, need)
        if first < len(sizes):
            del sizes[first]
    count = len(alone)
    while shared > 0 and sizes:
        shared -= sizes.pop()
        count += 1
    return count


def too_full(problem: Problem) -> bool:
    """True when the GPUs of the fleet are too small for all replicas together, so that no search can place them."""
    needed = 0
    for replica in problem.replicas:
        task = replica.task
        options = [option for zone in task.zones for option in zone.options] + [option for option, _ in task.wide]
        needed += min(
            (option.bulk for option in options if option.offload <= task.least_offload),
            default=0,
        )
    return needed > sum(sum(row) for row in problem.gpu_capacity)
