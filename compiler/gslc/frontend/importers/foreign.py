"""Other programs' JSON and YAML -> plain values, with limits; and how importers look into them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol, cast

import yaml
from yaml import AliasEvent, MappingEndEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent, StreamEndEvent

from gslc.documents.json_reader import Malformed, parse_json
from gslc.frontend.importers.records import Refused
from gslc.frontend.source import DIRECTIVE, MAX_DEPTH

MAX_CHARACTERS = 64 * 1024 * 1024
MAX_NODES = 1_000_000  # after aliases are expanded; 1,000 Kubernetes nodes with all labels have about 200,000
# The terminal sequences that gpustack-runtime writes before its JSON: `ESC [ ... letter`, and `ESC c`.
ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|c)")

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})\Z")


class ForeignMap(dict[str, object]):
    """A mapping of a foreign YAML file that knows the line of each key."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


def check_size(text: str) -> None:
    """Refused when the text is longer than any real file of these kinds."""
    if len(text) > MAX_CHARACTERS:
        raise Refused(
            "GS181", f"the file has more than {MAX_CHARACTERS:,} characters", "import the hosts in several files"
        )


def read_json(text: str, what: str) -> object:
    """The value of a JSON text; terminal sequences and warnings that a tool printed before it are passed over."""
    check_size(text)
    plain = ANSI.sub("", text).lstrip("\ufeff")
    start = re.search(r"^[ \t]*[\[{]", plain, re.MULTILINE)
    body = plain[start.start() :] if start else plain
    parsed = parse_json(body)
    if isinstance(parsed, Malformed):
        before = plain.count("\n", 0, start.start()) if start else 0
        raise Refused(
            "GS180",
            f"this is not the JSON of {what}: {parsed.message}",
            f"import the output of {what} unchanged",
            parsed.line + before,
        )
    return parsed.value


# ------------------------------------------------------------------ YAML


def read_yaml(text: str, what: str) -> object:
    """The value of the first YAML document, aliases and merge keys resolved; text, integers, booleans and None."""
    check_size(text)
    if DIRECTIVE.match(text):  # libyaml is quadratic in directives, and nobody writes them in these files
        raise Refused("GS180", f"this is not the YAML of {what}: it starts with a directive (%)", "remove the line")
    try:
        return _Composer(text).compose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(error, "problem", None) or "it can't be read"
        raise Refused("GS180", f"this is not the YAML of {what}: {problem}", None, line) from error


class _EventParser(Protocol):
    """What is used of PyYAML's loaders."""

    def __init__(self, stream: str) -> None: ...

    def get_event(self) -> yaml.Event:
        """The next event. Raises yaml.YAMLError."""
        ...


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark is not None else 1


class _Composer:
    """Builds values from parser events; counts nodes after expansion, so that alias bombs end early."""

    def __init__(self, text: str) -> None:
        loader: type[_EventParser] = getattr(yaml, "CLoader", yaml.Loader)
        self.next_event: Callable[[], yaml.Event] = loader(text).get_event
        self.anchors: dict[str, tuple[object, int]] = {}
        self.nodes = 0

    def compose(self) -> object:
        self.next_event()  # stream start
        if isinstance(self.next_event(), StreamEndEvent):
            return None
        return self.node(self.next_event(), 0)

    def count(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise Refused("GS181", f"the file expands to more than {MAX_NODES:,} values", "take the aliases out of it")

    def node(self, event: yaml.Event, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise Refused("GS181", f"it is nested deeper than {MAX_DEPTH}", None, _line(event))
        if isinstance(event, AliasEvent):
            if event.anchor not in self.anchors:
                raise Refused("GS180", f"the alias *{event.anchor} has no anchor", None, _line(event))
            value, nodes = self.anchors[event.anchor]
            self.count(nodes)
            return value
        before = self.nodes
        self.count(1)
        if isinstance(event, ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, SequenceStartEvent):
            items: list[object] = []
            while not isinstance(item := self.next_event(), SequenceEndEvent):
                items.append(self.node(item, depth + 1))
            value = items
        else:
            value = self.mapping(depth)
        anchor = getattr(event, "anchor", None)
        if anchor:
            self.anchors[anchor] = (value, self.nodes - before)
        return value

    def mapping(self, depth: int) -> ForeignMap:
        found = ForeignMap()
        merged: list[object] = []
        while not isinstance(event := self.next_event(), MappingEndEvent):
            line = _line(event)
            if not isinstance(event, ScalarEvent):
                raise Refused("GS180", "a key of a mapping is not a word", None, line)
            key = event.value
            value = self.node(self.next_event(), depth + 1)
            if key == "<<" and event.implicit[0]:
                merged += value if isinstance(value, list) else [value]
            elif key in found:
                raise Refused("GS180", f"the key {key} stands twice in one mapping", "remove one of them", line)
            else:
                found[key] = value
                found.lines[key] = line
        for other in merged:
            if isinstance(other, ForeignMap):
                self.count(len(other))
                for key, value in other.items():
                    if key not in found:
                        found[key] = value
                        found.lines[key] = other.lines[key]
        return found


def _scalar(event: ScalarEvent) -> object:
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    return int(text) if _INTEGER.match(text) else text


# ------------------------------------------------------------------ looking in


def as_map(value: object) -> dict[str, object]:
    """The value if it is a mapping, else an empty one."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The value if it is a list, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def member(value: object, *path: str) -> object:
    """The member of nested mappings, or None."""
    for key in path:
        value = as_map(value).get(key)
    return value


def text_of(value: object, *path: str) -> str | None:
    """The member as text without outer spaces; None for what is missing, empty, `N/A`, or no scalar."""
    found = member(value, *path) if path else value
    if isinstance(found, bool) or not isinstance(found, (str, int, float)):
        return None
    text = str(found).strip()
    return None if text in ("", "N/A", "[N/A]", "[Not Supported]", "None", "Unknown Error") else text


def integer_of(value: object, *path: str) -> int | None:
    """The member as a whole number; text of digits counts, anything else is None."""
    found = member(value, *path) if path else value
    if isinstance(found, bool):
        return None
    if isinstance(found, int):
        return found
    if isinstance(found, float):
        return int(found) if found == found and abs(found) < 2**63 else None  # noqa: PLR0124 - NaN differs from itself
    return int(found) if isinstance(found, str) and re.fullmatch(r"\s*[0-9]{1,19}\s*", found) else None


def line_of(value: object, key: str) -> int:
    """The line of a key of a YAML mapping; 1 where nobody counted."""
    return value.lines.get(key, 1) if isinstance(value, ForeignMap) else 1
