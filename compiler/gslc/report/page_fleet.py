"""Host cards of the report page: a stacked bar for each device, drawn as SVG so that print keeps it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from html import escape

from gslc.report.diff_model import Change
from gslc.report.diff_text import SIGNS
from gslc.report.page_model import PART_WORDS, Device, HostView, Part, Resident, part_sums, short_name
from gslc.report.words import count, printable, size

# Bars are drawn in units of 1/1000 of their width.
_UNITS = 1000
# A host with more cards than this takes two columns, its cards in two, so that its neighbours are not mostly blank.
_TALL = 3
_CLASSES: dict[Part, str] = {
    "weights": "w",
    "kv_cache": "k",
    "compute": "c",
    "overhead": "o",
    "stated": "s",
    "reserved": "r",
    "free": "f",
}


def text(value: str) -> str:
    """A text that is safe between tags and in quoted attributes."""
    return escape(printable(value), quote=True)


def host_cards(hosts: Iterable[HostView], changes: Mapping[str, Change]) -> str:
    """One card a host. `changes` says of which instances something changed, so that they are marked."""
    return "\n".join(_card(host, changes) for host in hosts)


def legend(hosts: tuple[HostView, ...]) -> str:
    """The memory of all GPUs as one bar, with a legend that carries the sums."""
    devices = [device for host in hosts for device in host.gpus]
    sums = part_sums(devices)
    whole = max(1, sum(sums.values()))
    shapes, position = [], 0
    for part, amount in sums.items():
        start, position = position, position + amount
        shapes.append(_shape(part, start, position, whole))
    entries = [
        f'<li><i class="swatch {_CLASSES[part]}"></i>{PART_WORDS[part]} <b>{size(amount)}</b></li>'
        for part, amount in sums.items()
    ]
    label = "; ".join(f"{PART_WORDS[part]} {size(amount)}" for part, amount in sums.items())
    bar = f'<svg class="bar hero" viewBox="0 0 {_UNITS} 1" preserveAspectRatio="none" role="img" aria-label="{label}">'
    return f'{bar}{"".join(shapes)}</svg><ul class="legend">{"".join(entries)}</ul>'


def _card(host: HostView, changes: Mapping[str, Change]) -> str:
    name = text(host.name)
    labels = [f"{key}={value}" for key, value in host.labels]
    chips = "".join(f"<li>{text(chip)}</li>" for chip in ([host.platform] if host.platform else []) + labels)
    if host.nvlink:
        chips += f'<li title="GPUs that NVLink joins">{_islands(host.nvlink)}</li>'
    used = sum(device.used_bytes for device in host.gpus)
    capacity = sum(device.capacity_bytes or device.used_bytes for device in host.gpus)
    figure = f"{size(used)} of {size(capacity)}" if host.gpus else "no GPU"
    data = "\t".join(printable(label) for label in labels)
    rows = [f'<div class="gpus">{"".join(_device(device, changes) for device in host.gpus)}</div>'] if host.gpus else []
    if host.ram is not None:
        on_gpus = {resident.instance for device in host.gpus for resident in device.residents}
        rows.append(_device(host.ram, changes, thin=True, named_above=on_gpus))
    return (
        f'<article class="host{" wide" if len(host.gpus) > _TALL else ""}" data-host="{name}" '
        f'data-labels="{escape(data)}" data-models="{text(" ".join(host.models))}"><header><h3>{name}</h3>'
        f'<span class="num" title="{count(host.gpu_count, "GPU")}">{figure}</span>'
        f'<ul class="chips">{chips}</ul></header>{"".join(rows)}</article>'
    )


def _islands(nvlink: tuple[tuple[int, ...], ...]) -> str:
    """The islands of linked cards in few characters: "NVLink 0–3 | 5,7"."""
    runs = [
        f"{cards[0]}–{cards[-1]}"
        if len(cards) > 2 and cards[-1] - cards[0] == len(cards) - 1
        else ",".join(map(str, cards))
        for cards in map(sorted, nvlink)
    ]
    return f"NVLink {' | '.join(runs)}"


def _device(
    device: Device, changes: Mapping[str, Change], *, thin: bool = False, named_above: Container[str] = ()
) -> str:
    """A row: what it is, its bar, how full it is, and a button for each instance that no row above has named."""
    whole = device.whole_bytes
    shapes: list[str] = []
    cuts: list[int] = []
    position = 0
    for resident in device.residents:
        inner = []
        for part, amount in resident.parts():
            start, position = position, position + amount
            inner.append(_shape(part, start, position, whole))
        shapes.append(f'<g data-i="{text(resident.instance)}">{"".join(inner)}</g>')
        cuts.append(position * _UNITS // whole)
    if device.reserved_bytes and device.capacity_bytes is not None:
        shapes.append(_shape("reserved", max(position, whole - device.reserved_bytes), whole, whole))
    lines = "".join(f"M{cut} 0v1" for cut in cuts if cut < _UNITS)
    if lines and not thin:
        shapes.append(f'<path class="cut" d="{lines}"/>')
    figure, of = size(device.used_bytes), ""
    if device.capacity_bytes is not None:
        of = f" / {size(device.capacity_bytes)}"
        figure = figure.removesuffix(" GiB") if of.endswith(" GiB") else figure
    name = text(short_name(device.name)) if device.name else ""
    title = f' title="{text(device.name)}"' if device.name else ""
    named = [resident for resident in device.residents if resident.instance not in named_above]
    people = "".join(_button(resident, changes.get(resident.instance)) for resident in named)
    who = f'<ul class="who">{people}</ul>' if people else ""
    if not device.residents and not thin:
        who = '<p class="who">free</p>'
    return (
        f'<div class="device{" thin" if thin else ""}"><span class="dev"{title}><b>{device.label}</b> {name}</span>'
        f'<svg class="bar" viewBox="0 0 {_UNITS} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="{_spoken(device)}">{"".join(shapes)}</svg>'
        f'<span class="num"><b>{figure}</b>{of}</span>{who}</div>'
    )


def _button(resident: Resident, change: Change | None) -> str:
    name = text(resident.instance)
    mark = "" if change is None else f'<b class="mark {change}" title="{change}">{SIGNS[change]}</b>'
    role = f" <i>{text(resident.role)}</i>" if resident.role else ""
    return f'<li>{mark}<button type="button" data-i="{name}">{name}{role}</button>{size(resident.memory.total)}</li>'


def _spoken(device: Device) -> str:
    """The bar in words, for those who can't see it."""
    if not device.residents:
        free = f"{size(device.free_bytes)} free" if device.capacity_bytes is not None else "nothing on it"
        return text(f"{device.label}: {free}")
    each = [
        f"{resident.instance} {size(resident.memory.total)}"
        f" ({', '.join(f'{PART_WORDS[part]} {size(amount)}' for part, amount in resident.parts())})"
        for resident in device.residents
    ]
    free = f"; {size(device.free_bytes)} free" if device.capacity_bytes is not None else ""
    return text(f"{device.label}: {'; '.join(each)}{free}")


def _shape(part: Part, start: int, end: int, whole: int) -> str:
    """A part of a bar from `start` to `end` bytes; at least one unit wide, so that nothing vanishes."""
    left, right = start * _UNITS // whole, end * _UNITS // whole
    return f'<path class="{_CLASSES[part]}" d="M{left} 0h{max(1, right - left)}v1H{left}z"/>'
