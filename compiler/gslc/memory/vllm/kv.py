"""The KV cache: bytes per token by kind of layer, blocks, groups of layers, and what one request needs.

Source: vllm/v1/kv_cache_interface.py and vllm/v1/core/kv_cache_utils.py (0.26, 0.32).
"""

from __future__ import annotations

from gslc.ir.record import dataclass
from gslc.memory.vllm.config import integer
from gslc.memory.vllm.shape import Mla, Shape

BLOCK_TOKENS = 16  # the default on GPUs; FlashMLA rounds up to 64, which changes no byte per token
FP8_MLA_BYTES = 656  # fp8_ds_mla: 512 latent bytes, 16 bytes of scales, 128 bytes of rope in bf16
INDEX_SCALE_BYTES = 4  # DeepSeek V3.2's indexer: one float32 scale for each 128 key bytes
CONCURRENT_BATCHES = 2  # async scheduling, on by default: one batch runs while the next is scheduled
STATE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}  # --mamba-ssm-cache-dtype auto: what the configuration names
STATE_PAGES = 2  # a Mamba state in the align mode of prefix caching; 1 without


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKind:
    """Layers of one stage that keep the same thing. window 0: everything; fixed: a state that does not grow."""

    layers: int
    token_bytes: int  # per layer and token; 0 for a fixed state
    window: int = 0
    fixed_bytes: int = 0  # per layer and request
    cross_tokens: int = 0  # encoder positions kept once a request
    chunked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePool:
    """The pool of one stage: blocks of `block_bytes`, each group of layers taking its own blocks from it."""

    kinds: tuple[CacheKind, ...]
    group_layers: int
    block_tokens: int
    page_bytes: int

    @property
    def block_bytes(self) -> int:
        """Bytes of one block of the pool: a page in each layer of a group."""
        return self.page_bytes * self.group_layers

    @property
    def growing_token_bytes(self) -> int:
        """Bytes that one more token costs, on one rank: layers that keep everything, or all layers where none does."""
        full = [kind for kind in self.kinds if kind.token_bytes and not kind.window and not kind.cross_tokens]
        counted = full or [kind for kind in self.kinds if kind.token_bytes and not kind.cross_tokens]
        return sum(self._groups(kind) * self.group_layers * self.page_bytes // self.block_tokens for kind in counted)

    def _groups(self, kind: CacheKind) -> int:
        return -(-kind.layers // self.group_layers) if self.group_layers else 0

    def request_bytes(self, context_tokens: int, in_flight_tokens: int) -> int:
        """What one request of this length takes at most."""
        blocks = sum(self._groups(kind) * self._blocks(kind, context_tokens, in_flight_tokens) for kind in self.kinds)
        return blocks * self.block_bytes

    def _blocks(self, kind: CacheKind, context_tokens: int, in_flight_tokens: int) -> int:
        if kind.fixed_bytes:
            return STATE_PAGES
        if kind.cross_tokens:
            return -(-kind.cross_tokens // self.block_tokens)
        if not kind.window:
            return -(-context_tokens // self.block_tokens)
        held = kind.window + in_flight_tokens - (0 if kind.chunked else 1)
        tokens = min(held, context_tokens)
        # A sliding window may start inside a block, so it touches one more (max_admission_blocks_per_request).
        return -(-tokens // self.block_tokens) + (0 if kind.chunked else 1)

    def blocks(self, pool_bytes: int) -> int:
        """Blocks that a pool of this size holds."""
        return max(0, pool_bytes) // self.block_bytes if self.block_bytes else 0

    def fits(self, pool_bytes: int, context_tokens: int, in_flight_tokens: int) -> bool:
        """Whether one request of this length starts. One block is kept back as the null block."""
        if not self.block_bytes:
            return True
        return pool_bytes > 0 and self.request_bytes(context_tokens, in_flight_tokens) <= pool_bytes - self.block_bytes

    def longest(self, pool_bytes: int, ceiling_tokens: int, in_flight_tokens: int) -> int:
        """The longest context, up to the ceiling, of which one request fits; 0 where not even one token does."""
        if self.fits(pool_bytes, ceiling_tokens, in_flight_tokens):
            return ceiling_tokens
        low, high = 0, ceiling_tokens
        while low + 1 < high:
            middle = (low + high) // 2
            if self.fits(pool_bytes, middle, in_flight_tokens):
                low = middle
            else:
                high = middle
        return low


def cache_value_bytes(dtype: str, model_value_bytes: int) -> int:
    """Bytes of one cached value under --kv-cache-dtype."""
    if dtype.startswith(("fp8", "int8")):
        return 1
    return model_value_bytes


def cache_pool(
    shape: Shape,
    layers: tuple[int, ...],
    tensor_parallel: int,
    *,
    value_bytes: int,
    cache_dtype: str = "auto",
    block_tokens: int = BLOCK_TOKENS,
    hybrid: bool = True,
) -> CachePool:
    """The pool of the stage that holds these layers, on each of its tensor-parallel ranks."""
    kinds = _kinds(shape, layers, tensor_parallel, cache_value_bytes(cache_dtype, value_bytes), cache_dtype, hybrid)
    if not kinds:
        return CachePool(kinds=(), group_layers=0, block_tokens=block_tokens, page_bytes=0)
    growing = max((kind.token_bytes for kind in kinds), default=0)
    states = max((kind.fixed_bytes for kind in kinds), default=0)
    if growing and states:
        # Attention pages grow until one holds a state, then states are padded to the page (models/config.py).
        block_tokens = max(block_tokens, -(-states // (growing * BLOCK_TOKENS)) * BLOCK_TOKENS)
    page = max(growing * block_tokens, states)
    return CachePool(kinds=kinds, group_layers=_group_layers(kinds), block_tokens=block_tokens, page_bytes=page)


def _group_layers(kinds: tuple[CacheKind, ...]) -> int:
    """Layers of a group: the fewest of a kind, or the most where they are nearly as many (1.5: kv_cache_utils.py)."""
    counts = [kind.layers for kind in kinds]
    smallest, largest = min(counts), max(counts)
    return largest if 2 * largest < 3 * smallest else smallest


def _kinds(
    shape: Shape, layers: tuple[int, ...], ranks: int, width: int, cache_dtype: str, hybrid: bool
) -> tuple[CacheKind, ...]:
    if shape.encoder_only:
        return ()
    token = layer_token_bytes(shape, ranks, width, cache_dtype)
    count = {kind: sum(1 for layer in layers if shape.kinds[layer] == kind) for kind in set(shape.kinds)}
    full = count.get("full", 0) + count.get("both", 0)
    windowed, chunked = count.get("sliding", 0), count.get("chunked", 0)
    states = count.get("mamba", 0) + count.get("both", 0) + count.get("linear", 0)
    if not hybrid and full:
        full, windowed, chunked = full + windowed + chunked, 0, 0
    found: list[CacheKind] = []
    if full:
        found.append(CacheKind(layers=full, token_bytes=token))
    if windowed:
        found.append(CacheKind(layers=windowed, token_bytes=token, window=shape.window))
    if chunked:
        found.append(CacheKind(layers=chunked, token_bytes=token, window=shape.window, chunked=True))
    if states:
        found.append(CacheKind(layers=states, token_bytes=0, fixed_bytes=state_bytes(shape, ranks, width)))
    if shape.cross_attention:
        found.append(CacheKind(layers=len(layers), token_bytes=token, cross_tokens=shape.encoder_positions))
    return tuple(found)


def layer_token_bytes(shape: Shape, ranks: int, width: int, cache_dtype: str = "auto") -> int:
    """Bytes of one token in one attention layer on one rank."""
    if shape.mla is not None and shape.mla.unpacked:  # values are padded to the width of the keys
        return 2 * -(-shape.heads // ranks) * (shape.mla.nope_width + shape.mla.rope_width) * width
    if shape.mla is not None:
        return _latent_bytes(shape, shape.mla, width, cache_dtype)
    held = max(1, shape.kv_heads // ranks) if shape.kv_heads else 0
    return 2 * held * shape.head_width * width


def _latent_bytes(shape: Shape, mla: Mla, width: int, cache_dtype: str) -> int:
    """The compressed latent of DeepSeek: every rank holds all of it."""
    index = integer(shape.config, "index_head_dim")
    indexer = index + -(-index // 128) * INDEX_SCALE_BYTES if index else 0
    if cache_dtype == "fp8_ds_mla" or (index and width == 1):
        return FP8_MLA_BYTES + indexer
    return (mla.latent_rank + mla.rope_width) * width + indexer


def state_bytes(shape: Shape, ranks: int, width: int) -> int:
    """Bytes of one request in one Mamba or delta-net layer on one rank: convolution tail and recurrent state."""
    mixer = shape.state_space
    if mixer is not None:
        inner = -(-mixer.inner // ranks)
        if mixer.version == 1:
            return inner * (mixer.convolution - 1) * width + inner * mixer.state * width
        groups = max(mixer.groups, ranks) if mixer.groups % ranks else mixer.groups
        tail = -(-(mixer.inner + 2 * groups * mixer.state) // ranks) * (mixer.convolution - 1)
        state_width = STATE_BYTES.get(mixer.state_dtype, width)
        return tail * width + -(-mixer.heads // ranks) * mixer.head_width * mixer.state * state_width
    linear = shape.linear
    if linear is None:
        return 0
    channels = -(-(2 * linear.key_heads * linear.key_width + linear.value_heads * linear.value_width) // ranks)
    return channels * (linear.convolution - 1) * width + -(
        -linear.value_heads // ranks
    ) * linear.key_width * linear.value_width * STATE_BYTES.get(linear.state_dtype, width)
