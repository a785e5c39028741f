"""Why a replica can't stay where it was, read off the two plans: what is gone, or does not match or fit any more."""

from __future__ import annotations

from gslc.documents.plan import InstanceView, PlanDocument, ShardView
from gslc.ir.plan import HostSummary
from gslc.report.words import size


def why_moved(before: InstanceView, after: InstanceView, new: PlanDocument) -> str:
    """One sentence, also where the old place would still do; "" where the new plan has no inventory."""
    hosts = {host.name: host for host in new.hosts}
    if not hosts:
        return ""
    for shard in before.shards:
        host = hosts.get(shard.host)
        reason = f"{shard.host} is no longer in the inventory" if host is None else _gone(shard, host, after)
        if reason:
            return reason
    if _shape(before) != _shape(after):
        return f"its layout changed from {_shape(before)} to {_shape(after)}"
    for shard in before.shards:
        reason = _too_small(shard, hosts[shard.host], after, new)
        if reason:
            return reason
    return "its old place would still do: the placement was made afresh, or others needed the room"


def _gone(shard: ShardView, host: HostSummary, after: InstanceView) -> str:
    """What of the old place is missing, or does not match the selector any more."""
    missing = [index for index in shard.gpus if index >= len(host.gpus)]
    if missing:
        return f"{host.name} no longer has GPU {', '.join(map(str, missing))}"
    labels = dict(host.labels)
    for key, wanted in sorted(after.selector.items()):
        if labels.get(key) != wanted:
            found = f"has {key}={labels[key]}" if key in labels else f"has no label {key}"
            return f"{host.name} {found}, and it wants {key}={wanted}"
    return ""


def _shape(instance: InstanceView) -> str:
    """How a replica is cut, in words: hosts and GPUs."""
    gpus = sum(len(shard.gpus) for shard in instance.shards)
    hosts = len({shard.host for shard in instance.shards})
    cards = f"{gpus} GPU{'' if gpus == 1 else 's'}" if gpus else "the CPU"
    return cards if hosts == 1 else f"{cards} of {hosts} hosts"


def _too_small(shard: ShardView, host: HostSummary, after: InstanceView, new: PlanDocument) -> str:
    """Which card of the old place has too little left beside those who lie there now."""
    need = max((memory.total for part in after.shards for memory in part.memory.gpus), default=0)
    for index in shard.gpus:
        others = {
            one.name: memory.total
            for one in new.instances
            if one.name != after.name
            for part in one.shards
            if part.host == shard.host
            for card, memory in zip(part.gpus, part.memory.gpus, strict=True)
            if card == index
        }
        left = host.gpus[index].memory_bytes - host.reserved_gpu_memory_bytes - sum(others.values())
        if need > left:
            beside = f" beside {', '.join(sorted(others))}" if others else ""
            return (
                f"it needs {size(need)} on a GPU, and {host.name} GPU {index} has {size(max(0, left))}{beside}: "
                f"{need - max(0, left):,} bytes short"
            )
    return ""
