"""What a stage answers: a value, the decisions behind it, and what is wrong with the input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, Literal, TypeAlias, TypeVar

from gslc.ir.record import dataclass

T_co = TypeVar("T_co", covariant=True)

Severity: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A position in an input file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """A second place that a diagnostic speaks of ("first given here")."""

    place: Place
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One mistake, doubt or remark, where it stands, and the one action that mends it."""

    code: str
    message: str
    place: Place
    severity: Severity = "error"
    help: str | None = None
    related: tuple[Related, ...] = ()


def sort_key(diagnostic: Diagnostic) -> tuple[str, int, int, str, str]:
    """The order in which diagnostics are reported: by place, then code, then words."""
    place = diagnostic.place
    return (place.file, place.line, place.column, diagnostic.code, diagnostic.message)


# ------------------------------------------------------------------ reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """`what` was not considered because a rule forbids it; `detail` says the rule with the values compared."""

    what: str
    rule: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """`what` was considered and is too small: bytes (or ports, GPUs) needed against available in `dimension`."""

    what: str
    dimension: str
    needed: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outranked:
    """`what` would have done, but another choice was better; lower scores win, compared left to right."""

    what: str
    score: tuple[int, ...]
    best: tuple[int, ...]
    detail: str = ""


Refusal: TypeAlias = Excluded | Exhausted | Outranked
Evidence: TypeAlias = str | int | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One choice: what was chosen for whom, by which rule, from which values, and what was refused.

    scope "instance" decisions depend on that instance's own input and seat alone and are written to plan.json;
    "fleet" decisions depend on what else is placed and are shown by explain and the reports only.
    """

    subject: str
    topic: str
    chosen: str
    rule: str
    because: str
    evidence: tuple[tuple[str, Evidence], ...] = ()
    rejected: tuple[Refusal, ...] = ()
    place: Place | None = None
    scope: Literal["instance", "fleet"] = "instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T_co]):
    """The answer of a stage. `value` is None only when an error diagnostic says why."""

    value: T_co | None
    decisions: tuple[Decision, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def ok(self) -> bool:
        """True when there is a value and no error."""
        return self.value is not None and not has_errors(self.diagnostics)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """True when any diagnostic is an error."""
    return any(diagnostic.severity == "error" for diagnostic in diagnostics)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeEntry:
    """The documentation entry of a diagnostic code: a title, what it means, and what to do."""

    title: str
    meaning: str
    remedy: str


CodeTable: TypeAlias = Mapping[str, CodeEntry]
