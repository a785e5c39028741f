"""What the page shows when an instance is opened: words only, laid out by the page's script without any HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gslc.documents.plan import InstanceView, PlanDocument, ShardView
from gslc.documents.plan_json import JsonObject, JsonValue
from gslc.ir.diagnostic import Decision
from gslc.ir.plan import DeviceMemory
from gslc.report.diff_model import PlanDiff
from gslc.report.diff_units import program
from gslc.report.explain import evidence_name, evidence_words, refusal_words
from gslc.report.page_tables import change_rows, endpoint_url, place_words
from gslc.report.words import count, printable, size


def page_data(document: PlanDocument, diff: PlanDiff | None) -> str:
    """JSON for a script element; `<`, `>` and `&` are escaped, so that no name ends the element or opens a comment."""
    changes = {} if diff is None else {one.name: change_rows(one) for model in diff.models for one in model.instances}
    # Replicas are decided alike, so each reason is written once and referred to by its number.
    numbers: dict[Decision, int] = {}
    for one in document.instances:
        for decision in one.decisions:
            numbers.setdefault(decision, len(numbers))
    reasons: list[JsonValue] = [_decision(decision) for decision in numbers]
    instances: JsonObject = {
        one.name: _instance(one, [list(row) for row in changes.get(one.name, [])], numbers)
        for one in document.instances
    }
    packed = json.dumps({"reasons": reasons, "instances": instances}, separators=(",", ":"), ensure_ascii=True)
    return packed.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _instance(one: InstanceView, changes: list[JsonValue], numbers: Mapping[Decision, int]) -> JsonObject:
    processes: list[JsonValue] = [_process(one, shard) for shard in one.shards]
    return {
        "model": printable(one.model),
        "facts": [[name, printable(value)] for name, value in _facts(one)],
        "memory": [list(row) for row in _memory(one)],
        "processes": processes,
        "decisions": [numbers[decision] for decision in one.decisions],
        "changes": changes,
    }


def _process(one: InstanceView, shard: ShardView) -> JsonObject:
    env = [f"{name}={value}" for name, value in shard.env]
    env += [f"{name} from secret {secret}" for name, secret in shard.secret_env]
    return {
        "name": printable(shard.name or f"{shard.role} {shard.rank}"),
        "host": printable(shard.host),
        "program": printable(program(one, shard) or ""),
        "argv": [printable(word) for word in shard.argv],
        "env": [printable(line) for line in env],
    }


def _facts(one: InstanceView) -> list[tuple[str, str]]:
    layout = one.layout
    utilization = layout.gpu_memory_utilization
    split = layout.tensor_split
    facts = [
        ("Endpoint", endpoint_url(one)),
        ("Place", place_words(one)),
        ("Engine", f"{one.backend} {one.engine_version}"),
        ("Runs under", one.target),
        ("Kind", one.kind),
        ("Context", "" if layout.context is None else f"{layout.context:,} tokens"),
        ("Parallel", "" if layout.parallel is None else count(layout.parallel, "request")),
        ("Tensor parallel", f"{layout.tensor_parallel}" if layout.tensor_parallel > 1 else ""),
        ("Pipeline parallel", f"{layout.pipeline_parallel}" if layout.pipeline_parallel > 1 else ""),
        ("GPU layers", "" if layout.gpu_layers is None else f"{layout.gpu_layers} of {layout.layers}"),
        ("Tensor split", "" if split is None else ", ".join(map(str, split))),
        ("GPU memory utilization", "" if utilization is None else f"{utilization / 1000}"),
        ("Memory is", one.basis),
        ("Exclusive GPUs", "yes" if one.exclusive else ""),
    ]
    return [(name, value) for name, value in facts if value]


def _memory(one: InstanceView) -> list[tuple[str, ...]]:
    rows = []
    for shard in one.shards:
        for index, memory in zip(shard.gpus, shard.memory.gpus, strict=True):
            rows.append((f"{shard.host}/{index}", *_parts(memory)))
        if shard.memory.host.total:
            rows.append((f"{shard.host} RAM", *_parts(shard.memory.host)))
    return [tuple(printable(cell) for cell in row) for row in rows]


def _parts(memory: DeviceMemory) -> tuple[str, ...]:
    if memory.stated:
        return ("–", "–", "–", "–", size(memory.total))
    return tuple(
        size(part) for part in (memory.weights, memory.kv_cache, memory.compute, memory.overhead, memory.total)
    )


def _decision(decision: Decision) -> JsonObject:
    return {
        "topic": printable(decision.topic),
        "chosen": printable(decision.chosen),
        "because": printable(decision.because),
        "rule": printable(decision.rule),
        "evidence": [
            [evidence_name(name), printable(evidence_words(name, value))] for name, value in decision.evidence
        ],
        "rejected": [[printable(one.what), printable(refusal_words(one))] for one in decision.rejected],
    }
