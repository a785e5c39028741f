"""Real engines run under what `gslc build` writes: every step of every cell that can run here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.real_runs import RUNS, Run

pytestmark = pytest.mark.real


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_an_engine_is_verified_started_asked_killed_and_stopped(run: Callable[[], Run]) -> None:
    seen = run()
    assert seen.complete, seen
