"""Why a model lies where it lies, and what a code means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from sample_plans import DECISIONS, GIB, instance, plan

from gslc.cli import explain as explain_command
from gslc.cli.session import Exit
from gslc.ir.codes import all_codes
from gslc.ir.diagnostic import CodeEntry, Decision, Diagnostic, Exhausted, Outranked, Place
from gslc.ir.plan import Unplaced
from gslc.report.decisions_json import decisions_json
from gslc.report.explain import (
    decisions_of,
    evidence_name,
    evidence_words,
    explain_code,
    explain_model,
    refusal_words,
)

PLACE = Place(file="cluster.yaml", line=14, column=5)
BACKEND = replace(DECISIONS[0], subject="chat", place=PLACE)


def test_a_choice_is_told_with_its_place_and_what_was_refused_by_how_many_bytes() -> None:
    text = explain_model("chat", plan(instance()), (BACKEND,), ())
    assert text.startswith("chat: 1 replica on vllm 0.26.0\n")
    assert "backend: vllm  (cluster.yaml:14:5)" in text
    assert "because the files are safetensors and the model is no speech model [contract 4.1]" in text
    assert "gpu memory: needs 18.0 GiB, has 16.0 GiB; 2.0 GiB short (2,147,483,648 bytes)" in text
    assert "platform: vLLM runs on linux/amd64, mini is darwin/arm64" in text
    assert "atlas/0" in text


def test_other_models_are_not_told() -> None:
    other = Decision(subject="coder", topic="backend", chosen="llama.cpp", rule="r", because="secret of coder")
    assert "coder" not in explain_model("chat", plan(instance(), instance("coder", gpus=(1,))), (other,), ())


def test_replicas_that_were_decided_alike_are_told_once() -> None:
    both = plan(instance(decisions=DECISIONS), instance("chat", 1, gpus=(1,), decisions=DECISIONS))
    text = explain_model("chat", both, (), ())
    assert text.count("because one GPU is enough") == 1


def test_a_replica_without_a_place_is_told_what_came_nearest_and_what_would_help() -> None:
    refused = tuple(
        Exhausted(what=f"host-{number}", dimension="gpu_memory", needed=30 * GIB, available=number * GIB)
        for number in (8, 24, 16, 12)
    )
    tried = Decision(
        subject="big", topic="gpus", chosen="nothing", rule="r", because="no card is large enough", rejected=refused
    )
    mistake = Diagnostic(code="GS402", message="big fits nowhere", place=PLACE, help="set cpu_offload: true")
    whole = replace(plan(instance()), unplaced=(Unplaced(model="big", replica=0, code="GS402"),))
    text = explain_model("big", whole, (tried,), (mistake,))
    assert "big-0 has no place (GS402)" in text
    nearest = text.partition("What came nearest:")[2]
    assert nearest.index("host-24") < nearest.index("host-16") < nearest.index("host-12")
    assert "host-8" not in nearest
    assert "6.0 GiB short" in nearest
    assert "- set cpu_offload: true" in text


def test_counts_are_not_printed_as_bytes() -> None:
    assert refusal_words(Exhausted(what="atlas", dimension="ports", needed=2, available=1)) == (
        "ports: needs 2, has 1; 1 short"
    )
    assert "lower is better" in refusal_words(Outranked(what="x", score=(1, 2), best=(0, 9)))


def test_many_refusals_are_cut_and_counted() -> None:
    refused = tuple(Exhausted(what=f"h{number}", dimension="gpus", needed=1, available=0) for number in range(500))
    one = replace(BACKEND, rejected=refused)
    assert "and 488 more" in explain_model("chat", plan(instance(decisions=())), (one,), ())


def test_json_carries_place_and_scope() -> None:
    (found,) = decisions_json([replace(BACKEND, scope="fleet")])
    assert isinstance(found, dict)
    assert found["place"] == {"file": "cluster.yaml", "line": 14, "column": 5}
    assert found["scope"] == "fleet"


def test_each_decision_is_listed_once() -> None:
    assert decisions_of("chat", plan(instance()), (BACKEND, BACKEND, *DECISIONS)) == (BACKEND, *DECISIONS)


def test_a_code_is_explained_with_its_remedy() -> None:
    entry = CodeEntry(title="a title", meaning="what it means", remedy="what to do")
    assert explain_code("GS999", entry) == "GS999: a title\n\nwhat it means\n\nWhat to do:\n  what to do\n"


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(explain_command.command, list(words))
    status = result.exception.status if isinstance(result.exception, Exit) else result.exit_code
    return status, result.stdout, result.stderr


@pytest.mark.parametrize("code", ["GS850", "gs850"])
def test_the_command_explains_a_code(code: str) -> None:
    status, out, _ = run(code)
    assert status == 0
    assert out.startswith("GS850: plan is not JSON")


def test_the_command_explains_a_code_in_json() -> None:
    status, out, _ = run("GS854", "--format", "json")
    assert status == 0
    envelope = json.loads(out)
    assert envelope["code"]["title"] == "git can't find it"
    assert envelope["decisions"] == []


def test_an_unknown_code_is_wrong_usage_and_names_its_neighbours() -> None:
    status, _, err = run("GS859")
    assert status == 2
    assert "GS85" in err.partition("Near it:")[2]


def test_a_cluster_without_a_model_is_wrong_usage() -> None:
    status, _, err = run("cluster.yaml")
    assert status == 2
    assert "GS402" in err


def test_every_code_of_this_room_has_all_three_parts() -> None:
    for code, entry in all_codes().items():
        assert entry.title, code
        assert entry.meaning, code
        assert entry.remedy, code


CLUSTER = """\
version: 1
name: lab
target: systemd
hosts:
  atlas:
    memory: 64GiB
    gpus: [{model: custom, vendor: nvidia, memory: 24GiB, compute_capability: "8.9"}]
  mini: {memory: 8GiB, gpus: []}
defaults: {backend: custom, command: [serve]}
models:
  chat: {requirements: [{gpus: 1, gpu_memory: 10GiB, memory: 1GiB}]}
  huge: {requirements: [{gpus: 1, gpu_memory: 40GiB, memory: 1GiB}]}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER)
    return str(file)


def test_a_placed_model_is_explained_from_its_line(cluster: str) -> None:
    status, out, err = run(cluster, "chat")
    assert (status, err) == (0, "")
    assert out.startswith("chat: 1 replica on custom")
    assert f"{cluster}:11:" in out
    assert "chat-0 on atlas/0, port 20000" in out
    assert "huge" not in out


def test_a_model_without_a_place_says_by_how_much_it_is_too_large(cluster: str) -> None:
    status, out, err = run(cluster, "huge")
    assert status == 1
    assert "GS402" in err
    assert "26.0 GiB short (27,917,287,424 bytes)" in out


def test_an_instance_name_stands_for_its_model(cluster: str) -> None:
    assert run(cluster, "chat-0") == run(cluster, "chat")


def test_an_unknown_model_is_wrong_usage_and_the_nearest_is_named(cluster: str) -> None:
    status, _, err = run(cluster, "chatt")
    assert status == 2
    assert "Did you mean chat?" in err


def test_the_decisions_of_a_model_stand_in_the_json_envelope(cluster: str) -> None:
    envelope = json.loads(run(cluster, "chat", "--format", "json")[1])
    assert {decision["topic"] for decision in envelope["decisions"]} >= {"backend", "layout"}
    assert all(decision["subject"] in ("chat", "chat-0") for decision in envelope["decisions"])
    assert [one["name"] for one in envelope["plan"]["instances"]] == ["chat-0"]


def test_values_are_printed_with_their_unit() -> None:
    shown = [
        (evidence_name(name), evidence_words(name, value))
        for name, value in (
            ("kv_pool_bytes", 3 * GIB),
            ("left_bytes", 5),
            ("left_bytes", 0),
            ("kv_blocks", 5330),
            ("distributed", False),
            ("card", None),
        )
    ]
    assert shown == [
        ("kv pool", "3.0 GiB (3,221,225,472 bytes)"),
        ("left", "5 bytes"),
        ("left", "0"),
        ("kv blocks", "5,330"),
        ("distributed", "no"),
        ("card", "none"),
    ]
