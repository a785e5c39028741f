"""What a model is, by its own facts."""

from __future__ import annotations

import pytest

from gslc.engines.kinds import Kind, gguf_kind, transformers_kind
from gslc.ir.facts import GgufFacts, HyperValue, TensorGroup


def gguf(architecture: str, *tensors: str, **hyper: HyperValue) -> GgufFacts:
    return GgufFacts(
        architecture=architecture, hyper={key.replace("__", "."): value for key, value in hyper.items()}, vocabulary_size=0,
        tensors=tuple(TensorGroup(name=name, type="F32", shape=(1,)) for name in tensors), header_sha256="", header_bytes=0, file_bytes=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "kind", "reason"),
    [
        (gguf("llama"), "chat", "language model"),
        (gguf("bert"), "embedding", "encoder"),
        (gguf("nomic-bert", **{"nomic-bert__pooling_type": 1}), "embedding", "encoder"),
        (gguf("bert", bert__pooling_type=4), "reranker", "rank"),
        (gguf("bert", "cls.weight"), "reranker", "classifier"),
        (gguf("qwen3", qwen3__pooling_type=3), "embedding", "last"),
        (gguf("qwen3", qwen3__pooling_type=4), "reranker", "rank"),
        (gguf("qwen3", qwen3__pooling_type=0), "chat", "language model"),
        (gguf("llama", llama__attention__causal=False), "embedding", "causal"),
        (gguf("dream", dream__attention__causal=False), "chat", "language model"),
        (gguf("flux"), "image", "images"),
        (gguf("diffusion"), "image", "images"),
        (gguf("wavtokenizer-dec"), "text-to-speech", "speech"),
    ],
)
def test_a_gguf_model_is_told_by_its_header(facts: GgufFacts, kind: str, reason: str) -> None:
    found = gguf_kind(facts, None)
    assert found.kind == kind
    assert reason in found.reason


def test_a_projector_makes_a_language_model_see() -> None:
    images = gguf("clip", clip__has_vision_encoder=True)
    audio = gguf("clip", clip__has_audio_encoder=True)
    assert gguf_kind(gguf("llama"), images).kind == "vision"
    assert gguf_kind(gguf("llama"), audio).kind == "chat"
    assert gguf_kind(gguf("bert"), images).kind == "embedding"


@pytest.mark.parametrize(
    ("config", "modules", "kind"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, None, "chat"),
        ({"architectures": ["GPT2LMHeadModel"]}, None, "chat"),
        ({"architectures": ["ChatGLMModel"]}, None, "chat"),
        ({"architectures": ["T5ForConditionalGeneration"]}, None, "chat"),
        ({"architectures": ["BertModel"]}, None, "embedding"),
        ({"architectures": ["XLMRobertaModel"]}, None, "embedding"),
        ({"architectures": ["RobertaForMaskedLM"]}, None, "embedding"),
        ({"architectures": ["Qwen3ForCausalLM"]}, {}, "embedding"),
        ({"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "x"}}, None, "reranker"),
        ({"architectures": ["Qwen2ForRewardModel"]}, None, "reranker"),
        ({"architectures": ["Qwen2_5_VLForConditionalGeneration"], "vision_config": {"depth": 1}}, None, "vision"),
        ({"architectures": ["InternVLChatModel"], "vision_config": {"a": 1}, "llm_config": {}}, None, "vision"),
        ({"architectures": ["Qwen2_5OmniModel"], "thinker_config": {"vision_config": {"a": 1}}}, None, "vision"),
        ({"architectures": ["QWenLMHeadModel"], "visual": {"a": 1}}, None, "vision"),
        ({"architectures": ["WhisperForConditionalGeneration"]}, None, "speech-to-text"),
        ({}, None, "chat"),
        ({"architectures": "odd"}, None, "chat"),
        ({"architectures": []}, None, "chat"),
    ],
)
def test_a_repository_is_told_by_its_configuration(
    config: dict[str, object], modules: dict[str, object] | None, kind: str
) -> None:
    found = transformers_kind(config, modules)
    assert found.kind == kind
    assert found.reason


def test_the_number_of_labels_is_part_of_the_reason() -> None:
    one = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    three = {"architectures": ["BertForSequenceClassification"], "num_labels": 3}
    assert transformers_kind(one, None) == Kind("reranker", "BertForSequenceClassification with 1 label")
    assert transformers_kind(three, None).reason.endswith("with 3 labels")
