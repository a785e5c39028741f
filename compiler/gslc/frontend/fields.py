"""Reading a mapping key by key, keeping every mistake with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TypeAlias, TypeVar

from gslc.frontend.mistake import Mistake, listed, nearest, shown
from gslc.frontend.sizes import ScalarReader
from gslc.frontend.source import Document, Entry, Map, Mark, Node, Sequence
from gslc.ir.diagnostic import Diagnostic, Place, Related, Severity
from gslc.ir.record import dataclass

T = TypeVar("T")
D = TypeVar("D")
NO_VALUE = frozenset({"", "~", "null", "Null", "NULL"})
SHAPES = {Map: "a map", Sequence: "a list"}
MAX_UNKNOWN = 20  # unknown keys of one map that are compared with a missing one
MAX_PROBLEMS = 200  # a reader is done after the first page; 100,000 lines would only fill the log

NodeReader: TypeAlias = "Callable[[Scan, Node, Mark, str], T]"


class EnoughProblems(Exception):
    """MAX_PROBLEMS mistakes were found; the codec stops reading. Never leaves the codec."""


@dataclass(slots=True)
class Problems:
    """The mistakes of one run, in the order found."""

    found: list[Diagnostic] = field(default_factory=list)
    guesses: dict[str, str] = field(
        default_factory=dict
    )  # unknown GPU -> help: a search of the table takes 10 to 30 ms

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic. Raises EnoughProblems beyond MAX_PROBLEMS: each costs a search for what was meant."""
        if len(self.found) >= MAX_PROBLEMS:
            raise EnoughProblems
        self.found.append(diagnostic)


@dataclass(frozen=True, slots=True)
class Scan:
    """A document being read, and where its mistakes go."""

    document: Document
    problems: Problems

    def refuse(
        self,
        mark: Mark,
        code: str,
        message: str,
        action: str | None = None,
        *,
        related: tuple[Related, ...] = (),
        severity: Severity = "error",
    ) -> None:
        """Note a mistake at a mark."""
        place = self.document.place(mark)
        self.problems.add(
            Diagnostic(code=code, message=message, place=place, help=action, related=related, severity=severity)
        )

    def note(self, mark: Mark, code: str, message: str, action: str) -> None:
        """Add a remark, which no limit holds back."""
        place = self.document.place(mark)
        remark = Diagnostic(code=code, message=message, place=place, severity="note", help=action)
        self.problems.found.append(remark)

    def scalar(self, node: Node, mark: Mark, label: str, reader: ScalarReader[T], default: D) -> T | D:
        """What a scalar says, or the default after its mistake was noted. `label` names the value in messages."""
        if node.__class__ is not str:
            self.refuse(
                mark, "GS132", f"{label} wants one value, not {SHAPES[node.__class__]}", "write the value after the key"
            )
            return default
        text = str(node)
        if text in NO_VALUE and not mark & 1:
            self.refuse(mark, "GS133", f"{label} has no value", "write one, or remove the key")
            return default
        answer = reader(text, bool(mark & 1))
        if isinstance(answer, Mistake):
            self.refuse(mark, answer.code, f"{label} {answer.message}", answer.help)
            return default
        return answer

    def items(self, node: Node, mark: Mark, label: str, maximum: int) -> Sequence:
        """The items of a list, or none after the mistake was noted."""
        if not isinstance(node, Sequence):
            self.no_shape(node, mark, label, "a list", "write the items in brackets: [a, b]")
            return Sequence()
        if len(node) > maximum:
            self.refuse(mark, "GS175", f"{label} has {len(node):,} items; {maximum:,} is the most", "shorten the list")
            return Sequence()
        return node

    def entries(self, node: Node, mark: Mark, label: str) -> Map:
        """The entries of a map, or none after the mistake was noted."""
        if not isinstance(node, Map):
            self.no_shape(node, mark, label, "a map", "write keys and values: {key: value}")
            return Map()
        return node

    def no_shape(self, node: Node, mark: Mark, label: str, wanted: str, action: str) -> None:
        """Note that a value has another shape than the one wanted."""
        if node.__class__ is str:
            if node in NO_VALUE and not mark & 1:
                self.refuse(mark, "GS133", f"{label} has no value", f"write {wanted}, or remove the key")
                return
            got = shown(str(node))
        else:
            got = SHAPES[node.__class__]
        self.refuse(mark, "GS132", f"{label} wants {wanted}, not {got}", action)


@dataclass(frozen=True, slots=True)
class Fields:
    """A map of known keys. `owner` names it in messages ("host atlas"); `inherited` stands in for missing keys."""

    scan: Scan
    owner: str
    entries: Mapping[str, Entry]
    mark: Mark
    inherited: Fields | None = None
    hidden: frozenset[str] = frozenset()  # keys that are written, but wrong
    known: frozenset[str] = frozenset()

    def find(self, key: str) -> tuple[Scan, Entry] | None:
        """The entry of a key and the document it stands in, or None."""
        entry = self.entries.get(key)
        if entry is not None:
            return self.scan, entry
        return self.inherited.find(key) if self.inherited is not None else None

    def has(self, key: str) -> bool:
        """True when the key is written, here or where it is inherited from."""
        return key in self.entries or key in self.hidden or (self.inherited is not None and self.inherited.has(key))

    def label(self, key: str) -> str:
        """How a value is called in messages."""
        return f"{key} of {self.owner}" if self.owner else key

    def take(self, key: str, reader: ScalarReader[T], default: D) -> T | D:
        """What the scalar of a key says, or the default where it is missing or wrong.

        The good case is written out: a thousand hosts and two thousand models come here 100,000 times.
        """
        entry = self.entries.get(key)
        scan = self.scan
        if entry is None:
            found = self.inherited.find(key) if self.inherited is not None else None
            if found is None:
                return default
            scan, entry = found
        text = entry[0]
        if isinstance(text, str) and text not in NO_VALUE:
            answer = reader(text, bool(entry[1] & 1))
            if not isinstance(answer, Mistake):
                return answer
        return scan.scalar(text, entry[1], self.label(key), reader, default)

    def take_node(self, key: str, reader: NodeReader[T], default: D) -> T | D:
        """What the list or map of a key says, or the default where the key is missing."""
        found = self.find(key)
        if found is None:
            return default
        scan, entry = found
        return reader(scan, entry[0], entry[1], self.label(key))

    def need(self, key: str, reader: ScalarReader[T], default: D, action: str) -> T | D:
        """As `take`, for a key that must be there."""
        if not self.has(key):
            self.miss(key, f"{self.owner or 'the cluster file'} has no {key}", action)
            return default
        return self.take(key, reader, default)

    def miss(self, key: str, message: str, action: str) -> None:
        """Note that a key is missing, unless an unknown one is that key mistyped: then that was said already."""
        unknown = sorted(self.entries.keys() - self.known)[:MAX_UNKNOWN]
        if not any(nearest(other, self.known) == (key,) for other in unknown):
            self.scan.refuse(self.mark, "GS131", message, action)

    def refuse(self, key: str, code: str, message: str, action: str, related: tuple[Related, ...] = ()) -> None:
        """Note a mistake at the value of a key, or at the map where the key is missing."""
        found = self.find(key)
        if found is None:
            self.scan.refuse(self.mark, code, message, action, related=related)
        else:
            found[0].refuse(found[1][1], code, message, action, related=related)

    def place(self, key: str) -> Place:
        """The place of a key's value, or of the map."""
        found = self.find(key)
        return self.scan.document.place(self.mark) if found is None else found[0].document.place(found[1][1])


def read_fields(scan: Scan, node: Node, mark: Mark, owner: str, known: frozenset[str]) -> Fields:
    """The map `owner`, its unknown keys noted."""
    entries = scan.entries(node, mark, owner or "the file")
    if not entries.keys() <= known:
        for key, (_, _, key_mark) in entries.items():
            if key not in known:
                refuse_key(scan, key_mark, key, owner, known)
    # What is no map was refused for that: its keys do not count as missing besides.
    hidden = frozenset() if isinstance(node, Map) else known
    return Fields(scan, owner, entries, mark, hidden=hidden, known=known)


def refuse_key(scan: Scan, mark: Mark, key: str, owner: str, known: frozenset[str]) -> None:
    """Note an unknown key."""
    near = nearest(key, known)
    action = f"did you mean {near[0]}?" if near else f"known keys: {listed(sorted(known), 40)}"
    scan.refuse(mark, "GS130", f"{owner or 'the cluster file'} has no key {shown(key)}", action)


def read_map(
    scan: Scan, node: Node, mark: Mark, label: str, keys: ScalarReader[str], values: ScalarReader[T]
) -> dict[str, T]:
    """A map of scalars with free keys, in the order of the file; wrong entries are noted and left out."""
    result: dict[str, T] = {}
    for key, (value, value_mark, key_mark) in scan.entries(node, mark, label).items():
        if scan.scalar(key, key_mark | 1, f"a key of {label}", keys, None) is None:
            continue
        read = scan.scalar(value, value_mark, f"{key} in {label}", values, None)
        if read is not None:
            result[key] = read
    return result


def read_list(scan: Scan, node: Node, mark: Mark, label: str, reader: ScalarReader[T], maximum: int) -> tuple[T, ...]:
    """A list of scalars; wrong items are noted and left out."""
    result: list[T] = []
    for number, (item, at) in enumerate(scan.items(node, mark, label, maximum), 1):
        read = scan.scalar(item, at, f"item {number} of {label}", reader, None)
        if read is not None:
            result.append(read)
    return tuple(result)
