"""What one part of a cluster says about another: pins, selectors, names and limits of the whole."""

from __future__ import annotations

from collections.abc import Mapping

from gslc.frontend.fields import Fields, Problems
from gslc.frontend.mistake import listed, nearest
from gslc.ir.diagnostic import Related
from gslc.ir.inputs import Cluster, Host, Model

MAX_INSTANCES = 100_000  # of the whole cluster


def check_references(
    cluster: Cluster,
    hosts: Mapping[str, tuple[Fields, Host]],
    models: list[tuple[Fields, Model]],
    problems: Problems,
) -> None:
    """Note what refers to nothing, or twice to the same. The parts themselves are sound."""
    check_uuids(hosts)
    check_addresses(hosts)
    by_label = index_labels(cluster.hosts)
    for fields, model in models:
        if model.gpus:
            check_pins(fields, model, hosts)
        if model.host_selector:
            check_selector(fields, model, by_label, len(cluster.hosts))
    total = sum(model.replicas for model in cluster.models)
    if total > MAX_INSTANCES and models:
        largest_fields, largest = max(models, key=lambda entry: entry[1].replicas)
        message = (
            f"the models have {total:,} replicas in all, {largest.replicas:,} of them of model {largest.name}; "
            f"{MAX_INSTANCES:,} is the most"
        )
        largest_fields.refuse("replicas", "GS175", message, "write fewer replicas")


def check_uuids(hosts: Mapping[str, tuple[Fields, Host]]) -> None:
    """Note a card that is in two places."""
    seen: dict[str, tuple[Fields, Host]] = {}
    for fields, host in hosts.values():
        for gpu in host.gpus:
            if gpu.uuid is None:
                continue
            if gpu.uuid in seen:
                first_fields, first = seen[gpu.uuid]
                related = (Related(place=first_fields.place("gpus"), message=f"a card of host {first.name} has it"),)
                message = f"the uuid {gpu.uuid} on host {host.name} is given twice"
                fields.refuse("gpus", "GS154", message, "copy each card's own from nvidia-smi -L", related)
            seen.setdefault(gpu.uuid, (fields, host))


def check_addresses(hosts: Mapping[str, tuple[Fields, Host]]) -> None:
    """Warn of hosts that are reached under one address, which only a network that maps ports can tell apart."""
    seen: dict[str, tuple[Fields, Host]] = {}
    for fields, host in hosts.values():
        entry = fields.find("address")
        if host.address is None or entry is None:
            continue
        first_fields, first = seen.setdefault(host.address.lower().removesuffix("."), (fields, host))
        if first is host:
            continue
        scan, (_, mark, _) = entry
        related = (Related(place=first_fields.place("address"), message=f"the address of host {first.name}"),)
        message = f"hosts {first.name} and {host.name} have the same address {host.address}: it leads to one of them"
        action = "write each host's own; a host that only its own programs reach needs none"
        scan.refuse(mark, "GS167", message, action, related=related, severity="warning")


def check_pins(fields: Fields, model: Model, hosts: Mapping[str, tuple[Fields, Host]]) -> None:
    """Note pins to hosts or cards that don't exist."""
    for name, index in model.gpus:
        if name not in hosts:
            near = nearest(name, hosts)
            action = f"did you mean {near[0]}/{index}?" if near else f"hosts: {listed(sorted(hosts))}"
            fields.refuse(
                "gpus", "GS170", f"gpus of model {model.name} names {name}/{index}, but there is no host {name}", action
            )
            continue
        host_fields, host = hosts[name]
        if index >= len(host.gpus):
            have = f"its GPUs are 0 to {len(host.gpus) - 1}" if host.gpus else "it has no GPU"
            related = (Related(place=host_fields.place("gpus"), message=f"the GPUs of host {name}"),)
            action = (
                f"name one of {name}/0 to {name}/{len(host.gpus) - 1}" if host.gpus else f"give host {name} its gpus"
            )
            fields.refuse(
                "gpus", "GS170", f"gpus of model {model.name} names {name}/{index}, but {have}", action, related
            )


def index_labels(hosts: tuple[Host, ...]) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Label -> value -> names of the hosts that carry it."""
    found: dict[str, dict[str, set[str]]] = {}
    for host in hosts:
        for key, value in host.labels.items():
            found.setdefault(key, {}).setdefault(value, set()).add(host.name)
    return {key: {value: frozenset(names) for value, names in values.items()} for key, values in found.items()}


def check_selector(
    fields: Fields, model: Model, by_label: Mapping[str, Mapping[str, frozenset[str]]], host_count: int
) -> None:
    """Note a selector that no host matches, with the labels that exist."""
    matching: frozenset[str] | None = None
    where = f"host_selector of model {model.name}"
    for key, value in model.host_selector or ():
        values = by_label.get(key)
        if values is None:
            near = nearest(key, by_label)
            action = f"did you mean {near[0]}?" if near else f"labels that exist: {listed(sorted(by_label))}"
            fields.refuse(
                "host_selector", "GS171", f"{where} wants {key}: {value}, but no host has the label {key}", action
            )
            return
        if value not in values:
            near = nearest(value, values)
            action = (
                f"did you mean {key}: {near[0]}?" if near else f"values of {key} that exist: {listed(sorted(values))}"
            )
            fields.refuse(
                "host_selector",
                "GS171",
                f"{where} wants {key}: {value}, which matches none of {host_count} hosts",
                action,
            )
            return
        matching = values[value] if matching is None else matching & values[value]
        if not matching:
            pairs = ", ".join(f"{k}: {v}" for k, v in model.host_selector or ())
            action = f"hosts with {key}: {value} are {listed(sorted(values[value]))}"
            fields.refuse("host_selector", "GS171", f"{where} wants {pairs}, which no host has together", action)
            return
