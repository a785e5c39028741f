"""Nomad's nodes -> hosts."""

from __future__ import annotations

from gslc.frontend.importers.foreign import as_list, as_map, integer_of, member, read_json, text_of
from gslc.frontend.importers.hosts import add_host
from gslc.frontend.importers.platforms import vendor_of
from gslc.frontend.importers.records import MIB, CardTable, Findings, ProbedCard

NOMAD_COMMAND = "nomad node status -json, or /v1/node/ID"


def nomad_hosts(found: Findings, text: str, table: CardTable, *, uuids: bool) -> None:
    """One node, or a list of nodes as /v1/node/:id gives them (the short rows of /v1/nodes have no attributes)."""
    value = read_json(text, NOMAD_COMMAND)
    taken: set[str] = set()
    for node in as_list(value) or [value]:
        name = text_of(node, "Name")
        if name is None:
            continue
        attributes = as_map(member(node, "Attributes"))
        meta = {key: item for key, item in as_map(member(node, "Meta")).items() if isinstance(item, str)}
        for key, source in (("datacenter", "Datacenter"), ("node-class", "NodeClass"), ("node-pool", "NodePool")):
            written = text_of(node, source)
            if written is not None and written != "default":
                meta.setdefault(key, written)
        if not attributes:
            found.say(
                "GS186",
                f"node {name} comes without attributes: /v1/nodes leaves them out",
                "import /v1/node/ID of each node",
            )
        memory = integer_of(attributes, "memory.totalbytes")
        add_host(
            found,
            name,
            taken,
            table,
            _nomad_cards(found, name, node),
            uuids=uuids,
            address=text_of(attributes, "unique.network.ip-address") or text_of(node, "Address"),
            system=text_of(attributes, "kernel.name"),
            machine=text_of(attributes, "cpu.arch"),
            memory_bytes=memory,
            labels={key: item for key, item in meta.items() if not key.startswith("connect.")},
        )


def _nomad_cards(found: Findings, node: str, value: object) -> list[ProbedCard]:
    cards: list[tuple[str, ProbedCard]] = []
    for device in as_list(member(value, "NodeResources", "Devices")):
        vendor = vendor_of(text_of(device, "Vendor"))
        name = text_of(device, "Name")
        if text_of(device, "Type") != "gpu" or vendor is None or name is None:
            found.say("GS190", f"device {name} of node {node} is left out: it is no GPU that gslc knows")
            continue
        amount = integer_of(device, "Attributes", "memory", "Int")
        unit = {"KiB": 1024, "MiB": MIB, "GiB": 1024 * MIB}.get(
            text_of(device, "Attributes", "memory", "Unit") or "MiB", 0
        )
        for instance in as_list(member(device, "Instances")):
            bus = text_of(instance, "Locality", "PciBusID") or ""
            uuid = text_of(instance, "ID")
            if member(instance, "Healthy") is False:
                found.say(
                    "GS191",
                    f"node {node}: that Nomad calls GPU {uuid} unhealthy is not carried over: the card is counted",
                    "repair the card, or take it out of the result",
                )
            card = ProbedCard(
                name=name, vendor=vendor, reported_bytes=amount * unit if amount and unit else None, uuid=uuid
            )
            cards.append((bus, card))
    return [card for _, card in sorted(cards, key=lambda placed: (placed[0].lower(), placed[1].uuid or ""))]
