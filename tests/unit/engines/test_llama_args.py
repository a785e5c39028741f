"""Engine arguments, read as the engine reads them."""

from __future__ import annotations

import re

import pytest

from gslc.engines.llama_args import ParsedArgs, merge_argv, parse_args
from gslc.engines.llama_profile import profile_of
from gslc.engines.llama_settings import ALL_LAYERS

SERVER = profile_of("llama.cpp", "b11669")
BOX = profile_of("llama-box", "v0.0.171")
assert SERVER
assert BOX


def read(*args: str) -> ParsedArgs:
    """Arguments of llama-server."""
    return parse_args(args, SERVER)


def codes(parsed: ParsedArgs) -> list[tuple[int, str]]:
    """The problems as (index, code)."""
    return [(problem.index, problem.code) for problem in parsed.problems]


@pytest.mark.parametrize("flag", ["-h", "--help", "--usage", "--version", "--list-devices", "--cache-list"])
def test_a_flag_that_only_prints_is_refused(flag: str) -> None:
    assert codes(read("-c", "4096", flag)) == [(2, "GS303")]


def test_short_long_and_joined_spellings_mean_the_same() -> None:
    forms = [("-c", "4096"), ("--ctx-size", "4096"), ("--ctx-size=4096",), ("--ctx_size", "4096")]
    assert {read(*form).settings.context_tokens for form in forms} == {4096}


@pytest.mark.parametrize(
    ("args", "field", "value"),
    [
        (("-np", "4"), "parallel", 4),
        (("-np", "-1"), "parallel", None),
        (("-ngl", "all"), "gpu_layers", "all"),
        (("-ngl", "-1"), "gpu_layers", "auto"),
        (("-ts", "3,1"), "tensor_split", (3.0, 1.0)),
        (("-sm", "none"), "split_mode", "none"),
        (("--kv-unified",), "unified", True),
        (("--no-kv-unified",), "unified", False),
        (("-no-kvu",), "unified", False),
        (("--no-kv-offload",), "kv_offload", False),
        (("-nkvo",), "kv_offload", False),
        (("--no-repack",), "repack", False),
        (("--cpu-moe",), "cpu_moe_layers", ALL_LAYERS),
        (("--n-cpu-moe", "7"), "cpu_moe_layers", 7),
        (("-fa", "off"), "flash", "off"),
        (("-ctv", "q4_0"), "value_type", "q4_0"),
        (("--embeddings",), "embedding", True),
        (("-ot", r"blk\.1.*=CPU,output=CUDA1"), "overrides", ((r"blk\.1.*", "CPU"), ("output", "CUDA1"))),
        (("-lm", "none"), "memory_mapped", False),
    ],
)
def test_memory_settings_are_understood(args: tuple[str, ...], field: str, value: object) -> None:
    parsed = read(*args)
    assert parsed.problems == ()
    assert getattr(parsed.settings, field) == value


def test_an_unknown_flag_is_named_with_the_nearest_one() -> None:
    (problem,) = read("--ctx-sise", "1").problems
    assert problem.code == "GS301"
    assert problem.help == "did you mean --ctx-size?"


def test_a_removed_flag_says_what_replaced_it() -> None:
    (problem,) = read("--no-mmap").problems
    assert problem.code == "GS302"
    assert "--load-mode" in (problem.help or "")


def test_flags_that_gslc_sets_are_refused() -> None:
    assert codes(read("--port", "80", "-m", "x", "--rpc", "a:1")) == [(0, "GS303"), (2, "GS303"), (4, "GS303")]


def test_a_whole_command_line_may_hold_them() -> None:
    assert parse_args(("-m", "x", "--port", "80", "-c", "512"), SERVER, allow_owned=True).problems == ()


def test_one_flag_twice_with_different_values_is_refused_at_the_second() -> None:
    assert codes(read("-ngl", "10", "--gpu-layers", "20")) == [(2, "GS305")]
    assert codes(read("--kv-unified", "--no-kv-unified")) == [(1, "GS305")]
    assert codes(read("-ngl", "10", "-ngl", "10")) == []


@pytest.mark.parametrize(
    "args",
    [
        ("-c",),
        ("-c", "many"),
        ("-c", "-1"),
        ("-c", "2147483648"),
        ("-c", "9" * 5000),
        ("-c", "\u0663"),
        ("-np", "0"),
        ("-ts", "a,b"),
        ("-ctk", "q3_x"),
        ("-fa", "perhaps"),
        ("-ot", "(=CPU"),
    ],
)
def test_values_that_the_engine_refuses_are_refused(args: tuple[str, ...]) -> None:
    assert codes(read(*args)) == [(0, "GS304")]


def test_a_bare_flash_attention_switch_is_llama_box_only() -> None:
    assert parse_args(("-fa", "-kvu"), BOX).settings.flash == "on"
    assert codes(read("-fa", "-kvu"))[0][1] == "GS304"


def test_llama_box_knows_no_words_for_layers() -> None:
    assert [p.code for p in parse_args(("-ngl", "all"), BOX).problems] == ["GS304"]


@pytest.mark.parametrize(
    "args",
    [
        ("--threads", "99999999999999999999"), ("-t", "four"), ("--top-k", ""), ("--temp", "warm"), ("--top-p", ""),
        ("--rope-scaling", "Yarn"), ("--numa", "on"), ("--temp=",), ("--chat-template=",),
    ],
)  # fmt: skip
def test_values_of_settings_outside_the_plan_are_read_too(args: tuple[str, ...]) -> None:
    assert codes(read(*args)) == [(0, "GS304")]


@pytest.mark.parametrize(
    "args",
    [
        ("-t", "-1"), ("--top-k", "40.0"), ("--temp", ".7"), ("--temp", "-1"), ("--temp", "1e-3"), ("--min-p", "+0.05"),
        ("--rope-scaling", "yarn"), ("--chat-template", ""),
    ],
)  # fmt: skip
def test_values_that_the_engine_reads_are_left_to_it(args: tuple[str, ...]) -> None:
    assert codes(read(*args)) == []


@pytest.mark.parametrize(
    ("word", "items"),
    [
        ("-c 4096", "-c, '4096'"),
        ("--ctx_size  4096", "--ctx-size, '4096'"),
        ("--pooling mean", "--pooling, mean"),
        ('--chat-template-kwargs {"a": "it\'s"}', "--chat-template-kwargs, '{\"a\": \"it''s\"}'"),
    ],
)
def test_a_flag_and_its_value_in_one_item_are_told_to_stand_in_two(word: str, items: str) -> None:
    (problem,) = read(word).problems
    assert (problem.code, problem.help) == ("GS301", f"write them as two items: {items}")


@pytest.mark.parametrize(
    "pattern",
    [
        "x{99999999999}", "(.+)+Z", "(a*)*", "((ab)+c?)*", "((a+)b)+", "(a+){2,}", "([)]*)+", "(.|.)*Z", "(?<!x)y", "(?P<n>a)", "(?i)exps", r"\Ablk", "a++", "[[:word:]]",
        ".*.*.*.*.*.*.*x", "(" * 2000 + ")" * 2000,
    ],
)  # fmt: skip
def test_an_expression_that_the_engine_would_not_read_or_not_end_is_refused(pattern: str) -> None:
    assert codes(read("-ot", f"{pattern}=CPU")) == [(0, "GS304")]


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        (r"blk\.(1[2-9]|[2-3][0-9])\.ffn_.*_exps\..*", "blk.13.ffn_up_exps.weight", True),
        (r"\.ffn_(up|down|gate)_exps", "blk.3.ffn_gate_exps.weight", True),
        ("blk.[[:digit:]]+.attn", "blk.12.attn_q.weight", True),
        ("blk.[[:digit:]]+.attn", "blk.x.attn_q.weight", False),
        (r"(blk|\*)[+*(]?\.1.attn", "blk.1.attn_q.weight", True),
        ("^(?!blk).*", "blk.1.attn_q.weight", False),
    ],
)
@pytest.mark.filterwarnings("error")
def test_usual_expressions_are_read(pattern: str, name: str, found: bool) -> None:
    parsed = read("-ot", f"{pattern}=CPU")
    assert parsed.problems == ()
    assert bool(re.search(parsed.settings.overrides[0][0], name)) == found


def test_an_override_ends_at_the_first_equals_sign_as_in_the_engine() -> None:
    assert read("-ot", "a=b=CPU").settings.overrides == (("a", "b=CPU"),)


def test_header_values_of_ones_own_are_said_not_to_be_counted_unless_they_are_the_length() -> None:
    assert [p.code for p in read("--override-kv", "llama.expert_used_count=int:4").problems] == ["GS318"]
    assert read("--override-kv", "llama.context_length=int:65536").problems == ()


def test_a_prompt_cache_without_a_limit_is_said_not_to_be_counted() -> None:
    assert [p.code for p in read("--cache-ram", "-1").problems] == ["GS318"]
    assert read("--cache-ram", "512").problems == ()


def test_slots_left_to_the_engine_are_for_builds_that_choose_them() -> None:
    old = profile_of("llama.cpp", "b7000")
    assert old
    for profile in (old, BOX):
        assert [p.code for p in parse_args(("-np", "-1"), profile).problems] == ["GS304"]


def test_a_draft_model_is_said_not_to_be_counted() -> None:
    (problem,) = read("-md", "draft.gguf").problems
    assert (problem.code, problem.severity) == ("GS318", "warning")


def test_merging_leaves_one_value_for_every_setting() -> None:
    ours = (("-c", "8192"), ("-ngl", "33"), ("--fit", "off"))
    merged = merge_argv(ours, read("--gpu-layers=20", "--temp", "0"), SERVER)
    assert merged == ("-c", "8192", "--fit", "off", "--gpu-layers", "20", "--temp", "0")


def test_merging_keeps_repeatable_flags() -> None:
    merged = merge_argv((), read("-ot", "a=CPU", "-ot", "b=CPU", "--metrics", "--metrics"), SERVER)
    assert merged == ("-ot", "a=CPU", "-ot", "b=CPU", "--metrics")
