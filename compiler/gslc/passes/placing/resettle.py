"""Groups that still cross NVLink islands, moved to a host with a whole island for them where no earlier term loses."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gslc.passes.placing.cost import Weigher
from gslc.passes.placing.options import Option, Part
from gslc.passes.placing.problem import ModelTask, Problem, Replica
from gslc.passes.placing.state import Position, Spot, State

LOOKS = 20_000  # conditions of hosts that are looked at, for the whole fleet
TRIES = 64  # moves that are weighed


def resettle(problem: Problem, state: State, weigher: Weigher, held: Collection[int]) -> dict[int, ModelTask]:
    """Move such groups, unless they are held; the answer has the models whose replicas moved."""
    moved: dict[int, ModelTask] = {}
    looks, tries = LOOKS, TRIES
    cost = weigher.cost(state)
    for replica in problem.replicas:
        position = state.positions[replica.id]
        if position is None or replica.id in held or not _crosses(state, position):
            continue
        if looks <= 0 or tries <= 0:
            break
        state.release(replica)
        found, looked = _whole_island(state, replica, position.option)
        looks -= looked
        state.take(replica, found or position)
        if found is None:
            continue
        tries -= 1
        new = weigher.cost(state)
        if new < cost:
            cost = new
            moved[replica.task.index] = replica.task
        else:
            state.release(replica)
            state.take(replica, position)
    return moved


def _crosses(state: State, position: Position) -> bool:
    """True for a replica on one host, on free cards of its choice, that cross islands."""
    part = position.option.single
    return part is not None and part.indices is None and state.crosses(part, position.spots[0])


def _whole_island(state: State, replica: Replica, option: Option) -> tuple[Position | None, int]:
    """The best place without a crossing for an equally good option, and how many conditions were looked at."""
    task = replica.task
    best: tuple[tuple[int, ...], Position] | None = None
    looked = 0
    for host, other, part in _places(state, task, option):
        looked += 1
        cards = state.cards_for(part, host, task)
        spot: Spot = (host, cards or ())
        if cards is None or state.crosses(part, spot):
            continue
        new = sum(state.users[host][card] == 0 for card in cards)
        left = sum(state.free[host][card] for card in cards)
        key = (new, left, state.untouched[host], state.memory[host] - part.memory, host)
        if best is None or key < best[0]:
            best = key, Position(option=other, spots=(spot,))
    return best[1] if best is not None else None, looked


def _places(state: State, task: ModelTask, option: Option) -> Iterator[tuple[int, Option, Part]]:
    """One host of every condition that lets the model in, with each option that is as good as the given one."""
    for zone in task.zones:
        alike = [other for other in zone.options if (other.offload, other.rank) == (option.offload, option.rank)]
        if not alike:
            continue
        hosts = zone.hosts
        if task.pins is None:
            buckets = [tuple(bucket) for bucket in state.pool(hosts).buckets.values()]
        else:
            buckets = [(host,) for host in hosts]
        for bucket in buckets:
            host = next((one for one in bucket if state.admits(task, one)), None)
            if host is None:
                continue
            for other in alike:
                if other.single is not None:
                    yield host, other, other.single
