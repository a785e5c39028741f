"""GPUStack's workers -> hosts."""

from __future__ import annotations

from gslc.frontend.importers.foreign import as_list, as_map, integer_of, member, read_json, text_of
from gslc.frontend.importers.hosts import add_host
from gslc.frontend.importers.platforms import capability_of, vendor_of
from gslc.frontend.importers.records import CardTable, Findings, ProbedCard

WORKERS_COMMAND = "GPUStack's /v1/workers or /v2/workers"


def gpustack_hosts(found: Findings, text: str, table: CardTable, *, uuids: bool) -> None:
    """The workers of a GPUStack server, 0.x or 2.x."""
    value = read_json(text, WORKERS_COMMAND)
    taken: set[str] = set()
    for worker in as_list(value) or as_list(member(value, "items")):
        name = text_of(worker, "name") or text_of(worker, "hostname")
        if name is None:
            continue
        status = member(worker, "status")
        labels = {key: item for key, item in as_map(member(worker, "labels")).items() if isinstance(item, str)}
        labels.pop("worker-name", None)
        add_host(
            found,
            name,
            taken,
            table,
            _worker_cards(found, name, status),
            uuids=uuids,
            address=text_of(worker, "ip"),
            system=text_of(status, "kernel", "name") or labels.get("os"),
            machine=text_of(status, "kernel", "architecture") or labels.get("arch"),
            memory_bytes=integer_of(status, "memory", "total"),
            labels=labels,
            unified=member(status, "memory", "is_unified_memory") is True,
        )


def _worker_cards(found: Findings, worker: str, status: object) -> list[ProbedCard]:
    cards: list[tuple[int, ProbedCard]] = []
    for place, row in enumerate(as_list(member(status, "gpu_devices"))):
        vendor, name = vendor_of(text_of(row, "vendor")), text_of(row, "name")
        if vendor is None or name is None:
            found.say(
                "GS190", f"GPU {place} of worker {worker} is left out: gslc knows no cards of {text_of(row, 'vendor')}"
            )
            continue
        index = integer_of(row, "index")
        card = ProbedCard(
            name=name,
            vendor=vendor,
            reported_bytes=integer_of(row, "memory", "total"),
            compute_capability=capability_of(text_of(row, "compute_capability")) if vendor == "nvidia" else None,
            uuid=text_of(row, "uuid"),
        )
        cards.append((place if index is None else index, card))
    return [card for _, card in sorted(cards, key=lambda numbered: numbered[0])]
