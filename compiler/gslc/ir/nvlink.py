"""NVLink islands of a host: which island a card is in, and which of equally good cards are linked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    """The `count` best cards of (preference, card), lower ones first; of equal ones linked ones."""
    ranked = sorted(ranked)
    return swapped_for_linked([preference for preference, _ in ranked[:count]], ranked, links)


def swapped_for_linked(preferences: Sequence[int], ranked: Sequence[tuple[int, int]], links: Links) -> list[int]:
    """Cards with just these preferences out of `ranked`, as far as there is a choice in few islands; best first.

    A whole island is taken from the smallest that has enough, so that larger ones stay whole.
    """
    wanted: dict[int, int] = {}
    for preference in sorted(preferences):
        wanted[preference] = wanted.get(preference, 0) + 1
    equal: dict[int, list[int]] = {preference: [] for preference in wanted}
    for preference, card in ranked:
        if preference in equal:
            equal[preference].append(card)
    settled = [card for preference, cards in equal.items() if len(cards) == wanted[preference] for card in cards]
    touched = {links[card] for card in settled}
    found: dict[int, list[int]] = {}
    for preference, cards in equal.items():
        found[preference] = cards
        if len(cards) > wanted[preference]:
            found[preference] = _linked(cards, wanted[preference], links, touched)
            touched.update(links[card] for card in found[preference])
    return [card for cards in found.values() for card in sorted(cards)]


def _linked(cards: Sequence[int], count: int, links: Links, touched: Collection[int]) -> list[int]:
    """Some of equal cards: in the touched islands and few others, whole ones from the smallest that has enough."""
    left: dict[int, list[int]] = {}
    for card in sorted(cards):
        left.setdefault(links[card], []).append(card)
    chosen: list[int] = []
    while len(chosen) < count:
        missing = count - len(chosen)
        enough = [island for island, there in left.items() if len(there) >= missing]
        if enough:
            island = min(enough, key=lambda one: (one not in touched, len(left[one]), left[one][0]))
        else:
            island = min(left, key=lambda one: (one not in touched, -len(left[one]), left[one][0]))
        chosen += left.pop(island)[:missing]
    return chosen
