"""The key `nvlink` of a host: which of its cards are linked to each other."""

from __future__ import annotations

from collections.abc import Sequence

from gslc.frontend import sizes
from gslc.frontend.fields import Fields, Scan
from gslc.frontend.mistake import listed
from gslc.frontend.source import Mark, Node
from gslc.frontend.source import Sequence as Items
from gslc.ir.inputs import Gpu

MAX_GPUS = 1_024  # of one host
MAX_ISLANDS = MAX_GPUS // 2
card_index = sizes.whole_number(0, MAX_GPUS - 1)


def read_nvlink(fields: Fields, host: str, gpus: Sequence[Gpu], *, sound: bool) -> tuple[tuple[int, ...], ...]:
    """The islands of a host, indices and islands in order. sound: `gpus` were read without a mistake."""
    found = fields.find("nvlink")
    if found is None:
        return ()
    scan, (node, mark, _) = found
    label = fields.label("nvlink")
    places: dict[int, Mark] = {}
    islands: list[tuple[int, ...]] = []
    for number, (item, at) in enumerate(scan.items(node, mark, label, MAX_ISLANDS), 1):
        owner = f"group {number} of {label}"
        members = _members(scan, item, at, owner, places)
        for index in members:
            if sound:
                _check_card(scan, places[index], f"{owner} names GPU {index}", index, host, gpus)
        if len(members) > 1:
            islands.append(tuple(sorted(members)))
    return tuple(sorted(islands))


def _members(scan: Scan, node: Node, mark: Mark, owner: str, places: dict[int, Mark]) -> list[int]:
    """The cards of one group that no group before it has; each mistake is noted."""
    members: list[int] = []
    items = scan.items(node, mark, owner, MAX_GPUS)
    sound = True
    for item, at in items:
        index = scan.scalar(item, at, f"an index in {owner}", card_index, None)
        if index is None:
            sound = False
            continue
        if index in places:
            where = scan.document.place(places[index])
            message = f"{owner} names GPU {index} again, which stands in line {where.line}, column {where.column} too"
            scan.refuse(at, "GS155", message, "name each card once: linked cards form one group")
            continue
        places[index] = at
        members.append(index)
    if sound and isinstance(node, Items) and len(node) < 2:
        few = "one card" if items else "no card"
        scan.refuse(
            mark, "GS155", f"{owner} has {few}; a link joins two or more", "remove the group, or add its other cards"
        )
    return members


def _check_card(scan: Scan, mark: Mark, what: str, index: int, host: str, gpus: Sequence[Gpu]) -> None:
    """Note a card that the host doesn't have, or that can't have NVLink."""
    if not gpus:
        scan.refuse(
            mark, "GS155", f"{what}, and host {host} has no GPUs", "remove nvlink, or list the cards under gpus"
        )
    elif index >= len(gpus):
        known = f"GPU {gpus[0].index}" if len(gpus) == 1 else f"GPU 0 to {len(gpus) - 1}"
        scan.refuse(mark, "GS155", f"{what}, but host {host} has {known}", "write indices of its gpus, counted from 0")
    elif gpus[index].kind.vendor != "nvidia":
        kind = gpus[index].kind
        message = f"{what} of host {host}, which is made by {kind.vendor} ({kind.model}); NVLink joins NVIDIA cards"
        nvidia = [str(gpu.index) for gpu in gpus if gpu.kind.vendor == "nvidia"]
        action = f"group only its NVIDIA cards: {listed(nvidia, 16)}" if nvidia else "remove nvlink"
        scan.refuse(mark, "GS155", message, action)
