"""The options of models, compiled: what each asks of a host, and which of them the hosts of a class have room for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from gslc.ir.diagnostic import Excluded
from gslc.ir.inputs import GpuKind
from gslc.ir.placement import Candidates, Choice, Elastic, HostClass, Options, PartNeed
from gslc.ir.record import dataclass

Key: TypeAlias = tuple[int, ...]  # lower is better, compared left to right
Fit: TypeAlias = tuple[Key, Key, Key, Key]  # how good a fit is by each style of fit.py, and its cards
Sizes: TypeAlias = list[tuple[int, int]]  # bytes free and card, sorted


@dataclass(slots=True, eq=False)
class Part:
    """What one host must give; needs are sorted largest first, `slots[i]` is the device-order position of needs[i]."""

    count: int
    needs: tuple[int, ...]
    slots: tuple[int, ...]
    uniform: bool
    memory: int
    memory_unified: int  # host memory where the GPUs draw on it too
    exclusive: bool
    same_kind: bool
    kind: GpuKind | None
    indices: tuple[int, ...] | None
    ports: int
    ways: tuple[tuple[str, int], ...]  # how to ask a pool for hosts, see State.value_of
    bulk: int  # bytes on all its cards together
    alike: bool  # it needs cards, the same of each of them, and names neither them nor their kind
    fits: dict[int, Fit | None] = field(default_factory=dict)  # by condition

    @property
    def group(self) -> bool:
        """True for several cards that work as one: they exchange data at every step, so that links between them count.

        Layers shared out over uneven cards (GGUF) hand over one activation a token: that is no group.
        """
        return self.count > 1 and self.same_kind


@dataclass(slots=True, eq=False)
class Option:
    """One choice, compiled. `key` sorts options of one replica from best to worst, moves aside."""

    choice: Choice
    rank: int
    offload: int
    gpus: int
    bulk: int  # bytes on all cards together
    parts: tuple[Part, ...]
    single: Part | None  # the only part, where there is one


def option_key(option: Option) -> tuple[int, int, int, str]:
    """Sorts better options first: fewer offloaded bytes, better rank, fewer cards."""
    return (option.offload, option.rank, option.gpus, option.choice.label)


class Zone:
    """Eligible hosts of one class, with the options of a model there, compiled when they are first asked for."""

    __slots__ = ("_candidates", "_found", "_lean", "_maker", "_options", "host_class", "hosts")

    def __init__(self, host_class: HostClass, hosts: tuple[int, ...], candidates: Candidates, maker: ZoneMaker) -> None:
        self.host_class = host_class
        self.hosts = hosts
        self._candidates = candidates
        self._maker = maker
        self._found: Options | None = None
        self._options: tuple[Option, ...] | None = None
        self._lean: tuple[Option, ...] | None = None

    @property
    def options(self) -> tuple[Option, ...]:
        """The fixed choices of one part that fit an empty host, best first."""
        if self._options is None:
            largest = self._maker.largest_of(self.host_class)
            found = self._maker.single_options(self._asked().fixed)[1]
            self._options = tuple([option for option in found if fits_empty(option.parts[0], self.host_class, largest)])
        return self._options

    @property
    def lean(self) -> tuple[Option, ...]:
        """The same, those that take the fewest bytes on cards first: what a search prefers where cards are scarce."""
        if self._lean is None:
            self._lean = tuple(sorted(self.options, key=lambda option: (option.offload, option.bulk, option.rank)))
        return self._lean

    def all_options(self) -> list[Option]:
        """The fixed choices of one part, also those that are too large for these hosts."""
        return list(self._maker.single_options(self._asked().fixed)[0])

    def _asked(self) -> Options:
        """What the backend offers on these hosts, asked once: a class of hosts is slow to look up."""
        if self._found is None:
            self._found = self._candidates.options[self.host_class]
        return self._found

    @property
    def elastic(self) -> tuple[Elastic, ...]:
        """The choices that depend on what is free."""
        return self._asked().elastic

    @property
    def refused(self) -> tuple[Excluded, ...]:
        """Layouts that were ruled out beforehand, and why."""
        return self._asked().refused

    @property
    def wide(self) -> tuple[Choice, ...]:
        """The fixed choices of several parts."""
        return tuple([choice for choice in self._asked().fixed if len(choice.parts) > 1])


def fits_empty(part: Part, host_class: HostClass, largest: tuple[int, ...]) -> bool:
    """True where a part fits a host of a class with nothing on it, the kinds of its cards aside.

    `largest` has what the cards of the class hold, the largest first.
    """
    if (part.memory_unified if host_class.unified_memory else part.memory) > host_class.memory_capacity:
        return False
    if part.count == 0:
        return True
    if part.count > len(largest):
        return False
    if part.uniform:
        return largest[part.count - 1] >= part.needs[0]
    return all(size >= need for size, need in zip(largest, part.needs, strict=False))


class ZoneMaker:
    """Compiles options, sharing equal parts and options among all models."""

    def __init__(self, host_index: Mapping[str, int]) -> None:
        self.host_index = host_index
        self.parts: dict[object, Part] = {}
        self.options: dict[int, tuple[Choice, Option]] = {}  # by identity: backends give one choice to many classes
        self.singles: dict[int, tuple[object, tuple[Option, ...], tuple[Option, ...]]] = {}
        self.largest: dict[int, tuple[object, tuple[int, ...]]] = {}
        self.layouts: dict[int, tuple[object, tuple[tuple[int, ...], ...], Mapping[int, int]]] = {}

    def zones_of(self, candidates: Candidates) -> tuple[tuple[Zone, ...], Mapping[int, int]]:
        """The zones of a model, and which of them holds a host. Models with the same groups share the hosts."""
        groups = candidates.groups
        known = self.layouts.get(id(groups))
        if known is None:
            hosts = tuple(tuple(sorted(self.host_index[name] for name in group.hosts)) for group in groups)
            where = {host: number for number, members in enumerate(hosts) for host in members}
            known = self.layouts[id(groups)] = (groups, hosts, where)
        zones = tuple(
            Zone(group.host_class, members, candidates, self) for group, members in zip(groups, known[1], strict=True)
        )
        return zones, known[2]

    def wide_of(self, zones: tuple[Zone, ...]) -> tuple[tuple[Option, tuple[int, ...]], ...]:
        """The options over several hosts; equal ones that go across classes are one."""
        found: list[tuple[Choice, list[int]]] = []
        for zone in zones:
            for choice in zone.wide:
                twin = next((hosts for known, hosts in found if choice.across_classes and known == choice), None)
                if twin is None:
                    found.append((choice, list(zone.hosts)))
                else:
                    twin.extend(zone.hosts)
        compiled = [(self.option(choice), tuple(sorted(hosts))) for choice, hosts in found]
        return tuple(sorted(compiled, key=lambda entry: option_key(entry[0])))

    def single_options(self, fixed: tuple[Choice, ...]) -> tuple[tuple[Option, ...], tuple[Option, ...]]:
        """The choices of one part, compiled, in their order and best first; the answer of equal classes is shared."""
        known = self.singles.get(id(fixed))
        if known is None:
            found = tuple([self.option(choice) for choice in fixed if len(choice.parts) == 1])
            ordered = tuple(sorted(found, key=option_key)) if len(found) > 1 else found
            known = self.singles[id(fixed)] = (fixed, found, ordered)
        return known[1:]

    def largest_of(self, host_class: HostClass) -> tuple[int, ...]:
        """What the cards of a class hold, the largest first."""
        known = self.largest.get(id(host_class))
        if known is None:
            sizes = tuple(sorted(host_class.gpu_capacity, reverse=True))
            known = self.largest[id(host_class)] = (host_class, sizes)
        return known[1]

    def option(self, choice: Choice) -> Option:
        """A choice, compiled."""
        known = self.options.get(id(choice))
        if known is not None:
            return known[1]
        parts = tuple(self.part(need, choice.exclusive) for need in choice.parts)
        option = Option(
            choice=choice,
            rank=choice.rank,
            offload=choice.offloaded_bytes,
            gpus=sum([part.count for part in parts]),
            bulk=sum([part.bulk for part in parts]),
            parts=parts,
            single=parts[0] if len(parts) == 1 else None,
        )
        self.options[id(choice)] = (choice, option)
        return option

    def part(self, need: PartNeed, exclusive: bool) -> Part:
        """A part, compiled; equal parts are one object."""
        sizes = tuple([gpu.total for gpu in need.gpus])
        host = need.host.total
        key = (sizes, host, exclusive, need.same_kind, need.kind, need.indices, len(need.ports))
        found = self.parts.get(key)
        if found is None:
            slots = tuple(sorted(range(len(sizes)), key=lambda slot: (-sizes[slot], slot)))
            found = Part(
                count=len(sizes),
                needs=tuple(sizes[slot] for slot in slots),
                slots=slots,
                uniform=len(set(sizes)) <= 1,
                memory=host,
                memory_unified=host + sum(sizes),
                exclusive=exclusive,
                same_kind=need.same_kind,
                kind=need.kind,
                indices=need.indices,
                ports=len(need.ports),
                ways=_ways(len(sizes), exclusive),
                bulk=sum(sizes),
                alike=len(set(sizes)) == 1 and need.kind is None and need.indices is None,
            )
            self.parts[key] = found
        return found


def _ways(count: int, exclusive: bool) -> tuple[tuple[str, int], ...]:
    """The lists that lead to hosts for a part, best first."""
    if count == 0:
        return (("memory", 0),)
    if exclusive:
        return (("whole", count),)
    return (("touched", 1), ("any", 1)) if count == 1 else (("any", count),)
