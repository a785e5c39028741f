"""The text of gslc.lock as values: types, allowed fields, and sums that must agree; no spelling rules."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypeGuard, get_args

from gslc.documents.canonical import freeze, is_safe_path
from gslc.documents.lock_sums import contradiction
from gslc.ir.facts import (
    FileFact,
    GgufFacts,
    HyperValue,
    Json,
    ModelFacts,
    ModelKind,
    SafetensorsFacts,
    SpeechFacts,
    SpeechFramework,
    TensorGroup,
)
from gslc.ir.lock import Lock, LockedPlacement, Seat
from gslc.ir.plan import Layout

Raw = dict[str, object]
Path = tuple[str, ...]

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
REVISION = re.compile(r"(?:[0-9a-f]{40}|sha256:[0-9a-f]{64})\Z")
URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/[\x21-\x7e]*\Z")  # no user name, so no password
BLOCKS = re.compile(r"\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*\Z", re.ASCII)
BLOCKS_MAX = 65_536
INTEGER_MAX = 1 << 63


class Problem(NamedTuple):
    """Why a lock is refused: code, sentence, key path or line, and an action if it isn't the usual one."""

    code: str
    message: str
    path: Path = ()
    line: int | None = None
    help: str | None = None


class LockRefused(Exception):
    """The text is no lock that can be trusted."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def refuse(path: Path, message: str, code: str = "GS202") -> LockRefused:
    """The refusal of a value, with its key path in front of the sentence."""
    where = ".".join(key.strip('"').removesuffix('":') for key in path)
    return LockRefused(Problem(code, f"{where or 'lock'}: {message}", path))


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
    fields = _fields(raw, (), {"version", "cluster", "models", "placements"})
    models = fields["models"]
    placements = fields["placements"]
    if not isinstance(models, dict) or not isinstance(placements, list):
        raise refuse((), "`models` must be an object and `placements` a list")
    return Lock(
        cluster=_name(fields["cluster"], ('"cluster"',)),
        facts={_name(name, ('"models"', f'"{name}"')): _facts(name, value) for name, value in models.items()},
        placements=_placements(placements),
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


# ------------------------------------------------------------------ checked leaves


def _fields(raw: object, path: Path, required: set[str], optional: frozenset[str] = frozenset()) -> Raw:
    if not isinstance(raw, dict):
        raise refuse(path, "must be an object")
    if not required <= raw.keys():
        raise refuse(path, f"`{min(required - raw.keys())}` is missing")
    if len(raw) > len(required):
        unknown = raw.keys() - required - optional
        if unknown:
            raise refuse((*path, f'"{min(unknown)}"'), "unknown field")
    return raw


def _text(value: object, path: Path) -> str:
    if not isinstance(value, str):
        raise refuse(path, "must be text")
    return value


def _is_integer(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < INTEGER_MAX


def _integer(value: object, path: Path) -> int:
    if not _is_integer(value):
        raise refuse(path, "must be a whole number from 0 up")
    return value


def _optional_integer(value: object, path: Path) -> int | None:
    return None if value is None else _integer(value, path)


def _integers(value: object, path: Path) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(map(_is_integer, value)):
        raise refuse(path, "must be a list of whole numbers")
    return tuple(value)


def _matching(pattern: re.Pattern[str], value: object, path: Path, wanted: str) -> str:
    if not isinstance(value, str) or not pattern.match(value):
        raise refuse(path, f"must be {wanted}")
    return value


def _name(value: object, path: Path) -> str:
    return _matching(NAME, value, path, "a name of a-z, 0-9 and -")


def _sha256(value: object, path: Path) -> str:
    return _matching(SHA256, value, path, "64 hex digits")


def _file_path(value: object, path: Path) -> str:
    if not isinstance(value, str) or not is_safe_path(value):
        raise refuse(path, "must be a relative path without `..`")
    return value


def _texts(value: object, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise refuse(path, "must be a list of text")
    return tuple(value)


# ------------------------------------------------------------------ models

_FACTS_REQUIRED = {"source", "revision", "kind", "kind_reason", "files", "facts_sha256"}
_FACTS_OPTIONAL = frozenset({"asked", "code_files", "gguf", "projector", "projector_file", "safetensors", "speech"})


def _facts(name: str, raw: object) -> ModelFacts:
    path = ('"models"', f'"{name}"')
    fields = _fields(raw, path, _FACTS_REQUIRED, _FACTS_OPTIONAL)
    _sha256(fields["facts_sha256"], (*path, '"facts_sha256"'))
    revision = fields["revision"]
    if revision is not None:
        revision = _matching(REVISION, revision, (*path, '"revision"'), "40 hex digits or a sha256 digest")
    gguf, projector, speech = fields.get("gguf"), fields.get("projector"), fields.get("speech")
    safetensors, projector_file = fields.get("safetensors"), fields.get("projector_file")
    facts = ModelFacts(
        source=_text(fields["source"], (*path, '"source"')),
        revision=revision,
        files=_files(fields["files"], (*path, '"files"')),
        kind=_kind(fields["kind"], (*path, '"kind"')),
        kind_reason=_text(fields["kind_reason"], (*path, '"kind_reason"')),
        gguf=None if gguf is None else _gguf(gguf, (*path, '"gguf"')),
        projector=None if projector is None else _gguf(projector, (*path, '"projector"')),
        projector_file=None if projector_file is None else _file_path(projector_file, (*path, '"projector_file"')),
        safetensors=None if safetensors is None else _safetensors(safetensors, (*path, '"safetensors"')),
        speech=None if speech is None else _speech(speech, (*path, '"speech"')),
        code_files=_texts(fields.get("code_files", []), (*path, '"code_files"')),
        asked=_asked(fields.get("asked", {}), (*path, '"asked"')),
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
    fields = _fields(value, path, {"path", "size"}, frozenset({"sha256", "url"}))
    digest, url = fields.get("sha256"), fields.get("url")
    return FileFact(
        path=_file_path(fields["path"], path),
        size_bytes=_integer(fields["size"], path),
        sha256=None if digest is None else _sha256(digest, path),
        url=None if url is None else _matching(URL, url, path, "a URL without a user name"),
    )


def _tensors(value: object, path: Path) -> tuple[TensorGroup, ...]:
    if not isinstance(value, list):
        raise refuse(path, "must be a list")
    return tuple(_tensor(item, path) for item in value)


def _tensor(value: object, path: Path) -> TensorGroup:
    fields = _fields(value, path, {"name", "type", "shape"}, frozenset({"blocks", "experts"}))
    blocks = fields.get("blocks")
    return TensorGroup(
        name=_text(fields["name"], path),
        type=_text(fields["type"], path),
        shape=_integers(fields["shape"], path),
        blocks=() if blocks is None else _blocks(_text(blocks, path), path),
        experts=_integer(fields.get("experts", 0), path),
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
    fields = _fields(
        value,
        path,
        {"architecture", "vocabulary_size", "file_bytes", "header_bytes", "header_sha256", "hyper", "tensors"},
    )
    return GgufFacts(
        architecture=_text(fields["architecture"], path),
        hyper=_hyper(fields["hyper"], (*path, '"hyper"')),
        vocabulary_size=_integer(fields["vocabulary_size"], path),
        tensors=_tensors(fields["tensors"], (*path, '"tensors"')),
        header_sha256=_sha256(fields["header_sha256"], path),
        header_bytes=_integer(fields["header_bytes"], path),
        file_bytes=_integer(fields["file_bytes"], path),
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
    fields = _fields(value, path, _WEIGHTS_REQUIRED, frozenset({"pooling", "tokenizer_max_length"}))
    digest, pooling = fields["header_sha256"], fields.get("pooling")
    if fields["weight_format"] not in ("safetensors", "pickle"):
        raise refuse((*path, '"weight_format"'), "must be safetensors or pickle")
    return SafetensorsFacts(
        config=_config(fields["config"], (*path, '"config"')),
        tensors=_tensors(fields["tensors"], (*path, '"tensors"')),
        parameter_bytes=_integer(fields["parameter_bytes"], (*path, '"parameter_bytes"')),
        header_sha256=None if digest is None else _sha256(digest, path),
        weight_format="safetensors" if fields["weight_format"] == "safetensors" else "pickle",
        tokenizer_max_length=_optional_integer(fields.get("tokenizer_max_length"), path),
        pooling=None if pooling is None else _text(pooling, path),
    )


def _speech(value: object, path: Path) -> SpeechFacts:
    fields = _fields(value, path, {"framework", "model_file", "model_bytes"})
    for framework in get_args(SpeechFramework):
        if fields["framework"] == framework:
            return SpeechFacts(
                framework=framework,
                model_file=_file_path(fields["model_file"], path),
                model_bytes=_integer(fields["model_bytes"], path),
            )
    raise refuse(path, f"framework must be one of {', '.join(get_args(SpeechFramework))}")


# ------------------------------------------------------------------ placements

_PLACEMENT = {"model", "replica", "backend", "seats", "layout", "seal"}
_SEAT = {"host", "gpus", "ports"}
_LAYOUT = frozenset(Layout.__slots__)
_LINE = ('"placements"',)


def _placements(raw: list[object]) -> tuple[LockedPlacement, ...]:
    placements = tuple(_placement(item) for item in raw)
    seen: set[tuple[str, int]] = set()
    for placement in placements:
        key = (placement.model, placement.replica)
        if key in seen:
            raise refuse(_LINE, f"replica {placement.replica} of '{placement.model}' is placed twice", "GS205")
        seen.add(key)
    return placements


def _placement(raw: object) -> LockedPlacement:
    fields = _fields(raw, _LINE, _PLACEMENT)
    model = _name(fields["model"], _LINE)
    replica = _integer(fields["replica"], _LINE)
    line = (*_LINE, f'  {{"model": "{model}", "replica": {replica},')
    seats = fields["seats"]
    if not isinstance(seats, list) or not seats:
        raise refuse(line, "`seats` must be a list of at least one seat")
    _text(fields["seal"], line)
    return LockedPlacement(
        model=model,
        replica=replica,
        backend=_name_of_backend(fields["backend"], line),
        seats=tuple(_seat(seat, line) for seat in seats),
        layout=_layout(fields["layout"], line),
    )


def _name_of_backend(value: object, path: Path) -> str:
    text = _text(value, path)
    if not text or len(text) > 64 or not text.isprintable():
        raise refuse(path, "`backend` must be a name")
    return text


def _seat(raw: object, path: Path) -> Seat:
    fields = _fields(raw, path, _SEAT)
    gpus = _integers(fields["gpus"], path)
    ports = _integers(fields["ports"], path)
    if len(set(gpus)) != len(gpus) or len(set(ports)) != len(ports):
        raise refuse(path, "a GPU or a port stands twice in one seat", "GS205")
    if ports and max(ports) > 65_535:
        raise refuse(path, f"{max(ports)} is not a port", "GS205")
    return Seat(host=_name(fields["host"], path), gpus=gpus, ports=ports)


def _layout(raw: object, path: Path) -> Layout:
    fields = _fields(raw, path, set(), _LAYOUT)
    if not fields:
        return Layout()
    split = fields.get("tensor_split")
    numbers = {name: _integer(value, path) for name, value in fields.items() if name != "tensor_split"}
    return Layout(
        tensor_parallel=numbers.get("tensor_parallel", 1),
        pipeline_parallel=numbers.get("pipeline_parallel", 1),
        gpu_layers=numbers.get("gpu_layers"),
        layers=numbers.get("layers"),
        tensor_split=None if split is None else _integers(split, path),
        cpu_moe_layers=numbers.get("cpu_moe_layers"),
        gpu_memory_utilization=numbers.get("gpu_memory_utilization"),
        context=numbers.get("context"),
        parallel=numbers.get("parallel"),
        requirement=numbers.get("requirement"),
    )
