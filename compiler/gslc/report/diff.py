"""Two plans -> what changes for people: which models, where they lie, what they need, and what restarts."""

from __future__ import annotations

from collections.abc import Mapping

from gslc.documents.plan import InstanceView, PlanDocument, ShardView, sum_memory
from gslc.edges.plan_source import PlanSource
from gslc.ir.plan import DeviceMemory, Unplaced
from gslc.report.diff_model import (
    Change,
    FieldChange,
    FileDiff,
    InstanceDiff,
    MemoryChange,
    ModelDiff,
    PlanDiff,
    ReasonChange,
    Restart,
    SeatView,
    Totals,
    WordChange,
)
from gslc.report.diff_moves import why_moved
from gslc.report.diff_units import Units, program, unit_texts
from gslc.report.diff_words import changed_env, changed_flags


def diff_plans(old: PlanSource, new: PlanSource) -> PlanDiff:
    """Everything that differs, per model. A replica is the same one while its model and number are."""
    before = {one.name: one for one in old.document.instances}
    after = {one.name: one for one in new.document.instances}
    units = _units(old, new)
    found: dict[str, list[InstanceDiff]] = {}
    reasons_only: list[str] = []
    for name in before.keys() | after.keys():
        one = _instance_diff(before.get(name), after.get(name), units, new.document)
        if one is not None:
            found.setdefault(one.model, []).append(one)
        elif before[name].decisions != after[name].decisions:
            reasons_only.append(name)
    differing = sum(len(instances) for instances in found.values())
    used_before, used_after = _used_gpus(old.document), _used_gpus(new.document)
    hosts_before, hosts_after = _used_hosts(old.document), _used_hosts(new.document)
    return PlanDiff(
        old=old.name,
        new=new.name,
        cluster=(old.document.cluster, new.document.cluster),
        models=tuple(_model_diff(model, found[model], old.document, new.document) for model in sorted(found)),
        unchanged=len(before.keys() | after.keys()) - differing,
        reasons_only=tuple(sorted(reasons_only)),
        gpus_freed=tuple(sorted(used_before - used_after)),
        gpus_taken=tuple(sorted(used_after - used_before)),
        hosts_freed=tuple(sorted(hosts_before - hosts_after)),
        hosts_taken=tuple(sorted(hosts_after - hosts_before)),
        hosts=_host_changes(old.document, new.document),
        unplaced=_sorted(set(new.document.unplaced) - set(old.document.unplaced)),
        placed_again=_sorted(set(old.document.unplaced) - set(new.document.unplaced)),
        files=_file_changes(old.files, new.files),
        before=_totals(old.document),
        after=_totals(new.document),
    )


def _units(old: PlanSource, new: PlanSource) -> tuple[Units, Units] | None:
    """The unit texts of both sides, or None where one of them is a lone plan.json."""
    if old.files is None or new.files is None:
        return None
    return unit_texts(old.files, old.document.cluster), unit_texts(new.files, new.document.cluster)


def _model_diff(model: str, instances: list[InstanceDiff], old: PlanDocument, new: PlanDocument) -> ModelDiff:
    was = any(one.model == model for one in old.instances)
    now = any(one.model == model for one in new.instances)
    change: Change = "changed" if was and now else "added" if now else "removed"
    by_replica = sorted(instances, key=lambda one: (len(one.name), one.name))
    return ModelDiff(model=model, change=change, instances=tuple(by_replica))


def _instance_diff(
    before: InstanceView | None, after: InstanceView | None, units: tuple[Units, Units] | None, new: PlanDocument
) -> InstanceDiff | None:
    """The differences of one replica; None when there are none but in its recorded reasons."""
    either = after or before
    if either is None:
        return None
    if before is None or after is None:
        return InstanceDiff(
            name=either.name,
            model=either.model,
            change="added" if before is None else "removed",
            before=_seats(before),
            after=_seats(after),
            fields=_fields(before, after),
            memory=_memory_changes(before, after),
        )
    moved = _seats(before) != _seats(after)
    fields = _fields(before, after)
    flags, env = _words(before, after)
    memory = _memory_changes(before, after)
    restart = _restart(before, after, units)
    if not (moved or fields or flags or env or memory or restart):
        return None
    return InstanceDiff(
        name=after.name,
        model=after.model,
        change="changed",
        before=_seats(before),
        after=_seats(after),
        moved=moved,
        fields=fields,
        flags=flags,
        env=env,
        memory=memory,
        reasons=_moves(before, after, new) + _reasons(before, after) if moved else _reasons(before, after),
        restart=restart,
    )


def _seats(instance: InstanceView | None) -> tuple[SeatView, ...]:
    shards = () if instance is None else instance.shards
    return tuple(SeatView(host=shard.host, gpus=shard.gpus, role=shard.role) for shard in shards)


def _fields(before: InstanceView | None, after: InstanceView | None) -> tuple[FieldChange, ...]:
    old = {} if before is None else _field_values(before)
    new = {} if after is None else _field_values(after)
    changes = (FieldChange(field=field, before=old.get(field), after=new.get(field)) for field in new | old)
    return tuple(change for change in changes if change.before != change.after)


def _field_values(instance: InstanceView) -> dict[str, str | None]:
    """The fields that people decide by, as they are printed; in the order in which they are shown."""
    layout = instance.layout
    split = layout.tensor_split
    utilization = layout.gpu_memory_utilization
    lead = instance.shards[0]
    return {
        "backend": instance.backend,
        "engine version": instance.engine_version,
        "target": instance.target,
        "program": program(instance, lead),
        "served name": instance.served_name,
        "kind": instance.kind or None,
        "tensor parallel": _number(layout.tensor_parallel),
        "pipeline parallel": _number(layout.pipeline_parallel),
        "GPU layers": None if layout.gpu_layers is None else _of(layout.gpu_layers, layout.layers),
        "tensor split": None if split is None else ",".join(map(str, split)),
        "expert layers on the CPU": _number(layout.cpu_moe_layers),
        "context": _number(layout.context),
        "parallel": _number(layout.parallel),
        "GPU memory utilization": None if utilization is None else f"{utilization / 1000}",
        "requirement": _number(layout.requirement),
        "address": lead.address,
        "port": _number(instance.port),
        "exclusive GPUs": "yes" if instance.exclusive else "no",
        "selector": ", ".join(f"{key}={value}" for key, value in sorted(instance.selector.items())) or None,
    }


def _number(value: int | None) -> str | None:
    return None if value is None else f"{value}"


def _of(part: int, whole: int | None) -> str:
    return f"{part}" if whole is None else f"{part} of {whole}"


def _words(before: InstanceView, after: InstanceView) -> tuple[tuple[WordChange, ...], tuple[WordChange, ...]]:
    """Flags and variables that differ, shard by shard; a shard that came or went is told by the seats."""
    old = {(shard.role, shard.rank): shard for shard in before.shards}
    pairs = [(old[key], shard) for shard in after.shards if (key := (shard.role, shard.rank)) in old]
    flags = tuple(change for was, now in pairs for change in changed_flags(was, now))
    env = tuple(change for was, now in pairs for change in changed_env(was, now))
    return flags, env


def _memory_changes(before: InstanceView | None, after: InstanceView | None) -> tuple[MemoryChange, ...]:
    old, new = _memory(before), _memory(after)
    return tuple(
        MemoryChange(host=host, gpu=None if gpu < 0 else gpu, before=old.get((host, gpu)), after=new.get((host, gpu)))
        for host, gpu in sorted(old.keys() | new.keys())
        if old.get((host, gpu)) != new.get((host, gpu))
    )


def _memory(instance: InstanceView | None) -> Mapping[tuple[str, int], DeviceMemory]:
    """What an instance takes of each device; host memory under index -1, and only where it takes any."""
    found: dict[tuple[str, int], DeviceMemory] = {}
    for shard in () if instance is None else instance.shards:
        devices = [*zip(shard.gpus, shard.memory.gpus, strict=True), (-1, shard.memory.host)]
        for gpu, memory in devices:
            if memory.total or gpu >= 0:
                found[shard.host, gpu] = sum_memory(found.get((shard.host, gpu), DeviceMemory()), memory)
    return found


def _reasons(before: InstanceView, after: InstanceView) -> tuple[ReasonChange, ...]:
    """The decisions that came out differently."""
    chosen = {(one.subject, one.topic): one.chosen for one in before.decisions}
    known = {(one.subject, one.topic, one.chosen) for one in before.decisions}
    return tuple(
        ReasonChange(
            topic=one.topic, before=chosen.get((one.subject, one.topic)), after=one.chosen, because=one.because
        )
        for one in after.decisions
        if (one.subject, one.topic, one.chosen) not in known
    )


def _moves(before: InstanceView, after: InstanceView, new: PlanDocument) -> tuple[ReasonChange, ...]:
    """Why it moves, as a reason of its own."""
    because = why_moved(before, after, new)
    places = ["; ".join(str(seat) for seat in _seats(one)) for one in (before, after)]
    return (ReasonChange(topic="move", before=places[0], after=places[1], because=because),) if because else ()


def _restart(before: InstanceView, after: InstanceView, units: tuple[Units, Units] | None) -> Restart | None:
    """What must be started anew: the processes whose launch or unit differs, or all of a group that restarts as one."""
    old = {shard.name or f"{shard.role}-{shard.rank}": shard for shard in before.shards}
    new = {shard.name or f"{shard.role}-{shard.rank}": shard for shard in after.shards}
    because: dict[str, str] = {}
    for name, shard in new.items():
        same = old.get(name)
        reason = "it is new" if same is None else _why_restart(same, shard, units)
        if same is not None and program(before, same) != program(after, shard):
            reason = "its program changes"
        if before.target != after.target:
            reason = f"the target is {after.target} now"
        if reason:
            because[name] = reason
    for name in old.keys() - new.keys():
        because[name] = "it is gone"
    if not because:
        return None
    whole = after.group_restart and len(new) > 1
    processes = tuple(new) if whole else tuple(name for name in new if name in because)
    return Restart(processes=processes, whole=whole, because="; ".join(sorted(set(because.values()))))


def _why_restart(old: ShardView, new: ShardView, units: tuple[Units, Units] | None) -> str:
    """Why a process must be started anew, or "" when it need not."""
    if (old.host, old.gpus) != (new.host, new.gpus):
        return "it moves" if old.host != new.host else "its GPUs change"
    if old.argv != new.argv:
        return "its command line changes"
    if (old.env, old.secret_env) != (new.env, new.secret_env):
        return "its environment changes"
    if (old.address, old.port) != (new.address, new.port):
        return "its address changes"
    if units is not None and _unit(units[0], old) != _unit(units[1], new):
        return "its unit changes"
    return ""


def _unit(units: Units, shard: ShardView) -> str | None:
    return units.get((shard.host, shard.name), units.get(("", shard.name)))


def _used_gpus(plan: PlanDocument) -> set[tuple[str, int]]:
    return {(shard.host, gpu) for one in plan.instances for shard in one.shards for gpu in shard.gpus}


def _used_hosts(plan: PlanDocument) -> set[str]:
    return {shard.host for one in plan.instances for shard in one.shards}


def _totals(plan: PlanDocument) -> Totals:
    gpu_bytes = sum(m.total for one in plan.instances for shard in one.shards for m in shard.memory.gpus)
    return Totals(
        instances=len(plan.instances),
        gpus_used=len(_used_gpus(plan)),
        gpu_bytes=gpu_bytes,
        hosts_used=len(_used_hosts(plan)),
    )


def _host_changes(old: PlanDocument, new: PlanDocument) -> tuple[tuple[str, Change], ...]:
    """Hosts of the inventory that came, went or differ; nothing where a plan has no inventory."""
    if not old.hosts or not new.hosts:
        return ()
    before, after = {host.name: host for host in old.hosts}, {host.name: host for host in new.hosts}
    return tuple((name, change) for name, change in _changes(before, after))


def _file_changes(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> tuple[FileDiff, ...] | None:
    if old is None or new is None:
        return None
    return tuple(FileDiff(path=path, change=change) for path, change in _changes(old, new))


def _changes(old: Mapping[str, object], new: Mapping[str, object]) -> list[tuple[str, Change]]:
    found: list[tuple[str, Change]] = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            found.append((name, "added"))
        elif name not in new:
            found.append((name, "removed"))
        elif old[name] != new[name]:
            found.append((name, "changed"))
    return found


def _sorted(replicas: set[Unplaced]) -> tuple[Unplaced, ...]:
    return tuple(sorted(replicas, key=lambda replica: (replica.model, replica.replica)))
