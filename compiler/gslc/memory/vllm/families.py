"""What the layers of each model family hold beyond the sizes in config.json: norms, biases, gates, tied weights.

Source: the model files of vLLM 0.26 and 0.32 (vllm/model_executor/models/*.py), one line a family; checked against
the parameter counts of the real layers (docs/vllm.md).
"""

from __future__ import annotations

from typing import Literal

from gslc.ir.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The fixed habits of a family. A bias given as a string is the name of the configuration key that decides it."""

    norms: int = 2  # norms of a layer, each of the hidden width
    norm_bias: bool = False  # LayerNorm with bias instead of RMSNorm
    norm_weight: bool = True  # OLMo's first LayerNorm has no parameters
    final_norm: bool = True
    gated: bool = True  # gate and up projection, merged; False: one projection up
    qkv_bias: bool | str = False
    output_bias: bool | str = False
    mlp_bias: bool | str = False
    qk_norm: Literal["", "head", "full", "heads"] = ""  # per head width; over all heads; one norm a head
    positions: int | None = None  # learned positions: this many more than the maximum length; None: no table
    tied: bool = False  # what the configuration class assumes where tie_word_embeddings is not written
    always_tied: bool = False  # vLLM shares the matrix whatever the configuration says
    head_bias: bool = False
    embedding_norm: bool = False
    kv_replication: bool = True  # False: the model file asserts or divides without replication
    vocabulary_padding: bool = True


_LLAMA = Family(qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias")
_QWEN2 = Family(qkv_bias=True)
_QWEN3 = Family(qkv_bias="attention_bias", qk_norm="head")
_GPT2 = Family(norm_bias=True, gated=False, qkv_bias=True, output_bias=True, mlp_bias=True, positions=0, tied=True)
_GEMMA2 = Family(norms=4, qkv_bias="attention_bias", output_bias="attention_bias", tied=True, always_tied=True)
_DEEPSEEK = Family()
_COHERE = Family(norms=1, qkv_bias="attention_bias", output_bias="attention_bias", tied=True, always_tied=True)

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "llama4_text": _LLAMA,
    "mistral": _LLAMA,
    "ministral3": _LLAMA,
    "mixtral": Family(),
    "granite": _LLAMA,
    "granitemoe": Family(tied=False),
    "granitemoeshared": Family(tied=False),
    "granitemoehybrid": Family(tied=False),
    "yi": _LLAMA,
    "exaone": Family(qkv_bias=False),
    "exaone4": Family(qk_norm="head"),
    "smollm3": Family(qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias", tied=True),
    "arcee": Family(gated=False, qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias"),
    "seed_oss": Family(qkv_bias="attention_bias", output_bias="attention_out_bias", mlp_bias="mlp_bias"),
    "minicpm": Family(),
    "minicpm3": Family(),
    "internlm": Family(qkv_bias="bias", output_bias="bias"),
    "internlm2": Family(qkv_bias="bias", output_bias="bias"),
    "internlm3": Family(qkv_bias="qkv_bias", output_bias="bias"),
    "baichuan": Family(),
    "orion": Family(norm_bias=True),
    "qwen": Family(qkv_bias=True),
    "qwen2": _QWEN2,
    "qwen2_moe": _QWEN2,
    "qwen2_vl_text": _QWEN2,
    "qwen2_vl": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "qwen3": _QWEN3,
    "qwen3_moe": _QWEN3,
    "qwen3_vl_text": _QWEN3,
    "qwen3_vl_moe_text": _QWEN3,
    "qwen3_next": Family(qkv_bias="attention_bias", qk_norm="head"),
    "qwen3_5_text": Family(qkv_bias="attention_bias", qk_norm="head"),
    "qwen3_5_moe_text": Family(qkv_bias="attention_bias", qk_norm="head"),
    "phi": Family(norms=1, norm_bias=True, gated=False, qkv_bias=True, output_bias=True, mlp_bias=True, head_bias=True),
    "phi3": Family(),
    "phi3small": Family(norm_bias=True, qkv_bias=True, output_bias=True, mlp_bias=True, tied=True),
    "phimoe": Family(norm_bias=True, qkv_bias="attention_bias", output_bias="attention_bias", head_bias=True),
    "gemma": Family(tied=True, always_tied=True),
    "gemma2": _GEMMA2,
    "gemma3": Family(norms=4, qk_norm="head", tied=True, always_tied=True),
    "gemma3_text": Family(norms=4, qk_norm="head", tied=True, always_tied=True),
    "cohere": _COHERE,
    "cohere2": _COHERE,
    "falcon": Family(
        norms=1, norm_bias=True, gated=False, qkv_bias="bias", output_bias="bias", mlp_bias="bias", tied=True
    ),
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "starcoder2": Family(
        norm_bias=True, gated=False, qkv_bias="use_bias", output_bias="use_bias", mlp_bias="use_bias", tied=True
    ),
    "opt": Family(
        norm_bias=True,
        gated=False,
        qkv_bias="enable_bias",
        output_bias="enable_bias",
        mlp_bias="enable_bias",
        positions=2,
        tied=True,
    ),
    "bloom": Family(
        norm_bias=True,
        gated=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        tied=True,
        always_tied=True,
        embedding_norm=True,
    ),
    "mpt": Family(
        norm_bias=True, gated=False, qkv_bias=True, output_bias=True, mlp_bias=True, tied=True, always_tied=True
    ),
    "gpt_neox": Family(
        norm_bias=True, gated=False, qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias=True
    ),
    "gptj": Family(norms=1, norm_bias=True, gated=False, mlp_bias=True, head_bias=True),
    "stablelm": Family(norm_bias=True, qkv_bias="use_qkv_bias"),
    "olmo": Family(norm_weight=False),
    "olmo2": Family(qk_norm="full"),
    "olmo3": Family(qk_norm="full"),
    "olmoe": Family(qk_norm="full"),
    "nemotron": Family(
        norm_bias=True, gated=False, qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias"
    ),
    "persimmon": Family(norm_bias=True, gated=False, qkv_bias=True, output_bias=True, mlp_bias=True),
    "glm": Family(qkv_bias="attention_bias"),
    "glm4": Family(norms=4, qkv_bias="attention_bias"),
    "glm4_moe": Family(qkv_bias="attention_bias"),
    "chatglm": Family(qkv_bias="add_qkv_bias", output_bias="add_bias_linear", mlp_bias="add_bias_linear"),
    "deepseek": _DEEPSEEK,
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "deepseek_v32": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "glm4_moe_lite": _DEEPSEEK,
    "gpt_oss": Family(qkv_bias=True, output_bias=True, kv_replication=False),
    "dbrx": Family(norm_bias=False),
    "jamba": Family(),
    "bamba": Family(),
    "falcon_h1": Family(),
    "mamba": Family(norms=1, tied=True),
    "mamba2": Family(norms=1),
    "falcon_mamba": Family(norms=1, tied=True),
    "bert": Family(
        norm_bias=True, gated=False, qkv_bias=True, output_bias=True, mlp_bias=True, positions=0, final_norm=False
    ),
    "roberta": Family(
        norm_bias=True, gated=False, qkv_bias=True, output_bias=True, mlp_bias=True, positions=0, final_norm=False
    ),
    "xlm-roberta": Family(
        norm_bias=True, gated=False, qkv_bias=True, output_bias=True, mlp_bias=True, positions=0, final_norm=False
    ),
    "whisper": Family(
        norm_bias=True,
        gated=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        positions=0,
        tied=True,
        always_tied=True,
    ),
}

# vLLM's own rule for a model it has no line for: the llama layout, which most new decoders follow.
DEFAULT_FAMILY = _LLAMA
