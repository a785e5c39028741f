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
from tests.support.real_served_runs import SERVED_RUNS  # noqa: E402

HEAD = """# Real runs

Written by `python tests/real/matrix.py`, which starts each engine with what gslc wrote, asks it for an answer, kills it, asks
again and stops it. The output is that of `gslc build` for a cluster file; for RPC and vLLM it is that of a plan made by hand,
since it needs cards, and the machine has none: engines run on its CPU. Models are small, with random weights.
systemd is booted in a container; compose talks to a dockerd of its own, which reaches no registry.

| engine | target | verified | started | answered | restarted | stopped |
|---|---|---|---|---|---|---|
"""
# What can't be run on a machine like this, and what stands in for it.
NO_NOMAD = "Debian, PyPI and npm have no Nomad; jobs are read by HashiCorp's HCL2 library (tests/real/test_nomad.py)"
CARDS = (
    "no card here: which cards each container is given is checked with a stand-in for NVIDIA's hook "
    "(tests/real/test_compose.py), and units for cards start a stand-in program (tests/real/test_systemd.py)"
)
RPC = (
    "two hosts are run under systemd above; a plan made of a cluster file is served too (tests/real/test_rpc_hosts.py)"
)
CUDA = "a CUDA build needs a card; the CPU build of the same release is run above"
RAY = "one host is run above; commands for several hosts are read by vLLM's own parser (tests/real/test_vllm.py), and Ray is run over two (tests/real/test_vllm_ray.py, tests/real/test_vllm_ray_systemd.py)"
SPEECH = (
    "CosyVoice, Dia and FunASR want several GB of packages and models; which card a unit of CosyVoice lands on is asked of "
    "vox-box's own code (tests/real/test_voxbox.py)"
)
IMAGES = "no container registry is reached: images stand in, as said above"
DEVICES = "control groups are not delegated here, so device lists would not be enforced; units for cards have none"
NOT_RUN = (
    ("any", "Nomad", NO_NOMAD),
    ("llama-box", "all", "no package anywhere, and no longer maintained"),
    ("llama.cpp over RPC", "compose", RPC),
    ("vLLM, CUDA", "all", CUDA),
    ("vLLM, several hosts", "all", RAY),
    ("vox-box, other than faster-whisper", "all", SPEECH),
    ("any, its published image", "compose", IMAGES),
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
    stood_in = [f"- {run.engine}, {run.target}: {run.stood_in}" for run in runs]
    refused = [f"| {engine} | {target} | {why} |" for engine, target, why in NOT_RUN]
    return "\n".join(
        [
            HEAD.rstrip("\n"),
            *rows,
            "",
            *versions,
            "",
            "## What stood in for something",
            "",
            *stood_in,
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
    runs = [run() for run in (*RUNS, *SERVED_RUNS)]
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
