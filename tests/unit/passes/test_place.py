"""Placing: the objective, the rules, what stays and what moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_fleets import EMPTY_LOCK, GIB, by_name, cluster, host, lock_of, model, need, place, where

from gslc.ir.diagnostic import Excluded, Outcome
from gslc.ir.inputs import Cluster
from gslc.ir.lock import Lock, LockedPlacement, Seat
from gslc.ir.placement import Placement
from gslc.ir.plan import Layout


def placed(fleet: Cluster, lock: Lock = EMPTY_LOCK, *, replan: bool = False) -> Placement:
    """The placement of a fleet in which everything has a place."""
    outcome = place(fleet, lock, replan=replan)
    assert outcome.value is not None
    assert outcome.value.unplaced == (), [entry.message for entry in outcome.diagnostics]
    return outcome.value


def codes(outcome: Outcome[Placement]) -> list[str]:
    return [entry.code for entry in outcome.diagnostics]


# ------------------------------------------------------------------ traps: the optimum is known


def test_a_flexible_model_leaves_the_large_card_to_a_rigid_one() -> None:
    fleet = cluster([host("a", [24]), host("b", [80])], [model("flexible", need(1, 20)), model("rigid", need(1, 70))])
    assert where(place(fleet)) == {"flexible-0": "a:0", "rigid-0": "b:0"}


def test_two_cards_are_filled_to_the_last_byte() -> None:
    sizes = (11, 9, 8, 7, 7, 6)
    fleet = cluster([host("a", [24, 24])], [model(f"m{index}", need(1, size)) for index, size in enumerate(sizes)])
    assert placed(fleet).stats.gpus_used == 2


def test_anti_affinity_is_served_before_the_hosts_are_full() -> None:
    fleet = cluster(
        [host("a", [24]), host("b", [48])],
        [model("apart", need(1, 20), replicas=2, anti_affinity="host"), model("big", need(1, 28))],
    )
    assert where(place(fleet)) == {"apart-0": "a:0", "apart-1": "b:0", "big-0": "b:0"}


def test_groups_of_equal_cards_are_not_split_by_single_cards() -> None:
    fleet = cluster(
        [host("a", [24, 24, 48])],
        [model("pair", need(2, 22), exclusive_gpus=True), model("single", need(1, 20), exclusive_gpus=True)],
    )
    assert where(place(fleet)) == {"pair-0": "a:0,1", "single-0": "a:2"}


def test_parts_of_a_replica_lie_on_different_hosts_of_different_size() -> None:
    fleet = cluster(
        [host("a", [24]), host("b", [80]), host("c", [48])],
        [model("wide", [need(1, 70), need(1, 20)]), model("other", need(1, 40))],
    )
    assert where(place(fleet)) == {"wide-0": "b:0 a:0", "other-0": "c:0"}


def test_host_memory_decides_where_cards_do_not() -> None:
    fleet = cluster(
        [host("a", [24, 24], 32), host("b", [24, 24], 64)],
        [model("m", need(1, 10, 30), replicas=2), model("n", need(1, 10, 31))],
    )
    assert len(where(place(fleet))) == 3


def test_nothing_is_offloaded_that_fits_on_cards_together() -> None:
    fleet = cluster(
        [host("a", [24, 24], 256)],
        [
            model("big", need(1, 22), need(2, 12), need(0, 0, 22, 22)),
            model("small", need(1, 12), need(0, 0, 12, 12)),
            model("tiny", need(1, 12), need(0, 0, 12, 12)),
        ],
    )
    assert placed(fleet).stats.offloaded_bytes == 0


def test_more_replicas_are_placed_rather_than_larger_ones() -> None:
    fleet = cluster([host("a", [24])], [model("large", need(1, 20)), model("small", need(1, 8), replicas=3)])
    assert set(where(place(fleet))) == {"small-0", "small-1", "small-2"}


def test_higher_priority_goes_before_more_replicas() -> None:
    models = [model("large", need(1, 20), priority=1), model("small", need(1, 8), replicas=3)]
    assert set(where(place(cluster([host("a", [24])], models)))) == {"large-0"}


def test_a_better_alternative_goes_before_fewer_cards() -> None:
    fleet = cluster([host("a", [24, 24])], [model("m", need(2, 8), need(1, 16))])
    assert where(place(fleet)) == {"m-0": "a:0,1"}


def test_fewer_cards_are_used_where_the_rest_is_equal() -> None:
    fleet = cluster([host("a", [24, 24]), host("b", [24])], [model("m", need(1, 8), replicas=3)])
    assert placed(fleet).stats.gpus_used == 1


def test_spread_puts_replicas_on_different_hosts() -> None:
    fleet = cluster([host(name, [24, 24]) for name in "abc"], [model("m", need(1, 8), replicas=3, placement="spread")])
    assert {seat.host for entry in placed(fleet).assignments for seat in entry.seats} == {"a", "b", "c"}


# ------------------------------------------------------------------ rules


def test_exclusive_cards_are_not_shared() -> None:
    fleet = cluster([host("a", [24])], [model("m", need(1, 4), exclusive_gpus=True), model("n", need(1, 4))])
    assert codes(place(fleet)) == ["GS402"]


def test_unified_memory_counts_cards_and_host_together() -> None:
    apple = host("mac", [48], 48, unified_memory=True)
    assert codes(place(cluster([apple], [model("m", need(1, 30, 4)), model("n", need(1, 15, 4))]))) == ["GS402"]
    assert codes(place(cluster([apple], [model("m", need(1, 30, 4)), model("n", need(1, 10, 4))]))) == []


def test_reserved_memory_stays_free() -> None:
    keeping = host("a", [24], 64, reserved_gpu_memory_bytes=GIB, reserved_memory_bytes=2 * GIB)
    assert codes(place(cluster([keeping], [model("m", need(1, 23, 62))]))) == []
    assert codes(place(cluster([keeping], [model("m", need(1, 23.5, 8))]))) == ["GS402"]
    assert codes(place(cluster([keeping], [model("m", need(1, 8, 63))]))) == ["GS402"]


def test_pins_are_the_only_cards_used() -> None:
    fleet = cluster(
        [host("a", [24, 24]), host("b", [24])],
        [model("m", need(1, 20), replicas=2, gpus=(("a", 1), ("b", 0)))],
    )
    assert where(place(fleet)) == {"m-0": "a:1", "m-1": "b:0"}


def test_a_model_with_pins_never_runs_on_the_cpu() -> None:
    fleet = cluster([host("a", [24])], [model("m", need(1, 40), need(0, 0, 4, 4), gpus=(("a", 0),))])
    assert codes(place(fleet)) == ["GS402"]


def test_parts_need_addresses_and_one_target() -> None:
    wide = model("m", [need(1, 20), need(1, 20)])
    silent = cluster([host("a", [24]), host("b", [24], address=None)], [wide])
    mixed = cluster([host("a", [24]), host("b", [24], target="compose")], [replace(wide, image="an/image:1")])
    assert codes(place(silent)) == codes(place(mixed)) == ["GS405"]


def test_a_host_without_an_address_is_named_and_to_be_given_one() -> None:
    wide = model("m", [need(1, 20), need(1, 20)])
    for addresses, names, verb in (((None, "10.0.0.2"), "a", "has"), ((None, None), "a, b", "have")):
        hosts = [host(name, [24], address=address) for name, address in zip("ab", addresses, strict=True)]
        outcome = place(cluster(hosts, [wide]))
        [found] = outcome.diagnostics
        assert found.message.endswith(f"each with an address; {names} {verb} none")
        assert found.help == " and ".join(f"set hosts.{name}.address" for name in names.split(", "))
        [refusal] = outcome.decisions[-1].rejected
        assert isinstance(refusal, Excluded)
        assert (refusal.rule, refusal.what) == ("address", names)


def test_replicas_under_nomad_are_not_mixed_with_other_targets() -> None:
    hosts = [host("a", [24], target="nomad", nomad_driver="raw_exec"), host("b", [24])]
    assert codes(place(cluster(hosts, [model("m", need(1, 20), replicas=2)]))) == ["GS405"]
    assert codes(place(cluster(hosts, [model("m", need(1, 20)), model("n", need(1, 20))]))) == []


# ------------------------------------------------------------------ ports


def test_ports_are_the_lowest_free_of_each_host() -> None:
    fleet = cluster([host("a", [24])], [model("m", need(1, 4), replicas=2), model("n", need(1, 4), port=20001)])
    ports = {name: entry.seats[0].ports for name, entry in by_name(placed(fleet)).items()}
    assert ports == {"m-0": (20000,), "m-1": (20002,), "n-0": (20001,)}


def test_a_fixed_port_keeps_replicas_on_different_hosts() -> None:
    fleet = cluster([host("a", [24]), host("b", [24])], [model("m", need(1, 4), replicas=2, port=8000)])
    assert where(place(fleet)) == {"m-0": "a:0", "m-1": "b:0"}
    assert codes(place(cluster([host("a", [24])], fleet.models))) == ["GS405"]


def test_a_taken_port_is_told_with_who_has_it_and_another_port_as_the_way_out() -> None:
    fleet = cluster([host("a", [24])], [model("m", need(1, 4), port=8000), model("n", need(1, 4), port=8000)])
    (found,) = place(fleet).diagnostics
    assert found.message == "no place for n-0: port 8000 is taken on a"
    assert [related.message for related in found.related] == ["m has this port"]
    assert found.help == "give models.n.port another number, or remove it: gslc takes the lowest free one"


def test_replicas_that_contend_for_their_own_port_need_fewer_or_more_hosts() -> None:
    (found,) = place(cluster([host("a", [24])], [model("m", need(1, 4), replicas=2, port=8000)])).diagnostics
    assert found.message == "no place for m-1: port 8000 is taken on a"
    assert found.help == "set models.m.replicas to 1, or add a host"


def test_ports_that_run_out_are_said() -> None:
    fleet = cluster([host("a", [24])], [model("m", need(1, 4), replicas=2)], port_range=(20000, 20000))
    assert codes(place(fleet)) == ["GS404"]


def test_a_locked_port_stays_when_a_lower_one_becomes_free() -> None:
    both = cluster([host("a", [24])], [model("m", need(1, 4)), model("n", need(1, 4))])
    only = cluster([host("a", [24])], [model("n", need(1, 4))])
    assert placed(only, lock_of(placed(both))).assignments[0].seats[0].ports == (20001,)


# ------------------------------------------------------------------ what is locked stays


def locked(name: str, *seats: Seat, requirement: int = 0) -> Lock:
    entry = LockedPlacement(
        model=name, replica=0, backend="custom", seats=seats, layout=Layout(requirement=requirement)
    )
    return Lock(cluster="lab", facts={}, placements=(entry,))


def test_a_locked_seat_is_kept_though_another_is_better() -> None:
    fleet = cluster([host("a", [24]), host("b", [80])], [model("m", need(1, 20))])
    lock = locked("m", Seat(host="b", gpus=(0,), ports=(20007,)))
    outcome = place(fleet, lock)
    assert where(outcome) == {"m-0": "b:0"}
    assert outcome.value is not None
    assert outcome.value.assignments[0].seats[0].ports == (20007,)
    assert outcome.value.assignments[0].moved_from is None


def test_a_changed_need_that_still_fits_stays() -> None:
    lock = locked("m", Seat(host="b", gpus=(0,), ports=(20000,)))
    fleet = cluster([host("a", [24]), host("b", [80])], [model("m", need(1, 60))])
    assert where(place(fleet, lock)) == {"m-0": "b:0"}


def test_another_layout_on_the_same_seat_is_not_a_move() -> None:
    lock = locked("m", Seat(host="b", gpus=(0,), ports=(20000,)), requirement=1)
    fleet = cluster([host("a", [24]), host("b", [80])], [model("m", need(1, 20))])
    outcome = place(fleet, lock)
    assert where(outcome) == {"m-0": "b:0"}
    assert codes(outcome) == []


def test_a_lost_host_moves_its_replicas_and_says_so() -> None:
    fleet = cluster([host("a", [24])], [model("m", need(1, 20))])
    outcome = place(fleet, locked("m", Seat(host="gone", gpus=(0,), ports=(20000,))))
    assert [entry.message for entry in outcome.diagnostics] == [
        "moved: m-0 from gone GPU 0 to a GPU 0, because host gone is gone"
    ]


def test_a_need_that_no_longer_fits_moves() -> None:
    fleet = cluster([host("a", [24]), host("b", [80])], [model("m", need(1, 60))])
    outcome = place(fleet, locked("m", Seat(host="a", gpus=(0,), ports=(20000,))))
    assert where(outcome) == {"m-0": "b:0"}
    assert "its needs have changed" in outcome.diagnostics[0].message


def test_a_build_says_what_replan_would_do() -> None:
    fleet = cluster([host("a", [24]), host("b", [48])], [model("m", need(1, 20)), model("n", need(1, 40))])
    lock = locked("m", Seat(host="b", gpus=(0,), ports=(20000,)))
    outcome = place(fleet, lock)
    assert codes(outcome) == ["GS402"]
    assert outcome.diagnostics[0].help == "run `gslc lock cluster.yaml --replan`: it places it with 1 move"
    assert where(place(fleet, lock, replan=True)) == {"m-0": "a:0", "n-0": "b:0"}


def test_replan_moves_nothing_where_nothing_is_gained() -> None:
    fleet = cluster([host("a", [24]), host("b", [80])], [model("m", need(1, 20)), model("n", need(1, 4))])
    lock = locked("m", Seat(host="b", gpus=(0,), ports=(20000,)))
    assert where(place(fleet, lock, replan=True))["m-0"] == "b:0"


# ------------------------------------------------------------------ refusals


def test_a_refusal_names_the_bytes_that_are_missing() -> None:
    outcome = place(cluster([host("a", [24])], [model("m", need(1, 20)), model("n", need(1, 5))]))
    assert outcome.diagnostics[0].message == (
        "no place for n-0: a: needs 5,368,709,120 bytes of memory on one GPU, at most 4,294,967,296 are left "
        "(1,073,741,824 short)"
    )


@pytest.mark.parametrize(
    ("keys", "help_text"),
    [
        ({"exclusive_gpus": True}, "remove models.m.exclusive_gpus"),
        ({"gpus": (("a", 0),)}, "remove models.m.gpus, so that all GPUs may be used"),
        ({}, "add one more card-24 (24 GiB) to a"),
    ],
)
def test_the_help_is_a_change_that_was_tried(keys: dict[str, object], help_text: str) -> None:
    hosts = [host("a", [24, 24] if "gpus" in keys else [24])]
    size = 2 if "exclusive_gpus" in keys else 20
    fleet = cluster(hosts, [model("l", need(1, 20), priority=1, gpus=(("a", 0),)), model("m", need(1, size), **keys)])
    assert place(fleet).diagnostics[0].help == help_text


def test_every_unplaced_replica_has_a_code() -> None:
    outcome = place(cluster([host("a", [24])], [model("m", need(1, 20), replicas=3)]))
    assert outcome.value is not None
    assert [(entry.replica, entry.code) for entry in outcome.value.unplaced] == [(1, "GS402"), (2, "GS402")]


def test_a_host_without_ports_left_is_passed_over() -> None:
    fleet = cluster([host("a", [24]), host("b", [24])], [model("m", need(1, 4), replicas=2)], port_range=(20000, 20000))
    assert where(place(fleet)) == {"m-0": "a:0", "m-1": "b:0"}


def test_replan_takes_a_replica_off_host_memory_and_a_build_leaves_it() -> None:
    fleet = cluster([host("a", [24]), host("b")], [model("m", need(1, 20), need(0, 0, 20, 20))])
    lock = locked("m", Seat(host="b", ports=(20000,)), requirement=1)
    assert where(place(fleet, lock)) == {"m-0": "b:"}
    assert where(place(fleet, lock, replan=True)) == {"m-0": "a:0"}


def test_replan_makes_room_by_the_fewest_moves() -> None:
    fleet = cluster(
        [host("a", [24, 24]), host("b", [24, 24]), host("c", [24])],
        [model("m", need(1, 20), replicas=2), model("pair", need(2, 20))],
    )
    lock = lock_of(placed(cluster(fleet.hosts[:2], [model("m", need(1, 20), replicas=2, anti_affinity="host")])))
    before, after = where(place(fleet, lock)), where(place(fleet, lock, replan=True))
    assert "pair-0" not in before
    assert len(after) == 3
    assert sum(1 for name in before if before[name] != after[name]) == 1
