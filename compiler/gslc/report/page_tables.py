"""Tables of the report page: endpoints, instances, memory by device, and what changed."""

from __future__ import annotations

from gslc.documents.plan import InstanceView, PlanDocument
from gslc.ir.plan import DeviceMemory
from gslc.report.diff_model import InstanceDiff, PlanDiff
from gslc.report.diff_text import (
    SIGNS,
    field_words,
    how_much,
    memory_line,
    moved_memory,
    restart_words,
    seats_text,
    word_values,
)
from gslc.report.page_fleet import text
from gslc.report.words import size

Rows = list[tuple[str, ...]]
# A browser lays a table out only when it comes into view, and until then takes it to be this tall.
_ROW_PIXELS = 38


def endpoints_table(document: PlanDocument) -> str:
    """Where each instance answers."""
    rows: Rows = []
    for one in document.instances:
        url = endpoint_url(one)
        rows.append(
            (
                _row_attributes(one),
                f"<b>{text(one.served_name)}</b>",
                f'<a href="{text(url)}" rel="noreferrer"><code>{text(url)}</code></a>',
                text(one.kind or "–"),
                text(f"{one.backend} {one.engine_version}"),
                _link(one.name),
            )
        )
    return _table("endpoints", ("Model", "Endpoint", "Kind", "Engine", "Instance"), rows)


def instances_table(document: PlanDocument) -> str:
    """One row an instance: where, and how its layout came out."""
    rows: Rows = []
    for one in document.instances:
        layout = one.layout
        gpu = sum(memory.total for shard in one.shards for memory in shard.memory.gpus)
        ram = sum(shard.memory.host.total for shard in one.shards)
        rows.append(
            (
                _row_attributes(one),
                _link(one.name),
                text(place_words(one)),
                text(f"{one.backend} {one.engine_version}"),
                _number(layout.context),
                _number(layout.parallel),
                f"{layout.tensor_parallel}" if layout.tensor_parallel > 1 else "–",
                "–" if layout.gpu_layers is None else f"{layout.gpu_layers}/{layout.layers or '?'}",
                size(gpu) if gpu else "–",
                size(ram) if ram else "–",
            )
        )
    head = ("Instance", "Place", "Engine", "Context", "Parallel", "TP", "GPU layers", "GPU memory", "RAM")
    return _table("instances", head, rows, numeric=3)


def memory_table(document: PlanDocument) -> str:
    """The bars as numbers: a row for each process, devices that carry the same together."""
    rows: Rows = []
    for one in document.instances:
        for shard in one.shards:
            alike: dict[DeviceMemory, list[int]] = {}
            for index, memory in zip(shard.gpus, shard.memory.gpus, strict=True):
                alike.setdefault(memory, []).append(index)
            ram = shard.memory.host.total
            for memory, indices in alike.items() or [(DeviceMemory(), [])]:
                devices = f"GPU {', '.join(map(str, indices))}" if indices else "CPU"
                figures = (*(_amount(part) for part in _parts(memory)), size(ram) if ram else "–")
                rows.append((_row_attributes(one), _link(one.name), text(shard.host), devices, *figures))
                ram = 0
    head = ("Instance", "Host", "Device", "Weights", "KV cache", "Compute", "Overhead", "Each GPU", "RAM")
    return _table("memory", head, rows, numeric=3)


def place_words(one: InstanceView) -> str:
    """Where an instance lies, as pins are written."""
    joined: dict[str, list[int]] = {}
    for shard in one.shards:
        joined.setdefault(shard.host, []).extend(shard.gpus)
    return " + ".join(f"{host}/{','.join(map(str, gpus))}" if gpus else host for host, gpus in joined.items())


def endpoint_url(one: InstanceView) -> str:
    """The address that answers for an instance."""
    address = one.shards[0].address
    return f"http://[{address}]:{one.port}" if ":" in address else f"http://{address}:{one.port}"


def changes_section(diff: PlanDiff) -> str:
    """What changed since the plan before: a headline, and a fold for each model."""
    folds = []
    for model in diff.models:
        seats = dict.fromkeys(_change_seats(one) for one in model.instances)
        body = "".join(_change(one) for one in model.instances)
        restarts = sum(one.restart is not None for one in model.instances)
        badge = f'<span class="badge warn">restarts {restarts}</span>' if restarts else ""
        folds.append(
            f'<details class="change {model.change}" data-model="{text(model.model)}"><summary>'
            f'<span class="sign" aria-hidden="true">{SIGNS[model.change]}</span><b>{text(model.model)}</b>'
            f"<span>{model.change}</span>{badge}<span class='where'>{text('; '.join(list(seats)[:4]))}</span></summary>"
            f"{body}</details>"
        )
    freed = [f"{host} GPU {index}" for host, index in diff.gpus_freed]
    note = f"<p>GPUs freed: {text(', '.join(freed[:24]))}{' …' if len(freed) > 24 else ''}</p>" if freed else ""
    return (
        f'<section id="changes" aria-labelledby="changes-title"><h2 id="changes-title">Changes</h2>'
        f"<p>{text(how_much(diff))}.</p>{note}{''.join(folds)}</section>"
    )


def change_rows(one: InstanceDiff) -> Rows:
    """What differs in an instance: name, before, after."""
    rows: Rows = []
    if one.moved:
        rows.append(("place", seats_text(one.before), seats_text(one.after)))
    rows += [(change.field, *field_words(change)) for change in one.fields]
    if one.moved or one.change != "changed":
        rows += moved_memory(one)
    else:
        rows += [memory_line(change)[:3] for change in one.memory]
    rows += [(word.name, word_values(word.before), word_values(word.after)) for word in (*one.flags, *one.env)]
    return rows


def _change(one: InstanceDiff) -> str:
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{text(before)}</td><td>{text(after)}</td></tr>'
        for name, before, after in change_rows(one)
    )
    notes = [f"{reason.topic}: {reason.because}" for reason in one.reasons]
    if one.restart is not None:
        notes.append(f"restarts {restart_words(one)}")
    items = "".join(f"<li>{text(note)}</li>" for note in notes)
    head = '<thead><tr><td></td><th scope="col">Before</th><th scope="col">After</th></tr></thead>'
    listing = f"<ul>{items}</ul>" if items else ""
    return (
        f'<div class="scroll"><table class="compare"><caption>{text(one.name)}</caption>{head}'
        f"<tbody>{body}</tbody></table></div>{listing}"
    )


def _change_seats(one: InstanceDiff) -> str:
    if one.moved:
        return f"{seats_text(one.before)} → {seats_text(one.after)}"
    return seats_text(one.after or one.before)


def _row_attributes(one: InstanceView) -> str:
    hosts = " ".join(dict.fromkeys(shard.host for shard in one.shards))
    return f'data-model="{text(one.model)}" data-hosts="{text(hosts)}"'


def _link(name: str) -> str:
    return f'<button type="button" class="link" data-i="{text(name)}">{text(name)}</button>'


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _amount(value: int | None) -> str:
    return "–" if value is None else size(value)


def _parts(memory: DeviceMemory) -> tuple[int | None, ...]:
    if memory.stated:
        return (None, None, None, None, memory.total)
    return (memory.weights, memory.kv_cache, memory.compute, memory.overhead, memory.total)


def _table(name: str, head: tuple[str, ...], rows: Rows, numeric: int | None = None) -> str:
    """A table; the first cell of a row holds the attributes of its tag, columns from `numeric` on are numbers."""
    start = len(head) if numeric is None else numeric
    titles = "".join(
        f'<th scope="col"{" class=n" if column >= start else ""}>{title}</th>' for column, title in enumerate(head)
    )
    lines = []
    for attributes, *cells in rows:
        body = "".join(f"<td{' class=n' if column >= start else ''}>{cell}</td>" for column, cell in enumerate(cells))
        lines.append(f"<tr {attributes}>{body}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}" '
        f'style="contain-intrinsic-size:auto {_ROW_PIXELS * (len(lines) + 1)}px"><table class="list">'
        f"<thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
