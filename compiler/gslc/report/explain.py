"""Why a model lies where it lies, printed from the decisions; and what a diagnostic code means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from gslc.ir.diagnostic import CodeEntry, Decision, Diagnostic, Evidence, Excluded, Exhausted, Refusal
from gslc.ir.plan import DeviceMemory, Instance, Plan
from gslc.report.summary import place
from gslc.report.words import MIB, count, printable, size, table

_WIDTH = 100
# More refusals than this of one choice say nothing new to a reader; --format json has them all.
_REFUSALS = 12
# Evidence and refusals in bytes carry these words in their names.
_BYTES = ("memory", "bytes", "ram", "disk", "weights", "cache", "compute", "overhead")


def decisions_of(model: str, plan: Plan | None, decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    """All decisions about a model and its replicas: the given ones first, then those of the instances, each once."""
    instances = [] if plan is None else [one for one in plan.instances if one.model == model]
    replicas = [] if plan is None else [f"{one.model}-{one.replica}" for one in plan.unplaced if one.model == model]
    subjects = {model, *replicas, *(one.name for one in instances)}
    found = [decision for decision in decisions if decision.subject in subjects]
    found += [decision for one in instances for decision in one.decisions]
    unique: list[Decision] = []
    for decision in found:
        if decision not in unique:
            unique.append(decision)
    return tuple(unique)


def explain_model(
    model: str, plan: Plan | None, decisions: Iterable[Decision], diagnostics: Iterable[Diagnostic]
) -> str:
    """What was decided for a model, from which values, what was refused by how many bytes, what would make it fit."""
    every = decisions_of(model, plan, decisions)
    instances = () if plan is None else tuple(one for one in plan.instances if one.model == model)
    unplaced = () if plan is None else tuple(one for one in plan.unplaced if one.model == model)
    names = {one.name for one in instances}
    shared = [decision for decision in every if decision.subject not in names]
    lines = [_headline(model, instances, len(unplaced))]
    lines += _decision_block(shared)
    shown: list[tuple[Decision, ...]] = []
    for instance in instances:
        lines += ["", f"{instance.name} on {place(instance.shards)}, port {instance.port}"]
        own = tuple(d for d in every if d.subject == instance.name or (d in instance.decisions and d not in shared))
        alike = _without_subject(own)
        if alike in shown:
            lines.append("  decided as above")
        else:
            shown.append(alike)
            lines += _decision_block(own)
        lines += _memory_table(instance)
    for replica in unplaced:
        lines += ["", f"{model}-{replica.replica} has no place ({replica.code})"]
    lines += _what_would_fit(every if unplaced or not instances else ())
    lines += _helps(diagnostics, unplaced=bool(unplaced) or not instances)
    return "\n".join(lines) + "\n"


def explain_code(code: str, entry: CodeEntry) -> str:
    """The documentation entry of a code."""
    meaning = textwrap.fill(entry.meaning, _WIDTH)
    remedy = textwrap.fill(entry.remedy, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return f"{code}: {entry.title}\n\n{meaning}\n\nWhat to do:\n{remedy}\n"


def refusal_words(refusal: Refusal) -> str:
    """Why something was not chosen, with the numbers that were compared."""
    if isinstance(refusal, Excluded):
        return f"{refusal.rule}: {refusal.detail}"
    if isinstance(refusal, Exhausted):
        dimension = refusal.dimension.replace("_", " ")
        short = refusal.needed - refusal.available
        if _in_bytes(refusal.dimension):
            return (
                f"{dimension}: needs {size(refusal.needed)}, has {size(refusal.available)}; "
                f"{size(short)} short ({short:,} bytes)"
            )
        return f"{dimension}: needs {refusal.needed:,}, has {refusal.available:,}; {short:,} short"
    scores = f"{'/'.join(map(str, refusal.score))} against {'/'.join(map(str, refusal.best))}, lower is better"
    return f"would do, but another is better: {refusal.detail or scores}"


def _headline(model: str, instances: tuple[Instance, ...], unplaced: int) -> str:
    if not instances:
        return f"{model}: not placed"
    engines = sorted({f"{one.backend} {one.engine_version}".strip() for one in instances})
    rest = f", {count(unplaced, 'replica')} without a place" if unplaced else ""
    return f"{model}: {count(len(instances), 'replica')} on {' and '.join(engines)}{rest}"


def _without_subject(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    """The decisions with their subject blanked, so that replicas that were decided alike can be told once."""
    return tuple(
        Decision(
            subject="",
            topic=decision.topic,
            chosen=decision.chosen,
            rule=decision.rule,
            because=decision.because,
            evidence=decision.evidence,
            rejected=decision.rejected,
        )
        for decision in decisions
    )


def _decision_block(decisions: Iterable[Decision]) -> list[str]:
    lines: list[str] = []
    for decision in decisions:
        where = f"  ({decision.place})" if decision.place else ""
        lines.append(f"  {printable(decision.topic)}: {printable(decision.chosen)}{where}")
        lines += textwrap.wrap(
            f"because {printable(decision.because)} [{printable(decision.rule)}]",
            _WIDTH,
            initial_indent="    ",
            subsequent_indent="    ",
        )
        if decision.evidence:
            facts = [(evidence_name(name), printable(evidence_words(name, value))) for name, value in decision.evidence]
            lines += ["    from:", *table(facts, indent="      ")]
        rows = [(f"- {printable(one.what)}", printable(refusal_words(one))) for one in decision.rejected[:_REFUSALS]]
        if rows:
            lines.append("    refused:")
            lines += table(rows, indent="      ")
        if len(decision.rejected) > _REFUSALS:
            lines.append(f"      and {len(decision.rejected) - _REFUSALS:,} more (--format json has them all)")
    return lines


def evidence_name(name: str) -> str:
    """A value's name in words: its unit stands behind the value."""
    return printable(name.removesuffix("_bytes").replace("_", " "))


def evidence_words(name: str, value: Evidence) -> str:
    """A value that was compared, in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        if _in_bytes(name) and value >= MIB:
            return f"{size(value)} ({value:,} bytes)"
        return f"{value:,} bytes" if value and name.endswith("_bytes") else f"{value:,}"
    return "none" if value is None else value


def _in_bytes(name: str) -> bool:
    return any(word in name.lower() for word in _BYTES)


def _memory_table(instance: Instance) -> list[str]:
    """What each device is counted with."""
    rows: list[tuple[str, ...]] = [("", "weights", "KV cache", "compute", "overhead", "total")]
    for shard in instance.shards:
        for index, memory in zip(shard.gpus, shard.memory.gpus, strict=True):
            rows.append((f"{shard.host}/{index}", *_parts(memory)))
        if shard.memory.host.total:
            rows.append((f"{shard.host} RAM", *_parts(shard.memory.host)))
    return [] if len(rows) == 1 else table(rows, right=frozenset(range(1, 6)), indent="  ")


def _parts(memory: DeviceMemory) -> tuple[str, ...]:
    if memory.stated:
        return ("-", "-", "-", "stated", size(memory.total))
    return tuple(
        size(part) for part in (memory.weights, memory.kv_cache, memory.compute, memory.overhead, memory.total)
    )


def _what_would_fit(decisions: tuple[Decision, ...]) -> list[str]:
    """The refusals that came nearest, by bytes missing."""
    found = {
        refusal
        for decision in decisions
        for refusal in decision.rejected
        if isinstance(refusal, Exhausted) and _in_bytes(refusal.dimension)
    }
    nearest = sorted(found, key=lambda one: (one.needed - one.available, one.what, one.dimension))[:3]
    if not nearest:
        return []
    rows = [(f"- {printable(one.what)}", printable(refusal_words(one))) for one in nearest]
    return ["", "What came nearest:", *table(rows, indent="  ")]


def _helps(diagnostics: Iterable[Diagnostic], *, unplaced: bool) -> list[str]:
    """The actions that the diagnostics propose, each once."""
    helps = list(dict.fromkeys(one.help for one in diagnostics if one.help)) if unplaced else []
    return ["", "What would make it fit:", *(f"  - {printable(text)}" for text in helps)] if helps else []
