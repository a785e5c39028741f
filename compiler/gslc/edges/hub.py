"""What every hub offers: a listing at a fixed revision, and its files by range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol, TypeGuard

from gslc.edges.ranges import RangeReader
from gslc.ir.record import dataclass

GIB = 1024**3
FILE_SIZE_MAX = 1 << 60


class HubError(Exception):
    """A source that can't be resolved: a stable code, a sentence, one action."""

    def __init__(self, code: str, message: str, action: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.action = action


def is_file_size(value: object) -> TypeGuard[int]:
    """True for a number of bytes that a file can have; hubs are asked, not trusted."""
    return type(value) is int and 0 <= value < FILE_SIZE_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file that a hub lists. `url` only where the hub's address for it can't be derived from the source."""

    path: str
    size_bytes: int
    sha256: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A repository at one revision; files sorted by path."""

    source: str  # as the user wrote it
    revision: str | None
    files: tuple[HubFile, ...]

    def file(self, path: str) -> HubFile | None:
        """The file of that path; None where there is none."""
        return next((file for file in self.files if file.path == path), None)


class OpenListing(Protocol):
    """A listing whose files can be read."""

    listing: Listing

    def reader(self, file: HubFile) -> RangeReader:
        """The file by range. HubError from it, and from its reads, when the hub fails."""
        ...

    def sha256(self, file: HubFile) -> str | None:
        """The file's sha256 where the hub knows it, or where it is worth computing; None otherwise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """How hubs are talked to. `environment` holds the variables of the process: the hubs' own settings live there."""

    environment: Mapping[str, str] = field(default_factory=dict)
    offline_flag: str | None = None  # "--offline" or "--frozen", as the user gave it: no socket is opened
    timeout_seconds: float = 20.0  # of one socket operation
    request_seconds: float = 120.0  # of one request as a whole, so that a slow drip ends
    attempts: int = 4
    retry_seconds: float = 0.5  # doubled after each attempt
    retry_most_seconds: float = 60.0
    workers: int = 16
    local_sha256_limit: int = 16 * GIB  # file:// files above it are pinned by size and header hash

    def variable(self, name: str) -> str | None:
        """An environment variable without surrounding blanks; None when unset or empty."""
        return (self.environment.get(name) or "").strip() or None

    def switched_on(self, name: str) -> bool:
        """True when the variable has one of the values that huggingface_hub takes for true."""
        return (self.variable(name) or "").upper() in {"1", "ON", "YES", "TRUE"}


def small_document(opened: OpenListing, path: str, limit_bytes: int) -> bytes | None:
    """The whole content of a small file; None where the repository hasn't it. HubError when it is larger."""
    file = opened.listing.file(path)
    if file is None:
        return None
    if file.size_bytes > limit_bytes:
        message = f"{path} of {opened.listing.source} has {file.size_bytes} bytes; at most {limit_bytes} are read"
        raise HubError("GS258", message, "check that the source names the repository you mean")
    content = opened.reader(file).read(0, file.size_bytes)
    if len(content) != file.size_bytes:
        message = f"{path} of {opened.listing.source} has {len(content)} bytes, the listing says {file.size_bytes}"
        raise HubError("GS803", message, "try again; if it stays, the hub or a proxy in front of it is broken")
    return content
