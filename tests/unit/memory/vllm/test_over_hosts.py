"""Choices of vLLM over several hosts: which classes of hosts share them, and with how much of each card."""

from __future__ import annotations

from dataclasses import replace

from tests.support.vllm_models import H200, RTX_4090, T4, class_of, host_of, request_of

from gslc.backends.vllm import Vllm
from gslc.ir.inputs import EnginePin, Host, Requirement, RequirementPart
from gslc.ir.placement import Choice, Request

BIG, SMALL = "meta-llama/Llama-3.1-405B-Instruct", "Qwen/Qwen2.5-32B-Instruct"
GIB = 1 << 30
ALPHA, BETA = (host_of(name, *[H200] * 4) for name in ("alpha", "beta"))


def wide(request: Request, host: Host, backend: Vllm | None = None) -> list[Choice]:
    """The choices over several hosts that a host of this class can take part in."""
    options = (backend or Vllm()).options(request, class_of(host, request.cluster.engines))
    return [choice for choice in options.fixed if len(choice.parts) > 1]


def shapes(choices: list[Choice]) -> list[tuple[int, int]]:
    """(hosts, cards of each), best first."""
    return [(len(choice.parts), len(choice.parts[0].gpus)) for choice in sorted(choices, key=lambda one: one.rank)]


def test_classes_that_differ_in_memory_paths_or_other_cards_share_their_choices() -> None:
    pinned = {"vllm": EnginePin(path="/opt/other/bin")}
    others = (
        replace(BETA, memory_bytes=120 * GIB),
        replace(BETA, engines=pinned),
        host_of("beta", *[H200] * 4, T4),
        host_of("beta", *[H200] * 5),
    )
    for other in others:
        request = request_of(BIG, ALPHA, other, distributed=True)
        mine, theirs = wide(request, ALPHA), wide(request, other)
        assert mine == theirs
        (choice,) = mine
        assert choice.across_classes
        assert [(part.kind, len(part.gpus)) for part in choice.parts] == [(H200, 4)] * 2


def test_releases_of_the_engine_and_architectures_are_never_mixed() -> None:
    newer = replace(BETA, engines={"vllm": EnginePin(version="0.27.0")})
    arm = replace(BETA, arch="arm64")
    for other in (newer, arm):
        request = request_of(BIG, ALPHA, other, version="0.26.0", distributed=True)
        mine, theirs = wide(request, ALPHA), wide(request, other)
        assert shapes(mine) == shapes(theirs) == [(2, 4)]
        assert mine[0].common != theirs[0].common


def test_one_utilisation_holds_on_all_hosts_and_the_roomier_ones_have_a_better_choice_too() -> None:
    tight = replace(BETA, reserved_gpu_memory_bytes=20 * GIB)
    request = request_of(BIG, ALPHA, tight, distributed=True)
    roomy = sorted(wide(request, ALPHA), key=lambda choice: choice.rank)
    (shared,) = wide(request, tight)
    assert [choice.layout.gpu_memory_utilization for choice in roomy] == [900, shared.layout.gpu_memory_utilization]
    assert shared in roomy
    need = max(gpu.total for part in shared.parts for gpu in part.gpus)
    assert need <= H200.memory_bytes - 20 * GIB < max(gpu.total for part in roomy[0].parts for gpu in part.gpus)


def test_a_reservation_that_changes_nothing_makes_no_second_choice() -> None:
    little = replace(BETA, reserved_gpu_memory_bytes=1 << 20)
    request = request_of(BIG, ALPHA, little, distributed=True)
    assert wide(request, ALPHA) == wide(request, little)
    assert len(wide(request, ALPHA)) == 1


def test_several_hosts_are_offered_after_one_that_is_large_enough_and_more_hosts_where_each_gives_fewer_cards() -> None:
    hosts = tuple(host_of(name, *[RTX_4090] * 4) for name in ("alpha", "beta", "gamma", "delta"))
    request = request_of(SMALL, *hosts, distributed=True)
    fixed = Vllm().options(request, class_of(hosts[0])).fixed
    ordered = sorted(fixed, key=lambda choice: choice.rank)
    assert ordered[0].label == "tensor parallel 4"
    assert shapes(list(ordered)) == [(1, 4), (2, 2), (4, 1)]


def test_a_host_takes_part_where_it_has_enough_cards_of_the_kind() -> None:
    hosts = tuple(host_of(name, *[RTX_4090] * count) for name, count in (("alpha", 4), ("beta", 1), ("gamma", 1)))
    request = request_of(SMALL, *hosts, host_of("delta", RTX_4090), distributed=True)
    assert shapes(wide(request, hosts[1])) == [(4, 1)]
    assert shapes(wide(request, hosts[0])) == [(2, 2), (4, 1)]


def test_the_choices_are_worked_out_once_for_all_classes_and_never_without_distributed() -> None:
    backend = Vllm()
    other = replace(BETA, memory_bytes=120 * GIB)
    request = request_of(BIG, ALPHA, other, distributed=True)
    assert wide(request, ALPHA, backend)[0] is wide(request, other, backend)[0]
    plain = request_of(BIG, ALPHA, other)
    assert wide(plain, ALPHA, backend) == []
    assert all(known is not plain for known, _ in backend.wide.values())


def test_stated_parts_are_not_spread_over_two_releases_either() -> None:
    part = RequirementPart(gpus=4, gpu_memory_bytes=100 * GIB, memory_bytes=16 * GIB)
    newer = replace(BETA, engines={"vllm": EnginePin(version="0.27.0")})
    stated = (Requirement(parts=(part, part)),)
    request = request_of(BIG, ALPHA, newer, version="0.26.0", requirements=stated)
    assert [choice.common for host in (ALPHA, newer) for choice in wide(request, host)] == [
        (("engines.vllm.version", "0.26.0"),),
        (("engines.vllm.version", "0.27.0"),),
    ]
    assert wide(request, ALPHA) == wide(request, replace(BETA, memory_bytes=GIB))


def test_a_pinned_size_larger_than_any_host_is_told_that_it_does_not_cross_hosts() -> None:
    request = request_of(BIG, ALPHA, BETA, distributed=True, tensor_parallel=8)
    options = Vllm().options(request, class_of(ALPHA))
    assert options.fixed == ()
    assert [one.detail for one in options.refused if one.rule == "GPUs"] == [
        "needs 8 equal cards, hosts of this class have 4 NVIDIA H200, and tensor parallel does not cross hosts"
    ]
