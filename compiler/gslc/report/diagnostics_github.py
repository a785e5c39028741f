"""Diagnostics as GitHub workflow commands, which show as annotations on the lines of a pull request."""

from __future__ import annotations

from gslc.ir.diagnostic import Diagnostic, Severity
from gslc.report.diagnostics_text import escape

# GitHub shows ten annotations of each type a step and drops the rest without a word.
MAX_EACH = 10
COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "notice"}


def github_annotations(diagnostics: tuple[Diagnostic, ...]) -> str:
    """One line an annotation, errors first, ten of a type; then the rest as plain lines for the log."""
    shown: list[str] = []
    rest: list[Diagnostic] = []
    for severity in COMMANDS:
        of_type = [diagnostic for diagnostic in diagnostics if diagnostic.severity == severity]
        shown.extend(annotation(diagnostic) for diagnostic in of_type[:MAX_EACH])
        rest.extend(of_type[MAX_EACH:])
    if rest:
        shown.append(f"{len(rest)} more in the log:")
        # A line of the log that began with `::` would be a command: these begin with the file, made safe.
        shown.extend(f"  {plain(diagnostic)}" for diagnostic in rest)
    return "".join(f"{line}\n" for line in shown)


def annotation(diagnostic: Diagnostic) -> str:
    """A diagnostic as a workflow command."""
    place = diagnostic.place
    file, title = property_value(place.file), property_value(diagnostic.code)
    properties = f"file={file},line={place.line},col={place.column},title={title}"
    return f"::{COMMANDS[diagnostic.severity]} {properties}::{message_value(sentence(diagnostic))}"


def sentence(diagnostic: Diagnostic) -> str:
    """Message, related places and help in a few lines."""
    lines = [escape(diagnostic.message)]
    lines += [f"{escape(str(related.place))}: {escape(related.message)}" for related in diagnostic.related]
    if diagnostic.help:
        lines.append(f"help: {escape(diagnostic.help)}")
    return "\n".join(lines)


def plain(diagnostic: Diagnostic) -> str:
    """A diagnostic in one line."""
    return escape(f"{diagnostic.place}: {diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}")


def message_value(text: str) -> str:
    """Text as the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def property_value(text: str) -> str:
    """Text as a property of a workflow command."""
    return message_value(escape(text)).replace(":", "%3A").replace(",", "%2C")
