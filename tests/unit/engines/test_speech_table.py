"""The table of speech models, and the rules for others."""

from __future__ import annotations

import pytest

from gslc.engines.speech_table import KIND_OF, PLATFORMS_OF, SPEECH_MODELS, detect_speech, known_speech, speech_weights


def test_the_table_has_twelve_whispers_and_five_cosyvoices() -> None:
    frameworks = [row.framework for row in SPEECH_MODELS]
    assert (frameworks.count("faster-whisper"), frameworks.count("cosyvoice"), len(frameworks)) == (12, 5, 17)
    assert len({row.name for row in SPEECH_MODELS}) == 17
    assert all(
        row.kind == KIND_OF[row.framework] and row.platforms == PLATFORMS_OF[row.framework] for row in SPEECH_MODELS
    )


def test_cosyvoice_runs_neither_on_arm_linux_nor_on_windows() -> None:
    platforms = PLATFORMS_OF["cosyvoice"]
    assert ("linux", "amd64") in platforms
    assert ("darwin", "arm64") in platforms
    assert ("linux", "arm64") not in platforms
    assert not any(system == "windows" for system, _ in platforms)


def test_names_are_compared_without_case() -> None:
    row = known_speech("hf", "systran/FASTER-whisper-tiny")
    assert row is not None
    assert row.name == "faster-whisper-tiny"
    assert known_speech("hf", "gpustack/faster-whisper-tiny") is None
    assert known_speech("ollama", "x") is None
    assert known_speech("hf", "iic/CosyVoice-300M-25Hz") is None


@pytest.mark.parametrize(
    ("hub", "repository", "files", "documents", "framework"),
    [
        ("hf", "Systran/faster-whisper-new", {}, {}, "faster-whisper"),
        ("modelscope", "gpustack/my-Whisper", {}, {}, "faster-whisper"),
        ("hf", "gpustack/my-whisper", {}, {}, None),
        (
            "hf",
            "a/b",
            {"model.bin": 1, "tokenizer.json": 1},
            {"preprocessor_config.json": {"processor_class": "WhisperProcessor"}},
            "faster-whisper",
        ),
        (
            "hf",
            "a/b",
            {"model.bin": 1, "tokenizer.json": 1},
            {"config.json": {"alignment_heads": []}},
            "faster-whisper",
        ),
        (
            "hf",
            "a/b",
            {"model.bin": 1, "tokenizer.json": 1},
            {"config.json": {"alignment_heads": [], "architectures": ["X"]}},
            None,
        ),
        ("hf", "a/b", {"model.bin": 1}, {"preprocessor_config.json": {"processor_class": "WhisperProcessor"}}, None),
        ("hf", "a/b", {"cosyvoice.yaml": 1}, {}, "cosyvoice"),
        ("hf", "a/b", {"cosyvoice2.yaml": 1}, {}, "cosyvoice"),
        (
            "hf",
            "a/b",
            {},
            {"configuration.json": {"task": "auto-speech-recognition", "model": {"type": "funasr"}}},
            "funasr",
        ),
        ("hf", "a/b", {}, {"configuration.json": {"task": "auto-speech-recognition", "model": "funasr"}}, None),
        ("hf", "a/b", {}, {"config.json": {"architectures": ["QWenLMHeadModel"], "audio": {"n": 1}}}, "funasr"),
        ("hf", "a/b", {}, {"config.json": {"architectures": ["BarkModel"]}}, "bark"),
        ("hf", "a/b", {}, {"config.json": {"data": {"channels": 9}}}, None),
        ("file", "", {}, {}, None),
    ],
)
def test_the_rules_are_vox_boxs(
    hub: str, repository: str, files: dict[str, int], documents: dict[str, dict[str, object]], framework: str | None
) -> None:
    found = detect_speech(hub, repository, files, documents)
    assert (found[0] if found else None) == framework


def test_memory_goes_by_the_frameworks_own_file_or_the_largest() -> None:
    assert speech_weights("faster-whisper", {"model.bin": 5, "other.bin": 9}) == "model.bin"
    assert speech_weights("funasr", {"a.bin": 5, "b.bin": 9}) == "b.bin"
    assert speech_weights("bark", {}) is None
