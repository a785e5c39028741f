"""The longest context that vLLM derives from the files of a model."""

from __future__ import annotations

from gslc.engines.vllm_versions import version_tuple
from gslc.ir.facts import SafetensorsFacts
from gslc.memory.vllm.config import Config, integer, mapping, number, text, text_config

# transformers_utils/model_arch_config_convertor.py: derive_max_model_len_and_key
LENGTH_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
UNKNOWN_LENGTH_TOKENS = 2048
DEFAULT_CONTEXT_TOKENS = 8192
UNSCALED_ROPE = frozenset({"su", "longrope", "llama3", "default", "mrope"})
# At 0.26 YaRN still multiplies the original length; at 0.32 it does not. In between the smaller figure is taken.
YARN_MULTIPLIES_BEFORE = (0, 27, 0)
YARN = frozenset({"yarn", "deepseek_yarn"})
ROBERTA = frozenset({"roberta", "xlm-roberta"})
ROBERTA_OFFSET = 2  # positions start behind the padding index


def names_length(facts: SafetensorsFacts) -> bool:
    """True where config.json has a length; vLLM takes any context that is asked for where it has none (Mamba)."""
    config = text_config(facts.config)
    return any(integer(config, key) > 0 for key in LENGTH_KEYS)


def derived_max_tokens(facts: SafetensorsFacts, version: str) -> int:
    """VLLM's derived max_model_len: the most it accepts without VLLM_ALLOW_LONG_MAX_MODEL_LEN."""
    config = text_config(facts.config)
    found = [integer(config, key) for key in LENGTH_KEYS if integer(config, key) > 0]
    derived = integer(config, "model_max_length") or min(found, default=0)
    if text(config, "model_type") in ROBERTA and derived > ROBERTA_OFFSET:
        derived -= ROBERTA_OFFSET
    if not derived:
        derived = UNKNOWN_LENGTH_TOKENS
    if "gemma3" not in text(config, "model_type"):
        derived = _scaled(config, derived, version)
    if facts.tokenizer_max_length is not None and facts.tokenizer_max_length > 0:
        derived = min(derived, facts.tokenizer_max_length)
    return derived


def _scaled(config: Config, derived: int, version: str) -> int:
    scaling = mapping(config, "rope_scaling", "rope_parameters")
    if scaling is None:
        return derived
    kind = text(scaling, "rope_type", "type", default="default")
    factor = number(scaling, "factor")
    if kind in UNSCALED_ROPE or factor is None:
        return derived
    if kind in YARN:
        if version_tuple(version) >= YARN_MULTIPLIES_BEFORE:
            return derived
        derived = integer(scaling, "original_max_position_embeddings", default=derived)
    return int(derived * factor)


def default_context(facts: SafetensorsFacts, version: str) -> int:
    """The context where none is asked for: 8192, or the model's maximum where that is less."""
    return min(DEFAULT_CONTEXT_TOKENS, derived_max_tokens(facts, version))
