"""Fleets of which a full placement is known, and what the search makes of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from small_fleets import EMPTY_LOCK, candidates_of, plan_of

from gslc.passes.check import check_plan
from gslc.passes.place import place_models

BENCH = Path(__file__).resolve().parents[2] / "bench" / "instances.py"


def instances() -> ModuleType:
    """The bench's generator."""
    if "instances" not in sys.modules:
        spec = importlib.util.spec_from_file_location("instances", BENCH)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["instances"] = module
        spec.loader.exec_module(module)
    return sys.modules["instances"]


@pytest.mark.parametrize("seed", [0, 3, 4, 6, 7, 9, 10, 13, 22, 24, 33, 34])
def test_a_planted_fleet_that_defeats_best_fit_is_placed_whole(seed: int) -> None:
    planted = instances().planted(seed)
    placement = place_models(candidates_of(planted.fleet), planted.fleet, EMPTY_LOCK).value
    assert placement is not None
    assert (placement.stats.placed, placement.stats.offloaded_bytes) == (planted.replicas, 0)


def test_the_search_is_bounded_by_steps() -> None:
    planted = instances().planted(29)
    placement = place_models(candidates_of(planted.fleet), planted.fleet, EMPTY_LOCK).value
    assert placement is not None
    assert placement.stats.steps < 100_000


def test_a_large_fleet_asks_each_question_once() -> None:
    fleet = instances().wide_fleet(100, 200)
    placement = place_models(candidates_of(fleet), fleet, EMPTY_LOCK).value
    assert placement is not None
    assert placement.stats.placed == 200
    assert placement.stats.steps < 100 * 200  # fits worked out: far fewer than hosts x replicas x alternatives


@pytest.mark.parametrize(
    "flavour", ["plain", "tight", "rigid", "memory", "exclusive", "offload", "labels", "apart", "wide"]
)
def test_a_plan_of_a_full_fleet_breaks_no_rule(flavour: str) -> None:
    for seed in (1009, 1017, 1023):
        fleet = instances().planted(seed, flavour=flavour).fleet
        placement = place_models(candidates_of(fleet), fleet, EMPTY_LOCK).value
        assert placement is not None
        assert check_plan(plan_of(fleet, placement), fleet, {}) == ()


@pytest.mark.parametrize("seed", [1009, 1011, 1017, 1023, 1038])
def test_a_fleet_that_only_full_cards_can_hold_is_placed_whole(seed: int) -> None:
    planted = instances().planted(seed)
    placement = place_models(candidates_of(planted.fleet), planted.fleet, EMPTY_LOCK).value
    assert placement is not None
    assert (placement.stats.placed, placement.stats.offloaded_bytes) == (planted.replicas, 0)
