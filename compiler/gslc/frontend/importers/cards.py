"""What a tool saw of a card -> the line of `gpus`: a name of the table where it tells the truth, else `custom`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gslc.frontend.importers.records import MIB, CardTable, Findings, ImportedCard, ProbedCard

# A card may have a fifth and this much more than the table's (rounded down) figure before it counts as another card:
# nominal figures lie that far below what a driver gives on small cards; rebuilt cards have twice the memory.
MORE_BYTES = 512 * MIB
# Architectures with one compute capability, as `nvidia-smi -q` names them.
SINGLE_CAPABILITY = {"Volta": (7, 0), "Turing": (7, 5), "Ada Lovelace": (8, 9), "Hopper": (9, 0)}


def imported_cards(
    found: Findings, host: str, probed: Iterable[ProbedCard], table: CardTable, *, uuids: bool
) -> tuple[ImportedCard, ...]:
    """The lines of a host's cards in order, equal neighbours joined unless they carry UUIDs."""
    lines: list[ImportedCard] = []
    said: set[ProbedCard] = set()
    for card in probed:
        same = replace(card, uuid=None)
        line = imported_card(found, host, card, table, quiet=same in said)
        said.add(same)
        line = replace(line, uuid=card.uuid if uuids else None)
        last = lines[-1] if lines else None
        if last is not None and not uuids and replace(last, count=1) == line:
            lines[-1] = replace(last, count=last.count + 1)
        else:
            lines.append(line)
    return tuple(lines)


def imported_card(
    found: Findings, host: str, card: ProbedCard, table: CardTable, *, quiet: bool = False
) -> ImportedCard:
    """One card. A card that the table has with other memory, and one that it doesn't have, are written as `custom`."""
    variants = table.variants(card.name)
    if variants and table.shares_host_memory(card.name):
        return ImportedCard(model=variants[0].model)
    usable = _usable_bytes(card, table)
    if not variants:
        if not quiet:
            _say_unknown(found, host, card, usable, table)
        return _custom(card, usable)
    if usable is None:
        return ImportedCard(model=variants[0].model)
    # Without the driver's part only the total can be compared; the table's figure is what is left of such a total.
    ceiling = usable if card.reserved_bytes is not None else card.reported_bytes or usable
    fitting = [kind for kind in variants if kind.memory_bytes <= ceiling]
    best = fitting[-1] if fitting else None
    if best is not None and usable <= best.memory_bytes * 6 // 5 + MORE_BYTES:
        return ImportedCard(model=best.model)
    if not quiet:
        other = "less" if best is None else "more"
        has = (best or variants[0]).memory_bytes // MIB
        found.say(
            "GS185",
            f"{card.name} of {host} has {usable // MIB} MiB for programs, {other} than the table's {has} MiB; "
            "it is written as custom",
            "check ECC and MIG if you did not expect that",
        )
    capability = card.compute_capability or variants[0].compute_capability
    return _custom(replace(card, name=variants[0].model, compute_capability=capability), usable)


def _usable_bytes(card: ProbedCard, table: CardTable) -> int | None:
    """What a program gets: the total less what the driver keeps, or less the table's rule where it doesn't say."""
    if card.reported_bytes is None:
        return None
    if card.reserved_bytes is not None:
        return max(0, card.reported_bytes - card.reserved_bytes)
    return table.usable_bytes(card.vendor, card.reported_bytes)


def _custom(card: ProbedCard, usable_bytes: int | None) -> ImportedCard:
    return ImportedCard(
        model="custom",
        vendor=card.vendor,
        memory_bytes=None if usable_bytes is None else usable_bytes // MIB * MIB,
        compute_capability=card.compute_capability,
        note=card.name,
    )


def _say_unknown(found: Findings, host: str, card: ProbedCard, usable: int | None, table: CardTable) -> None:
    near = table.nearest(card.name)
    seen = "no memory" if usable is None else f"{usable // MIB} MiB for programs"
    found.say(
        "GS184",
        f"the GPU table does not know {card.name!r} of {host}; it is written as custom with {seen}",
        f"check it; the table's nearest names are {', '.join(near)}" if near else "check what was written",
    )
