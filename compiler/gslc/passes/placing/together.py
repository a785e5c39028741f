"""What keeps the hosts of a replica over several hosts apart: an address, a target, a release of the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace

from gslc.ir.diagnostic import Related
from gslc.ir.inputs import Host
from gslc.ir.record import dataclass
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.options import Option
from gslc.passes.placing.problem import ModelTask, Problem, Replica
from gslc.passes.placing.state import Position, State

SETTABLE = "engines."  # what hosts must have in common and a user can change, by the start of its key


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A change of hosts, what asks for it, and whether all the replicas then find places: on which hosts."""

    what: str
    action: str
    places: bool
    hosts: frozenset[int] = frozenset()


def joining_changes(problem: Problem, state: State, replicas: list[Replica]) -> Iterator[Joined]:
    """The changes that bring hosts together, each tried on what is left now; none for a model that stays on one."""
    task = replicas[0].task
    if not spans(task):
        return
    hosts = [host for zone in task.zones for host in zone.hosts]
    apart = len({problem.hosts[host].target for host in hosts}) > 1
    if not all(problem.reachable[host] for host in hosts):
        heard = replace(problem, reachable=(True,) * len(problem.hosts))
        found = _seated(state, replicas, Fitter(heard))
        yield _addresses(problem, found)
        if apart:
            both = _one_target(heard, state, replicas)
            ways = _addresses(problem, both.hosts)
            if both.places and ways.places:
                yield Joined(what="addresses, one target", action=f"{ways.action} and {both.action}", places=True)
    if apart:
        yield _one_target(problem, state, replicas)
    yield from _in_common(problem, state, replicas)


def _addresses(problem: Problem, found: Collection[int]) -> Joined:
    """The addresses without which these hosts do not reach each other."""
    silent = sorted({host for host in found if not problem.reachable[host]})
    action = " and ".join(_address_to_set(problem.hosts[host]) for host in silent)
    return Joined(what="addresses", action=action, places=bool(silent))


def _address_to_set(host: Host) -> str:
    """What asks for a host's address; one that is there does not lead to the host."""
    order = f"set hosts.{host.name}.address"
    return order if host.address is None else f"{order} to the address under which the others reach it"


def spans(task: ModelTask) -> bool:
    """True for a model of which one replica may lie on several hosts."""
    return bool(task.wide) or any(elastic.spans_hosts for zone in task.zones for elastic in zone.elastic)


def _one_target(problem: Problem, state: State, replicas: list[Replica]) -> Joined:
    """The target that most of the hosts have, for the others of them."""
    alike = tuple(replace(host, target="systemd") for host in problem.hosts)
    found = _seated(state, replicas, Fitter(replace(problem, hosts=alike)))
    linux = all(problem.hosts[host].os == "linux" for host in found)  # elsewhere targets can't be chosen freely
    target, others = _most_common({problem.hosts[host].name: problem.hosts[host].target for host in found})
    action = " and ".join(f"set hosts.{name}.target to {target}" for name in others)
    return Joined(what="one target", action=action, places=bool(others) and linux, hosts=frozenset(found))


def _in_common(problem: Problem, state: State, replicas: list[Replica]) -> Iterator[Joined]:
    """One release of the engine, where the hosts of one and the same layout have different ones."""
    task = replicas[0].task
    fitter = Fitter(problem)
    for alike in _by_label(task):
        common = {host: dict(option.choice.common) for option, hosts in alike for host in hosts}
        keys = sorted({key for had in common.values() for key in had})
        differing = [key for key in keys if len({had.get(key) for had in common.values()}) > 1]
        if not differing:
            continue
        found = fitter.wide_spots(state, task, alike[0][0], sorted(common))
        if found is None:
            continue
        names = {problem.hosts[host].name: common[host] for host, _ in found}
        values = {key: _most_common({name: had[key] for name, had in names.items()}) for key in differing}
        orders = [f"set hosts.{name}.{key} to {value}" for key, (value, others) in values.items() for name in others]
        settable = all(key.startswith(SETTABLE) for key, (_, others) in values.items() if others)
        yield Joined(what=f"one {differing[0]}", action=" and ".join(orders), places=settable and len(replicas) == 1)
        return


def _by_label(task: ModelTask) -> list[list[tuple[Option, tuple[int, ...]]]]:
    """The options over several hosts, those of one label together."""
    found: dict[tuple[str, object], list[tuple[Option, tuple[int, ...]]]] = {}
    for option, hosts in task.wide:
        found.setdefault((option.choice.label, option.parts[0].kind), []).append((option, hosts))
    return list(found.values())


def _most_common(values: dict[str, str]) -> tuple[str, list[str]]:
    """The value that most names have, the first by name of equals, and the names that have another."""
    counts = Counter(values.values())
    best = min(counts, key=lambda value: (-counts[value], value), default="")
    return best, sorted(name for name, value in values.items() if value != best)


def _seated(state: State, replicas: list[Replica], fitter: Fitter) -> set[int]:
    """The hosts on which all of these replicas find places; none where one finds no place."""
    taken: list[Replica] = []
    found: list[Position] = []
    for replica in replicas:
        position = fitter.best(state, replica)
        if position is None:
            break
        state.take(replica, position)
        taken.append(replica)
        found.append(position)
    for replica in taken:
        state.release(replica)
    return {host for position in found for host, _ in position.spots} if len(found) == len(replicas) else set()


# ------------------------------------------------------------------ words


def apart_text(problem: Problem, task: ModelTask) -> str:
    """What a replica over several hosts needs of them, and what they have instead."""
    option, offering = task.wide[0] if task.wide else (None, ())
    parts = option.parts if option is not None else ()
    hosts = sorted(
        {host for _, own in task.wide for host in own} or {host for zone in task.zones for host in zone.hosts}
    )
    text = f"one replica needs {len(parts) or 2} different hosts{_cards_text(option)} under one target, each with an "
    text += "address"
    common = {problem.hosts[host].name: dict(own.choice.common) for own, hosts in task.wide for host in hosts}
    apart = [problem.hosts[number] for number in hosts if not problem.reachable[number]]
    silent = [host.name for host in apart if host.address is None]
    reasons: list[str] = []
    if silent:
        reasons.append(f"{names_of(silent)} {'has' if len(silent) == 1 else 'have'} none")
    at: dict[str, list[str]] = {}
    for host in apart:
        if host.address is not None:
            at.setdefault(host.address, []).append(host.name)
    reasons += [f"{address} of {names_of(names)} means each host itself" for address, names in sorted(at.items())]
    by_value = {"target": {problem.hosts[host].name: problem.hosts[host].target for host in hosts}}
    for key in sorted({key for had in common.values() for key in had}):
        by_value[key] = {name: had[key] for name, had in common.items() if key in had}
    reasons += [_values_text(key, values) for key, values in by_value.items() if len(set(values.values())) > 1]
    if not reasons and option is not None and len(offering) < len(parts):
        reasons.append(f"only {names_of([problem.hosts[host].name for host in offering])} can give that")
    return f"{text}; {'; '.join(reasons)}" if reasons else f"{text}, and the hosts with room are too few"


def unreached(problem: Problem, task: ModelTask) -> tuple[Related, ...]:
    """Where the addresses are written that lead to no other host, of hosts that may run the model."""
    hosts = sorted({host for zone in task.zones for host in zone.hosts if not problem.reachable[host]})
    return tuple(
        Related(place=problem.cluster.places.at("hosts", host.name, "address"), message=f"the address of {host.name}")
        for host in (problem.hosts[number] for number in hosts)
        if host.address is not None
    )[:NAMES_SHOWN]


def _cards_text(option: Option | None) -> str:
    """The cards that every part needs, "with 2 NVIDIA L40S each"; nothing where parts differ or any kind will do."""
    needs = {(part.count, part.kind) for part in option.parts} if option is not None else set()
    count, kind = needs.pop() if len(needs) == 1 else (0, None)
    return f" with {count} {kind.model} each" if kind is not None else ""


def _values_text(key: str, values: dict[str, str]) -> str:
    by_value: dict[str, list[str]] = {}
    for name, value in sorted(values.items()):
        by_value.setdefault(value, []).append(name)
    return f"{key} is " + ", ".join(f"{value} on {names_of(names)}" for value, names in by_value.items())


def host_to_add(task: ModelTask) -> str:
    """What a further host must bring for a replica over several hosts: " with 2 NVIDIA L40S and an `address`"."""
    if not task.wide or any(zone.options for zone in task.zones):
        return ""
    part = task.wide[0][0].parts[-1]
    return f" with {part.count} {part.kind.model} and an `address`" if part.kind is not None else " with an `address`"


NAMES_SHOWN = 3


def names_of(names: list[str]) -> str:
    """A few names: "a, b, c and 4 more"."""
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
