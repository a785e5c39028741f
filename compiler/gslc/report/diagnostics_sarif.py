"""Diagnostics as SARIF 2.1.0, which code scanning shows as alerts and follows from commit to commit."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TypeAlias
from urllib.parse import quote

from gslc import __version__
from gslc.ir.codes import all_codes
from gslc.ir.diagnostic import CodeEntry, Diagnostic, Place, Severity
from gslc.report.diagnostics_json import visible

JsonObject: TypeAlias = dict[str, object]

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "%SRCROOT%"
LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "note"}
MAX_RESULTS = 25_000  # what GitHub takes in one run
UNLISTED = CodeEntry(
    title="a diagnostic of a plug-in", meaning="Its code is not in gslc's own table.", remedy="See the plug-in's notes."
)


def sarif_log(diagnostics: tuple[Diagnostic, ...]) -> str:
    """A SARIF log with one run, errors first where they are more than GitHub takes."""
    by_severity = sorted(diagnostics, key=lambda diagnostic: list(LEVELS).index(diagnostic.severity))
    kept = by_severity[:MAX_RESULTS] if len(diagnostics) > MAX_RESULTS else list(diagnostics)
    codes = sorted({diagnostic.code for diagnostic in kept})
    table = all_codes() if codes else {}
    run: JsonObject = {
        "tool": {
            "driver": {
                "name": "gslc",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [rule(code, table.get(code, UNLISTED)) for code in codes],
            }
        },
        "originalUriBaseIds": {ROOT: {"description": {"text": "the root of the checked-out repository"}}},
        "columnKind": "unicodeCodePoints",
        "results": results(kept, codes),
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=1) + "\n"


def rule(code: str, entry: CodeEntry) -> JsonObject:
    """The rule of a code, from its documentation entry.

    There is no helpUri: it must be absolute (SARIF 2.1.0, 3.49.12), and the entry itself stands here.
    """
    return {
        "id": code,
        "name": code,
        "shortDescription": {"text": entry.title},
        "fullDescription": {"text": entry.meaning},
        "help": {
            "text": f"{entry.meaning}\n\n{entry.remedy}\n\nMore: gslc explain {code}",
            "markdown": f"{entry.meaning}\n\n**{entry.remedy}**\n\nMore: `gslc explain {code}`",
        },
    }


def results(diagnostics: list[Diagnostic], codes: list[str]) -> list[JsonObject]:
    """One result a diagnostic."""
    seen: Counter[str] = Counter()
    found = []
    for diagnostic in diagnostics:
        words = f"{diagnostic.code}\0{diagnostic.place.file}\0{diagnostic.message}"
        seen[words] += 1
        found.append(
            {
                "ruleId": diagnostic.code,
                "ruleIndex": codes.index(diagnostic.code),
                "level": LEVELS[diagnostic.severity],
                "message": {"text": message(diagnostic)},
                "locations": [location(diagnostic.place)],
                "relatedLocations": [
                    {"id": number, **location(related.place), "message": {"text": visible(related.message)}}
                    for number, related in enumerate(diagnostic.related)
                ],
                "partialFingerprints": {"gslcDiagnostic/v1": fingerprint(words, seen[words])},
            }
        )
    return found


def message(diagnostic: Diagnostic) -> str:
    """The sentence, and the help after it."""
    text = visible(diagnostic.message)
    return f"{text}\nhelp: {visible(diagnostic.help)}" if diagnostic.help else text


def location(place: Place) -> JsonObject:
    """A place as a physical location: repository-relative where the path is, else a file URI (SARIF 2.1.0, 3.4.3)."""
    path = visible(place.file).replace("\\", "/").removeprefix("./")
    absolute = path.startswith("/")
    artifact: JsonObject = {"uri": f"file://{quote(path)}"} if absolute else {"uri": quote(path), "uriBaseId": ROOT}
    return {
        "physicalLocation": {
            "artifactLocation": artifact,
            "region": {"startLine": place.line, "startColumn": place.column},
        }
    }


def fingerprint(words: str, number: int) -> str:
    """What stays the same when lines move: code, file and sentence, and which of several alike it is."""
    return hashlib.sha256(f"{words}\0{number}".encode("utf-8", "backslashreplace")).hexdigest()[:32]
