"""Imported records -> YAML text that the codec reads back; what could be taken for anything but text is quoted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gslc.frontend.importers.records import ImportedCard, ImportedHost, ImportedModel, Number, SecretName, Setting

# Plain only what every YAML version reads as this very text, also inside [...] and {...}: no leading digit (numbers,
# dates, 22:22), no ": ", no " #", none of the indicator characters.
_PLAIN = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9._/@+-]|:(?=//)|(?<! ) (?=[A-Za-z0-9(]))*\Z", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?\Z", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
GIB, MIB, KIB = 1024**3, 1024**2, 1024
LINE = 100  # characters after which a list is written one item a line


def scalar(text: str) -> str:
    """The text as a YAML scalar: plain where that is safe, else double-quoted."""
    if _PLAIN.match(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    known = _ESCAPES.get(character)
    if known is not None:
        return known
    code = ord(character)
    if 0x20 <= code < 0x7F or (code > 0xA0 and character.isprintable() and code != 0xFEFF):
        return character
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def comment(text: str) -> str:
    """The text as one comment line."""
    return "# " + " ".join("".join(character if character.isprintable() else " " for character in text).split())


def size(size_bytes: int) -> str:
    """A size as cluster.yaml writes it, exact: in the largest unit that divides it."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size_bytes >= unit and size_bytes % unit == 0:
            return f"{size_bytes // unit}{name}"
    return f"{size_bytes}B"


def document(header: Sequence[str], hosts: Iterable[ImportedHost], models: Iterable[ImportedModel]) -> str:
    """A file for `include`, with the source named in comments."""
    lines = [comment(line) for line in header]
    found_hosts = sorted(hosts, key=lambda host: host.name)
    found_models = sorted(models, key=lambda model: model.name)
    if found_hosts:
        lines.append("hosts:")
        for host in found_hosts:
            lines += indented(host_lines(host))
    if found_models:
        lines.append("models:")
        for model in found_models:
            lines += indented(model_lines(model))
    return "\n".join(lines) + "\n"


def indented(lines: Iterable[str], spaces: int = 2) -> Iterator[str]:
    """The lines, moved to the right."""
    return (" " * spaces + line for line in lines)


def host_lines(host: ImportedHost) -> list[str]:
    """A host as an entry of `hosts`."""
    body = host_facts(host)
    if host.gpus:
        body.append(("gpus", gpus_lines(host.gpus)))
    if host.nvlink:
        body.append(("nvlink", nvlink_value(host.nvlink)))
    lines = [comment(host.note)] if host.note else []
    if not body:
        return [*lines, f"{scalar(host.name)}: {{}}"]
    lines.append(f"{scalar(host.name)}:")
    for key, value in body:
        lines += indented(entry(key, value))
    return lines


def host_facts(host: ImportedHost) -> list[tuple[str, str | list[str]]]:
    """Everything but the GPUs and their links, as (key, text behind it or lines below it)."""
    found: list[tuple[str, str | list[str]]] = []
    if host.address is not None:
        found.append(("address", scalar(host.address)))
    if host.os not in (None, "linux"):
        found.append(("os", scalar(str(host.os))))
    if host.arch not in (None, "amd64"):
        found.append(("arch", scalar(str(host.arch))))
    if host.memory_bytes is not None:
        found.append(("memory", size(host.memory_bytes)))
    if host.unified_memory:
        found.append(("unified_memory", "true"))
    if host.labels:
        found.append(("labels", [f"{scalar(key)}: {scalar(value)}" for key, value in host.labels]))
    return found


def entry(key: str, value: str | list[str]) -> list[str]:
    """A key with the text behind it, or the lines below it."""
    if isinstance(value, str):
        return [f"{key}: {value}"]
    return [f"{key}:", *indented(value)]


def gpus_lines(gpus: Iterable[ImportedCard]) -> list[str]:
    """The items of `gpus`, one a line."""
    return [gpu_line(gpu) for gpu in gpus]


def nvlink_value(islands: Iterable[Iterable[int]]) -> str:
    """Groups of linked cards as a flow list."""
    return "[" + ", ".join("[" + ", ".join(map(str, island)) + "]" for island in islands) + "]"


def gpu_line(gpu: ImportedCard) -> str:
    """One item of `gpus` as a flow mapping."""
    pairs = [f"model: {scalar(gpu.model)}"]
    if gpu.vendor is not None:
        pairs.append(f"vendor: {gpu.vendor}")
    if gpu.memory_bytes is not None:
        pairs.append(f"memory: {size(gpu.memory_bytes)}")
    if gpu.compute_capability is not None:
        pairs.append('compute_capability: "{}.{}"'.format(*gpu.compute_capability))
    if gpu.uuid is not None:
        pairs.append(f"uuid: {scalar(gpu.uuid)}")
    if gpu.count != 1:
        pairs.append(f"count: {gpu.count}")
    line = "- {" + ", ".join(pairs) + "}"
    return f"{line}  {comment(gpu.note)}" if gpu.note else line


def model_lines(model: ImportedModel) -> list[str]:
    """A model as an entry of `models`."""
    lines = [comment(model.note)] if model.note else []
    lines.append(f"{scalar(model.name)}:")
    for key, value in model.settings:
        lines += indented(setting_lines(key, value))
    return lines


def setting_lines(key: str, value: Setting) -> list[str]:
    """One key of a model with its value."""
    if isinstance(value, bool):
        return [f"{key}: {'true' if value else 'false'}"]
    if isinstance(value, int):
        return [f"{key}: {value}"]
    if isinstance(value, (str, SecretName, Number)):
        return [f"{key}: {_value(value)}"]
    if isinstance(value, Mapping):
        return [f"{key}:", *indented(f"{scalar(name)}: {_value(item)}" for name, item in value.items())]
    flow = f"{key}: [" + ", ".join(_value(item) for item in value) + "]"
    if len(flow) <= LINE:
        return [flow]
    return [f"{key}:", *indented(f"- {_value(item)}" for item in value)]


def _value(value: str | SecretName | Number) -> str:
    if isinstance(value, SecretName):
        return f"{{secret: {scalar(value.name)}}}"
    if isinstance(value, Number) and _NUMBER.match(value.text):
        return value.text
    return scalar(value.text if isinstance(value, Number) else value)
