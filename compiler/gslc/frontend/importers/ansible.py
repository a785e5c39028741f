"""`ansible-inventory --list` -> hosts."""

from __future__ import annotations

from gslc.frontend.importers.foreign import as_list, as_map, integer_of, member, read_json, text_of
from gslc.frontend.importers.hosts import add_host
from gslc.frontend.importers.platforms import vendor_of
from gslc.frontend.importers.records import MIB, CardTable, Findings, ProbedCard

ANSIBLE_COMMAND = "ansible-inventory --list"


def ansible_hosts(found: Findings, text: str, table: CardTable, *, uuids: bool) -> None:
    """The hosts of `ansible-inventory --list`, with cached facts where there are any. Groups become labels.

    Ansible has no facts about GPUs; a custom fact `gpus` (ansible_local.gpus: a list of names, or of maps with `name`
    and `memory_mib`) is read.
    """
    value = as_map(read_json(text, ANSIBLE_COMMAND))
    hostvars = as_map(member(value, "_meta", "hostvars"))
    groups: dict[str, list[str]] = {}
    for group, content in value.items():
        if group in ("_meta", "all", "ungrouped"):
            continue
        for host in as_list(member(content, "hosts")):
            if isinstance(host, str):
                groups.setdefault(host, []).append(group)
    names = sorted({*hostvars, *groups, *(str(host) for host in as_list(member(value, "all", "hosts")))})
    taken: set[str] = set()
    for name in names:
        variables = as_map(hostvars.get(name))
        facts = {**variables, **as_map(variables.get("ansible_facts"))}
        memory_mib = _fact_integer(facts, "memtotal_mb")
        add_host(
            found,
            name,
            taken,
            table,
            _fact_cards(found, name, facts, table),
            uuids=uuids,
            address=_address(variables, facts),
            system=_fact(facts, "system"),
            machine=_fact(facts, "architecture"),
            memory_bytes=memory_mib * MIB if memory_mib else None,
            labels={_label(group): "true" for group in groups.get(name, ())},
        )


def _fact(facts: dict[str, object], name: str) -> str | None:
    return text_of(facts, name) or text_of(facts, f"ansible_{name}")


def _fact_integer(facts: dict[str, object], name: str) -> int | None:
    return integer_of(facts, name) or integer_of(facts, f"ansible_{name}")


def _address(variables: dict[str, object], facts: dict[str, object]) -> str | None:
    for found in (
        text_of(variables, "ansible_host"),
        text_of(facts, "default_ipv4", "address"),
        text_of(facts, "ansible_default_ipv4", "address"),
    ):
        if found is not None:
            return found
    return None


def _fact_cards(found: Findings, host: str, facts: dict[str, object], table: CardTable) -> list[ProbedCard]:
    local = as_map(facts.get("local")) or as_map(facts.get("ansible_local"))
    cards: list[ProbedCard] = []
    for row in as_list(local.get("gpus")) or as_list(member(local, "gpus", "gpus")):
        name = text_of(row) if isinstance(row, str) else text_of(row, "name")
        if name is None:
            continue
        known = table.variants(name)
        vendor = known[0].vendor if known else vendor_of(text_of(row, "vendor") or name.split()[0])
        if vendor is None:
            found.say(
                "GS184", f"the card {name!r} of {host} is left out: neither its name nor a `vendor` says who made it"
            )
            continue
        memory_mib = integer_of(row, "memory_mib")
        cards.append(
            ProbedCard(
                name=name,
                vendor=vendor,
                reported_bytes=memory_mib * MIB if memory_mib else None,
                uuid=text_of(row, "uuid"),
            )
        )
    return cards


def _label(group: str) -> str:
    return f"group-{group}".replace("_", "-").lower()
