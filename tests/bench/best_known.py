"""Writes tests/data/truth/best_known.json: how many replicas of loaded fleets the best known placement holds.

    python tests/bench/best_known.py [--seconds N]

The exact judge (ortools) starts from the product's own answer and searches on for N seconds a fleet; `bound` is what no
placement exceeds. `placement.py` holds the product against these figures without asking the judge again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from instances import FLEETS, loaded
from judge import most_placed
from small_fleets import place

FILE = Path(__file__).resolve().parents[1] / "data" / "truth" / "best_known.json"
SECONDS = 60.0
MOST_HOSTS = 30  # above, the judge's model is too large for its time


def main() -> int:
    """Ask the judge about each fleet and write what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    rows = []
    for hosts, load, seed in FLEETS:
        fleet = loaded(seed, hosts, load / 100)
        placement = place(fleet).value
        assert placement is not None
        total = placement.stats.replicas
        best, bound = len(placement.assignments), total
        if best < total and hosts <= MOST_HOSTS:
            best, bound = most_placed(fleet, placement, options.seconds)
        rows.append({"hosts": hosts, "load": load, "seed": seed, "replicas": total, "placed": best, "bound": bound})
        print(rows[-1], "gslc", len(placement.assignments), flush=True)
    FILE.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
