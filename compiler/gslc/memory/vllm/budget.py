"""What vLLM asks of each card, and what is left for the KV cache.

    requested = ceil(total x utilisation), must be free at start-up
    KV pool   = requested - weights - activation peak - non-torch - CUDA graph estimate
    outside   = in use before the budget begins: CUDA context and, with several ranks, NCCL

Constants were measured on H200 cards with vLLM 0.26.0 (tests/data/truth/vllm_h200.json); demand is rounded up.
"""

from __future__ import annotations

from gslc.engines.vllm_versions import version_tuple
from gslc.ir.inputs import GpuKind
from gslc.ir.record import dataclass
from gslc.memory.vllm.config import integer, mapping, number, text
from gslc.memory.vllm.shape import Shape
from gslc.memory.vllm.weights import RankWeights

MIB = 1 << 20
GIB = 1 << 30

# In use before the engine's first snapshot (init_non_torch of the measured rows).
CONTEXT_BYTES = 527 * MIB  # one GPU: 552,402,944
RANKED_BYTES = 1477 * MIB  # one of several ranks: 1,548,615,680
RANKED_EXPERTS_BYTES = 1964 * MIB  # the same with experts or MLA: 2,058,223,616 (tensor parallel 2 and 4)
LEADER_EXTRA_BYTES = 526 * MIB  # the first rank holds the others' contexts' share: 548,995,072 to 551,092,224

# Inside the budget but not torch's: workspaces and lazily loaded kernels.
NON_TORCH_BYTES = 246 * MIB  # one GPU: 241,172,480, compiled experts 257,949,696
RANKED_NON_TORCH_BYTES = 68 * MIB  # several: 69,206,016 to 71,303,168

CUBLAS_BYTES = 32 * MIB  # cuBLAS workspace that the first product of matrices allocates
SAMPLER_SLACK_BYTES = 3 * MIB  # block maxima and indices of the sampling kernels
HIDDEN_COPIES = 4  # hidden states alive beside the feed-forward: 3 (Llama) or 4 (Qwen2), measured
EXPERT_HIDDEN_COPIES = 17  # the same in DeepSeek-V2-Lite at tensor parallel 1 and 2
OLD_SAMPLER_BYTES = 18  # per logit: model runner V1 keeps logits, a float32 copy, probabilities, noise and an order
NEW_SAMPLER_BYTES = 2  # per logit: model runner V2 samples from the half-precision logits
GRAPHS_BYTES = 660 * MIB  # what model runner V1 estimates for its graphs: 689,963,008 (Qwen3-30B-A3B)
GRAPHS_OUTSIDE_BYTES = 512 * MIB  # model runner V2 estimates 0 and captures outside of the budget

# Model runner V2 serves these kinds from 0.26 (config/vllm.py _is_default_v2_model_runner_model).
RUNNER_V2_FROM = (0, 26, 0)
RUNNER_V2_EXPERTS = frozenset({"DeepseekV2ForCausalLM", "GraniteMoeForCausalLM", "Qwen2MoeForCausalLM"})
GRAPHS_ESTIMATED_FROM = (0, 20, 0)  # VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS: off at 0.18.1, on at 0.20.2

BIG_CARD_BYTES = 70 * GIB  # engine/arg_utils.py get_batch_defaults
BIG_CARD_TOKENS, BIG_CARD_SEQUENCES = 8192, 1024
TOKENS, SEQUENCES = 2048, 256
UNIFORM_BATCHES_FROM = (0, 8, 5)  # before V1 the token budget was max(max_model_len, 2048)

# torch's caching allocator: from 10 MiB a tensor has a segment of its own, rounded to 2 MiB; smaller ones share 20 MiB.
LARGE_TENSOR_BYTES = 10 * MIB
# The runner's own tables (block tables, positions, token ids): 8 to 31 MiB stayed unexplained in the measured rows.
RUNNER_TABLES_BYTES = 32 * MIB
LARGE_STEP_BYTES = 2 * MIB
SHARED_SEGMENT_BYTES = 20 * MIB

VISION_PATCHES = 65536  # Qwen2-VL and kin: 16384 tokens of the largest image, 4 patches each
FIXED_VISION_PATCHES = 8192  # towers with a fixed picture size
VISION_COPIES = 9  # query, key, value, feed-forward (4) and residuals of one vision layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tokens scheduled in one step, and sequences that run at once."""

    tokens: int
    sequences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankBudget:
    """One rank's memory, all in bytes."""

    total: int
    requested: int
    weights: int  # parameters alone
    rounding: int  # what the allocator and the rotary tables add to them
    activation: int
    non_torch: int
    graphs: int
    pool: int  # may be negative: then nothing is left for the KV cache
    outside: int

    @property
    def startable(self) -> bool:
        """Whether the start-up check passes on an otherwise empty card."""
        return self.requested + self.outside <= self.total

    @property
    def inside_without_pool(self) -> int:
        """What the budget holds besides the KV cache."""
        return self.weights + self.rounding + self.activation + self.non_torch + self.graphs


def default_batch(kind: GpuKind, context_tokens: int, *, version: str, multimodal: bool = False) -> Batch:
    """VLLM's own max_num_batched_tokens and max_num_seqs on this card, for `vllm serve`."""
    big = kind.memory_bytes >= BIG_CARD_BYTES and "a100" not in kind.model.lower()
    tokens, sequences = (BIG_CARD_TOKENS, BIG_CARD_SEQUENCES) if big else (TOKENS, SEQUENCES)
    if version_tuple(version) < UNIFORM_BATCHES_FROM:
        tokens = max(context_tokens, TOKENS)
    tokens = min(tokens, sequences * context_tokens)
    return Batch(tokens=tokens, sequences=min(sequences, tokens))


def runner_v2(shape: Shape, version: str, *, pooling: bool) -> bool:
    """Whether the second model runner serves this model; it samples with less memory."""
    if version_tuple(version) < RUNNER_V2_FROM or pooling:
        return False
    if shape.state_space is not None or shape.linear is not None or (shape.multimodal and shape.experts is not None):
        return False
    return shape.experts is None or shape.architecture in RUNNER_V2_EXPERTS


def activation_bytes(
    shape: Shape,
    batch: Batch,
    tensor_parallel: int,
    *,
    version: str,
    eager: bool,
    pooling: bool,
    last_stage: bool = True,
    images: bool = True,
) -> int:
    """The peak of one profiling step: a forward pass of `batch.tokens`, then sampling for `batch.sequences`."""
    hidden = batch.tokens * shape.hidden * 2
    peaks = [_forward(shape, batch, tensor_parallel)]
    if last_stage and not pooling:
        peaks.append(_sampling(shape, batch, tensor_parallel, version, eager=eager))
    if not eager:
        # Tracing holds a copy of the embedding's rows beside the states going in and out (measured to the MiB).
        rows = -(-shape.vocabulary // tensor_parallel)
        peaks.append(rows * shape.hidden * 2 + 2 * hidden + CUBLAS_BYTES // 16)
    return max(peaks) + (_vision(shape, batch) if images else 0)


def _forward(shape: Shape, batch: Batch, ranks: int) -> int:
    hidden = batch.tokens * shape.hidden * 2
    width = 3 if shape.family.gated else 2
    dense = batch.tokens * width * -(-shape.intermediate // ranks) * 2 + HIDDEN_COPIES * hidden
    state = 0
    if shape.state_space is not None:
        state = batch.tokens * 6 * -(-shape.state_space.inner // ranks) * 2
    if shape.linear is not None:
        linear = shape.linear
        state = batch.tokens * 6 * -(-(linear.value_heads * linear.value_width) // ranks) * 2
    sparse = 0
    if shape.experts is not None:
        experts = shape.experts
        routed = experts.per_token * (3 * -(-experts.width // ranks) + shape.hidden)
        sparse = batch.tokens * routed * 2 + EXPERT_HIDDEN_COPIES * hidden
    return max(dense, sparse) + state + CUBLAS_BYTES


def _sampling(shape: Shape, batch: Batch, ranks: int, version: str, *, eager: bool) -> int:
    logits = batch.sequences * shape.vocabulary
    states = batch.tokens * shape.hidden * 2 + batch.sequences * shape.hidden * 2
    if not eager:
        states *= 2
    if not runner_v2(shape, version, pooling=False):
        return logits * OLD_SAMPLER_BYTES + states + CUBLAS_BYTES + SAMPLER_SLACK_BYTES
    # With several ranks the gathered logits exist twice beside the rank's own share.
    gathered = (
        logits * NEW_SAMPLER_BYTES
        if ranks == 1
        else logits * NEW_SAMPLER_BYTES * 2 + -(-logits * NEW_SAMPLER_BYTES // ranks)
    )
    return gathered + states + CUBLAS_BYTES + SAMPLER_SLACK_BYTES


def _vision(shape: Shape, batch: Batch) -> int:
    vision = shape.vision
    if vision is None:
        return 0
    dynamic = shape.model_type.startswith(("qwen2_vl", "qwen2_5_vl", "qwen3_vl")) or "VL" in shape.architecture
    patches = VISION_PATCHES if dynamic else FIXED_VISION_PATCHES
    encoder_cache = max(batch.tokens, patches // 4) * shape.hidden * 2
    return patches * vision.hidden * 2 * VISION_COPIES + encoder_cache


def rotary_bytes(shape: Shape) -> int:
    """The tables of sines and cosines, which are buffers and not parameters: positions x rotary width."""
    config = shape.config
    if shape.family.positions is not None or not shape.positions:
        return 0
    width = shape.mla.rope_width if shape.mla is not None else shape.head_width
    positions = shape.positions
    scaling = mapping(config, "rope_scaling", "rope_parameters")
    if scaling is not None:
        kind = text(scaling, "rope_type", "type", default="default")
        factor = number(scaling, "factor") or 1.0
        if kind in {"yarn", "deepseek_yarn"}:
            positions = int(integer(scaling, "original_max_position_embeddings", default=positions) * factor)
        elif kind in {"linear", "dynamic"}:
            positions = int(positions * factor)
    tables = 2 if "sliding" in shape.kinds and "full" in shape.kinds else 1
    return tables * positions * width * 2


def rounding_bytes(shape: Shape, weights: RankWeights) -> int:
    """What the allocator's segments and the rotary tables take beyond the parameters."""
    spare = 0
    small = rotary_bytes(shape)
    for size, count in weights.tensors:
        if size >= LARGE_TENSOR_BYTES:
            spare += (-size % LARGE_STEP_BYTES) * count
        else:
            small += size * count
    held_small = -(-small // SHARED_SEGMENT_BYTES) * SHARED_SEGMENT_BYTES
    parameters_small = sum(size * count for size, count in weights.tensors if size < LARGE_TENSOR_BYTES)
    return spare + held_small - parameters_small + RUNNER_TABLES_BYTES


def outside_bytes(shape: Shape, ranks: int, *, leader: bool) -> int:
    """What is in use on a card before the budget begins."""
    if ranks == 1:
        return CONTEXT_BYTES
    base = RANKED_EXPERTS_BYTES if shape.experts is not None or shape.mla is not None else RANKED_BYTES
    return base + (LEADER_EXTRA_BYTES if leader else 0)


def graph_bytes(shape: Shape, version: str, *, eager: bool, pooling: bool) -> tuple[int, int]:
    """CUDA graphs: (subtracted from the budget, captured outside of it)."""
    if eager:
        return (0, 0)
    if runner_v2(shape, version, pooling=pooling) or version_tuple(version) < GRAPHS_ESTIMATED_FROM:
        return (0, GRAPHS_OUTSIDE_BYTES)
    return (GRAPHS_BYTES, 0)


def requested_bytes(total_bytes: int, utilization_thousandths: int) -> int:
    """ceil(total x utilisation), as request_memory counts it."""
    return -(-total_bytes * utilization_thousandths // 1000)
