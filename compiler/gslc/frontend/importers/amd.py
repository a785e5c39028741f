"""`rocm-smi … --json` and `amd-smi static --json` -> the cards of one host."""

from __future__ import annotations

import re

from gslc.frontend.importers.foreign import as_list, as_map, integer_of, member, read_json, text_of
from gslc.frontend.importers.records import MIB, ProbedCard, Refused

ROCM_COMMAND = "rocm-smi --showproductname --showmeminfo vram --showuniqueid --json"
AMD_COMMAND = "amd-smi static --asic --vram --json"
_UNITS = {"B": 1, "KB": 1024, "MB": MIB, "GB": 1024 * MIB}  # amd-smi means binary units


def rocm_smi_cards(text: str) -> list[ProbedCard]:
    """The cards in order of their number. Letter case of the keys changed between ROCm versions."""
    cards: list[tuple[int, ProbedCard]] = []
    for key, value in as_map(read_json(text, ROCM_COMMAND)).items():
        match = re.fullmatch(r"card([0-9]{1,4})", key)
        if match is None:
            continue
        fields = {name.lower(): item for name, item in as_map(value).items()}
        name = _rocm_name(fields)
        if name is None:
            raise Refused("GS180", f"{key} has no card series", f"run `{ROCM_COMMAND}`")
        card = ProbedCard(
            name=name,
            vendor="amd",
            reported_bytes=integer_of(fields, "vram total memory (b)"),
            uuid=text_of(fields, "unique id"),
        )
        cards.append((int(match.group(1)), card))
    return [card for _, card in sorted(cards, key=lambda numbered: numbered[0])]


def _rocm_name(fields: dict[str, object]) -> str | None:
    """The product's name: the series, unless that is only a number (some versions print the device id there)."""
    for key in ("card series", "card model", "device name"):
        name = text_of(fields, key)
        if name is not None and not re.fullmatch(r"0x[0-9a-fA-F]+", name):
            return name
    return None


def amd_smi_cards(text: str) -> list[ProbedCard]:
    """The cards in order of `gpu`. Newer versions wrap the list in `gpu_data`."""
    value = read_json(text, AMD_COMMAND)
    rows = as_list(value) or as_list(member(value, "gpu_data"))
    cards: list[tuple[int, ProbedCard]] = []
    for place, row in enumerate(rows):
        name = text_of(row, "asic", "market_name")
        if name is None:
            raise Refused("GS180", f"GPU {place} has no asic.market_name", f"run `{AMD_COMMAND}`")
        amount = integer_of(row, "vram", "size", "value")
        unit = _UNITS.get(text_of(row, "vram", "size", "unit") or "MB")
        card = ProbedCard(
            name=name,
            vendor="amd",
            reported_bytes=amount * unit if amount is not None and unit is not None else None,
            uuid=text_of(row, "asic", "asic_serial"),
        )
        index = integer_of(row, "gpu")
        cards.append((place if index is None else index, card))
    return [card for _, card in sorted(cards, key=lambda numbered: numbered[0])]
