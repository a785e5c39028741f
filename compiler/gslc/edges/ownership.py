"""Which files of an output folder builds wrote, and which of them hold something that no build wrote.

In the middle of a merge the folder holds files of both sides, and files that Git made of both. The bytes of either side
were written by a build and can be had back from Git, so they may be replaced; anything else is an edit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from gslc.documents.canonical import conflict_line
from gslc.documents.conflict import sides_of
from gslc.documents.manifest import NAME, Manifest, digest_bytes, read_manifest
from gslc.edges.merges import Merge, merge_under_way
from gslc.ir.diagnostic import Diagnostic, Outcome, Place
from gslc.ir.record import dataclass

JOURNAL = ".gslc-incomplete.json"


class Readable(Protocol):
    """What is used of an output folder."""

    path: str

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, None where there is none. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """What builds wrote into a folder."""

    written: Mapping[str, frozenset[str]]  # path -> sha256 of each version that a build wrote
    interrupted: bool  # the last build left its journal
    merge: Merge | None = None


def ownership(folder: Readable, cluster: str, obstacles: list[Diagnostic]) -> Ownership:
    """What the manifest, the journal and the sides of a merge list; refusals are added to `obstacles`."""
    manifests = manifests_in(folder, NAME, cluster, obstacles)
    journal = manifests_in(folder, JOURNAL, cluster, obstacles)
    merge = merge_under_way(folder.path, cluster)
    sides = (merge.ours, merge.theirs) if merge is not None else ()
    written: dict[str, set[str]] = {}
    for files in (*manifests, *journal, *sides):
        for path, sha in files.items():
            written.setdefault(path, set()).add(sha)
    return Ownership(
        written={path: frozenset(hashes) for path, hashes in written.items()},
        interrupted=any(journal),
        merge=merge,
    )


def manifests_in(
    folder: Readable, name: str, cluster: str, obstacles: list[Diagnostic]
) -> tuple[Mapping[str, str], ...]:
    """The files that a manifest or journal lists; one answer for each side where Git left a conflict in it."""
    try:
        data = folder.read(name)
    except OSError as error:
        obstacles.append(obstacle("GS603", folder.path, name, f"is in the way: {error.strerror}", "remove it"))
        return ()
    if data is None:
        return ()
    outcome = read_sides(data.decode("utf-8", "replace"), os.path.join(folder.path, name))
    if outcome.value is None:
        # A journal is torn when the kill came while it was written: then nothing else was touched yet.
        if name == NAME:
            obstacles.extend(outcome.diagnostics)
        return ()
    foreign = next((manifest.cluster for manifest in outcome.value if manifest.cluster != cluster), None)
    if foreign is not None:
        what = f"belongs to the cluster {foreign!r}, not to {cluster!r}"
        obstacles.append(obstacle("GS604", folder.path, name, what, "build into another folder with -o"))
        return ()
    return tuple(manifest.files for manifest in outcome.value)


def read_sides(text: str, file: str) -> Outcome[tuple[Manifest, ...]]:
    """The manifest in `text`, or both sides' where it holds a conflict; GS605 where one of them can't be read."""
    sides = sides_of(text)
    found = [read_manifest(side, file) for side in ((text,) if sides is None else sides)]
    manifests = tuple(outcome.value for outcome in found if outcome.value is not None)
    if len(manifests) == len(found):
        return Outcome(value=manifests)
    refusal = next(each.diagnostics[0] for each in found if each.value is None)
    if conflict_line(text) is not None:
        refusal = replace(refusal, help="take either side of it from Git, then run gslc build")
    return Outcome(value=None, diagnostics=(refusal,))


def edits(
    folder: Readable, owned: Ownership, wanted: Mapping[str, str], found: Mapping[str, str | None]
) -> list[Diagnostic]:
    """GS601 or GS602 for each file (path -> sha256 on disk) whose bytes would be lost and that no build wrote."""
    doubtful = {
        path: present
        for path, present in found.items()
        if present is not None and present != wanted.get(path) and present not in owned.written.get(path, ())
    }
    if doubtful and owned.merge is not None:
        merged = owned.merge.made_by_git(doubtful)
        doubtful = {path: present for path, present in doubtful.items() if path not in merged}
    refusals = (edit(folder, path, owned.written.get(path)) for path in doubtful)
    return [refusal for refusal in refusals if refusal is not None]


def edit(folder: Readable, path: str, written: frozenset[str] | None) -> Diagnostic | None:
    """Why a file that no build wrote may not be replaced; None for a conflict of two versions that builds wrote."""
    if written is None:
        return obstacle(
            "GS602",
            folder.path,
            path,
            "is in the way and was not written by gslc",
            "move it away, or run gslc build --force to replace it",
        )
    data = folder.read(path)
    sides = None if data is None else sides_of(data.decode("latin-1"))  # any bytes, and back
    if sides is None:
        what, action = "was edited by hand since the last build", "undo the edit, or run gslc build --force to lose it"
        return obstacle("GS601", folder.path, path, what, action)
    if all(digest_bytes(side.encode("latin-1")) in written for side in sides):
        return None
    shown = os.path.join(folder.path, path)
    return obstacle(
        "GS601",
        folder.path,
        path,
        "holds a merge conflict whose sides are not both what a build wrote",
        f"git checkout --ours {shown} (or --theirs) and build again, or run gslc build --force to lose what it holds",
    )


def obstacle(code: str, folder: str, path: str, what: str, help_text: str) -> Diagnostic:
    """An error about a file of the output folder."""
    shown = os.path.join(folder, path)
    return Diagnostic(code=code, place=Place(file=shown), message=f"{shown} {what}", help=help_text)
