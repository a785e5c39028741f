"""NVLink islands of a host: which island a card is in, and which of equally good cards are linked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Links: TypeAlias = tuple[int, ...]  # by card: the number of its island; () where the host doesn't say


def links_of(islands: Sequence[tuple[int, ...]], cards: int) -> Links:
    """The island of every card; one that has no links is an island of its own. () where there are no islands."""
    if not islands:
        return ()
    known = {card: number for number, island in enumerate(islands) for card in island}
    return tuple([known.get(card, len(islands) + card) for card in range(cards)])


def islands_in(links: Links, cards: Sequence[int]) -> int:
    """How many islands these cards are in; 0 where the host doesn't say."""
    return len({links[card] for card in cards}) if links else 0


def linked_cards(ranked: Sequence[tuple[int, int]], count: int, links: Links) -> list[int]:
    """The `count` best cards of (preference, card), lower ones first; of equal ones those in as few islands as can be.

    A whole island is taken from the smallest that has enough, so that larger ones stay whole.
    """
    ranked = sorted(ranked)
    limit = ranked[count - 1][0]
    chosen = [card for preference, card in ranked if preference < limit]
    left: dict[int, list[int]] = {}
    for preference, card in ranked:
        if preference == limit:
            left.setdefault(links[card], []).append(card)
    touched = {links[card] for card in chosen}
    while len(chosen) < count:
        missing = count - len(chosen)
        enough = [island for island, cards in left.items() if len(cards) >= missing]
        if enough:
            island = min(enough, key=lambda one: (one not in touched, len(left[one]), left[one][0]))
        else:
            island = min(left, key=lambda one: (one not in touched, -len(left[one]), left[one][0]))
        chosen += left.pop(island)[:missing]
        touched.add(island)
    return chosen
