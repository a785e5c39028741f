"""Speech models: the published names vox-box serves, and its rules for telling others by their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from gslc.ir.facts import ModelKind, SpeechFramework
from gslc.ir.inputs import Arch, Os
from gslc.ir.record import dataclass

Platform = tuple[Os, Arch]

ANY_PLATFORM: tuple[Platform, ...] = (
    ("darwin", "amd64"), ("darwin", "arm64"),
    ("linux", "amd64"), ("linux", "arm64"),
    ("windows", "amd64"), ("windows", "arm64"),
)  # fmt: skip
# CosyVoice needs pynini and wetextprocessing, Dia the same: built for x86-64 Linux and for macOS (vox-box README).
NEEDS_OPENFST: tuple[Platform, ...] = (("darwin", "amd64"), ("darwin", "arm64"), ("linux", "amd64"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechModel:
    """A published model: its names on the hubs (None where it isn't), framework, direction and platforms."""

    name: str
    huggingface: str | None
    modelscope: str | None
    framework: SpeechFramework
    kind: Literal["speech-to-text", "text-to-speech"]
    platforms: tuple[Platform, ...] = ANY_PLATFORM


def _whisper(name: str) -> SpeechModel:
    return SpeechModel(
        name=name,
        huggingface=f"Systran/{name}",
        modelscope=f"gpustack/{name}",
        framework="faster-whisper",
        kind="speech-to-text",
    )


def _cosyvoice(name: str, *, huggingface: bool = True) -> SpeechModel:
    return SpeechModel(
        name=name,
        huggingface=f"FunAudioLLM/{name}" if huggingface else None,
        modelscope=f"iic/{name}",
        framework="cosyvoice",
        kind="text-to-speech",
        platforms=NEEDS_OPENFST,
    )


SPEECH_MODELS: tuple[SpeechModel, ...] = (
    _whisper("faster-whisper-large-v3"),
    _whisper("faster-whisper-large-v2"),
    _whisper("faster-whisper-large-v1"),
    _whisper("faster-whisper-medium"),
    _whisper("faster-whisper-medium.en"),
    _whisper("faster-whisper-small"),
    _whisper("faster-whisper-small.en"),
    _whisper("faster-distil-whisper-large-v3"),
    _whisper("faster-distil-whisper-large-v2"),
    _whisper("faster-distil-whisper-medium.en"),
    _whisper("faster-whisper-tiny"),
    _whisper("faster-whisper-tiny.en"),
    _cosyvoice("CosyVoice-300M-Instruct"),
    _cosyvoice("CosyVoice-300M-SFT"),
    _cosyvoice("CosyVoice-300M"),
    _cosyvoice("CosyVoice-300M-25Hz", huggingface=False),
    _cosyvoice("CosyVoice2-0.5B"),
)

KIND_OF: Mapping[SpeechFramework, ModelKind] = {
    "faster-whisper": "speech-to-text",
    "funasr": "speech-to-text",
    "cosyvoice": "text-to-speech",
    "bark": "text-to-speech",
    "dia": "text-to-speech",
}

PLATFORMS_OF: Mapping[SpeechFramework, tuple[Platform, ...]] = {
    "faster-whisper": ANY_PLATFORM,
    "funasr": ANY_PLATFORM,
    "bark": ANY_PLATFORM,
    "cosyvoice": NEEDS_OPENFST,
    "dia": NEEDS_OPENFST,
}

# The file that vox-box's memory bands go by; the first that is there.
_WEIGHTS_OF: Mapping[SpeechFramework, tuple[str, ...]] = {
    "faster-whisper": ("model.bin",),
    "cosyvoice": ("llm.pt",),
    "funasr": ("model.pt", "model.pb", "pytorch_model.bin", "model.safetensors"),
    "bark": ("pytorch_model.bin", "model.safetensors"),
    "dia": ("dia-v0_1.pth", "model.safetensors"),
}
_DIA_KEYS = frozenset({"audio_bos_value", "audio_eos_value", "audio_pad_value", "channels", "delay_pattern"})

# The small files whose content the rules read.
RULE_DOCUMENTS = ("config.json", "configuration.json", "preprocessor_config.json")


def known_speech(hub: str, repository: str) -> SpeechModel | None:
    """The row of a published model; names are compared without case, as the hubs do. None for any other."""
    wanted = repository.casefold()
    for model in SPEECH_MODELS:
        name = {"hf": model.huggingface, "modelscope": model.modelscope}.get(hub)
        if name is not None and name.casefold() == wanted:
            return model
    return None


def detect_speech(
    hub: str, repository: str, files: Mapping[str, int], documents: Mapping[str, Mapping[str, object]]
) -> tuple[SpeechFramework, str] | None:
    """The framework vox-box 0.0.21 would choose, and why; None when it would refuse the model.

    `files` are sizes by path, `documents` the parsed JSON of those of RULE_DOCUMENTS that are there. Rules and order
    are vox-box's own, except that it also tries to load whatever has a model.bin and a tokenizer.json.
    """
    row = known_speech(hub, repository)
    if row is not None:
        return row.framework, f"{row.name} is in vox-box's table of tested models"
    for rule in (_cosyvoice_rule, _whisper_rule, _funasr_rule, _bark_rule, _dia_rule):
        found = rule(hub, repository, files, documents)
        if found is not None:
            return found
    return None


Found = tuple[SpeechFramework, str] | None


def _cosyvoice_rule(
    hub: str, repository: str, files: Mapping[str, int], documents: Mapping[str, Mapping[str, object]]
) -> Found:
    del hub, repository, documents
    for name in ("cosyvoice.yaml", "cosyvoice2.yaml"):  # renamed upstream for CosyVoice2 in April 2025
        if name in files:
            return "cosyvoice", f"it has {name}"
    return None


def _whisper_rule(
    hub: str, repository: str, files: Mapping[str, int], documents: Mapping[str, Mapping[str, object]]
) -> Found:
    owner, _, name = repository.casefold().partition("/")
    if hub == "hf" and owner == "systran":
        return "faster-whisper", "its owner is Systran"
    if hub == "modelscope" and owner == "gpustack" and "whisper" in name:
        return "faster-whisper", "its owner is gpustack and its name holds 'whisper'"
    if not {"model.bin", "tokenizer.json"} <= files.keys():
        return None
    if documents.get("preprocessor_config.json", {}).get("processor_class") == "WhisperProcessor":
        return "faster-whisper", "it has model.bin and a WhisperProcessor"
    # A CTranslate2 whisper: its config.json lists heads and suppressed tokens and names no architecture.
    config = documents.get("config.json", {})
    if "alignment_heads" in config and "architectures" not in config:
        return "faster-whisper", "it has model.bin and a CTranslate2 config.json with alignment_heads"
    return None


def _funasr_rule(
    hub: str, repository: str, files: Mapping[str, int], documents: Mapping[str, Mapping[str, object]]
) -> Found:
    del hub, repository, files
    configuration = documents.get("configuration.json", {})
    model = configuration.get("model")
    if (
        configuration.get("task") == "auto-speech-recognition"
        and isinstance(model, Mapping)
        and model.get("type") == "funasr"
    ):
        return "funasr", "configuration.json says auto-speech-recognition with funasr"
    config = documents.get("config.json", {})
    if "QWenLMHeadModel" in _architectures(config) and isinstance(config.get("audio"), Mapping):
        return "funasr", "it is a QWenLMHeadModel with audio layers"
    return None


def _bark_rule(
    hub: str, repository: str, files: Mapping[str, int], documents: Mapping[str, Mapping[str, object]]
) -> Found:
    del hub, repository, files
    if "BarkModel" in _architectures(documents.get("config.json", {})):
        return "bark", "its architecture is BarkModel"
    return None


def _dia_rule(
    hub: str, repository: str, files: Mapping[str, int], documents: Mapping[str, Mapping[str, object]]
) -> Found:
    del hub, repository, files
    settings = documents.get("config.json", {}).get("data")
    if isinstance(settings, Mapping) and settings.keys() >= _DIA_KEYS:
        return "dia", "config.json has Dia's audio settings"
    return None


def _architectures(config: Mapping[str, object]) -> tuple[str, ...]:
    names = config.get("architectures")
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, (list, tuple)) else ()


def speech_weights(framework: SpeechFramework, files: Mapping[str, int]) -> str | None:
    """The file that the memory bands go by: the framework's own name, else the largest. None without files."""
    for name in _WEIGHTS_OF[framework]:
        if name in files:
            return name
    return max(sorted(files), key=lambda path: files[path]) if files else None
