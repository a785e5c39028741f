"""Objects of a git repository, read with git itself: no shell, no network, no hook, nothing written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from gslc.ir.diagnostic import Diagnostic, Outcome, Place
from gslc.ir.record import dataclass

# A missing object of a partial clone must be an error, not a download: GIT_NO_LAZY_FETCH says so since git 2.44; an
# allow-list that names no real protocol says so to every older one.
_ENVIRONMENT = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_TIMEOUT_SECONDS = 120
_VERIFY = ("rev-parse", "--verify", "--quiet", "--end-of-options")
_REGULAR_FILES = ("100644", "100755", "100664")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitObject:
    """A file or a folder of some revision, by its object id."""

    kind: Literal["blob", "tree"]
    id: str


class GitFailed(Exception):
    """git ended with an error; the text is its first complaint."""


def find_object(spec: str, folder: Path) -> Outcome[GitObject]:
    """The object that `REVISION:path` names; the path counts from the repository's top, or with ./ from `folder`."""
    try:
        _git(["rev-parse", "--git-dir"], folder)
    except GitFailed as error:
        return _refused(
            "GS855", spec, f"git can't be used here: {error}", "run gslc inside the repository, or give folders"
        )
    try:
        # git takes the whole of it apart: a revision may hold colons itself (main@{2026-01-31 12:00:00}:build).
        # A leading dash would be an option; --end-of-options is understood since git 2.24.
        found = _git([*_VERIFY, spec], folder)
        object_id = found.decode("ascii").strip()
        kind = _git(["cat-file", "-t", object_id], folder).decode("ascii").strip()
    except GitFailed:
        return _not_found(spec, folder)
    if kind == "tree":
        return Outcome(value=GitObject(kind="tree", id=object_id))
    return Outcome(value=GitObject(kind="blob", id=object_id))


def _not_found(spec: str, folder: Path) -> Outcome[GitObject]:
    """Which half of the name git does not know."""
    revision, _, path = spec.rpartition(":")
    if not revision:
        message = f'the index holds no file "{path}", and of the index only single files can be read'
        return _refused("GS854", spec, message, "give a revision (HEAD:build), or the staged plan (:build/plan.json)")
    try:
        _git([*_VERIFY, f"{revision}^{{tree}}"], folder)
    except GitFailed:
        message = f'git knows no revision "{revision}" here'
        return _refused("GS854", spec, message, "check the name; in CI fetch the history (fetch-depth: 0)")
    message = f'revision "{revision}" has no "{path}"'
    if not path.startswith("./") and _git(["rev-parse", "--show-prefix"], folder).strip():
        help_text = f"the path counts from the top of the repository; from this folder write {revision}:./{path}"
        return _refused("GS854", spec, message, help_text)
    return _refused("GS854", spec, message, f"list what it has with: git ls-tree -r --name-only {revision}")


def list_tree(tree: str, folder: Path) -> dict[str, str]:
    """Path -> object id of every regular file below a tree; links and submodules are left out."""
    found: dict[str, str] = {}
    for entry in _git(["ls-tree", "-r", "-z", "--full-tree", "--end-of-options", tree], folder).split(b"\0"):
        if entry:
            head, _, path = entry.partition(b"\t")
            mode, _, object_id = head.decode("ascii").split(" ")
            if mode in _REGULAR_FILES:
                found[path.decode("utf-8", "surrogateescape")] = object_id
    return found


def read_blobs(blobs: Iterable[str], folder: Path) -> Mapping[str, bytes]:
    """Object id -> content, all in one run of git."""
    wanted = sorted(set(blobs))
    output = _git(["cat-file", "--batch"], folder, "".join(f"{blob}\n" for blob in wanted).encode("ascii"))
    found: dict[str, bytes] = {}
    offset = 0
    for blob in wanted:
        end = output.index(b"\n", offset)
        header = output[offset:end].split(b" ")
        if len(header) != 3 or header[1] != b"blob":
            raise GitFailed(f"object {blob} is missing from this clone")
        size = int(header[2])
        found[blob] = output[end + 1 : end + 1 + size]
        offset = end + 1 + size + 1
    return found


def _git(arguments: list[str], folder: Path, stdin: bytes = b"") -> bytes:
    """What git prints on standard output."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            input=stdin,
            capture_output=True,
            check=False,
            env={**os.environ, **_ENVIRONMENT},
            timeout=_TIMEOUT_SECONDS,
        )
    except FileNotFoundError as error:
        raise GitFailed("the program git is not installed") from error
    except (OSError, ValueError) as error:
        raise GitFailed(str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise GitFailed(f"git gave no answer in {_TIMEOUT_SECONDS} seconds") from error
    if done.returncode != 0:
        complaint = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GitFailed((complaint[0] if complaint else "git failed").removeprefix("fatal: "))
    return done.stdout


def _refused(code: str, spec: str, message: str, help_line: str) -> Outcome[GitObject]:
    place = Place(file=spec)
    return Outcome(value=None, diagnostics=(Diagnostic(code=code, message=message, place=place, help=help_line),))
