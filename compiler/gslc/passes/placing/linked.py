"""Why a group of cards lies in one NVLink island, or crosses several: told where the host knows its islands."""

from __future__ import annotations

from gslc.ir.diagnostic import Decision, Excluded, Exhausted, Refusal
from gslc.ir.inputs import Host
from gslc.passes.placing.options import Part
from gslc.passes.placing.problem import Problem, Replica
from gslc.passes.placing.state import ALONE, Spot, State


def island_decisions(problem: Problem, state: State, replica: Replica, *, kept: bool) -> tuple[Decision, ...]:
    """One decision for each group of a placed replica on a host with islands."""
    position = state.positions[replica.id]
    assert position is not None  # only placed replicas have decisions
    return tuple(
        _decision(problem, state, replica, part, spot, kept=kept)
        for part, spot in zip(position.option.parts, position.spots, strict=True)
        if part.group and problem.links[spot[0]]
    )


def _decision(problem: Problem, state: State, replica: Replica, part: Part, spot: Spot, *, kept: bool) -> Decision:
    host = problem.hosts[spot[0]]
    links = problem.links[spot[0]]
    groups: dict[int, list[int]] = {}
    for card in spot[1]:
        groups.setdefault(links[card], []).append(card)
    here = " and ".join(f"GPU {_cards(cards)}" for cards in groups.values())
    rejected: tuple[Refusal, ...] = ()
    if len(groups) == 1:
        chosen, rule = f"one island of {host.name}: GPU {_cards(_island(host, spot[1][0]))}", "linked"
        because = "all its cards are linked to each other"
    else:
        chosen = f"crosses {len(groups)} islands of {host.name}: {here}"
        rule, because, rejected = _why_crossing(problem, state, replica, part, spot, kept=kept)
    return Decision(
        subject=f"{replica.task.name}-{replica.number}",
        topic="NVLink",
        chosen=chosen,
        rule=rule,
        because=because,
        evidence=(("cards", part.count), ("islands", len(groups))),
        rejected=rejected,
        place=problem.cluster.places.key("hosts", host.name, "nvlink"),
        scope="fleet",
    )


def _why_crossing(
    problem: Problem, state: State, replica: Replica, part: Part, spot: Spot, *, kept: bool
) -> tuple[str, str, tuple[Refusal, ...]]:
    """The rule that made a group cross, the reason, and what each island lacks for it."""
    host = problem.hosts[spot[0]]
    usable = [_usable(problem, replica, part, spot, island) for island in host.nvlink]
    largest = max(map(len, usable))
    if largest < part.count:
        because = f"it needs {part.count} cards, and the largest island of {host.name} has {largest} that it may use"
        return "larger than an island", because, ()
    large = [cards for cards in usable if len(cards) >= part.count]
    rejected = tuple(_lacking(state, part, spot, cards) for cards in large)
    if kept:
        return "sticky", "its locked seat is still legal, and a kept replica doesn't move for an island", rejected
    if all(isinstance(refusal, Exhausted) for refusal in rejected):
        return "no island free", f"no island of {host.name} had {part.count} cards with room for it", rejected
    return "earlier terms", "what is placed, moved or used comes before islands", rejected


def _usable(problem: Problem, replica: Replica, part: Part, spot: Spot, island: tuple[int, ...]) -> tuple[int, ...]:
    """The cards of an island that are of the group's kind and that the model may use."""
    host, cards = spot
    kinds, pins = problem.kinds[host], replica.task.pins
    allowed = island if pins is None else [card for card in island if card in pins.get(host, ())]
    return tuple(card for card in allowed if kinds[card] == kinds[cards[0]])


def _lacking(state: State, part: Part, spot: Spot, island: tuple[int, ...]) -> Refusal:
    """What an island lacks for a group that lies elsewhere: cards with room, or a reason to use more cards."""
    host, own = spot
    free, users = state.free[host], state.users[host]
    need = part.needs[-1]
    room = [
        card
        for card in island
        if card in own or (users[card] == 0 if part.exclusive else users[card] != ALONE and free[card] >= need)
    ]
    what = f"island GPU {_cards(island)}"
    if len(room) < part.count:
        return Exhausted(what=what, dimension="cards_with_room", needed=part.count, available=len(room))
    new = sorted(users[card] == 0 for card in room if card not in own)
    fresh = sum(new[: part.count - sum(card in own for card in room)])
    freed = sum(users[card] in (1, ALONE) for card in own if card not in room)
    if fresh > freed:
        detail = f"it has room, but {fresh - freed} more of the host's cards would be in use"
        return Excluded(what=what, rule="fewer cards in use", detail=detail)
    return Excluded(
        what=what, rule="limit of the search", detail="it has room; exchanges with kept cards are not tried"
    )


def _island(host: Host, card: int) -> tuple[int, ...]:
    return next(island for island in host.nvlink if card in island)


def _cards(cards: tuple[int, ...] | list[int]) -> str:
    return ",".join(map(str, cards))
