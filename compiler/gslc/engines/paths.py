"""Where a model's pinned files lie on a host, and where each of them is fetched from.

The folder names the pin: model_dir/<kind>/<owner>/<name>/<revision>/<file in the repository>. Two revisions never mix, a
second instance of the same pin reuses the files, and containers see the same paths, since model_dir is mounted at its own.
"""

from __future__ import annotations

from urllib.parse import quote

from gslc.ir.facts import FileFact, ModelFacts
from gslc.ir.plan import ModelFile

HUB_URLS = {
    "hf": "https://huggingface.co/{repository}/resolve/{revision}/{path}",
    "modelscope": "https://modelscope.cn/models/{repository}/resolve/{revision}/{path}",
}
TOKENS = {"hf": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}


def source_kind(facts: ModelFacts) -> str:
    """hf, modelscope, ollama or file."""
    return facts.source.partition("://")[0]


def repository(facts: ModelFacts) -> str:
    """owner/name of a hub source; the name of an ollama one (library/name where no owner is written)."""
    rest = facts.source.partition("://")[2]
    if source_kind(facts) == "ollama":
        name = rest.partition(":")[0]
        return name if "/" in name else f"library/{name}"
    owner, _, tail = rest.partition("/")
    name = tail.split("/", 1)[0].split("@", 1)[0].split(":", 1)[0]
    return f"{owner}/{name}"


def model_folder(facts: ModelFacts, model_dir: str) -> str:
    """The folder that holds the pinned files on a host: for file:// sources the user's own folder."""
    kind = source_kind(facts)
    if kind == "file":
        path = facts.source.partition("://")[2]
        if len(facts.files) == 1 and path.endswith("/" + facts.files[0].path):
            return path.removesuffix("/" + facts.files[0].path)
        return path.rpartition("/")[0] if path.endswith(".gguf") else path.rstrip("/")
    revision = (facts.revision or "unpinned").replace("sha256:", "")
    return f"{model_dir.rstrip('/')}/{kind}/{repository(facts)}/{revision}"


def model_path(facts: ModelFacts, model_dir: str, file: str | None = None) -> str:
    """The path on a host of one pinned file; the first (the model of a GGUF source) unless `file` says which."""
    return f"{model_folder(facts, model_dir)}/{file if file is not None else facts.files[0].path}"


def model_files(facts: ModelFacts, model_dir: str) -> tuple[ModelFile, ...]:
    """All pinned files with their addresses; url None for file:// sources, which the user places."""
    folder = model_folder(facts, model_dir)
    kind = source_kind(facts)
    return tuple(
        ModelFile(
            path=f"{folder}/{file.path}",
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            url=file_url(facts, file),
            token=TOKENS.get(kind),
        )
        for file in facts.files
    )


def file_url(facts: ModelFacts, file: FileFact) -> str | None:
    """The address of a file at the pinned revision, None where the user places it."""
    if file.url is not None:
        return file.url
    template = HUB_URLS.get(source_kind(facts))
    if template is None:
        return None
    return template.format(
        repository=quote(repository(facts)), revision=quote(facts.revision or "", safe=""), path=quote(file.path)
    )
