"""Groups of replicas that may leave a card of a small fleet together."""

from __future__ import annotations

from itertools import combinations
from typing import TypeAlias

from gslc.passes.placing.dice import Dice
from gslc.passes.placing.hall import Hall

Bundle: TypeAlias = tuple[int, int, int, tuple[int, ...]]  # bytes on its card, bytes of host memory, card, replicas
MOST_LONE = 7  # replicas of a card that are taken into groups
GROUP = 3  # replicas of a group, at most


def bundles_of(hall: Hall, dice: Dice, card: int) -> list[Bundle]:
    """The groups that may leave a card, nobody among them, by size."""
    host = hall.host_of[card]
    lone = hall.lone[card]
    found: list[Bundle] = [(0, 0, card, ())]
    if lone and lone[0] in hall.alone:
        found.append((hall.ground[card], hall.single[lone[0]][host][1], card, (lone[0],)))
    else:
        rows = [(number, *hall.single[number][host][:2]) for number in lone if host in hall.single[number]]
        rows = dice.sample(rows, MOST_LONE)
        for count in (*range(1, min(GROUP, len(rows)) + 1), *([len(rows)] if len(rows) > GROUP else [])):
            found += [_bundle(card, group) for group in combinations(rows, count)]
        found.sort()
    return found


def _bundle(card: int, group: tuple[tuple[int, int, int], ...]) -> Bundle:
    """A group of replicas, each with its bytes on the card and in host memory."""
    return (sum([row[1] for row in group]), sum([row[2] for row in group]), card, tuple([row[0] for row in group]))
