"""What an importer finds: hosts with cards, and models with settings, as plain records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Protocol, TypeAlias

from gslc.frontend.hosts import GpuTable
from gslc.ir.diagnostic import Diagnostic, Place, Severity
from gslc.ir.inputs import Arch, GpuKind, Os, Vendor
from gslc.ir.record import dataclass

MIB = 1024 * 1024

Setting: TypeAlias = "str | int | bool | SecretName | Number | Sequence[str | Number] | Mapping[str, str | SecretName]"


class CardTable(GpuTable, Protocol):
    """What an importer asks the GPU table."""

    def variants(self, printed_name: str) -> tuple[GpuKind, ...]:
        """The cards that the vendor's tool prints under this one name, smallest first; () when unknown."""
        ...

    def shares_host_memory(self, name: str) -> bool:
        """True for a card without memory of its own."""
        ...

    def usable_bytes(self, vendor: Vendor, reported_bytes: int) -> int:
        """What a program gets of the total that the vendor's tool prints."""
        ...


@dataclass(frozen=True, slots=True)
class SecretName:
    """A value that is a secret: written as a reference."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number that is written as its source wrote it (0.85)."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedCard:
    """One card as a tool saw it: the tool's total, and the driver's part of that where the tool says it."""

    name: str
    vendor: Vendor
    reported_bytes: int | None = None
    reserved_bytes: int | None = None
    compute_capability: tuple[int, int] | None = None
    uuid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedCard:
    """One line of a host's `gpus`. memory_bytes only for `custom`; note: a comment behind it."""

    model: str
    vendor: Vendor | None = None
    memory_bytes: int | None = None
    compute_capability: tuple[int, int] | None = None
    uuid: str | None = None
    count: int = 1
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedHost:
    """A host as far as the source says; None: it doesn't say."""

    name: str
    address: str | None = None
    os: Os | None = None
    arch: Arch | None = None
    memory_bytes: int | None = None
    unified_memory: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    gpus: tuple[ImportedCard, ...] = ()
    nvlink: tuple[tuple[int, ...], ...] = ()  # islands of linked cards
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """A model: its keys in the order in which they are written."""

    name: str
    settings: tuple[tuple[str, Setting], ...]
    note: str = ""


@dataclass(slots=True)
class Findings:
    """What one import collects: hosts, models, and what the user must know."""

    file: str
    hosts: list[ImportedHost] = field(default_factory=list)
    models: list[ImportedModel] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def say(
        self, code: str, message: str, help_line: str | None = None, *, severity: Severity = "warning", line: int = 1
    ) -> None:
        """Add a diagnostic about the imported file."""
        self.diagnostics.append(
            Diagnostic(
                code=code, message=message, place=Place(file=self.file, line=line), severity=severity, help=help_line
            )
        )


class Refused(Exception):
    """The whole file can't be imported, with the code and sentence that say why. file: None is the one being read."""

    def __init__(
        self,
        code: str,
        message: str,
        help_line: str | None = None,
        line: int = 1,
        column: int = 1,
        file: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help_line = help_line
        self.line = line
        self.column = column
        self.file = file
