"""The facts of a speech model of vox-box, and the files that its rules read."""

from __future__ import annotations

from collections.abc import Mapping

from gslc.edges.config_facts import parse_object
from gslc.edges.fetching import Fetch
from gslc.edges.hub import HubError
from gslc.engines.speech_table import KIND_OF, RULE_DOCUMENTS, detect_speech, speech_weights
from gslc.ir.facts import ModelFacts, SpeechFacts, SpeechFramework

_SKIPPED = frozenset({".gitattributes", ".gitignore"})


def speech_framework(fetch: Fetch) -> tuple[SpeechFramework, str] | None:
    """The framework that vox-box would choose, and why; None when the repository is no speech model."""
    documents: dict[str, Mapping[str, object]] = {}
    for name, content in fetch.documents(RULE_DOCUMENTS).items():
        parsed = parse_object(content, name, fetch.source.text)
        if parsed is not None:
            documents[name] = parsed
    return detect_speech(fetch.source.kind, fetch.source.repository, _sizes(fetch), documents)


def fetch_speech(fetch: Fetch, found: tuple[SpeechFramework, str] | None) -> ModelFacts:
    """The facts of a speech model: all files of its repository, and the one that its memory goes by."""
    if found is None:
        message = (
            f"{fetch.source.text} is no speech model that vox-box knows (faster-whisper, CosyVoice, FunASR, Bark, Dia)"
        )
        raise HubError("GS263", message, "leave `backend` out, or name a model of these families")
    framework, reason = found
    files = tuple(file for file in fetch.listing.files if file.path not in _SKIPPED)
    weights = speech_weights(framework, _sizes(fetch))
    if weights is None:
        raise HubError("GS258", f"{fetch.source.text} has no files", "check the source")
    return ModelFacts(
        source=fetch.source.text,
        revision=fetch.listing.revision,
        files=fetch.pinned(files),
        kind=KIND_OF[framework],
        kind_reason=reason,
        speech=SpeechFacts(framework=framework, model_file=weights, model_bytes=_sizes(fetch)[weights]),
    )


def _sizes(fetch: Fetch) -> dict[str, int]:
    return {file.path: file.size_bytes for file in fetch.listing.files if file.path not in _SKIPPED}
