"""`gslc lock` from the outside: what is fetched, what stays, what an upgrade and a replan do."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import Fault, HubServer
from model_files import llama_gguf, transformers_repository

from cli import Program

CLUSTER = """\
version: 1
name: lab
target: systemd
defaults: {backend_for_gguf: llama.cpp}
hosts:
  atlas:
    address: 10.0.0.11
    memory: 64GiB
    gpus: [{model: NVIDIA L4}]
models:
  one:
    source: hf://makers/tiny-llama-GGUF:Q4_K_M
    context: 2048
  two:
    source: hf://makers/tiny-chat
    gpu_memory_utilization: auto
    context: 1024
    parallel: 1
"""


@pytest.fixture
def cluster(tmp_path: Path, hub: HubServer) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER)
    return path


def lock_of(cluster: Path) -> str:
    return (cluster.parent / "gslc.lock").read_text()


def test_the_lock_pins_commits_and_a_second_run_asks_nothing(gslc: Program, cluster: Path, hub: HubServer) -> None:
    assert gslc("lock", cluster).status == 0
    commit = hub.repositories["hf", "makers/tiny-chat"].commit
    assert commit in lock_of(cluster)
    asked = len(hub.requests)
    assert gslc("lock", cluster).status == 0
    assert len(hub.requests) == asked


def test_build_needs_no_network_once_the_lock_is_complete(gslc: Program, cluster: Path, hub: HubServer) -> None:
    gslc("lock", cluster)
    asked = len(hub.requests)
    built = gslc("build", cluster, "--offline")
    assert built.status == 0, built.err
    assert len(hub.requests) == asked


def test_a_missing_fact_offline_is_an_error_that_names_the_model_and_the_flag(
    gslc: Program, cluster: Path, hub: HubServer
) -> None:
    refused = gslc("build", cluster, "--offline")
    assert refused.status == 1
    assert "one" in refused.err
    assert "--offline" in refused.err
    assert hub.requests == []
    assert not (cluster.parent / "gslc.lock").exists()


def test_only_an_upgrade_takes_a_newer_commit_and_only_of_the_model_named(
    gslc: Program, cluster: Path, hub: HubServer
) -> None:
    gslc("lock", cluster)
    before = lock_of(cluster)
    hub.add("hf", "makers/tiny-llama-GGUF", {"tiny-llama-Q4_K_M.gguf": llama_gguf(3)})
    hub.add("hf", "makers/tiny-chat", transformers_repository({"num_hidden_layers": 6, "vocab_size": 128}))
    gslc("lock", cluster)
    assert lock_of(cluster) == before
    upgraded = gslc("lock", cluster, "--upgrade-model", "one")
    assert "resolved: one" in upgraded.out
    assert hub.repositories["hf", "makers/tiny-llama-GGUF"].commit in lock_of(cluster)
    assert hub.repositories["hf", "makers/tiny-chat"].commit not in lock_of(cluster)
    gslc("lock", cluster, "--upgrade")
    assert hub.repositories["hf", "makers/tiny-chat"].commit in lock_of(cluster)


def test_an_unknown_model_to_upgrade_is_wrong_usage(gslc: Program, cluster: Path) -> None:
    refused = gslc("lock", cluster, "--upgrade-model", "oen")
    assert refused.status == 2
    assert "one" in refused.err


def test_a_hub_that_fails_is_status_4_and_keeps_what_was_fetched(gslc: Program, cluster: Path, hub: HubServer) -> None:
    hub.faults.append(Fault("tiny-chat", "status", 1000, status=404))
    failed = gslc("lock", cluster)
    assert failed.status in (1, 4)
    assert "two" in failed.err
    assert '"one"' in lock_of(cluster)
    assert '"two"' not in lock_of(cluster)


def test_a_model_that_is_removed_leaves_the_lock(gslc: Program, cluster: Path) -> None:
    gslc("build", cluster)
    cluster.write_text(CLUSTER[: CLUSTER.index("  two:")])
    gslc("lock", cluster)
    assert '"two"' not in lock_of(cluster)


def test_replan_lists_the_moves(gslc: Program, tmp_path: Path) -> None:
    text = """\
version: 1
name: lab
target: systemd
hosts:
  a: {address: 10.0.0.1, memory: 8GiB, gpus: [{model: NVIDIA L4, count: 2}]}
models:
  m1: {backend: custom, command: [x], requirements: [{gpus: 1, gpu_memory: 8GiB}]}
  m2: {backend: custom, command: [x], requirements: [{gpus: 1, gpu_memory: 20GiB}]}
"""
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    gslc("build", path)
    path.write_text(
        text.replace("gpu_memory: 20GiB", "gpu_memory: 8GiB")
        + "  m3: {backend: custom, command: [x], requirements: [{gpus: 1, gpu_memory: 20GiB}]}\n"
    )
    refused = gslc("build", path)
    assert refused.status == 1
    assert "--replan" in refused.err
    assert "1 move" in refused.err
    replanned = gslc("lock", path, "--replan")
    assert replanned.status == 0
    assert "moved: " in replanned.out
    assert gslc("build", path, "--locked").status == 0


def test_what_one_build_locks_the_next_accepts_whatever_the_sources(gslc: Program, cluster: Path) -> None:
    assert gslc("build", cluster).status == 0
    first = lock_of(cluster)
    assert gslc("build", cluster, "--frozen").status == 0
    assert gslc("build", cluster, "--check").status == 0
    assert lock_of(cluster) == first


def test_an_interrupted_lock_keeps_what_has_arrived(cluster: Path, hub: HubServer) -> None:
    hub.faults.append(Fault("tiny-chat", "status", 1000, status=503))  # tried again and again, until the interrupt
    command = [sys.executable, "-m", "gslc", "lock", str(cluster)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert "one: done" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130
    assert '"one"' in lock_of(cluster)
    assert '"two"' not in lock_of(cluster)
