"""The ways to lay a model out over several hosts: the same objects for all classes of hosts that can take part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gslc.ir.diagnostic import Excluded
from gslc.ir.inputs import Arch, GpuKind, Host
from gslc.ir.placement import Choice
from gslc.memory.vllm.legality import layout_words, refusals
from gslc.memory.vllm.options import MOST_RANKS, Asker, choice_of, counted_at, too_small
from gslc.memory.vllm.spanning import against_ray
from gslc.memory.vllm.view import View

SPANNING_RANK = 1000  # layouts over several hosts come after all that lie on one
RELEASE_KEY = "engines.vllm.version"  # of a host; all hosts of one replica run the same release
MOST_RANKS_MORE = 2  # a layout over more hosts, with fewer cards of each, may take so many times the fewest cards


class OverHosts:
    """Pipeline stages across hosts, tensor parallel inside each: equal card counts, as native multi-node asks.

    Which cards and how much of them may be used is looked up among all hosts that may run the model, so that classes
    which differ in host memory, in other cards or in paths are offered one and the same choice. Where less of a card is
    usable on some hosts, there is one more choice with a utilisation that holds there too.
    """

    def __init__(self, view: View, asker: Asker, peers: Iterable[Host], *, hosts: int, arch: Arch) -> None:
        self.view = view
        self.asker = asker
        self.hosts = min(hosts, MOST_RANKS)
        self.common = ((RELEASE_KEY, view.version), ("arch", arch))
        self.most: dict[GpuKind, dict[int, int]] = {}  # bytes usable of a card -> the most cards of one host
        self.made: dict[GpuKind, list[tuple[int, int, Choice]]] = {}  # usable bytes, cards of each host, the choice
        self.refused: dict[GpuKind, tuple[Excluded, ...]] = {}
        for host in peers:
            if host.arch == arch:
                self._count(host)

    def of(self, kind: GpuKind, cards: int, capacity: int) -> tuple[list[Choice], tuple[Excluded, ...]]:
        """The choices in which a host with so many cards of a kind can take part, and what was ruled out."""
        if kind not in self.made:
            self._make(kind)
        found = [choice for usable, each, choice in self.made[kind] if usable <= capacity and each <= cards]
        return found, self.refused[kind]

    def _count(self, host: Host) -> None:
        for kind in dict.fromkeys(gpu.kind for gpu in host.gpus):
            capacity = max(0, kind.memory_bytes - host.reserved_gpu_memory_bytes)
            cards = sum(gpu.kind == kind for gpu in host.gpus)
            most = self.most.setdefault(kind, {})
            most[capacity] = max(cards, most.get(capacity, 0))

    def _make(self, kind: GpuKind) -> None:
        refused = list(against_ray((kind,), self.view))
        made: list[tuple[int, int, Choice]] = []
        most = 0
        for capacity, cards in sorted(self.most.get(kind, {}).items(), reverse=True) if not refused else ():
            most = max(most, cards)
            for choice in self._choices(kind, capacity, most, refused):
                _add(made, capacity, choice)
        self.made[kind] = made
        self.refused[kind] = tuple(dict.fromkeys(refused))

    def _choices(self, kind: GpuKind, capacity: int, most: int, refused: list[Excluded]) -> list[Choice]:
        """The fewest hosts with the smallest tensor-parallel size; over more hosts what takes fewer cards of each.

        `refused` gets what speaks against all that would be better than the first.
        """
        view = self.view
        against: list[Excluded] = []
        found: list[Choice] = []
        fewest: int | None = None
        for nodes in range(2, self.hosts + 1):
            if view.pipeline_parallel not in {None, nodes}:
                continue
            for tensor in range(1, most + 1):
                ranks = nodes * tensor
                if view.tensor_parallel not in {None, tensor}:
                    continue
                if fewest is not None and ranks > fewest * MOST_RANKS_MORE:
                    break
                illegal = refusals(view.shape, tensor, nodes, view.terms)
                if illegal:
                    against.extend(illegal)
                    continue
                counted = counted_at(view, kind, tensor, nodes, capacity)
                if not counted.starts:
                    against.append(too_small(layout_words(tensor, nodes), counted, kind))
                    continue
                if not found:
                    refused.extend(against)
                rank = SPANNING_RANK + nodes * MOST_RANKS + tensor
                choice = choice_of(view, counted, nodes, kind, self.asker, tuple(against), rank=rank)
                found.append(replace(choice, across_classes=True, common=self.common))
                most, fewest = tensor - 1, min(ranks, fewest or ranks)
                break
            if most == 0:
                break
        if not found:
            refused.extend(against)
        return found


def _add(made: list[tuple[int, int, Choice]], capacity: int, choice: Choice) -> None:
    """Take a choice for hosts where less of a card may be used: the one there is where it is the same, else a worse."""
    each = len(choice.parts[0].gpus)
    alike = 0
    for index, (_, _, known) in enumerate(made):
        if known.layout == choice.layout and known.parts == choice.parts:
            made[index] = (capacity, each, known)
            return
        alike += known.label == choice.label
    made.append((capacity, each, replace(choice, rank=choice.rank + alike)))
