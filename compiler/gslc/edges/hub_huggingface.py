"""Hugging Face: revision and files through huggingface_hub's client, bytes by range.

Settings honoured, as huggingface_hub reads them: HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH and the token file below HF_HOME,
HF_HUB_OFFLINE, HF_HUB_DISABLE_IMPLICIT_TOKEN, and the proxy variables.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from gslc.documents.canonical import is_safe_path
from gslc.edges.hub import HubError, HubFile, HubSettings, Listing, is_file_size
from gslc.edges.hub_http import (
    RETRIED,
    TOO_MANY,
    Answer,
    Http,
    RemoteReader,
    StatusError,
    checked_token,
    endpoint_of,
    host_of,
)
from gslc.ir.inputs import Source

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

DEFAULT_ENDPOINT = "https://huggingface.co"
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_ACCESS_HELP = (
    "set HF_TOKEN (or run `hf auth login`) to a token that may read it, and accept its terms on the model's page"
)
_FORBIDDEN = (401, 403)
_MISSING = 404


class HuggingFaceListing:
    """A repository at one commit."""

    def __init__(self, listing: Listing, client: Http, base: str) -> None:
        self.listing = listing
        self._client = client
        self._base = base

    def reader(self, file: HubFile) -> HubReader:
        """The file by range, at the pinned commit."""
        url = f"{self._base}/resolve/{self.listing.revision}/{quote(file.path)}"
        return HubReader(RemoteReader(self._client, url, file.path, file.size_bytes), self.listing.source)

    def sha256(self, file: HubFile) -> str | None:
        """What the hub says: known for files in LFS; the commit pins the others."""
        return file.sha256


class HubReader:
    """A remote file whose failing statuses are told in the words of Hugging Face."""

    def __init__(self, reader: RemoteReader, source: str) -> None:
        self.name = reader.name
        self.size_bytes = reader.size_bytes
        self._reader = reader
        self._source = source

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on, at most `length` of them; HubError when the hub fails."""
        try:
            return self._reader.read(offset, length)
        except StatusError as status:
            raise status_error(self._source, status.answer, self.name) from None


def open_huggingface(source: Source, settings: HubSettings) -> HuggingFaceListing:
    """The repository at the commit that its revision means now; HubError when it can't be had."""
    if settings.switched_on("HF_HUB_OFFLINE") or settings.switched_on("TRANSFORMERS_OFFLINE"):
        message = f"{source.text} is not in the lock, and HF_HUB_OFFLINE forbids to ask Hugging Face"
        raise HubError("GS250", message, "unset HF_HUB_OFFLINE for this run of `gslc lock`")
    endpoint = endpoint_of(settings.variable("HF_ENDPOINT") or DEFAULT_ENDPOINT, "HF_ENDPOINT")
    token = checked_token(find_token(settings), "HF_TOKEN")
    secret = {"Authorization": f"Bearer {token}"} if token else {}
    information = _model_info(source, settings, endpoint, token)
    listing = Listing(source=source.text, revision=_commit(source, information), files=_files(source, information))
    return HuggingFaceListing(listing, Http(settings, endpoint, secret), f"{endpoint}/{source.repository}")


def find_token(settings: HubSettings) -> str | None:
    """The user's token from HF_TOKEN, HF_TOKEN_PATH or the token file; None where there is none."""
    if settings.switched_on("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return None
    named = settings.variable("HF_TOKEN") or settings.variable("HUGGING_FACE_HUB_TOKEN")
    if named is not None:
        return named
    home = settings.variable("HF_HOME")
    cache = settings.variable("XDG_CACHE_HOME") or str(Path(settings.variable("HOME") or "~").expanduser() / ".cache")
    path = Path(settings.variable("HF_TOKEN_PATH") or f"{home or cache + '/huggingface'}/token").expanduser()
    try:
        with path.open("rb") as opened:
            text = opened.read(4096).decode("ascii").strip()
    except (OSError, UnicodeDecodeError, ValueError):
        return None
    return text or None


class _Client(Protocol):
    """The part of huggingface_hub.HfApi that is used here."""

    def model_info(self, repo_id: str, *, revision: str | None, timeout: float, files_metadata: bool) -> ModelInfo:
        """What the hub says of a repository at a revision."""
        ...


@lru_cache(maxsize=8)
def _client(endpoint: str, token: str | None) -> _Client:
    """The client of an endpoint. Imported here, since importing it costs half a second that a build need not pay."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint, token=token or False, library_name="gslc")


def _model_info(source: Source, settings: HubSettings, endpoint: str, token: str | None) -> ModelInfo:
    """The hub's answer, asked again while it is busy."""
    client = _client(endpoint, token)
    pause = settings.retry_seconds
    for attempt in range(1, settings.attempts + 1):
        try:
            return _within(settings.request_seconds, lambda: _ask(client, source, settings))
        except Exception as fault:  # noqa: BLE001 - the client raises its HTTP library's own errors
            error, wait = _told(source, endpoint, attempt, fault)
            if wait is None or attempt == settings.attempts or wait > settings.retry_most_seconds:
                raise error from None
            time.sleep(max(wait, pause))
        pause *= 2
    raise AssertionError("attempts is at least 1")


def _ask(client: _Client, source: Source, settings: HubSettings) -> ModelInfo:
    return client.model_info(
        source.repository, revision=source.revision, timeout=settings.timeout_seconds, files_metadata=True
    )


def _within(seconds: float, ask: Callable[[], ModelInfo]) -> ModelInfo:
    """The answer, or TimeoutError: the client's own timeout starts anew with every byte, so a drip would never end."""
    answers: list[ModelInfo] = []
    faults: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as fault:  # noqa: BLE001 - handed to the caller's thread
            faults.append(fault)

    thread = threading.Thread(target=run, daemon=True, name="gslc-hub")
    thread.start()
    thread.join(seconds)
    if faults:
        raise faults[0]
    if not answers:
        raise TimeoutError(f"still sending after {seconds:.0f} s")
    return answers[0]


def _told(source: Source, endpoint: str, attempt: int, fault: Exception) -> tuple[HubError, float | None]:
    """The fault as an error in our words, and the seconds to wait before trying again; None: don't."""
    response = getattr(fault, "response", None)
    status = getattr(response, "status_code", None)
    headers = {name.lower(): str(value) for name, value in getattr(response, "headers", {}).items()}
    tried = "once" if attempt == 1 else f"{attempt} times"
    if status in RETRIED:
        after = headers.get("retry-after", "")
        wait = float(after) if after.isdecimal() else 0.0
        if status == TOO_MANY:
            message = f"{host_of(endpoint)} limits the rate of requests (429, tried {tried})"
            return HubError("GS802", message, "try again later, or set HF_TOKEN: known users may ask more often"), wait
        message = f"{host_of(endpoint)} answers with status {status} (tried {tried})"
        return HubError("GS801", message, "try again; what is already resolved stays in the lock"), wait
    if isinstance(status, int) and status >= 400:
        answer = Answer(status=status, headers=headers, body=b"", url=endpoint)
        return status_error(source.text, answer, None), None
    if isinstance(fault, ValueError) and type(fault).__module__.startswith("huggingface_hub"):
        return HubError(
            "GS252", f"{source.repository} is no name of a Hugging Face repository", "write hf://owner/name"
        ), None
    if isinstance(fault, (ValueError, TypeError, KeyError, AttributeError)):
        message = f"{host_of(endpoint)} sent no model description for {source.text}"
        return HubError("GS803", message, "check that HF_ENDPOINT names a hub and no login page or proxy"), None
    words = (str(fault) or type(fault).__name__).splitlines()[0][:200]
    message = f"{host_of(endpoint)} can't be reached (tried {tried}): {words}"
    action = "check the network, proxy and HF_ENDPOINT, then run it again; what is already resolved stays in the lock"
    return HubError("GS800", message, action), 0.0


def status_error(source: str, answer: Answer, path: str | None) -> HubError:
    """A failing status in the words of Hugging Face (X-Error-Code says which of the reasons it is)."""
    reason = answer.headers.get("x-error-code", "")
    what = f"{path} of {source}" if path else source
    if reason == "GatedRepo":
        return HubError("GS251", f"{source} is gated: its owner wants you to accept terms first", _ACCESS_HELP)
    if reason == "RevisionNotFound":
        return HubError(
            "GS252", f"{source} has no such revision", "name a branch, tag or commit of the repository after @"
        )
    if answer.status in _FORBIDDEN:
        return HubError("GS251", f"{what} doesn't exist, or is private or gated ({answer.status})", _ACCESS_HELP)
    if answer.status == _MISSING:
        message = f"{what} doesn't exist on {host_of(answer.url)}, or is private"
        return HubError("GS252", message, "check the spelling; for a private repository set HF_TOKEN")
    return HubError("GS801", f"{host_of(answer.url)} answers with status {answer.status} for {what}", "try again later")


def _commit(source: Source, information: ModelInfo) -> str:
    sha = information.sha
    if not isinstance(sha, str) or not _COMMIT.match(sha):
        raise HubError("GS803", f"the hub names no commit for {source.text}", "check that HF_ENDPOINT names a hub")
    return sha


def _files(source: Source, information: ModelInfo) -> tuple[HubFile, ...]:
    files: list[HubFile] = []
    for sibling in information.siblings or ():
        path, size = sibling.rfilename, sibling.size
        if not isinstance(path, str) or not is_safe_path(path) or not is_file_size(size):
            raise HubError(
                "GS265",
                f"{source.text} lists a file that can't be kept: {str(path)[:80]!r}",
                "report it to the repository's owner",
            )
        large = sibling.lfs
        digest = getattr(large, "sha256", None) or (large.get("sha256") if isinstance(large, dict) else None)
        if digest is not None and not _SHA256.match(str(digest)):
            raise HubError("GS803", f"the hub names no sha256 for {path}", "check that HF_ENDPOINT names a hub")
        files.append(HubFile(path=path, size_bytes=size, sha256=digest))
    return tuple(sorted(files, key=lambda file: file.path))
