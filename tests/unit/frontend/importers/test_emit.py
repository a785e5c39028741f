"""The emitter: what goes in comes out of the reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslc.frontend.importers.emit import comment, document, scalar, size
from gslc.frontend.importers.records import ImportedModel, Number, SecretName
from gslc.frontend.source import read_document
from gslc.frontend.text import FORBIDDEN

# The reader refuses characters that a reviewer would not see, even escaped; what holds them is left out of an import.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(
    lambda text: not FORBIDDEN.search(text) and "\r" not in text
)


@given(text=TEXT)
def test_a_scalar_is_read_back(text: str) -> None:
    for line in (f"k: {scalar(text)}\n", f"k: [{scalar(text)}, x]\n", f"k: {{a: {scalar(text)}}}\n"):
        read = read_document(line, "f")
        assert read.value is not None, (line, read.diagnostics)
        node = read.value.root["k"][0]
        value = (
            node if isinstance(node, str) else next(iter(node.values()))[0] if isinstance(node, dict) else node[0][0]
        )
        assert value == text


@given(text=TEXT)
def test_a_scalar_is_text_for_every_reader_of_yaml(text: str) -> None:
    import yaml

    assert yaml.safe_load(f"k: {scalar(text)}\n") == {"k": text}


@given(text=TEXT)
def test_a_comment_is_one_line_that_says_nothing(text: str) -> None:
    read = read_document(f"k: v  {comment(text)}\nl: w\n", "f")
    assert read.value is not None
    assert {key: value[0] for key, value in read.value.root.items()} == {"k": "v", "l": "w"}


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "on",
        "22:22",
        "1e3",
        "0x10",
        "~",
        "null",
        "1.5",
        "",
        " x",
        "x ",
        "- a",
        "a: b",
        "a #b",
        "*x",
        "&x",
        "!x",
        "{",
        "2024-01-01",
        "nan",
    ],
)
def test_what_could_be_something_else_is_quoted(text: str) -> None:
    assert scalar(text).startswith('"')


@pytest.mark.parametrize(
    "text", ["NVIDIA GeForce RTX 4090", "hf://Qwen/Qwen2.5-7B-Instruct", "file:///srv/a.gguf", "r1", "a/b@c"]
)
def test_what_is_plainly_text_stays_plain(text: str) -> None:
    assert scalar(text) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(24 * 2**30, "24GiB"), (24083 * 2**20, "24083MiB"), (131830716 * 1024, "131830716KiB"), (5, "5B")],
)
def test_a_size_is_exact(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


def test_a_long_list_has_one_item_a_line() -> None:
    words = tuple(f"--a-rather-long-flag-{n}" for n in range(9))
    model = ImportedModel(
        name="m",
        settings=(("args", words), ("gpu_memory_utilization", Number("0.85")), ("env", {"A": SecretName("s")})),
    )
    lines = document(["x"], [], [model]).splitlines()
    assert lines[3] == "    args:"
    assert lines[4] == '      - "--a-rather-long-flag-0"'
    assert "      A: {secret: s}" in lines
