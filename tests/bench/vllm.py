"""Prints how far gslc agrees with vLLM itself, and ends with 1 when a promised number is missed.

python tests/bench/vllm.py [--all]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.vllm_truth import Agreement, layouts, on_cards


def summary(title: str, rows: Iterable[Agreement], *, everything: bool) -> int:
    """Prints one table and answers how many rows disagree."""
    found = list(rows)
    print(f"\n{title}")
    for question in dict.fromkeys(row.question for row in found):
        asked = [row for row in found if row.question == question]
        right = sum(row.agrees for row in asked)
        print(f"  {question:16} {right:4} of {len(asked):4} agree")
    for row in found:
        if everything or not row.agrees:
            print(
                f"  {'ok ' if row.agrees else 'OFF'} {row.question:16} real {row.real:>24}  gslc {row.ours:>24}  {row.name}"
            )
    return sum(not row.agrees for row in found)


def main() -> int:
    """The exit status."""
    everything = "--all" in sys.argv[1:]
    missed = summary("vLLM 0.32.0, layer construction", layouts(), everything=everything)
    missed += summary(
        "vLLM 0.26.0, more architectures, layer construction",
        layouts("vllm_architectures.json", "0.26.0"),
        everything=everything,
    )
    missed += summary("vLLM 0.26.0 on H200 cards", on_cards(), everything=everything)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
