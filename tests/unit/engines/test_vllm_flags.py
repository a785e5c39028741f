"""vLLM's command line by release."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslc.engines.vllm_flags import flag_status, flag_table, has_flag, parse_arguments


def problems(*args: str, version: str = "0.26.0") -> list[tuple[str, int, str, str | None]]:
    return [(item.kind, item.index, item.message, item.help) for item in parse_arguments(args, version).problems]


def settings(*args: str, version: str = "0.26.0") -> list[tuple[str, str | None]]:
    parsed = parse_arguments(args, version)
    assert parsed.problems == ()
    return [(item.flag, item.value) for item in parsed.arguments]


def test_dashes_and_underscores_are_the_same_flag() -> None:
    assert settings("--max_model_len", "8192") == settings("--max-model-len=8192") == [("--max-model-len", "8192")]


def test_short_forms_are_their_long_ones() -> None:
    assert settings("-tp", "2", "-pp=3", "-q", "awq") == [
        ("--tensor-parallel-size", "2"),
        ("--pipeline-parallel-size", "3"),
        ("--quantization", "awq"),
    ]


def test_a_switch_takes_no_value_and_has_a_twin() -> None:
    parsed = parse_arguments(("--enforce-eager", "--no-enable-prefix-caching"), "0.26.0").arguments
    assert [(item.flag, item.off) for item in parsed] == [("--enforce-eager", False), ("--enable-prefix-caching", True)]
    assert problems("--enforce-eager=1")[0][0] == "value"


def test_a_negative_number_is_a_value() -> None:
    assert settings("--max-model-len", "-1") == [("--max-model-len", "-1")]


def test_a_json_key_may_be_written_with_a_dot() -> None:
    assert settings("--compilation-config.mode", "3") == [("--compilation-config", "3")]


def test_flags_of_several_values_take_all_of_them() -> None:
    assert settings("--served-model-name", "a", "b", "--port", "1") == [("--served-model-name", "a b"), ("--port", "1")]


def test_a_flag_and_its_value_in_one_item_are_told_to_stand_in_two() -> None:
    assert problems("--enforce-eager", "--max_model_len 2048") == [
        (
            "unknown", 1, "`--max_model_len 2048` is one argument, and vLLM wants the flag and its value as two",
            "write --max_model_len and its value as two items of the list",
        )
    ]  # fmt: skip


def test_an_unknown_flag_is_located_and_its_neighbour_named() -> None:
    assert problems("--dtype", "half", "--enforce-eagr") == [
        ("unknown", 2, "vLLM 0.26.0 has no flag --enforce-eagr", "did you mean --enforce-eager?")
    ]


@pytest.mark.parametrize(
    ("flag", "version", "named"),
    [
        ("--swap-space", "0.26.0", "0.16.0"),
        ("--task", "0.26.0", "--runner and --convert"),
        ("--guided-decoding-backend", "0.32.0", "--structured-outputs-config"),
        ("--rope-scaling", "0.32.0", "--hf-overrides"),
        ("--speculative-model", "0.8.5", "--speculative-config"),
    ],
)
def test_a_removed_flag_names_its_successor_or_its_last_release(flag: str, version: str, named: str) -> None:
    ((kind, index, message, help_line),) = problems(flag, "4", version=version)
    assert (kind, index) == ("removed", 0)
    assert named in f"{message} {help_line}"


def test_a_flag_of_a_later_release_names_it() -> None:
    ((kind, _, message, _),) = problems("--nnodes", "2", version="0.9.2")
    assert kind == "later"
    assert "0.11.2" in message


def test_between_two_samples_the_table_says_that_it_does_not_know() -> None:
    assert flag_status("--calculate-kv-scales", "0.26.0") == "present"
    assert flag_status("--calculate-kv-scales", "0.27.0") == "uncertain"
    assert flag_status("--calculate-kv-scales", "0.29.0") == "removed"
    assert problems("--calculate-kv-scales", version="0.27.0")[0][0] == "uncertain"


def test_a_word_that_is_no_flag_is_refused_where_it_stands() -> None:
    assert problems("--dtype", "half", "extra")[0][:2] == ("positional", 2)


def test_a_flag_without_its_value_is_refused() -> None:
    assert problems("--max-model-len")[0][0] == "value"
    assert problems("--max-model-len", "--enforce-eager")[0][0] == "value"


def test_every_alias_leads_to_a_flag_and_no_release_has_a_flag_before_its_first() -> None:
    table = flag_table()
    assert set(table.aliases.values()) <= set(table.flags)
    for name, (first, last, _) in table.flags.items():
        assert first <= last
        assert has_flag(name, table.sampled[first])


@given(st.lists(st.text(max_size=12), max_size=6))
def test_no_command_line_breaks_the_reader(words: list[str]) -> None:
    parsed = parse_arguments(tuple(words), "0.26.0")
    taken = sum(item.width for item in parsed.arguments)
    assert taken <= len(words)
    assert all(0 <= item.index < len(words) for item in (*parsed.arguments, *parsed.problems))
