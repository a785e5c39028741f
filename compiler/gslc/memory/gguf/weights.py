"""Where the weights lie: bytes per device, mapped and repacked bytes of the host."""

from __future__ import annotations

import re
from collections.abc import Callable

from gslc.engines.llama_settings import LlamaSettings
from gslc.ir.facts import TensorGroup
from gslc.ir.record import dataclass
from gslc.memory.gguf.assign import HOST
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.types import is_assumed, pad, row_bytes, tensor_bytes

# src/llama-arch.cpp, LLM_TENSOR_LAYER_INPUT: these never leave the host, whatever -ngl says.
INPUT_TENSORS = ("token_embd.weight", "position_embd.weight", "token_types.weight", "per_layer_token_embd.weight")
INPUT_PREFIXES = ("masked_embd_",)
# LLM_TENSOR_LAYER_REPEATING without a block in the name: loaded with the first block
FIRST_BLOCK_PREFIXES = ("token_embd_norm.", "per_layer_model_proj", "per_layer_proj_norm")
ROPE_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
# src/llama-arch.cpp, op of the tensor is not MUL_MAT(_ID): never repacked
NOT_MATRICES = re.compile(r"(ssm_conv1d|ssm_a|ssm_d|shortconv\.conv|attn_sinks|time_mix_|_norm|token_|position_)")
# ggml/src/ggml-cpu/repack.cpp, ggml_repack_get_optimal_repack_type: type -> rows must be a multiple of this.
REPACKED = {
    "amd64": {"Q4_0": 8, "Q4_K": 8, "IQ4_NL": 8, "MXFP4": 8},
    "arm64": {"Q4_0": 4, "Q4_K": 8, "Q5_K": 8, "Q6_K": 8, "IQ4_NL": 4, "MXFP4": 4, "Q8_0": 4},
}
EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")  # common/arg.cpp, LLM_FFN_EXPS_REGEX
DENSE_FFN = re.compile(r"\.ffn_(up|down|gate|gate_up)\.")
HOST_ALIGNMENT = 32
CUDA_ALIGNMENT = 128
MATRIX_ROW_PADDING = 512  # ggml-cuda.cu, MATRIX_ROW_PADDING: tail of a quantised row on CUDA


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightPlan:
    """Bytes of weights: per device, and for the host the part of the file that stays mapped and what is repacked.

    host_matrices: the widest tensors that stay in host memory, which a device copies to itself to multiply large
    batches (--op-offload); devices: which of the tensors of a block lie on the host although the block does not.
    """

    devices: tuple[int, ...]
    mapped: int
    repacked: int
    host_experts: frozenset[int]
    has_overrides: bool


def plan_weights(
    shape: ModelShape,
    layers: tuple[int, ...],
    devices: int,
    settings: LlamaSettings,
    *,
    arch: str = "amd64",
    alignment: int = HOST_ALIGNMENT,
    repacks: bool = True,
    pieces: bool = False,
) -> WeightPlan:
    """Where every tensor goes. repacks: the engine repacks weights of the host; it does not where the first device has
    host buffers of its own (CUDA, ROCm, SYCL). pieces: the host holds the tensors it uses and nothing between them.
    """
    totals = [0] * devices
    repacked = 0
    placed: list[tuple[int, bool]] = []  # in file order: (padded bytes in the file, on the host and mapped)
    host_experts: set[int] = set()
    rules = [(re.compile(pattern), buffer) for pattern, buffer in settings.overrides]
    for name, block, group in file_order(shape):
        size = tensor_bytes(group.type, group.shape)
        device = _device_of(shape, name, block, layers, settings, rules, devices)
        if device is None:
            placed.append((pad(size, HOST_ALIGNMENT), False))
            continue
        on_host = device == HOST
        if on_host and block is not None and block < len(layers) and layers[block] != HOST:
            host_experts.add(block)
        packs = on_host and repacks and _repacks(name, group, arch)
        if packs:
            repacked += pad(size, HOST_ALIGNMENT)
        if not on_host:
            totals[device] += _device_bytes(group, alignment)
        placed.append((pad(size, HOST_ALIGNMENT), on_host and not packs))
    output = layers[-1] if layers else HOST
    if shape.tied and (table := shape.tensor("token_embd")):
        if output == HOST:
            packs = repacks and _repacks("output.weight", table, arch)
            repacked += pad(tensor_bytes(table.type, table.shape), HOST_ALIGNMENT) if packs else 0
        else:
            totals[output] += _device_bytes(table, alignment)
    for name in ROPE_TENSORS:
        factors = shape.by_name.get(name)
        for device in sorted({d for d in layers[:-1] if d != HOST}) if factors else ():
            totals[device] += _device_bytes(factors, alignment) if factors else 0
    return WeightPlan(
        devices=tuple(totals),
        mapped=_mapped(placed, whole=not pieces),
        repacked=repacked,
        host_experts=frozenset(host_experts),
        has_overrides=bool(rules) or settings.cpu_moe_layers > 0 or settings.cpu_ffn_layers > 0,
    )


def tensor_home(
    shape: ModelShape, layers: tuple[int, ...], settings: LlamaSettings, devices: int
) -> Callable[[str, int | None], int]:
    """Where a tensor lies, by its full name and block: a device or HOST."""
    rules = [(re.compile(pattern), buffer) for pattern, buffer in settings.overrides]

    def home(name: str, block: int | None) -> int:
        found = _device_of(shape, name, block, layers, settings, rules, devices)
        return HOST if found is None else found

    return home


def file_order(shape: ModelShape) -> list[tuple[str, int | None, TensorGroup]]:
    """Every tensor in the order that makes the mapped part of the file largest among the orders in use.

    The lock keeps no offsets. Files differ in where the output head lies (before or behind the blocks); the input
    tensors come first here, then what lies outside the blocks, then block by block.
    """
    outside = sorted(
        (g for g in shape.facts.tensors if not g.blocks), key=lambda g: (g.name not in INPUT_TENSORS, g.name)
    )
    inside = [(block, group.name, group) for group in shape.facts.tensors for block in group.blocks]
    inside.sort(key=lambda row: (row[0], row[1]))
    return [(group.name, None, group) for group in outside] + [
        (name.replace("{}", str(block), 1), block, group) for block, name, group in inside
    ]


def _device_of(
    shape: ModelShape,
    name: str,
    block: int | None,
    layers: tuple[int, ...],
    settings: LlamaSettings,
    rules: list[tuple[re.Pattern[str], str]],
    devices: int,
) -> int | None:
    """The device of a tensor, HOST, or None for tensors that are not loaded or are counted per device elsewhere."""
    if name in ROPE_TENSORS:
        return HOST if all(d == HOST for d in layers[:-1]) else None
    if name.startswith(("v.", "mm.", "a.")):  # a projector in the same file, with blocks of its own
        return None
    if block is None:
        if name in INPUT_TENSORS or name.startswith(INPUT_PREFIXES):
            return HOST
        base = layers[0] if name.startswith(FIRST_BLOCK_PREFIXES) else layers[-1]
    else:
        if block >= shape.trunk and shape.nextn:
            return None  # next-token blocks are loaded for speculative decoding only
        base = layers[block] if block < len(layers) else HOST
    for pattern, buffer in rules:
        if pattern.search(name):
            return _buffer(buffer, base, devices)
    if block is not None and block < settings.cpu_moe_layers and EXPERTS.search(name):
        return HOST
    if block is not None and block < settings.cpu_ffn_layers and DENSE_FFN.search(name):
        return HOST
    return base


def _buffer(buffer: str, base: int, devices: int) -> int:
    """The device that a buffer type of -ot names (CPU, CUDA1, ROCm0, RPC0, …)."""
    if buffer.upper().startswith("CPU"):
        return HOST
    number = re.search(r"(\d+)$", buffer)
    index = int(number[1]) if number else base
    return index if index < devices else base


def _repacks(name: str, group: TensorGroup, arch: str) -> bool:
    step = 1 if is_assumed(group.type) else REPACKED.get(arch, {}).get(group.type.upper())  # assumed: the worse case
    if step is None or len(group.shape) < 2 or NOT_MATRICES.search(name):
        return False
    wanted = 3 if "_exps" in name else 2
    dimensions = max((i + 1 for i, length in enumerate(group.shape) if length > 1), default=1)
    return dimensions == wanted and group.shape[1] % step == 0


def _device_bytes(group: TensorGroup, alignment: int) -> int:
    size = tensor_bytes(group.type, group.shape)
    quantised = group.type.upper() not in ("F32", "F16", "BF16", "I32")
    if alignment >= CUDA_ALIGNMENT and quantised and group.shape[0] % MATRIX_ROW_PADDING:
        size += row_bytes(group.type, MATRIX_ROW_PADDING - group.shape[0] % MATRIX_ROW_PADDING)
    return pad(size, alignment)


def _mapped(placed: list[tuple[int, bool]], *, whole: bool) -> int:
    """Bytes of the file from the first to the last tensor that the host uses (whole), or the sum of those tensors."""
    if not whole:
        return sum(size for size, mapped in placed if mapped)
    used = [i for i, (_, mapped) in enumerate(placed) if mapped]
    return sum(size for size, _ in placed[used[0] : used[-1] + 1]) if used else 0
