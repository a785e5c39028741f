"""A diff as text for a terminal or a log."""

from __future__ import annotations

from gslc.report.diff_model import (
    Change,
    FieldChange,
    InstanceDiff,
    MemoryChange,
    ModelDiff,
    PlanDiff,
    SeatView,
    WordChange,
)
from gslc.report.words import count, listed, printable, signed_size, size, table

SIGNS: dict[Change, str] = {"added": "+", "removed": "-", "changed": "~"}


def diff_text(diff: PlanDiff) -> str:
    """The whole diff; the first line says how much changes, the last lines what restarts and which files differ."""
    lines = [headline(diff)]
    if not diff.different:
        return "\n".join(lines) + "\n"
    for model in diff.models:
        lines += ["", *_model_lines(model)]
    rows = _fleet_rows(diff)
    if rows:
        lines += ["", *table(rows)]
    if diff.files:
        lines += ["", f"Files: {files_line(diff)}"]
        lines += [f"  {SIGNS[file.change]} {printable(file.path)}" for file in diff.files]
    return "\n".join(lines) + "\n"


def headline(diff: PlanDiff) -> str:
    """Whose plan it is and how much changes, in one line."""
    name = diff.cluster[1] if diff.cluster[0] == diff.cluster[1] else f"{diff.cluster[0]} -> {diff.cluster[1]}"
    return f"{printable(name)}: {how_much(diff)}"


def how_much(diff: PlanDiff) -> str:
    """How much changes, in half a line."""
    if not diff.different:
        return "no differences"
    if not diff.models:
        return "no instance changes"
    parts = []
    for change in ("added", "changed", "removed"):
        number = sum(model.change == change for model in diff.models)
        if number:
            parts.append(f"{count(number, 'model')} {change}")
    restarts = len(diff.restarts)
    happens = count(restarts, "instance restarts", "instances restart") if restarts else "nothing restarts"
    rest = f", {diff.unchanged:,} unchanged" if diff.unchanged else ""
    return f"{', '.join(parts)}; {happens}{rest}"


def files_line(diff: PlanDiff) -> str:
    """How many files were added, changed and removed."""
    files = diff.files or ()
    numbers = [(sum(file.change == change for file in files), change) for change in ("added", "changed", "removed")]
    return ", ".join(f"{number:,} {change}" for number, change in numbers if number)


def seats_text(seats: tuple[SeatView, ...]) -> str:
    """Where an instance lies, hosts joined: "atlas GPU 0, 1 + borealis GPU 0"."""
    return " + ".join(printable(str(seat)) for seat in seats)


def word_values(values: tuple[str, ...] | None) -> str:
    """The values of a flag or variable as they are printed."""
    if values is None:
        return "(not given)"
    return printable(" ".join(values)) if values else "(given)"


def memory_line(change: MemoryChange) -> tuple[str, str, str, str]:
    """Device, before, after and difference in words."""
    old = None if change.before is None else change.before.total
    new = None if change.after is None else change.after.total
    before = "nothing" if old is None else size(old)
    after = "nothing" if new is None else size(new)
    return printable(change.device), before, after, signed_size((new or 0) - (old or 0))


def moved_memory(one: InstanceDiff) -> list[tuple[str, str, str]]:
    """What a replica that moved takes, device by device: "GPU memory", before, after; then the same of RAM."""
    rows = []
    for name, changes in (
        ("GPU memory", [change for change in one.memory if change.gpu is not None]),
        ("RAM", [change for change in one.memory if change.gpu is None]),
    ):
        before = [f"{change.device} {size(change.before.total)}" for change in changes if change.before]
        after = [f"{change.device} {size(change.after.total)}" for change in changes if change.after]
        if before or after:
            rows.append((name, printable(", ".join(before)) or "nothing", printable(", ".join(after)) or "nothing"))
    return rows


def field_words(change: FieldChange) -> tuple[str, str]:
    """A field's values before and after, as they are printed."""
    before, after = change.before, change.after
    return "(none)" if before is None else printable(before), "(none)" if after is None else printable(after)


def _model_lines(model: ModelDiff) -> list[str]:
    lines = [f"{SIGNS[model.change]} {model.model} {model.change}"]
    for instance in model.instances:
        lines += _instance_lines(instance)
    return lines


def _instance_lines(one: InstanceDiff) -> list[str]:
    if one.change != "changed":
        seats = one.after or one.before
        found = [change.after or change.before for change in one.memory if change.gpu is not None]
        need = sum(memory.total for memory in found if memory is not None)
        amount = f", {size(need)} of GPU memory" if need else ""
        amount += "".join(f", port {field.after}" for field in one.fields if field.field == "port" and field.after)
        where = f"{'on' if one.change == 'added' else 'was on'} {seats_text(seats)}{amount}"
        return [f"  {SIGNS[one.change]} {one.name}  {where}"]
    words = "restarts" if one.restart else "keeps running"
    lines = [f"  ~ {one.name}  {seats_text(one.after)}  {words}"]
    rows: list[tuple[str, str]] = []
    if one.moved:
        rows.append(("moved", f"{seats_text(one.before)} -> {seats_text(one.after)}"))
    for change in one.fields:
        before, after = field_words(change)
        rows.append((change.field, f"{before} -> {after}"))
    if one.moved:
        rows += [(name, f"{before} -> {after}") for name, before, after in moved_memory(one)]
    else:
        for memory_change in one.memory:
            device, old, new, difference = memory_line(memory_change)
            rows.append((device, f"{old} -> {new}  ({difference})"))
    rows += [_word_row(word, one) for word in (*one.flags, *one.env)]
    rows += [("why", f"{printable(reason.topic)}: {printable(reason.because)}") for reason in one.reasons]
    if one.restart is not None:
        rows.append(("restart", restart_words(one)))
    return lines + table([(name, text) for name, text in rows], indent="      ")


def restart_words(one: InstanceDiff) -> str:
    """What of an instance is started anew, and why."""
    if one.restart is None:
        return ""
    if one.restart.whole:
        return f"all of its processes together, because {one.restart.because}"
    if one.restart.processes in ((), (one.name,)):
        return f"because {one.restart.because}"
    return f"{listed(list(one.restart.processes))}, because {one.restart.because}"


def _word_row(word: WordChange, one: InstanceDiff) -> tuple[str, str]:
    shard = f"  [{word.shard}]" if len(one.after) > 1 and word.shard else ""
    return printable(word.name), f"{word_values(word.before)} -> {word_values(word.after)}{printable(shard)}"


def _fleet_rows(diff: PlanDiff) -> list[tuple[str, ...]]:
    """What holds for the fleet as a whole."""
    rows: list[tuple[str, ...]] = []
    restarts = [one.name for one in diff.restarts]
    if restarts:
        rows.append(("Restarts", listed(restarts)))
    for title, names in (("Hosts freed", diff.hosts_freed), ("Hosts newly used", diff.hosts_taken)):
        if names:
            rows.append((title, printable(listed(list(names)))))
    for title, gpus in (("GPUs freed", diff.gpus_freed), ("GPUs newly used", diff.gpus_taken)):
        if gpus:
            rows.append((title, printable(listed([f"{host} {index}" for host, index in gpus]))))
    for name, change in diff.hosts:
        rows.append((f"Host {change}", printable(name)))
    for title, replicas in (("Without a place now", diff.unplaced), ("Placed again", diff.placed_again)):
        if replicas:
            rows.append((title, listed([f"{one.model}-{one.replica} ({one.code})" for one in replicas])))
    before, after = diff.before, diff.after
    if before.gpus_used != after.gpus_used:
        rows.append(("GPUs used", f"{before.gpus_used:,} -> {after.gpus_used:,}"))
    if before.gpu_bytes != after.gpu_bytes:
        rows.append(("GPU memory", f"{size(before.gpu_bytes)} -> {size(after.gpu_bytes)}"))
    if diff.reasons_only:
        number = count(len(diff.reasons_only), "instance", "instances")
        rows.append(("Reasons only", f"{number}: the recorded reasons differ, nothing happens to them"))
    return rows
