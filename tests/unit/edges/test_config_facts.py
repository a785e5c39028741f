"""What is kept of config.json."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gslc.documents.canonical import freeze, sorted_line_of, thaw
from gslc.edges.config_facts import code_files, kept_config, parse_object, tokenizer_length
from gslc.edges.hub import HubError


def test_both_spellings_and_nested_configurations_are_kept() -> None:
    config = {"torch_dtype": "bfloat16", "dtype": "bfloat16", "rope_scaling": {"factor": 8.0}, "rope_parameters": {"rope_theta": 1e6},
              "text_config": {"hidden_size": 8}, "llm_config": {"hidden_size": 8}, "thinker_config": {"text_config": {"hidden_size": 8}}}  # fmt: skip
    assert thaw(dict(kept_config(config))) == config


def test_labels_are_dropped_at_every_depth() -> None:
    assert kept_config(
        {"id2label": {"0": "a"}, "text_config": {"label2id": {}, "n": 1}, "task_specific_params": {}}
    ) == {"text_config": {"n": 1}}


def test_keys_are_sorted_at_every_depth() -> None:
    assert list(kept_config({"b": {"z": 1, "a": 2}, "a": 1})) == ["a", "b"]
    assert sorted_line_of(thaw(dict(kept_config({"b": {"z": 1, "a": 2}, "a": 1})))) == '{"a": 1, "b": {"a": 2, "z": 1}}'


def test_long_lists_and_texts_are_dropped_with_their_key() -> None:
    assert kept_config(
        {
            "a": list(range(5000)),
            "b": "x" * 5000,
            "c": [1, "x" * 5000],
            "d": {"e": list(range(5000))},
            "g": 1,
        }
    ) == {"d": {}, "g": 1}


def test_numbers_that_no_lock_holds_are_kept_at_the_bound() -> None:
    bound = (1 << 63) - 1
    assert kept_config({"a": 10**30, "b": -(10**30), "c": bound, "d": [1 << 63], "e": True}) == {
        "a": bound,
        "b": -bound,
        "c": bound,
        "d": (bound,),
        "e": True,
    }


def test_numbers_without_a_spelling_become_text() -> None:
    assert kept_config({"time_step_limit": [0.0, float("inf")], "x": float("nan")}) == {
        "time_step_limit": (0.0, "inf"),
        "x": "nan",
    }


def test_code_is_reduced_to_its_files() -> None:
    mapping = {
        "AutoConfig": "configuration_x.XConfig",
        "AutoModel": "owner/name--modeling_x.X",
        "AutoTokenizer": [None, "tok.Tok"],
    }
    assert code_files({"auto_map": mapping}, None, {"auto_map": {"AutoProcessor": "proc.P"}}) == (
        "configuration_x.py",
        "owner/name--modeling_x.py",
        "proc.py",
        "tok.py",
    )
    assert kept_config({"auto_map": mapping})["auto_map"] == (
        "configuration_x.py",
        "owner/name--modeling_x.py",
        "tok.py",
    )
    assert code_files({"auto_map": 5}) == ()
    assert code_files({"auto_map": {"a": 5, "b": {"c": "d.E"}}}) == ()


@pytest.mark.parametrize(
    ("raw", "length"),
    [
        ({"model_max_length": 4096}, 4096),
        ({"model_max_length": 10**30}, None),
        ({"model_max_length": 1e30}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_tokenizers_length_is_kept_where_it_is_one(raw: dict[str, object] | None, length: int | None) -> None:
    assert tokenizer_length(raw) == length


@pytest.mark.parametrize("raw", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_a_file_that_is_no_object_is_named(raw: bytes) -> None:
    with pytest.raises(HubError) as refused:
        parse_object(raw, "config.json", "hf://o/m")
    assert refused.value.code == "GS258"
    assert "config.json of hf://o/m" in refused.value.message


values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=20)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=8), values, max_size=6))
def test_what_is_kept_survives_json(config: dict[str, object]) -> None:
    kept = kept_config(config)
    assert freeze(json.loads(sorted_line_of(thaw(dict(kept))))) == kept
