"""plan.json keeps to its schema."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gslc.edges.resources import resource_text

ROOT = Path(__file__).parents[3]
PLANS = sorted(ROOT.glob("examples/*/build/plan.json"))
SCHEMA = json.loads(resource_text("schemas/plan.schema.json"))
VALIDATOR = Draft202012Validator(SCHEMA)


def test_there_are_plans_to_look_at() -> None:
    assert PLANS


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.parents[1].name)
def test_a_plan_of_the_examples_keeps_to_the_schema(path: Path) -> None:
    VALIDATOR.validate(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.parents[1].name)
def test_the_schema_names_every_key_of_a_plan(path: Path) -> None:
    unknown: set[str] = set()

    def look(node: Any, schema: dict[str, Any], where: str) -> None:
        if "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        if isinstance(node, list):
            for item in node:
                look(item, schema.get("items", {}), f"{where}[]")
        elif isinstance(node, dict) and "properties" in schema:
            for key, value in node.items():
                if key in schema["properties"]:
                    look(value, schema["properties"][key], f"{where}.{key}")
                else:
                    unknown.add(f"{where}.{key}")

    look(json.loads(path.read_text(encoding="utf-8")), SCHEMA, "plan")
    assert unknown == set()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda plan: plan.pop("version"),
        lambda plan: plan["instances"][0].pop("shards"),
        lambda plan: plan["instances"][0].update(shards=[]),
        lambda plan: plan["instances"][0]["shards"][0].update(role="boss"),
        lambda plan: plan["instances"][0]["shards"][0]["memory"]["host"].update(weights=1.5),
        lambda plan: plan["instances"][0].update(gpu_memory_utilization=2),
        lambda plan: plan["unplaced"].append({"model": "a"}),
    ],
)
def test_a_spoiled_plan_is_refused(spoil: Any) -> None:
    plan = deepcopy(json.loads(PLANS[0].read_text(encoding="utf-8")))
    spoil(plan)
    assert not VALIDATOR.is_valid(plan)
