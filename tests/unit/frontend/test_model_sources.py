"""hf://, modelscope://, ollama:// and file://."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslc.frontend.mistake import Mistake
from gslc.frontend.model_sources import model_source
from gslc.ir.inputs import Source

SOURCES = {
    "hf://Qwen/Qwen2.5-7B-Instruct": Source(kind="hf", text="", repository="Qwen/Qwen2.5-7B-Instruct"),
    "hf://a/b@main": Source(kind="hf", text="", repository="a/b", revision="main"),
    "hf://a/b:Q4_K_M": Source(kind="hf", text="", repository="a/b", quantization="Q4_K_M"),
    "hf://a/b@v1:Q4_K_M": Source(kind="hf", text="", repository="a/b", revision="v1", quantization="Q4_K_M"),
    "hf://a/b/*q4*.gguf": Source(kind="hf", text="", repository="a/b", path="*q4*.gguf"),
    "hf://a/b@c0ffee/x/y-00001-of-2.gguf": Source(
        kind="hf", text="", repository="a/b", revision="c0ffee", path="x/y-00001-of-2.gguf"
    ),
    "modelscope://a/b": Source(kind="modelscope", text="", repository="a/b"),
    "ollama://qwen2.5:7b": Source(kind="ollama", text="", repository="qwen2.5", revision="7b"),
    "ollama://library/qwen": Source(kind="ollama", text="", repository="library/qwen"),
    "file:///srv/models/a.gguf": Source(kind="file", text="", path="/srv/models/a.gguf"),
    "file:///srv/models/": Source(kind="file", text="", path="/srv/models"),
}


@pytest.mark.parametrize("text", SOURCES)
def test_a_source_says_where_the_files_are(text: str) -> None:
    wanted = SOURCES[text]
    answer = model_source(text, False)
    assert isinstance(answer, Source)
    assert answer.text == text
    fields = ("kind", "repository", "revision", "path", "quantization")
    assert [getattr(answer, field) for field in fields] == [getattr(wanted, field) for field in fields]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Qwen/Qwen2.5-7B", "did you mean hf://Qwen/Qwen2.5-7B?"),
        ("/srv/a.gguf", "did you mean file:///srv/a.gguf?"),
        ("hff://a/b", "did you mean hf://a/b?"),
        ("https://huggingface.co/a/b", "begin with hf://"),
        ("hf://a", "hf://Qwen/Qwen2.5-7B-Instruct[@revision]"),
        ("hf://a/b/../c", "without '.' and '..'"),
        ("hf://a/b//c", "without '.' and '..'"),
        ("hf://a/b/", "hf://Qwen"),
        ("hf://../b", "hf://Qwen"),
        ("hf://a/b c", "hf://Qwen"),
        ("hf://a/b\n", "hf://Qwen"),
        ("hf://u:p@a/b", "hf://Qwen"),
        ("file://srv/a", "three slashes"),
        ("file:///a/../b", "without '.', '..'"),
        ("file:///", "three slashes"),
        ("ollama://../x", "ollama://qwen2.5:7b"),
        ("", "begin with hf://"),
        ("://", "begin with hf://"),
    ],
)
def test_what_is_no_source_is_refused_with_what_was_meant(text: str, hint: str) -> None:
    answer = model_source(text, True)
    assert isinstance(answer, Mistake)
    assert hint in (answer.help or "")


@given(
    st.text(max_size=60),
    st.sampled_from(["hf://", "modelscope://", "ollama://", "file:///", "file://", "hf://a/b/", ""]),
)
def test_no_source_leads_out_of_its_place(rest: str, scheme: str) -> None:
    answer = model_source(scheme + rest, True)
    if isinstance(answer, Source):
        assert ".." not in (answer.path or "").split("/")
        assert ".." not in answer.repository.split("/")
        assert "\n" not in (answer.path or "") + answer.repository
