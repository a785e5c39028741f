"""NVLink islands: groups of cards lie in one where nothing else is lost by it, and singles leave islands whole."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fleets import EMPTY_LOCK, candidates_of, cluster, host, lock_of, model, need, place, plan_of, where

from gslc.ir.diagnostic import Decision, Excluded, Exhausted
from gslc.ir.inputs import Cluster, Host, Model
from gslc.ir.lock import Lock, LockedPlacement, Seat
from gslc.ir.nvlink import islands_in, linked_cards, links_of
from gslc.ir.plan import Layout
from gslc.passes.check import check_plan
from gslc.passes.placing.cost import Weigher
from gslc.passes.placing.islands import Dealer, cards_of_space, deal_out, join_islands, table_of
from gslc.passes.placing.problem import Problem, problem_of
from gslc.passes.placing.state import Position, State

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
PAIRS = ((0, 1), (2, 3))
CROSSED = ((0, 2), (1, 3))


def locked(*seats: tuple[str, int, tuple[int, ...]]) -> Lock:
    """A lock with replicas of one host's cards: model, replica, cards of host a; ports from 20000 up."""
    return Lock(
        cluster="lab",
        facts={},
        placements=tuple(
            LockedPlacement(
                model=name,
                replica=number,
                backend="custom",
                seats=(Seat(host="a", gpus=cards, ports=(20000 + index,)),),
                layout=Layout(requirement=0),
            )
            for index, (name, number, cards) in enumerate(seats)
        ),
    )


def nvlink_decision(fleet: Cluster, name: str, lock: Lock = EMPTY_LOCK) -> Decision:
    """The decision about a replica's islands."""
    (found,) = [entry for entry in place(fleet, lock).decisions if (entry.subject, entry.topic) == (name, "NVLink")]
    return found


# ------------------------------------------------------------------ which cards


@pytest.mark.parametrize(("islands", "pair"), [(PAIRS, "a:0,1"), (CROSSED, "a:0,2"), (((0, 3), (1, 2)), "a:0,3")])
def test_a_pair_lies_in_one_island_and_singles_share_the_other(islands: tuple[tuple[int, ...], ...], pair: str) -> None:
    fleet = cluster(
        [host("a", [24] * 4, nvlink=islands)],
        [model("pair", need(2, 20), exclusive_gpus=True), model("single", need(1, 20), replicas=2)],
    )
    found = where(place(fleet))
    assert found["pair-0"] == pair
    assert {found["single-0"], found["single-1"]} == {f"a:{card}" for card in range(4) if str(card) not in pair}


def test_a_single_replica_breaks_no_island_while_a_broken_one_has_a_card() -> None:
    fleet = cluster([host("a", [24] * 5, nvlink=PAIRS)], [model("s", need(1, 20), replicas=4)])
    one = replace(fleet, models=(replace(fleet.models[0], replicas=1),))
    assert where(place(one)) == {"s-0": "a:4"}  # the card without a link
    lock = locked(("s", 0, (2,)), ("s", 1, (4,)))
    two = replace(fleet, models=(replace(fleet.models[0], replicas=3),))
    assert where(place(two, lock)) == {"s-0": "a:2", "s-1": "a:4", "s-2": "a:3"}


def test_a_card_in_use_goes_before_a_whole_island() -> None:
    fleet = cluster([host("a", [24] * 4, nvlink=PAIRS)], [model("s", need(1, 10), replicas=2), model("t", need(2, 12))])
    lock = locked(("s", 0, (0,)), ("s", 1, (2,)))
    assert where(place(fleet, lock))["t-0"] == "a:0,2"  # no more cards in use: term 5 goes before term 7


def test_the_tightest_cards_go_before_linked_ones() -> None:
    fleet = cluster(
        [host("a", [24] * 4, nvlink=PAIRS)], [model("s", need(1, 4), replicas=2), model("t", need(2, 10), replicas=1)]
    )
    lock = locked(("s", 0, (1,)), ("s", 1, (3,)))
    assert where(place(fleet, lock))["t-0"] == "a:1,3"


def test_groups_of_four_and_two_share_hosts_of_two_quads() -> None:
    quads = ((0, 2, 4, 6), (1, 3, 5, 7))
    fleet = cluster(
        [host("a", [80] * 8, nvlink=quads)],
        [model("four", need(4, 70)), model("two", need(2, 70), replicas=2)],
    )
    found = where(place(fleet))
    links = links_of(quads, 8)
    assert all(islands_in(links, cards_of(spot)) == 1 for spot in found.values())


def test_a_host_whose_islands_are_whole_is_taken_where_the_rest_is_equal() -> None:
    fleet = cluster(
        [host("a", [24] * 2 + [48] * 2, nvlink=CROSSED), host("b", [24] * 2 + [48] * 2, nvlink=PAIRS)],
        [model("pair", need(2, 20))],
    )
    assert where(place(fleet)) == {"pair-0": "b:0,1"}


def test_a_group_goes_to_another_host_for_a_whole_island_and_not_for_more_cards() -> None:
    hosts = [host("a", [24] * 4, nvlink=PAIRS), host("b", [24] * 4, nvlink=PAIRS)]
    singles = model("s", need(1, 20), replicas=2)
    lock = locked(("s", 0, (0,)), ("s", 1, (2,)))
    assert where(place(cluster(hosts, [singles, model("pair", need(2, 20))]), lock))["pair-0"] == "b:0,1"
    halves = cluster(hosts, [model("s", need(1, 10), replicas=2), model("pair", need(2, 12))])
    assert where(place(halves, lock))["pair-0"] == "a:0,2"


def test_replicas_are_numbered_by_host_and_card_after_all() -> None:
    fleet = cluster(
        [host("a", [24] * 8, nvlink=((0, 7), (1, 6), (2, 5), (3, 4)))], [model("pair", need(2, 20), replicas=4)]
    )
    assert list(where(place(fleet)).values()) == ["a:0,7", "a:1,6", "a:2,5", "a:3,4"]


def test_a_large_fleet_has_no_group_that_could_lie_in_an_island() -> None:
    hosts = [host(f"h{index:03}", [80] * 8, 512, nvlink=((0, 4), (1, 5), (2, 6), (3, 7))) for index in range(100)]
    fleet = cluster(hosts, [model("pair", need(2, 70), replicas=250), model("one", need(1, 70), replicas=250)])
    links = links_of(hosts[0].nvlink, 8)
    found = where(place(fleet))
    assert len(found) == 500
    assert all(islands_in(links, cards_of(spot)) == 1 for spot in found.values())


def test_a_group_over_two_hosts_lies_in_an_island_of_each() -> None:
    fleet = cluster(
        [host("a", [24] * 4, nvlink=CROSSED), host("b", [24] * 4, nvlink=((0, 3), (1, 2)))],
        [model("wide", [need(2, 20), need(2, 20)])],
    )
    assert sorted(where(place(fleet))["wide-0"].split()) == ["a:0,2", "b:0,3"]


def test_pins_keep_a_group_on_its_own_cards() -> None:
    fleet = cluster(
        [host("a", [24] * 4, nvlink=PAIRS)],
        [model("pinned", need(2, 20), gpus=(("a", 1), ("a", 2))), model("single", need(1, 20), replicas=2)],
    )
    assert where(place(fleet))["pinned-0"] == "a:1,2"
    wider = replace(fleet.models[0], gpus=(("a", 1), ("a", 2), ("a", 3)))
    assert where(place(replace(fleet, models=(wider, fleet.models[1]))))["pinned-0"] == "a:2,3"


def test_hosts_without_the_key_and_other_alternatives_are_as_ever() -> None:
    models = [model("pair", need(2, 20), need(0, 0, 40, 40), replicas=2), model("one", need(1, 9), replicas=3)]
    plain = cluster([host("a", [24] * 4), host("b", [24, 48])], models)
    assert where(place(plain)) == where(place(replace(plain, hosts=tuple(replace(h, nvlink=()) for h in plain.hosts))))
    costs = Weigher(problem_of(candidates_of(plain), plain), {}).cost(State(problem_of(candidates_of(plain), plain)))
    assert costs[-1] == 0


# ------------------------------------------------------------------ what stays


def test_a_kept_group_that_crosses_is_never_moved_by_a_build_nor_by_a_new_plan() -> None:
    fleet = cluster([host("a", [24] * 4, nvlink=PAIRS)], [model("pair", need(2, 20))])
    lock = locked(("pair", 0, (0, 2)))
    assert where(place(fleet, lock)) == {"pair-0": "a:0,2"}
    assert where(place(fleet, lock, replan=True)) == {"pair-0": "a:0,2"}  # a move costs more than a crossing


def test_a_new_group_takes_the_island_that_kept_replicas_left_whole() -> None:
    fleet = cluster(
        [host("a", [24] * 6, nvlink=((0, 1), (2, 3), (4, 5)))],
        [model("pair", need(2, 20), replicas=2), model("single", need(1, 20), replicas=2)],
    )
    lock = locked(("single", 0, (0,)), ("single", 1, (3,)))
    found = where(place(fleet, lock))
    assert (found["single-0"], found["single-1"]) == ("a:0", "a:3")
    assert sorted((found["pair-0"], found["pair-1"])) == ["a:1,2", "a:4,5"]


# ------------------------------------------------------------------ reasons


def test_a_group_in_an_island_says_which() -> None:
    fleet = cluster([host("a", [24] * 4, nvlink=CROSSED)], [model("pair", need(2, 20))])
    decision = nvlink_decision(fleet, "pair-0")
    assert (decision.chosen, decision.rule, decision.scope) == ("one island of a: GPU 0,2", "linked", "fleet")
    assert decision.evidence == (("cards", 2), ("islands", 1))


def test_a_group_larger_than_any_island_says_so() -> None:
    fleet = cluster([host("a", [24] * 4, nvlink=PAIRS)], [model("four", need(4, 20))])
    decision = nvlink_decision(fleet, "four-0")
    assert decision.chosen == "crosses 2 islands of a: GPU 0,1 and GPU 2,3"
    assert decision.because == "it needs 4 cards, and the largest island of a has 2 that it may use"


def test_a_group_that_finds_no_whole_island_says_what_each_lacks() -> None:
    fleet = cluster([host("a", [24] * 4, nvlink=PAIRS)], [model("p", need(2, 20)), model("s", need(1, 20), replicas=2)])
    decision = nvlink_decision(fleet, "p-0", locked(("s", 0, (0,)), ("s", 1, (3,))))
    assert decision.chosen == "crosses 2 islands of a: GPU 1 and GPU 2"
    assert decision.rule == "no island free"
    assert decision.rejected == tuple(
        Exhausted(what=f"island GPU {cards}", dimension="cards_with_room", needed=2, available=1)
        for cards in ("0,1", "2,3")
    )


def test_a_group_that_saves_cards_by_crossing_says_so() -> None:
    fleet = cluster([host("a", [24] * 4, nvlink=PAIRS)], [model("s", need(1, 10), replicas=2), model("t", need(2, 12))])
    decision = nvlink_decision(fleet, "t-0", locked(("s", 0, (0,)), ("s", 1, (2,))))
    assert decision.rule == "earlier terms"
    assert [entry.rule for entry in decision.rejected if isinstance(entry, Excluded)] == ["fewer cards in use"] * 2


def test_a_kept_group_says_that_it_is_kept() -> None:
    fleet = cluster([host("a", [24] * 4, nvlink=PAIRS)], [model("pair", need(2, 20))])
    assert nvlink_decision(fleet, "pair-0", locked(("pair", 0, (0, 2)))).rule == "sticky"


# ------------------------------------------------------------------ laws


def cards_of(spot: str) -> list[int]:
    return [int(card) for card in spot.split(":")[1].split(",")]


@st.composite
def partitions(draw: st.DrawFn, cards: int) -> tuple[tuple[int, ...], ...]:
    """Islands of a host: some of its cards in groups of two and more."""
    numbers = draw(st.lists(st.integers(0, 3), min_size=cards, max_size=cards))
    groups = [tuple(card for card in range(cards) if numbers[card] == number) for number in range(1, 4)]
    return tuple(sorted(group for group in groups if len(group) > 1))


@st.composite
def linked_hosts(draw: st.DrawFn, name: str, most: int) -> Host:
    cards = draw(st.integers(2, most))
    sizes = [draw(st.sampled_from([24, 24, 24, 48])) for _ in range(cards)]
    return host(name, sizes, 256, nvlink=draw(partitions(cards)))


@st.composite
def linked_models(draw: st.DrawFn) -> list[Model]:
    found = []
    for index in range(draw(st.integers(1, 5))):
        keys: dict[str, object] = {}
        if draw(st.integers(0, 3)) == 0:
            keys["exclusive_gpus"] = True
        if draw(st.integers(0, 4)) == 0:
            keys["placement"] = "spread"
        if draw(st.integers(0, 4)) == 0:
            keys["gpus"] = tuple(("h0", card) for card in draw(st.sets(st.integers(0, 5), min_size=2)))
        part = need(draw(st.sampled_from([1, 2, 2, 3, 4])), draw(st.sampled_from([4, 8, 11, 20])), 1)
        found.append(model(f"m{index}", part, replicas=draw(st.integers(1, 3)), **keys))
    return found


def fleet_of(hosts: list[Host], models: list[Model]) -> Cluster:
    """The fleet, with pins that its hosts have."""
    sizes = {entry.name: len(entry.gpus) for entry in hosts}
    kept = [
        replace(entry, gpus=tuple(pin for pin in entry.gpus if pin[1] < sizes[pin[0]])) if entry.gpus else entry
        for entry in models
    ]
    return cluster(hosts, kept)


def thrown(problem: Problem, state: State, data: st.DataObject) -> set[int]:
    """Replicas put on any cards that take them, and those among them that are held."""
    held = set()
    for replica in problem.replicas:
        for zone in replica.task.zones:
            for option in zone.options[:1]:
                part = option.parts[0]
                cards = data.draw(
                    st.permutations(range(len(problem.links[zone.hosts[0]]) or len(problem.kinds[zone.hosts[0]])))
                )
                position = Position(option=option, spots=((zone.hosts[0], tuple(sorted(cards[: part.count]))),))
                if state.positions[replica.id] is None and state.allows(replica.task, position):
                    state.take(replica, position)
                    if data.draw(st.integers(0, 3)) == 0:
                        held.add(replica.id)
    return held


def crossing_of(problem: Problem, seats: Mapping[int, tuple[int, ...]], parts: Mapping[int, bool]) -> tuple[int, int]:
    """Groups that cross islands, and islands beyond the first, on host 0."""
    counts = [islands_in(problem.links[0], cards) for number, cards in seats.items() if parts[number]]
    return sum(count > 1 for count in counts), sum(max(0, count - 1) for count in counts)


def best_by_permutation(problem: Problem, state: State, held: set[int]) -> tuple[int, int]:
    """The best that any exchange of equal cards without held replicas reaches, by trying them all."""
    seats = {number: position.spots[0][1] for number, position in enumerate(state.positions) if position is not None}
    groups = {number: position.option.parts[0].group for number, position in enumerate(state.positions) if position}
    pins = {number: problem.replicas[number].task.pins for number in seats}
    still = {card for number in held for card in seats[number]}
    cards = range(len(problem.kinds[0]))
    best = None
    for order in permutations(cards):
        if any(
            problem.kinds[0][card] != problem.kinds[0][new] or (card in still and card != new)
            for card, new in zip(cards, order, strict=True)
        ):
            continue
        moved = {number: tuple(order[card] for card in mine) for number, mine in seats.items()}
        if any(pin is not None and not set(moved[number]) <= set(pin.get(0, ())) for number, pin in pins.items()):
            continue
        cost = crossing_of(problem, moved, groups)
        best = cost if best is None or cost < best else best
    assert best is not None  # nothing moved is one of them
    return best


@given(linked_hosts("h0", 6), linked_models(), st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_exchange_of_equal_cards_is_better_and_nothing_else_changes(
    one: Host, models: list[Model], data: st.DataObject
) -> None:
    fleet = fleet_of([one], models)
    problem = problem_of(candidates_of(fleet), fleet)
    state = State(problem)
    held = thrown(problem, state, data)
    weigher = Weigher(problem, {number: state.positions[number].spots for number in held})  # type: ignore[union-attr]
    before, best = weigher.cost(state), best_by_permutation(problem, state, held)
    kept = {number: state.positions[number] for number in held}
    room = sorted(zip(problem.kinds[0], state.free[0], state.users[0], strict=True))
    deal_out(problem, state, held)
    after = weigher.cost(state)
    seats = {number: position.spots[0][1] for number, position in enumerate(state.positions) if position is not None}
    groups = {number: position.option.parts[0].group for number, position in enumerate(state.positions) if position}
    assert crossing_of(problem, seats, groups) == best
    assert (before[:-1], after[-1]) == (after[:-1], best[0])
    assert {number: state.positions[number] for number in held} == kept
    assert sorted(zip(problem.kinds[0], state.free[0], state.users[0], strict=True)) == room
    again = state.snapshot()
    assert deal_out(problem, state, held) == {}
    assert state.snapshot() == again


@given(linked_hosts("h0", 6), linked_hosts("h1", 4), linked_models(), st.data())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_joining_islands_costs_no_earlier_term_and_moves_nobody_who_is_held(
    one: Host, other: Host, models: list[Model], data: st.DataObject
) -> None:
    fleet = fleet_of([one, other], models)
    problem = problem_of(candidates_of(fleet), fleet)
    state = State(problem)
    held = thrown(problem, state, data)
    kept = {number: state.positions[number] for number in held}
    weigher = Weigher(problem, {number: position.spots for number, position in kept.items() if position is not None})
    before, alone = weigher.cost(state), State(problem)
    alone.restore(state.snapshot())
    deal_out(problem, alone, held)
    join_islands(problem, state, weigher, held)
    after = weigher.cost(state)
    assert after[:-1] <= before[:-1]
    assert after <= weigher.cost(alone)
    assert {number: state.positions[number] for number in held} == kept
    for replica in problem.replicas:  # what is placed is allowed where it is
        position = state.positions[replica.id]
        if position is not None:
            state.release(replica)
            assert state.allows(replica.task, position)
            state.take(replica, position)


@given(st.tuples(linked_hosts("h0", 5), linked_hosts("h1", 4), linked_hosts("h2", 4)), linked_models())
@QUICK
def test_plans_on_linked_hosts_keep_the_laws(hosts: tuple[Host, ...], models: list[Model]) -> None:
    fleet = fleet_of(list(hosts), models)
    outcome = place(fleet)
    assert outcome.value is not None
    assert check_plan(plan_of(fleet, outcome.value), fleet, {}) == ()
    turned = replace(fleet, hosts=fleet.hosts[::-1], models=fleet.models[::-1])
    assert place(turned) == outcome
    lock = lock_of(outcome.value)
    assert where(place(fleet, lock)) == where(outcome)
    unlinked = replace(fleet, hosts=tuple(replace(entry, nvlink=()) for entry in fleet.hosts))
    other = place(unlinked).value
    assert other is not None
    ranks = [sum(entry.choice.rank for entry in found.assignments) for found in (other, outcome.value)]
    assert (len(other.assignments), other.stats.gpus_used, ranks[0]) == (
        len(outcome.value.assignments),
        outcome.value.stats.gpus_used,
        ranks[1],
    )


@given(st.lists(st.integers(0, 2), min_size=1, max_size=8), st.integers(1, 8), st.data())
@QUICK
def test_linked_cards_are_the_best_cards_in_as_few_islands_as_can_be(
    preferences: list[int], count: int, data: st.DataObject
) -> None:
    count = min(count, len(preferences))
    islands = data.draw(partitions(len(preferences)))
    links = links_of(((0, 1),) if not islands and len(preferences) > 1 else islands or ((0,),), len(preferences))
    ranked = [(preference, card) for card, preference in enumerate(preferences)]
    chosen = linked_cards(ranked, count, links)
    best = sorted(preferences)[:count]
    assert sorted(preferences[card] for card in chosen) == best
    fewest = (
        min(
            islands_in(links, cards)
            for cards in permutations(range(len(preferences)), count)
            if sorted(preferences[card] for card in cards) == best
        )
        if len(preferences) <= 6
        else islands_in(links, chosen)
    )
    assert islands_in(links, chosen) == fewest


def test_a_search_that_is_cut_short_still_leaves_every_card_in_its_place() -> None:
    fleet = cluster(
        [host("a", [80] * 8, 512, nvlink=((0, 4), (1, 5), (2, 6), (3, 7)))], [model("p", need(2, 70), replicas=4)]
    )
    problem = problem_of(candidates_of(fleet), fleet)
    state = State(problem)
    for number, replica in enumerate(problem.replicas):
        state.take(
            replica, Position(option=replica.task.zones[0].options[0], spots=((0, (2 * number, 2 * number + 1)),))
        )
    for bound in (0, 1, 5):
        assert Dealer(table_of(problem, state, 0, ()), bound).moves(cards_of_space(problem, state, 0, ())) == {}
    assert sorted(
        Dealer(table_of(problem, state, 0, ()), 8).moves(cards_of_space(problem, state, 0, ())).values()
    ) == list(range(8))


def test_sixteen_cards_dealt_badly_are_put_right_in_few_steps() -> None:
    pairs = tuple((card, card + 8) for card in range(8))
    fleet = cluster([host("a", [80] * 16, 512, nvlink=pairs)], [model("pair", need(2, 70), replicas=8)])
    problem = problem_of(candidates_of(fleet), fleet)
    state = State(problem)
    for number, replica in enumerate(problem.replicas):
        option = replica.task.zones[0].options[0]
        state.take(replica, Position(option=option, spots=((0, (2 * number, 2 * number + 1)),)))
    weigher = Weigher(problem, {})
    assert weigher.crossings(state) == 8
    start = time.process_time()
    join_islands(problem, state, weigher, ())
    assert time.process_time() - start < 0.05
    assert weigher.crossings(state) == 0
