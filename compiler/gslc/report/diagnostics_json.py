"""Diagnostics as JSON objects, the form of every report's `diagnostics`."""

from __future__ import annotations

import json
from typing import TypeAlias

from gslc.frontend.tokens import redacted
from gslc.ir.diagnostic import Diagnostic

JsonObject: TypeAlias = dict[str, object]


def diagnostic_object(diagnostic: Diagnostic) -> JsonObject:
    """One diagnostic with its keys in a fixed order."""
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": visible(diagnostic.message),
        "help": None if diagnostic.help is None else visible(diagnostic.help),
        "file": visible(diagnostic.place.file),
        "line": diagnostic.place.line,
        "column": diagnostic.place.column,
        "related": [
            {
                "file": visible(related.place.file),
                "line": related.place.line,
                "column": related.place.column,
                "message": visible(related.message),
            }
            for related in diagnostic.related
        ],
    }


def visible(text: str) -> str:
    """Text without tokens that can be encoded: lone surrogates (file names that are not UTF-8) are shown by number."""
    return redacted(text).encode("utf-8", "backslashreplace").decode("utf-8")


def render_json(diagnostics: tuple[Diagnostic, ...]) -> str:
    """The report of a command that makes no plan: version 1, the diagnostics, no plan and no files."""
    report = {"version": 1, "diagnostics": [diagnostic_object(d) for d in diagnostics], "plan": None, "files": []}
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"
