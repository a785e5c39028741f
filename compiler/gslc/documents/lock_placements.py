"""The placements of gslc.lock as values: types, allowed fields, nothing twice."""

from __future__ import annotations

from gslc.documents.lock_fields import Path, count_of, counts_of, fields_of, name_of, refuse, text_of
from gslc.ir.lock import LockedPlacement, Seat
from gslc.ir.plan import Layout

_PLACEMENT = {"model", "replica", "backend", "seats", "layout", "seal"}
_SEAT = {"host", "gpus", "ports"}
_LAYOUT = frozenset(Layout.__slots__)
_LINE = ('"placements"',)


def placements_of(raw: list[object]) -> tuple[LockedPlacement, ...]:
    """The placements of the list; LockRefused for anything that is none, and for a replica that is placed twice."""
    placements = tuple(_placement(item) for item in raw)
    seen: set[tuple[str, int]] = set()
    for placement in placements:
        key = (placement.model, placement.replica)
        if key in seen:
            raise refuse(_LINE, f"replica {placement.replica} of '{placement.model}' is placed twice", "GS205")
        seen.add(key)
    return placements


def _placement(raw: object) -> LockedPlacement:
    fields = fields_of(raw, _LINE, _PLACEMENT)
    model = name_of(fields["model"], _LINE)
    replica = count_of(fields["replica"], _LINE)
    line = (*_LINE, f'  {{"model": "{model}", "replica": {replica},')
    seats = fields["seats"]
    if not isinstance(seats, list) or not seats:
        raise refuse(line, "`seats` must be a list of at least one seat")
    text_of(fields["seal"], line)
    return LockedPlacement(
        model=model,
        replica=replica,
        backend=_backend(fields["backend"], line),
        seats=tuple(_seat(seat, line) for seat in seats),
        layout=_layout(fields["layout"], line),
    )


def _backend(value: object, path: Path) -> str:
    text = text_of(value, path)
    if not text or len(text) > 64 or not text.isprintable():
        raise refuse(path, "`backend` must be a name")
    return text


def _seat(raw: object, path: Path) -> Seat:
    fields = fields_of(raw, path, _SEAT)
    gpus = counts_of(fields["gpus"], path)
    ports = counts_of(fields["ports"], path)
    if len(set(gpus)) != len(gpus) or len(set(ports)) != len(ports):
        raise refuse(path, "a GPU or a port stands twice in one seat", "GS205")
    if ports and max(ports) > 65_535:
        raise refuse(path, f"{max(ports)} is not a port", "GS205")
    return Seat(host=name_of(fields["host"], path), gpus=gpus, ports=ports)


def _layout(raw: object, path: Path) -> Layout:
    fields = fields_of(raw, path, set(), _LAYOUT)
    if not fields:
        return Layout()
    split = fields.get("tensor_split")
    numbers = {name: count_of(value, path) for name, value in fields.items() if name != "tensor_split"}
    return Layout(
        tensor_parallel=numbers.get("tensor_parallel", 1),
        pipeline_parallel=numbers.get("pipeline_parallel", 1),
        gpu_layers=numbers.get("gpu_layers"),
        layers=numbers.get("layers"),
        tensor_split=None if split is None else counts_of(split, path),
        cpu_moe_layers=numbers.get("cpu_moe_layers"),
        gpu_memory_utilization=numbers.get("gpu_memory_utilization"),
        context=numbers.get("context"),
        parallel=numbers.get("parallel"),
        requirement=numbers.get("requirement"),
    )
