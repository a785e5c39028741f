"""The memory map as one SVG for Markdown: a bar for each GPU, readable on light and on dark paper."""

from __future__ import annotations

from gslc.documents.plan import PlanDocument
from gslc.report.page_fleet import text
from gslc.report.page_model import PART_WORDS, Device, HostView, Part, fleet, part_sums, short_name
from gslc.report.words import count, printable, size

# More devices than this are drawn small, a row a host, since nobody reads 500 labels in a comment.
_DETAILED = 64
_WIDTH = 880
_MARGIN = 16
_LEGEND_COLUMNS = 5
_LEGEND_PIXELS = 170
# One set of colours for both papers: an image follows the colours of the system, not those that the reader chose on the
# page around it, so a media query would print black on black. Fills keep 3:1 against white and against GitHub's dark
# #0d1117, the grey of the text 4:1 and large headings 3:1.
_FILLS: dict[Part, str] = {
    "weights": "#4c6fe0",
    "kv_cache": "#12968a",
    "compute": "#c9720d",
    "overhead": "#78828f",
    "stated": "#8f5fd0",
    "reserved": "#8b95a2",
    "free": "none",
}
_STYLE = (
    "text{font:12px Inter,system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;fill:#747e8a}"
    ".h{font-weight:600;font-size:14px}.n{text-anchor:end}.t{fill:#98a2ae;fill-opacity:.22;stroke:#98a2ae;stroke-opacity:.5}"
)


def memory_map(document: PlanDocument) -> str:
    """The SVG. Hosts by name, their devices in order; a host without GPUs shows its RAM."""
    hosts = fleet(document)
    devices = sum(len(_shown(host)) for host in hosts)
    lines, height = _legend(hosts, _MARGIN + 12)
    draw = _detailed if devices <= _DETAILED else _compact
    for host in hosts:
        shapes, height = draw(host, height)
        lines += shapes
    title = text(f"{document.cluster}: memory of {count(sum(host.gpu_count for host in hosts), 'GPU')}")
    height += _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        f'role="img" aria-label="{title}"><title>{title}</title><style>{_STYLE}</style>\n'
        + "\n".join(lines)
        + "\n</svg>\n"
    )


def _shown(host: HostView) -> tuple[Device, ...]:
    return host.gpus or (() if host.ram is None else (host.ram,))


def _legend(hosts: tuple[HostView, ...], top: int) -> tuple[list[str], int]:
    """What the colours mean, with the sums over all GPUs."""
    lines = []
    sums = part_sums(device for host in hosts for device in host.gpus)
    for number, (part, amount) in enumerate(sums.items()):
        if number and number % _LEGEND_COLUMNS == 0:
            top += 18
        left = _MARGIN + number % _LEGEND_COLUMNS * _LEGEND_PIXELS
        label = f"{PART_WORDS[part]} {size(amount)}"
        shape = f'fill="{_FILLS[part]}"' if part != "free" else 'class="t"'
        lines.append(f'<rect x="{left}" y="{top - 10}" width="11" height="11" rx="3" {shape}/>')
        lines.append(f'<text x="{left + 17}" y="{top}">{text(label)}</text>')
    return lines, top + 10


def _detailed(host: HostView, top: int) -> tuple[list[str], int]:
    """A heading, then a row for each device: its card, its bar, how full it is, and who is on it."""
    top += 26
    labels = " ".join([host.platform, *(f"{key}={value}" for key, value in host.labels)])
    name = f'<tspan class="h">{text(_cut(host.name, 60))}</tspan>'
    lines = [f'<text x="{_MARGIN}" y="{top}">{name}<tspan dx="10">{text(_cut(labels, 70))}</tspan></text>']
    top += 8
    for device in _shown(host):
        names = list(dict.fromkeys(resident.instance for resident in device.residents))
        figure = (
            f"{size(device.used_bytes)} / {size(device.capacity_bytes)}"
            if device.capacity_bytes
            else size(device.used_bytes)
        )
        label = f"{device.label} {short_name(device.name)}".strip()
        lines.append(f'<text x="{_MARGIN}" y="{top + 13}">{text(_cut(label, 26))}</text>')
        lines += _bar(device, 196, top + 1, 330, 15)
        lines.append(f'<text class="n" x="660" y="{top + 13}">{text(figure)}</text>')
        lines.append(f'<text x="676" y="{top + 13}">{text(_cut(", ".join(names), 28))}</text>')
        top += 22
    return lines, top


def _compact(host: HostView, top: int) -> tuple[list[str], int]:
    """One row: the host's name and its devices side by side."""
    devices = _shown(host)
    lines = [f'<text x="{_MARGIN}" y="{top + 12}">{text(_cut(host.name, 24))}</text>']
    room = (_WIDTH - 196 - _MARGIN) // max(8, len(devices))
    for number, device in enumerate(devices):
        lines += _bar(device, 196 + number * room, top + 4, max(4, room - 4), 9)
    return lines, top + 15


def _bar(device: Device, left: int, top: int, width: int, height: int) -> list[str]:
    """The track and the parts of one device, in whole tenths of a pixel."""
    whole = device.whole_bytes
    shapes = [f'<rect class="t" x="{left}" y="{top}" width="{width}" height="{height}" rx="3"/>']
    position = 0
    for resident in device.residents:
        for part, amount in resident.parts():
            start, position = position, position + amount
            shapes.append(_part(part, start, position, whole, left, top, width, height))
        if position < whole:
            edge = _tenths(position * width * 10 // whole + left * 10)
            shapes.append(f'<path d="M{edge} {top}v{height}" stroke="#fff" stroke-opacity=".8" stroke-width="1"/>')
    if device.reserved_bytes and device.capacity_bytes is not None:
        start = max(position, whole - device.reserved_bytes)
        shapes.append(_part("reserved", start, whole, whole, left, top, width, height))
    return shapes


def _part(part: Part, start: int, end: int, whole: int, left: int, top: int, width: int, height: int) -> str:
    first, last = start * width * 10 // whole, end * width * 10 // whole
    x, w = _tenths(left * 10 + first), _tenths(max(5, last - first))
    return f'<rect x="{x}" y="{top}" width="{w}" height="{height}" fill="{_FILLS[part]}"/>'


def _tenths(value: int) -> str:
    return f"{value // 10}.{value % 10}" if value % 10 else f"{value // 10}"


def _cut(words: str, length: int) -> str:
    """The words, cut with an ellipsis behind `length` characters."""
    shown = printable(words)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
