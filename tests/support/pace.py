"""How slow this machine is now beside the one on which the promised seconds were measured; promises scale with it."""

from __future__ import annotations

import time

# Seconds of `_work` on the machine of docs/performance.md, on which `import yaml, click, jinja2` takes 0.061 s of CPU.
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
