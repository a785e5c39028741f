"""Imported hosts and models -> an existing cluster file, by changing only the lines that must change.

The user's text is never written anew: lines are inserted, and the items of `gpus` replaced. The result is read again
and compared; where it would say anything else than meant, the edit is refused (GS194).
"""

from __future__ import annotations

from collections.abc import Sequence

from gslc.frontend.hosts import GpuTable
from gslc.frontend.importers.emit import entry, gpus_lines, host_facts, host_lines, model_lines, nvlink_value
from gslc.frontend.importers.importing import Imported
from gslc.frontend.importers.links import broken_link
from gslc.frontend.importers.records import ImportedHost
from gslc.frontend.source import Document, Map, Mark, Node, read_document
from gslc.frontend.source import Sequence as Items
from gslc.ir.diagnostic import Diagnostic, Outcome, Place
from gslc.ir.record import dataclass

Plain = object  # str | dict | list of the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The new text of the file, and one line for each change."""

    text: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replace text[start:end]; start == end inserts."""

    start: int
    end: int
    text: str


class CannotEdit(Exception):
    """The file can't be changed without touching more than the import; never leaves this module."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.message = message
        self.place = place


def merge_into(text: str, file: str, imported: Imported, table: GpuTable) -> Outcome[Merged]:
    """The file with the imported hosts and models; what the user wrote stays, and wins where both speak."""
    read = read_document(text, file)
    if read.value is None:
        return Outcome(value=None, diagnostics=read.diagnostics)
    merge = _Merge(read.value, table)
    try:
        merge.hosts(imported.hosts)
        merge.models(imported)
        new_text = merge.applied()
        merge.check(new_text, imported)
    except CannotEdit as refused:
        diagnostic = Diagnostic(
            code="GS194",
            message=refused.message,
            place=refused.place,
            help="leave --into away, and copy what you want from the output",
        )
        return Outcome(value=None, diagnostics=(*merge.diagnostics, diagnostic))
    return Outcome(value=Merged(text=new_text, changes=tuple(merge.changes)), diagnostics=tuple(merge.diagnostics))


class _Merge:
    """Collects edits of one document."""

    def __init__(self, document: Document, table: GpuTable) -> None:
        self.document = document
        self.table = table
        self.newline = "\r\n" if "\r\n" in document.text else "\n"
        self.edits: list[Edit] = []
        self.changes: list[str] = []
        self.diagnostics: list[Diagnostic] = []
        self.touched: set[str] = set()  # hosts whose gpus were replaced
        self.unlinked: set[str] = set()  # hosts whose nvlink was taken out, or replaced

    # ------------------------------------------------------------------ hosts and models

    def hosts(self, hosts: Sequence[ImportedHost]) -> None:
        """Edits for the hosts: new ones at the end of `hosts`, changes inside the ones that are there."""
        section = self.document.root.get("hosts")
        known = section[0] if section is not None and isinstance(section[0], Map) else Map()
        new: list[str] = []
        for host in sorted(hosts, key=lambda each: each.name):
            there = known.get(host.name)
            if there is None:
                new += host_lines(host)
                self.changes.append(f"{self.document.file}: host {host.name} is new")
            else:
                self.host(host, there)
        self.add_to_section("hosts", new)

    def models(self, imported: Imported) -> None:
        """Edits for the models: new ones at the end of `models`; those that are there are left alone."""
        section = self.document.root.get("models")
        known = section[0] if section is not None and isinstance(section[0], Map) else Map()
        new: list[str] = []
        for model in sorted(imported.models, key=lambda each: each.name):
            there = known.get(model.name)
            if there is None:
                new += model_lines(model)
                self.changes.append(f"{self.document.file}: model {model.name} is new")
            else:
                self.keep(f"the model {model.name} is there already; it was left as it is", there[2])
        self.add_to_section("models", new)

    def add_to_section(self, name: str, lines: Sequence[str]) -> None:
        """Insert entries at the end of a top-level map, which is made where it is missing."""
        if not lines:
            return
        section = self.document.root.get(name)
        text = self.document.text
        if section is None:
            head = "" if not text or text.endswith("\n") else self.newline
            self.insert(len(text), [f"{name}:", *(f"  {line}" for line in lines)], before=head)
            return
        value, mark, key_mark = section
        if self.replace_empty(value, mark, key_mark, lines):
            return
        if not isinstance(value, Map) or self.is_flow(mark):
            raise CannotEdit(
                f"{name} is written in braces; entries can't be added without rewriting it", self.document.place(mark)
            )
        column = self.column(mark)
        self.insert(self.block_end(self.line_start(key_mark >> 1), 0, column), [" " * column + line for line in lines])

    def host(self, host: ImportedHost, there: tuple[Node, Mark, Mark]) -> None:
        """Edits inside a host that is there: missing facts are added, GPUs brought up to date."""
        value, mark, key_mark = there
        if isinstance(value, Map) and value and self.is_flow(mark):
            raise CannotEdit(f"the host {host.name} is written in braces", self.document.place(mark))
        known = value if isinstance(value, Map) else Map()
        lines: list[str] = []
        for key, written in host_facts(host):
            if key not in known:
                lines += entry(key, written)
                self.changes.append(f"{self.document.file}: host {host.name} got {key}")
            elif isinstance(written, str) and known[key][0] != written.strip('"'):
                message = f"{host.name} has {key} {known[key][0]} here, and {written} in the import; yours was kept"
                self.keep(message, known[key][1])
        if host.gpus and "gpus" not in known:
            lines += entry("gpus", gpus_lines(host.gpus))
            self.changes.append(f"{self.document.file}: host {host.name} got its GPUs")
        elif host.gpus:
            self.gpus(host, known["gpus"])
        lines += self.nvlink(host, known)
        if not lines:
            return
        if self.replace_empty(value, mark, key_mark, lines):
            return
        outer, inner = self.column(key_mark), self.column(mark)
        self.insert(
            self.block_end(self.line_start(key_mark >> 1), outer, inner), [" " * inner + line for line in lines]
        )

    def nvlink(self, host: ImportedHost, known: Map) -> list[str]:
        """The line of the links that a host lacks. Links that are there stay, unless its new cards make them wrong."""
        written = nvlink_value(host.nvlink)
        if "nvlink" not in known:
            if not host.nvlink:
                return []
            self.changes.append(f"{self.document.file}: host {host.name} got nvlink")
            return entry("nvlink", written)
        value, mark, key_mark = known["nvlink"]
        groups = _plain(value)
        reason = broken_link(groups, host.gpus, self.table) if host.name in self.touched else None
        if reason is not None:
            return self.other_links(host, (value, mark, key_mark), reason)
        own = {frozenset(group) for group in groups if isinstance(group, list)} if isinstance(groups, list) else set()
        if host.nvlink and own != {frozenset(map(str, island)) for island in host.nvlink}:
            self.keep(f"{host.name} has other groups under nvlink here than the import ({written}); yours stay", mark)
        return []

    def other_links(self, host: ImportedHost, there: tuple[Node, Mark, Mark], reason: str) -> list[str]:
        """Take links out that would not compile with the new cards; the line of those that the import has instead."""
        _, mark, key_mark = there
        text = self.document.text
        start = self.line_start(key_mark >> 1)
        if self.is_flow(mark):
            end = text.find("\n", _flow_end(text, mark >> 1)) + 1 or len(text)
        else:
            end = self.block_end(start, self.column(key_mark), self.column(mark), dashes=True)
        if _has_comment(text[start:end]):
            message = f"nvlink of {host.name} {reason}, and a comment on it would be lost"
            raise CannotEdit(message, self.document.place(mark))
        self.edits.append(Edit(start, end, ""))
        self.unlinked.add(host.name)
        instead = (
            f"those of the import stand there now: {nvlink_value(host.nvlink)}" if host.nvlink else "it was removed"
        )
        self.diagnostics.append(
            Diagnostic(
                code="GS198",
                message=f"nvlink of {host.name} {reason}; {instead}",
                place=self.document.place(mark),
                severity="warning",
                help=None if host.nvlink else "import nvidia-smi topo -m beside the log, or write the groups anew",
            )
        )
        self.changes.append(
            f"{self.document.file}: host {host.name} {'has other' if host.nvlink else 'lost its'} nvlink"
        )
        return entry("nvlink", nvlink_value(host.nvlink)) if host.nvlink else []

    def gpus(self, host: ImportedHost, there: tuple[Node, Mark, Mark]) -> None:
        """Replace the items of `gpus` where they say other cards."""
        value, mark, key_mark = there
        uuids = any(gpu.uuid is not None for gpu in host.gpus)
        lines = gpus_lines(host.gpus)
        wanted = read_document("gpus:\n" + "\n".join(lines) + "\n", "").value
        if wanted is None:
            raise CannotEdit(f"the cards of {host.name} can't be written", self.document.place(mark))
        if _expanded(value, uuids=uuids) == _expanded(wanted.root["gpus"][0], uuids=uuids):
            return
        text = self.document.text
        indent = self.column(key_mark)
        start = mark >> 1
        if isinstance(value, Items) and value and not self.is_flow(mark):
            start = self.line_start(start)
            end = self.block_end(self.line_start(key_mark >> 1), indent, self.column(mark), dashes=True)
            old = text[start:end]
            indent = self.column(mark)
        elif self.is_flow(mark):
            end = _flow_end(text, start)
            old = text[start:end]
            start = start - (len(text[:start]) - len(text[:start].rstrip(" ")))
            indent += 2
        else:
            raise CannotEdit(f"the GPUs of {host.name} are no list", self.document.place(mark))
        if _has_comment(old):
            raise CannotEdit(
                f"the GPUs of {host.name} changed, and a comment among them would be lost", self.document.place(mark)
            )
        body = self.newline.join(" " * indent + line for line in lines)
        if self.is_flow(mark):
            self.edits.append(Edit(start, end, self.newline + body))
        else:
            self.edits.append(Edit(start, end, body + self.newline))
        self.touched.add(host.name)
        self.changes.append(f"{self.document.file}: host {host.name} has other GPUs now")

    # ------------------------------------------------------------------ text

    def keep(self, message: str, mark: Mark) -> None:
        """Say that the user's value stays."""
        self.diagnostics.append(
            Diagnostic(code="GS195", message=message, place=self.document.place(mark), severity="warning")
        )

    def is_flow(self, mark: Mark) -> bool:
        """True where a collection is written in braces or brackets."""
        return self.document.text[mark >> 1 : (mark >> 1) + 1] in ("{", "[")

    def column(self, mark: Mark) -> int:
        """The column of a mark, from 0."""
        return self.document.place(mark).column - 1

    def line_start(self, offset: int) -> int:
        """The offset of the first character of a line."""
        return self.document.text.rfind("\n", 0, offset) + 1

    def block_end(self, key_line: int, outer: int, inner: int, *, dashes: bool = False) -> int:
        """The offset behind the block of a key: before the next line that is no deeper than the key, and before the
        comments and blank lines that lead to it. `dashes`: items of a list may stand in the key's own column.
        """
        text = self.document.text
        end = at = text.find("\n", key_line) + 1 or len(text)
        while at < len(text):
            stop = text.find("\n", at) + 1 or len(text)
            line = text[at:stop]
            content = line.strip()
            indent = len(line) - len(line.lstrip(" "))
            if content and not content.startswith("#"):
                if indent <= outer and not (dashes and indent == inner and content.startswith("-")):
                    break
                end = stop
            elif content and indent >= inner and indent > outer:
                end = stop
            at = stop
        return end

    def replace_empty(self, value: Node, mark: Mark, key_mark: Mark, lines: Sequence[str]) -> bool:
        """Fill a key whose value is `{}` or nothing; False where it has content."""
        text = self.document.text
        start = mark >> 1
        indent = " " * (self.column(key_mark) + 2)
        body = self.newline.join(indent + line for line in lines)
        if isinstance(value, Map) and not value and text.startswith("{}", start):
            before = len(text[:start].rstrip(" "))
            self.edits.append(Edit(before, start + 2, self.newline + body))
            return True
        if value == "" and not mark & 1:
            end = text.find("\n", key_mark >> 1)
            at = len(text) if end < 0 else end + 1
            self.insert(at, [indent + line for line in lines], before=self.newline if end < 0 else "")
            return True
        return False

    def insert(self, at: int, lines: Sequence[str], before: str = "") -> None:
        """Insert whole lines at the start of a line."""
        if at and not before and self.document.text[at - 1 : at] != "\n":
            before = self.newline
        self.edits.append(Edit(at, at, before + self.newline.join(lines) + self.newline))

    def applied(self) -> str:
        """The text with all edits."""
        parts: list[str] = []
        at = 0
        for edit in sorted(self.edits):
            parts += [self.document.text[at : edit.start], edit.text]
            at = edit.end
        return "".join([*parts, self.document.text[at:]])

    # ------------------------------------------------------------------ proof

    def check(self, new_text: str, imported: Imported) -> None:
        """Raise CannotEdit unless the new text says what the old one said and the imported entries, no more."""
        read = read_document(new_text, self.document.file)
        if read.value is None:
            raise CannotEdit("the result could not be read again", read.diagnostics[0].place)
        old, new = _plain(self.document.root), _plain(read.value.root)
        if not isinstance(old, dict) or not isinstance(new, dict):
            raise CannotEdit("the file holds no map of keys", Place(file=self.document.file))
        for section in ("hosts", "models"):
            was, now = old.pop(section, None) or {}, new.pop(section, None) or {}
            names = (
                {host.name for host in imported.hosts}
                if section == "hosts"
                else {each.name for each in imported.models}
            )
            if not isinstance(was, dict) or not isinstance(now, dict) or set(now) != set(was) | names:
                raise CannotEdit(f"{section} would not hold what it should", Place(file=self.document.file))
            for name, before in was.items():
                self.check_entry(name, before, now[name])
            if section == "hosts":
                self.check_links(now, imported.hosts)
        if old != new:
            raise CannotEdit("other parts of the file would change", Place(file=self.document.file))

    def check_entry(self, name: str, before: Plain, after: Plain) -> None:
        """Raise CannotEdit when a key that was there says something else now, GPUs of a changed host apart."""
        if not isinstance(before, dict):
            return
        for key, value in before.items():
            if (key == "gpus" and name in self.touched) or (key == "nvlink" and name in self.unlinked):
                continue
            if not isinstance(after, dict) or after.get(key) != value:
                raise CannotEdit(f"{name}: {key} would change", Place(file=self.document.file))

    def check_links(self, hosts: dict[Plain, Plain], imported: Sequence[ImportedHost]) -> None:
        """Raise CannotEdit unless a host whose links were taken out has the import's now."""
        for host in imported:
            after = hosts.get(host.name)
            links = [[str(card) for card in island] for island in host.nvlink] or None
            if host.name in self.unlinked and (not isinstance(after, dict) or after.get("nvlink") != links):
                raise CannotEdit(f"{host.name}: nvlink would not be the import's", Place(file=self.document.file))


def _plain(node: Node) -> Plain:
    if isinstance(node, Map):
        return {key: _plain(value) for key, (value, _, _) in node.items()}
    if isinstance(node, Items):
        return [_plain(value) for value, _ in node]
    return node


def _expanded(node: Node, *, uuids: bool) -> list[Plain]:
    """The cards of a `gpus` list one by one, as plain maps without their count."""
    found: list[Plain] = []
    for item in _plain(node) if isinstance(node, Items) else ():  # type: ignore[attr-defined]  # a list, by the test
        if not isinstance(item, dict):
            found.append(item)
            continue
        card = {key: value for key, value in item.items() if key != "count" and (uuids or key != "uuid")}
        count = str(item.get("count", "1"))
        found += [card] * (int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 1)
    return found


def _has_comment(text: str) -> bool:
    return any("#" in line for line in text.splitlines())


def _flow_end(text: str, start: int) -> int:
    """The offset behind the bracket that closes the one at `start`; quotes and comments are passed over."""
    depth = 0
    at = start
    quote = ""
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\" and quote == '"':
                at += 1
            elif character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        elif character == "#" and text[at - 1] in " \t\n":
            at = text.find("\n", at)
            if at < 0:
                return len(text)
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return len(text)
