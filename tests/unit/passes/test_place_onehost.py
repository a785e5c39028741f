"""Whether needs fit the cards of one host together."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from gslc.passes.placing.onehost import Cards, Packer, Way

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def asked(free: list[int], needs: list[tuple[tuple[int, ...], bool]]) -> tuple[list[Way], object]:
    """The ways in the order of the question, and the answer."""
    packer = Packer()
    ground = packer.ground(Cards(free=tuple(free), fresh=(True,) * len(free), alike=(0,) * len(free)))
    allowed = tuple(range(len(free)))
    ways = sorted(packer.way(Way(needs=need, alone=alone, allowed=allowed)) for need, alone in needs)
    return [packer.ways[way] for way in ways], packer.seats(ground, tuple(ways))


def test_cards_are_filled_to_the_last_byte() -> None:
    ways, seating = asked([10, 10], [((6,), False), ((5,), False), ((5,), False), ((4,), False)])
    assert isinstance(seating, tuple)
    used = [sum(way.needs[0] for way, cards in zip(ways, seating, strict=True) if cards == (card,)) for card in (0, 1)]
    assert used == [10, 10]


def test_nobody_joins_an_exclusive_card() -> None:
    assert asked([10], [((1,), True), ((1,), False)])[1] is None
    assert asked([10, 10], [((1,), True), ((1,), False)])[1] is not None


def test_a_replica_on_the_cpu_needs_no_card() -> None:
    assert asked([], [((), False)])[1] == ((),)


@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=4),
)
@QUICK
def test_the_answer_is_that_of_trying_everything(free: list[int], rows: list[tuple[int, bool]]) -> None:
    def good(chosen: tuple[int, ...]) -> bool:
        for card, size in enumerate(free):
            mine = [row for row, where in zip(rows, chosen, strict=True) if where == card]
            if sum(need for need, _ in mine) > size or (len(mine) > 1 and any(alone for _, alone in mine)):
                return False
        return True

    possible = any(good(chosen) for chosen in product(range(len(free)), repeat=len(rows)))
    assert (asked(free, [((need,), alone) for need, alone in rows])[1] is not None) == possible
