"""A diff as Markdown for a pull request comment: one screen first, the details folded, never over GitHub's limit."""

from __future__ import annotations

from html import escape

from gslc.report.diff_model import InstanceDiff, ModelDiff, PlanDiff
from gslc.report.diff_text import (
    field_words,
    files_line,
    how_much,
    memory_line,
    moved_memory,
    restart_words,
    seats_text,
    word_values,
)
from gslc.report.words import count, listed, printable, signed_size, size

# GitHub refuses a comment of more than 65,536 characters; 60,000 leaves room for what a bot puts around it.
LIMIT = 60_000
# A value of more than this is cut: a template in an argument would fill the comment.
_CELL = 300
_FILES = 200
# What is said of a replica that came or went, where every field differs.
_FIELDS_OF_NEW = frozenset({"backend", "engine version", "context", "tensor parallel", "GPU layers", "port"})


def diff_markdown(diff: PlanDiff) -> str:
    """The comment: headline, a row for each model, what restarts; then each model's details until the limit is near."""
    head = [f"### gslc: {_text(how_much(diff))}", ""]
    if not diff.different:
        return f"{head[0]}\n"
    blocks = [*_overview(diff), *_fleet(diff)]
    blocks += [_details(model) for model in diff.models]
    if diff.files:
        blocks.append(_files(diff))
    text = "\n".join(head)
    for number, block in enumerate(blocks):
        note = _cut_note(diff, len(blocks) - number)
        if len(text) + len(block) + 2 > LIMIT - len(note):
            return f"{text}\n{note}"
        text += f"{block}\n"
    return text


def _cut_note(diff: PlanDiff, left: int) -> str:
    old, new = _code(diff.old), _code(diff.new)
    return (
        f"> **Cut short:** {count(left, 'more part')} of this diff would not fit into one comment. "
        f"The whole of it: `gslc diff` of {old} and {new}.\n"
    )


def _overview(diff: PlanDiff) -> list[str]:
    """The table of models, a row a block, so that a very long one can be cut between rows."""
    if not diff.models:
        return []
    rows = ["| | Model | Instances | Where | GPU memory | Restarts |\n| --- | --- | --- | --- | --- | --- |"]
    rows += [_overview_row(model) for model in diff.models]
    return [*rows, ""]


def _overview_row(model: ModelDiff) -> str:
    signs = {"added": "➕", "removed": "➖", "changed": "✏️"}
    ones = model.instances
    moved = [one for one in ones if one.moved]
    if moved:
        places = [f"{_text(seats_text(one.before))} → {_text(seats_text(one.after))}" for one in moved]
    else:
        places = list(dict.fromkeys(_text(seats_text(one.after or one.before)) for one in ones))
    where = "<br>".join([*places[:4], *([f"and {len(places) - 4} more"] if len(places) > 4 else [])])
    changes = [change for one in ones for change in one.memory if change.gpu is not None]
    difference = sum((c.after.total if c.after else 0) - (c.before.total if c.before else 0) for c in changes)
    restarts = sum(one.restart is not None for one in ones)
    return (
        f"| {signs[model.change]} | **{_text(model.model)}** {model.change} | {len(ones)} | {where} "
        f"| {signed_size(difference) if difference else '±0'} | {restarts or '–'} |"
    )


def _fleet(diff: PlanDiff) -> list[str]:
    lines = []
    restarts = [one.name for one in diff.restarts]
    if restarts:
        lines.append(f"**Restarts:** {', '.join(_code(name) for name in restarts[:50])}" + _more(restarts, 50))
    elif diff.models:
        lines.append("**Nothing that runs is restarted.**")
    if diff.unplaced:
        names = [f"{one.model}-{one.replica} ({one.code})" for one in diff.unplaced]
        lines.append(f"**Without a place:** {_text(listed(names, 50))}")
    figures = []
    if diff.hosts_freed:
        figures.append(f"hosts freed: {_text(listed(list(diff.hosts_freed)))}")
    if diff.gpus_freed:
        figures.append(f"GPUs freed: {_text(listed([f'{host} {gpu}' for host, gpu in diff.gpus_freed]))}")
    if diff.gpus_taken:
        figures.append(f"GPUs newly used: {_text(listed([f'{host} {gpu}' for host, gpu in diff.gpus_taken]))}")
    if diff.hosts:
        figures.append(f"inventory: {_text(listed([f'{name} {change}' for name, change in diff.hosts]))}")
    if diff.before.gpus_used != diff.after.gpus_used:
        figures.append(f"GPUs used {diff.before.gpus_used:,} → {diff.after.gpus_used:,}")
    if diff.before.gpu_bytes != diff.after.gpu_bytes:
        figures.append(f"GPU memory {size(diff.before.gpu_bytes)} → {size(diff.after.gpu_bytes)}")
    if diff.reasons_only:
        figures.append(f"{count(len(diff.reasons_only), 'instance')} with other recorded reasons only")
    if figures:
        lines.append(" · ".join(figures))
    return [f"{line}\n" for line in lines]


def _more(names: list[str], limit: int) -> str:
    return f" and {len(names) - limit:,} more" if len(names) > limit else ""


def _details(model: ModelDiff) -> str:
    body = "\n".join(_instance(one) for one in model.instances)
    number = count(len(model.instances), "instance")
    return f"<details><summary><b>{_text(model.model)}</b>: {number} {model.change}</summary>\n\n{body}\n</details>\n"


def _instance(one: InstanceDiff) -> str:
    title = f"**{_text(one.name)}** · {_text(seats_text(one.after or one.before))}"
    rows: list[tuple[str, str, str]] = []
    if one.moved:
        rows.append(("moved", _text(seats_text(one.before)), _text(seats_text(one.after))))
    for change in one.fields:
        before, after = field_words(change)
        if one.change == "changed" or change.field in _FIELDS_OF_NEW:
            rows.append((_text(change.field), _code(before), _code(after)))
    if one.moved:
        rows += [(name, _text(before), _text(after)) for name, before, after in moved_memory(one)]
    else:
        for memory in one.memory:
            device, old, new, difference = memory_line(memory)
            rows.append((_text(device), old, f"{new} ({difference})"))
    rows += [(_code(w.name), _code(word_values(w.before)), _code(word_values(w.after))) for w in (*one.flags, *one.env)]
    lines = [title, ""]
    if rows:
        lines += ["| | before | after |", "| --- | --- | --- |", *(f"| {a} | {b} | {c} |" for a, b, c in rows), ""]
    lines += [f"- {_text(reason.topic)}: {_text(reason.because)}" for reason in one.reasons]
    if one.restart is not None:
        lines.append(f"- **restarts** {_text(restart_words(one))}")
    return "\n".join([*lines, ""])


def _files(diff: PlanDiff) -> str:
    files = diff.files or ()
    signs = {"added": "+", "removed": "-", "changed": "!"}
    rows = [f"{signs[file.change]} {_plain(file.path)}" for file in files[:_FILES]]
    rest = f"\n… and {len(files) - _FILES:,} more" if len(files) > _FILES else ""
    listing = "\n".join(rows)
    return f"<details><summary>Files: {files_line(diff)}</summary>\n\n```diff\n{listing}{rest}\n```\n</details>\n"


def _plain(text: str) -> str:
    """A text that can stand inside a fenced block: it can't close the block."""
    return printable(text).replace("`", "'")[:_CELL]


def _text(text: str) -> str:
    """A text that is neither Markdown nor HTML, pings nobody and ends no table cell."""
    short = text if len(text) <= _CELL else f"{text[:_CELL]}…"
    marked = "".join(f"\\{sign}" if sign in "\\`*_[]|~" else sign for sign in escape(printable(short), quote=False))
    return marked.replace("@", "@<!-- -->").replace("#", "#<!-- -->")


def _code(text: str) -> str:
    """A text as code in a table cell: backquotes and bars would end it."""
    short = text if len(text) <= _CELL else f"{text[:_CELL]}…"
    return f"<code>{_text_entities(printable(short))}</code>"


def _text_entities(text: str) -> str:
    """Every character that Markdown or HTML gives a meaning as a numeric reference."""
    return "".join(f"&#{ord(sign)};" if sign in "&<>\"'\\`*_[]|~#@:!" else sign for sign in text)
