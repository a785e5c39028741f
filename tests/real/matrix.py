#!/usr/bin/env python3
"""Runs real engines under every target that can run here and writes docs/real-runs.md: `python tests/real/matrix.py [--check]`.

Needs root on Debian 12 and its archive. With --check nothing is written; the exit status is 1 where a run is not complete.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from tests.support.real_runs import RUNS, STEPS, Run  # noqa: E402 - the path above makes it importable

HEAD = """# Real runs

Written by `python tests/real/matrix.py`, which starts each engine with what gslc wrote, asks it for a chat answer, kills it, asks
again and stops it. The output is that of `gslc build` for a cluster file; for RPC it is that of a plan made by hand, since
a plan over hosts wants cards, and the machine has none: engines run on its CPU. The model is small, with random weights.

| engine | target | verified | started | answered | restarted | stopped |
|---|---|---|---|---|---|---|
"""
# What can't be run on a machine like this, and what stands in for it.
NO_NOMAD = "Debian, PyPI and npm have no Nomad; jobs are read by HashiCorp's HCL2 library (tests/real/test_nomad.py)"
CARDS = (
    "no card here: which cards each container is given is checked with a stand-in for NVIDIA's hook "
    "(tests/real/test_compose.py), and units for cards start a stand-in program (tests/real/test_systemd.py)"
)
VLLM = "a CUDA build needs a card; the CPU build is served apart from the targets (tests/real/test_vllm.py)"
VOX_BOX = (
    "its 1.7 GB of packages are not installed by these tests; a stand-in that ends with status 0, as vox-box does when it "
    "fails, is restarted and then left failed (tests/real/test_systemd.py)"
)
DEVICES = "control groups are not delegated here, so device lists would not be enforced; units for cards have none"
NOT_RUN = (
    ("any", "Nomad", NO_NOMAD),
    ("llama-box", "all", "no package anywhere, and no longer maintained"),
    ("vLLM", "systemd, compose", VLLM),
    ("vox-box", "systemd, compose", VOX_BOX),
    ("any, on cards", "all", CARDS),
    ("any, device lists", "systemd", DEVICES),
)


def page(runs: list[Run]) -> str:
    """The table: what was run, by version, and what was not and why."""
    rows = [
        f"| {run.engine} | {run.target} | " + " | ".join(run.seen.get(step, "**no**") for step in STEPS) + " |"
        for run in runs
    ]
    versions = [f"- {run.engine}, {run.target}: {run.version}" for run in runs]
    refused = [f"| {engine} | {target} | {why} |" for engine, target, why in NOT_RUN]
    return "\n".join(
        [
            HEAD.rstrip("\n"),
            *rows,
            "",
            *versions,
            "",
            "## Not run, and why",
            "",
            "| engine | target | why, and what is tested instead |",
            "|---|---|---|",
            *refused,
            "",
        ]
    )


def main() -> int:
    """0 where every run is complete."""
    runs = [run() for run in RUNS]
    text = page(runs)
    sys.stdout.write(text)
    if "--check" not in sys.argv[1:]:
        (ROOT / "docs" / "real-runs.md").write_text(text, encoding="utf-8")
    for run in runs:
        if not run.complete:
            sys.stderr.write(f"{run.engine}, {run.target}: {run.log}\n")
    return 0 if all(run.complete for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
