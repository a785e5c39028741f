"""What a card can't do, whatever the layout: dtypes and quantisation methods against its compute capability."""

from __future__ import annotations

from gslc.engines.vllm_versions import Version, version_tuple
from gslc.ir.diagnostic import Excluded
from gslc.ir.inputs import GpuKind
from gslc.memory.vllm.legality import Terms
from gslc.memory.vllm.shape import Shape

# Lowest CUDA compute capability of each method: get_min_capability() in vllm/model_executor/layers/quantization
# and, for compressed-tensors, of the scheme that the weights ask for (0.26 and 0.32 agree).
MINIMUM_CAPABILITY: dict[str, tuple[int, int]] = {
    "awq": (7, 5),
    "gptq": (6, 0),
    "fp8": (7, 5),
    "fbgemm_fp8": (8, 0),
    "compressed-tensors": (7, 5),
    "compressed-tensors-float": (7, 5),
    "mxfp4": (8, 0),
    "bitsandbytes": (7, 0),
    "modelopt": (8, 9),
    "modelopt_fp4": (7, 5),
    "fp_quant": (10, 0),
}
BF16_CAPABILITY = (8, 0)  # platforms/cuda.py check_if_supports_dtype
FP8_CAPABILITY = (8, 9)
# CUDA 13 builds are the default from 0.20; CUDA 13 has left Volta and Pascal behind.
NEWER_BUILDS_FROM: Version = (0, 20, 0)
OLDEST_CARD, OLDEST_CARD_BEFORE = (7, 5), (7, 0)
# config/model.py _FLOAT16_NOT_SUPPORTED_MODELS: "does not support float16. Reason: Numerical instability."
UNSTABLE_IN_HALF = frozenset({"gemma2", "gemma3", "gemma3_text", "plamo2", "glm4"})


def card_refusals(shape: Shape, kind: GpuKind, terms: Terms) -> tuple[Excluded, ...]:
    """What the card itself can't do: dtype and quantisation against its compute capability."""
    capability = kind.compute_capability
    if kind.vendor != "nvidia" or capability is None:
        return ()
    found: list[tuple[str, str]] = []
    needed = minimum_capability(shape)
    if needed is not None and capability < needed:
        found.append(
            (
                "compute capability",
                (
                    f"{shape.quantization.method} needs compute capability "
                    f"{dotted(needed)}, {kind.model} has {dotted(capability)}"
                ),
            )
        )
    oldest = OLDEST_CARD if version_tuple(terms.version) >= NEWER_BUILDS_FROM else OLDEST_CARD_BEFORE
    if capability < oldest:
        found.append(
            (
                "compute capability",
                (
                    f"vLLM {terms.version} is built for compute capability {dotted(oldest)}, "
                    f"{kind.model} has {dotted(capability)}"
                ),
            )
        )
    dtype = effective_dtype(shape, kind, terms.dtype)
    if dtype == "float16" and shape.model_type in UNSTABLE_IN_HALF:
        found.append(("dtype", f"{shape.model_type} is not stable in float16, which {kind.model} would load it in"))
    if dtype == "bfloat16" and capability < BF16_CAPABILITY:
        found.append(
            ("compute capability", f"bfloat16 needs compute capability 8.0, {kind.model} has {dotted(capability)}")
        )
    if shape.quantization.method == "awq" and dtype == "float32":
        found.append(("dtype", "AWQ runs in float16 or bfloat16, not in float32"))
    if terms.kv_cache_dtype.startswith("fp8") and capability < FP8_CAPABILITY:
        found.append(
            (
                "compute capability",
                f"an fp8 KV cache needs compute capability 8.9, {kind.model} has {dotted(capability)}",
            )
        )
    return tuple(Excluded(what=kind.model, rule=rule, detail=detail) for rule, detail in found)


def minimum_capability(shape: Shape) -> tuple[int, int] | None:
    """The lowest compute capability that the checkpoint's method runs on; None for unquantised weights."""
    quantization = shape.quantization
    if quantization.method == "compressed-tensors-float" and quantization.activation_bits == 8:
        return FP8_CAPABILITY
    return MINIMUM_CAPABILITY.get(quantization.method)


def effective_dtype(shape: Shape, kind: GpuKind, asked: str) -> str:
    """The dtype that weights are loaded in. `auto` is the checkpoint's, but half where the card is older than 8.0."""
    if asked in {"half", "float16"}:
        return "float16"
    if asked in {"bfloat16", "float32"}:
        return asked
    if asked == "float":
        return "float32"
    old = kind.compute_capability is not None and kind.compute_capability < BF16_CAPABILITY and kind.vendor == "nvidia"
    return "float16" if shape.dtype in {"float16", "half"} or old else "bfloat16"


def dotted(capability: tuple[int, int]) -> str:
    """8.9 for (8, 9)."""
    return f"{capability[0]}.{capability[1]}"
