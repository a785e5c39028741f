"""The plan in one screen."""

from __future__ import annotations

from dataclasses import replace

from sample_plans import instance, plan, shard

from gslc.ir.plan import DeviceMemory, Layout, ShardMemory, Unplaced
from gslc.report.summary import plan_summary, plan_summary_markdown
from gslc.report.words import listed, printable, signed_size, size

GIB, MIB = 1 << 30, 1 << 20


def test_a_row_says_who_runs_where_with_what() -> None:
    lines = plan_summary(plan(instance("chat", gpus=(0, 1)))).splitlines()
    assert lines[0] == "lab: 1 instance of 1 model on 1 of 2 hosts and 2 of 3 GPUs"
    assert lines[3].split() == [
        "chat-0",
        "vllm",
        "0.26.0",
        "atlas/0,1",
        "36.0",
        "GiB",
        "1.0",
        "GiB",
        "8,192",
        "20000",
        "tensor",
        "parallel",
        "2",
    ]


def test_hosts_of_a_distributed_instance_are_joined() -> None:
    parts = (shard("atlas", (0, 1)), shard("borealis", (0,), role="rpc"))
    text = plan_summary(plan(instance("big", 0, *parts)))
    assert "atlas/0,1 + borealis/0" in text
    assert "2 hosts" in text


def test_offload_and_cpu_are_noted() -> None:
    half = replace(instance("half"), layout=Layout(gpu_layers=24, layers=33))
    only = shard("atlas", (), name="cpu-0")
    cpu = instance("cpu", 0, replace(only, memory=ShardMemory(gpus=(), host=DeviceMemory(weights=GIB))))
    text = plan_summary(plan(half, cpu))
    assert "24 of 33 layers on GPU" in text
    assert text.splitlines()[4].endswith("CPU")


def test_experts_pipelines_and_later_alternatives_are_noted() -> None:
    odd = replace(instance("odd"), layout=Layout(pipeline_parallel=2, cpu_moe_layers=12, requirement=1))
    row = plan_summary(plan(odd)).splitlines()[3]
    assert row.endswith("pipeline parallel 2, experts of 12 layers on the CPU, alternative 2")


def test_replicas_without_a_place_are_listed_with_their_code() -> None:
    whole = replace(plan(instance()), unplaced=(Unplaced(model="big", replica=1, code="GS402"),))
    assert "no place: big-1 (GS402" in plan_summary(whole)
    assert "- **no place:** big-1 (GS402)" in plan_summary_markdown(whole)


def test_markdown_has_a_cell_for_every_column() -> None:
    rows = [line for line in plan_summary_markdown(plan(instance())).splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert {row.count("|") for row in rows} == {9}


def test_without_inventory_only_what_is_used_is_counted() -> None:
    assert plan_summary(replace(plan(instance()), hosts=())).startswith(
        "lab: 1 instance of 1 model on 1 host and 1 GPU"
    )


def test_an_empty_plan_is_one_line() -> None:
    assert plan_summary(plan()) == "lab: 0 instances of 0 models on 0 of 2 hosts and 0 of 3 GPUs\n"


def test_sizes_in_words() -> None:
    assert [size(n) for n in (0, 1, MIB, 1023 * MIB, GIB - 1, GIB, GIB * 3 // 2, 1024 * GIB)] == [
        "0", "1 B", "1 MiB", "1023 MiB", "1.0 GiB", "1.0 GiB", "1.5 GiB", "1,024.0 GiB",
    ]  # fmt: skip
    assert signed_size(-GIB) == "-1.0 GiB"
    assert signed_size(GIB) == "+1.0 GiB"


def test_long_lists_say_how_many_are_left_out() -> None:
    assert listed([str(number) for number in range(15)]).endswith("11 and 3 more")


def test_characters_that_deceive_are_shown_as_escapes() -> None:
    assert printable("a\x1b[31m\u202eb\u200b") == "a\\x1b[31m\\u202eb\\u200b"
    assert printable("模型 é") == "模型 é"
