"""The words that vLLM is started with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gslc.engines.vllm_command import Command, argv, utilization_words
from gslc.engines.vllm_flags import canonical, has_flag, parse_arguments

PLAIN = Command(
    version="0.26.0", model_path="/models/m", served_name="chat", host="10.0.0.1", port=20000, tensor_parallel=1,
    pipeline_parallel=1, max_model_len=8192, max_num_seqs=256, max_num_batched_tokens=2048, utilization=900,
)  # fmt: skip


def with_args(command: Command, *args: str) -> tuple[str, ...]:
    parsed = parse_arguments(args, command.version)
    assert parsed.problems == ()
    return argv(replace(command, user=parsed.arguments, user_words=args))


@pytest.mark.parametrize(("share", "words"), [(900, "0.9"), (905, "0.905"), (1000, "1.0"), (1, "0.001"), (890, "0.89")])
def test_a_utilisation_is_written_without_idle_zeros(share: int, words: str) -> None:
    assert utilization_words(share) == words


def test_the_whole_command_is_written_out() -> None:
    assert " ".join(argv(PLAIN)) == (
        "serve /models/m --host 10.0.0.1 --port 20000 --served-model-name chat --tensor-parallel-size 1 "
        "--pipeline-parallel-size 1 --max-model-len 8192 --max-num-seqs 256 --max-num-batched-tokens 2048 "
        "--gpu-memory-utilization 0.9"
    )


def test_no_flag_ever_has_two_values() -> None:
    words = with_args(
        PLAIN, "--max-model-len=8K", "--enforce-eager", "--max_num_seqs", "256", "--seed", "1", "--seed", "2"
    )
    assert words[-3:] == ("--enforce-eager", "--seed", "2")
    flags = [canonical(word)[0] for word in words if word.startswith("--")]
    assert len(flags) == len(set(flags))


def test_a_follower_has_no_address_of_its_own() -> None:
    words = argv(replace(PLAIN, nodes=2, node_rank=1, master_address="10.0.0.1", master_port=20001))
    assert "--port" not in words
    assert words[-9:] == (
        "--nnodes", "2", "--node-rank", "1", "--master-addr", "10.0.0.1", "--master-port", "20001", "--headless",
    )  # fmt: skip


def test_pooling_is_said_as_the_release_says_it() -> None:
    new = argv(replace(PLAIN, runner="pooling", convert="embed"))
    assert new[-4:] == ("--runner", "pooling", "--convert", "embed")
    assert argv(replace(PLAIN, version="0.9.2", runner="pooling", convert="embed"))[-2:] == ("--task", "embed")
    assert argv(replace(PLAIN, version="0.9.2", runner="pooling", convert="classify"))[-2:] == ("--task", "score")


@pytest.mark.parametrize("version", ["0.8.5", "0.9.2", "0.11.2", "0.20.2", "0.26.0", "0.32.0", "0.33.0"])
def test_every_emitted_flag_is_one_of_the_release(version: str) -> None:
    words = argv(replace(PLAIN, version=version, dtype="half", kv_cache_dtype="fp8", runner="pooling", convert="embed"))
    assert [word for word in words if word.startswith("--") and not has_flag(word, version)] == []
