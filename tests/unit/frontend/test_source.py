"""YAML events to documents: what is read, what is refused, and where it stands."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
import yaml
from yaml.scanner import ScannerError

from gslc.frontend import source
from gslc.frontend.source import (
    MAX_DEPTH,
    MAX_DUPLICATES,
    Document,
    EventParser,
    Map,
    ParserEvent,
    Sequence,
    read_document,
    read_past_duplicates,
)
from gslc.ir.diagnostic import Diagnostic


@pytest.fixture(params=["libyaml", "pure"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both parsers: libyaml's, and PyYAML's own where libyaml is missing."""
    if request.param == "pure":
        monkeypatch.delattr(yaml, "CLoader")
    return request.param


def document_of(text: str | bytes) -> Document:
    outcome = read_document(text, "f.yaml")
    assert outcome.value is not None, outcome.diagnostics
    return outcome.value


def refusal_of(text: str | bytes) -> Diagnostic:
    outcome = read_document(text, "f.yaml")
    assert outcome.value is None
    (diagnostic,) = outcome.diagnostics
    return diagnostic


def brief(text: str | bytes) -> str:
    diagnostic = refusal_of(text)
    return f"{diagnostic.place.line}:{diagnostic.place.column} {diagnostic.code}"


def test_scalars_stay_text_and_know_whether_they_were_quoted(parser: str) -> None:
    root = document_of("a: 012\nb: '012'\nc: no\nd: |\n  x\n").root
    assert [(key, value, mark & 1) for key, (value, mark, _) in root.items()] == [
        ("a", "012", 0),
        ("b", "012", 1),
        ("c", "no", 0),
        ("d", "x\n", 1),
    ]


def test_every_key_value_and_item_has_its_place(parser: str) -> None:
    document = document_of("ä: {b: [x,\n  'y']}\n")
    value, mark, key_mark = document.root["ä"]
    assert isinstance(value, Map)
    inner, inner_mark, inner_key = value["b"]
    assert isinstance(inner, Sequence)
    places = [document.place(m) for m in (key_mark, mark, inner_key, inner_mark, inner[0][1], inner[1][1])]
    assert [(place.line, place.column) for place in places] == [(1, 1), (1, 4), (1, 5), (1, 8), (1, 9), (2, 3)]
    assert str(places[-1]) == "f.yaml:2:3"


REFUSED = {
    "an anchor": ("a: &x 1\n", "1:4 GS105"),
    "an anchor at a map": ("a: &x {b: 1}\n", "1:4 GS105"),
    "an anchor at the root": ("&x\na: 1\n", "1:1 GS105"),
    "an alias": ("a: *x\n", "1:4 GS105"),
    "an alias as a key": ("? *x\n: 1\n", "1:3 GS105"),
    "an alias in a list": ("a: [1, *x]\n", "1:8 GS105"),
    "a tag": ("a: !!int 1\n", "1:4 GS106"),
    "a local tag": ("a: !x 1\n", "1:4 GS106"),
    "the tag !": ("a: ! 1\n", "1:4 GS106"),
    "a python tag": ("a: !!python/object/apply:os.system [id]\n", "1:4 GS106"),
    "a tag at the root": ("!!map\na: 1\n", "1:1 GS106"),
    "a merge key": ("a: 1\n<<: {b: 1}\n", "2:1 GS107"),
    "a duplicate key": ("a: 1\nb: 2\na: 3\n", "3:1 GS108"),
    "a duplicate key that is escaped": ('host: 1\n"ho\\u0073t": 2\n', "2:1 GS108"),
    "a duplicate key in a flow map": ("a: {b: 1, b: 2}\n", "1:11 GS108"),
    "a second document": ("a: 1\n---\nb: 1\n", "2:1 GS109"),
    "a second document after an end": ("a: 1\n...\nb: 1\n", "3:1 GS109"),
    "a directive after the document": ("a: 1\n...\n%TAG ! x\n---\nb: 1\n", "3:1 GS109"),
    "a list as a key": ("? [a]\n: 1\n", "1:3 GS111"),
    "a map as a key": ("{a: 1}: 1\n", "1:1 GS111"),
    "a nested map as a key": ("x: {{a: 1}: 1}\n", "1:5 GS111"),
    "an empty key": ('"": 1\n', "1:1 GS111"),
    "no key": (": 1\n", "1:1 GS100"),
    "a directive": ("%YAML 1.2\n---\na: 1\n", "1:1 GS112"),
    "a directive after comments": ("# x\n\n...\n%TAG ! x\n---\na: 1\n", "4:1 GS112"),
    "an empty file": ("", "1:1 GS104"),
    "a file of comments": ("# nothing\n", "1:1 GS104"),
    "a list": ("- a\n", "1:1 GS104"),
    "a word": ("hello\n", "1:1 GS104"),
    "an empty document": ("---\n...\n", "2:1 GS104"),
    "a NUL": ("a: \0\n", "1:4 GS102"),
    "an escape character": ("a: x\x1b[2J\n", "1:5 GS102"),
    "a bidi mark": ("a: x # \u202e evil\n", "1:8 GS102"),
    "a bidi isolate": ("a: \u2066x\n", "1:4 GS102"),
    "a line separator": ("a: x\u2028b: y\n", "1:5 GS102"),
    "a next line": ("a: x\x85b: y\n", "1:5 GS102"),
    "a zero width space": ("a\u200b: 1\n", "1:2 GS102"),
    "a byte order mark inside": ("a: \ufeffx\n", "1:4 GS102"),
    "a lone surrogate": ("a: \ud800\n", "1:4 GS102"),
    "a lone carriage return": ("a: 1\rb: 2\n", "1:5 GS102"),
    "an escaped NUL": ('a: "x\\0"\n', "1:4 GS102"),
    "an escaped bidi mark": ('a: 1\nb: "\\u202e"\n', "2:4 GS102"),
    "an escaped bidi mark in a key": ('"\\u202e": 1\n', "1:1 GS102"),
    "a tab as indentation": ("a:\n\tb: 1\n", "2:1 GS100"),
    "two colons": ("a: b: c\n", "1:5 GS100"),
    "an open quote": ("a: 'x\n", "2:1 GS100"),
    "an open bracket": ("a: [x\n", "2:1 GS100"),
    "a stray bracket": ("a: 1\n]\n", "2:1 GS100"),
    "an escape beyond Unicode": ('a: 1\nb: "\\U99999999"\n', None),
    "a Latin-1 byte": (b"a: 1\nb: \xe9\n", "2:4 GS101"),
    "UTF-16": ("a: 1\n".encode("utf-16"), "1:1 GS101"),
    "UTF-16 without a mark": ("a: 1\n".encode("utf-16-le"), "1:2 GS102"),
    "UTF-32": ("a: 1\n".encode("utf-32"), "1:1 GS101"),
    "an overlong encoding": (b"a: \xc0\xaf\n", "1:4 GS101"),
    "a surrogate in UTF-8": (b"a: \xed\xa0\x80\n", "1:4 GS101"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_hides_meaning_is_refused_where_it_stands(case: str, parser: str) -> None:
    text, expected = REFUSED[case]
    diagnostic = refusal_of(text)
    assert diagnostic.help
    if expected is not None:
        assert brief(text) == expected
    else:
        assert diagnostic.code == "GS100"
        assert diagnostic.place.line == 2


def test_a_duplicate_names_the_first_place(parser: str) -> None:
    (related,) = refusal_of("a:\n  b: 1\n  b: 2\n").related
    assert str(related.place) == "f.yaml:2:3"


def test_all_duplicates_are_told_at_once_and_before_what_ends_the_reading(parser: str) -> None:
    refused = read_document("a: 1\na: {b: 1, b: [x]}\na: 3\nc: &x 1\n", "f.yaml")
    assert refused.value is None
    told = [f"{found.place.line}:{found.place.column} {found.code}" for found in refused.diagnostics]
    assert told == ["2:1 GS108", "2:11 GS108", "3:1 GS108", "4:4 GS105"]


def test_past_a_duplicate_the_first_value_holds(parser: str) -> None:
    document = read_past_duplicates("a: 1\nb: 2\na: {c: 3, c: 4}\n", "f.yaml").value
    assert document is not None
    assert [(key, value) for key, (value, _, _) in document.root.items()] == [("a", "1"), ("b", "2")]
    assert len(document.duplicates) == 2


def test_duplicates_without_end_end_the_reading(parser: str) -> None:
    refused = read_document("a: 1\n" * 100_000, "f.yaml")
    assert len(refused.diagnostics) == MAX_DUPLICATES + 1


ACCEPTED = {
    "a byte order mark": b"\xef\xbb\xbfa: 1\n",
    "Windows line ends": "a: 1\r\nb: 2\r\n",
    "an explicit start": "---\na: 1\n",
    "an explicit end": "a: 1\n...\n# done\n",
    "a comment at the end": "a: 1\n# x",
    "a quoted <<": "'<<': 1\n",
    "emoji and scripts": "a: 'κόσμε 👩\u200d🔬'\n",
    "a tab in a value": "a: 'x\ty'\n",
    "a line break by escape": 'a: "x\\ny"\n',
    "no line end": "a: 1",
    "an explicit key": "? a\n: 1\n",
    "a percent sign in a value": "a: 50%\n",
    "JSON": '{"a": [1, {"b": null}]}',
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_people_write_is_read(case: str, parser: str) -> None:
    document_of(ACCEPTED[case])


def test_columns_are_right_after_a_byte_order_mark(parser: str) -> None:
    assert brief(b"\xef\xbb\xbfa: !x 1\n") == "1:4 GS106"


def test_columns_count_characters_with_windows_line_ends(parser: str) -> None:
    assert brief("ü: 1\r\nb: *x\r\n") == "2:4 GS105"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_counted_on_events(opening: str, parser: str) -> None:
    within, beyond = ("a: " if opening != "- " else "a:\n") + opening * (MAX_DEPTH - 1), "a: " + opening * MAX_DEPTH
    if opening == "[":
        document_of(f"{within}{']' * (MAX_DEPTH - 1)}\n")
    if opening == "- ":
        document_of(f"{within}x\n")
        beyond = "a:\n" + opening * MAX_DEPTH + "x"
    assert refusal_of(beyond).code == "GS110"


class CountsLevels:
    """Like libyaml 0.2.6: looks ahead over what may be a key, and refuses a deep bracket before it tells of the first.

    It refuses the 901st; libyaml the 1,001st, so that a real 0.2.6 below it has nothing to refuse.
    """

    def __init__(self, text: str, opened: Callable[[str], EventParser]) -> None:
        self.parser = opened(text)
        brackets = [found.start() for found in re.finditer(r"[\[{]", text)]
        self.beyond = brackets[900] if len(brackets) > 900 else None
        self.told = 0

    def get_event(self) -> ParserEvent:
        self.told += 1
        if self.beyond is not None and self.told > 3:
            mark = yaml.Mark("", self.beyond, 0, self.beyond, None, None)
            raise ScannerError("while increasing flow level", None, "exceeded maximum nesting depth", mark)
        return self.parser.get_event()


@pytest.mark.parametrize(
    ("opening", "where"), [("[", "1:35 GS110"), ("{a: ", "1:128 GS110"), ("{", "1:5 GS111")], ids=["[", "{a: ", "{"]
)
def test_a_parser_that_counts_levels_itself_changes_no_place(
    opening: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a: " + opening * 5_000
    assert brief(text) == where
    opened = source.open_parser
    monkeypatch.setattr(source, "open_parser", lambda text: CountsLevels(text, opened))
    assert brief(text) == where
    twice = read_document("b: 1\nb: 2\n" + text, "f.yaml").diagnostics
    assert [found.code for found in twice] == ["GS108", where.split()[1]]


HOSTILE = {
    "50,000 [": "[" * 50_000,
    "50,000 [ below a key": "a: " + "[" * 50_000,
    "20,000 {a: ": "{a: " * 20_000,
    "20,000 ? ": "? " * 20_000,
    "20,000 - ": "- " * 20_000,
    "20,000 nested keys": "".join(f"{' ' * n}a:\n" for n in range(2_000)),
    "a billion laughs": "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(1_000)),
    "merge bomb": "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 5_000)),
    "100,000 tags": "".join(f"%TAG !a{n}! b\n" for n in range(100_000)) + "---\na: 1\n",
    "100,000 tags behind": "a: 1\n...\n" + "".join(f"%TAG !a{n}! b\n" for n in range(100_000)),
    "100,000 documents": "---\na: 1\n" * 100_000,
    "a number of a million digits": "a: " + "9" * 1_000_000,
    "a key of a million letters": "a" * 1_000_000 + ": 1",
    "an open quote of a megabyte": "a: '" + "x\n" * 500_000,
    "a million empty lines": "\n" * 1_000_000,
    "a million comments": "#\n" * 1_000_000,
    "a million comments behind": "a: 1\n" + "#\n" * 1_000_000,
    "a million backslashes": 'a: "' + "\\\\" * 500_000 + '"',
    "200,000 equal keys": "a: 1\n" * 200_000,
    "a megabyte of colons": ":" * 1_000_000,
    "a megabyte of question marks": "?" * 1_000_000,
    "a megabyte of exclamation marks": "!" * 1_000_000,
    "a megabyte of ampersands": "&" * 1_000_000,
    "a megabyte of stars": "*" * 1_000_000,
    "a megabyte of NULs": "\0" * 1_000_000,
    "a megabyte of dashes": "-" * 1_000_000,
    "a megabyte of commas": "a: [" + "," * 1_000_000,
    "a megabyte of quotes": "'" * 1_000_000,
    "a megabyte of tabs": "\t" * 1_000_000,
    "a megabyte of percent signs": "%" * 1_000_000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_documents_end_soon(case: str) -> None:
    began = time.process_time()
    read_document(HOSTILE[case], "f.yaml")
    assert time.process_time() - began < 2


@pytest.mark.parametrize("case", [case for case in HOSTILE if len(HOSTILE[case]) < 200_000])
def test_both_parsers_refuse_hostile_documents_alike(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = brief(HOSTILE[case])
    monkeypatch.delattr(yaml, "CLoader")
    assert brief(HOSTILE[case]) == expected


def test_a_file_with_too_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_VALUES", 3)
    document_of("a: [b, c]\n"[:6] + "]\n")
    assert brief("a: [b, c]\n") == "1:8 GS103"


def test_a_file_that_is_too_long_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gslc.frontend.text.MAX_TEXT_BYTES", 10)
    assert brief(b"a: 1234567890\n") == "1:1 GS103"
    document_of("a: 1\n")


@pytest.mark.parametrize("number", [*range(0x20), 0x7F])
def test_of_the_controls_only_tab_and_line_break_are_text(number: int) -> None:
    text = f"a: 'x{chr(number)}y'\nb: 1\n"
    if number in (0x09, 0x0A):
        document_of(text)
    else:
        assert brief(text) == "1:6 GS102"
        assert f"U+{number:04X}" in refusal_of(text).message


def test_every_printable_character_is_text() -> None:
    printable = "".join(chr(number) for number in range(0x20, 0x7F) if chr(number) != "'")
    assert document_of(f"a: '{printable}'\n").root["a"][0] == printable


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\tb: 1\n", "indent with spaces: this is a tab"),
        ("a: @x\n", "put the value in quotes: it starts with '@'"),
        ("a: `x\n", "put the value in quotes: it starts with '`'"),
        ("a: b: c\n", "put the value in quotes if it contains ': ', or start a new line for the next key"),
        ("a: 1\nb\nc: 2\n", "write: key: value"),
        ("a: [1\n", "check the indentation and the quotes of this line and the one before"),
    ],
)
def test_a_syntax_error_says_what_mends_it(text: str, hint: str, parser: str) -> None:
    assert refusal_of(text).help == hint


def test_an_empty_key_stands_where_it_is() -> None:
    assert brief('a: 1\nb: {c: 1, "": 2}\n') == "2:11 GS111"
    assert brief('a: 1\nb: {c: 1, "\\u202e": 2}\n') == "2:11 GS102"
    assert brief("a: 1\nb: {c: 1, <<: {d: 1}}\n") == "2:11 GS107"


def test_an_error_at_the_end_stands_inside_the_text(parser: str) -> None:
    assert refusal_of("a: 'x").place.line == 1
    assert refusal_of("a: [x\n\n").place.line <= 3
