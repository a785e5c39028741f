"""Why a replica has no place: what every group of hosts lacks, and the smallest change that was tried and helps."""

from __future__ import annotations

from gslc.ir.diagnostic import Decision, Diagnostic, Evidence, Excluded, Exhausted, Refusal, Related
from gslc.passes.placing.changes import Tried, tried_changes
from gslc.passes.placing.fit import Fitter
from gslc.passes.placing.freehost import free_host
from gslc.passes.placing.options import Part, Zone
from gslc.passes.placing.problem import ModelTask, Problem, Replica
from gslc.passes.placing.replan import ReplanAnswer
from gslc.passes.placing.report import Refusals
from gslc.passes.placing.state import LOCKED, State
from gslc.passes.placing.together import NAMES_SHOWN, apart_text, host_to_add, names_of, spans, unreached

GROUPS_SHOWN = 3  # groups of hosts in a message; the decision has them all
EXPLAINED = 20  # models for which changes are tried: each try costs a little, and nobody reads more


def explain_unplaced(
    problem: Problem,
    state: State,
    fitter: Fitter,
    unplaced: tuple[Replica, ...],
    short_of_ports: dict[int, int],
    replanned: ReplanAnswer | None,
) -> Refusals:
    """One diagnostic a model with unplaced replicas; models that no host can run were reported before (GS380)."""
    result = Refusals()
    missing: dict[int, list[Replica]] = {}
    for replica in unplaced:
        missing.setdefault(replica.task.index, []).append(replica)
    for number, replicas in enumerate(missing.values()):
        task = replicas[0].task
        if not task.candidates.hosts:
            result.codes.update((replica.id, "GS380") for replica in replicas)
            continue
        code, message, refusals = _reason(problem, state, fitter, replicas, short_of_ports)
        port_taken = any(isinstance(one, Excluded) and one.rule == "port" for one in refusals)
        related = _owners_of_port(problem, state, task) if port_taken else ()
        # by another model: where replicas of one model contend, another number changes nothing
        by_port = bool(related)
        silent = next((one.what for one in refusals if isinstance(one, Excluded) and one.rule == "address"), None)
        related = related if silent is None else unreached(problem, task)
        help_text: str | None = None
        tried: tuple[Tried, ...] = ()
        if number < EXPLAINED:
            help_text, tried = _help(problem, state, fitter, replicas, replanned, code, by_port)
            if silent is not None and not (tried and tried[-1].places):
                help_text = f"give {silent} an `address` that the other hosts reach"
        result.codes.update((replica.id, code) for replica in replicas)
        place = problem.cluster.places.key("models", task.name, *(("port",) if by_port else ()))
        result.diagnostics.append(Diagnostic(code=code, message=message, place=place, help=help_text, related=related))
        result.decisions.extend(
            Decision(
                subject=f"{task.name}-{replica.number}",
                topic="seat",
                chosen="none",
                rule=code,
                because=message,
                evidence=_evidence(tried),
                rejected=(*refusals, *_in_vain(tried)),
                place=place,
                scope="fleet",
            )
            for replica in replicas
        )
    return result


# ------------------------------------------------------------------ the reason


def _reason(
    problem: Problem, state: State, fitter: Fitter, replicas: list[Replica], short_of_ports: dict[int, int]
) -> tuple[str, str, tuple[Refusal, ...]]:
    """The code, the message and the refusals of a model's missing replicas."""
    task = replicas[0].task
    who = names_of([f"{task.name}-{replica.number}" for replica in replicas])
    ports = [short_of_ports[replica.id] for replica in replicas if replica.id in short_of_ports]
    if ports:
        first, last = problem.cluster.port_range
        host = problem.hosts[ports[0]].name
        refusal = Exhausted(what=host, dimension="ports", needed=1, available=0)
        return "GS404", f"{who}: no port of {first}-{last} is left on {host}", (refusal,)
    if not any(zone.all_options() or zone.elastic for zone in task.zones) and not task.wide:
        refused = _no_layout(task)
        details = _layouts_text(refused) or "none fits an empty host"
        return "GS406", f"{who}: there is no layout for the hosts that may run it: {details}", refused
    by_rule = _rule_refusals(problem, state, fitter, task)
    lacks = [lack for zone in task.zones if (lack := _lack_of_zone(problem, state, fitter, task, zone)) is not None]
    if not lacks and not by_rule and not spans(task):
        detail = "no host that may run it has as many cards as its settings ask for"
        hosts = sorted({host for zone in task.zones for host in zone.hosts})
        names = names_of([problem.hosts[host].name for host in hosts])
        return "GS405", f"{who}: {detail}", (Excluded(what=names, rule="cards", detail=detail),)
    if not lacks and not by_rule:
        detail = apart_text(problem, task)
        hosts = sorted({host for zone in task.zones for host in zone.hosts})
        silent = [host for host in hosts if not problem.reachable[host]]
        names = names_of([problem.hosts[host].name for host in silent or hosts])
        excluded = Excluded(what=names, rule="address" if silent else "hosts", detail=detail)
        return "GS405", f"{who}: {detail}", (excluded,)
    lacks.sort(key=lambda lack: (lack.needed - lack.available, lack.what))
    shown = "; ".join(lack_text(lack) for lack in lacks[:GROUPS_SHOWN])
    more = len(lacks) - GROUPS_SHOWN
    rest = f"; and {more} more groups of hosts lack more" if more > 0 else ""
    if by_rule:
        rules = "; ".join(refusal.detail for refusal in by_rule)
        elsewhere = f"; elsewhere there is no room: {shown}{rest}" if lacks else ""
        code = "GS404" if by_rule[0].rule == "ports" else "GS405"
        return code, f"no place for {who}: {rules}{elsewhere}", (*by_rule, *lacks)
    return "GS402", f"no place for {who}: {shown}{rest}", tuple(lacks)


def lack_text(lack: Exhausted) -> str:
    """One lack in words."""
    short = lack.needed - lack.available
    return (
        f"{lack.what}: needs {lack.needed:,} bytes of {lack.dimension}, "
        f"at most {lack.available:,} are left ({short:,} short)"
    )


def _no_layout(task: ModelTask) -> tuple[Excluded, ...]:
    found: dict[Excluded, None] = {}
    for group in task.candidates.groups:
        for refusal in task.candidates.options[group.host_class].refused:
            found[refusal] = None
    return tuple(found)


def _layouts_text(refused: tuple[Excluded, ...]) -> str:
    """The layouts that were ruled out, those together that fall to the same rule first; the last with its numbers."""
    first: dict[str, Excluded] = {}
    for one in refused:
        first.setdefault(one.what, one)
    alike: dict[str, list[Excluded]] = {}
    for one in first.values():
        alike.setdefault(one.rule, []).append(one)
    said: list[str] = []
    for group in alike.values():
        last = group[-1]
        named = len(group) == 1 or last.what in last.detail
        detail = last.detail if named else f"{last.what} {last.detail}"
        said.append(f"{names_of([one.what for one in group])}: {detail}")
    return "; ".join(said)


def _rule_refusals(problem: Problem, state: State, fitter: Fitter, task: ModelTask) -> list[Excluded]:
    """Hosts with room that a rule forbids: anti-affinity, a fixed port, one job."""
    forbidden = [
        host
        for zone in task.zones
        for host in zone.hosts
        if not state.admits(task, host)
        and any(state.cards_for(option.parts[0], host, task) is not None for option in zone.options)
    ]
    if not forbidden:
        return []
    names = names_of([problem.hosts[host].name for host in forbidden])
    if task.port is not None and any((host, task.port) in state.fixed_ports for host in forbidden):
        return [Excluded(what=names, rule="port", detail=f"port {task.port} is taken on {names}")]
    ports = problem.ports
    if ports is not None and any(state.ports_used[host] >= ports for host in forbidden):
        first, last = problem.cluster.port_range
        return [Excluded(what=names, rule="ports", detail=f"no port of {first}-{last} is left on {names}")]
    if task.apart:
        detail = f"anti_affinity keeps it off {names}, where a replica of it lies"
        return [Excluded(what=names, rule="anti_affinity", detail=detail)]
    detail = f"its replicas lie under another target than {names} has, and one Nomad job must hold them all"
    return [Excluded(what=names, rule="target", detail=detail)]


def _owners_of_port(problem: Problem, state: State, task: ModelTask) -> tuple[Related, ...]:
    """Which other models hold a model's fixed port on hosts that may run it, at their own keys."""
    hosts = {host for zone in task.zones for host in zone.hosts}
    holding = {owner for (host, port), owner in state.fixed_ports.items() if port == task.port and host in hosts}
    models = sorted({problem.replicas[owner].task.name for owner in holding - {LOCKED}} - {task.name})
    return tuple(
        Related(place=problem.cluster.places.key("models", name, "port"), message=f"{name} has this port")
        for name in models[:NAMES_SHOWN]
    )


def _lack_of_zone(problem: Problem, state: State, fitter: Fitter, task: ModelTask, zone: Zone) -> Exhausted | None:
    """What the hosts of a zone lack at least, over all options and hosts; None where a rule alone forbids them."""
    best: tuple[int, Exhausted] | None = None
    what = names_of([problem.hosts[host].name for host in zone.hosts])
    for host in _samples(state, zone):
        for option in (*zone.all_options(), *(option for option, hosts in task.wide if host in hosts)):
            lack = max(
                (_lack(state, task, part, host, what) for part in option.parts),
                key=lambda one: one.needed - one.available,
            )
            short = lack.needed - lack.available
            if short > 0 and (best is None or short < best[0]):
                best = (short, lack)
        for elastic in zone.elastic:
            frees = (free_host(problem, state, task, host),)
            short = elastic.shortfall(frees)
            if short > 0 and (best is None or short < best[0]):
                left = sum(gpu.free_bytes for gpu in frees[0].gpus) or frees[0].memory_free
                dimension = "GPU memory together" if frees[0].gpus else "host memory"
                best = (short, Exhausted(what=what, dimension=dimension, needed=left + short, available=left))
    return best[1] if best is not None else None


def _samples(state: State, zone: Zone) -> list[int]:
    """One host of every condition in a zone."""
    return sorted(bucket[0] for bucket in state.pool(zone.hosts).buckets.values())


def _lack(state: State, task: ModelTask, part: Part, host: int, what: str) -> Exhausted:
    """What one host lacks most for a part: memory on the last card that it needs, or host memory."""
    memory = part.memory_unified if state.problem.unified[host] else part.memory
    in_ram = Exhausted(what=what, dimension="host memory", needed=memory, available=max(0, state.memory[host]))
    if part.count == 0:
        return in_ram
    users, free = state.users[host], state.free[host]
    allowed = range(len(free)) if task.pins is None else task.pins.get(host, ())
    usable = sorted(
        (free[card] for card in allowed if users[card] == 0 or (users[card] > 0 and not part.exclusive)), reverse=True
    )
    left = usable[part.count - 1] if len(usable) >= part.count else 0
    alone = " that nobody else uses" if part.exclusive else ""
    cards = f"each of {part.count} GPUs{alone}" if part.count > 1 else f"one GPU{alone}"
    on_card = Exhausted(what=what, dimension=f"memory on {cards}", needed=part.needs[0], available=left)
    return max((on_card, in_ram), key=lambda one: one.needed - one.available)


# ------------------------------------------------------------------ the help


def _help(
    problem: Problem,
    state: State,
    fitter: Fitter,
    replicas: list[Replica],
    replanned: ReplanAnswer | None,
    code: str,
    by_port: bool,
) -> tuple[str, tuple[Tried, ...]]:
    """One action that was tried and places the replicas, or else may help; and the changes that were tried for it."""
    task = replicas[0].task
    ids = {replica.id for replica in replicas}
    if replanned is not None and ids <= replanned.places:
        moves = replanned.moves
        action = f"run `gslc lock {problem.cluster.file} --replan`: it places {_them(replicas)} "
        return f"{action}with {moves} move{'s' if moves != 1 else ''}", ()
    also = "`gslc lock --replan` would not place it either; " if replanned is not None else ""
    if code == "GS404":
        return f"{also}widen `port_range`", ()
    if by_port:
        return f"{also}give models.{task.name}.port another number, or remove it: gslc takes the lowest free one", ()
    tried = tried_changes(problem, state, fitter, replicas)
    if tried and tried[-1].places:
        return f"{also}{tried[-1].action}", tried
    return f"{also}{_last_resort(problem, state, task)}", tried


def _last_resort(problem: Problem, state: State, task: ModelTask) -> str:
    """What to do where no change places the replicas."""
    if all(not zone.options and not zone.elastic for zone in task.zones) and not task.wide:
        return f"add a host that is large enough, or a smaller alternative for {task.name}"
    placed = sum(1 for number in task.replicas if state.positions[number] is not None)
    if placed:
        return f"set models.{task.name}.replicas to {placed}, or add a host"
    hosts = {host for zone in task.zones for host in zone.hosts}
    others = any(problem.replicas[number].task is not task for host in hosts for number in state.on_host[host])
    freed = ", or free one by lowering `replicas` of another model" if others else ""
    return f"add a host{host_to_add(task)}{freed}"


def _evidence(tried: tuple[Tried, ...]) -> tuple[tuple[str, Evidence], ...]:
    """The change that places the replicas, with the sizes it was judged by; () where none does."""
    return (("change", tried[-1].what), *tried[-1].evidence) if tried and tried[-1].places else ()


def _in_vain(tried: tuple[Tried, ...]) -> tuple[Excluded, ...]:
    """The changes with which the replicas find no place either."""
    found = (one for one in tried if not one.places)
    return tuple(
        Excluded(what=one.what, rule="tried", detail="it has no place with this change either") for one in found
    )


def _them(replicas: list[Replica]) -> str:
    return "it" if len(replicas) == 1 else "them"
