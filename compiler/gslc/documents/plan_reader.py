"""Text of a plan.json -> PlanDocument, or the place where it is no plan."""

from __future__ import annotations

from gslc.documents.json_reader import Malformed, Reader, located, parse_json
from gslc.documents.plan_json import PLAN_VERSION
from gslc.documents.plan_view import InstanceView, PlanDocument, ShardView
from gslc.ir.diagnostic import Decision, Diagnostic, Evidence, Excluded, Exhausted, Outcome, Outranked, Place, Refusal
from gslc.ir.plan import DeviceMemory, GpuSummary, HostSummary, Layout, ShardMemory, Unplaced

# No host has as many; an index of billions would have a reader draw billions of cards.
_MAX_GPUS = 1024


def read_plan(text: str, file: str) -> Outcome[PlanDocument]:
    """The plan in `text` (plan.json, or the JSON report of a build that holds one under "plan").

    Fields that this version does not know are ignored; fields that this version added are optional, so that plans of
    older releases with the same `version` can be compared.
    """
    parsed = parse_json(text)
    if isinstance(parsed, Malformed):
        return _refused("GS850", f"{file} is not JSON: {parsed.message}", parsed.place_in(file))
    try:
        top = Reader.of(parsed.value)
        if "plan" in top.value and "instances" not in top.value:
            top = top.child("plan")
        version = top.integer("version")
        if version != PLAN_VERSION:
            message = f"{file} is a plan of version {version}; this gslc reads version {PLAN_VERSION}"
            return _refused("GS852", message, located(text, (*top.path, "version"), file))
        document = PlanDocument(
            cluster=top.text("cluster"),
            instances=tuple(_instance(item) for item in top.objects("instances")),
            unplaced=tuple(
                Unplaced(model=item.text("model"), replica=item.natural("replica"), code=item.text("code"))
                for item in top.objects("unplaced", optional=True)
            ),
            hosts=tuple(_host(item) for item in top.objects("hosts", optional=True)),
            file=file,
        )
        _refuse_twins(top, document)
    except Malformed as error:
        return _refused("GS851", f"{file} is not a gslc plan: {error.message}", located(text, error.path, file))
    return Outcome(value=document)


def _refuse_twins(top: Reader, document: PlanDocument) -> None:
    """Raise Malformed where two instances or two hosts have one name: everything else goes by these names."""
    for key, names in (
        ("instances", [one.name for one in document.instances]),
        ("hosts", [one.name for one in document.hosts]),
    ):
        seen: set[str] = set()
        for number, name in enumerate(names):
            if name in seen:
                path = (*top.path, key, number, "name")
                raise Malformed(f"{key}[{number}] has a name that is taken: {name}", path)
            seen.add(name)


def _refused(code: str, message: str, place: Place) -> Outcome[PlanDocument]:
    help_line = "name a plan.json or an output folder that `gslc build` wrote"
    return Outcome(value=None, diagnostics=(Diagnostic(code=code, message=message, place=place, help=help_line),))


def _instance(item: Reader) -> InstanceView:
    utilization = item.number_or_none("gpu_memory_utilization")
    shards = tuple(_shard(shard) for shard in item.objects("shards"))
    if not shards:
        raise item.malformed("shards", "must hold at least one shard")
    return InstanceView(
        name=item.text("name"),
        model=item.text("model"),
        replica=item.natural("replica"),
        backend=item.text("backend"),
        engine_version=item.text("engine_version"),
        target=item.text("target"),
        served_name=item.text("served_name", default=item.text("model")),
        kind=item.text("kind", default=""),
        selector=item.texts("selector"),
        shards=shards,
        layout=Layout(
            tensor_parallel=item.natural("tensor_parallel"),
            pipeline_parallel=item.natural("pipeline_parallel"),
            gpu_layers=item.natural_or_none("gpu_layers"),
            layers=item.natural_or_none("layers"),
            tensor_split=item.naturals_or_none("tensor_split"),
            cpu_moe_layers=item.natural_or_none("cpu_moe_layers"),
            gpu_memory_utilization=None if utilization is None else round(utilization * 1000),
            context=item.natural_or_none("context"),
            parallel=item.natural_or_none("parallel"),
            requirement=item.natural_or_none("requirement"),
        ),
        basis=item.text("basis", default=""),
        exclusive=item.truth("exclusive"),
        group_restart=item.truth("group_restart"),
        port=item.natural("port"),
        decisions=tuple(_decision(decision) for decision in item.objects("decisions", optional=True)),
    )


def _shard(item: Reader) -> ShardView:
    memory = item.child("memory")
    gpus = item.naturals("gpus")
    if len(set(gpus)) != len(gpus) or any(index >= _MAX_GPUS for index in gpus):
        raise item.malformed("gpus", f"must be different indices below {_MAX_GPUS:,}")
    devices = tuple(_memory(device) for device in memory.objects("gpus"))
    if len(devices) != len(gpus):
        raise memory.malformed("gpus", f"has {len(devices)} entries for {len(gpus)} GPUs")
    return ShardView(
        name=item.text("name", default=""),
        host=item.text("host"),
        role=item.text("role"),
        rank=item.natural("rank"),
        gpus=gpus,
        address=item.text("address"),
        port=item.natural("port"),
        program=item.text("program", default=""),
        image=item.text_or_none("image"),
        argv=item.text_list("argv"),
        env=tuple(sorted(item.texts("env").items())),
        secret_env=tuple(sorted(item.texts("secret_env").items())),
        memory=ShardMemory(gpus=devices, host=_memory(memory.child("host"))),
    )


def _memory(item: Reader) -> DeviceMemory:
    weights, kv_cache = item.natural("weights"), item.natural("kv_cache")
    compute, overhead = item.natural("compute"), item.natural("overhead")
    stated = item.natural("total") - weights - kv_cache - compute - overhead
    if stated < 0:
        raise item.malformed("total", "is less than its parts")
    return DeviceMemory(weights=weights, kv_cache=kv_cache, compute=compute, overhead=overhead, stated=stated)


def _host(item: Reader) -> HostSummary:
    reserved = item.child("reserved", optional=True)
    return HostSummary(
        name=item.text("name"),
        os=item.text("os", default=""),
        arch=item.text("arch", default=""),
        labels=tuple(sorted(item.texts("labels").items())),
        memory_bytes=item.natural("memory"),
        unified_memory=item.truth("unified_memory"),
        reserved_memory_bytes=reserved.natural("memory", default=0),
        reserved_gpu_memory_bytes=reserved.natural("gpu_memory", default=0),
        gpus=tuple(
            GpuSummary(model=gpu.text("model"), memory_bytes=gpu.natural("memory"))
            for gpu in item.objects("gpus", optional=True)
        ),
        nvlink=item.lists_of_naturals("nvlink"),
    )


def _decision(item: Reader) -> Decision:
    evidence: list[tuple[str, Evidence]] = []
    for name, value in item.child("evidence", optional=True).value.items():
        if not (value is None or isinstance(value, str | int | bool)):
            raise item.malformed("evidence", f"{name} must be text, a whole number, true, false or null")
        evidence.append((name, value))
    return Decision(
        subject=item.text("subject", default=""),
        topic=item.text("topic"),
        chosen=item.text("chosen"),
        rule=item.text("rule", default=""),
        because=item.text("because", default=""),
        evidence=tuple(evidence),
        rejected=tuple(_refusal(refusal) for refusal in item.objects("rejected", optional=True)),
    )


def _refusal(item: Reader) -> Refusal:
    kind, what = item.text("kind"), item.text("what")
    if kind == "excluded":
        return Excluded(what=what, rule=item.text("rule"), detail=item.text("detail"))
    if kind == "exhausted":
        dimension = item.text("dimension")
        return Exhausted(
            what=what, dimension=dimension, needed=item.integer("needed"), available=item.integer("available")
        )
    if kind == "outranked":
        score, best = item.integers("score"), item.integers("best")
        return Outranked(what=what, score=score, best=best, detail=item.text("detail", default=""))
    raise item.malformed("kind", f'is "{kind}"; known are excluded, exhausted and outranked')
