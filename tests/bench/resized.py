"""How far the weights that are judged by another file's size are from those of that file: a table in Markdown.

python tests/bench/resized.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from resized_rows import MODELS, MODES, Row, rows_of

ASKED = ("Q8_0", "Q4_K_M")


def main() -> None:
    """One line a mode: how many comparisons, how many too low, and by how much they are too high."""
    rows = [row for model in MODELS for asked in ASKED for row in rows_of(model, asked)]
    print(
        "| weights | comparisons | too low | least | median | 95th percentile | most |\n|---|---|---|---|---|---|---|"
    )
    for mode in MODES:
        print(_line(mode, [row for row in rows if row.mode == mode]))
    steps = [row for row in rows if row.mode == "one card" and (row.asked, row.other) == ("Q8_0", "Q4_K_M")]
    print("\n| Q8_0 known, Q4_K_M judged, on one card | estimated | real | too high |\n|---|---|---|---|")
    for row in steps:
        print(f"| {row.model} | {row.estimated:,} | {row.real:,} | {row.error:.2%} |")


def _line(mode: str, rows: list[Row]) -> str:
    errors = sorted(row.error for row in rows)
    low = sum(error < 0 for error in errors)
    at = (errors[0], errors[len(errors) // 2], errors[len(errors) * 95 // 100], errors[-1])
    return f"| {mode} | {len(errors):,} | {low} | " + " | ".join(f"{error:+.2%}" for error in at) + " |"


if __name__ == "__main__":
    main()
