"""The checker finds what is broken in a plan that was right before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from small_fleets import GIB, cluster, host, model, need, place, plan_of

from gslc.ir.facts import ModelFacts, SafetensorsFacts
from gslc.ir.inputs import Cluster
from gslc.ir.plan import DeviceMemory, Instance, Layout, Plan, Shard, ShardMemory
from gslc.passes.check import check_plan

FLEET = cluster(
    [host("a", [24, 24]), host("b", [24, 24]), host("mac", [48], 48, unified_memory=True, labels={"rack": "r9"})],
    [
        model("alone", need(1, 20, 4), exclusive_gpus=True),
        model("apart", need(1, 8, 4), replicas=2, anti_affinity="host", gpus=(("a", 0), ("a", 1), ("b", 0), ("b", 1))),
        model("wide", [need(1, 8, 4), need(1, 8, 4)]),
    ],
)


def sound_plan(fleet: Cluster = FLEET) -> Plan:
    outcome = place(fleet)
    assert outcome.value is not None
    return plan_of(fleet, outcome.value)


def instance(plan: Plan, name: str) -> Instance:
    return next(entry for entry in plan.instances if entry.name == name)


def with_shard(entry: Instance, rank: int = 0, **changes: object) -> Instance:
    """The instance with one shard changed; the launch follows its host, cards and port."""
    shard = entry.shards[rank]
    launch = {key: changes[key] for key in ("host", "gpus", "port") if key in changes}
    changed = replace(shard, **{**changes, "launch": replace(shard.launch, **launch)})  # type: ignore[arg-type]
    shards = (*entry.shards[:rank], changed, *entry.shards[rank + 1 :])
    return replace(entry, shards=shards)


def findings(name: str, change: Callable[[Instance], Instance], fleet: Cluster = FLEET) -> set[str]:
    plan = sound_plan(fleet)
    changed = tuple(change(entry) if entry.name == name else entry for entry in plan.instances)
    return {entry.code for entry in check_plan(replace(plan, instances=changed), fleet, {})}


def memory(gpu: int, ram: int) -> ShardMemory:
    return ShardMemory(gpus=(DeviceMemory(stated=gpu * GIB),), host=DeviceMemory(stated=ram * GIB))


def test_a_sound_plan_has_no_findings() -> None:
    assert check_plan(sound_plan(), FLEET, {}) == ()


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("wide-0", lambda entry: with_shard(entry, memory=memory(25, 4)), "GS500"),
        ("wide-0", lambda entry: with_shard(entry, memory=memory(8, 65)), "GS501"),
        ("wide-0", lambda entry: with_shard(entry, gpus=(7,)), "GS503"),
        ("wide-0", lambda entry: with_shard(entry, host="gone"), "GS513"),
        ("wide-0", lambda entry: replace(entry, target="compose"), "GS513"),
        ("wide-0", lambda entry: with_shard(entry, port=80), "GS505"),
        ("wide-0", lambda entry: replace(entry, selector={"rack": "r1"}), "GS506"),
        ("apart-0", lambda entry: with_shard(entry, host="mac", gpus=(0,)), "GS508"),
        ("wide-0", lambda entry: with_shard(entry, 1, host=entry.shards[0].host), "GS509"),
        ("wide-0", lambda entry: replace(entry, name="alone-0"), "GS510"),
        ("wide-0", lambda entry: replace(entry, replica=4), "GS515"),
    ],
)
def test_a_broken_rule_is_found(name: str, change: Callable[[Instance], Instance], code: str) -> None:
    assert code in findings(name, change)


def test_a_stranger_on_an_exclusive_card_is_found() -> None:
    taken = instance(sound_plan(), "alone-0").shards[0]
    assert "GS502" in findings("wide-0", lambda entry: with_shard(entry, host=taken.host, gpus=taken.gpus))


def test_two_processes_on_one_port_are_found() -> None:
    taken = instance(sound_plan(), "alone-0").shards[0]
    assert "GS504" in findings("wide-0", lambda entry: with_shard(entry, host=taken.host, port=taken.port))


def test_replicas_that_must_be_apart_are_found_together() -> None:
    other = instance(sound_plan(), "apart-1").shards[0]
    assert "GS507" in findings("apart-0", lambda entry: with_shard(entry, host=other.host, gpus=other.gpus))


def test_unified_memory_is_added_up() -> None:
    fleet = cluster([host("mac", [48], 48, unified_memory=True)], [model("m", need(1, 20, 4))])
    assert "GS501" in findings("m-0", lambda entry: with_shard(entry, memory=memory(45, 4)), fleet)


def test_a_launch_with_other_cards_than_its_shard_is_found() -> None:
    def swap(entry: Instance) -> Instance:
        shard = entry.shards[0]
        return replace(entry, shards=(replace(shard, launch=replace(shard.launch, gpus=(1, 0))), *entry.shards[1:]))

    assert "GS516" in findings("wide-0", swap)


def test_a_host_without_address_in_a_replica_over_hosts_is_found() -> None:
    silent = replace(FLEET, hosts=tuple(replace(entry, address=None) for entry in FLEET.hosts))
    assert {entry.code for entry in check_plan(sound_plan(), silent, {})} == {"GS514"}


# ------------------------------------------------------------------ flags


def engine(backend: str, argv: tuple[str, ...], cards: tuple[int, ...], layout: Layout) -> tuple[Plan, Cluster]:
    """A plan with one instance of an engine, started with `argv` on cards of one host."""
    fleet = cluster([host("a", [24, 24])], [model("m", need(len(cards), 8, 4) if cards else need(0, 0, 4))])
    plan = sound_plan(fleet)
    entry = plan.instances[0]
    shard: Shard = replace(entry.shards[0], launch=replace(entry.shards[0].launch, argv=argv))
    return replace(plan, instances=(replace(entry, backend=backend, layout=layout, shards=(shard,)),)), fleet


@pytest.mark.parametrize(
    ("backend", "argv", "cards", "layout"),
    [
        ("vllm", ("--tensor-parallel-size", "2"), (0,), Layout(tensor_parallel=2)),
        ("vllm", ("--tensor-parallel-size=2",), (0, 1), Layout(tensor_parallel=1)),
        ("llama.cpp", ("--gpu-layers", "20"), (0,), Layout(gpu_layers=33)),
        ("llama.cpp", ("--gpu-layers", "20"), (), Layout(gpu_layers=20)),
        ("llama.cpp", ("--tensor-split", "1,1,1"), (0, 1), Layout(tensor_split=(1, 1))),
        ("llama-box", ("--rpc", "h:1"), (0,), Layout()),
    ],
)
def test_flags_that_contradict_the_devices_are_found(
    backend: str, argv: tuple[str, ...], cards: tuple[int, ...], layout: Layout
) -> None:
    plan, fleet = engine(backend, argv, cards, layout)
    assert "GS511" in {entry.code for entry in check_plan(plan, fleet, {})}


def test_more_layers_than_the_model_has_mean_all_of_them() -> None:
    plan, fleet = engine("llama.cpp", ("--gpu-layers", "99"), (0,), Layout(gpu_layers=33, layers=33))
    assert "GS511" not in {entry.code for entry in check_plan(plan, fleet, {})}
    plan, fleet = engine("llama.cpp", ("--gpu-layers", "99"), (0,), Layout(gpu_layers=20, layers=33))
    assert "GS511" in {entry.code for entry in check_plan(plan, fleet, {})}


def test_flags_that_agree_are_not_found() -> None:
    plan, fleet = engine("vllm", ("--tensor-parallel-size", "2"), (0, 1), Layout(tensor_parallel=2))
    assert check_plan(plan, fleet, {}) == ()


def test_heads_that_cannot_be_divided_are_found() -> None:
    plan, fleet = engine("vllm", ("--tensor-parallel-size", "2"), (0, 1), Layout(tensor_parallel=2))
    facts = ModelFacts(
        source="hf://a/b",
        revision=None,
        files=(),
        kind="chat",
        kind_reason="",
        safetensors=SafetensorsFacts(
            config={"num_attention_heads": 7}, tensors=(), parameter_bytes=0, header_sha256=None
        ),
    )
    assert [entry.code for entry in check_plan(plan, fleet, {"m": facts})] == ["GS512"]
