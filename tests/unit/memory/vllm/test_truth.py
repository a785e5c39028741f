"""gslc says what vLLM itself said, number by number."""

from __future__ import annotations

import pytest
from tests.support.vllm_models import H200
from tests.support.vllm_truth import Agreement, counted_like, layouts, on_cards, rows_of


def off(rows: list[Agreement]) -> list[str]:
    """The rows that disagree, in words."""
    return [f"{row.name}: {row.question} is {row.real}, gslc says {row.ours}" for row in rows if not row.agrees]


@pytest.mark.parametrize(
    ("file", "version", "least"), [("vllm_ranks.json", "0.32.0", 400), ("vllm_architectures.json", "0.26.0", 100)]
)
def test_layouts_weights_and_caches_are_those_of_the_real_layers(file: str, version: str, least: int) -> None:
    rows = list(layouts(file, version))
    assert len(rows) >= least
    assert off(rows) == []


def test_starts_pools_and_longest_contexts_are_those_of_the_real_cards() -> None:
    rows = list(on_cards())
    assert sum(row.question == "starts" for row in rows) == 22
    assert off(rows) == []


def test_the_pool_is_never_promised_larger_than_the_real_card_gave() -> None:
    for row in rows_of("vllm_h200.json"):
        counted = counted_like(row, H200)
        for rank in row["ranks"]:
            assert counted.ranks[rank["rank"]].pool <= rank["kv_available"], (row["model"], row["scenario"])


def test_what_lies_outside_of_the_budget_is_never_counted_short() -> None:
    for row in rows_of("vllm_h200.json"):
        counted = counted_like(row, H200)
        for rank in row["ranks"]:
            assert counted.ranks[rank["rank"]].outside >= rank["init_non_torch"], (row["model"], row["scenario"])
