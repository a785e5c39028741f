"""YAML text -> Document: plain values, a place for every key and value, and nothing of YAML that hides meaning.

One loop over the parser's events. Nothing is built from an event before it is judged, so bombs end at their first
event: libyaml is quadratic in nesting (50,000 `[` hold it for seconds) and in directives, and is never let so far.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Protocol, TypeAlias, cast

import yaml
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from gslc.frontend.text import FORBIDDEN, decode, describe_character, place_at, place_in
from gslc.ir.diagnostic import Diagnostic, Outcome, Place, Related
from gslc.ir.record import dataclass

MAX_VALUES = 1_200_000  # keys and values of one file; such a file has 1,000,000 and is read in 1.1 s
MAX_DEPTH = 32
TOO_DEEP = "exceeded maximum nesting depth"  # libyaml 0.2.6, scanner.c: MAX_NESTING_LEVEL
MAX_DUPLICATES = 100  # keys given twice that are collected before the reading ends

Mark: TypeAlias = int
"""Where a scalar or collection starts: character offset * 2, plus 1 where the scalar is quoted (or a block scalar).

Lines and columns are counted only when a place is asked for, so that a good document pays nothing for them.
"""

Node: TypeAlias = "str | Map | Sequence"
Entry: TypeAlias = "tuple[Node, Mark, Mark]"  # the value, its mark, the mark of its key
Item: TypeAlias = "tuple[Node, Mark]"


class Map(dict[str, "Entry"]):
    """A YAML mapping in the order of the file."""

    __slots__ = ()


class Sequence(list["Item"]):
    """A YAML sequence."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file, read: its root mapping, and the text from which places are counted."""

    file: str
    text: str = field(repr=False)
    root: Map = field(repr=False)
    duplicates: tuple[Diagnostic, ...] = ()  # keys given twice; the first value of each stands in `root`
    _line_starts: list[int] = field(default_factory=list, repr=False, compare=False)

    def place(self, mark: Mark) -> Place:
        """The place of a mark; columns count characters."""
        if not self._line_starts:
            self._line_starts.append(0)
            self._line_starts.extend(found.end() for found in re.finditer("\n", self.text))
        return place_at(self.file, self._line_starts, mark >> 1)


# Possessive, so that a million empty lines cost neither time nor a backtracking stack.
BLANK = r"(?:[ \t\r\n]++|#[^\n]*+|\.\.\.(?=[ \t\r\n]|\Z))*+"
DIRECTIVE = re.compile(f"{BLANK}%")
AFTER_END = re.compile(BLANK)

# ------------------------------------------------------------------ events


class Position(Protocol):
    """What is used of PyYAML's marks: the character offset."""

    index: int


class ParserEvent(Protocol):
    """What is used of PyYAML's events; `kind` says which of the attributes are there."""

    start_mark: Position
    anchor: str | None  # scalars, collections, aliases
    tag: str | None  # scalars, collections
    value: str  # scalars
    style: str | None  # scalars: None or "" where plain


class EventParser(Protocol):
    """What is used of PyYAML's loaders."""

    def get_event(self) -> ParserEvent:
        """The next event. Raises yaml.YAMLError."""
        ...


def kind_of(event: ParserEvent) -> type:
    """The class of an event, which says what it is."""
    return event.__class__


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A key given twice: where its later value was put aside, and the diagnostic."""

    entries: Map
    stand_in: str
    diagnostic: Diagnostic


class Refusal(Exception):
    """The document is refused; carries the diagnostic out of the loop. Never leaves this module."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def read_document(text: str | bytes, file: str) -> Outcome[Document]:
    """The document of a YAML text, or what makes it unreadable, with places."""
    outcome = read_past_duplicates(text, file)
    if outcome.value is not None and outcome.value.duplicates:
        return Outcome(value=None, diagnostics=outcome.value.duplicates)
    return outcome


def read_past_duplicates(text: str | bytes, file: str) -> Outcome[Document]:
    """As read_document, but keys given twice stand in the document's `duplicates`: the rest can still be judged."""
    decoded = decode(text, file)
    if isinstance(decoded, Diagnostic):
        return Outcome(value=None, diagnostics=(decoded,))
    duplicates: list[Duplicate] = []
    try:
        return Outcome(value=compose(decoded, file, duplicates))
    except Refusal as refusal:
        last = refusal.diagnostic
    except yaml.YAMLError as error:
        last = syntax_error(error, decoded, file)
        if TOO_DEEP in last.message:
            duplicates.clear()
            last = too_deep(error, decoded, file, duplicates)
    except (ValueError, OverflowError):
        # PyYAML's own parser calls chr() on whatever stands after \\U; libyaml refuses it in words.
        last = bad_escape(decoded, file)
    return Outcome(value=None, diagnostics=(*(found.diagnostic for found in duplicates), last))


def open_parser(text: str) -> EventParser:
    """The parser of libyaml, or PyYAML's own where it was not built in: 10-20 times slower, the same answers."""
    loader = getattr(yaml, "CLoader", yaml.Loader)
    return cast("EventParser", loader(text))


def compose(text: str, file: str, duplicates: list[Duplicate]) -> Document:
    """The document of a decoded text; `duplicates` is added to. Raises Refusal or yaml.YAMLError."""
    directive = DIRECTIVE.match(text)
    if directive:
        raise refused(
            "GS112", "directives (%YAML, %TAG) are not read", file, text, directive.end() - 1, "remove the line"
        )
    parser = open_parser(text)
    parser.get_event()  # stream start
    if kind_of(parser.get_event()) is StreamEndEvent:
        raise refused("GS104", f"{file} is empty", file, text, 0, "begin with the line: version: 1")
    first = parser.get_event()
    judge(first, text, file)
    if kind_of(first) is not MappingStartEvent:
        offset = first.start_mark.index
        raise refused("GS104", f"{file} holds no map of keys", file, text, offset, "begin with the line: version: 1")
    root = fill(Map(), parser, text, file, duplicates)
    refuse_more(text, parser.get_event().start_mark.index, file)
    for found in duplicates:
        del found.entries[found.stand_in]
    return Document(file=file, text=text, root=root, duplicates=tuple(found.diagnostic for found in duplicates))


def fill(  # noqa: C901, PLR0912, PLR0915  # see below
    root: Map, parser: EventParser, text: str, file: str, duplicates: list[Duplicate]
) -> Map:
    """`root` with everything up to its end event.

    One flat loop, since the time of reading goes here: 0.8 us an event, half as much again with a call for each.
    """
    get_event = parser.get_event
    outer: list[tuple[Map, Sequence | None]] = []  # what is open around the present node
    entries = root
    items: Sequence | None = None  # the present node where it is a list, else it is `entries`
    key: str | None = None
    key_mark = 0
    count = 0
    while True:
        event = get_event()
        kind: type = event.__class__
        if kind is ScalarEvent:
            count += 1
            value = event.value
            style = event.style
            mark = event.start_mark.index * 2 + (1 if style else 0)
            if event.anchor is not None or event.tag is not None or count > MAX_VALUES:
                judge(event, text, file, count)
            if style == '"' and not value.isprintable():
                refuse_unseen(value, mark, text, file)
            if items is not None:
                items.append((value, mark))
            elif key is not None:
                entries[key] = (value, mark, key_mark)
                key = None
            else:
                if value in entries or value == "<<" or not value:
                    value = key_read_past(entries, value, mark, text, file, duplicates)
                key = value
                key_mark = mark
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            count += 1
            judge(event, text, file, count)
            mark = event.start_mark.index * 2
            if len(outer) >= MAX_DEPTH - 1:
                raise refused_depth(file, text, mark >> 1)
            node: Map | Sequence = Map() if kind is MappingStartEvent else Sequence()
            if items is not None:
                items.append((node, mark))
            elif key is not None:
                entries[key] = (node, mark, key_mark)
                key = None
            else:
                raise refused(
                    "GS111", "a key must be text, not a map or a list", file, text, mark >> 1, "write: key: value"
                )
            outer.append((entries, items))
            if isinstance(node, Map):
                entries, items = node, None
            else:
                items = node
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            if not outer:
                return root
            entries, items = outer.pop()
        else:
            judge(event, text, file, count)


# ------------------------------------------------------------------ refusals


def refused(
    code: str, message: str, file: str, text: str, offset: int, help_text: str, related: tuple[Related, ...] = ()
) -> Refusal:
    """A refusal at a character offset."""
    place = place_in(file, text, offset)
    return Refusal(Diagnostic(code=code, message=message, place=place, help=help_text, related=related))


def judge(event: ParserEvent, text: str, file: str, count: int = 0) -> None:
    """Nothing for a plain node; raises Refusal for an alias, an anchor, a tag, or one value too many."""
    offset = event.start_mark.index
    if kind_of(event) is AliasEvent:
        message = f"the alias *{event.anchor} is not read: every value stands where it holds"
        raise refused("GS105", message, file, text, offset, "write the value out; shared settings belong into defaults")
    if event.anchor is not None:
        message = f"the anchor &{event.anchor} is not read: every value stands where it holds"
        raise refused("GS105", message, file, text, offset, "remove it; shared settings belong into defaults")
    if event.tag is not None:
        shown = event.tag.replace("tag:yaml.org,2002:", "!!")
        message = f"the tag {shown} is not read: the key decides the type of its value"
        raise refused("GS106", message, file, text, offset, "remove the tag")
    if count > MAX_VALUES:
        message = f"more than {MAX_VALUES:,} keys and values in one file"
        raise refused("GS103", message, file, text, offset, "split the file and join the parts with include")


def key_read_past(current: Map, key: str, mark: Mark, text: str, file: str, duplicates: list[Duplicate]) -> str:
    """A key under which the value of one that was there before is put aside, so that reading goes on.

    Raises Refusal for a merge key, an empty key, and one duplicate too many.
    """
    if key in current:
        first = place_in(file, text, current[key][2] >> 1)
        related = (Related(place=first, message="first given here"),)
        found = refused(
            "GS108", f"the key {key!r} is given twice", file, text, mark >> 1, "keep one of the two", related
        )
        if len(duplicates) >= MAX_DUPLICATES:
            raise found
        aside = f"\0{len(duplicates)}"  # no text holds NUL
        duplicates.append(Duplicate(entries=current, stand_in=aside, diagnostic=found.diagnostic))
        return aside
    if key == "<<" and not mark & 1:
        message = "merge keys (<<) are not read: every value stands where it holds"
        raise refused(
            "GS107", message, file, text, mark >> 1, "write the keys out; shared settings belong into defaults"
        )
    if not key:
        raise refused("GS111", "a key is missing before the colon", file, text, mark >> 1, "write: key: value")
    return key


def refuse_unseen(value: str, mark: Mark, text: str, file: str) -> None:
    """Raise Refusal where a double-quoted scalar escapes in a character that may not stand in the text."""
    found = FORBIDDEN.search(value)
    if found:
        message = f"the escape for {describe_character(found.group())} is not allowed"
        raise refused("GS102", message, file, text, mark >> 1, "remove it")


def refuse_more(text: str, offset: int, file: str) -> None:
    """Raise Refusal where anything but comments follows the document, without showing it to the parser."""
    rest = AFTER_END.match(text, offset)
    if rest:
        offset = rest.end()
    if offset < len(text) and text[offset:].strip():
        message = "a second document starts here; one file holds one"
        raise refused(
            "GS109", message, file, text, offset, "put it into a file of its own and join the two with include"
        )


def too_deep(error: yaml.YAMLError, text: str, file: str, duplicates: list[Duplicate]) -> Diagnostic:
    """What stands at the place where the depth is exceeded, for a parser that counts levels itself.

    libyaml 0.2.6 refuses level 1,001 while it looks ahead for a colon, before it tells of level 33. What comes before
    that level is read once more, and ends where it does with every other parser.
    """
    offset = offset_of(error, text)
    try:
        compose(text[:offset], file, duplicates)
    except Refusal as refusal:
        return refusal.diagnostic
    except yaml.YAMLError:
        pass  # only where it counted otherwise than brackets: the place that it named is left
    return refused_depth(file, text, offset).diagnostic


def refused_depth(file: str, text: str, offset: int) -> Refusal:
    """The refusal of a level beyond MAX_DEPTH."""
    message = f"nested deeper than {MAX_DEPTH} levels"
    return refused("GS110", message, file, text, offset, "a cluster file needs no more than eight")


def offset_of(error: yaml.YAMLError, text: str) -> int:
    """The character offset that a complaint of the parser names."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return min(mark.index, len(text)) if mark is not None else 0


def syntax_error(error: yaml.YAMLError, text: str, file: str) -> Diagnostic:
    """The parser's complaint at its place, with what mends the commonest ones."""
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "the text is no YAML")
    offset = offset_of(error, text)
    help_text = "check the indentation and the quotes of this line and the one before"
    if "that cannot start any token" in problem:
        character = text[offset : offset + 1]
        quote = f"put the value in quotes: it starts with {character!r}"
        help_text = "indent with spaces: this is a tab" if character == "\t" else quote
    elif "mapping values are not allowed" in problem:
        help_text = "put the value in quotes if it contains ': ', or start a new line for the next key"
    elif "could not find expected ':'" in problem:
        help_text = "write: key: value"
    return Diagnostic(code="GS100", message=f"not YAML: {problem}", place=place_in(file, text, offset), help=help_text)


def bad_escape(text: str, file: str) -> Diagnostic:
    """The diagnostic of an escape beyond Unicode."""
    beyond = re.search(r"\\U(?!0000|0010|000[1-9a-fA-F])[0-9a-fA-F]{8}", text)
    offset = beyond.start() if beyond else 0
    return Diagnostic(
        code="GS100",
        message="not YAML: invalid Unicode character escape",
        place=place_in(file, text, offset),
        help="remove it",
    )
