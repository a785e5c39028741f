"""Which GGUF files a source means: one quantisation, all parts of its split, and the projector beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from posixpath import basename, dirname

from gslc.edges.hub import GIB, HubError, HubFile, Listing
from gslc.ir.inputs import Source
from gslc.ir.record import dataclass

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf\Z", re.IGNORECASE | re.ASCII)
_EDGE = r"(?=\Z|[-._/])"
_QUANTIZED = re.compile(
    rf"(?:\A|(?<=[-._/]))((?:UD-)?(?:I?Q\d+(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|NVFP4)){_EDGE}", re.IGNORECASE
)
_FLOAT = re.compile(rf"(?:\A|(?<=[-._/]))(BF16|FP?16|FP?32){_EDGE}", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[]")
PRECISION_ORDER = ("F32", "F16", "BF16", "Q8_0")
SHOWN_MAX = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufModel:
    """One model: its files in split order, under the name and quantisation that its first file has."""

    files: tuple[HubFile, ...]
    name: str
    quantization: str | None

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


def is_gguf(path: str) -> bool:
    """True for a name that ends in .gguf, whatever its case."""
    return path.lower().endswith(".gguf")


def is_projector(path: str) -> bool:
    """True for the names that projectors have: mmproj-…, …-mmproj-f16.gguf, case ignored."""
    return is_gguf(path) and "mmproj" in basename(path).lower()


def quantization_of(path: str) -> str | None:
    """The quantisation that a name ends with, upper case: the file's own, else its folder's; None without one."""
    stem = stem_of(path)
    for text in (basename(stem), dirname(stem)):
        found = label_in(text)
        if found is not None:
            return found.group(1).upper().replace("FP16", "F16").replace("FP32", "F32")
    return None


def stem_of(path: str) -> str:
    """A path without its ending and, for a part of a split, without its number."""
    found = _SPLIT.match(path)
    return found.group("stem") if found else path.removesuffix(".gguf").removesuffix(".GGUF")


def label_in(text: str) -> re.Match[str] | None:
    """The last quantisation in a name, which is group 1; None without one."""
    for pattern in (_QUANTIZED, _FLOAT):
        found = list(pattern.finditer(text))
        if found:
            return found[-1]
    return None


def matching(listing: Listing, pattern: str) -> tuple[HubFile, ...]:
    """The files that a path or a glob names. `*` crosses folders and case counts, as in huggingface_hub."""
    exact = listing.file(pattern)
    if exact is not None:
        return (exact,)
    if not _GLOB.search(pattern):
        return tuple(file for file in listing.files if file.path.startswith(pattern.rstrip("/") + "/"))
    return tuple(file for file in listing.files if fnmatchcase(file.path, pattern))


def models_of(files: Sequence[HubFile], listing: Listing) -> tuple[GgufModel, ...]:
    """The models among the files, a split counted once with all its parts; HubError for a missing part."""
    models: dict[str, GgufModel] = {}
    counted: set[str] = set()  # parts of splits that are there already: a repository has hundreds
    for file in files:
        lower = basename(file.path).lower()
        if file.path in counted or not is_gguf(file.path) or is_projector(file.path) or "imatrix" in lower:
            continue
        parts = split_parts(file, listing)
        counted.update(part.path for part in parts)
        models[parts[0].path] = GgufModel(files=parts, name=parts[0].path, quantization=quantization_of(file.path))
    return tuple(models[name] for name in sorted(models))


def split_parts(file: HubFile, listing: Listing) -> tuple[HubFile, ...]:
    """All parts of the split that a file belongs to, in order; the file alone when it is whole."""
    found = _SPLIT.match(file.path)
    if found is None:
        return (file,)
    count = int(found.group("count"))
    suffix = file.path[-len(".gguf") :]
    parts: list[HubFile] = []
    for number in range(1, count + 1):
        path = f"{found.group('stem')}-{number:05d}-of-{count:05d}{suffix}"
        part = listing.file(path)
        if part is None:
            message = f"{listing.source}: part {number} of {count} is missing: {path}"
            raise HubError("GS255", message, "name a model whose parts are all there")
        parts.append(part)
    return tuple(parts)


def choose_model(source: Source, listing: Listing) -> GgufModel:
    """The one model that the source means; HubError that lists what is there when it means none or several."""
    files = listing.files if source.path is None or source.kind == "file" else matching(listing, source.path)
    name = basename(source.path or "") if source.kind == "file" else ""
    if name and listing.file(name) is not None:
        files = matching(listing, name)
    _refuse_projector_alone(source, files)
    models = models_of(files, listing)
    if source.quantization is not None:
        models = _of_quantization(models, source.quantization)
    if len(models) == 1:
        return models[0]
    if not models:
        raise nothing_matches(source, listing)
    message = f"{source.text} matches {len(models)} models: {_listed(models)}"
    raise HubError("GS254", message, f"name one, for example {_one_of(source, models)}")


def _one_of(source: Source, models: Sequence[GgufModel]) -> str:
    """A source text that means one of the models: by its quantisation where that is unique, Q4_K_M first."""
    if source.kind == "file":
        folder = source.text if not is_gguf(source.text) else dirname(source.text)
        return f"{folder}/{models[0].name}"
    labels = [model.quantization for model in models if model.quantization]
    for label in ("Q4_K_M", *labels):
        if labels.count(label) == 1:
            return f"{_repository_text(source)}:{label}"
    return f"{_repository_text(source)}/{models[0].name}"


def _refuse_projector_alone(source: Source, files: Sequence[HubFile]) -> None:
    if files and all(is_projector(file.path) for file in files) and source.path is not None:
        message = f"{source.text} names a projector, not a model"
        raise HubError(
            "GS259", message, "name the model as source; a projector beside it is found, or named by `mmproj`"
        )


def _of_quantization(models: Sequence[GgufModel], wanted: str) -> tuple[GgufModel, ...]:
    """The models of that label; a label without UD- also finds one with it when there is no other."""
    label = wanted.upper()
    exact = tuple(model for model in models if model.quantization == label)
    return exact or tuple(model for model in models if model.quantization == f"UD-{label}")


def _repository_text(source: Source) -> str:
    revision = f"@{source.revision}" if source.revision else ""
    return f"{source.kind}://{source.repository}{revision}"


def nothing_matches(source: Source, listing: Listing) -> HubError:
    """The error for a source that matches no model, with what is there instead."""
    try:
        models = models_of(listing.files, listing)
    except HubError:
        models = ()
    if not models:
        return HubError(
            "GS253",
            f"{source.text} matches no GGUF file, and {len(listing.files)} other files are there",
            "check the source; a repository without GGUF files is named without file and quantisation",
        )
    near = _other_case(source, listing)
    message = f"{source.text} matches nothing; there is: {_listed(models)}"
    action = (
        f"did you mean {near}? Upper and lower case count"
        if near
        else f"name one of them, for example {_repository_text(source)}/{models[0].name}"
    )
    return HubError("GS253", message, action)


def _other_case(source: Source, listing: Listing) -> str | None:
    if source.path is None:
        return None
    pattern = source.path.lower()
    return next((file.path for file in listing.files if fnmatchcase(file.path.lower(), pattern)), None)


def _listed(models: Sequence[GgufModel]) -> str:
    shown = [
        f"{model.quantization or ''} {model.name} ({in_gib(model.size_bytes)})".strip() for model in models[:SHOWN_MAX]
    ]
    more = len(models) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more > 0 else "")


def in_gib(size_bytes: int) -> str:
    """A size for a message, in GiB with one digit; in MiB below half a GiB."""
    if size_bytes < GIB // 2:
        return f"{size_bytes / 1024**2:.1f} MiB"
    return f"{size_bytes / GIB:.1f} GiB"


# ------------------------------------------------------------------ projectors


def choose_projector(listing: Listing, model: GgufModel, wanted: str | None) -> HubFile | None:
    """The projector to serve the model with: the wanted one, else the most precise beside the model or in the root.

    Precision goes f32 > f16 > bf16 > q8_0 > the rest, case ignored; on a tie the one beside the model, then by name.
    HubError when the wanted one isn't there.
    """
    folder = dirname(model.name)
    if wanted is not None:
        return _wanted_projector(listing, folder, wanted)
    found = [file for file in listing.files if is_projector(file.path) and dirname(file.path) in (folder, "")]
    return min(found, key=lambda file: _projector_rank(file, folder), default=None)


def _projector_rank(file: HubFile, folder: str) -> tuple[int, bool, str]:
    label = quantization_of(file.path) or ""
    order = PRECISION_ORDER.index(label) if label in PRECISION_ORDER else len(PRECISION_ORDER)
    return (order, dirname(file.path) != folder, file.path)


def _wanted_projector(listing: Listing, folder: str, wanted: str) -> HubFile:
    for path in (f"{folder}/{wanted}" if folder else wanted, wanted):
        found = [file for file in matching(listing, path) if is_gguf(file.path)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(file.path for file in found[:SHOWN_MAX])
            raise HubError(
                "GS259", f"mmproj {wanted} matches {len(found)} files of {listing.source}: {names}", "name one of them"
            )
    there = ", ".join(file.path for file in listing.files if is_projector(file.path)) or "none"
    raise HubError(
        "GS259",
        f"mmproj {wanted} is not in {listing.source}; projectors there: {there}",
        "name a projector of the same repository",
    )
