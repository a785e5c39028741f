"""Whether a config.json can be that of a model at all: sizes that no counting should be started on."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from gslc.ir.facts import Json

# The largest that a key may say; what is published stays a hundredfold below. A name counts wherever it stands.
MOST = {
    "layers": 2_000,
    "heads": 4_096,
    "experts": 65_536,
    "size": 2_000_000,
    "vocabulary": 20_000_000,
}
KINDS = {
    "num_hidden_layers": "layers", "n_layer": "layers", "num_layers": "layers", "n_layers": "layers", "depth": "layers",
    "decoder_layers": "layers", "encoder_layers": "layers",
    "num_attention_heads": "heads", "n_head": "heads", "n_heads": "heads", "num_heads": "heads",
    "num_key_value_heads": "heads", "n_head_kv": "heads", "num_kv_heads": "heads", "multi_query_group_num": "heads",
    "kv_n_heads": "heads", "decoder_attention_heads": "heads", "encoder_attention_heads": "heads",
    "mamba_n_heads": "heads", "mamba_num_heads": "heads", "linear_num_key_heads": "heads",
    "linear_num_value_heads": "heads",
    "num_experts": "experts", "num_local_experts": "experts", "n_routed_experts": "experts",
    "moe_num_experts": "experts",
    "hidden_size": "size", "n_embd": "size", "d_model": "size", "intermediate_size": "size", "n_inner": "size",
    "ffn_dim": "size", "head_dim": "size", "moe_intermediate_size": "size", "embed_dim": "size",
    "vocab_size": "vocabulary", "padded_vocab_size": "vocabulary",
}  # fmt: skip
NEEDED_ABOVE_ZERO = frozenset(
    {
        "num_hidden_layers",
        "n_layer",
        "num_attention_heads",
        "n_head",
        "num_key_value_heads",
        "hidden_size",
        "n_embd",
        "vocab_size",
    }
)
# Keys that hold an object where they are there; transformers refuses any other value.
OBJECTS = frozenset({"rope_scaling", "rope_parameters", "quantization_config", "compression_config", "text_config"})
# What torch calls a type that weights can be loaded in; also written as torch.bfloat16.
DTYPES = frozenset(
    {
        "auto", "bfloat16", "double", "float", "float16", "float32", "float64", "float8_e4m3fn", "float8_e4m3fnuz",
        "float8_e5m2", "float8_e5m2fnuz", "half", "int8", "uint8",
    }
)  # fmt: skip
DEEPEST = 6
LARGEST = 1 << 62
LONGEST_LIST = 200_000
LONGEST_SHOWN = 40


def implausible(config: Mapping[str, Json], depth: int = 0) -> str | None:
    """The first impossible value in words ("num_hidden_layers is -1"), or None."""
    if depth > DEEPEST:
        return "it is nested too deeply"
    for key in sorted(config):
        value = config[key]
        wrong = _wrong_type(key, value, depth)
        if wrong is not None:
            return wrong
        if isinstance(value, Mapping):
            inner = implausible(value, depth + 1)
            if inner is not None:
                return f"{key}: {inner}"
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found = _number(key, value)
            if found is not None:
                return found
        elif key in NEEDED_ABOVE_ZERO and value is not None:
            return f"{key} is no number"
        elif isinstance(value, (tuple, list)) and len(value) > LONGEST_LIST:
            return f"{key} has {len(value)} entries"
    return None


def _wrong_type(key: str, value: Json, depth: int) -> str | None:
    """What is wrong with a value that is no number: an object that is none, an unknown dtype."""
    if value is None or isinstance(value, (Mapping, bool)):
        return None
    if key in OBJECTS:
        return f"{key} is {_shown(value)}, not an object"
    if key == "torch_dtype" or (key == "dtype" and depth == 0):
        known = isinstance(value, str) and value.removeprefix("torch.") in DTYPES
        return None if known else f"{key} is {_shown(value)}, which is no type of torch"
    if key in KINDS and isinstance(value, str):
        return f"{key} is {_shown(value)}, not a number"
    return None


def _shown(value: Json) -> str:
    text = value if isinstance(value, str) else "a list" if isinstance(value, (tuple, list)) else str(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _number(key: str, value: float) -> str | None:
    if not isfinite(value) or abs(value) > LARGEST:
        said = f"above {LARGEST}" if value > 0 else f"below -{LARGEST}"
        return f"{key} is {said}" if KINDS.get(key) else None
    kind = KINDS.get(key)
    if kind is None:
        return None
    low = 1 if key in NEEDED_ABOVE_ZERO else 0
    if value < low or value > MOST[kind] or value != int(value):
        return f"{key} is {value}"
    return None
