"""The plan in one screen: who runs where, with how much memory, on which port."""

from __future__ import annotations

from html import escape

from gslc.ir.plan import Instance, Plan, Shard
from gslc.report.words import count, size, table

_HEAD = ("INSTANCE", "ENGINE", "PLACE", "GPU MEMORY", "RAM", "CONTEXT", "PORT", "NOTE")
_RIGHT = frozenset({3, 4, 5, 6})


def plan_summary(plan: Plan) -> str:
    """A headline, a row for each instance, and the replicas without a place."""
    lines = [headline(plan)]
    if plan.instances:
        rows = [_HEAD, *(_row(instance) for instance in plan.instances)]
        lines += ["", *table(rows, right=_RIGHT), ""]
    for replica in plan.unplaced:
        lines.append(f"no place: {replica.model}-{replica.replica} ({replica.code}, see `gslc explain {replica.code}`)")
    return "\n".join(lines) + "\n"


def plan_summary_markdown(plan: Plan) -> str:
    """The same as a Markdown table, for a job summary."""
    lines = [f"### {escape(headline(plan), quote=False)}", ""]
    if plan.instances:
        titles = ["Instance", "Engine", "Place", "GPU memory", "RAM", "Context", "Port", "Note"]
        rules = ["---:" if column in _RIGHT else "---" for column in range(len(titles))]
        lines += [f"| {' | '.join(titles)} |", f"| {' | '.join(rules)} |"]
        lines += [f"| {' | '.join(_cell(cell) for cell in _row(instance))} |" for instance in plan.instances]
        lines.append("")
    lines += [f"- **no place:** {replica.model}-{replica.replica} ({replica.code})" for replica in plan.unplaced]
    return "\n".join(lines).rstrip("\n") + "\n"


def headline(plan: Plan) -> str:
    """How much is served, and of how many hosts and GPUs it takes."""
    used_hosts = {shard.host for instance in plan.instances for shard in instance.shards}
    used_gpus = {(shard.host, gpu) for instance in plan.instances for shard in instance.shards for gpu in shard.gpus}
    models = len({instance.model for instance in plan.instances})
    what = f"{count(len(plan.instances), 'instance')} of {count(models, 'model')}"
    if not plan.hosts:
        return f"{plan.cluster}: {what} on {count(len(used_hosts), 'host')} and {count(len(used_gpus), 'GPU')}"
    gpus = sum(len(host.gpus) for host in plan.hosts)
    where = f"{len(used_hosts):,} of {count(len(plan.hosts), 'host')} and {len(used_gpus):,} of {count(gpus, 'GPU')}"
    return f"{plan.cluster}: {what} on {where}"


def place(shards: tuple[Shard, ...]) -> str:
    """Where the shards lie, as pins are written: atlas/0,1 + borealis/0; a host alone where its CPU does the work."""
    joined: dict[str, list[int]] = {}
    for shard in shards:
        joined.setdefault(shard.host, []).extend(shard.gpus)
    return " + ".join(f"{host}/{','.join(map(str, gpus))}" if gpus else host for host, gpus in joined.items())


def note(instance: Instance) -> str:
    """What is not ordinary about the layout."""
    layout = instance.layout
    words = []
    hosts = len({shard.host for shard in instance.shards})
    if hosts > 1:
        words.append(f"{hosts} hosts")
    if layout.tensor_parallel > 1:
        words.append(f"tensor parallel {layout.tensor_parallel}")
    if layout.pipeline_parallel > 1:
        words.append(f"pipeline parallel {layout.pipeline_parallel}")
    gpus = any(shard.gpus for shard in instance.shards)
    if gpus and layout.gpu_layers is not None and layout.layers is not None and layout.gpu_layers < layout.layers:
        words.append(f"{layout.gpu_layers} of {layout.layers} layers on GPU")
    if layout.cpu_moe_layers:
        words.append(f"experts of {layout.cpu_moe_layers} layers on the CPU")
    if not gpus:
        words.append("CPU")
    if layout.requirement:
        words.append(f"alternative {layout.requirement + 1}")
    return ", ".join(words)


def _row(instance: Instance) -> tuple[str, ...]:
    on_gpus = sum(memory.total for shard in instance.shards for memory in shard.memory.gpus)
    on_hosts = sum(shard.memory.host.total for shard in instance.shards)
    context = instance.layout.context
    return (
        instance.name,
        f"{instance.backend} {instance.engine_version}".strip(),
        place(instance.shards),
        size(on_gpus) if on_gpus else "-",
        size(on_hosts) if on_hosts else "-",
        "-" if context is None else f"{context:,}",
        f"{instance.port}",
        note(instance),
    )


def _cell(text: str) -> str:
    return escape(text, quote=False).replace("|", "\\|")
