"""Which model files a host must fetch, as lists that the host program reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from posixpath import dirname
from urllib.parse import unquote, urlsplit

from gslc.ir.plan import Launch, ModelFile
from gslc.ir.record import dataclass

HOST_PROGRAM = "templates/host/gslc_host.py"  # fetches files, waits for ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """The files that one model needs on one host and that no earlier model of the host brings.

    `needs` are the models whose lists bring the rest. With files () the model needs nothing but theirs.
    """

    model: str
    model_dir: str
    files: tuple[ModelFile, ...]
    needs: tuple[str, ...] = ()

    @property
    def token(self) -> bool:
        """True where the hub may ask for a token."""
        return any(file.token for file in self.files if file.url)

    @property
    def mirrors(self) -> tuple[str, ...]:
        """Folders of the host from which files are copied (a mirror on disk), for containers to mount."""
        urls = (urlsplit(file.url) for file in self.files if file.url)
        return outermost(dirname(unquote(url.path)) for url in urls if url.scheme == "file")


def outside_folders(files: Iterable[ModelFile], model_dir: str) -> tuple[str, ...]:
    """Folders of files that don't lie below model_dir (file:// sources), for containers to mount."""
    return outermost(dirname(file.path) for file in files if not file.path.startswith(f"{model_dir}/"))


def outermost(folders: Iterable[str]) -> tuple[str, ...]:
    """The folders that lie in none of the others, sorted."""
    kept: list[str] = []
    for folder in sorted(set(folders)):
        if not any(folder.startswith(f"{other}/") for other in kept):
            kept.append(folder)
    return tuple(kept)


def fetches_of(launches: Iterable[tuple[str, Launch]]) -> dict[str, Fetch]:
    """The fetches of one host by model, from (model, launch) pairs; a file of two models is fetched by the first."""
    owners: dict[str, str] = {}
    wanted: dict[str, dict[str, ModelFile]] = {}
    folders: dict[str, str] = {}
    for model, launch in sorted(launches, key=lambda pair: (pair[0], pair[1].name)):
        if launch.files:
            folders.setdefault(model, launch.model_dir)
        for file in launch.files:
            wanted.setdefault(model, {}).setdefault(file.path, file)
            owners.setdefault(file.path, model)
    return {
        model: Fetch(
            model=model,
            model_dir=folders[model],
            files=tuple(file for path, file in sorted(files.items()) if owners[path] == model),
            needs=tuple(sorted({owners[path] for path in files} - {model})),
        )
        for model, files in sorted(wanted.items())
    }


def fetch_json(fetch: Fetch) -> str:
    """The list as the host program reads it: JSON, one line a file, so that a diff shows the files that change."""
    files = ",\n".join(f"    {_json(_entry(file))}" for file in fetch.files)
    return (
        f'{{\n  "version": 1,\n  "model": {_json(fetch.model)},\n  "model_dir": {_json(fetch.model_dir)},\n'
        f'  "files": [\n{files}\n  ]\n}}\n'
    )


def _entry(file: ModelFile) -> dict[str, str | int | None]:
    return {
        "path": file.path,
        "size": file.size_bytes,
        "sha256": file.sha256,
        "url": file.url,
        "token": file.token,
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
