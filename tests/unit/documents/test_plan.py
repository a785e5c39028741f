"""plan.json: written, read back, refused where it is none."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_plans import GIB, host, instance, plan, shard

from gslc.documents.json_reader import located, parse_json
from gslc.documents.plan import plan_document, plan_json, plan_text, read_plan
from gslc.documents.plan_text import object_text
from gslc.ir.diagnostic import Decision, Place
from gslc.ir.plan import DeviceMemory, Layout, Unplaced

CONTRACT_KEYS = [
    "name", "model", "replica", "backend", "engine_version", "target", "selector", "shards", "tensor_parallel",
    "pipeline_parallel", "gpu_layers", "layers", "tensor_split", "context", "parallel", "gpu_memory_utilization",
    "requirement", "port", "decisions",
]  # fmt: skip


def test_contract_fields_stand_in_contract_order() -> None:
    document = plan_json(plan(instance()))
    assert list(document)[:4] == ["version", "cluster", "instances", "unplaced"]
    first = document["instances"][0]
    assert [key for key in first if key in CONTRACT_KEYS] == CONTRACT_KEYS
    part = first["shards"][0]
    assert list(part)[:9] == ["host", "role", "rank", "gpus", "address", "port", "argv", "env", "memory"]
    assert list(part["memory"]["gpus"][0]) == ["weights", "kv_cache", "compute", "overhead", "total"]


def test_stated_memory_stands_in_total_alone() -> None:
    one = shard("atlas")
    stated = replace(one, memory=replace(one.memory, gpus=(DeviceMemory(stated=3 * GIB),)))
    entry = plan_json(plan(instance("rerank", 0, stated)))["instances"][0]["shards"][0]["memory"]["gpus"][0]
    assert entry == {"weights": 0, "kv_cache": 0, "compute": 0, "overhead": 0, "total": 3 * GIB}


@pytest.mark.parametrize("thousandths", range(0, 1001, 7))
def test_utilization_has_at_most_three_decimals(thousandths: int) -> None:
    one = replace(instance(), layout=Layout(gpu_memory_utilization=thousandths))
    text = plan_text(plan(one))
    value = text.split('"gpu_memory_utilization": ')[1].split(",")[0]
    assert len(value.partition(".")[2]) <= 3
    read = read_plan(text, "p").value
    assert read is not None
    assert read.instances[0].layout.gpu_memory_utilization == thousandths


def test_fleet_decisions_and_places_are_left_out() -> None:
    here = Decision(
        subject="chat-0", topic="gpus", chosen="a", rule="r", because="b", place=Place(file="cluster.yaml", line=7)
    )
    text = plan_text(plan(instance(decisions=(here, replace(here, chosen="fleet-wide", scope="fleet")))))
    assert "fleet-wide" not in text
    assert "cluster.yaml" not in text


def test_secrets_are_named_and_nothing_else() -> None:
    one = shard("atlas", env=(("B", "2"), ("A", "1")), secret_env=(("VLLM_API_KEY", "chat-key"),))
    part = plan_json(plan(instance("chat", 0, one)))["instances"][0]["shards"][0]
    assert list(part["env"].items()) == [("A", "1"), ("B", "2")]
    assert part["secret_env"] == {"VLLM_API_KEY": "chat-key"}


def test_a_flag_and_its_value_share_a_line() -> None:
    text = plan_text(plan(instance()))
    assert '\n      "--max-model-len", "8192"\n' in text


def test_reading_back_gives_the_same_view() -> None:
    whole = replace(
        plan(instance(), instance("big", 0, shard("atlas"), shard("borealis", role="worker", rank=1))),
        unplaced=(Unplaced(model="huge", replica=1, code="GS402"),),
    )
    outcome = read_plan(plan_text(whole), "plan.json")
    assert outcome.diagnostics == ()
    assert outcome.value == plan_document(whole)


def test_links_between_cards_are_read_back_and_left_out_where_nothing_is_said() -> None:
    assert read_plan(plan_text(WHOLE), "plan.json").value == plan_document(WHOLE)
    linked, plain = plan_json(WHOLE)["hosts"]
    assert linked["nvlink"] == [[0, 1], [2, 3]]
    assert "nvlink" not in plain


def test_the_report_of_a_build_can_be_read_too() -> None:
    envelope = json.dumps({"version": 1, "diagnostics": [], "plan": plan_json(plan(instance())), "files": []})
    assert read_plan(envelope, "report.json").value == plan_document(plan(instance()), "report.json")


def test_unknown_fields_are_ignored_and_added_fields_may_be_missing() -> None:
    document = plan_json(plan(instance()))
    document["new"] = {"x": 1}
    del document["hosts"]
    first = document["instances"][0]
    first["new"] = [1]
    for key in set(first) - set(CONTRACT_KEYS):
        if key != "new":
            del first[key]
    assert read_plan(json.dumps(document), "p").value is not None


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "GS850", "empty"),
        ("{", "GS850", "not JSON"),
        ("[" * 100_000, "GS850", "nested"),
        ('{"version": 1, "version": 1}', "GS850", "twice"),
        ('{"version": NaN}', "GS850", "NaN"),
        ('{"version": ' + "9" * 5000 + "}", "GS850", "digits"),
        ('{"a": "\\ud800"}', "GS850", "surrogate"),
        ("[]", "GS851", "must be an object, not a list"),
        ("null", "GS851", "not null"),
        ("{}", "GS851", 'has no "version"'),
        ('{"version": 2}', "GS852", "version 2"),
        ('{"version": 1, "cluster": 5, "instances": []}', "GS851", "cluster must be text, not a number"),
        ('{"version": 1, "cluster": "x", "instances": [7]}', "GS851", "instances[0] must be an object"),
        ('{"version": true, "cluster": "x", "instances": []}', "GS851", "version must be a whole number, not true"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, code: str, words: str) -> None:
    outcome = read_plan(text, "plan.json")
    assert outcome.value is None
    (found,) = outcome.diagnostics
    assert found.code == code
    assert words in found.message


def test_a_malformed_field_is_named_where_it_stands() -> None:
    lines = plan_text(plan(instance())).splitlines()
    row = next(number for number, line in enumerate(lines) if '"rank": 0' in line)
    lines[row] = lines[row].replace("0", "-1")
    (found,) = read_plan("\n".join(lines), "plan.json").diagnostics
    assert found.message.endswith("instances[0].shards[0].rank must not be negative")
    assert found.place == Place(file="plan.json", line=row + 1, column=lines[row].index("-1") + 1)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            '"name": "coder-0",\n   "model"',
            '"name": "chat-0",\n   "model"',
            "instances[1] has a name that is taken: chat-0",
        ),
        ('"gpus": [1]', '"gpus": [999999999999]', "instances[1].shards[0].gpus must be different indices below 1,024"),
        ('"name": "borealis"', '"name": "atlas"', "hosts[1] has a name that is taken: atlas"),
    ],
)
def test_what_would_confuse_a_reader_is_refused(old: str, new: str, words: str) -> None:
    text = plan_text(plan(instance(), instance("coder", gpus=(1,))))
    assert old in text
    (found,) = read_plan(text.replace(old, new), "p").diagnostics
    assert words in found.message
    assert found.place.line > 1


PLAN = plan_text(plan(instance(), instance("big", 1, shard("atlas"), shard("borealis", role="rpc", rank=1))))


@given(st.data())
def test_any_damage_is_a_diagnostic_and_never_an_exception(data: st.DataObject) -> None:
    document = json.loads(PLAN)
    node: object = document
    while isinstance(node, dict | list) and node:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if data.draw(st.booleans()) or not isinstance(node[key], dict | list) or not node[key]:
            node[key] = data.draw(st.sampled_from([None, True, -1, 1.5, "", [], {}, [None], {"a": 1}, 2**70]))
            break
        node = node[key]
    outcome = read_plan(json.dumps(document), "p")
    assert (outcome.value is None) == bool(outcome.diagnostics)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
        max_leaves=30,
    ),
    st.data(),
)
def test_every_value_is_found_where_it_stands(value: object, data: st.DataObject) -> None:
    text = json.dumps(value, indent=data.draw(st.sampled_from([None, 0, 2])))
    path: list[str | int] = []
    node = value
    while isinstance(node, dict | list) and node and data.draw(st.booleans()):
        step = data.draw(st.sampled_from(list(node) if isinstance(node, dict) else list(range(len(node)))))
        path.append(step)
        node = node[step]
    place = located(text, tuple(path), "f")
    offset = sum(len(line) + 1 for line in text.split("\n")[: place.line - 1]) + place.column - 1
    assert json.JSONDecoder().raw_decode(text, offset)[0] == node


@given(st.lists(st.text()), st.dictionaries(st.text(), st.text()), st.text(), st.integers(0, 2**62), st.booleans())
def test_the_canonical_text_is_the_object(
    argv: list[str], env: dict[str, str], because: str, needed: int, exclusive: bool
) -> None:
    document = plan_json(plan(instance()))
    first = document["instances"][0]
    first["shards"][0].update({"argv": argv, "env": env})
    first["exclusive"] = exclusive
    first["decisions"][0].update({"because": because, "evidence": {"needed": needed}})
    text = object_text(document)
    assert json.loads(text) == document
    assert list(json.loads(text)["instances"][0]) == list(first)
    assert text.isascii()
    assert text.endswith("}\n")


def test_the_parser_reads_what_json_reads() -> None:
    parsed = parse_json('{"a": [1, 2.5, "\\ud83d\\ude00", null]}')
    assert getattr(parsed, "value", None) == {"a": [1, 2.5, "\U0001f600", None]}


@pytest.mark.bench
def test_two_thousand_instances_are_written_in_a_quarter_second_of_cpu() -> None:
    argv = ("serve", "/m", *(word for number in range(15) for word in (f"--flag-{number}", str(number))))
    fleet = plan(
        *(instance(f"model-{number}", argv=argv) for number in range(2000)),
        hosts=tuple(host(f"h{number}", *["NVIDIA H200"] * 8) for number in range(1000)),
    )
    times = []
    for _ in range(5):
        start = time.process_time()
        plan_text(fleet)
        times.append(time.process_time() - start)
    assert min(times) < 0.25, times


SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "plan.schema.json").read_text(encoding="utf-8"))
GUIDE = (Path(__file__).parents[3] / "docs" / "reading-a-plan.md").read_text(encoding="utf-8")


def fields(value: object) -> set[str]:
    """The keys of all objects but the maps whose keys are the user's."""
    if isinstance(value, list):
        return set().union(*(fields(item) for item in value))
    if not isinstance(value, dict):
        return set()
    found = set(value)
    for key, member in value.items():
        if key not in ("selector", "env", "secret_env", "labels", "evidence"):
            found |= fields(member)
    return found


def described(schema: object) -> set[str]:
    """Every property name that the schema speaks of."""
    if isinstance(schema, list):
        return set().union(*(described(item) for item in schema))
    if not isinstance(schema, dict):
        return set()
    found = set(schema.get("properties", {}))
    return found.union(*(described(member) for member in schema.values()))


WHOLE = replace(
    plan(
        instance(),
        instance("big", 0, shard("atlas"), shard("borealis", role="rpc", rank=1)),
        hosts=(replace(host("atlas", *["NVIDIA A40"] * 4), nvlink=((0, 1), (2, 3))), host("borealis", "NVIDIA L4")),
    ),
    unplaced=(Unplaced(model="huge", replica=1, code="GS402"),),
)


def test_the_schema_accepts_what_is_written_and_describes_every_field() -> None:
    document = plan_json(WHOLE)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert fields(document) <= described(SCHEMA)


def test_the_guide_explains_every_field() -> None:
    assert {
        field for field in fields(plan_json(WHOLE)) if f"`{field}`" not in GUIDE and f'"{field}"' not in GUIDE
    } == set()
