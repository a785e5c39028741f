"""Diagnostics in their four forms."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gslc.ir.diagnostic import Diagnostic, Place, Related, Severity
from gslc.report.diagnostics_github import github_annotations
from gslc.report.diagnostics_json import diagnostic_object, render_json
from gslc.report.diagnostics_sarif import sarif_log
from gslc.report.diagnostics_text import escape, render_text

TOKEN = "hf_" + "a" * 34
TEXT = "version: 1\nname: Lab\nmodels:\n  chat: {source: x}\n"


def mistake(
    message: str = "name is 'Lab'",
    *,
    code: str = "GS140",
    file: str = "cluster.yaml",
    line: int = 2,
    column: int = 7,
    severity: Severity = "error",
    help_text: str | None = "did you mean lab?",
    related: tuple[Related, ...] = (),
) -> Diagnostic:
    place = Place(file=file, line=line, column=column)
    return Diagnostic(code=code, message=message, place=place, severity=severity, help=help_text, related=related)


def related(message: str = "first given here", line: int = 1) -> Related:
    return Related(place=Place(file="cluster.yaml", line=line, column=1), message=message)


# ------------------------------------------------------------------ text


def test_text_shows_place_code_excerpt_and_help() -> None:
    assert render_text((mistake(),), {"cluster.yaml": TEXT}) == (
        "cluster.yaml:2:7: error[GS140]: name is 'Lab'\n"
        " 2 | name: Lab\n"
        "   |       ^\n"
        "  help: did you mean lab?\n"
        "1 error\n"
    )


def test_text_shows_related_places() -> None:
    text = render_text((mistake(related=(related(),)),), {"cluster.yaml": TEXT})
    assert "  cluster.yaml:1:1: note: first given here\n 1 | version: 1\n   | ^\n" in text


def test_text_counts_what_it_shows() -> None:
    found = (mistake(), mistake(), mistake(severity="warning"), mistake(severity="note"))
    assert render_text(found, {}).endswith("\n2 errors, 1 warning, 1 note\n")


def test_no_diagnostics_are_no_text() -> None:
    assert render_text((), {}) == ""


def test_text_without_the_source_has_no_excerpt() -> None:
    assert render_text((mistake(line=99),), {"cluster.yaml": TEXT}).count("\n") == 3
    assert render_text((mistake(),), {"other.yaml": TEXT}).count("\n") == 3


def test_colour_comes_only_when_told_to() -> None:
    assert "\x1b" not in render_text((mistake(),), {"cluster.yaml": TEXT})
    assert "\x1b[1;31merror[GS140]\x1b[0m" in render_text((mistake(),), {"cluster.yaml": TEXT}, colour=True)


def test_a_message_can_not_steer_the_terminal() -> None:
    text = render_text((mistake("x\x1b[2Jy\nz\u202e\x07"),), {"cluster.yaml": "a\x1b[31m\nname: \x9b\u2066Lab\n"})
    assert "x\\x1b[2Jy\\nz\\u202e\\x07" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", text)


@given(st.text(max_size=60), st.text(max_size=60), st.integers(0, 5), st.integers(0, 80))
def test_no_control_character_comes_through(message: str, source: str, line: int, column: int) -> None:
    text = render_text((mistake(message, line=line, column=column, help_text=message),), {"cluster.yaml": source})
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", text)
    assert text.encode("utf-8")


def test_a_caret_stands_below_its_column_behind_tabs_and_wide_characters() -> None:
    lines = render_text((mistake(line=1, column=5),), {"cluster.yaml": "\t漢字:x\n"}).split("\n")
    assert lines[1] == " 1 |     漢字:x"
    assert lines[2] == "   |         " + " ^"


def test_a_long_line_is_cut_around_its_column() -> None:
    source = "a" * 500 + "X" + "b" * 500
    lines = render_text((mistake(line=1, column=501),), {"cluster.yaml": source}).split("\n")
    assert len(lines[1]) < 200
    assert lines[1][lines[2].index("^")] == "X"


def test_the_line_of_a_literal_secret_is_never_shown() -> None:
    source = f"a: 1\nkey: sk-short\nother: {TOKEN}\n"
    found = (mistake(code="GS160", line=2, column=6), mistake(line=2, column=1), mistake(line=3, column=1))
    text = render_text(found, {"cluster.yaml": source})
    assert "sk-short" not in text
    assert TOKEN not in text
    assert "other: hf_*" in text


def test_escape_leaves_ordinary_text_alone() -> None:
    assert escape("größer als 24 GiB → 😀 'x'") == "größer als 24 GiB → 😀 'x'"


# ------------------------------------------------------------------ JSON


def test_json_has_the_keys_of_the_interface_in_their_order() -> None:
    assert list(diagnostic_object(mistake())) == [
        "code",
        "severity",
        "message",
        "help",
        "file",
        "line",
        "column",
        "related",
    ]
    assert diagnostic_object(mistake(related=(related(),), help_text=None)) == {
        "code": "GS140",
        "severity": "error",
        "message": "name is 'Lab'",
        "help": None,
        "file": "cluster.yaml",
        "line": 2,
        "column": 7,
        "related": [{"file": "cluster.yaml", "line": 1, "column": 1, "message": "first given here"}],
    }


def test_a_json_report_is_one_object() -> None:
    report = json.loads(render_json((mistake(),)))
    assert (report["version"], report["plan"], report["files"]) == (1, None, [])
    assert len(report["diagnostics"]) == 1


# ------------------------------------------------------------------ GitHub


def test_an_annotation_names_file_line_column_and_code() -> None:
    assert github_annotations((mistake(),)) == (
        "::error file=cluster.yaml,line=2,col=7,title=GS140::name is 'Lab'%0Ahelp: did you mean lab?\n"
    )


def test_severities_have_githubs_names() -> None:
    lines = github_annotations((mistake(severity="note"), mistake(severity="warning"), mistake())).split("\n")
    assert [line.partition(" ")[0] for line in lines[:3]] == ["::error", "::warning", "::notice"]


def test_an_annotation_can_not_be_broken_out_of() -> None:
    text = github_annotations((mistake("100%\r\n::set-output name=x::y", file="a,b:c%\n.yaml"),))
    assert text.count("\n") == 1
    assert "file=a%2Cb%3Ac%25\\n.yaml," in text
    assert "::100%25\\r\\n::set-output" in text


def test_ten_of_a_type_are_annotations_and_the_rest_is_in_the_log() -> None:
    found = (*tuple(mistake(f"m{number}", line=number + 1) for number in range(13)), mistake("w", severity="warning"))
    lines = github_annotations(found).splitlines()
    assert sum(line.startswith("::error") for line in lines) == 10
    assert sum(line.startswith("::warning") for line in lines) == 1
    assert lines[11] == "3 more in the log:"
    assert lines[12] == "  cluster.yaml:11:7: error[GS140]: m10"


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=30))
def test_every_line_is_a_command_or_harmless(texts: list[tuple[str, str]]) -> None:
    found = tuple(mistake(message, file=file, help_text=message) for message, file in texts)
    for line in github_annotations(found).split("\n"):
        if not line.startswith(("::error file=", "  ")):
            assert line == "" or line.endswith(" more in the log:")


# ------------------------------------------------------------------ SARIF

URI = {"type": "string", "pattern": r"^[A-Za-z0-9%._~/+:@!$&'()*,;=-]+$"}
MESSAGE = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "markdown": {"type": "string"}},
    "required": ["text"],
}
LOCATION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["physicalLocation"],
    "properties": {
        "id": {"type": "integer", "minimum": 0},
        "message": MESSAGE,
        "physicalLocation": {
            "type": "object",
            "additionalProperties": False,
            "required": ["artifactLocation", "region"],
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["uri"],
                    "properties": {"uri": URI, "uriBaseId": {"const": "%SRCROOT%"}},
                },
                "region": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "startLine": {"type": "integer", "minimum": 1},
                        "startColumn": {"type": "integer", "minimum": 1},
                    },
                },
            },
        },
    },
}
# The part of SARIF 2.1.0 that is written here, closed, so that a misspelt key is seen.
SARIF = {
    "type": "object",
    "additionalProperties": False,
    "required": ["$schema", "version", "runs"],
    "properties": {
        "$schema": {"const": "https://json.schemastore.org/sarif-2.1.0.json"},
        "version": {"const": "2.1.0"},
        "runs": {
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["tool", "results"],
                "properties": {
                    "originalUriBaseIds": {"additionalProperties": {"properties": {"description": MESSAGE}}},
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["name"],
                                "properties": {
                                    "name": {"const": "gslc"},
                                    "version": {"type": "string"},
                                    "semanticVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
                                    "rules": {
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "additionalProperties": False,
                                            "required": ["id"],
                                            "properties": {
                                                "id": {"type": "string"},
                                                "name": {"type": "string"},
                                                "shortDescription": MESSAGE,
                                                "fullDescription": MESSAGE,
                                                "help": MESSAGE,
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "results": {
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": MESSAGE,
                                "locations": {"items": LOCATION},
                                "relatedLocations": {"uniqueItems": True, "items": LOCATION},
                                "partialFingerprints": {"additionalProperties": {"type": "string"}},
                            },
                        }
                    },
                },
            },
        },
    },
}


def run_of(*found: Diagnostic) -> dict[str, list[dict[str, object]]]:
    log = json.loads(sarif_log(found))
    Draft202012Validator(SARIF).validate(log)
    (run,) = log["runs"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    return run


def test_a_sarif_log_has_the_form_of_the_standard() -> None:
    run = run_of(mistake(related=(related(), related("and here"))), mistake(code="GS100", severity="warning"))
    assert [result["level"] for result in run["results"]] == ["error", "warning"]
    assert run["results"][0]["message"] == {"text": "name is 'Lab'\nhelp: did you mean lab?"}


def test_a_clean_run_is_a_log_without_results() -> None:
    assert run_of()["results"] == []


def fingerprints(*found: Diagnostic) -> list[object]:
    return [result["partialFingerprints"] for result in run_of(*found)["results"]]


def test_a_fingerprint_survives_moved_lines_and_tells_twins_apart() -> None:
    assert fingerprints(mistake(line=2)) == fingerprints(mistake(line=9))
    one, two = fingerprints(mistake(line=2), mistake(line=9))
    assert one != two
    assert fingerprints(mistake("a")) != fingerprints(mistake("b"))
    assert fingerprints(mistake(file="a")) != fingerprints(mistake(file="b"))


@pytest.mark.parametrize(
    ("file", "uri", "based"),
    [
        ("cluster.yaml", "cluster.yaml", True),
        ("./a b/ü.yaml", "a%20b/%C3%BC.yaml", True),
        ("/etc/x.yaml", "file:///etc/x.yaml", False),
        ("<stdin>", "%3Cstdin%3E", True),
    ],
)
def test_a_path_is_a_uri_below_the_repository(file: str, uri: str, based: bool) -> None:
    text = sarif_log((mistake(file=file),))
    assert f'"uri": "{uri}"' in text
    assert ('"uriBaseId": "%SRCROOT%"' in text) is based


def test_rules_carry_their_documentation_once() -> None:
    (rule,) = run_of(mistake(), mistake())["tool"]["driver"]["rules"]  # type: ignore[call-overload]
    assert rule["id"] == "GS140"
    assert "gslc explain GS140" in rule["help"]["text"]


def test_a_code_of_a_plug_in_has_a_rule_too() -> None:
    assert "plug-in" in sarif_log((mistake(code="XY001"),))


def test_more_than_github_takes_is_cut_errors_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gslc.report.diagnostics_sarif.MAX_RESULTS", 2)
    run = run_of(mistake("n", severity="note"), mistake("w", severity="warning"), mistake("e"))
    assert [result["level"] for result in run["results"]] == ["error", "warning"]


@given(st.text(max_size=40), st.text(min_size=1, max_size=20))
def test_any_text_can_be_written(message: str, file: str) -> None:
    for text in (message, message + "\ud800"):
        found = (mistake(text, file=file + "\udc80", related=(related(text),)),)
        for form in (render_text(found, {}), render_json(found), github_annotations(found), sarif_log(found)):
            form.encode("utf-8")


# ------------------------------------------------------------------ all


def test_no_form_prints_a_token() -> None:
    found = (mistake(f"x {TOKEN}", help_text=f"y {TOKEN}", related=(related(f"z {TOKEN}"),)),)
    forms = (
        render_text(found, {"cluster.yaml": f"a\n{TOKEN}\n"}), render_json(found), github_annotations(found), sarif_log(found)
    )  # fmt: skip
    assert [TOKEN in form for form in forms] == [False] * 4
