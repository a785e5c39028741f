"""Laws of placing, on random fleets."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from small_fleets import candidates_of, cluster, host, lock_of, model, need, place, plan_of, where

from gslc.ir.inputs import Cluster, Host, Model
from gslc.ir.placement import Placement
from gslc.passes.check import check_plan
from gslc.passes.placing.cost import Weigher
from gslc.passes.placing.fit import FIRST, TIGHTEST, Fitter
from gslc.passes.placing.orders import largest_first
from gslc.passes.placing.problem import problem_of
from gslc.passes.placing.search import Search
from gslc.passes.placing.state import State

QUICK = settings(max_examples=40, deadline=None, derandomize=True)

cards = st.sampled_from([8, 16, 24, 24, 48])
hosts = st.lists(
    st.tuples(st.lists(cards, max_size=4), st.sampled_from([16, 64, 128]), st.booleans()), min_size=1, max_size=4
)
parts = st.builds(
    need, st.sampled_from([1, 1, 1, 2, 4]), st.integers(1, 30), st.integers(0, 20), st.just(0)
) | st.builds(lambda size: need(0, 0, size, size), st.integers(1, 30))
models = st.lists(
    st.tuples(
        st.lists(parts | st.lists(parts, min_size=2, max_size=2), min_size=1, max_size=3),
        st.integers(1, 3),
        st.fixed_dictionaries(
            {},
            optional={
                "exclusive_gpus": st.booleans(),
                "anti_affinity": st.just("host"),
                "placement": st.just("spread"),
                "priority": st.integers(0, 2),
                "port": st.integers(20000, 20002),
            },
        ),
    ),
    min_size=1,
    max_size=6,
)


def hosts_of(rows: list[tuple[list[int], int, bool]]) -> list[Host]:
    return [
        host(f"h{index}", sizes, memory, unified_memory=unified and bool(sizes))
        for index, (sizes, memory, unified) in enumerate(rows)
    ]


def models_of(rows: list[tuple[list[object], int, dict[str, object]]]) -> list[Model]:
    return [
        model(f"m{index}", *alternatives, replicas=replicas, **keys)  # type: ignore[arg-type]
        for index, (alternatives, replicas, keys) in enumerate(rows)
    ]


fleets = st.builds(lambda some, more: cluster(hosts_of(some), models_of(more)), hosts, models)


@given(fleets)
@QUICK
def test_no_plan_breaks_a_rule(fleet: Cluster) -> None:
    outcome = place(fleet)
    assert outcome.value is not None
    assert check_plan(plan_of(fleet, outcome.value), fleet, {}) == ()


@given(fleets)
@QUICK
def test_every_replica_is_placed_or_refused_with_a_reason(fleet: Cluster) -> None:
    outcome = place(fleet)
    assert outcome.value is not None
    names = [(entry.model, entry.replica) for entry in (*outcome.value.assignments, *outcome.value.unplaced)]
    assert sorted(names) == [(entry.name, number) for entry in fleet.models for number in range(entry.replicas)]
    refused = {entry.place.file.split("/")[1] for entry in outcome.diagnostics if entry.severity == "error"}
    assert {entry.model for entry in outcome.value.unplaced} <= refused
    assert all(entry.decisions for entry in outcome.value.assignments)


@given(fleets, st.randoms(use_true_random=False))
@QUICK
def test_the_order_of_the_input_never_matters(fleet: Cluster, dice: object) -> None:
    shuffled_hosts, shuffled_models = list(fleet.hosts), list(fleet.models)
    dice.shuffle(shuffled_hosts)  # type: ignore[attr-defined]
    dice.shuffle(shuffled_models)  # type: ignore[attr-defined]
    other = replace(fleet, hosts=tuple(shuffled_hosts), models=tuple(shuffled_models))
    assert place(fleet) == place(other)


@given(fleets)
@QUICK
def test_a_second_build_changes_nothing(fleet: Cluster) -> None:
    first = place(fleet).value
    assert first is not None
    second = place(fleet, lock_of(first)).value
    assert second is not None
    assert [(entry.model, entry.replica, entry.seats, entry.choice) for entry in second.assignments] == [
        (entry.model, entry.replica, entry.seats, entry.choice) for entry in first.assignments
    ]


@given(fleets, models)
@QUICK
def test_a_new_model_moves_nobody(fleet: Cluster, more: list[tuple[list[object], int, dict[str, object]]]) -> None:
    before = place(fleet)
    assert before.value is not None
    extra = [replace(entry, name=f"z{entry.name}") for entry in models_of(more)]
    after = place(replace(fleet, models=(*fleet.models, *extra)), lock_of(before.value))
    assert where(before).items() <= where(after).items()


@given(fleets)
@QUICK
def test_a_lost_host_moves_only_its_own(fleet: Cluster) -> None:
    before = place(fleet)
    assert before.value is not None
    rest = replace(fleet, hosts=fleet.hosts[1:])
    lost = fleet.hosts[0].name
    after = where(place(rest, lock_of(before.value)))
    stay = {name: spots for name, spots in where(before).items() if f"{lost}:" not in spots}
    assert stay.items() <= after.items()


@given(fleets)
@QUICK
def test_the_plan_is_never_worse_than_first_fit_or_best_fit_decreasing(fleet: Cluster) -> None:
    candidates = candidates_of(fleet)
    problem = problem_of(candidates, fleet)
    weigher = Weigher(problem, {})
    costs = []
    for style in (FIRST, TIGHTEST):
        state = State(problem)
        search = Search(problem, state, Fitter(problem), weigher, frozenset())
        search.greedy(list(problem.replicas), largest_first, style)
        costs.append(weigher.cost(state))
    state = State(problem)
    Search(problem, state, Fitter(problem), weigher, frozenset()).run()
    assert weigher.cost(state) <= min(costs)


@given(fleets)
@QUICK
def test_a_new_plan_after_a_loss_breaks_no_rule_and_places_no_fewer(fleet: Cluster) -> None:
    before = place(fleet).value
    assert before is not None
    rest = replace(fleet, hosts=fleet.hosts[1:])
    kept, anew = place(rest, lock_of(before)).value, place(rest, lock_of(before), replan=True).value
    assert kept is not None
    assert anew is not None
    assert check_plan(plan_of(rest, anew), rest, {}) == ()
    levels = sorted({entry.priority for entry in fleet.models}, reverse=True)
    priority = {entry.name: entry.priority for entry in fleet.models}

    def missing(placement: Placement) -> list[int]:
        return [sum(1 for entry in placement.unplaced if priority[entry.model] == level) for level in levels]

    assert missing(anew) <= missing(kept)
