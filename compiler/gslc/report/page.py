"""A plan as one self-contained HTML page: no network, nothing but this file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

from gslc.documents.plan import PlanDocument
from gslc.report.diff_model import PlanDiff
from gslc.report.page_data import page_data
from gslc.report.page_fleet import host_cards, legend, text
from gslc.report.page_model import HostView, fleet
from gslc.report.page_tables import changes_section, endpoints_table, instances_table, memory_table
from gslc.report.words import count, size

_PLACE = re.compile(r"@([a-z_]+)@")


def report_page(
    document: PlanDocument,
    read: Callable[[str], str],
    before: PlanDocument | None = None,
    diff: PlanDiff | None = None,
) -> str:
    """The page. `read` gives the text of a template by its path; `before` and `diff` add what was, and what changed."""
    hosts = fleet(document)
    script = read("templates/report/page.js").strip()
    parts = {
        "title": text(f"{document.cluster}: GPU serving layout"),
        "cluster": text(document.cluster),
        "style": read("templates/report/page.css").strip(),
        "script": script,
        "script_hash": f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}",
        "figures": _figures(document, hosts),
        "legend": legend(hosts),
        "unplaced": _unplaced(document),
        "changes": "" if diff is None else changes_section(diff),
        "switch": "" if before is None else _SWITCH,
        "fleet": _fleet(hosts, before, diff),
        "model_options": _options(sorted({one.model for one in document.instances})),
        "label_options": _options(sorted({f"{key}={value}" for host in hosts for key, value in host.labels})),
        "host_count": count(len(hosts), "host"),
        "endpoints": endpoints_table(document),
        "instances": instances_table(document),
        "memory": memory_table(document),
        "source": text(document.file),
        "data": page_data(document, diff),
    }
    # One pass: a name that looks like a place is text by then and is never filled in.
    return _PLACE.sub(lambda found: parts[found[1]], read("templates/report/page.html"))


_SWITCH = (
    '<div class="switch" role="radiogroup" aria-label="Which plan">'
    '<label><input type="radio" name="view" id="v-before">Before</label>'
    '<label><input type="radio" name="view" id="v-after" checked>After</label></div>'
)


def _fleet(hosts: tuple[HostView, ...], before: PlanDocument | None, diff: PlanDiff | None) -> str:
    changes = {} if diff is None else {one.name: one.change for model in diff.models for one in model.instances}
    after = f'<div class="hosts after">\n{host_cards(hosts, changes)}\n</div>'
    return (
        after
        if before is None
        else f'{after}\n<div class="hosts before">\n{host_cards(fleet(before), changes)}\n</div>'
    )


def _figures(document: PlanDocument, hosts: tuple[HostView, ...]) -> str:
    """The numbers at the top."""
    devices = [device for host in hosts for device in host.gpus]
    used = sum(device.used_bytes for device in devices)
    gpus = sum(host.gpu_count for host in hosts)
    used_gpus = len({(s.host, gpu) for one in document.instances for s in one.shards for gpu in s.gpus})
    models = len({one.model for one in document.instances})
    known = all(device.capacity_bytes is not None for device in devices)
    capacity = sum(device.capacity_bytes or 0 for device in devices)
    share = f" <small>{used * 100 // capacity} % of {size(capacity)}</small>" if known and capacity else ""
    figures = [
        ("Models", f"{models:,}"),
        ("Instances", f"{len(document.instances):,}"),
        ("Hosts", f"{len(hosts):,}"),
        ("GPUs in use", f"{used_gpus:,} <small>of {gpus:,}</small>"),
        ("GPU memory", f"{size(used)}{share}"),
    ]
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)


def _unplaced(document: PlanDocument) -> str:
    if not document.unplaced:
        return ""
    names = ", ".join(f"{one.model}-{one.replica} ({one.code})" for one in document.unplaced)
    number = count(len(document.unplaced), "replica has", "replicas have")
    return f'<p class="notice" role="alert"><b>{number} no place:</b> {text(names)}</p>'


def _options(values: list[str]) -> str:
    return "".join(f"<option>{text(value)}</option>" for value in values)
