"""From a model's source to its facts: one model, or all that a lock lacks, in parallel and with progress."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Literal, TypeAlias

from gslc.edges.fetch_gguf import fetch_gguf
from gslc.edges.fetch_speech import fetch_speech, speech_framework
from gslc.edges.fetch_transformers import fetch_transformers
from gslc.edges.fetching import Fetch
from gslc.edges.gguf_choice import is_gguf, matching
from gslc.edges.hub import HubError, HubSettings, OpenListing
from gslc.edges.hub_file import open_file
from gslc.edges.hub_huggingface import open_huggingface
from gslc.edges.hub_modelscope import open_modelscope
from gslc.edges.hub_ollama import open_ollama
from gslc.engines.asked import asked_of, facts_current, wanted_projector
from gslc.ir.diagnostic import Diagnostic, Outcome, Place
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import Model, Places, Source, SourceKind
from gslc.ir.record import dataclass

OPENERS: Mapping[SourceKind, Callable[[Source, HubSettings], OpenListing]] = {
    "hf": open_huggingface,
    "modelscope": open_modelscope,
    "ollama": open_ollama,
    "file": open_file,
}
UNKNOWN_PLACE = Place(file="cluster.yaml")

__all__ = ["FetchProgress", "Progress", "facts_current", "fetch_all", "fetch_facts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchProgress:
    """A moment of a fetch: which model, what is being done, and how many models are finished of how many."""

    model: str
    state: Literal["working", "done", "failed"]
    step: str
    done: int
    total: int


Progress: TypeAlias = Callable[[FetchProgress], None]


def _silent(moment: FetchProgress) -> None:
    del moment


# ------------------------------------------------------------------ one model


def fetch_facts(
    model: Model, settings: HubSettings, progress: Progress | None = None, place: Place = UNKNOWN_PLACE
) -> Outcome[ModelFacts]:
    """The facts of a model from its source, which is written at `place`; without a value an error says why."""
    report = progress or _silent

    def step(text: str) -> None:
        report(FetchProgress(model=model.name, state="working", step=text, done=0, total=1))

    return _fetch(model, settings, place, step)


def _fetch(model: Model, settings: HubSettings, place: Place, step: Callable[[str], None]) -> Outcome[ModelFacts]:
    source = model.source
    if source is None:
        raise ValueError(f"model {model.name} has no source to fetch")
    try:
        _refuse_offline(source, settings)
        step("listing files")
        fetch = Fetch(
            model=model,
            source=source,
            opened=OPENERS[source.kind](source, settings),
            settings=settings,
            place=place,
            step=step,
        )
        facts = _by_format(fetch)
    except HubError as error:
        message = f"model '{model.name}': {error.message}"
        return Outcome(
            value=None, diagnostics=(Diagnostic(code=error.code, message=message, place=place, help=error.action),)
        )
    asked = asked_of(model, facts)
    return Outcome(value=dataclasses.replace(facts, asked=asked), diagnostics=tuple(fetch.remarks))


def _refuse_offline(source: Source, settings: HubSettings) -> None:
    if settings.offline_flag is not None and source.kind != "file":
        message = f"{source.text} is not in the lock, and {settings.offline_flag} forbids to fetch it"
        raise HubError("GS250", message, f"run `gslc lock` without {settings.offline_flag} once, and commit the lock")


def _by_format(fetch: Fetch) -> ModelFacts:
    """The facts by what the files are: an explicit backend narrows it, GGUF comes first, then speech."""
    backend = fetch.model.backend
    if _names_gguf(fetch):
        return fetch_gguf(fetch)
    if backend == "custom" and fetch.source.path is not None and fetch.source.kind != "file":
        return _plain(fetch)
    if backend in ("llama-box", "llama.cpp"):
        return fetch_gguf(fetch)  # which says what is there instead
    _refuse_part(fetch)
    if backend == "vllm":
        return fetch_transformers(fetch)
    speech = speech_framework(fetch)
    if speech is not None or backend == "vox-box":
        return fetch_speech(fetch, speech)
    if backend == "custom" and not _is_transformers(fetch):
        return _plain(fetch)
    return fetch_transformers(fetch)


def _names_gguf(fetch: Fetch) -> bool:
    """True when the source means GGUF files: by its name, its quantisation, or because nothing else is there."""
    source, listing = fetch.source, fetch.listing
    if source.kind == "ollama" or source.quantization is not None:
        return True
    path = source.path or ""
    if is_gguf(path):
        return True
    if source.kind != "file" and path:
        return any(is_gguf(file.path) for file in matching(listing, path))
    return any(is_gguf(file.path) for file in listing.files) and not _is_transformers(fetch)


def _is_transformers(fetch: Fetch) -> bool:
    """True for a configuration with weights beside it."""
    names = [file.path for file in fetch.listing.files if "/" not in file.path]
    return "config.json" in names and any(name.endswith((".safetensors", ".bin", ".pt", ".pth")) for name in names)


def _refuse_part(fetch: Fetch) -> None:
    """Engines like vLLM and vox-box are given a whole repository; a file or folder of one is a mistake."""
    source = fetch.source
    if source.kind != "file" and source.path is not None:
        if not matching(fetch.listing, source.path):
            there = ", ".join(file.path for file in fetch.listing.files[:12]) or "nothing"
            raise HubError(
                "GS253",
                f"{source.text} matches no file; there is: {there}",
                "check the spelling; upper and lower case count",
            )
        message = f"{source.text} names a part of a repository, and no GGUF file"
        raise HubError("GS253", message, f"name the whole repository: {source.text.removesuffix('/' + source.path)}")


def _plain(fetch: Fetch) -> ModelFacts:
    """The files of a custom backend, pinned without being understood."""
    path = fetch.source.path if fetch.source.kind != "file" else None
    files = fetch.listing.files if path is None else matching(fetch.listing, path)
    if not files:
        raise HubError(
            "GS253", f"{fetch.source.text} matches no file", "check the spelling; upper and lower case count"
        )
    return ModelFacts(
        source=fetch.source.text,
        revision=fetch.listing.revision,
        files=fetch.pinned(files),
        kind="other",
        kind_reason="a custom backend serves it, and its format is not known",
    )


# ------------------------------------------------------------------ all models


def fetch_all(
    models: Sequence[Model],
    settings: HubSettings,
    *,
    places: Places | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    arrived: Callable[[str, ModelFacts], None] | None = None,
) -> Outcome[Mapping[str, ModelFacts]]:
    """The facts of all models by name, fetched in parallel; what succeeded is there even when other models failed.

    Models of the same source and projector are fetched once. `progress` is called from several threads, one at a time;
    `arrived` from the caller's own thread, with each model's facts as soon as they are there, so that a run that ends
    early can keep them. Diagnostics come in the order of the models.
    """
    groups = _same_sources(models)
    count = max(1, min(workers or settings.workers, len(groups)))
    tally = _Tally(progress or _silent, len(models))
    outcomes: dict[str, Outcome[ModelFacts]] = {}
    pool = ThreadPoolExecutor(count, thread_name_prefix="gslc-fetch")
    try:
        pending = {pool.submit(_fetch_first, group, settings, places, tally): group for group in groups}
        for future in as_completed(pending):
            group = pending[future]
            _keep(outcomes, group, future, places)
            for model in group:
                value = outcomes[model.name].value
                if arrived is not None and value is not None:
                    arrived(model.name, value)
            tally.finish(group, failed=outcomes[group[0].name].value is None)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    facts = {model.name: value for model in models if (value := outcomes[model.name].value) is not None}
    diagnostics = tuple(diagnostic for model in models for diagnostic in outcomes[model.name].diagnostics)
    return Outcome(value=facts, diagnostics=diagnostics)


class _Tally:
    """How many models are finished; hands moments to the caller one at a time."""

    def __init__(self, report: Progress, total: int) -> None:
        self._report = report
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def step(self, model: Model, text: str) -> None:
        """A model has come to its next step."""
        self._tell(model, "working", text)

    def finish(self, group: Sequence[Model], *, failed: bool) -> None:
        """All models of one source are finished."""
        self._done += len(group)
        self._tell(group[0], "failed" if failed else "done", "")

    def _tell(self, model: Model, state: Literal["working", "done", "failed"], step: str) -> None:
        with self._lock:
            self._report(FetchProgress(model=model.name, state=state, step=step, done=self._done, total=self._total))


def _same_sources(models: Sequence[Model]) -> list[list[Model]]:
    groups: dict[tuple[str, str | None, str | None], list[Model]] = {}
    for model in models:
        if model.source is None:
            raise ValueError(f"model {model.name} has no source to fetch")
        groups.setdefault((model.source.text, model.backend, wanted_projector(model)), []).append(model)
    return list(groups.values())


def _place_of(model: Model, places: Places | None) -> Place:
    return UNKNOWN_PLACE if places is None else places.at("models", model.name, "source")


def _fetch_first(
    group: list[Model], settings: HubSettings, places: Places | None, tally: _Tally
) -> Outcome[ModelFacts]:
    model = group[0]
    return _fetch(model, settings, _place_of(model, places), lambda text: tally.step(model, text))


def _keep(
    outcomes: dict[str, Outcome[ModelFacts]],
    group: list[Model],
    future: Future[Outcome[ModelFacts]],
    places: Places | None,
) -> None:
    """Gives every model of a group the outcome of the first; diagnostics speak of each by its own name and place."""
    outcome = future.result()
    for model in group:
        diagnostics = tuple(
            dataclasses.replace(
                diagnostic,
                message=diagnostic.message.replace(f"model '{group[0].name}'", f"model '{model.name}'", 1),
                place=_place_of(model, places),
            )
            for diagnostic in outcome.diagnostics
        )
        outcomes[model.name] = Outcome(value=outcome.value, diagnostics=diagnostics)
