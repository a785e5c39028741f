"""The published figures hold against measured memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import truth

PAGE = Path(__file__).parents[4] / "docs" / "memory.md"


FIGURES = 8  # as many as the page publishes


def test_all_figures_are_published() -> None:
    assert len(truth.promises()) == FIGURES


@pytest.mark.parametrize("number", range(FIGURES))
def test_every_published_figure_is_kept(number: int) -> None:
    promise = truth.promises()[number]
    assert promise.kept, f"{promise.text}: {promise.value}, promised {promise.limit}"


def test_really_allocated_rows_of_dense_models_are_right_to_the_byte() -> None:
    rows = [c for c in truth.compare("llamacpp", None) if c.mode == "real" and c.model == "llama3.2-1b-q4_k_m"]
    assert len(rows) > 10
    assert all(c.total[0] == c.total[1] for c in rows if c.device != "host")


def test_layers_lie_where_the_engine_put_them() -> None:
    for row, answer in truth.estimates("llamacpp", None):
        found = [("CPU" if device < 0 else f"RPC{device}") for device in answer.layers]
        assert found == [name for name, count in row["layers"] for _ in range(count)], row["set"]


def test_the_published_table_is_the_one_that_the_script_prints() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("<!-- table -->\n")[2].partition("<!-- end -->")[0]
    assert table.strip() == truth.markdown().strip()
