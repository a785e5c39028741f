"""Which model architectures vLLM knows, and which of them can be split into pipeline stages.

The table was read from the model registries of the real packages (see `sampled`); between two samples the older holds.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Literal

from gslc.engines.vllm_versions import version_tuple
from gslc.ir.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What a release says of an architecture."""

    purpose: Literal["generate", "multimodal", "pooling"]
    pipeline: bool


_PURPOSES: dict[str, Literal["generate", "multimodal", "pooling"]] = {
    "g": "generate",
    "m": "multimodal",
    "p": "pooling",
}


@cache
def _table() -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    document = json.loads((files(__package__) / "architectures.json").read_text(encoding="utf-8"))
    return tuple(document["sampled"]), {name: tuple(row) for name, row in document["architectures"].items()}


def known_architecture(name: str, version: str) -> Architecture | None:
    """The entry of the newest sample that is not newer than `version` (the oldest for older ones); None: not listed."""
    sampled, rows = _table()
    index = max((at for at, sample in enumerate(sampled) if version_tuple(sample) <= version_tuple(version)), default=0)
    entry = rows.get(name, ("",) * len(sampled))[index]
    if not entry:
        return None
    return Architecture(purpose=_PURPOSES[entry[0]], pipeline=entry.endswith("+"))


def supports_pipeline(name: str, version: str) -> bool:
    """Whether the architecture implements SupportsPP. Unknown ones run by the Transformers backend, which does."""
    found = known_architecture(name, version) or known_architecture("TransformersForCausalLM", version)
    return found is not None and found.pipeline


def generates_embeddings_only(name: str, version: str) -> bool:
    """Whether the architecture can do nothing but pool (BertModel, XLMRobertaForSequenceClassification, …)."""
    found = known_architecture(name, version)
    return found is not None and found.purpose == "pooling"
