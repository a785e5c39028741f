"""Small fleets, searched card by card: ports, priorities, host memory and cards that are emptied in the end."""

from __future__ import annotations

from small_fleets import GIB, cluster, host, model, need, place, where

from gslc.ir.inputs import Model
from gslc.passes.placing.cost import Weigher
from gslc.passes.placing.dice import Dice
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.hall import Hall
from gslc.passes.placing.problem import problem_of
from gslc.passes.placing.state import State
from gslc.passes.placing.trade import Trader


def hall_of(hosts: list[object], models: list[Model], **keys: object) -> Hall:
    from small_fleets import candidates_of

    fleet = cluster(hosts, models, **keys)  # type: ignore[arg-type]
    problem = problem_of(candidates_of(fleet), fleet)
    return Hall(problem, State(problem), Fitter(problem), list(problem.replicas))


def seat(hall: Hall, number: int, host_number: int, card: int) -> None:
    """Put a replica of one card on a card of a host."""
    hall.put(number, (hall.at[number][host_number],), ((hall.base[host_number] + card,),))


def test_a_fixed_port_outside_of_the_range_leaves_the_range_to_others() -> None:
    fixed = [model(f"fixed{port}", need(1, 4), port=port) for port in (8000, 8001, 8002)]
    ranged = [model(f"ranged{number}", need(1, 4)) for number in range(2)]
    outcome = place(cluster([host("atlas", [24])], [*fixed, *ranged], port_range=(20000, 20001)))
    assert len(where(outcome)) == 5


def test_where_ports_are_few_the_larger_models_share_the_host_with_fewer_ports() -> None:
    small = [model(f"small{number}", need(1, 8)) for number in range(4)]
    hosts = [host("atlas", [16, 16]), host("bolt", [24])]
    outcome = place(cluster(hosts, [*small, model("large", need(1, 16))], port_range=(20000, 20002)))
    assert len(where(outcome)) == 5


def test_low_priorities_in_excess_take_no_place_from_a_higher_one() -> None:
    planted = [(12, 8, 4), (10, 9, 5), (13, 7, 4), (11, 6, 7)]
    high = [
        model(f"high{card}{number}", need(1, size), priority=3)
        for card, sizes in enumerate(planted)
        for number, size in enumerate(sizes)
    ]
    low = [model(f"low{number}", need(1, size)) for number, size in enumerate((24, 12, 6, 3, 2))]
    placed = where(place(cluster([host("atlas", [24, 24]), host("bolt", [24, 24])], [*high, *low])))
    assert {entry.name for entry in high} <= {name.rpartition("-")[0] for name in placed}


def test_replicas_without_a_card_are_dealt_out_so_that_host_memory_does_for_all() -> None:
    sizes = [(31, 17, 16), (29, 23, 12), (27, 22, 15)]
    models = [
        model(f"m{number}", need(0, 0, size)) for number, size in enumerate(size for row in sizes for size in row)
    ]
    outcome = place(cluster([host(name, [], 64) for name in ("atlas", "bolt", "core")], models))
    assert len(where(outcome)) == 9


def test_a_card_is_emptied_into_the_gaps_of_others() -> None:
    models = [model(f"m{number}", need(1, size)) for number, size in enumerate((20, 16, 12, 12, 10, 2))]
    outcome = place(cluster([host("a", [12, 48]), host("b", [24, 24, 24])], models))
    assert outcome.value is not None
    assert outcome.value.stats.gpus_used == 2


def test_one_large_card_is_opened_where_that_empties_two() -> None:
    models = [model(f"m{number}", need(1, size)) for number, size in enumerate((13, 13, 13))]
    outcome = place(cluster([host("a", [16, 16, 16]), host("b", [40])], models))
    assert outcome.value is not None
    assert outcome.value.stats.gpus_used == 1


def test_an_exchange_of_unequal_groups_makes_room() -> None:
    models = [model(f"m{number}", need(1, size)) for number, size in enumerate((14, 6, 13, 5, 10))]
    hall = hall_of([host("atlas", [24, 24])], models)
    for number, card in ((0, 0), (1, 0), (2, 1), (3, 1)):
        seat(hall, number, 0, card)
    assert [hall.free[card] // GIB for card in (0, 1)] == [4, 6]
    assert Trader(hall, Dice(1)).run(200) == 0
    assert hall.missing() == []


def test_an_exchange_of_equal_groups_levels_host_memory() -> None:
    models = [model("big0", need(1, 8, 40)), model("big1", need(1, 8, 40)), model("lean0", need(1, 8, 10))]
    hall = hall_of([host("atlas", [16], 64), host("bolt", [16], 64)], models)
    for number, host_number in ((0, 0), (1, 0), (2, 1)):
        seat(hall, number, host_number, 0)
    assert hall.over() == 16 * GIB
    assert Trader(hall, Dice(1)).run(200) == 0
    assert hall.over() == 0


def test_a_hall_counts_what_is_put_and_taken_out() -> None:
    models = [
        model("alone", need(1, 8, 4), exclusive_gpus=True),
        model("shared", need(2, 8, 4)),
        model("cpu", need(0, 0, 4)),
    ]
    hall = hall_of([host("atlas", [24, 24, 24], 64)], models)
    before = (list(hall.free), list(hall.users), list(hall.memory), list(hall.room))
    seats = {number: hall.at[number][0] for number in hall.movable}
    hall.put(0, (seats[0],), ((0,),))
    hall.put(1, (seats[1],), ((3,),))
    hall.put(2, (seats[2],), ((1, 2),))
    assert [hall.memory[0] // GIB, hall.room[0] // GIB] == [52, 32]
    assert not any(hall.fresh(card) for card in range(4))
    hall.clear()
    assert (list(hall.free), list(hall.users), list(hall.memory), list(hall.room)) == before


def test_a_priority_outweighs_all_below_it() -> None:
    models = [model("high", need(1, 1), priority=1), *(model(f"low{number}", need(1, 20)) for number in range(9))]
    hall = hall_of([host("atlas", [24, 24, 24])], models)
    assert hall.weight[0] > sum(hall.weight[number] for number in range(1, 10))


def test_a_tidied_fleet_costs_no_more_than_before() -> None:
    models = [model(f"m{number}", need(1, 3 + number), need(2, 2 + number)) for number in range(8)]
    fleet = cluster([host("atlas", [24, 24]), host("bolt", [24, 16])], models)
    outcome = place(fleet)
    assert outcome.value is not None
    from small_fleets import candidates_of

    problem = problem_of(candidates_of(fleet), fleet)
    state = State(problem)
    assert Weigher(problem, {}).cost(state)[0] == 8  # nothing placed yet: the worst there is
    assert outcome.value.stats.placed == 8
    assert sum(entry.choice.rank for entry in outcome.value.assignments) == 0
