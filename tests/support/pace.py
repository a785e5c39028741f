"""How slow this machine is now beside the one on which the promised seconds were measured; promises scale with it."""

from __future__ import annotations

import time

# An assumption, not a measurement: `_work` was never timed on the machine of docs/performance.md. It takes 0.0096 s where
# `import yaml, click, jinja2` takes 0.13 to 0.28 s; there the import takes 0.061 s. Measure it there and put it here.
REFERENCE_SECONDS = 0.0030


def _work() -> float:
    """CPU seconds of a small loop over integers and a dictionary: what placing and reading headers consist of."""
    started = time.process_time()
    total = 0
    seen: dict[int, int] = {}
    for number in range(60_000):
        total += number * 3 % 7
        seen[number & 255] = total
    return time.process_time() - started


def pace() -> float:
    """1 on a machine as fast as the reference or faster, 2 on one half as fast."""
    return max(1.0, min(_work() for _ in range(5)) / REFERENCE_SECONDS)
