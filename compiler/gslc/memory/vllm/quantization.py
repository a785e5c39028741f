"""How a checkpoint is quantised, and how many bytes a matrix of it takes on a card."""

from __future__ import annotations

from gslc.ir.record import dataclass
from gslc.memory.vllm.config import Config, flag, integer, integers, mapping, number, text, text_config, words

PACK_BITS = 32  # AWQ and GPTQ pack their values into 32-bit words


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """The method by vLLM's own name; "" is unquantised. group 0: one scale for the whole input of an output."""

    method: str = ""
    bits: int = 16
    group: int = 0
    block: tuple[int, int] | None = None  # FP8: (outputs, inputs) of a block with one scale
    zero_points: bool = False
    reordered: bool = False  # GPTQ desc_act
    activation_bits: int = 16
    kept: tuple[str, ...] = ()  # modules that stay as they are
    head: bool = False  # lm_head is quantised too


def read_quantization(config: Config) -> Quantization:
    """What quantization_config (or compression_config) says."""
    found = mapping(config, "quantization_config", "compression_config")
    if found is None:
        found = mapping(text_config(config), "quantization_config", "compression_config")
    if found is None:
        return Quantization()
    method = text(found, "quant_method", default="").lower()
    kept = words(found, "modules_to_not_convert") or words(found, "ignore") or words(found, "ignored_layers")
    if method == "awq":
        return Quantization(
            method="awq",
            bits=_bits(found),
            group=max(0, integer(found, "group_size", "q_group_size", default=128)),
            zero_points=flag(found, "zero_point", default=True),
            kept=kept,
        )
    if method in {"gptq", "gptq_marlin"}:
        return Quantization(
            method="gptq",
            bits=_bits(found),
            group=max(0, integer(found, "group_size", default=128)),
            zero_points=True,
            reordered=flag(found, "desc_act"),
            head=flag(found, "lm_head"),
            kept=kept,
        )
    if method in {"fp8", "fbgemm_fp8"}:
        block = integers(found, "weight_block_size")
        return Quantization(
            method=method,
            bits=8,
            block=_pair(block),
            activation_bits=8,
            kept=kept,
        )
    if method in {"compressed-tensors", "compressed_tensors"}:
        return _compressed(found, kept)
    if method == "mxfp4":
        return Quantization(method="mxfp4", bits=4, group=32, kept=kept)
    if method == "bitsandbytes":
        return Quantization(method="bitsandbytes", bits=8 if flag(found, "load_in_8bit") else 4, kept=kept)
    if method == "modelopt":
        algorithm = text(
            found, "quant_algo", default=text(mapping(found, "quantization") or {}, "quant_algo", default="FP8")
        )
        if "FP4" in algorithm:
            return Quantization(method="modelopt_fp4", bits=4, group=16, activation_bits=4, kept=kept)
        return Quantization(method="modelopt", bits=8, activation_bits=8, kept=kept)
    return Quantization(method=method, bits=integer(found, "bits", default=int(number(found, "bits") or 8)), kept=kept)


def _bits(found: Config) -> int:
    """Bits of a packed value; what no packing has counts as 4."""
    bits = integer(found, "bits", "w_bit", default=4)
    return bits if bits in {2, 3, 4, 8} else 4


def _pair(block: tuple[int, ...]) -> tuple[int, int] | None:
    """Rows and columns of a block; None where the configuration says no such thing."""
    return (block[0], block[1]) if len(block) == 2 and min(block) > 0 else None


def _compressed(found: Config, kept: tuple[str, ...]) -> Quantization:
    groups = mapping(found, "config_groups") or {}
    weights: Config = {}
    activations: Config | None = None
    for name in sorted(groups):
        group = mapping(groups, name) or {}
        weights = mapping(group, "weights") or weights
        activations = mapping(group, "input_activations") or activations
    floating = text(weights, "type") == "float"
    bits = integer(weights, "num_bits", default=8)
    block = integers(weights, "block_structure")
    return Quantization(
        method="compressed-tensors-float" if floating else "compressed-tensors",
        bits=bits,
        group=max(0, integer(weights, "group_size", default=0)),
        block=_pair(block),
        zero_points=not flag(weights, "symmetric", default=True),
        activation_bits=integer(activations, "num_bits", default=16) if activations is not None else 16,
        kept=kept,
    )


def matrix_bytes(quantization: Quantization, outputs: int, inputs: int, value_bytes: int, *, parts: int = 1) -> int:
    """Bytes of one weight matrix without its bias; `parts` matrices that are stored side by side have a scale each."""
    values = outputs * inputs
    method, bits, group = quantization.method, quantization.bits, quantization.group
    if not method:
        return values * value_bytes
    groups = -(-inputs // group) if group else 1
    if method == "awq":
        return values * bits // 8 + groups * outputs * value_bytes + groups * outputs * bits // 8
    if method == "gptq":
        order = inputs * 4 if quantization.reordered else 0  # g_idx, which only activation order needs
        return values * bits // 8 + groups * outputs * value_bytes + groups * outputs * bits // 8 + order
    if method == "mxfp4":
        return values // 2 + outputs * -(-inputs // group)
    if quantization.block is not None:
        rows, columns = quantization.block
        return values + -(-outputs // rows) * -(-inputs // columns) * 4
    if method == "compressed-tensors":
        zero = groups * outputs * bits // 8 if quantization.zero_points and bits < 8 else 0
        scale = groups * outputs * (value_bytes if bits < 8 or group else 4)
        return values * bits // 8 + scale + zero + (16 if bits < 8 else 0)
    if method in {"compressed-tensors-float", "fbgemm_fp8"}:
        per_output = group or quantization.activation_bits == 8
        return values * bits // 8 + (groups * outputs * 4 if per_output else parts * 4)
    if method == "modelopt_fp4":
        return values // 2 + outputs * groups + parts * 8
    if method in {"fp8", "modelopt"}:
        return values + parts * 4
    return values * bits // 8
