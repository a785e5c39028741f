"""Choices that depend on what is free: several uneven cards, several hosts, and what the lock keeps of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from small_fleets import EMPTY_LOCK, GIB, candidates_of, cluster, host, lock_of, model, need, where

from gslc.ir.diagnostic import Outcome
from gslc.ir.inputs import Cluster
from gslc.ir.lock import Lock
from gslc.ir.placement import Candidates, Choice, FreeHost, Options, PartNeed, Placement
from gslc.ir.plan import DeviceMemory, Layout
from gslc.passes.place import place_models


@dataclass(frozen=True)
class Stretch:
    """`total` GiB over as few cards as hold them, roomiest first, over one host or two."""

    total: int
    spans_hosts: bool = False
    rank: int = 1
    label: str = "stretched"

    def fit(self, hosts: tuple[FreeHost, ...]) -> Choice | None:
        left, parts = self.total * GIB, []
        for one in hosts:
            taken = []
            for gpu in sorted(one.gpus, key=lambda gpu: (-gpu.free_bytes, gpu.index)):
                share = min(left, gpu.free_bytes)
                if share:
                    taken.append((gpu.index, share))
                    left -= share
            if not taken:
                return None
            parts.append(tuple(sorted(taken)))
        return None if left else self.choice(tuple(parts))

    def choice(self, parts: tuple[tuple[tuple[int, int], ...], ...]) -> Choice:
        return Choice(
            rank=self.rank,
            label=self.label,
            parts=tuple(
                PartNeed(
                    gpus=tuple(DeviceMemory(stated=share) for _, share in part),
                    host=DeviceMemory(),
                    indices=tuple(index for index, _ in part),
                    ports=("http",) if number == 0 else ("rpc",) * len(part),
                )
                for number, part in enumerate(parts)
            ),
            layout=Layout(tensor_split=tuple(share for part in parts for _, share in part)),
        )

    def restore(self, layout: Layout, hosts: tuple[FreeHost, ...]) -> Choice | None:
        shares = list(layout.tensor_split or ())
        if sum(shares) != self.total * GIB:
            return None
        return self.choice(tuple(tuple((gpu.index, shares.pop(0)) for gpu in one.gpus) for one in hosts))

    def shortfall(self, hosts: tuple[FreeHost, ...]) -> int:
        return max(0, self.total * GIB - sum(gpu.free_bytes for one in hosts for gpu in one.gpus))


def place(fleet: Cluster, stretch: dict[str, Stretch], lock: Lock = EMPTY_LOCK) -> Outcome[Placement]:
    """Place with an elastic choice for some models, in place of their stated alternatives."""

    def given(entry: Candidates) -> Candidates:
        elastic = stretch.get(entry.request.model.name)
        if elastic is None:
            return entry
        return replace(entry, options={group.host_class: Options(elastic=(elastic,)) for group in entry.groups})

    return place_models(tuple(given(entry) for entry in candidates_of(fleet)), fleet, lock)


def test_an_uneven_group_of_cards_is_found() -> None:
    fleet = cluster([host("a", [24, 24]), host("b", [16])], [model("m", need(1, 1))])
    assert where(place(fleet, {"m": Stretch(40)})) == {"m-0": "a:0,1"}


def test_the_tightest_host_is_preferred() -> None:
    fleet = cluster([host("a", [30, 30]), host("b", [24, 24])], [model("m", need(1, 1))])
    assert where(place(fleet, {"m": Stretch(40)})) == {"m-0": "b:0,1"}


def test_a_replica_spans_the_fewest_hosts_and_all_have_ports() -> None:
    fleet = cluster([host("a", [24]), host("b", [24]), host("c", [24, 24])], [model("m", need(1, 1))])
    outcome = place(fleet, {"m": Stretch(60, spans_hosts=True)})
    assert where(outcome) == {"m-0": "c:0,1 a:0"}
    assert outcome.value is not None
    assert [seat.ports for seat in outcome.value.assignments[0].seats] == [(20000,), (20000,)]


def test_a_locked_split_is_restored_and_not_computed_anew() -> None:
    fleet = cluster([host("a", [24, 24]), host("b", [48, 48])], [model("m", need(1, 1)), model("n", need(1, 10))])
    first = place(fleet, {"m": Stretch(40)})
    assert first.value is not None
    lock = lock_of(first.value)
    again = place(cluster(fleet.hosts, fleet.models[:1]), {"m": Stretch(40)}, lock)
    assert again.value is not None
    assert again.value.assignments[0].choice == first.value.assignments[0].choice
    assert again.value.assignments[0].moved_from is None


def test_a_larger_model_is_fitted_anew_on_its_own_cards() -> None:
    fleet = cluster([host("a", [24, 24]), host("b", [30, 30])], [model("m", need(1, 1))])
    first = place(fleet, {"m": Stretch(40)})
    assert first.value is not None
    again = place(fleet, {"m": Stretch(44)}, lock_of(first.value))
    assert where(again) == {"m-0": "a:0,1"}
    assert again.diagnostics == ()


def test_room_is_made_for_an_elastic_choice() -> None:
    fleet = cluster(
        [host("a", [24, 24]), host("b", [24]), host("c", [24])],
        [model("big", need(1, 1)), model("s", need(1, 20), replicas=2)],
    )
    placed = where(place(fleet, {"big": Stretch(48)}))
    assert placed == {"big-0": "a:0,1", "s-0": "b:0", "s-1": "c:0"}


def test_a_shortfall_is_told_in_bytes() -> None:
    outcome = place(cluster([host("a", [24, 24])], [model("m", need(1, 1))]), {"m": Stretch(50)})
    assert "needs 53,687,091,200 bytes of GPU memory together, at most 51,539,607,552 are left" in (
        outcome.diagnostics[0].message
    )
