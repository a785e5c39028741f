"""config.json, kept as published but for what no estimator can need."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping

from gslc.edges.hub import HubError
from gslc.ir.facts import Json

DEPTH_MAX = 12
LIST_MAX = 1_024
INTEGER_MAX = (1 << 63) - 1  # what every reader of the lock can hold
TEXT_MAX = 1_024
# Names of labels, prompts and languages: long, and without weight.
_DROPPED = frozenset(
    {"id2label", "label2id", "task_specific_params", "lang2id", "id2lang", "prompts", "bad_words_ids", "_name_or_path"}
)


def parse_object(raw: bytes | None, name: str, source: str) -> dict[str, object] | None:
    """A JSON object of a repository; None where the file isn't there. HubError names the file when it is none."""
    if raw is None:
        return None
    try:
        value: object = json.loads(raw)
    except (ValueError, RecursionError) as wrong:
        place = f" (line {wrong.lineno})" if isinstance(wrong, json.JSONDecodeError) else ""
        raise HubError(
            "GS258", f"{name} of {source} is no JSON{place}", "choose another revision of the repository"
        ) from None
    if not isinstance(value, dict):
        raise HubError("GS258", f"{name} of {source} is no JSON object", "choose another revision of the repository")
    return value


def kept_config(config: Mapping[str, object]) -> Mapping[str, Json]:
    """The configuration with sorted keys, tuples for lists, and `auto_map` reduced to the names of its files."""
    kept = {key: _kept(value, 1) for key, value in sorted(config.items()) if key not in _DROPPED and key != "auto_map"}
    code = code_files(config)
    if code:
        kept["auto_map"] = code
    return {key: value for key, value in sorted(kept.items()) if value is not _TOO_LARGE}


_TOO_LARGE: Json = "\0too large"


def _kept(value: object, depth: int) -> Json:
    if isinstance(value, Mapping):
        if depth > DEPTH_MAX:
            return _TOO_LARGE
        inner = {
            str(key): _kept(item, depth + 1)
            for key, item in sorted(value.items())
            if key not in _DROPPED and key != "auto_map"
        }
        return {key: item for key, item in inner.items() if item is not _TOO_LARGE}
    if isinstance(value, (list, tuple)):
        if depth > DEPTH_MAX or len(value) > LIST_MAX:
            return _TOO_LARGE
        items = tuple(_kept(item, depth + 1) for item in value)
        return _TOO_LARGE if any(item is _TOO_LARGE for item in items) else items
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str) and len(value) > TEXT_MAX:
        return _TOO_LARGE
    if isinstance(value, int) and not isinstance(value, bool):
        # kept at the bound, never left out: an estimator that finds no number takes a default for it
        return max(-INTEGER_MAX, min(value, INTEGER_MAX))
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def code_files(*configurations: Mapping[str, object] | None) -> tuple[str, ...]:
    """The modules that `auto_map` names, as file names of the repository, sorted ("modeling_x.py").

    A reference into another repository keeps its prefix ("owner/name--modeling_x.py").
    """
    found: set[str] = set()
    for configuration in configurations:
        reference = (configuration or {}).get("auto_map")
        values = reference.values() if isinstance(reference, Mapping) else ()
        for text in _texts(values):
            module = text.rpartition(".")[0] if "." in text.rpartition("--")[2] else text
            found.add(f"{module}.py"[:200])
    return tuple(sorted(found))


def _texts(values: Iterable[object]) -> Iterator[str]:
    """The texts among values that are texts, or lists of texts and None, as `AutoTokenizer` entries are."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (inner for inner in value if isinstance(inner, str))


def tokenizer_length(configuration: Mapping[str, object] | None) -> int | None:
    """`model_max_length` where it is a length; transformers writes 1e30 for "none"."""
    length = (configuration or {}).get("model_max_length")
    return length if type(length) is int and 0 < length < 1 << 31 else None
