"""Where plans are read from: an output folder, a plan file, or a git revision of either."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path

from gslc.documents.manifest import NAME as MANIFEST_NAME
from gslc.documents.manifest import Manifest, read_manifest
from gslc.documents.plan import PlanDocument, read_plan
from gslc.edges.git import GitFailed, find_object, list_tree, read_blobs
from gslc.ir.diagnostic import Diagnostic, Outcome, Place
from gslc.ir.record import dataclass

PLAN_NAME = "plan.json"
# A plan of 2,000 instances takes 6 MB; a file of more than this is no plan.
_MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSource:
    """A plan that was read. `files` are the texts of gslc's files beside it, by path; None for a lone plan.json."""

    name: str
    document: PlanDocument
    files: Mapping[str, str] | None = field(default=None, repr=False)


def open_plan(argument: str, folder: Path) -> Outcome[PlanSource]:
    """The plan that a command line argument names; a path that exists wins over a revision of the same spelling."""
    if "\0" in argument or not argument:
        return _refused("GS853", argument, "the name of the plan is empty or holds a NUL character")
    path = folder / argument
    try:
        if path.is_dir():
            return _from_folder(argument, path)
        if path.exists():
            return _source(argument, _text(_bytes(path)), argument, None)
    except OSError as error:
        return _refused("GS856", argument, f"{argument} can't be read: {error.strerror or error}")
    except UnicodeDecodeError:
        return _refused("GS856", argument, f"{argument} is no UTF-8 text")
    if ":" in argument:
        return _from_git(argument, folder)
    return _refused("GS853", argument, f"there is no {argument}")


def _from_folder(argument: str, path: Path) -> Outcome[PlanSource]:
    plan = path / PLAN_NAME
    shown = f"{argument.rstrip('/')}/{PLAN_NAME}"
    if not plan.is_file():
        return _refused("GS853", argument, f"the folder {argument} holds no {PLAN_NAME}")

    def read(name: str) -> str | None:
        file = path / name
        return None if file.is_symlink() or not file.is_file() else _text(_bytes(file))

    return _source(argument, _text(_bytes(plan)), shown, _owned(read, _manifest(read(MANIFEST_NAME), argument)))


def _from_git(argument: str, folder: Path) -> Outcome[PlanSource]:
    found = find_object(argument, folder)
    if found.value is None:
        return Outcome(value=None, diagnostics=found.diagnostics)
    try:
        if found.value.kind == "blob":
            blob = read_blobs([found.value.id], folder)[found.value.id]
            return _source(argument, _text(blob), argument, None)
        tree = list_tree(found.value.id, folder)
        if PLAN_NAME not in tree:
            return _refused("GS853", argument, f"{argument} holds no {PLAN_NAME}")
        # Two runs of git, so that a revision of a whole repository is not read to the last file.
        blobs = dict(read_blobs([tree[name] for name in (PLAN_NAME, MANIFEST_NAME) if name in tree], folder))
        manifest = _manifest(_reader_of(tree, blobs)(MANIFEST_NAME), argument)
        if manifest is not None:
            blobs.update(read_blobs([tree[name] for name in manifest.files if name in tree], folder))
        shown = argument + PLAN_NAME if argument.endswith((":", "/")) else f"{argument}/{PLAN_NAME}"
        return _source(argument, _text(blobs[tree[PLAN_NAME]]), shown, _owned(_reader_of(tree, blobs), manifest))
    except GitFailed as error:
        return _refused("GS855", argument, f"git could not read {argument}: {error}")
    except UnicodeDecodeError:
        return _refused("GS856", argument, f"{argument} is no UTF-8 text")


def _reader_of(tree: Mapping[str, str], blobs: Mapping[str, bytes]) -> Callable[[str], str | None]:
    return lambda name: _text(blobs[tree[name]]) if name in tree else None


def _manifest(text: str | None, argument: str) -> Manifest | None:
    """The manifest, where there is one that can be trusted; a damaged one is the business of `gslc build --check`."""
    return None if text is None else read_manifest(text, f"{argument}/{MANIFEST_NAME}").value


def _owned(read: Callable[[str], str | None], manifest: Manifest | None) -> Mapping[str, str] | None:
    """The texts of the files in the manifest that are there."""
    if manifest is None:
        return None
    texts = {name: read(name) for name in sorted(manifest.files)}
    return {name: text for name, text in texts.items() if text is not None}


def _source(argument: str, text: str, shown: str, files: Mapping[str, str] | None) -> Outcome[PlanSource]:
    read = read_plan(text, shown)
    if read.value is None:
        return Outcome(value=None, diagnostics=read.diagnostics)
    return Outcome(value=PlanSource(name=argument, document=read.value, files=files), diagnostics=read.diagnostics)


def _bytes(path: Path) -> bytes:
    """The content of a file, device or pipe; OSError where it is larger than any plan."""
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {_MAX_BYTES >> 20} MiB", str(path))
    return content


def _text(content: bytes) -> str:
    """The content as text; a byte order mark (some editors add one) is dropped."""
    return content.decode("utf-8-sig")


def _refused(code: str, argument: str, message: str) -> Outcome[PlanSource]:
    help_line = "give the output folder of a build, a plan.json, or a git revision with a path, as in HEAD~1:build"
    place = Place(file=argument or "-")
    return Outcome(value=None, diagnostics=(Diagnostic(code=code, message=message, place=place, help=help_line),))
