"""ModelScope and the Ollama library by their own protocols, against a local server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hub_server import HubServer
from model_files import llama_gguf, llama_split, projector_gguf, transformers_repository
from sources import model

from gslc.documents.lock import read_lock, write_lock
from gslc.edges.facts import fetch_facts
from gslc.edges.hub import HubSettings
from gslc.engines.speech_table import SPEECH_MODELS
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.facts import ModelFacts
from gslc.ir.lock import Lock

WHISPER = {
    "model.bin": b"x" * 300,
    "config.json": b'{"alignment_heads": []}',
    "tokenizer.json": b"{}",
    "vocabulary.json": b"[]",
}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def facts(hub: HubServer, text: str, **settings: object) -> ModelFacts:
    outcome = fetch_facts(model(text, **settings), hub.settings())
    assert outcome.value is not None, outcome.diagnostics
    lock = Lock(cluster="a", facts={"chat": outcome.value})
    assert read_lock(write_lock(lock), "gslc.lock").value == lock
    return outcome.value


def refusal(hub: HubServer, text: str, settings: HubSettings | None = None, **given: object) -> Diagnostic:
    (diagnostic,) = fetch_facts(model(text, **given), settings or hub.settings()).diagnostics
    assert diagnostic.severity == "error"
    return diagnostic


# ------------------------------------------------------------------ ModelScope


def test_a_modelscope_repository_is_pinned_with_every_hash(hub: HubServer) -> None:
    commit = hub.add("modelscope", "o/chat", transformers_repository(shards=2))
    found = facts(hub, "modelscope://o/chat")
    assert found.revision == commit
    assert all(file.sha256 for file in found.files)
    assert found.safetensors is not None
    hub.add("hf", "o/chat", transformers_repository(shards=2))
    other = facts(hub, "hf://o/chat")
    assert found.safetensors == other.safetensors


def test_modelscope_gives_gguf_files_and_splits(hub: HubServer) -> None:
    files = dict(zip((f"m-q4_k_m-{number:05d}-of-00002.gguf" for number in (1, 2)), llama_split(2), strict=True))
    hub.add(
        "modelscope", "o/gguf", {**files, "m-q8_0.gguf": llama_gguf(kind="Q8_0"), "mmproj-f16.gguf": projector_gguf()}
    )
    found = facts(hub, "modelscope://o/gguf:q4_k_m")
    assert [file.path for file in found.files] == [*files, "mmproj-f16.gguf"]
    assert refusal(hub, "modelscope://o/gguf").code == "GS254"


def test_modelscope_content_is_read_at_the_pinned_commit(hub: HubServer) -> None:
    commit = hub.add("modelscope", "o/chat", transformers_repository())
    facts(hub, "modelscope://o/chat@master")
    assert hub.asked("/repo?") == hub.asked(f"Revision={commit}") > 0


def test_a_modelscope_commit_may_be_named(hub: HubServer) -> None:
    commit = hub.add("modelscope", "o/chat", transformers_repository())
    assert facts(hub, f"modelscope://o/chat@{commit}").revision == commit
    assert refusal(hub, "modelscope://o/chat@v9").code == "GS252"


def test_a_private_modelscope_repository_wants_its_token(hub: HubServer) -> None:
    hub.add("modelscope", "o/private", transformers_repository(), private=True)
    diagnostic = refusal(hub, "modelscope://o/private")
    assert diagnostic.code == "GS251"
    assert "MODELSCOPE_API_TOKEN" in str(diagnostic.help)
    outcome = fetch_facts(model("modelscope://o/private"), hub.settings(MODELSCOPE_API_TOKEN=hub.token))
    assert outcome.value is not None
    assert hub.token not in write_lock(Lock(cluster="a", facts={"m": outcome.value}))


def test_a_missing_modelscope_repository_is_named(hub: HubServer) -> None:
    assert refusal(hub, "modelscope://o/none").code == "GS252"


# ------------------------------------------------------------------ speech


@pytest.mark.parametrize("row", SPEECH_MODELS, ids=[row.name for row in SPEECH_MODELS])
def test_every_row_of_the_table_is_a_speech_model_on_both_hubs(hub: HubServer, row: object) -> None:
    files = {"README.md": b"", ".gitattributes": b"", "model.bin": b"x" * 70, "llm.pt": b"y" * 50}
    for kind, name in (("hf", row.huggingface), ("modelscope", row.modelscope)):  # type: ignore[attr-defined]
        if name is None:
            continue
        hub.add(kind, name, files)  # type: ignore[arg-type]
        found = facts(hub, f"{kind}://{name}")
        assert found.speech is not None
        assert (found.speech.framework, found.kind) == (row.framework, row.kind)  # type: ignore[attr-defined]
        assert found.speech.model_bytes == (70 if row.framework == "faster-whisper" else 50)  # type: ignore[attr-defined]
        assert {file.path for file in found.files} == {"README.md", "model.bin", "llm.pt"}


def test_other_speech_models_are_told_by_their_files(hub: HubServer) -> None:
    cases: dict[str, tuple[dict[str, bytes], str]] = {
        "o/own-whisper": (WHISPER, "faster-whisper"),
        "o/sense": ({"model.pt": b"x" * 99, "configuration.json": json.dumps({"task": "auto-speech-recognition", "model": {"type": "funasr"}}).encode()}, "funasr"),
        "o/bark": ({"config.json": b'{"architectures": ["BarkModel"]}', "pytorch_model.bin": b"x"}, "bark"),
        "o/cosy": ({"cosyvoice.yaml": b"x", "llm.pt": b"x"}, "cosyvoice"),
        "o/dia": ({"config.json": json.dumps({"data": dict.fromkeys(("audio_bos_value", "audio_eos_value", "audio_pad_value", "channels", "delay_pattern"), 1)}).encode(), "dia-v0_1.pth": b"x"}, "dia"),
    }  # fmt: skip
    for name, (files, framework) in cases.items():
        hub.add("hf", name, files)
        found = facts(hub, f"hf://{name}")
        assert found.speech is not None
        assert found.speech.framework == framework
        assert facts(hub, f"hf://{name}", backend="vox-box") == found


def test_a_language_model_is_no_speech_model(hub: HubServer) -> None:
    hub.add("hf", "o/chat", transformers_repository())
    assert facts(hub, "hf://o/chat").speech is None
    assert refusal(hub, "hf://o/chat", backend="vox-box").code == "GS263"


def test_a_custom_backend_takes_any_file(hub: HubServer) -> None:
    hub.add("hf", "ggerganov/whisper.cpp", {"ggml-base.bin": b"x" * 20, "ggml-tiny.bin": b"x" * 10})
    found = facts(hub, "hf://ggerganov/whisper.cpp/ggml-base.bin", backend="custom")
    assert ([file.path for file in found.files], found.kind) == (["ggml-base.bin"], "other")
    assert refusal(hub, "hf://ggerganov/whisper.cpp/ggml-base.bin").code == "GS253"
    assert facts(hub, "hf://ggerganov/whisper.cpp", backend="custom").kind == "other"


# ------------------------------------------------------------------ Ollama


def test_an_ollama_model_is_pinned_by_the_manifests_digest(hub: HubServer) -> None:
    file, projector = llama_gguf(tokens=30), projector_gguf()
    digest = hub.add_ollama("gemma3", "4b", file, projector)
    found = facts(hub, "ollama://gemma3:4b")
    assert found.revision == digest
    assert [fact.path for fact in found.files] == ["gemma3-4b.gguf", "mmproj-gemma3-4b.gguf"]
    assert found.projector_file == "mmproj-gemma3-4b.gguf"
    assert found.kind == "vision"
    for fact in found.files:
        assert fact.url == f"{hub.url}/v2/library/gemma3/blobs/sha256:{fact.sha256}"


def test_the_tag_defaults_to_latest_and_a_name_may_have_an_owner(hub: HubServer) -> None:
    hub.add_ollama("m", "latest", llama_gguf())
    hub.add_ollama("someone/m", "q4", llama_gguf())
    assert facts(hub, "ollama://m").gguf is not None
    assert [fact.path for fact in facts(hub, "ollama://someone/m:q4").files] == ["someone-m-q4.gguf"]


def test_an_unknown_ollama_model_is_named(hub: HubServer) -> None:
    diagnostic = refusal(hub, "ollama://nothing:7b")
    assert diagnostic.code == "GS252"
    assert "ollama://nothing:7b" in diagnostic.message


def test_a_manifest_without_a_model_is_refused(hub: HubServer) -> None:
    hub.manifests["library/empty", "latest"] = b'{"layers": []}'
    hub.manifests["library/odd", "latest"] = (
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "md5:1", "size": 1}]}'
    )
    hub.manifests["library/none", "latest"] = b'{"errors": []}'
    assert refusal(hub, "ollama://empty").code == "GS258"
    assert refusal(hub, "ollama://odd").code == "GS803"
    assert refusal(hub, "ollama://none").code == "GS803"
