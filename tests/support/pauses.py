"""Pauses that take no time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock


@contextmanager
def pauses_told() -> Iterator[list[float]]:
    """The seconds of every pause that this thread makes, instead of the pauses; other threads sleep as ever."""
    told: list[float] = []
    sleep, own = time.sleep, threading.get_ident()

    def pause(seconds: float) -> None:
        if threading.get_ident() == own:
            told.append(seconds)
        else:
            sleep(seconds)

    with mock.patch.object(time, "sleep", pause):
        yield told
