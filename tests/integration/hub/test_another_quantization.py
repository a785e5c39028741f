"""A model that is too large: the error names another file of its repository, and with that file the build goes through.

The files have published shapes and the types that llama-quantize gives them; nothing of them but their header is served.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hub_server import HubServer
from model_files import Sparse, projector_gguf
from quant_mixes import file_of, mixed
from truth import model_facts

from cli import Program
from gslc.documents.lock import read_lock, write_lock

PROPOSAL = re.compile(r"use another quantisation: set models\.chat\.source to (\S+) \(")


@cache
def repository(name: str) -> Mapping[str, Sparse]:
    """A repository as bartowski makes them: one file a quantisation."""
    shape, file, labels = REPOSITORIES[name]
    return {f"{file}-{label}.gguf": file_of(mixed(model_facts(shape), label)) for label in labels}


REPOSITORIES = {
    "o/llama-8b-GGUF": ("llama3.1-8b-q4_k_m", "Llama-3.1-8B-Instruct", ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")),
    "o/llama-70b-GGUF": ("llama3.3-70b-q4_k_m", "Llama-3.3-70B-Instruct", ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_L", "Q4_K_M", "IQ4_XS")),
    "o/qwen3-30b-GGUF": ("qwen3-30b-a3b-q4_k_m", "Qwen3-30B-A3B", ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")),
    "o/gemma-3-27b-GGUF": ("gemma3-27b-q4_k_m", "gemma-3-27b-it", ("Q8_0", "Q6_K", "Q4_K_M", "Q3_K_M", "Q2_K")),
}  # fmt: skip


def cluster(source: str, gpus: str, memory: str, *lines: str) -> str:
    keys = "".join(f"    {line}\n" for line in lines)
    return (
        "version: 1\nname: lab\ntarget: systemd\ndefaults: {backend_for_gguf: llama.cpp}\nhosts:\n  atlas:\n"
        f"    address: 10.0.0.11\n    memory: {memory}\n    gpus: [{gpus}]\nmodels:\n  chat:\n    source: {source}\n{keys}"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cluster.yaml"


# repository, cards, host memory, further keys -> the quantisation that is proposed. Tried one by one, the largest that
# has a place is the same one, or for the first two cases the next larger one.
CASES = [
    ("o/llama-8b-GGUF", "{model: NVIDIA GeForce RTX 3070}", "32GiB", (), "Q5_K_M"),
    ("o/llama-70b-GGUF", "{model: NVIDIA GeForce RTX 4090, count: 2}", "64GiB", (), "Q4_K_M"),
    ("o/llama-70b-GGUF", "{model: NVIDIA GeForce RTX 4090}", "48GiB", ("cpu_offload: true",), "Q6_K"),
    ("o/qwen3-30b-GGUF", "{model: NVIDIA GeForce RTX 4090}", "32GiB", (), "Q5_K_M"),
    ("o/qwen3-30b-GGUF", "{model: NVIDIA GeForce RTX 3070}", "24GiB", ("cpu_offload: true",), "Q6_K"),
    ("o/gemma-3-27b-GGUF", "{model: NVIDIA GeForce RTX 3060, count: 2}", "32GiB", (), "Q2_K"),
]


@pytest.mark.parametrize(("name", "gpus", "memory", "keys", "wanted"), CASES)
def test_with_the_proposed_quantisation_the_model_has_a_place(
    gslc: Program, hub: HubServer, path: Path, name: str, gpus: str, memory: str, keys: tuple[str, ...], wanted: str
) -> None:
    hub.add("hf", name, repository(name))
    path.write_text(cluster(f"hf://{name}:Q8_0", gpus, memory, *keys))
    refused = gslc("build", path)
    assert refused.status == 1
    proposed = PROPOSAL.search(refused.err)
    assert proposed is not None, refused.err
    assert proposed.group(1) == f"hf://{name}:{wanted}"
    path.write_text(cluster(proposed.group(1), gpus, memory, *keys))
    built = gslc("build", path)
    assert built.status == 0, built.err
    assert gslc("build", path, "--check", "--frozen").status == 0


SMALL_CARD = "{model: NVIDIA GeForce RTX 3070}"
LLAMA = "o/llama-8b-GGUF"


def test_the_listing_that_chose_the_file_is_enough(gslc: Program, hub: HubServer, path: Path) -> None:
    hub.add("hf", LLAMA, repository(LLAMA))
    path.write_text(cluster(f"hf://{LLAMA}:Q8_0", SMALL_CARD, "32GiB"))
    gslc("lock", path)
    assert hub.asked("/api/models/") == 1
    assert {one.path.split("/")[-1] for one in hub.requests if "/resolve/" in one.path} == {"Llama-3.1-8B-Instruct-Q8_0.gguf"}  # fmt: skip
    asked = len(hub.requests)
    assert PROPOSAL.search(gslc("build", path, "--offline").err)
    assert len(hub.requests) == asked


def test_a_source_by_glob_is_answered_by_path(gslc: Program, hub: HubServer, path: Path) -> None:
    hub.add(
        "hf", LLAMA, {**repository(LLAMA), "mmproj-F16.gguf": projector_gguf(), "other-3b-Q4_0.gguf": projector_gguf()}
    )
    path.write_text(cluster(f"hf://{LLAMA}/*Q8_0.gguf", SMALL_CARD, "32GiB"))
    proposed = PROPOSAL.search(gslc("build", path).err)
    assert proposed is not None
    assert proposed.group(1) == f"hf://{LLAMA}/Llama-3.1-8B-Instruct-Q5_K_M.gguf"
    path.write_text(cluster(proposed.group(1), SMALL_CARD, "32GiB"))
    assert gslc("build", path).status == 0


def test_explain_tells_the_proposal_and_what_was_tried(gslc: Program, hub: HubServer, path: Path) -> None:
    hub.add("hf", LLAMA, repository(LLAMA))
    path.write_text(cluster(f"hf://{LLAMA}:Q8_0", SMALL_CARD, "32GiB"))
    gslc("lock", path)
    told = gslc("explain", path, "chat")
    assert told.status == 1
    assert "What would make it fit:\n  - use another quantisation: set models.chat.source to" in told.out
    assert f"change        hf://{LLAMA}:Q5_K_M" in told.out
    assert "other file    5.3 GiB (" in told.out
    assert f"- hf://{LLAMA}:Q6_K" in told.out
    (seat,) = [
        one for one in gslc("explain", path, "chat", "--format", "json").json["decisions"] if one["topic"] == "seat"
    ]
    assert seat["evidence"]["change"] == f"hf://{LLAMA}:Q5_K_M"


def test_where_no_quantisation_fits_another_change_is_proposed(gslc: Program, hub: HubServer, path: Path) -> None:
    hub.add("hf", "o/llama-70b-GGUF", repository("o/llama-70b-GGUF"))
    path.write_text(cluster("hf://o/llama-70b-GGUF:Q8_0", SMALL_CARD, "128GiB"))
    refused = gslc("build", path)
    assert refused.status == 1
    assert "help: set models.chat.cpu_offload to true" in refused.err


def test_a_lock_without_the_list_is_complete(gslc: Program, hub: HubServer, path: Path) -> None:
    """As older releases wrote it: nothing is fetched for the list, and --upgrade fills it."""
    hub.add("hf", LLAMA, repository(LLAMA))
    path.write_text(cluster(f"hf://{LLAMA}:Q4_K_M", SMALL_CARD, "32GiB"))
    assert gslc("build", path).status == 0
    lock_file = path.parent / "gslc.lock"
    lock = read_lock(lock_file.read_text(), "gslc.lock").value
    assert lock is not None
    assert [other.name for other in lock.facts["chat"].other_quantizations] == [
        "Q2_K",
        "Q3_K_M",
        "Q5_K_M",
        "Q6_K",
        "Q8_0",
    ]
    old = write_lock(replace(lock, facts={"chat": replace(lock.facts["chat"], other_quantizations=())}))
    lock_file.write_text(old)
    asked = len(hub.requests)
    assert gslc("build", path, "--check").status == 0
    assert gslc("lock", path).status == 0
    assert (lock_file.read_text(), len(hub.requests)) == (old, asked)
    assert gslc("lock", path, "--upgrade").status == 0
    assert read_lock(lock_file.read_text(), "gslc.lock").value == lock
