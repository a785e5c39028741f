"""The texts that say where a model's files are: hf://, modelscope://, ollama:// and file://."""

from __future__ import annotations

import re

from gslc.frontend.mistake import Mistake, nearest, shown
from gslc.ir.inputs import Source

OWNER_REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
HUB = re.compile(
    rf"(?P<repository>{OWNER_REPOSITORY})"
    rf"(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._+-]{{0,199}}))?"
    rf"(?::(?P<quantization>[A-Za-z0-9][A-Za-z0-9_.-]{{0,31}})|/(?P<path>[^\x00-\x20\x7f@:\\]{{1,500}}))?\Z"
)
OLLAMA = re.compile(
    r"(?P<repository>[A-Za-z0-9][A-Za-z0-9._-]{0,79}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,79}){0,2})"
    r"(?::(?P<revision>[A-Za-z0-9][A-Za-z0-9._-]{0,127}))?\Z"
)
FILE_PATH = re.compile(r"/(?:[A-Za-z]:/)?[^\x00-\x1f\x7f]{1,1023}\Z")
SCHEMES = ("hf", "modelscope", "ollama", "file")
EXAMPLES = {
    "hf": "hf://Qwen/Qwen2.5-7B-Instruct",
    "modelscope": "modelscope://Qwen/Qwen2.5-7B-Instruct",
    "ollama": "ollama://qwen2.5:7b",
    "file": "file:///srv/models/qwen.gguf",
}


def model_source(text: str, quoted: bool) -> Source | Mistake:
    """The source that a text names, or why it names none."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return wrong(text, without_scheme(text))
    if scheme not in SCHEMES:
        near = nearest(scheme, SCHEMES)
        return wrong(
            text,
            f"did you mean {near[0]}://{rest}?" if near else "begin with hf://, modelscope://, ollama:// or file:///",
        )
    if scheme == "file":
        return file_source(text, rest)
    found = (OLLAMA if scheme == "ollama" else HUB).match(rest)
    if not found:
        return wrong(
            text, f"write it like {EXAMPLES[scheme]}" + ("[@revision][/file or :QUANT]" if scheme != "ollama" else "")
        )
    parts = found.groupdict()
    path = parts.get("path")
    if path is not None and not path_stays(path):
        return wrong(text, "name a file or a glob inside the repository, without '.' and '..'")
    if scheme == "ollama":
        return Source(kind="ollama", text=text, repository=parts["repository"], revision=parts["revision"])
    return Source(
        kind="hf" if scheme == "hf" else "modelscope",
        text=text,
        repository=parts["repository"],
        revision=parts["revision"],
        path=path,
        quantization=parts["quantization"],
    )


def file_source(text: str, rest: str) -> Source | Mistake:
    """A file or folder that is on the hosts."""
    if not FILE_PATH.match(rest):
        return wrong(text, f"a file source has three slashes and a path from the root: {EXAMPLES['file']}")
    if not path_stays(rest[1:].rstrip("/")):
        return wrong(text, "write the path out, without '.', '..' and double slashes")
    return Source(kind="file", text=text, path=rest.rstrip("/"))


def path_stays(path: str) -> bool:
    """True when no part of a relative path is empty, `.` or `..`."""
    return all(part not in ("", ".", "..") for part in path.split("/"))


def wrong(text: str, action: str) -> Mistake:
    """The refusal of a source."""
    return Mistake(code="GS143", message=f"wants the place of a model, not {shown(text)}", help=action)


def without_scheme(text: str) -> str:
    """The help for a source without `scheme://`."""
    if text.startswith("/"):
        return f"did you mean file://{text}?"
    if HUB.match(text):
        return f"did you mean hf://{text}?"
    return "begin with hf://, modelscope://, ollama:// or file:///"
