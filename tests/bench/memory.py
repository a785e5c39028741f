"""Predicted against measured memory of GGUF models; exits 1 when a published figure is missed.

    python tests/bench/memory.py [--markdown] [--worst N]

The truth is 379 rows of llama.cpp's own buffer sizes and 55 rows measured on H200 cards (tests/data/truth).
--markdown prints the tables of docs/memory.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2] / "compiler")]

import truth  # noqa: E402


def main(args: list[str]) -> int:
    """Prints the figures and the worst rows."""
    if "--markdown" in args:
        sys.stdout.write(truth.markdown())
        return 0
    found = truth.promises()
    for promise in found:
        print(f"{'ok  ' if promise.kept else 'MISS'}  {promise.value:>10}  {promise.limit:>10}  {promise.text}")
    count = int(args[args.index("--worst") + 1]) if "--worst" in args else 5
    worst = sorted((c for c in truth.compare("llamacpp", None) if c.device != "host"), key=lambda c: -abs(c.error))
    print("\nworst entries:")
    for c in worst[:count]:
        print(
            f"  {100 * c.error:+7.2f} %  {c.model} {c.device} ({c.kind}, {c.mode}) compute {c.compute[0]} of {c.compute[1]}"
        )
    return 0 if all(promise.kept for promise in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
