"""One model being resolved: the open hub, what was read of it, and the remarks on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import Literal, TypeAlias

from gslc.edges.hub import HubFile, HubSettings, Listing, OpenListing, small_document
from gslc.edges.ranges import RangeReader
from gslc.ir.diagnostic import Diagnostic, Place
from gslc.ir.facts import FileFact
from gslc.ir.inputs import Model, Source
from gslc.ir.record import dataclass

Format: TypeAlias = Literal["gguf", "transformers", "speech", "plain"]
DOCUMENT_MAX = 16 * 1024 * 1024
READS_AT_ONCE = 4
Step: TypeAlias = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Fetch:
    """The state of one resolution. Changed by its own thread alone."""

    model: Model
    source: Source
    opened: OpenListing
    settings: HubSettings
    place: Place
    step: Step
    remarks: list[Diagnostic] = field(default_factory=list)
    _hashes: dict[str, str] = field(default_factory=dict)

    @property
    def listing(self) -> Listing:
        """The files that are there."""
        return self.opened.listing

    def reader(self, file: HubFile) -> RangeReader:
        """A file by range."""
        return self.opened.reader(file)

    def document(self, path: str, limit_bytes: int = DOCUMENT_MAX) -> bytes | None:
        """A small file as a whole; None where the repository hasn't it."""
        content = small_document(self.opened, path, limit_bytes)
        if content is not None:
            self._hashes[path] = hashlib.sha256(content).hexdigest()
        return content

    def documents(self, paths: Sequence[str]) -> dict[str, bytes | None]:
        """Several small files, read at the same time."""
        there = [path for path in paths if self.listing.file(path) is not None]
        found: dict[str, bytes | None] = dict.fromkeys(paths)
        if there:
            with ThreadPoolExecutor(min(READS_AT_ONCE, len(there))) as pool:
                found.update(zip(there, pool.map(self.document, there), strict=True))
        return found

    def pinned(self, files: Sequence[HubFile]) -> tuple[FileFact, ...]:
        """The files as facts, with every hash that is known or worth computing."""
        self._hash_small([file for file in files if file.sha256 is None and file.path not in self._hashes])
        facts: list[FileFact] = []
        for file in files:
            digest = self._hashes.get(file.path)
            if digest is None:
                if self.source.kind == "file":
                    self.step(f"hashing {file.path}")
                digest = self.opened.sha256(file)
            if digest is None and self.source.kind == "file":
                self._unhashed(file)
            facts.append(FileFact(path=file.path, size_bytes=file.size_bytes, sha256=digest, url=file.url))
        return tuple(facts)

    def _hash_small(self, files: Sequence[HubFile]) -> None:
        """Reads remote files that the hub has no hash of: Hugging Face tells it of files in LFS only."""
        small = [file.path for file in files if file.size_bytes <= DOCUMENT_MAX]
        if small and self.source.kind != "file":
            self.step(f"hashing {len(small)} small files")
            self.documents(small)

    def _unhashed(self, file: HubFile) -> None:
        limit = self.settings.local_sha256_limit // 1024**3
        message = f"model '{self.model.name}': {file.path} is over {limit} GiB: pinned by size and header alone"
        self.remark("GS264", "note", message, "nothing to do; a file from a hub is pinned by the hub's sha256")

    def remark(self, code: str, severity: Literal["warning", "note"], message: str, action: str) -> None:
        """Keeps a warning or a note for the report."""
        self.remarks.append(Diagnostic(code=code, message=message, place=self.place, severity=severity, help=action))
