"""file:// sources: a file, a folder, or a split GGUF on the building machine, read once and pinned.

Only regular files are opened. Links are followed to regular files below the same folder, and from a snapshot of
huggingface_hub's cache to its own `blobs`; every other link, and every pipe, socket and device is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator

from gslc.documents.canonical import is_safe_path
from gslc.edges.hub import HubError, HubFile, HubSettings, Listing
from gslc.edges.ranges import RangeReader
from gslc.ir.inputs import Source

FILES_MAX = 20_000
DEPTH_MAX = 8
HASH_CHUNK = 4 * 1024 * 1024
_SKIPPED_FOLDERS = frozenset({".git", ".cache", "__pycache__"})
_SYSTEM = ("/proc/", "/dev/", "/sys/")


class LocalReader:
    """A regular file by range; opened for each read, so that nothing stays open."""

    def __init__(self, path: str, name: str, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self._path = path

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on, at most `length` of them."""
        descriptor = open_regular(self._path)
        try:
            return os.pread(descriptor, length, offset)
        except OSError as fault:
            raise _unreadable(self._path, fault) from None
        finally:
            os.close(descriptor)


class LocalListing:
    """The files below a folder, or the one file and its neighbours."""

    def __init__(self, listing: Listing, folder: str, limit_bytes: int) -> None:
        self.listing = listing
        self._folder = folder
        self._limit = limit_bytes

    def reader(self, file: HubFile) -> RangeReader:
        """The file by range."""
        return LocalReader(os.path.join(self._folder, file.path), file.path, file.size_bytes)

    def sha256(self, file: HubFile) -> str | None:
        """Computed for a file up to the limit of the settings; None above it."""
        if file.size_bytes > self._limit:
            return None
        digest = hashlib.sha256()
        descriptor = open_regular(os.path.join(self._folder, file.path))
        try:
            while chunk := os.read(descriptor, HASH_CHUNK):
                digest.update(chunk)
        except OSError as fault:
            raise _unreadable(file.path, fault) from None
        finally:
            os.close(descriptor)
        return digest.hexdigest()


def open_regular(path: str) -> int:
    """A descriptor of a regular file. Never blocks on a pipe; HubError for everything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        raise _unreadable(path, fault) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise HubError("GS262", f"{path} is no regular file", "name a model file or a folder of model files")
    return descriptor


def open_file(source: Source, settings: HubSettings) -> LocalListing:
    """The files that a file:// source can mean; HubError when there are none or they may not be read."""
    path = source.path or source.text.removeprefix("file://")
    if not path.startswith("/") or "\0" in path:
        raise HubError("GS262", f"{source.text} is no absolute path", "write file:///folder/model")
    path = os.path.normpath(path)
    real = os.path.realpath(path)
    if (real + "/").startswith(_SYSTEM):
        raise HubError(
            "GS262",
            f"{path} lies in {real.split('/')[1]}, which holds no models",
            "name a model file or a folder of model files",
        )
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as fault:
        raise _unreadable(path, fault) from None
    if stat.S_ISDIR(mode):
        files = tuple(sorted(_walk(path, "", 0), key=lambda file: file.path))
        return LocalListing(Listing(source=source.text, revision=None, files=files), path, settings.local_sha256_limit)
    os.close(open_regular(path))
    folder = os.path.dirname(path)
    files = tuple(sorted(_neighbours(folder, os.path.basename(path)), key=lambda file: file.path))
    return LocalListing(Listing(source=source.text, revision=None, files=files), folder, settings.local_sha256_limit)


def _walk(root: str, below: str, depth: int) -> Iterator[HubFile]:
    """Regular files below a folder; folders that are links are left out, other links are checked."""
    count = 0
    for entry in _entries(os.path.join(root, below)):
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False):
            if depth < DEPTH_MAX and entry.name not in _SKIPPED_FOLDERS:
                yield from _walk(root, path, depth + 1)
            continue
        found = _regular(root, path)
        if found is not None:
            yield found
        count += 1
        if count > FILES_MAX:
            raise HubError(
                "GS262", f"{root} holds more than {FILES_MAX} files in one folder", "name the folder of one model"
            )


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as fault:
        raise _unreadable(folder, fault) from None


def _regular(root: str, path: str) -> HubFile | None:
    """The file as an entry; None for what is no file at all (a link to a folder). Pipes and devices are errors."""
    full = os.path.join(root, path)
    if not is_safe_path(path):
        raise HubError("GS265", f"{root} holds a file whose name can't be kept: {path[:80]!r}", "rename it")
    if os.path.isdir(full):
        return None
    if os.path.islink(full) and not _link_allowed(root, full):
        raise HubError("GS262", f"{full} is a link that leads out of {root}", "put the file itself there")
    try:
        status = os.stat(full)
    except OSError as fault:
        raise _unreadable(full, fault) from None
    if not stat.S_ISREG(status.st_mode):
        raise HubError("GS262", f"{full} is no regular file", "remove it from the model's folder")
    return HubFile(path=path, size_bytes=status.st_size)


def _link_allowed(root: str, full: str) -> bool:
    target = os.path.realpath(full)
    base = os.path.realpath(root)
    parent, _, last = os.path.dirname(base).rpartition("/")
    # huggingface_hub's cache: models--o--n/snapshots/<commit>/file -> ../../blobs/<hash>
    roots = [base, f"{parent}/blobs"] if last == "snapshots" else [base]
    return any(target.startswith(allowed + "/") for allowed in roots)


def _neighbours(folder: str, name: str) -> Iterator[HubFile]:
    """The named file, and the other GGUF files beside it (its split, its projector) where they are plain files."""
    for entry in _entries(folder):
        if entry.name == name:
            yield HubFile(path=name, size_bytes=os.stat(entry.path).st_size)
        elif entry.name.lower().endswith(".gguf") and entry.is_file(follow_symlinks=False) and is_safe_path(entry.name):
            yield HubFile(path=entry.name, size_bytes=entry.stat().st_size)


def _unreadable(path: str, fault: Exception) -> HubError:
    words = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    action = (
        "a file:// source names the path on the hosts, and the building machine must have the same file while locking"
    )
    return HubError("GS262", f"{path} can't be read: {words}", action)
