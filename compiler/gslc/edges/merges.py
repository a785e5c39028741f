"""A merge, rebase, cherry-pick or revert that stopped in the repository of an output folder: what each side built.

Git merges generated files line by line like any others. Where it finds no conflict, the result is what no build ever
wrote, and still nobody's edit: it stands in the tree AUTO_MERGE, which the strategy ort (the default from Git 2.34 on)
keeps until the merge is committed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from gslc.documents.manifest import NAME, digest_bytes, read_manifest
from gslc.ir.record import dataclass

OURS = "HEAD"
MERGED = "AUTO_MERGE"
# A file of Git's folder that exists while the operation is under way -> the revision whose changes are brought in.
OTHERS = {
    "MERGE_HEAD": "MERGE_HEAD",
    "CHERRY_PICK_HEAD": "CHERRY_PICK_HEAD",
    "REVERT_HEAD": "REVERT_HEAD^",
    "REBASE_HEAD": "REBASE_HEAD",
}
SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """The two sides of a merge under way: for each, path below the output folder -> sha256, as its manifest says."""

    folder: str
    other: str
    ours: Mapping[str, str]
    theirs: Mapping[str, str]

    def made_by_git(self, found: Mapping[str, str]) -> frozenset[str]:
        """Those of the files (path -> sha256 on disk) that are what Git merged of two files that builds wrote."""
        shared = sorted(path for path in found if path in self.ours and path in self.theirs)
        wanted = [f"{revision}:./{path}" for path in shared for revision in (OURS, self.other, MERGED)]
        hashes = [None if data is None else digest_bytes(data) for data in read_objects(self.folder, wanted)]
        return frozenset(
            path
            for number, path in enumerate(shared)
            if hashes[3 * number : 3 * number + 3] == [self.ours[path], self.theirs[path], found[path]]
        )


def merge_under_way(folder: str, cluster: str) -> Merge | None:
    """The merge that the folder's repository is in; None without one, or where no side built this cluster here."""
    git = git_folder(folder)
    if git is None:
        return None
    other = next((revision for name, revision in OTHERS.items() if os.path.exists(os.path.join(git, name))), None)
    if other is None:
        return None
    sides: list[Mapping[str, str]] = []
    for data in read_objects(folder, [f"{OURS}:./{NAME}", f"{other}:./{NAME}"]):
        manifest = None if data is None else read_manifest(data.decode("utf-8", "replace"), NAME).value
        sides.append(manifest.files if manifest is not None and manifest.cluster == cluster else {})
    return Merge(folder=folder, other=other, ours=sides[0], theirs=sides[1]) if any(sides) else None


def git_folder(path: str) -> str | None:
    """Git's own folder of the working tree that holds `path`, also of a linked one; None outside of a repository."""
    at = os.path.abspath(path)
    while True:
        found = os.path.join(at, ".git")
        if os.path.isdir(found):
            return found
        if os.path.isfile(found):
            try:
                with open(found, encoding="utf-8", errors="surrogateescape") as file:
                    line = file.read(4096).strip()
            except OSError:
                return None
            return os.path.join(at, line.removeprefix("gitdir:").strip()) if line.startswith("gitdir:") else None
        above = os.path.dirname(at)
        if above == at:
            return None
        at = above


def read_objects(folder: str, names: Sequence[str]) -> list[bytes | None]:
    """The bytes of Git's objects, each None where there is no such object, or no git that could be asked."""
    nothing: list[bytes | None] = [None] * len(names)
    if not names:
        return nothing
    import subprocess

    # A hook's GIT_DIR may be relative to another folder. Objects that a partial clone lacks are not fetched: a build
    # opens no socket for them.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never", "cat-file", "--batch"]
    asked = "".join(f"{name}\n" for name in names).encode("utf-8")
    try:
        answer = subprocess.run(
            command,
            cwd=folder,
            env=environment | {"GIT_NO_LAZY_FETCH": "1"},
            input=asked,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return nothing
    found = parsed(answer.stdout)
    return found if answer.returncode == 0 and len(found) == len(names) else nothing


def parsed(answer: bytes) -> list[bytes | None]:
    """The blobs in an answer of `git cat-file --batch`: HASH TYPE SIZE, the bytes, a line end; or `NAME missing`."""
    found: list[bytes | None] = []
    at = 0
    while at < len(answer):
        end = answer.find(b"\n", at)
        if end < 0:
            break
        words = answer[at:end].rsplit(b" ", 2)
        at = end + 1
        if len(words) == 3 and words[1] in (b"blob", b"tree", b"commit", b"tag"):
            size = int(words[2])
            found.append(answer[at : at + size] if words[1] == b"blob" else None)
            at += size + 1
        else:
            found.append(None)
    return found
