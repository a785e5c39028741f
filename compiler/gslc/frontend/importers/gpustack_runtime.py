"""`gpustack-runtime detect --format json` -> the cards of one host."""

from __future__ import annotations

from gslc.frontend.importers.foreign import as_list, integer_of, member, read_json, text_of
from gslc.frontend.importers.platforms import capability_of, vendor_of
from gslc.frontend.importers.records import MIB, Findings, ProbedCard, Refused

COMMAND = "gpustack-runtime detect --format json"


def runtime_cards(found: Findings, host: str, text: str) -> list[ProbedCard]:
    """The cards in order of `index`. MIG slices are Refused; cards of makers without an engine are left out."""
    rows = as_list(read_json(text, COMMAND))
    cards: list[tuple[int, ProbedCard]] = []
    for place, row in enumerate(rows):
        if member(row, "appendix", "vgpu") is True or as_list(member(row, "appendix", "mig_devices")):
            raise Refused(
                "GS187", f"GPU {place} of {host} is cut into MIG slices", "switch MIG off, or write this host by hand"
            )
        maker = text_of(row, "manufacturer")
        vendor = vendor_of(maker)
        name = text_of(row, "name")
        if vendor is None or name is None:
            found.say(
                "GS190", f"GPU {place} of {host} is left out: no engine runs on cards of {maker or 'an unnamed maker'}"
            )
            continue
        memory_mib = integer_of(row, "memory")
        card = ProbedCard(
            name=name,
            vendor=vendor,
            reported_bytes=memory_mib * MIB if memory_mib else None,
            compute_capability=capability_of(text_of(row, "compute_capability")) if vendor == "nvidia" else None,
            uuid=text_of(row, "uuid"),
        )
        index = integer_of(row, "index")
        cards.append((place if index is None else index, card))
    return [card for _, card in sorted(cards, key=lambda numbered: numbered[0])]
