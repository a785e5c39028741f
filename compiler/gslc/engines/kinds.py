"""What a model is, told from its own files and never from its name; each answer carries its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gslc.ir.facts import GgufFacts, ModelKind


class Kind(NamedTuple):
    """A kind and the fact that decided it."""

    kind: ModelKind
    reason: str


# llama.cpp's encoders (llama-arch.cpp at 0c1e57098): no causal mask, no cache.
ENCODERS = frozenset({
    "bert", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "eurobert",
    "gemma-embedding", "t5encoder", "llama-embed",
})  # fmt: skip
# Language models that write by diffusion: their attention isn't causal either, and yet they chat.
DIFFUSION_LANGUAGE = frozenset({"dream", "llada", "llada-moe", "rnd1"})
# stable-diffusion.cpp's files, and the names that ComfyUI's converter writes.
IMAGE = frozenset({
    "diffusion", "sd1", "sd2", "sd3", "sdxl", "flux", "flux2", "aura", "ltxv", "hyvid", "wan", "hidream", "cosmos",
    "lumina2", "qwen_image", "z_image", "chroma", "pixart",
})  # fmt: skip
SPEECH_DECODERS = frozenset({"wavtokenizer-dec"})
POOLING_NAMES = {1: "mean", 2: "cls", 3: "last", 4: "rank"}  # enum llama_pooling_type
POOLING_RANK = 4


def gguf_kind(facts: GgufFacts, projector: GgufFacts | None) -> Kind:
    """What a GGUF model is, by architecture, pooling, mask, classifier tensors and projector."""
    name = facts.architecture
    if name in IMAGE:
        return Kind("image", f"the architecture {name} makes images")
    if name in SPEECH_DECODERS:
        return Kind("text-to-speech", f"the architecture {name} makes speech")
    pooling = facts.hyper.get(f"{name}.pooling_type", 0)
    causal = facts.hyper.get(f"{name}.attention.causal", True)
    encoder = name in ENCODERS or (causal is False and name not in DIFFUSION_LANGUAGE)
    classifier = any(group.name.startswith("cls.") for group in facts.tensors)
    if pooling == POOLING_RANK:
        return Kind("reranker", f"{name}.pooling_type is rank")
    if encoder and classifier:
        return Kind("reranker", f"{name} has no causal mask and holds classifier tensors")
    if encoder:
        return Kind(
            "embedding",
            f"the architecture {name} is an encoder" if name in ENCODERS else f"{name}.attention.causal is false",
        )
    if pooling in POOLING_NAMES:
        return Kind("embedding", f"{name}.pooling_type is {POOLING_NAMES[int(pooling)]}")
    if projector is not None:
        return _projector_kind(projector)
    return Kind("chat", f"the architecture {name} is a language model")


def _projector_kind(projector: GgufFacts) -> Kind:
    sees = projector.hyper.get("clip.has_vision_encoder")
    hears = projector.hyper.get("clip.has_audio_encoder")
    if hears is True and sees is not True:
        return Kind("chat", "its projector takes audio")
    return Kind("vision", "it has a projector for images")


# ------------------------------------------------------------------ transformers repositories

_LANGUAGE_ENDINGS = ("ForCausalLM", "LMHeadModel", "ChatModel", "ChatGLMModel", "ForConditionalGeneration", "MTPModel")
_VISION_KEYS = ("vision_config", "visual", "mm_vision_tower", "vision_tower", "vit_config", "img_processor")
_SPEECH_TO_TEXT = ("WhisperForConditionalGeneration",)
_NESTED = ("thinker_config", "text_config", "llm_config")


def transformers_kind(config: Mapping[str, object], sentence_transformers: Mapping[str, object] | None) -> Kind:
    """What a transformers repository holds. `config` is config.json with id2label; the other what modules.json says.

    `sentence_transformers` is None without a modules.json; its `types` are the module types it lists.
    """
    architecture = architecture_of(config)
    if architecture in _SPEECH_TO_TEXT:
        return Kind("speech-to-text", f"the architecture {architecture} writes down speech")
    if architecture.endswith("ForSequenceClassification"):
        labels = _label_count(config)
        return Kind("reranker", f"{architecture} with {labels} label{'s' if labels != 1 else ''}")
    if "RewardModel" in architecture or architecture.endswith("ForSequenceRegression"):
        return Kind("reranker", f"the architecture {architecture} scores text")
    if sentence_transformers is not None:
        return Kind("embedding", "modules.json makes it a sentence-transformers model")
    if _sees(config):
        return Kind("vision", "config.json describes an image encoder")
    if architecture.endswith(_LANGUAGE_ENDINGS):
        return Kind("chat", f"the architecture {architecture} is a language model")
    if architecture.endswith(("Model", "ForMaskedLM", "Encoder")):
        return Kind("embedding", f"the architecture {architecture} has no language head")
    return Kind("chat", f"the architecture {architecture or '(none named)'} is taken for a language model")


def architecture_of(config: Mapping[str, object]) -> str:
    """The first name in `architectures`; "" where there is none."""
    names = config.get("architectures")
    if isinstance(names, (list, tuple)) and names and isinstance(names[0], str):
        return names[0]
    return ""


def _sees(config: Mapping[str, object]) -> bool:
    if any(config.get(key) for key in _VISION_KEYS):
        return True
    return any(isinstance(inner, Mapping) and _sees(inner) for inner in (config.get(key) for key in _NESTED))


def _label_count(config: Mapping[str, object]) -> int:
    labels = config.get("id2label")
    if isinstance(labels, Mapping):
        return len(labels)
    number = config.get("num_labels")
    return number if isinstance(number, int) else 2  # transformers' default
