"""The links of a host whose cards an import replaces: whether what the file says under `nvlink` can still be so."""

from __future__ import annotations

from collections.abc import Sequence

from gslc.frontend.hosts import GpuTable
from gslc.frontend.importers.records import ImportedCard


def broken_link(groups: object, gpus: Sequence[ImportedCard], table: GpuTable) -> str | None:
    """Why the compiler would refuse these groups with these cards; None where it would not for the cards' sake."""
    cards = [card for gpu in gpus for card in [gpu] * gpu.count]
    members = (
        [item for group in groups if isinstance(group, list) for item in group] if isinstance(groups, list) else []
    )
    for member in members:
        if not (isinstance(member, str) and member.isascii() and member.isdigit()):
            continue
        index = int(member) if len(member) < 10 else len(cards)
        if index >= len(cards):
            return f"names GPU {member}, and the import has {len(cards)} {'card' if len(cards) == 1 else 'cards'}"
        if vendor_of(cards[index], table) != "nvidia":
            return f"names GPU {member}, which is {cards[index].model} in the import"
    return None


def vendor_of(card: ImportedCard, table: GpuTable) -> str | None:
    """Who makes a card; None for a name that the table doesn't have."""
    if card.vendor is not None:
        return card.vendor
    kind = table.find(card.model)
    return None if kind is None else kind.vendor
