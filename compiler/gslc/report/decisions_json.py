"""Decisions as the "decisions" member of the JSON envelope: with place and scope, which plan.json leaves out."""

from __future__ import annotations

from collections.abc import Iterable

from gslc.documents.plan_json import JsonObject, JsonValue, decision_json
from gslc.ir.diagnostic import Decision


def decisions_json(decisions: Iterable[Decision]) -> list[JsonValue]:
    """The decisions in the order given."""
    return [_with_place(decision) for decision in decisions]


def _with_place(decision: Decision) -> JsonObject:
    place: JsonValue = None
    if decision.place is not None:
        place = {"file": decision.place.file, "line": decision.place.line, "column": decision.place.column}
    return {**decision_json(decision), "scope": decision.scope, "place": place}
