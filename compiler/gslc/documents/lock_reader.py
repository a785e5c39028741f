"""The text of gslc.lock as values: types, allowed fields, and sums that must agree; no spelling rules."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import get_args

from gslc.documents.canonical import freeze
from gslc.documents.lock_fields import (
    LockRefused,
    Path,
    Problem,
    count_of,
    counts_of,
    fields_of,
    matching,
    name_of,
    optional_count_of,
    path_of,
    refuse,
    sha256_of,
    text_of,
    texts_of,
)
from gslc.documents.lock_placements import placements_of
from gslc.documents.lock_sums import contradiction
from gslc.ir.facts import (
    FileFact,
    GgufFacts,
    HyperValue,
    Json,
    ModelFacts,
    ModelKind,
    OtherQuantization,
    SafetensorsFacts,
    SpeechFacts,
    SpeechFramework,
    TensorGroup,
)
from gslc.ir.lock import Lock

REVISION = re.compile(r"(?:[0-9a-f]{40}|sha256:[0-9a-f]{64})\Z")
URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/[\x21-\x7e]*\Z")  # no user name, so no password
QUANTIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}\Z")  # as a source has it after the colon
BLOCKS = re.compile(r"\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*\Z", re.ASCII)
BLOCKS_MAX = 65_536


def parse_lock(text: str, version: int) -> Lock:
    """The lock as values; LockRefused for anything else."""
    raw = _load(text)
    if not isinstance(raw, dict):
        raise refuse((), "must be an object")
    if raw.get("version") != version or isinstance(raw.get("version"), bool):
        action = "use the gslc release that wrote it, or delete the file and run `gslc lock`"
        raise LockRefused(
            Problem("GS207", f"this gslc reads locks of version {version} only", ('"version"',), help=action)
        )
    fields = fields_of(raw, (), {"version", "cluster", "models", "placements"})
    models = fields["models"]
    placements = fields["placements"]
    if not isinstance(models, dict) or not isinstance(placements, list):
        raise refuse((), "`models` must be an object and `placements` a list")
    return Lock(
        cluster=name_of(fields["cluster"], ('"cluster"',)),
        facts={name_of(name, ('"models"', f'"{name}"')): _facts(name, value) for name, value in models.items()},
        placements=placements_of(placements),
    )


def _no_constant(name: str) -> object:
    """NaN and Infinity are no JSON, though Python's reader takes them."""
    raise ValueError(name)


def _load(text: str) -> object:
    try:
        loaded: object = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as wrong:
        raise LockRefused(Problem("GS200", f"the lock is not JSON: {wrong.msg}", line=wrong.lineno)) from None
    except (RecursionError, ValueError):  # ValueError: an integer of more digits than Python reads
        raise LockRefused(
            Problem("GS200", "the lock is not JSON that gslc writes: nested too deep, or a huge number")
        ) from None
    return loaded


# ------------------------------------------------------------------ models

_FACTS_REQUIRED = {"source", "revision", "kind", "kind_reason", "files", "facts_sha256"}
_FACTS_OPTIONAL = frozenset(
    {"asked", "code_files", "gguf", "other_quantizations", "projector", "projector_file", "safetensors", "speech"}
)


def _facts(name: str, raw: object) -> ModelFacts:
    path = ('"models"', f'"{name}"')
    fields = fields_of(raw, path, _FACTS_REQUIRED, _FACTS_OPTIONAL)
    sha256_of(fields["facts_sha256"], (*path, '"facts_sha256"'))
    revision = fields["revision"]
    if revision is not None:
        revision = matching(REVISION, revision, (*path, '"revision"'), "40 hex digits or a sha256 digest")
    gguf, projector, speech = fields.get("gguf"), fields.get("projector"), fields.get("speech")
    safetensors, projector_file = fields.get("safetensors"), fields.get("projector_file")
    facts = ModelFacts(
        source=text_of(fields["source"], (*path, '"source"')),
        revision=revision,
        files=_files(fields["files"], (*path, '"files"')),
        kind=_kind(fields["kind"], (*path, '"kind"')),
        kind_reason=text_of(fields["kind_reason"], (*path, '"kind_reason"')),
        gguf=None if gguf is None else _gguf(gguf, (*path, '"gguf"')),
        projector=None if projector is None else _gguf(projector, (*path, '"projector"')),
        projector_file=None if projector_file is None else path_of(projector_file, (*path, '"projector_file"')),
        safetensors=None if safetensors is None else _safetensors(safetensors, (*path, '"safetensors"')),
        speech=None if speech is None else _speech(speech, (*path, '"speech"')),
        code_files=texts_of(fields.get("code_files", []), (*path, '"code_files"')),
        asked=_asked(fields.get("asked", {}), (*path, '"asked"')),
        other_quantizations=_others(fields.get("other_quantizations", []), (*path, '"other_quantizations"')),
    )
    wrong = contradiction(facts)
    if wrong is not None:
        raise refuse(path, wrong, "GS205")
    return facts


def _kind(value: object, path: Path) -> ModelKind:
    for kind in get_args(ModelKind):
        if value == kind:
            return kind  # type: ignore[no-any-return]
    raise refuse(path, f"must be one of {', '.join(get_args(ModelKind))}")


def _asked(value: object, path: Path) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not all(isinstance(inner, str) for inner in value.values()):
        raise refuse(path, "must be an object of text")
    return tuple(sorted(value.items()))


def _files(value: object, path: Path) -> tuple[FileFact, ...]:
    if not isinstance(value, list):
        raise refuse(path, "must be a list")
    return tuple(_file(item, path) for item in value)


def _file(value: object, path: Path) -> FileFact:
    fields = fields_of(value, path, {"path", "size"}, frozenset({"sha256", "url"}))
    digest, url = fields.get("sha256"), fields.get("url")
    return FileFact(
        path=path_of(fields["path"], path),
        size_bytes=count_of(fields["size"], path),
        sha256=None if digest is None else sha256_of(digest, path),
        url=None if url is None else matching(URL, url, path, "a URL without a user name"),
    )


def _others(value: object, path: Path) -> tuple[OtherQuantization, ...]:
    if not isinstance(value, list):
        raise refuse(path, "must be a list")
    return tuple(_other(item, path) for item in value)


def _other(value: object, path: Path) -> OtherQuantization:
    fields = fields_of(value, path, {"name", "size"})
    other = OtherQuantization(name=text_of(fields["name"], path), size_bytes=count_of(fields["size"], path))
    if other.is_path:
        path_of(other.name, path)
    else:
        matching(QUANTIZATION, other.name, path, "a quantisation such as Q4_K_M, or the path of a GGUF file")
    return other


def _tensors(value: object, path: Path) -> tuple[TensorGroup, ...]:
    if not isinstance(value, list):
        raise refuse(path, "must be a list")
    return tuple(_tensor(item, path) for item in value)


def _tensor(value: object, path: Path) -> TensorGroup:
    fields = fields_of(value, path, {"name", "type", "shape"}, frozenset({"blocks", "experts"}))
    blocks = fields.get("blocks")
    return TensorGroup(
        name=text_of(fields["name"], path),
        type=text_of(fields["type"], path),
        shape=counts_of(fields["shape"], path),
        blocks=() if blocks is None else _blocks(text_of(blocks, path), path),
        experts=count_of(fields.get("experts", 0), path),
    )


def _blocks(text: str, path: Path) -> tuple[int, ...]:
    blocks = parse_blocks(text)
    if blocks is None:
        raise refuse(path, f"{text[:40]!r} is not a list of block ranges such as 0-3,7")
    return blocks


@lru_cache(maxsize=4096)
def parse_blocks(text: str) -> tuple[int, ...] | None:
    """Block numbers of ranges such as "0-3,7"; None where the text is no rising list of ranges."""
    if not BLOCKS.match(text):
        return None
    blocks: list[int] = []
    for run in text.split(","):
        first, _, last = run.partition("-")
        low, high = int(first), int(last or first)
        if high >= BLOCKS_MAX or high < low or (blocks and low <= blocks[-1]):
            return None
        blocks.extend(range(low, high + 1))
    return tuple(blocks)


def _gguf(value: object, path: Path) -> GgufFacts:
    fields = fields_of(
        value,
        path,
        {"architecture", "vocabulary_size", "file_bytes", "header_bytes", "header_sha256", "hyper", "tensors"},
    )
    return GgufFacts(
        architecture=text_of(fields["architecture"], path),
        hyper=_hyper(fields["hyper"], (*path, '"hyper"')),
        vocabulary_size=count_of(fields["vocabulary_size"], path),
        tensors=_tensors(fields["tensors"], (*path, '"tensors"')),
        header_sha256=sha256_of(fields["header_sha256"], path),
        header_bytes=count_of(fields["header_bytes"], path),
        file_bytes=count_of(fields["file_bytes"], path),
    )


def _hyper(value: object, path: Path) -> dict[str, HyperValue]:
    if not isinstance(value, dict):
        raise refuse(path, "must be an object")
    found: dict[str, HyperValue] = {}
    for key, inner in value.items():
        items = tuple(inner) if isinstance(inner, list) else inner
        leaves = items if isinstance(items, tuple) else (items,)
        if not all(
            isinstance(leaf, (str, int, float)) and leaf not in (float("inf"), float("-inf")) for leaf in leaves
        ):
            raise refuse((*path, f'"{key}"'), "must be a number, text, a truth value, or a list of them")
        found[key] = items
    return found


def _config(value: object, path: Path) -> Mapping[str, Json]:
    try:
        frozen = freeze(value)
    except ValueError as wrong:
        raise refuse(path, str(wrong)) from None
    if not isinstance(frozen, dict):
        raise refuse(path, "must be an object")
    return frozen


_WEIGHTS_REQUIRED = {"weight_format", "parameter_bytes", "header_sha256", "config", "tensors"}


def _safetensors(value: object, path: Path) -> SafetensorsFacts:
    fields = fields_of(value, path, _WEIGHTS_REQUIRED, frozenset({"pooling", "tokenizer_max_length"}))
    digest, pooling = fields["header_sha256"], fields.get("pooling")
    if fields["weight_format"] not in ("safetensors", "pickle"):
        raise refuse((*path, '"weight_format"'), "must be safetensors or pickle")
    return SafetensorsFacts(
        config=_config(fields["config"], (*path, '"config"')),
        tensors=_tensors(fields["tensors"], (*path, '"tensors"')),
        parameter_bytes=count_of(fields["parameter_bytes"], (*path, '"parameter_bytes"')),
        header_sha256=None if digest is None else sha256_of(digest, path),
        weight_format="safetensors" if fields["weight_format"] == "safetensors" else "pickle",
        tokenizer_max_length=optional_count_of(fields.get("tokenizer_max_length"), path),
        pooling=None if pooling is None else text_of(pooling, path),
    )


def _speech(value: object, path: Path) -> SpeechFacts:
    fields = fields_of(value, path, {"framework", "model_file", "model_bytes"})
    for framework in get_args(SpeechFramework):
        if fields["framework"] == framework:
            return SpeechFacts(
                framework=framework,
                model_file=path_of(fields["model_file"], path),
                model_bytes=count_of(fields["model_bytes"], path),
            )
    raise refuse(path, f"framework must be one of {', '.join(get_args(SpeechFramework))}")
