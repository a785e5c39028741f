"""Which other quantisations of a chosen GGUF model its repository holds, under the names that a source can have."""

from __future__ import annotations

from posixpath import basename, dirname

from gslc.edges.gguf_choice import GgufModel, choose_model, label_in, models_of, stem_of
from gslc.edges.hub import HubError, Listing
from gslc.engines.paths import source_of_other
from gslc.frontend.model_sources import model_source
from gslc.ir.facts import OtherQuantization
from gslc.ir.inputs import Source
from gslc.ir.tensor_types import GGML_REMOVED

# Repositories of one model have up to 30; of more than these the ones nearest in size are kept.
OTHERS_MAX = 48
# The files beside a file:// source are those of the building machine, and a manifest of Ollama holds one model.
HUBS = ("hf", "modelscope")


def other_quantizations(source: Source, listing: Listing, chosen: GgufModel) -> tuple[OtherQuantization, ...]:
    """The other quantisations, by name: each is what its name chooses from this listing, with all its parts."""
    if source.kind not in HUBS:
        return ()
    found: list[OtherQuantization] = []
    for model in _whole_models(listing):
        if model.name == chosen.name or family_of(model.name) != family_of(chosen.name) or not model.size_bytes:
            continue
        if model.quantization in GGML_REMOVED.values():
            continue  # no engine reads it any more
        other = _named(source, listing, model)
        if other is not None:
            found.append(other)
    found.sort(key=lambda other: (abs(other.size_bytes - chosen.size_bytes), other.name))
    return tuple(sorted(found[:OTHERS_MAX], key=lambda other: other.name))


def family_of(path: str) -> tuple[str, str]:
    """What the files of one model have in common: folder and name without quantisation, split number and case.

    A folder that only repeats the model's name, or holds nothing but the quantisation, is none.
    """
    stem = stem_of(path)
    name, folder = _without_label(basename(stem)), _without_label(dirname(stem))
    return ("" if folder == name else folder, name)


def _without_label(text: str) -> str:
    found = label_in(text)
    if found is not None:
        text = text[: found.start()].rstrip("-._/") + text[found.end() :]
    return text.strip("-._/").lower()


def _whole_models(listing: Listing) -> list[GgufModel]:
    """The models of which all parts are there."""
    models: dict[str, GgufModel] = {}
    counted: set[str] = set()
    for file in listing.files:
        if file.path in counted:
            continue
        try:
            found = models_of((file,), listing)
        except HubError:
            continue  # a part is missing: the model can't be asked for
        models.update((model.name, model) for model in found)
        counted.update(part.path for model in found for part in model.files)
    return list(models.values())


def _named(source: Source, listing: Listing, model: GgufModel) -> OtherQuantization | None:
    """The model under the shortest name that means it alone; by its path where the source has one. None without any."""
    label = model.quantization if source.path is None else None
    for name in (label, model.name):
        if name is None:
            continue
        other = OtherQuantization(name=name, size_bytes=model.size_bytes)
        named = model_source(source_of_other(source, other), quoted=True)
        try:
            if isinstance(named, Source) and choose_model(named, listing).name == model.name:
                return other
        except HubError:
            continue  # several have this label
    return None
