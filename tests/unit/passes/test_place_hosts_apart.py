"""Replicas of vLLM over several hosts in a fleet: which hosts go together, what stays, and what is said where none do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from small_fleets import REGISTRY, AnyTarget, cluster, host, lock_of, model, need, place, where
from tests.support.vllm_models import H200, RTX_4090, T4, facts_of, host_of

from gslc.backends.custom import Custom
from gslc.backends.vllm import Vllm
from gslc.contracts import Registry
from gslc.ir.diagnostic import Diagnostic, Outcome
from gslc.ir.inputs import EnginePin, Gpu, GpuKind, Host, Model, Source
from gslc.ir.lock import Lock
from gslc.ir.placement import Placement
from gslc.passes.eligible import find_candidates
from gslc.passes.place import place_models

SMALL, BIG = "Qwen/Qwen2.5-32B-Instruct", "meta-llama/Llama-3.1-405B-Instruct"
GIB = 1 << 30
TWO = [RTX_4090] * 2
FLEET = Registry(backends={"custom": Custom(), "vllm": Vllm()}, targets=REGISTRY.targets)
assert isinstance(FLEET.targets["systemd"], AnyTarget)


def chat(name: str = SMALL, **keys: object) -> Model:
    """A model in safetensors of which a replica may lie on several hosts."""
    source = Source(kind="hf", text=f"hf://{name}", repository=name)
    return Model(name="chat", source=source, **{"backend": "vllm", "distributed": True, **keys})  # type: ignore[arg-type]


def placed(hosts: Sequence[Host], asked: Model, *others: Model, lock: Lock | None = None) -> Outcome[Placement]:
    """Where the models lie on these hosts."""
    fleet = cluster(hosts, [asked, *others])
    assert asked.source is not None
    found = find_candidates(fleet, {"chat": facts_of(asked.source.repository)}, FLEET)
    assert found.value is not None, found.diagnostics
    return place_models(found.value, fleet, lock or Lock(cluster="lab", facts={}))


def error(hosts: Sequence[Host], asked: Model, *others: Model) -> Diagnostic:
    (found,) = [one for one in placed(hosts, asked, *others).diagnostics if one.severity == "error"]
    return found


def locked(outcome: Outcome[Placement]) -> Lock:
    assert outcome.value is not None
    lock = lock_of(outcome.value)
    return replace(lock, placements=tuple(replace(entry, backend="vllm") for entry in lock.placements))


# ------------------------------------------------------------------ hosts that go together


def test_hosts_of_different_classes_with_equal_cards_hold_one_replica() -> None:
    alpha, beta = host_of("alpha", *TWO), host_of("beta", *TWO)
    others = (
        replace(beta, memory_bytes=127 * GIB),
        replace(beta, reserved_gpu_memory_bytes=GIB),
        replace(beta, engines={"vllm": EnginePin(path="/opt/vllm/bin")}),
        host_of("beta", *TWO, T4),
    )
    for other in others:
        assert set(where(placed([alpha, other], chat()))["chat-0"].split()) == {"alpha:0,1", "beta:0,1"}


def test_sizes_and_pins_hold_on_hosts_with_more_cards_than_the_replica_needs() -> None:
    hosts = [host_of("alpha", *[RTX_4090] * 3), host_of("beta", *TWO)]
    pins = (("alpha", 1), ("alpha", 2), ("beta", 0), ("beta", 1))
    asked = chat(tensor_parallel=2, pipeline_parallel=2, gpus=pins)
    assert set(where(placed(hosts, asked))["chat-0"].split()) == {"alpha:1,2", "beta:0,1"}


def test_a_locked_replica_stays_when_one_of_its_hosts_gets_more_memory_or_more_cards() -> None:
    alpha, beta = host_of("alpha", *TWO), host_of("beta", *TWO)
    before = placed([alpha, beta], chat())
    for changed in (replace(beta, memory_bytes=512 * GIB), host_of("beta", *TWO, *TWO)):
        after = placed([alpha, changed], chat(), lock=locked(before))
        assert where(after) == where(before)
        assert after.value is not None
        assert after.value.stats.kept == 1


def test_one_host_is_taken_before_several_and_several_where_its_cards_are_busy() -> None:
    hosts = [host_of("alpha", *TWO, *TWO), host_of("beta", *TWO, *TWO)]
    assert where(placed(hosts, chat()))["chat-0"] == "alpha:0,1,2,3"
    busy = model("busy", need(2, 20, 4), replicas=2, priority=9, anti_affinity="host", exclusive_gpus=True)
    assert len(where(placed(hosts, chat(), busy))["chat-0"].split()) == 2
    pins = (("alpha", 0), ("alpha", 1), ("beta", 2), ("beta", 3))
    assert set(where(placed(hosts, chat(gpus=pins)))["chat-0"].split()) == {"alpha:0,1", "beta:2,3"}
    assert "chat-0" not in where(placed(hosts, chat(gpus=pins, distributed=False)))


# ------------------------------------------------------------------ what is said where none go together


def test_a_host_without_an_address_is_told_to_set_it() -> None:
    hosts = [replace(host_of("alpha", *TWO), address=None), host_of("beta", *TWO)]
    found = error(hosts, chat())
    assert found.code == "GS405"
    assert found.message == (
        "chat-0: one replica needs 2 different hosts with 2 NVIDIA GeForce RTX 4090 each under one target, "
        "each with an address; alpha has none"
    )
    assert found.help == "set hosts.alpha.address"


def test_a_host_whose_address_means_every_host_itself_is_told_to_change_it() -> None:
    hosts = [replace(host_of("alpha", *TWO), address="localhost"), host_of("beta", *TWO)]
    found = error(hosts, chat())
    assert found.code == "GS405"
    assert found.message.endswith("each with an address; localhost of alpha means each host itself")
    assert found.help == "set hosts.alpha.address to the address under which the others reach it"


def test_hosts_that_can_be_reached_are_taken_before_one_that_cannot() -> None:
    hosts = [replace(host_of("alpha", *TWO), address="127.0.0.1"), host_of("beta", *TWO), host_of("gamma", *TWO)]
    assert set(where(placed(hosts, chat()))["chat-0"].split()) == {"beta:0,1", "gamma:0,1"}


def test_a_locked_replica_does_not_stay_on_a_host_that_can_no_longer_be_reached() -> None:
    hosts = [host_of(name, *TWO) for name in ("alpha", "beta", "gamma")]
    before = placed(hosts, chat())
    moved = replace(hosts[0], address="127.0.0.1")
    after = placed([moved, *hosts[1:]], chat(), lock=locked(before))
    assert set(where(before)["chat-0"].split()) == {"alpha:0,1", "beta:0,1"}
    assert set(where(after)["chat-0"].split()) == {"beta:0,1", "gamma:0,1"}
    assert after.value is not None
    reasons = [decision.because for one in after.value.assignments for decision in one.decisions]
    assert any("the address 127.0.0.1 of host alpha does not lead to it from other hosts" in text for text in reasons)


def test_hosts_under_different_targets_are_told_which() -> None:
    hosts = [host_of("alpha", *TWO), host_of("beta", *TWO, target="systemd"), host_of("gamma", RTX_4090)]
    hosts[0] = replace(hosts[0], target="compose")
    found = error(hosts, chat(tensor_parallel=2, pipeline_parallel=2))
    assert "; target is compose on alpha, systemd on beta" in found.message
    assert found.help == "set hosts.beta.target to compose"


def test_what_helps_only_together_is_offered_together() -> None:
    silent, far = replace(host_of("alpha", *TWO), address=None), host_of("beta", *TWO)
    assert error([silent, far], chat(distributed=False)).help == (
        "set models.chat.distributed to true and set hosts.alpha.address"
    )
    other = replace(far, target="compose")
    assert error([replace(silent, address="10.0.0.1"), other], chat(distributed=False)).help == (
        "set models.chat.distributed to true and set hosts.alpha.target to compose"
    )
    assert error([silent, other], chat()).help == "set hosts.alpha.address and set hosts.alpha.target to compose"
    assert error([silent, other], chat(distributed=False)).help == (
        "set models.chat.distributed to true and set hosts.alpha.address and set hosts.alpha.target to compose"
    )
    followed = [replace(silent, address="10.0.0.1", target="compose"), other]
    assert "chat-0" in where(placed(followed, chat()))


def test_hosts_with_different_releases_are_told_which() -> None:
    old = replace(host_of("alpha", *TWO), engines={"vllm": EnginePin(version="0.25.0")})
    found = error([old, host_of("beta", *TWO)], chat())
    assert "; engines.vllm.version is 0.25.0 on alpha, " in found.message
    assert found.help is not None
    assert found.help.startswith("set hosts.beta.engines.vllm.version to 0.25.0")


def test_hosts_with_different_cards_are_told_what_a_further_host_must_bring() -> None:
    other = replace(RTX_4090, model="NVIDIA RTX A5000")
    found = error([host_of("alpha", *TWO), host_of("beta", other, other)], chat())
    assert "2 different hosts with 2 NVIDIA GeForce RTX 4090 each" in found.message
    assert found.message.endswith("; only alpha can give that")
    assert found.help == "add a host with 2 NVIDIA GeForce RTX 4090 and an `address`"


def test_another_model_is_named_as_a_way_out_only_where_there_is_one() -> None:
    stated = [need(1, 20), need(1, 20)]
    (alone,) = place(cluster([host("a", [24])], [model("m", stated)])).diagnostics
    assert alone.help == "add a host with an `address`"
    fleet = cluster([host("a", [24]), host("b", [24])], [model("m", stated), model("n", need(1, 20), priority=1)])
    (beside,) = place(fleet).diagnostics
    assert beside.help == "add a host with an `address`, or free one by lowering `replicas` of another model"


def test_one_more_card_of_any_kind_that_a_host_has_is_tried() -> None:
    mixed = host_of("alpha", *TWO, RTX_4090, H200)
    small = replace(H200, memory_bytes=8 * GIB, model="small")
    mixed = replace(mixed, gpus=(*mixed.gpus[:3], Gpu(index=3, kind=small)))
    found = error([mixed], chat(distributed=False))
    assert found.help == "add one more NVIDIA GeForce RTX 4090 (23 GiB) to alpha"


def test_a_card_of_another_kind_does_not_fill_up_a_group() -> None:
    other = replace(RTX_4090, model="NVIDIA RTX A5000")
    kinds: tuple[GpuKind, ...] = (RTX_4090, RTX_4090, other)
    found = error([host_of("alpha", *kinds)], chat(distributed=False))
    assert found.help is not None
    assert "one more" not in found.help


def test_layouts_are_told_by_the_rule_that_they_fall_to_and_a_size_that_hosts_can_not_give_is_given_up() -> None:
    found = error([host_of("alpha", *[RTX_4090] * 8)], chat(BIG, distributed=False))
    assert found.code == "GS406"
    assert (
        "tensor parallel 3, tensor parallel 5, tensor parallel 6 and 1 more: "
        "128 attention heads: tensor parallel 7 needs 128 % 7 == 0, it is 2; "
    ) in found.message
    assert found.message.count("bytes on each card") == 1
    assert len(found.message) < 650
    hosts = [host_of("alpha", *[H200] * 4), host_of("beta", *[H200] * 4)]
    pinned = error(hosts, chat(BIG, tensor_parallel=8))
    assert "tensor parallel does not cross hosts" in pinned.message
    assert pinned.help == "remove models.chat.tensor_parallel"
