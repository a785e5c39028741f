"""Plan -> the JSON object of plan.json: keys in a fixed order, maps sorted, nothing that moved input lines change."""

from __future__ import annotations

from typing import TypeAlias

from gslc.ir.diagnostic import Decision, Excluded, Exhausted, Refusal
from gslc.ir.inputs import Host
from gslc.ir.plan import DeviceMemory, GpuSummary, HostSummary, Instance, Plan, Shard

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

PLAN_VERSION = 1


def plan_json(plan: Plan) -> JsonObject:
    """plan.json as an object: contract fields first, in contract order; added fields behind them."""
    return {
        "version": PLAN_VERSION,
        "cluster": plan.cluster,
        "instances": [instance_json(instance) for instance in plan.instances],
        "unplaced": [
            {"model": replica.model, "replica": replica.replica, "code": replica.code} for replica in plan.unplaced
        ],
        "hosts": [_host_json(host) for host in plan.hosts],
    }


def instance_json(instance: Instance) -> JsonObject:
    """One instance of plan.json, without decisions about the fleet and line numbers, so that a diff stays small."""
    layout = instance.layout
    utilization = layout.gpu_memory_utilization
    return {
        "name": instance.name,
        "model": instance.model,
        "replica": instance.replica,
        "backend": instance.backend,
        "engine_version": instance.engine_version,
        "target": instance.target,
        "selector": dict(sorted(instance.selector.items())),
        "shards": [_shard_json(shard) for shard in instance.shards],
        "tensor_parallel": layout.tensor_parallel,
        "pipeline_parallel": layout.pipeline_parallel,
        "gpu_layers": layout.gpu_layers,
        "layers": layout.layers,
        "tensor_split": None if layout.tensor_split is None else list(layout.tensor_split),
        "context": layout.context,
        "parallel": layout.parallel,
        # n/1000 prints with at most three decimals for every n up to 1000: the shortest text that reads back the same.
        "gpu_memory_utilization": None if utilization is None else utilization / 1000,
        "requirement": layout.requirement,
        "port": instance.port,
        "cpu_moe_layers": layout.cpu_moe_layers,
        "kind": instance.kind,
        "served_name": instance.served_name,
        "basis": instance.basis,
        "exclusive": instance.exclusive,
        "group_restart": any(shard.launch.group_restart for shard in instance.shards),
        "decisions": [decision_json(decision) for decision in instance.decisions if decision.scope == "instance"],
    }


def decision_json(decision: Decision) -> JsonObject:
    """A decision without its place and scope."""
    return {
        "subject": decision.subject,
        "topic": decision.topic,
        "chosen": decision.chosen,
        "rule": decision.rule,
        "because": decision.because,
        "evidence": dict(decision.evidence),
        "rejected": [refusal_json(refusal) for refusal in decision.rejected],
    }


def refusal_json(refusal: Refusal) -> JsonObject:
    """One refusal; `kind` says which of the three it is."""
    if isinstance(refusal, Excluded):
        return {"kind": "excluded", "what": refusal.what, "rule": refusal.rule, "detail": refusal.detail}
    if isinstance(refusal, Exhausted):
        return {
            "kind": "exhausted",
            "what": refusal.what,
            "dimension": refusal.dimension,
            "needed": refusal.needed,
            "available": refusal.available,
        }
    return {
        "kind": "outranked",
        "what": refusal.what,
        "score": list(refusal.score),
        "best": list(refusal.best),
        "detail": refusal.detail,
    }


def host_summaries(hosts: tuple[Host, ...]) -> tuple[HostSummary, ...]:
    """What plan.json says of the inventory, sorted by name."""
    return tuple(
        HostSummary(
            name=host.name,
            os=host.os,
            arch=host.arch,
            labels=tuple(sorted(host.labels.items())),
            memory_bytes=host.memory_bytes,
            unified_memory=host.unified_memory,
            reserved_memory_bytes=host.reserved_memory_bytes,
            reserved_gpu_memory_bytes=host.reserved_gpu_memory_bytes,
            gpus=tuple(GpuSummary(model=gpu.kind.model, memory_bytes=gpu.kind.memory_bytes) for gpu in host.gpus),
            nvlink=host.nvlink,
        )
        for host in sorted(hosts, key=lambda host: host.name)
    )


def _host_json(host: HostSummary) -> JsonObject:
    return {
        "name": host.name,
        "os": host.os,
        "arch": host.arch,
        "labels": dict(host.labels),
        "memory": host.memory_bytes,
        "unified_memory": host.unified_memory,
        "reserved": {"memory": host.reserved_memory_bytes, "gpu_memory": host.reserved_gpu_memory_bytes},
        "gpus": [{"model": gpu.model, "memory": gpu.memory_bytes} for gpu in host.gpus],
        **({"nvlink": [list(island) for island in host.nvlink]} if host.nvlink else {}),
    }


def _shard_json(shard: Shard) -> JsonObject:
    launch = shard.launch
    return {
        "host": shard.host,
        "role": shard.role,
        "rank": shard.rank,
        "gpus": list(shard.gpus),
        "address": shard.address,
        "port": shard.port,
        "argv": list(launch.argv),
        "env": dict(sorted(launch.env)),
        "memory": {
            "gpus": [_memory_json(memory) for memory in shard.memory.gpus],
            "host": _memory_json(shard.memory.host),
        },
        "name": launch.name,
        "program": launch.program,
        "image": launch.image,
        "secret_env": dict(sorted(launch.secret_env)),
    }


def _memory_json(memory: DeviceMemory) -> JsonObject:
    return {
        "weights": memory.weights,
        "kv_cache": memory.kv_cache,
        "compute": memory.compute,
        "overhead": memory.overhead,
        "total": memory.total,
    }
