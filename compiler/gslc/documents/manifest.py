"""MANIFEST.json: every file that gslc owns in an output folder, with its sha256, and whose cluster it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256

from gslc.documents.canonical import is_safe_path
from gslc.documents.lock_fields import SHA256
from gslc.ir.diagnostic import Diagnostic, Outcome, Place
from gslc.ir.record import dataclass

NAME = "MANIFEST.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Owned files: path below the folder -> sha256 in hex. The manifest itself is not listed."""

    cluster: str
    files: Mapping[str, str]


def digest(text: str) -> str:
    """The sha256 of a text as it is written, in hex."""
    return digest_bytes(text.encode("utf-8"))


def digest_bytes(data: bytes) -> str:
    """The sha256 of bytes in hex."""
    return sha256(data).hexdigest()


def manifest_text(manifest: Manifest) -> str:
    """The canonical text: one file a line, sorted."""
    document = {"version": 1, "cluster": manifest.cluster, "files": dict(sorted(manifest.files.items()))}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def read_manifest(text: str, file: str) -> Outcome[Manifest]:
    """The manifest in `text`, or a GS605 error that says why it can't be trusted."""
    problem = ""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        document, problem = None, f"it is not JSON ({error})"
    if isinstance(document, dict) and document.get("version") == 1:
        cluster, files = document.get("cluster"), document.get("files")
        if isinstance(cluster, str) and isinstance(files, dict):
            if all(safe_path(path) and is_digest(value) for path, value in files.items()):
                return Outcome(value=Manifest(cluster=cluster, files=files))
            problem = "it lists a path that leaves the folder, or a value that is no sha256"
    return Outcome(
        value=None,
        diagnostics=(
            Diagnostic(
                code="GS605",
                place=Place(file=file),
                message=f"the manifest is damaged: {problem or 'cluster or files are missing'}",
                help="restore it from Git, or build into an empty folder with -o",
            ),
        ),
    )


def is_digest(value: object) -> bool:
    """True for a sha256 in hex."""
    return isinstance(value, str) and SHA256.match(value) is not None


def safe_path(path: object) -> bool:
    """True for a relative path with `/` that stays below its folder and isn't the manifest itself."""
    return isinstance(path, str) and path != NAME and is_safe_path(path)
