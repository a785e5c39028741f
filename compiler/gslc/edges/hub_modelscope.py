"""ModelScope by its REST API, with the standard library alone.

Settings honoured: MODELSCOPE_DOMAIN (host, or address with its scheme), MODELSCOPE_API_TOKEN. The SDK's saved cookies
are not read: they are a pickle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from gslc.documents.canonical import is_safe_path
from gslc.edges.hub import HubError, HubFile, HubSettings, Listing, is_file_size
from gslc.edges.hub_http import Answer, Http, RemoteReader, StatusError, checked_token, endpoint_of, host_of
from gslc.ir.inputs import Source

DEFAULT_DOMAIN = "www.modelscope.cn"
DEFAULT_REVISION = "master"
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_FORBIDDEN = (401, 403)
_MISSING = 404


class ModelScopeListing:
    """A repository at one commit."""

    def __init__(self, listing: Listing, client: Http, base: str, revision: str) -> None:
        self.listing = listing
        self._client = client
        self._base = base
        self._revision = revision

    def reader(self, file: HubFile) -> ModelScopeReader:
        """The file by range, at the pinned commit."""
        query = urlencode({"Revision": self._revision, "FilePath": file.path}, quote_via=quote)
        return ModelScopeReader(
            RemoteReader(self._client, f"{self._base}/repo?{query}", file.path, file.size_bytes), self.listing.source
        )

    def sha256(self, file: HubFile) -> str | None:
        """What the hub says; it knows every file's."""
        return file.sha256


class ModelScopeReader:
    """A remote file whose failing statuses are told in the words of ModelScope."""

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
            raise _status_error(f"{self.name} of {self._source}", status.answer) from None


def open_modelscope(source: Source, settings: HubSettings) -> ModelScopeListing:
    """The repository at the commit that its revision means now; HubError when it can't be had."""
    endpoint = endpoint_of(settings.variable("MODELSCOPE_DOMAIN") or DEFAULT_DOMAIN, "MODELSCOPE_DOMAIN")
    token = checked_token(settings.variable("MODELSCOPE_API_TOKEN"), "MODELSCOPE_API_TOKEN")
    secret = {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}
    client = Http(settings, endpoint, secret)
    base = f"{endpoint}/api/v1/models/{quote(source.repository)}"
    asked = source.revision or DEFAULT_REVISION
    query = urlencode({"Revision": asked, "Recursive": "True"})
    try:
        answer = client.json(f"{base}/repo/files?{query}")
    except StatusError as status:
        raise _status_error(source.text, status.answer) from None
    entries = _entries(source, answer, endpoint)
    revision = asked if _COMMIT.match(asked) else _head(source, answer, entries)
    files = tuple(sorted((_file(source, entry) for entry in entries), key=lambda file: file.path))
    return ModelScopeListing(Listing(source=source.text, revision=revision, files=files), client, base, revision)


def _entries(source: Source, answer: object, endpoint: str) -> list[Mapping[str, object]]:
    """The entries that are files. The API answers some refusals with status 200 and Success false."""
    if isinstance(answer, Mapping):
        if answer.get("Success") is False or answer.get("Code") not in (200, None):
            raise _refused(source.text, answer.get("Code"), str(answer.get("Message", ""))[:120])
        files = answer.get("Data")
        files = files.get("Files") if isinstance(files, Mapping) else None
        if isinstance(files, list) and all(isinstance(entry, dict) for entry in files):
            return [entry for entry in files if entry.get("Type") != "tree"]
    raise HubError(
        "GS803", f"{host_of(endpoint)} sent no file list for {source.text}", "check that MODELSCOPE_DOMAIN names a hub"
    )


def _head(source: Source, answer: object, entries: list[Mapping[str, object]]) -> str:
    """The commit to pin: the branch's newest where the API names it, else the newest commit among the files.

    The latter differs from the branch's head only where the head removed files; their absence doesn't matter, since the
    lock names each file that is used.
    """
    latest = answer.get("Data") if isinstance(answer, Mapping) else None
    latest = latest.get("LatestCommitter") if isinstance(latest, Mapping) else None
    for key in ("Id", "Sha", "CommitId", "Revision"):
        commit = latest.get(key) if isinstance(latest, Mapping) else None
        if isinstance(commit, str) and _COMMIT.match(commit):
            return commit
    dated = [
        (when, revision)
        for entry in entries
        if isinstance(when := entry.get("CommittedDate", 0), int) and isinstance(revision := entry.get("Revision"), str)
    ]
    newest = max(dated, default=(0, ""))[1]
    if not _COMMIT.match(newest):
        raise HubError(
            "GS803", f"the hub names no commit for {source.text}", "name the commit itself after @, 40 hex digits"
        )
    return newest


def _file(source: Source, entry: Mapping[str, object]) -> HubFile:
    path, size, digest = entry.get("Path"), entry.get("Size"), entry.get("Sha256") or None
    if not isinstance(path, str) or not is_safe_path(path) or not is_file_size(size):
        raise HubError(
            "GS265",
            f"{source.text} lists a file that can't be kept: {str(path)[:80]!r}",
            "report it to the repository's owner",
        )
    if digest is not None and (not isinstance(digest, str) or not _SHA256.match(digest)):
        raise HubError("GS803", f"the hub names no sha256 for {path}", "check that MODELSCOPE_DOMAIN names a hub")
    return HubFile(path=path, size_bytes=size, sha256=digest)


def _refused(what: str, code: object, words: str) -> HubError:
    if code in _FORBIDDEN:
        return HubError("GS251", f"{what} is private ({code})", "set MODELSCOPE_API_TOKEN to a token that may read it")
    told = f": {words}" if words.isprintable() and words else ""
    action = "check the spelling and the revision; for a private repository set MODELSCOPE_API_TOKEN"
    return HubError("GS252", f"ModelScope has no {what}{told}", action)


def _status_error(what: str, answer: Answer) -> HubError:
    if answer.status in (*_FORBIDDEN, _MISSING):
        return _refused(what, answer.status, "")
    return HubError("GS801", f"{host_of(answer.url)} answers with status {answer.status} for {what}", "try again later")
