"""vLLM's version numbers, compared as numbers."""

from __future__ import annotations

import re
from typing import TypeAlias

Version: TypeAlias = tuple[int, int, int]

DEFAULT_VERSION = "0.26.0"  # the newest that this project has served a model with and measured on cards
NEWEST_VERSION = "0.32.0"  # the newest whose argument parser was read whole


def version_tuple(version: str) -> Version:
    """(0, 26, 0) for "0.26.0", "v0.26.0", "0.26.0.post1"; parts that are not numbers count 0."""
    numbers = [int(part) for part in re.findall(r"[0-9]{1,9}", version)[:3]]
    padded = [*numbers, 0, 0, 0]
    return (padded[0], padded[1], padded[2])
