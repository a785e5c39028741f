"""A diff as the "diff" member of the JSON envelope."""

from __future__ import annotations

from gslc.documents.plan_json import JsonObject, JsonValue
from gslc.ir.plan import DeviceMemory, Unplaced
from gslc.report.diff_model import InstanceDiff, MemoryChange, PlanDiff, SeatView, Totals, WordChange


def diff_json(diff: PlanDiff) -> JsonObject:
    """The whole diff. `files` is null where one side was a lone plan.json."""
    return {
        "old": diff.old,
        "new": diff.new,
        "cluster": {"before": diff.cluster[0], "after": diff.cluster[1]},
        "different": diff.different,
        "models": [
            {
                "model": model.model,
                "change": model.change,
                "instances": [_instance(instance) for instance in model.instances],
            }
            for model in diff.models
        ],
        "unchanged": diff.unchanged,
        "reasons_only": list(diff.reasons_only),
        "restarts": [_restart(instance) for instance in diff.restarts],
        "gpus_freed": [{"host": host, "gpu": gpu} for host, gpu in diff.gpus_freed],
        "gpus_taken": [{"host": host, "gpu": gpu} for host, gpu in diff.gpus_taken],
        "hosts_freed": list(diff.hosts_freed),
        "hosts_taken": list(diff.hosts_taken),
        "hosts": [{"host": host, "change": change} for host, change in diff.hosts],
        "unplaced": [_unplaced(replica) for replica in diff.unplaced],
        "placed_again": [_unplaced(replica) for replica in diff.placed_again],
        "files": None if diff.files is None else [{"path": one.path, "change": one.change} for one in diff.files],
        "totals": {"before": _totals(diff.before), "after": _totals(diff.after)},
    }


def _instance(one: InstanceDiff) -> JsonObject:
    return {
        "name": one.name,
        "change": one.change,
        "moved": one.moved,
        "from": [_seat(seat) for seat in one.before],
        "to": [_seat(seat) for seat in one.after],
        "fields": [{"field": it.field, "before": it.before, "after": it.after} for it in one.fields],
        "memory": [_memory_change(change) for change in one.memory],
        "flags": [_word(word) for word in one.flags],
        "env": [_word(word) for word in one.env],
        "reasons": [
            {"topic": it.topic, "before": it.before, "after": it.after, "because": it.because} for it in one.reasons
        ],
        "restart": None if one.restart is None else _restart(one),
    }


def _restart(one: InstanceDiff) -> JsonObject:
    if one.restart is None:
        raise ValueError(f"{one.name} does not restart")
    return {
        "instance": one.name,
        "model": one.model,
        "processes": list(one.restart.processes),
        "whole": one.restart.whole,
        "because": one.restart.because,
    }


def _seat(seat: SeatView) -> JsonObject:
    return {"host": seat.host, "role": seat.role, "gpus": list(seat.gpus)}


def _word(word: WordChange) -> JsonObject:
    before: JsonValue = None if word.before is None else list(word.before)
    after: JsonValue = None if word.after is None else list(word.after)
    return {"name": word.name, "before": before, "after": after, "shard": word.shard}


def _memory_change(change: MemoryChange) -> JsonObject:
    return {"host": change.host, "gpu": change.gpu, "before": _memory(change.before), "after": _memory(change.after)}


def _memory(memory: DeviceMemory | None) -> JsonValue:
    if memory is None:
        return None
    return {
        "weights": memory.weights,
        "kv_cache": memory.kv_cache,
        "compute": memory.compute,
        "overhead": memory.overhead,
        "total": memory.total,
    }


def _unplaced(replica: Unplaced) -> JsonObject:
    return {"model": replica.model, "replica": replica.replica, "code": replica.code}


def _totals(totals: Totals) -> JsonObject:
    return {
        "instances": totals.instances,
        "hosts_used": totals.hosts_used,
        "gpus_used": totals.gpus_used,
        "gpu_bytes": totals.gpu_bytes,
    }
