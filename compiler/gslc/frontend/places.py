"""Where each value of a joined cluster stands."""

from __future__ import annotations

from gslc.frontend.include import JOINED
from gslc.frontend.source import Document, Entry, Map, Sequence
from gslc.ir.diagnostic import Place
from gslc.ir.record import dataclass


@dataclass(frozen=True, slots=True)
class DocumentPlaces:
    """Places by path, found by walking the documents; nothing is kept that they don't hold.

    A key that a model inherits is found in `defaults`.
    """

    documents: tuple[Document, ...]

    def at(self, *path: str | int) -> Place:
        """The place of the value at `path`, or of its nearest written parent."""
        document, entry = self._walk(path)
        return document.place(entry[1])

    def key(self, *path: str | int) -> Place:
        """The place of the key at `path`, or of its nearest written parent."""
        document, entry = self._walk(path)
        return document.place(entry[2])

    def _walk(self, path: tuple[str | int, ...]) -> tuple[Document, Entry]:
        document = self._owner(path)
        entry: Entry = (document.root, 0, 0)
        for depth, step in enumerate(path):
            below = step_down(entry, step)
            if below is None:
                inherited = self._default(path) if depth == 2 and path[0] == "models" else None
                return inherited or (document, entry)
            entry = below
        return document, entry

    def _owner(self, path: tuple[str | int, ...]) -> Document:
        """The document that holds the start of the path; the cluster file where none does."""
        if len(path) > 1 and path[0] in JOINED:
            for document in self.documents:
                section = document.root.get(str(path[0]))
                if section is not None and isinstance(section[0], Map) and path[1] in section[0]:
                    return document
        return self.documents[0]

    def _default(self, path: tuple[str | int, ...]) -> tuple[Document, Entry] | None:
        """Where `defaults` holds the rest of a model's path."""
        defaults = self.documents[0].root.get("defaults")
        if defaults is None or not isinstance(defaults[0], Map) or path[2] not in defaults[0]:
            return None
        return self._walk(("defaults", *path[2:]))


def step_down(entry: Entry, step: str | int) -> Entry | None:
    """The entry below a map's key or a list's index; a list's items have no key of their own."""
    node = entry[0]
    if isinstance(node, Map) and isinstance(step, str):
        return node.get(step)
    if isinstance(node, Sequence) and isinstance(step, int) and 0 <= step < len(node):
        value, mark = node[step]
        return value, mark, mark
    return None
