"""Reading what the user wrote, and publishing what was compiled, without ever leaving a mix that looks whole.

An output folder is published in this order (a kill between any two steps leaves the old folder, the new one, or one
that holds JOURNAL and is therefore incomplete):

1. JOURNAL is written: the manifest that will hold, so that the next run knows which files are ours.
2. Each changed file is written beside its place and renamed over it.
3. Files that the old manifest owns and the new one doesn't are removed, and folders that became empty.
4. MANIFEST.json is replaced, the folder is synced, JOURNAL is removed.

Files are not synced one by one: 2,000 of them cost 2-7 s on a disk, and a torn file differs from its sha256, which
`--check` and the next build see.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import Literal, TypeAlias

from gslc.documents.manifest import NAME, Manifest, digest, digest_bytes, manifest_text
from gslc.edges.ownership import JOURNAL, edits, obstacle, ownership
from gslc.ir.diagnostic import Diagnostic, Outcome, Place
from gslc.ir.output import OutputFile
from gslc.ir.record import dataclass

SUFFIX = ".gslc-new"
MAX_INPUT_BYTES = 64 * 1024 * 1024  # the cluster file of 10,000 hosts has about 13 MB

Change: TypeAlias = Literal["created", "changed", "removed", "unchanged"]


# ------------------------------------------------------------------ reading


def read_input(path: str) -> Outcome[bytes]:
    """The bytes of a regular file below MAX_INPUT_BYTES, or a GS86x error naming it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return failed(
            "GS860", path, f"cannot read {path}: {error.strerror}", "give the path of a file that you may read"
        )
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return failed("GS861", path, f"{path} is not a regular file", "give the path of a text file")
        if status.st_size > MAX_INPUT_BYTES:
            return failed(
                "GS862",
                path,
                f"{path} has {status.st_size} bytes; more than {MAX_INPUT_BYTES} are not read",
                "split the file, and join the parts with include",
            )
        chunks = []
        while chunk := os.read(handle, 1 << 20):
            chunks.append(chunk)
        return Outcome(value=b"".join(chunks))
    except OSError as error:
        return failed("GS860", path, f"cannot read {path}: {error.strerror}", "check the disk and the permissions")
    finally:
        os.close(handle)


def failed(code: str, file: str, message: str, help_text: str) -> Outcome[bytes]:
    """An outcome that holds one error about a file."""
    return Outcome(
        value=None, diagnostics=(Diagnostic(code=code, place=Place(file=file), message=message, help=help_text),)
    )


def write_whole(path: str, text: str) -> None:
    """Replace a file so that readers and a kill meet the old text or the new one. Raises OSError.

    What a link names is replaced, not the link. A device or a pipe is written to (`-o /dev/stdout`).
    """
    if os.path.lexists(path) and not os.path.isfile(path):
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(handle, text.encode("utf-8"))
        finally:
            os.close(handle)
        return
    path = os.path.realpath(path) if os.path.islink(path) else path
    temporary = f"{path}{SUFFIX}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        write_all(handle, text.encode("utf-8"))
        os.fchmod(handle, 0o644)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)
    sync_folder(os.path.dirname(path) or ".")


def write_all(handle: int, data: bytes) -> None:
    """Write all bytes to a handle."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def sync_folder(path: str) -> None:
    """Make renames in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ------------------------------------------------------------------ comparing


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """What publishing would do to one file."""

    path: str
    change: Change
    sha256: str | None  # None where it is removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The output folder held against what was compiled. `changes` is sorted by path and lists unchanged files too."""

    changes: tuple[FileChange, ...]
    incomplete: bool  # a build was interrupted here
    obstacles: tuple[Diagnostic, ...] = ()  # what stands in the way of publishing

    @property
    def differs(self) -> bool:
        """True when publishing would change a byte."""
        return self.incomplete or any(change.change != "unchanged" for change in self.changes)


@dataclass(slots=True)
class Folder:
    """An output folder, opened once; every component below it is reached without following links."""

    path: str
    handle: int
    folders: dict[str, int] = field(default_factory=dict)

    def close(self) -> None:
        """Close all handles."""
        for handle in (*self.folders.values(), self.handle):
            os.close(handle)
        self.folders.clear()

    def parent(self, path: str, *, create: bool = False) -> tuple[int, str]:
        """The handle of the folder that holds `path`, and the last component. Raises OSError, for a link too."""
        head, _, tail = path.rpartition("/")
        if not head:
            return self.handle, tail
        if head not in self.folders:
            above, name = self.parent(head, create=create)
            if create:
                try:
                    os.mkdir(name, 0o755, dir_fd=above)
                    os.chmod(name, 0o755, dir_fd=above)  # noqa: S103  (whatever the umask: Git keeps no other mode)
                except FileExistsError:
                    pass
            self.folders[head] = os.open(
                name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above
            )
        return self.folders[head], tail

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, None where there is none. Raises OSError where something else is in its place."""
        try:
            folder, name = self.parent(path)
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(20, "not a regular file", path)
            chunks = []
            while chunk := os.read(handle, 1 << 20):
                chunks.append(chunk)
            return b"".join(chunks)
        finally:
            os.close(handle)

    def write(self, path: str, text: str, *, durable: bool = False) -> None:
        """Replace a file below the folder."""
        folder, name = self.parent(path, create=True)
        temporary = name + SUFFIX
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(temporary, flags, 0o644, dir_fd=folder)
        try:
            write_all(handle, text.encode("utf-8"))
            os.fchmod(handle, 0o644)
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def remove(self, path: str) -> None:
        """Remove a file and the folders above it that became empty."""
        folder, name = self.parent(path)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        head = path.rpartition("/")[0]
        while head:
            above, name = self.parent(head)
            handle = self.folders.pop(head, None)
            if handle is not None:
                os.close(handle)
            try:
                os.rmdir(name, dir_fd=above)
            except OSError:
                return
            head = head.rpartition("/")[0]


@contextmanager
def open_folder(path: str, *, create: bool) -> Iterator[Folder | None]:
    """The output folder, locked against other builds; None where it does not exist and may not be created.

    Raises OSError, NotADirectoryError where the path is a link or a file.
    """
    if create:
        os.makedirs(path, mode=0o755, exist_ok=True)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    folder = Folder(path=path, handle=handle)
    try:
        if create:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        folder.close()


def compare(folder: Folder | None, cluster: str, files: tuple[OutputFile, ...], *, force: bool) -> Comparison:
    """What publishing `files` would do, and what stands in its way. Reads every owned and every wanted file."""
    texts = {file.path: file.text for file in files}
    shared: dict[str, str] = {}  # text -> its digest: the same program stands beside the units of every host
    for file in files:
        if file.text not in shared:
            shared[file.text] = digest(file.text)
    wanted = {path: shared[text] for path, text in texts.items()}
    if folder is None:
        return Comparison(changes=listed(wanted, {}, frozenset()), incomplete=False)
    obstacles: list[Diagnostic] = []
    owned = ownership(folder, cluster, obstacles)
    found: dict[str, str | None] = {}
    for path in sorted(wanted.keys() | owned.written.keys()):
        try:
            data = folder.read(path)
        except OSError as error:
            obstacles.append(obstacle("GS603", folder.path, path, f"is in the way: {error.strerror}", "remove it"))
            continue
        text = texts.get(path)
        same = data is not None and text is not None and data == text.encode("utf-8")
        found[path] = None if data is None else wanted[path] if same else digest_bytes(data)
    if not force:
        obstacles += edits(folder, owned, wanted, found)
    removable = frozenset(path for path in owned.written.keys() - wanted.keys() if found.get(path) is not None)
    incomplete = owned.interrupted or not same_manifest(folder, cluster, wanted)
    return Comparison(changes=listed(wanted, found, removable), incomplete=incomplete, obstacles=tuple(obstacles))


def same_manifest(folder: Folder, cluster: str, wanted: Mapping[str, str]) -> bool:
    """True when MANIFEST.json already says what it will say."""
    try:
        return folder.read(NAME) == manifest_text(Manifest(cluster=cluster, files=wanted)).encode("utf-8")
    except OSError:
        return False


def listed(
    wanted: Mapping[str, str], found: Mapping[str, str | None], removed: frozenset[str]
) -> tuple[FileChange, ...]:
    """One change a file, sorted by path."""
    changes = [FileChange(path=path, change="removed", sha256=None) for path in removed]
    for path, sha in wanted.items():
        present = found.get(path)
        change: Change = "created" if present is None else "unchanged" if present == sha else "changed"
        changes.append(FileChange(path=path, change=change, sha256=sha))
    return tuple(sorted(changes, key=lambda change: change.path))


# ------------------------------------------------------------------ publishing


def publish(folder: Folder, cluster: str, files: tuple[OutputFile, ...], comparison: Comparison) -> None:
    """Make the folder hold exactly `files` and its manifest. Raises OSError; the next build then finishes the work."""
    if not comparison.differs:
        return
    texts = {file.path: file.text for file in files}
    manifest = manifest_text(Manifest(cluster=cluster, files={path: digest(text) for path, text in texts.items()}))
    folder.write(JOURNAL, manifest, durable=True)
    os.fsync(folder.handle)
    for change in comparison.changes:
        if change.change in ("created", "changed"):
            folder.write(change.path, texts[change.path])
        elif change.change == "removed":
            folder.remove(change.path)
    for change in comparison.changes:
        remove_leftover(folder, change.path)
    folder.write(NAME, manifest, durable=True)
    os.fsync(folder.handle)
    os.unlink(JOURNAL, dir_fd=folder.handle)


def remove_leftover(folder: Folder, path: str) -> None:
    """Remove what an interrupted build left beside a file."""
    try:
        parent, name = folder.parent(path)
        os.unlink(name + SUFFIX, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return


def ignored_by_git(folder: str) -> bool:
    """True when git would ignore the output folder; False where there is no git or no repository."""
    path = Path(os.path.abspath(folder))
    if not any((parent / ".git").exists() for parent in path.parents):
        return False
    import subprocess

    command = ["git", "-c", "core.fsmonitor=false", "check-ignore", "-q", "--no-index", "--", f"{path.name}/{NAME}"]
    try:
        answer = subprocess.run(command, cwd=path.parent, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0
