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
        "message": redacted(diagnostic.message),
        "help": None if diagnostic.help is None else redacted(diagnostic.help),
        "file": diagnostic.place.file,
        "line": diagnostic.place.line,
        "column": diagnostic.place.column,
        "related": [
            {
                "file": related.place.file,
                "line": related.place.line,
                "column": related.place.column,
                "message": redacted(related.message),
            }
            for related in diagnostic.related
        ],
    }


def render_json(diagnostics: tuple[Diagnostic, ...]) -> str:
    """The report of a command that makes no plan: version 1, the diagnostics, no plan and no files."""
    report = {"version": 1, "diagnostics": [diagnostic_object(d) for d in diagnostics], "plan": None, "files": []}
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"
