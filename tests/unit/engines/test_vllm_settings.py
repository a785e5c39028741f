"""What a vLLM command line says about memory and layout."""

from __future__ import annotations

import pytest

from gslc.engines.vllm_flags import parse_arguments
from gslc.engines.vllm_settings import VllmSettings, human_integer, read_settings, thousandths


def read(*args: str) -> VllmSettings:
    return read_settings(parse_arguments(args, "0.26.0").arguments).settings


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8192", 8192),
        ("8k", 8000),
        ("8K", 8192),
        ("25.6k", 25600),
        ("2M", 2 << 20),
        ("2m", 2_000_000),
        ("1.5K", None),
        ("x", None),
        ("9" * 5000, None),
        ("\u0663", None),
    ],
)
def test_lengths_are_read_as_vllm_reads_them(text: str, number: int | None) -> None:
    assert human_integer(text) == number


@pytest.mark.parametrize(
    ("text", "share"),
    [("0.9", 900), ("0.9001", 901), ("1", 1000), ("1.1", None), ("0", None), ("nan", None), ("x", None)],
)
def test_a_utilisation_is_thousandths_rounded_up(text: str, share: int | None) -> None:
    assert thousandths(text) == share


def test_the_last_of_two_values_wins() -> None:
    assert read("--max-model-len", "4096", "--max-model-len", "8K").max_model_len == 8192


def test_auto_and_minus_one_leave_the_length_to_what_fits() -> None:
    assert read("--max-model-len", "auto").max_model_len == -1
    assert read("--max-model-len", "-1").max_model_len == -1


def test_everything_that_changes_memory_is_understood() -> None:
    said = read(
        "-tp", "2", "-pp", "3", "--gpu-memory-utilization", "0.8", "--max-num-seqs", "16", "--max-num-batched-tokens", "4k",
        "--kv-cache-dtype", "fp8", "--dtype", "half", "--enforce-eager", "-q", "awq", "--enable-expert-parallel",
        "--limit-mm-per-prompt", '{"image": 0, "video": 0}', "--kv-cache-memory-bytes", "2G",
        "--disable-hybrid-kv-cache-manager", "--block-size", "32", "--speculative-config", "{}",
    )  # fmt: skip
    assert said == VllmSettings(
        tensor_parallel=2, pipeline_parallel=3, utilization=800, max_num_seqs=16, max_num_batched_tokens=4000,
        kv_cache_dtype="fp8", dtype="half", eager=True, quantization="awq", expert_parallel=True, images_off=True,
        kv_cache_memory=2 << 30, hybrid_cache=False, block_size=32, speculative=True,
    )  # fmt: skip


def test_a_switch_can_be_taken_back() -> None:
    assert read("--enforce-eager", "--no-enforce-eager").eager is False
    assert read("--no-disable-hybrid-kv-cache-manager").hybrid_cache is True


@pytest.mark.parametrize(
    "args",
    [
        ("--max-model-len", "many"),
        ("-tp", "two"),
        ("-tp", "0"),
        ("--gpu-memory-utilization", "90"),
        ("--block-size", "1.5"),
    ],
)
def test_a_value_that_vllm_refuses_is_a_problem_at_its_place(args: tuple[str, ...]) -> None:
    problems = read_settings(parse_arguments(("--enforce-eager", *args), "0.26.0").arguments).problems
    assert [(item.kind, item.index) for item in problems] == [("value", 1)]


@pytest.mark.parametrize(
    "args",
    [
        ("--dtype", "int4"),
        ("--kv-cache-dtype", "fp99"),
        ("--runner", "chat"),
        ("-tp", "\u00b2"),
        ("--hf-overrides", "{"),
        ("--hf-overrides", "[" * 5000),
        ("--compilation-config", '{"mode": }'),
        ("--limit-mm-per-prompt", "{image: 0}"),
    ],
)
def test_words_and_json_that_vllm_cannot_read_are_problems(args: tuple[str, ...]) -> None:
    read_there = read_settings(parse_arguments(("--enforce-eager", *args), "0.26.0").arguments)
    assert [problem.index for problem in read_there.problems] == [1]


@pytest.mark.parametrize(
    "args",
    [
        ("--dtype", "half"),
        ("--kv-cache-dtype", "fp8_e5m2"),
        ("--compilation-config", "3"),
        ("--allowed-origins", '["*"]'),
    ],
)
def test_words_and_json_that_vllm_reads_are_left_to_it(args: tuple[str, ...]) -> None:
    assert read_settings(parse_arguments(args, "0.26.0").arguments).problems == ()
