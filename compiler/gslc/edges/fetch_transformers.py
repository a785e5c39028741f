"""The facts of a transformers repository: configuration, tensor table, tokenizer limits, remote code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from gslc.edges.config_facts import code_files, kept_config, parse_object, tokenizer_length
from gslc.edges.fetching import READS_AT_ONCE, Fetch
from gslc.edges.gguf_choice import SHOWN_MAX, in_gib
from gslc.edges.header_cursor import HeaderError
from gslc.edges.hub import HubError, HubFile
from gslc.edges.safetensors_header import SafetensorsHeader, joined_sha256, read_safetensors_header
from gslc.edges.tensor_groups import group_tensors
from gslc.edges.transformers_choice import INDEX, PICKLE_INDEX, pickle_files, served_files, weight_files
from gslc.engines.kinds import transformers_kind
from gslc.ir.facts import ModelFacts, SafetensorsFacts
from gslc.ir.record import dataclass
from gslc.ir.tensor_types import safetensors_group_bytes

INDEX_MAX = 32 * 1024 * 1024
CONFIG, TOKENIZER, MODULES, POOLING = "config.json", "tokenizer_config.json", "modules.json", "1_Pooling/config.json"
# Where quantisers before transformers 4.36 wrote what is now config.json's quantization_config; ModelOpt still does.
QUANTIZER_FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
_POOLING_MODES = (
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_lasttoken", "last"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_max_tokens", "max"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    """The chosen weight files, the index that names them, and what their headers say; no headers for pickles."""

    files: tuple[HubFile, ...]
    index: str | None
    headers: tuple[SafetensorsHeader, ...]


def fetch_transformers(fetch: Fetch) -> ModelFacts:
    """The facts of a transformers repository; HubError where it is none or is incomplete."""
    documents = fetch.documents((CONFIG, TOKENIZER, MODULES, POOLING, *QUANTIZER_FILES))
    source = fetch.source.text
    config = parse_object(documents[CONFIG], CONFIG, source)
    if config is None:
        raise _no_config(fetch)
    tokenizer = parse_object(documents[TOKENIZER], TOKENIZER, source)
    config = _with_quantizer(fetch, config, documents)
    weights = _weights(fetch)
    kind = transformers_kind(config, {} if documents[MODULES] is not None else None)
    code = code_files(config, tokenizer)
    if code:
        _warn_of_code(fetch, code)
    return ModelFacts(
        source=source,
        revision=fetch.listing.revision,
        files=fetch.pinned(served_files(fetch.listing, weights.files, weights.index)),
        kind=kind.kind,
        kind_reason=kind.reason,
        safetensors=_safetensors(config, weights, tokenizer, parse_object(documents[POOLING], POOLING, source)),
        code_files=code,
    )


def _safetensors(
    config: Mapping[str, object],
    weights: _Weights,
    tokenizer: Mapping[str, object] | None,
    pooling: Mapping[str, object] | None,
) -> SafetensorsFacts:
    tensors = group_tensors(tensor for header in weights.headers for tensor in header.tensors)
    pickled = not weights.headers
    return SafetensorsFacts(
        config=kept_config(config),
        tensors=tensors,
        parameter_bytes=sum(file.size_bytes for file in weights.files)
        if pickled
        else sum(map(safetensors_group_bytes, tensors)),
        header_sha256=None if pickled else joined_sha256(weights.headers),
        weight_format="pickle" if pickled else "safetensors",
        tokenizer_max_length=tokenizer_length(tokenizer),
        pooling=_pooling(pooling),
    )


def _pooling(pooling: Mapping[str, object] | None) -> str | None:
    return next((name for key, name in _POOLING_MODES if pooling and pooling.get(key) is True), None)


def _with_quantizer(
    fetch: Fetch, config: dict[str, object], documents: Mapping[str, bytes | None]
) -> dict[str, object]:
    """config.json with the quantiser's own file beside it, where it doesn't hold the settings itself."""
    if "quantization_config" in config:
        return config
    extra = {
        name.removesuffix(".json"): parse_object(documents[name], name, fetch.source.text) for name in QUANTIZER_FILES
    }
    return {**config, **{name: settings for name, settings in extra.items() if settings is not None}}


# ------------------------------------------------------------------ weights


def _weights(fetch: Fetch) -> _Weights:
    index = _weight_map(fetch, INDEX)
    files = weight_files(fetch.listing, index)
    if files:
        return _Weights(files=files, index=INDEX if index is not None else None, headers=_headers(fetch, files))
    pickle_index = _weight_map(fetch, PICKLE_INDEX)
    files = pickle_files(fetch.listing, pickle_index)
    if not files:
        raise HubError(
            "GS258",
            f"{fetch.source.text} has a config.json and no weights",
            "name a repository that holds the model itself",
        )
    size = in_gib(sum(file.size_bytes for file in files))
    message = f"model '{fetch.model.name}': {fetch.source.text} has only pickled weights ({size}): sizes of files count"
    fetch.remark(
        "GS260", "warning", message, "prefer a repository with safetensors: a pickle can run code when it is loaded"
    )
    return _Weights(files=files, index=PICKLE_INDEX if pickle_index is not None else None, headers=())


def _weight_map(fetch: Fetch, name: str) -> Mapping[str, object] | None:
    """Tensor name to file name, from an index; None without one."""
    index = parse_object(fetch.document(name, INDEX_MAX), name, fetch.source.text)
    if index is None:
        return None
    table = index.get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(file, str) for file in table.values()):
        raise HubError(
            "GS258", f"{name} of {fetch.source.text} has no weight_map", "choose another revision of the repository"
        )
    return table


def _headers(fetch: Fetch, files: Sequence[HubFile]) -> tuple[SafetensorsHeader, ...]:
    """The headers of all shards, in order, read at the same time."""
    fetch.step(f"reading safetensors headers ({len(files)})")
    try:
        with ThreadPoolExecutor(min(READS_AT_ONCE, len(files))) as pool:
            headers = tuple(pool.map(lambda file: read_safetensors_header(fetch.reader(file)), files))
    except HeaderError as wrong:
        message = f"{wrong.name} of {fetch.source.text} has no usable header: at byte {wrong.offset}: {wrong.message}"
        raise HubError("GS257", message, "choose another revision; engines refuse this file too") from None
    _refuse_doubles(fetch, headers)
    return headers


def _refuse_doubles(fetch: Fetch, headers: Sequence[SafetensorsHeader]) -> None:
    seen: dict[str, str] = {}
    for header in headers:
        for tensor in header.tensors:
            first = seen.setdefault(tensor.name, header.name)
            if first != header.name:
                message = f"{fetch.source.text}: {tensor.name} stands in {first} and in {header.name}"
                raise HubError("GS257", message, "the repository mixes two sets of weights: choose another revision")


# ------------------------------------------------------------------ remarks and errors


def _warn_of_code(fetch: Fetch, code: Sequence[str]) -> None:
    names = ", ".join(code[:SHOWN_MAX]) + (f" and {len(code) - SHOWN_MAX} more" if len(code) > SHOWN_MAX else "")
    message = f"model '{fetch.model.name}': {fetch.source.text} brings code of its own ({names})"
    fetch.remark("GS261", "warning", message, "read it at the pinned revision before you give --trust-remote-code")


def _no_config(fetch: Fetch) -> HubError:
    source, there = fetch.source.text, {file.path for file in fetch.listing.files}
    if "model_index.json" in there:
        return HubError(
            "GS266",
            f"{source} is a diffusers pipeline; image models are served from GGUF files",
            "name a GGUF repository of the model",
        )
    if "adapter_config.json" in there:
        return HubError(
            "GS258", f"{source} is an adapter (LoRA), not a model", "name the base model; adapters go into `args`"
        )
    if "params.json" in there:
        return HubError(
            "GS258",
            f"{source} has weights in Mistral's own format and no config.json",
            "name the repository in the transformers format",
        )
    names = ", ".join(sorted(there)[:SHOWN_MAX]) or "no files"
    return HubError(
        "GS258",
        f"{source} holds no model that gslc knows: no config.json, no GGUF file ({names})",
        "check the source, or state `requirements` with backend custom",
    )
