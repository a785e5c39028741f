"""The Ollama library: a registry manifest, pinned by its digest, and its layers as files.

A library of one's own is named by OLLAMA_LIBRARY_BASE_URL, the variable that GPUStack and gguf-parser use.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from gslc.edges.hub import HubError, HubFile, HubSettings, Listing, is_file_size
from gslc.edges.hub_http import JSON_MAX, Answer, Http, RemoteReader, StatusError, endpoint_of, host_of, parse_json
from gslc.ir.inputs import Source

DEFAULT_REGISTRY = "https://registry.ollama.ai"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
MODEL_LAYER = "application/vnd.ollama.image.model"
PROJECTOR_LAYER = "application/vnd.ollama.image.projector"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,80}(?:/[A-Za-z0-9._-]{1,80}){0,2}\Z")
_PARTS_WITH_HOST = 3  # registry.example.com/namespace/name, as `ollama pull` takes it
_TAG = re.compile(r"[A-Za-z0-9._-]{1,80}\Z")
_OK = 200


class OllamaListing:
    """A manifest: the model layer, and the projector layer where there is one."""

    def __init__(self, listing: Listing, client: Http) -> None:
        self.listing = listing
        self._client = client

    def reader(self, file: HubFile) -> OllamaReader:
        """The layer by range; its address holds its sha256."""
        return OllamaReader(RemoteReader(self._client, file.url or "", file.path, file.size_bytes), self.listing.source)

    def sha256(self, file: HubFile) -> str | None:
        """The layer's digest."""
        return file.sha256


class OllamaReader:
    """A layer whose failing statuses are told in the words of the registry."""

    def __init__(self, reader: RemoteReader, source: str) -> None:
        self.name = reader.name
        self.size_bytes = reader.size_bytes
        self._reader = reader
        self._source = source

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on, at most `length` of them; HubError when the registry fails."""
        try:
            return self._reader.read(offset, length)
        except StatusError as status:
            raise _status_error(self._source, status.answer) from None


def open_ollama(source: Source, settings: HubSettings) -> OllamaListing:
    """The manifest that the name and tag mean now; HubError when it can't be had."""
    registry = endpoint_of(settings.variable("OLLAMA_LIBRARY_BASE_URL") or DEFAULT_REGISTRY, "OLLAMA_LIBRARY_BASE_URL")
    name, tag = source.repository, source.revision or "latest"
    if not _NAME.match(name) or not _TAG.match(tag):
        raise HubError("GS252", f"{source.text} is no name of the Ollama library", "write ollama://name:tag")
    if name.count("/") + 1 == _PARTS_WITH_HOST:
        host, _, name = name.partition("/")
        registry = endpoint_of(host, "the registry's host")
    client = Http(settings, registry)
    base = f"{registry}/v2/{name if '/' in name else f'library/{name}'}"
    answer = client.get(f"{base}/manifests/{tag}", limit_bytes=JSON_MAX, headers={"Accept": MANIFEST_TYPE})
    if answer.status != _OK:
        raise _status_error(source.text, answer)
    digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
    files = _files(source, parse_json(answer), base, f"{name.replace('/', '-')}-{tag}")
    return OllamaListing(Listing(source=source.text, revision=digest, files=files), client)


def _files(source: Source, manifest: object, base: str, stem: str) -> tuple[HubFile, ...]:
    """The model and the projector. Their names are ours, since layers have none."""
    layers = manifest.get("layers") if isinstance(manifest, Mapping) else None
    if not isinstance(layers, list):
        raise HubError("GS803", f"the registry sent no manifest for {source.text}", "check OLLAMA_LIBRARY_BASE_URL")
    files: list[HubFile] = []
    for kind, name in ((MODEL_LAYER, f"{stem}.gguf"), (PROJECTOR_LAYER, f"mmproj-{stem}.gguf")):
        found = [layer for layer in layers if isinstance(layer, Mapping) and layer.get("mediaType") == kind]
        if len(found) > 1:
            raise HubError(
                "GS258", f"{source.text} has {len(found)} layers of type {kind}; one is known", "choose another tag"
            )
        files += [_layer(source, layer, base, name) for layer in found]
    if not any(file.path == f"{stem}.gguf" for file in files):
        raise HubError("GS258", f"{source.text} has no GGUF model layer", "choose a tag that holds a GGUF model")
    return tuple(sorted(files, key=lambda file: file.path))


def _layer(source: Source, layer: Mapping[str, object], base: str, name: str) -> HubFile:
    digest, size = layer.get("digest"), layer.get("size")
    if not isinstance(digest, str) or not _DIGEST.match(digest) or not is_file_size(size):
        raise HubError(
            "GS803",
            f"the registry sent a layer without digest and size for {source.text}",
            "check OLLAMA_LIBRARY_BASE_URL",
        )
    return HubFile(path=name, size_bytes=size, sha256=digest.removeprefix("sha256:"), url=f"{base}/blobs/{digest}")


def _status_error(what: str, answer: Answer) -> HubError:
    if answer.status in (401, 403, 404):
        message = f"the Ollama library at {host_of(answer.url)} has no {what} ({answer.status})"
        return HubError("GS252", message, "check name and tag on ollama.com/library")
    return HubError("GS801", f"{host_of(answer.url)} answers with status {answer.status} for {what}", "try again later")
