"""Proof that the codec takes what was imported: each entry is read back, and what it refuses is left out, aloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias, cast

from gslc.frontend.codec import read_cluster
from gslc.frontend.importers.emit import entry, gpus_lines, host_facts, nvlink_value, scalar, setting_lines
from gslc.frontend.importers.records import CardTable, ImportedHost, ImportedModel, Setting
from gslc.frontend.source import read_document
from gslc.ir.diagnostic import Diagnostic, Place

Part: TypeAlias = "tuple[str, int | None]"  # a key, and the item of its list or map
HEAD = ["version: 1", "name: trial"]
TRIAL_MEMORY = "memory: 64GiB"  # stands in where the source doesn't say; its absence was told already
MAX_ROUNDS = 64
ELSEWHERE = ("GS170", "GS171")  # pins and selectors speak of hosts that stand in other files


def accepted_host(host: ImportedHost, table: CardTable, file: str) -> tuple[ImportedHost | None, list[Diagnostic]]:
    """The host without what the codec refuses; None when its name or GPUs are refused."""
    said: list[Diagnostic] = []
    for _ in range(MAX_ROUNDS):
        lines: list[tuple[str, Part]] = []
        for key, value in host_facts(host):
            lines += [(line, (key, item - 1 if item else None)) for item, line in enumerate(entry(key, value))]
        if host.memory_bytes is None:
            lines.append((TRIAL_MEMORY, ("memory", None)))
        if host.gpus:
            lines += [(line, ("gpus", None)) for line in entry("gpus", gpus_lines(host.gpus))]
        if host.nvlink:
            lines += [(line, ("nvlink", None)) for line in entry("nvlink", nvlink_value(host.nvlink))]
        refused = _refused(["hosts:"], host.name, lines, (), table)
        if refused is None:
            return host, said
        part, message = refused
        if part is None or part[0] in ("gpus", "memory"):
            return None, [*said, _say("GS190", f"host {host.name} is left out: {message}", file)]
        said.append(_say("GS191", f"{host.name}: {part[0]} is not carried over: {message}", file))
        host = _without_fact(host, part)
    return None, said


def accepted_model(model: ImportedModel, table: CardTable, file: str) -> tuple[ImportedModel | None, list[Diagnostic]]:
    """The model without what the codec refuses; None when its name or source is refused."""
    said: list[Diagnostic] = []
    for _ in range(MAX_ROUNDS):
        lines: list[tuple[str, Part]] = []
        for key, value in model.settings:
            written = _block_lines(key, value)
            lines += [(line, (key, item - 1 if item else None)) for item, line in enumerate(written)]
        refused = _refused(
            ["hosts:", f"  trial-host: {{{TRIAL_MEMORY}}}", "models:"], model.name, lines, ELSEWHERE, table
        )
        if refused is None:
            return model, said
        part, message = refused
        if part is None or part[0] == "source":
            return None, [*said, _say("GS192", f"model {model.name} is left out: {message}", file)]
        said.append(_say("GS191", f"{model.name}: {_named(model, part)} is not carried over: {message}", file))
        model = _without_setting(model, part)
    return None, said


def _refused(
    head: list[str], name: str, lines: list[tuple[str, Part]], other_codes: tuple[str, ...], table: CardTable
) -> tuple[Part | None, str] | None:
    """The first part that the codec refuses, with its reason; None when it takes the entry."""
    first = [*HEAD, *head, f"  {scalar(name)}:"]
    text = "\n".join([*first, *(f"    {line}" for line, _ in lines)]) + "\n"
    document = read_document(text, "")
    found = list(document.diagnostics)
    if document.value is not None:
        found += read_cluster((document.value,), table).diagnostics
    for diagnostic in found:
        if diagnostic.severity != "error" or diagnostic.code.startswith(other_codes):
            continue
        at = diagnostic.place.line - len(first) - 1
        return (lines[at][1] if 0 <= at < len(lines) else None), diagnostic.message
    return None


def _block_lines(key: str, value: Setting) -> list[str]:
    """A setting with one item of its list or map on each line, so that a place tells the item."""
    if isinstance(value, (list, tuple)):
        return [f"{key}:", *(f"  - {line.removeprefix('x: ')}" for item in value for line in setting_lines("x", item))]
    return setting_lines(key, value)


def _named(model: ImportedModel, part: Part) -> str:
    key, item = part
    value = dict(model.settings).get(key)
    if item is not None and isinstance(value, Mapping):
        return f"{key} {list(value)[item]}"
    return f"an item of {key}" if item is not None else key


def _without_fact(host: ImportedHost, part: Part) -> ImportedHost:
    key, item = part
    if key == "labels" and item is not None:
        return replace(host, labels=tuple(pair for number, pair in enumerate(host.labels) if number != item))
    if key == "labels":
        return replace(host, labels=())
    if key == "unified_memory":
        return replace(host, unified_memory=False)
    if key == "nvlink":
        return replace(host, nvlink=())
    return replace(host, **{key: None})  # type: ignore[arg-type]  # address, os and arch may all be None


def _without_setting(model: ImportedModel, part: Part) -> ImportedModel:
    key, item = part
    settings: list[tuple[str, Setting]] = []
    for name, value in model.settings:
        if name != key:
            settings.append((name, value))
        elif item is not None and isinstance(value, Mapping) and len(value) > 1:
            settings.append((name, {each: value[each] for number, each in enumerate(value) if number != item}))
        elif item is not None and isinstance(value, (list, tuple)):
            kept = _without_item(cast("list[str]", list(value)), item)
            if kept:
                settings.append((name, kept))
    return replace(model, settings=tuple(settings))


def _without_item(items: list[str], item: int) -> list[str]:
    """The arguments without one of them, and without the flag or value that belongs to it."""
    first = last = item
    if items[item].startswith("-") and "=" not in items[item]:
        if item + 1 < len(items) and not items[item + 1].startswith("-"):
            last = item + 1
    elif item and items[item - 1].startswith("-") and not items[item].startswith("-") and "=" not in items[item - 1]:
        first = item - 1
    return items[:first] + items[last + 1 :]


def _say(code: str, message: str, file: str) -> Diagnostic:
    return Diagnostic(
        code=code, message=message, place=Place(file=file), severity="warning", help="add it by hand, corrected"
    )
