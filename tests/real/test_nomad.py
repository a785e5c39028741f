"""Generated Nomad jobs through HashiCorp's own HCL2 library, and the helper program that they carry."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.hostile import CLIENT_REFERENCES, HOSTILE
from tests.support.plans import make_cluster, make_gpus, make_host, make_instance, make_launch, make_plan, templates
from tests.support.target_trees import REAL

from gslc.ir.plan import ModelFile, Plan
from gslc.targets import quoting_hcl
from gslc.targets.nomad import NomadTarget

pytestmark = pytest.mark.real
CACHE = Path(os.environ.get("GSLC_TEST_CACHE") or Path.home() / ".cache" / "gslc-tests") / "targets"
FILE = ModelFile(
    path="/var/lib/gslc/models/hf/a/%{y}$/m.gguf",
    size_bytes=3,
    sha256="0" * 64,
    url="https://hub/<@m",
    token="HF_TOKEN",
)


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    subprocess.run([REAL / "install_targets.sh", "packages", "hcl"], check=True)


def read(text: str) -> Any:
    done = subprocess.run([CACHE / "hcl" / "gslc-hcl", "-"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)[0]


def blocks(node: Any, kind: str, *labels: str) -> list[Any]:
    return (
        [one for one in node["blocks"] if one["type"] == kind and one["labels"][: len(labels)] == list(labels)]
        if labels
        else [one for one in node["blocks"] if one["type"] == kind]
    )


def plan() -> Plan:
    texts = tuple(text for text in HOSTILE if "${HOME}" not in text)
    leader = make_launch(
        argv=texts,
        env=tuple((f"VALUE_{number}", text) for number, text in enumerate(texts)),
        files=(FILE,),
        gpus=(1, 0),
        vendor="nvidia",
        after=("chat-0-rpc-0",),
        secret_env=(("VLLM_API_KEY", "chat-key"),),
        hub_token=True,
        shared_memory_bytes=1 << 30,
        cache_dirs=("hub",),
        cache_env=(("HF_HOME", "hub"),),
    )
    rpc = make_launch(
        "chat-0-rpc-0", role="rpc", port=20001, health_path=None, host="mac", listen="10.0.0.9", image=None
    )
    return make_plan(make_instance((leader, rpc), target="nomad", exclusive=True))


def job_text() -> str:
    hosts = (
        make_host(target="nomad", gpus=make_gpus(2, uuids=True), address="10.0.0.1"),
        make_host("mac", os="darwin", arch="arm64", target="nomad", address="10.0.0.9"),
    )
    cluster = make_cluster(*hosts, target="nomad")
    target = NomadTarget(templates=templates)
    assert [found for found in target.review(plan(), cluster) if found.severity == "error"] == []
    [file] = target.render(plan(), cluster).value or ()
    return file.text


def test_a_job_reads_back_with_the_same_arguments_and_variables() -> None:
    texts = [text for text in HOSTILE if "${HOME}" not in text]
    [job] = blocks(read(job_text()), "job", "gslc-lab-chat")
    [group] = blocks(job, "group", "chat-0")
    [task] = blocks(group, "task", "server")
    assert blocks(task, "config")[0]["attributes"]["args"] == texts
    environment = task["attributes"]["env"]
    assert [environment[f"VALUE_{number}"] for number in range(len(texts))] == texts
    assert environment["HF_HOME"] == "${NOMAD_ALLOC_DIR}/data/hub"
    [device] = blocks(blocks(task, "resources")[0], "device", "nvidia/gpu")
    assert device["attributes"]["count"] == 2
    assert blocks(device, "constraint")[0]["attributes"]["attribute"] == "${device.ids}"


def test_the_helper_program_and_its_list_read_back_byte_for_byte() -> None:
    [job] = blocks(read(job_text()), "job", "gslc-lab-chat")
    [task] = blocks(blocks(job, "group", "chat-0")[0], "task", "fetch")
    program, listing, token = (one["attributes"] for one in blocks(task, "template"))
    assert program["data"] == templates("templates/host/gslc_host.py")
    assert json.loads(listing["data"])["files"][0]["path"] == FILE.path
    # the delimiter of a template must not stand in what it brings
    assert listing["left_delimiter"] not in listing["data"]
    assert token["destination"] == "${NOMAD_SECRETS_DIR}/hub_token"
    compile(program["data"], "gslc_host.py", "exec")


def test_each_part_is_pinned_to_its_node_and_system() -> None:
    [job] = blocks(read(job_text()), "job", "gslc-lab-chat")
    found = {
        group["labels"][0]: [one["attributes"]["value"] for one in blocks(group, "constraint")]
        for group in blocks(job, "group")
    }
    assert found == {"chat-0": ["atlas", "linux", "amd64"], "chat-0-rpc-0": ["mac", "darwin", "arm64"]}


def test_the_formatter_finds_nothing_to_move() -> None:
    """Nomad's formatter is HCL's; it is asked here for layout alone."""
    import shutil

    text = job_text()
    lines = [line for line in text.splitlines() if line.rstrip() != line]
    assert lines == []
    if shutil.which("terraform"):
        done = subprocess.run(["terraform", "fmt", "-"], input=text, capture_output=True, text=True, check=False)
        # terraform, not HCL, takes lone references out of their quotes
        bare = [line for line in done.stdout.splitlines() if "attribute = " not in line]
        assert bare == [line for line in text.splitlines() if "attribute = " not in line]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.text(st.sampled_from("$%{}\"\\\n ~x'é😀"))
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        max_size=200,
    )
)
def test_any_string_reads_back_as_itself(texts: list[str]) -> None:
    quoted = "".join(f"  {quoting_hcl.string(text)},\n" for text in texts)
    found = read(f"a = [\n{quoted}]\n")["attributes"]["a"]
    assert [one == text for one, text in zip(found, texts, strict=True)] == [
        quoting_hcl.is_kept(text) for text in texts
    ]


def test_what_the_client_would_replace_survives_hcl_and_so_must_be_refused() -> None:
    for text in CLIENT_REFERENCES:
        assert read(f"a = {quoting_hcl.string(text)}\n")["attributes"]["a"] == text
