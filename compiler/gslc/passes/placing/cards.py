"""Which cards of one host a part takes: the tightest, of equal ones those that are linked."""

from __future__ import annotations

from bisect import bisect_left

from gslc.ir.nvlink import Links, linked_cards, swapped_for_linked
from gslc.passes.placing.options import Fit, Part, Sizes

UNTOUCHED = 1 << 60  # sorts cards that nobody uses behind all that are in use; larger than any memory


def best_cards(part: Part, usable: list[tuple[int, int]], free: list[int], links: Links) -> tuple[int, ...] | None:
    """The tightest cards for the needs, largest need first, of equal ones linked; finds cards where there are any."""
    usable.sort()
    if part.uniform:
        if links:
            return tuple(sorted(linked_cards(usable, part.count, links)))
        return tuple(sorted(card for _, card in usable[: part.count]))
    chosen: dict[int, int] = {}
    left = [card for _, card in usable]
    for need, slot in zip(part.needs, part.slots, strict=True):
        found = next((card for card in left if free[card] >= need), None)
        if found is None:
            return None
        left.remove(found)
        chosen[slot] = found
    if links and part.group:
        size = {card: entry for entry, card in usable}
        linked: dict[int, list[int]] = {}
        for card in swapped_for_linked([size[card] for card in chosen.values()], usable, links):
            linked.setdefault(size[card], []).append(card)
        return tuple([linked[size[chosen[slot]]].pop(0) for slot in range(part.count)])
    return tuple(chosen[slot] for slot in range(part.count))


def fit_alike(part: Part, memory: int, cards: tuple[Sizes, Sizes]) -> Fit | None:
    """The fit of a part with equal needs on a host whose cards nothing but their memory tells apart.

    `cards` are those that are shared by some and those that nobody uses, see State.sorted_cards.
    """
    touched, whole = cards
    count = part.count
    asked = (part.needs[0], -1)
    found: Sizes = []
    if not part.exclusive and touched and touched[-1] > asked:
        first = bisect_left(touched, asked)
        found = touched[first : first + count]
    new = count - len(found)
    if new:
        first = bisect_left(whole, asked)
        found = found + whole[first : first + new]
        if len(found) < count:
            return None
    rest = (len(whole), memory - part.memory, 0)
    if count == 1:
        left, card = found[0]
        chosen: tuple[int, ...] = (card,)
    else:
        left = sum([size for size, _ in found])
        chosen = tuple(sorted([card for _, card in found]))
    if not part.exclusive:
        left -= part.bulk
    return ((new, left, *rest), (left, new, *rest), (), chosen)
