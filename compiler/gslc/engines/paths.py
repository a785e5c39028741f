"""Where a model's files lie on a host: one rule for all engines."""

from __future__ import annotations

from posixpath import dirname, join

from gslc.ir.facts import ModelFacts, OtherQuantization
from gslc.ir.inputs import Source
from gslc.ir.plan import ModelFile

TOKEN_VARIABLES = {"hf": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}


def model_folder(facts: ModelFacts, model_dir: str, source: Source | None = None) -> str:
    """The folder of the model's repository on a host: <model_dir>/<kind>/<owner>/<name>/<revision>.

    A file:// source is used where it lies: its folder (or itself, where it names a folder of files). Without `source`
    the text that the facts were resolved from is read.
    """
    source = source or source_of(facts.source)
    if source.kind == "file":
        path = source.path or source.text.removeprefix("file://")
        names_a_file = any(path.endswith("/" + file.path.rsplit("/", 1)[-1]) for file in facts.files)
        return dirname(path) if names_a_file else path
    revision = (facts.revision or source.revision or "main").replace(":", "-")
    return join(model_dir, source.kind, *source.repository.split("/"), revision)


def file_path(folder: str, path: str) -> str:
    """The absolute path of a file below its model folder."""
    return join(folder, path)


def download_url(facts: ModelFacts, source: Source, path: str) -> str | None:
    """Where a file can be fetched at the pinned revision; None where the user brings it (file://)."""
    if source.kind == "hf":
        return f"https://huggingface.co/{source.repository}/resolve/{facts.revision}/{path}"
    if source.kind == "modelscope":
        return f"https://modelscope.cn/models/{source.repository}/resolve/{facts.revision}/{path}"
    return None


def model_files(facts: ModelFacts, model_dir: str, source: Source | None = None) -> tuple[ModelFile, ...]:
    """The files that a launch needs, in the engine's order, each with its place on the host and its address."""
    source = source or source_of(facts.source)
    folder = model_folder(facts, model_dir, source)
    return tuple(
        ModelFile(
            path=file_path(folder, file.path),
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            url=file.url or download_url(facts, source, file.path),
            token=TOKEN_VARIABLES.get(source.kind),
        )
        for file in facts.files
    )


def source_of_other(source: Source, other: OtherQuantization) -> str:
    """The source that names another quantisation of the same repository, at the same revision."""
    revision = f"@{source.revision}" if source.revision else ""
    return f"{source.kind}://{source.repository}{revision}{'/' if other.is_path else ':'}{other.name}"


def source_of(text: str) -> Source:
    """The kind and repository of a source text: what is needed to find its folder."""
    scheme, _, rest = text.partition("://")
    if scheme == "file":
        return Source(kind="file", text=text, path=rest)
    name = rest.partition("@")[0]
    if scheme == "ollama":
        return Source(kind="ollama", text=text, repository=name.partition(":")[0])
    repository = "/".join(name.partition(":")[0].split("/")[:2])
    return Source(kind="modelscope" if scheme == "modelscope" else "hf", text=text, repository=repository)
