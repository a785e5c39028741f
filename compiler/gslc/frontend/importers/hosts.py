"""Hosts from programs that know whole machines: what the importers of those have in common."""

from __future__ import annotations

from collections.abc import Iterable

from gslc.frontend.importers.cards import imported_cards
from gslc.frontend.importers.names import free_name
from gslc.frontend.importers.platforms import arch_of, os_of
from gslc.frontend.importers.records import CardTable, Findings, ImportedHost, ProbedCard


def add_host(
    found: Findings,
    foreign_name: str,
    taken: set[str],
    table: CardTable,
    cards: Iterable[ProbedCard],
    *,
    uuids: bool,
    address: str | None,
    system: str | None,
    machine: str | None,
    memory_bytes: int | None,
    labels: dict[str, str],
    unified: bool = False,
) -> None:
    """Put a host among the findings, unless gslc has no such system or processor."""
    os, arch = os_of(system), arch_of(machine)
    if (system is not None and os is None) or (machine is not None and arch is None):
        found.say(
            "GS190", f"host {foreign_name!r} is left out: gslc knows no {system or 'unnamed system'} on {machine}"
        )
        return
    name = free_name(found, "host", foreign_name, taken)
    probed = tuple(cards)
    if memory_bytes is None:
        say_no_memory(found, name)
    shared = unified or any(table.shares_host_memory(card.name) for card in probed)
    found.hosts.append(
        ImportedHost(
            name=name,
            address=address,
            os=os,
            arch=arch,
            memory_bytes=memory_bytes,
            unified_memory=shared,
            labels=tuple(sorted((key, value) for key, value in labels.items() if key not in ("os", "arch", "host"))),
            gpus=imported_cards(found, name, probed, table, uuids=uuids),
        )
    )


def say_no_memory(found: Findings, host: str) -> None:
    """Warn that the source doesn't hold the host's memory."""
    found.say(
        "GS186",
        f"this file does not say how much memory the host {host} has, and it was not guessed",
        "give --memory SIZE, or write `memory:` into the result",
    )
