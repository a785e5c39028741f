"""The ways to lay a model out on hosts of one class, and the reasons against the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

from gslc.engines.vllm_command import utilization_words
from gslc.engines.vllm_versions import version_tuple
from gslc.ir.diagnostic import Decision, Diagnostic, Excluded, Place
from gslc.ir.inputs import GpuKind
from gslc.ir.placement import Choice, HostClass, Options, PartNeed
from gslc.ir.plan import DeviceMemory, Layout
from gslc.ir.record import dataclass
from gslc.memory.vllm.budget import GIB, RankBudget
from gslc.memory.vllm.cards import card_refusals, dotted, minimum_capability
from gslc.memory.vllm.fit import THOUSAND, UTILIZATION_STEP, Fit, fit
from gslc.memory.vllm.legality import layout_words, refusals
from gslc.memory.vllm.spanning import parts_of, ports_of, ray_host_bytes
from gslc.memory.vllm.view import View

# Host memory of the processes, beside page cache: the API server and engine core, and one worker a GPU with torch,
# CUDA and its libraries loaded. Judged from resident sizes of vLLM 0.26 on CPU (2.2 GiB a process); no GPU run
# counted it.
ENGINE_HOST_BYTES = 4 * GIB
WORKER_HOST_BYTES = 3 * GIB
SWAP_SPACE_BYTES = 4 * GIB  # --swap-space, pinned for each GPU until it left with 0.18
SWAP_SPACE_BEFORE = (0, 17, 0)
MOST_RANKS = 64
MOST_SIZES = 16
LARGEST_CARD_GIB = 4096

# The choices over several hosts for a host with so many cards of a kind, of each of which so many bytes may be used.
OverSeveral: TypeAlias = Callable[[GpuKind, int, int], tuple[list[Choice], tuple[Excluded, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """The model that asks: its name, where remarks on `parallel` stand, and whether it wants its cards alone."""

    name: str
    place: Place
    exclusive: bool


def vllm_options(
    view: View, host_class: HostClass, asker: Asker, over_hosts: OverSeveral | None, needed: Callable[[], Excluded]
) -> Options:
    """One GPU, else the smallest legal tensor-parallel size on cards of one kind; over hosts only if `distributed`.

    needed: what would do, asked for where nothing fits; it is the same for all classes.
    """
    fixed: list[Choice] = []
    refused: list[Excluded] = []
    for kind, indices in _by_kind(host_class):
        cards = card_refusals(view.shape, kind, view.terms)
        if cards:
            refused.extend(cards)
            continue
        capacity = min(host_class.gpu_capacity[index] for index in indices)
        mixed = len(set(host_class.gpu_kinds)) > 1
        found, against = _on_one_host(view, kind, len(indices), capacity, asker)
        refused.extend(against)
        fixed.extend(_of_kind(choice, kind) if mixed else choice for choice in found)
        if over_hosts is not None:
            wide, against_wide = over_hosts(kind, len(indices), capacity)
            fixed.extend(wide)
            refused.extend(() if found else against_wide)
    if not fixed:
        refused.append(needed())
    return Options(fixed=tuple(fixed), refused=tuple(dict.fromkeys(refused)))


def _by_kind(host_class: HostClass) -> Iterator[tuple[GpuKind, tuple[int, ...]]]:
    for kind in dict.fromkeys(host_class.gpu_kinds):
        yield kind, tuple(index for index, other in enumerate(host_class.gpu_kinds) if other == kind)


def _of_kind(choice: Choice, kind: GpuKind) -> Choice:
    parts = tuple(
        PartNeed(gpus=part.gpus, host=part.host, same_kind=part.same_kind, kind=kind, ports=part.ports)
        for part in choice.parts
    )
    return replace(choice, parts=parts)


def _sizes(view: View, most: int) -> Iterator[tuple[int, int]]:
    """(tensor parallel, pipeline parallel) that the model's settings allow on so many cards, smallest first."""
    stages = view.pipeline_parallel or 1
    if view.tensor_parallel is not None:
        yield view.tensor_parallel, stages
        return
    for size in range(1, max(1, most // stages) + 1):
        yield size, stages


def _on_one_host(
    view: View, kind: GpuKind, cards: int, capacity: int, asker: Asker
) -> tuple[list[Choice], list[Excluded]]:
    refused: list[Excluded] = []
    for tensor, stages in _sizes(view, cards):
        words = layout_words(tensor, stages)
        if tensor * stages > cards:
            detail = f"needs {tensor * stages} equal cards, hosts of this class have {cards} {kind.model}"
            if tensor > cards:
                detail += ", and tensor parallel does not cross hosts"
            refused.append(Excluded(what=words, rule="GPUs", detail=detail))
            continue
        against = refusals(view.shape, tensor, stages, view.terms)
        if against:
            refused.extend(against)
            continue
        counted = counted_at(view, kind, tensor, stages, capacity)
        if counted.starts:
            choice = choice_of(view, counted, 1, kind, asker, tuple(refused), rank=tensor * stages)
            return [choice], refused
        refused.append(too_small(words, counted, kind))
    return [], refused


def counted_at(view: View, kind: GpuKind, tensor: int, stages: int, capacity: int) -> Fit:
    """The layout counted out with so much of a card; with `--max-model-len auto` at the longest context that fits."""
    ranks = tensor * stages

    def at(context: int) -> Fit:
        return fit(
            view.facts, view.shape, (kind,) * ranks, tensor, stages, view.wish(context), capacities=(capacity,) * ranks
        )

    if view.context is not None:
        return at(view.context)
    counted = at(view.context_ceiling)
    longest = counted.longest(view.context_ceiling)
    return at(longest) if longest else counted


def choice_of(
    view: View,
    counted: Fit,
    nodes: int,
    kind: GpuKind,
    asker: Asker,
    refused: tuple[Excluded, ...],
    *,
    rank: int,
) -> Choice:
    """A layout that starts, as a choice over so many hosts."""
    by_ray = nodes > 1 and view.by_ray
    parts = tuple(
        PartNeed(
            gpus=gpus,
            host=DeviceMemory(overhead=host_bytes(view, len(gpus)) + (ray_host_bytes() if by_ray else 0)),
            same_kind=len(gpus) > 1,
            ports=ports_of(node, nodes),
            kind=kind if nodes > 1 else None,
        )
        for node, gpus in enumerate(parts_of(devices_of(view, counted), nodes, by_ray=by_ray))
    )
    words = layout_words(counted.tensor_parallel, counted.pipeline_parallel)
    if nodes > 1:
        words += f" on {nodes} hosts"
    alone = asker.exclusive or view.utilization is None
    return Choice(
        rank=rank,
        label=words,
        parts=parts,
        layout=Layout(
            tensor_parallel=counted.tensor_parallel,
            pipeline_parallel=counted.pipeline_parallel,
            layers=view.shape.layers,
            gpu_memory_utilization=counted.utilization,
            context=counted.context,
            parallel=counted.batch.sequences,
        ),
        exclusive=alone,
        basis="measured" if view.version == MEASURED_VERSION and kind.vendor == "nvidia" else "derived",
        decisions=tuple(layout_decisions(view, counted, kind, asker.name, words, refused)),
        diagnostics=tuple(_remarks(view, counted, kind, asker)),
    )


MEASURED_VERSION = "0.26.0"  # the memory constants come from this release


def would_do(view: View) -> Excluded:
    """What would work: the legal sizes up to 16, and how large their cards must be for one request of the context."""
    stages = view.pipeline_parallel or (1 if view.partition is None else len(view.partition))
    legal = [size for size in range(1, MOST_SIZES + 1) if not refusals(view.shape, size, stages, view.terms)]
    cards = {size: card_bytes(view, size, stages) for size in legal}
    said = [
        f"{layout_words(size, stages)} on cards of {-(-large // GIB)} GiB" for size, large in cards.items() if large
    ]
    none = (
        f"no card of up to {LARGEST_CARD_GIB} GiB"
        if legal
        else "no tensor-parallel size up to 16 is legal for this model"
    )
    needed = minimum_capability(view.shape)
    capability = f", of compute capability {dotted(needed)} or newer" if needed is not None else ""
    detail = f"{'; '.join(said)}{capability}" if said else none
    return Excluded(
        what=f"one request of {view.context or view.context_ceiling} tokens", rule="would fit", detail=detail
    )


def card_bytes(view: View, tensor: int, stages: int) -> int | None:
    """The smallest card on which this layout starts, to the GiB; None where none is large enough."""

    def starts(size: int) -> bool:
        kind = GpuKind(model="", vendor="nvidia", memory_bytes=size * GIB)
        return counted_at(view, kind, tensor, stages, size * GIB).starts

    low, high = 1, LARGEST_CARD_GIB
    if not starts(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if starts(middle):
            high = middle
        else:
            low = middle + 1
    return low * GIB


def device_memory(budget: RankBudget, *, keeps_cache: bool, stated_share: bool) -> DeviceMemory:
    """A rank's demand on its card: the whole budget, and what lies outside of it.

    An encoder takes no pool. Where its utilisation was stated, the rest of the budget must be free all the same when it
    starts, and stands in `compute`; by default it has the card to itself.
    """
    inside = budget.rounding + budget.activation + budget.non_torch + budget.graphs
    rest = max(0, budget.requested - budget.weights - inside)
    if keeps_cache:
        return DeviceMemory(weights=budget.weights, kv_cache=rest, compute=inside, overhead=budget.outside)
    spare = rest if stated_share else 0
    return DeviceMemory(weights=budget.weights, compute=inside + spare, overhead=budget.outside)


def devices_of(view: View, counted: Fit) -> tuple[DeviceMemory, ...]:
    """The demand of every rank, tensor parallel fastest."""
    return tuple(
        device_memory(
            rank,
            keeps_cache=counted.pools[at // counted.tensor_parallel].block_bytes > 0,
            stated_share=view.utilization is not None,
        )
        for at, rank in enumerate(counted.ranks)
    )


def host_bytes(view: View, workers: int) -> int:
    """Host memory of one host's share of an instance."""
    swap = SWAP_SPACE_BYTES * workers if version_tuple(view.version) < SWAP_SPACE_BEFORE else 0
    return ENGINE_HOST_BYTES + WORKER_HOST_BYTES * workers + swap


def too_small(words: str, counted: Fit, kind: GpuKind) -> Excluded:
    """What a layout that does not start is short of."""
    short = counted.short_of[0]
    what, needed, available = short
    longest = counted.longest(counted.context)
    tail = f"; a context of {longest} would fit" if longest else ""
    if what == "KV cache":
        detail = (
            f"one request of {counted.context} tokens needs {needed:,} bytes of KV "
            f"cache, {kind.model} leaves {available:,}{tail}"
        )
    else:
        detail = f"needs {needed:,} bytes on each card, {kind.model} gives {available:,}{tail}"
    return Excluded(what=words, rule=what, detail=detail)


def _remarks(view: View, counted: Fit, kind: GpuKind, asker: Asker) -> Iterator[Diagnostic]:
    """A utilisation that was lowered, and a cache too small for `parallel` requests at once."""
    if counted.lowered_from is not None:
        outside = max(rank.outside for rank in counted.ranks)
        yield Diagnostic(
            code="GS364",
            severity="note",
            message=(
                f"model {asker.name}: gpu_memory_utilization is {utilization_words(counted.utilization)} on "
                f"{kind.model}, where vLLM uses {outside:,} bytes outside of its budget"
            ),
            place=asker.place,
        )
    if too_few(view, counted):
        yield Diagnostic(
            code="GS357",
            severity="warning",
            message=f"model {asker.name}: on {kind.model} the KV cache holds {counted.concurrency} requests of "
            f"{counted.context} tokens at once, `parallel` is {view.parallel}",
            place=asker.place,
            help="lower `context` or `parallel`, or give it more memory",
        )


def too_few(view: View, counted: Fit) -> bool:
    """Whether the cache holds fewer full-length requests than were asked for."""
    keeps = any(pool.block_bytes for pool in counted.pools)
    return view.parallel is not None and keeps and counted.concurrency < view.parallel


def layout_decisions(
    view: View, counted: Fit, kind: GpuKind, subject: str, words: str, refused: tuple[Excluded, ...]
) -> Iterator[Decision]:
    """Why this layout, this utilisation and this concurrency, from the numbers that were compared."""
    first = counted.ranks[0]
    yield Decision(
        subject=subject,
        topic="layout",
        chosen=words,
        rule="one GPU, else the smallest legal tensor-parallel size that fits",
        because=(
            f"{first.weights:,} bytes of weights on the first rank; one request of "
            f"{counted.context} tokens fits its KV cache"
        ),
        evidence=(
            ("card", kind.model),
            ("weights_bytes", first.weights),
            ("activation_bytes", first.activation),
            ("requested_bytes", first.requested),
            ("outside_bytes", first.outside),
            ("kv_pool_bytes", first.pool),
            ("kv_blocks", counted.blocks),
            ("concurrency", counted.concurrency),
        ),
        rejected=refused,
    )
    share = utilization_words(counted.utilization)
    if counted.lowered_from is not None:
        yield Decision(
            subject=subject,
            topic="gpu_memory_utilization",
            chosen=share,
            rule=(
                f"{utilization_words(counted.lowered_from)}, lowered in steps of {utilization_words(UTILIZATION_STEP)}"
            ),
            because=(
                f"vLLM uses {max(rank.outside for rank in counted.ranks):,} bytes of {kind.model} outside of its budget"
            ),
            evidence=(("card_bytes", first.total), ("outside_bytes", first.outside), ("thousandths", THOUSAND)),
        )
    elif view.utilization == "auto":
        yield Decision(
            subject=subject,
            topic="gpu_memory_utilization",
            chosen=share,
            rule="auto: the pool that `parallel` requests of `context` need, rounded up to 0.001",
            because=f"{view.parallel or 1} requests of {counted.context} tokens on {kind.model}",
            evidence=(("kv_pool_bytes", first.pool),),
        )
    if too_few(view, counted):
        yield Decision(
            subject=subject,
            topic="concurrency",
            chosen=str(counted.concurrency),
            rule="a concurrency below `parallel` is allowed: the rest waits",
            because=(
                f"the KV cache holds {counted.concurrency} full-length requests of "
                f"{counted.context} tokens, parallel is {view.parallel}"
            ),
            evidence=(("parallel", view.parallel), ("concurrency", counted.concurrency)),
        )
