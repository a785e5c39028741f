"""Typed reading of config.json: the few words vLLM looks at, under all the names that published models give them."""

from __future__ import annotations

from collections.abc import Mapping

from gslc.ir.facts import Json

Config = Mapping[str, Json]

# Where multimodal configurations keep the language model (vLLM: get_hf_text_config; transformers: get_text_config).
TEXT_KEYS = ("text_config", "llm_config", "language_config", "thinker_config")

# What the configuration classes of transformers 5.23 assume of a language model that is part of another model:
# published files leave out what equals it (google/gemma-3-4b-it writes no head counts, llava-1.5 hardly anything).
ASSUMED: Mapping[str, Config] = {
    "gemma": {
        "vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256, "max_position_embeddings": 8192,
    },
    "gemma2": {
        "vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 8192,
        "sliding_window": 4096,
    },
    "gemma3_text": {
        "vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    "llama": {
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "max_position_embeddings": 2048,
    },
    "mistral": {
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    "qwen2": {
        "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 32768,
    },
}  # fmt: skip


def mapping(config: Config, *keys: str) -> Config | None:
    """The first of `keys` that holds a mapping, or None."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, Mapping):
            return value
    return None


def integer(config: Config, *keys: str, default: int = 0) -> int:
    """The first of `keys` that holds a whole number (floats with a whole value count), else `default`."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, bool):
            continue
        if isinstance(value, int):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    return default


def interval(config: Config, *keys: str, default: int) -> int:
    """As `integer`, for a number that divides: at least 1."""
    return max(1, integer(config, *keys, default=default))


def number(config: Config, *keys: str) -> float | None:
    """The first of `keys` that holds a number, else None."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    return None


def flag(config: Config, *keys: str, default: bool = False) -> bool:
    """The first of `keys` that holds true or false, else `default`."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, bool):
            return value
    return default


def text(config: Config, *keys: str, default: str = "") -> str:
    """The first of `keys` that holds a string, else `default`."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, str):
            return value
    return default


def words(config: Config, key: str) -> tuple[str, ...]:
    """The strings of a list, () where `key` holds none."""
    value = config.get(key)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, (tuple, list)) else ()


def integers(config: Config, key: str) -> tuple[int, ...]:
    """The whole numbers of a list, () where `key` holds none."""
    value = config.get(key)
    if not isinstance(value, (tuple, list)):
        return ()
    return tuple(item for item in value if isinstance(item, int) and not isinstance(item, bool))


def text_config(config: Config) -> Config:
    """The language model's part of a configuration; the configuration itself where it is not nested."""
    found = mapping(config, *TEXT_KEYS)
    if found is None:
        return config
    if mapping(found, *TEXT_KEYS):
        return text_config(found)
    assumed = ASSUMED.get(text(found, "model_type"))
    return found if assumed is None else {**assumed, **found}


def architecture(config: Config) -> str:
    """The architecture that vLLM looks up, "" where the configuration names none."""
    names = words(config, "architectures") or words(text_config(config), "architectures")
    return names[0] if names else ""
