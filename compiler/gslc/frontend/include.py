"""The cluster file and the files it includes -> documents; which part of each counts, and where two of them clash."""

from __future__ import annotations

import posixpath
import re
from typing import Protocol

from gslc.frontend.mistake import nearest, shown
from gslc.frontend.source import Document, Map, Mark, Sequence, read_past_duplicates
from gslc.ir.diagnostic import Diagnostic, Outcome, Related, has_errors, sort_key

JOINED = ("engines", "hosts", "models")  # maps whose entries may come from several files
PART_KEYS = frozenset({"version", *JOINED})
MAX_FILES = 10_000
PATTERN = re.compile(r"[^\x00-\x1f\x7f\\:]{1,500}\Z")


class ClusterReader(Protocol):
    """How the files of a cluster are reached; the edges do it.

    Paths are relative to the cluster file's folder, with `/`.
    """

    def read(self, path: str) -> Outcome[bytes]:
        """The bytes of a regular file below the folder; an error where a link leads out of it."""
        ...

    def read_main(self) -> Outcome[bytes]:
        """The bytes of the cluster file itself (or of standard input)."""
        ...

    def expand(self, pattern: str) -> tuple[str, ...]:
        """The regular files that match a glob (`*`, `?`, `[…]` within one part, `**` over folders), sorted."""
        ...


def load_documents(file: str, reader: ClusterReader) -> Outcome[tuple[Document, ...]]:
    """The document of the cluster file, and after it those of its includes, sorted by path.

    `file` is the cluster file as the user named it; includes are named relative to it in messages.
    """
    main, problems = load_one(file, reader.read_main())
    if main is None:
        return Outcome(value=None, diagnostics=tuple(problems))
    paths, wrong = included_paths(main, reader)
    problems += wrong
    documents = [main]
    folder = posixpath.dirname(file)
    for path in sorted(paths):
        part, wrong = load_one(posixpath.join(folder, path), reader.read(path))
        problems += wrong
        if part is not None:
            problems += foreign_keys(part)
            documents.append(part)
    problems += clashes(tuple(documents))
    if not has_errors(problems):
        return Outcome(value=tuple(documents), diagnostics=tuple(sorted(problems, key=sort_key)))
    problems += [found for document in documents for found in document.duplicates]
    return Outcome(value=None, diagnostics=tuple(sorted(problems, key=sort_key)))


def load_one(file: str, read: Outcome[bytes]) -> tuple[Document | None, list[Diagnostic]]:
    """A document, or None and the reason."""
    if read.value is None:
        return None, list(read.diagnostics)
    outcome = read_past_duplicates(read.value, file)
    return outcome.value, [*read.diagnostics, *outcome.diagnostics]


def included_paths(main: Document, reader: ClusterReader) -> tuple[frozenset[str], list[Diagnostic]]:
    """The files that the key `include` names."""
    entry = main.root.get("include")
    if entry is None:
        return frozenset(), []
    node, mark, _ = entry
    if not isinstance(node, Sequence):
        return frozenset(), [
            problem(main, mark, "GS132", "include wants a list of files", "write: include: [hosts/*.yaml]")
        ]
    paths: set[str] = set()
    problems: list[Diagnostic] = []
    for pattern, at in node:
        complaint = pattern_problem(main, pattern, at)
        if complaint is not None:
            problems.append(complaint)
            continue
        found = reader.expand(str(pattern))
        if not found:
            message = f"include {shown(str(pattern))} matches no file"
            problems.append(problem(main, at, "GS121", message, "check the path; it is relative to the cluster file"))
        paths.update(found)
    main_name = posixpath.basename(main.file)
    paths.discard(main_name)
    if len(paths) > MAX_FILES:
        message = f"include names {len(paths):,} files; more than {MAX_FILES:,} are not read"
        problems.append(problem(main, mark, "GS175", message, "put several hosts or models into one file"))
        return frozenset(), problems
    return frozenset(paths), problems


def pattern_problem(main: Document, pattern: object, mark: Mark) -> Diagnostic | None:
    """Why an item of `include` can't be used, or None."""
    if not isinstance(pattern, str) or not PATTERN.match(pattern):
        return problem(
            main, mark, "GS120", "include wants a path with /, relative to this file", "write, e.g. hosts/*.yaml"
        )
    parts = pattern.split("/")
    if pattern.startswith("/") or any(part in ("", ".", "..") for part in parts):
        message = f"include {shown(pattern)} may not leave the folder of the cluster file, nor hold '.' or '//'"
        return problem(main, mark, "GS120", message, "write a path below it, e.g. hosts/*.yaml")
    return None


def foreign_keys(part: Document) -> list[Diagnostic]:
    """The keys of an included file that only the cluster file itself may hold, or nobody."""
    problems = []
    for key, (_, _, mark) in part.root.items():
        if key in PART_KEYS:
            continue
        if key == "include":
            message, action = "an included file can't include others", "name the files in the cluster file's include"
        elif key in ("name", "target", "port_range", "defaults"):
            message, action = f"{key} belongs into the cluster file, not into an included one", "move it there"
        else:
            near = nearest(key, PART_KEYS)
            message = f"an included file has no key {shown(key)}"
            action = f"did you mean {near[0]}?" if near else f"it may hold {', '.join(sorted(PART_KEYS))}"
        problems.append(problem(part, mark, "GS123", message, action))
    return problems


def clashes(documents: tuple[Document, ...]) -> list[Diagnostic]:
    """One diagnostic for every host, model or engine that two files define."""
    problems = []
    for section in JOINED:
        first: dict[str, tuple[Document, Mark]] = {}
        for document in documents:
            entry = document.root.get(section)
            if entry is None or not isinstance(entry[0], Map):
                continue
            for name, (_, _, mark) in entry[0].items():
                if name not in first:
                    first[name] = (document, mark)
                    continue
                other, at = first[name]
                related = Related(place=other.place(at), message="first defined here")
                message = f"{section.removesuffix('s')} {shown(name)} is defined twice"
                place = document.place(mark)
                problems.append(
                    Diagnostic(
                        code="GS122", message=message, place=place, help="keep one of the two", related=(related,)
                    )
                )
    return problems


def problem(document: Document, mark: Mark, code: str, message: str, action: str) -> Diagnostic:
    """An error at a mark of a document."""
    return Diagnostic(code=code, message=message, place=document.place(mark), help=action)
