"""Does this model start on these cards, laid out like this, and how long a context fits."""

from __future__ import annotations

from typing import Literal

from gslc.ir.facts import SafetensorsFacts
from gslc.ir.inputs import GpuKind
from gslc.ir.record import dataclass
from gslc.memory.vllm import budget
from gslc.memory.vllm.budget import Batch, RankBudget
from gslc.memory.vllm.cards import effective_dtype
from gslc.memory.vllm.kv import BLOCK_TOKENS, CONCURRENT_BATCHES, CachePool, cache_pool
from gslc.memory.vllm.legality import Terms
from gslc.memory.vllm.shape import Shape
from gslc.memory.vllm.table import model_weights
from gslc.memory.vllm.weights import RankWeights, stage_layers, value_bytes

DEFAULT_UTILIZATION = 900  # thousandths; the engine's own default changed from 0.9 to 0.92 between 0.19.1 and 0.20
UTILIZATION_STEP = 10
THOUSAND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked of the engine; None and 0 mean the engine's own default."""

    context: int
    terms: Terms
    parallel: int | None = None
    utilization: int | Literal["auto"] | None = None
    batched_tokens: int | None = None
    block_tokens: int | None = None
    pool_bytes: int | None = None  # --kv-cache-memory-bytes
    eager: bool = False
    hybrid_cache: bool = True
    pooling: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The answer for one layout. `ranks` run tensor parallel fastest, then pipeline stages."""

    tensor_parallel: int
    pipeline_parallel: int
    context: int
    utilization: int
    lowered_from: int | None  # the default utilisation, where the card has no room for it
    batch: Batch
    ranks: tuple[RankBudget, ...]
    pools: tuple[CachePool, ...]  # one a stage
    in_flight_tokens: int

    @property
    def starts(self) -> bool:
        """Whether vLLM starts: the requested memory is free, and one request of the context fits its cache."""
        return not self.short_of

    @property
    def short_of(self) -> tuple[tuple[str, int, int], ...]:
        """(what, bytes needed, bytes available) of the first thing that is too small on any rank; () when it starts."""
        for at, rank in enumerate(self.ranks):
            if not rank.startable:
                return (("GPU memory", rank.requested + rank.outside, rank.total),)
            pool = self.pools[at // self.tensor_parallel]
            if rank.pool <= 0 and (pool.block_bytes or rank.pool < 0):
                return (("GPU memory", rank.inside_without_pool + pool.block_bytes, rank.requested),)
            if not pool.fits(rank.pool, self.context, self.in_flight_tokens):
                needed = pool.request_bytes(self.context, self.in_flight_tokens) + pool.block_bytes
                return (("KV cache", needed, rank.pool),)
        return ()

    def longest(self, ceiling_tokens: int) -> int:
        """The longest context that starts with this batch and utilisation; 0 where none does."""
        if any(not rank.startable or rank.pool < 0 for rank in self.ranks):
            return 0
        return min(
            (
                self.pools[at // self.tensor_parallel].longest(rank.pool, ceiling_tokens, self.in_flight_tokens)
                for at, rank in enumerate(self.ranks)
            ),
            default=0,
        )

    @property
    def blocks(self) -> int:
        """Blocks of the pool: the fewest that any rank holds."""
        return min(
            (self.pools[at // self.tensor_parallel].blocks(rank.pool) for at, rank in enumerate(self.ranks)), default=0
        )

    @property
    def concurrency(self) -> int:
        """Full-length requests that run at once, rounded down; 0 where the model keeps no cache."""
        found = []
        for at, rank in enumerate(self.ranks):
            pool = self.pools[at // self.tensor_parallel]
            request = pool.request_bytes(self.context, self.in_flight_tokens)
            if request:
                found.append(max(0, rank.pool) // request)
        return min(found, default=0)

    @property
    def token_bytes(self) -> int:
        """Bytes that one more token of context costs, summed over all ranks."""
        return sum(pool.growing_token_bytes for pool in self.pools) * self.tensor_parallel


def fit(
    facts: SafetensorsFacts,
    shape: Shape,
    kinds: tuple[GpuKind, ...],
    tensor_parallel: int,
    pipeline_parallel: int,
    wish: Wish,
    *,
    capacities: tuple[int, ...] | None = None,
) -> Fit:
    """One layout counted out. kinds has one card a rank; capacities is what may be used of each (default: all)."""
    usable = capacities or tuple(kind.memory_bytes for kind in kinds)
    dtype = effective_dtype(shape, kinds[0], wish.terms.dtype)
    weights = model_weights(
        facts,
        shape,
        tensor_parallel,
        pipeline_parallel,
        dtype=dtype,
        expert_parallel=wish.terms.expert_parallel,
        partition=wish.terms.partition,
    )
    batch = batch_of(shape, kinds[0], wish)
    in_flight = max(CONCURRENT_BATCHES, pipeline_parallel) * batch.tokens
    width = value_bytes(shape, dtype)
    pools = tuple(
        cache_pool(
            shape,
            layers,
            tensor_parallel,
            value_bytes=width,
            cache_dtype=wish.terms.kv_cache_dtype,
            block_tokens=wish.block_tokens or BLOCK_TOKENS,
            hybrid=wish.hybrid_cache,
        )
        for layers in stage_layers(shape.layers, pipeline_parallel, wish.terms.partition)
    )
    inside = tuple(
        _rank(
            shape, weights[rank // tensor_parallel], batch, tensor_parallel, pipeline_parallel, rank, kinds[rank], wish
        )
        for rank in range(tensor_parallel * pipeline_parallel)
    )
    share = _utilization(inside, pools, tensor_parallel, usable, wish, in_flight)
    ranks = tuple(_with_pool(rank, usable[at], share, wish) for at, rank in enumerate(inside))
    return Fit(
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        context=wish.context,
        utilization=share,
        lowered_from=DEFAULT_UTILIZATION if wish.utilization is None and share < DEFAULT_UTILIZATION else None,
        batch=batch,
        ranks=ranks,
        pools=pools,
        in_flight_tokens=in_flight,
    )


def batch_of(shape: Shape, kind: GpuKind, wish: Wish) -> Batch:
    """The batch limits that the engine will run with."""
    default = budget.default_batch(kind, wish.context, version=wish.terms.version)
    sequences = wish.parallel or default.sequences
    tokens = wish.batched_tokens or default.tokens
    if wish.batched_tokens is None:
        tokens = max(tokens, sequences) if wish.parallel else tokens
        if wish.pooling:
            # Encoders read a request in one step: a batch below max_model_len is refused (config/scheduler.py).
            tokens = max(tokens, wish.context)
    return Batch(tokens=tokens, sequences=min(sequences, tokens))


def _rank(
    shape: Shape, weights: RankWeights, batch: Batch, ranks: int, stages: int, rank: int, kind: GpuKind, wish: Wish
) -> RankBudget:
    """A rank's budget without its pool."""
    version, pooling = wish.terms.version, wish.pooling
    inside, captured = budget.graph_bytes(shape, version, eager=wish.eager, pooling=pooling)
    last = rank // ranks == stages - 1
    several = ranks * stages > 1
    return RankBudget(
        total=kind.memory_bytes,
        requested=0,
        weights=weights.total_bytes,
        rounding=budget.rounding_bytes(shape, weights),
        activation=budget.activation_bytes(
            shape,
            batch,
            ranks,
            version=version,
            eager=wish.eager,
            pooling=pooling,
            last_stage=last,
            images=not wish.terms.vision_off,
        ),
        non_torch=budget.RANKED_NON_TORCH_BYTES if several else budget.NON_TORCH_BYTES,
        graphs=inside,
        pool=0,
        outside=budget.outside_bytes(shape, ranks * stages, leader=rank == 0) + captured,
    )


def _utilization(
    inside: tuple[RankBudget, ...],
    pools: tuple[CachePool, ...],
    ranks: int,
    usable: tuple[int, ...],
    wish: Wish,
    in_flight: int,
) -> int:
    """The utilisation to emit, in thousandths."""
    if isinstance(wish.utilization, int):
        return wish.utilization
    if wish.utilization == "auto":
        wanted = 1
        for at, rank in enumerate(inside):
            pool = pools[at // ranks]
            held = pool.request_bytes(wish.context, in_flight) * (wish.parallel or 1) + pool.block_bytes
            wanted = max(wanted, -(-(rank.inside_without_pool + held) * THOUSAND // rank.total))
        return min(wanted, THOUSAND)
    share = DEFAULT_UTILIZATION
    while share > UTILIZATION_STEP and any(
        budget.requested_bytes(rank.total, share) + rank.outside > usable[at] for at, rank in enumerate(inside)
    ):
        share -= UTILIZATION_STEP
    return share


def _with_pool(rank: RankBudget, usable: int, share: int, wish: Wish) -> RankBudget:
    requested = budget.requested_bytes(rank.total, share)
    pool = requested - rank.inside_without_pool
    if wish.pool_bytes is not None:
        pool, requested = wish.pool_bytes, rank.inside_without_pool + wish.pool_bytes
    return RankBudget(
        total=usable,
        requested=requested,
        weights=rank.weights,
        rounding=rank.rounding,
        activation=rank.activation,
        non_torch=rank.non_torch,
        graphs=rank.graphs,
        pool=pool,
        outside=rank.outside,
    )
