"""A local HTTP server that speaks Hugging Face's API, ModelScope's API and the Ollama registry, with faults on demand.

with HubServer() as hub:
    hub.add("hf", "owner/name", {"config.json": b"{}", "model.safetensors": safetensors(...)})
    settings = hub.settings()          # HubSettings whose endpoints are this server
    ...
    hub.requests                        # what was asked
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from model_files import Sparse

from gslc.edges.hub import HubSettings
from gslc.edges.hub_ollama import MODEL_LAYER, PROJECTOR_LAYER

Content = bytes | Sparse
FaultKind = Literal[
    "status",
    "html",
    "truncate",
    "reset",
    "drip",
    "loop",
    "away",
    "bad-json",
]
LFS_FROM = 10_000  # smaller files have no sha256 on Hugging Face


def part_of(content: Content, start: int, length: int) -> bytes:
    """Some bytes of a file."""
    return content.part(start, length) if isinstance(content, Sparse) else content[start : start + length]


def size_of(content: Content) -> int:
    """The size of a file."""
    return content.size if isinstance(content, Sparse) else len(content)


def sha256_of(content: Content) -> str:
    """The hash of a file; of a sparse one that of its head and size, since nobody downloads it."""
    if isinstance(content, Sparse):
        return hashlib.sha256(content.head + str(content.size).encode()).hexdigest()
    return hashlib.sha256(content).hexdigest()


@dataclass(slots=True)
class Repository:
    """Files at one commit."""

    files: Mapping[str, Content]
    commit: str
    revisions: tuple[str, ...]
    gated: bool = False
    private: bool = False


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next `times` requests whose path holds `match`."""

    match: str
    kind: FaultKind
    times: int
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]


class HubServer:
    """The server. `token` is what private and gated repositories want; `latency` is slept before each answer."""

    def __init__(self, *, latency: float = 0.0, token: str = "hf_right", redirect: bool = False) -> None:
        self.latency = latency
        self.token = token
        self.redirect = redirect
        self.ignore_range = False
        self.wrong_range = False
        self.content_encoding: str | None = None
        self.answers: dict[str, bytes] = {}  # a part of a path -> what is answered instead, as JSON
        self.requests: list[Request] = []
        self.bytes_sent = 0
        self.faults: list[Fault] = []
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.blobs: dict[str, Content] = {}
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self, **extra: str) -> dict[str, str]:
        """The variables that point every hub here."""
        names = {"HF_ENDPOINT": self.url, "MODELSCOPE_DOMAIN": self.url, "OLLAMA_LIBRARY_BASE_URL": self.url}
        return {**names, "HF_TOKEN_PATH": "/nonexistent/token", **extra}

    def settings(self, **extra: str) -> HubSettings:
        """Settings for tests: this server, short waits."""
        return HubSettings(
            environment=self.environment(**extra), timeout_seconds=5, request_seconds=3, retry_seconds=0.01
        )

    def add(
        self, hub: Literal["hf", "modelscope"], name: str, files: Mapping[str, Content], *, commit: str | None = None,
        revisions: tuple[str, ...] = ("main", "master"), gated: bool = False, private: bool = False,
    ) -> str:  # fmt: skip
        """Publishes a repository; the answer is its commit."""
        digest = hashlib.sha1(
            json.dumps([name, sorted((path, sha256_of(content)) for path, content in files.items())]).encode()
        )
        commit = commit or digest.hexdigest()
        self.repositories[hub, name] = Repository(files, commit, revisions, gated, private)
        return commit

    def add_ollama(self, name: str, tag: str, model: Content, projector: Content | None = None) -> str:
        """Publishes a model of the library; the answer is the manifest's digest."""
        layers = []
        for kind, content in ((MODEL_LAYER, model), (PROJECTOR_LAYER, projector)):
            if content is not None:
                digest = f"sha256:{sha256_of(content)}"
                self.blobs[digest] = content
                layers.append({"mediaType": kind, "digest": digest, "size": size_of(content)})
        layers.append({"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "0" * 64, "size": 1})
        body = json.dumps({"schemaVersion": 2, "layers": layers}).encode()
        self.manifests[name if "/" in name else f"library/{name}", tag] = body
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    def fault(self, match: str, kind: FaultKind, *, times: int = 1, status: int = 500, **headers: str) -> None:
        """Lets the next requests that match go wrong."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(match, kind, times, status, named))

    def note(self, request: Request) -> Fault | None:
        """Records a request, and tells how it is to fail."""
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times > 0 and fault.match in request.path:
                    fault.times -= 1
                    return fault
        return None

    def count(self, sent: int) -> None:
        """Adds to the bytes that went out."""
        with self._lock:
            self.bytes_sent += sent

    def asked(self, match: str) -> int:
        """How many requests had `match` in their path."""
        return sum(match in request.path for request in self.requests)


@contextmanager
def hub_server(**options: object) -> Iterator[HubServer]:
    """A running server."""
    with HubServer(**options) as server:  # type: ignore[arg-type]
        yield server


def _handler_of(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        server_hub = hub

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, *args: object) -> None:
        """Silence: tests look at `requests`."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    # -------------------------------------------------------------- dispatch

    def _answer(self) -> None:
        hub = self.server_hub
        fault = hub.note(
            Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        )
        if hub.latency:
            time.sleep(hub.latency)
        if fault is not None and self._fail(fault):
            return
        for match, body in hub.answers.items():
            if match in self.path:
                self._send(200, body)
                return
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        if path.startswith("/api/models/"):
            self._hf_information(path.removeprefix("/api/models/"))
        elif path.startswith("/api/v1/models/"):
            self._modelscope(path.removeprefix("/api/v1/models/"), query, fault)
        elif path.startswith("/v2/"):
            self._ollama(path.removeprefix("/v2/"), fault)
        elif path.startswith("/cdn/"):
            owner, name, _, file = path.removeprefix("/cdn/").split("/", 3)
            self._file(hub.repositories["hf", f"{owner}/{name}"].files[file], fault)
        else:
            self._hf_resolve(path, fault)

    def _fail(self, fault: Fault) -> bool:
        """True when the fault was the whole answer."""
        if fault.kind == "status":
            self._send(fault.status, b"no", "text/plain", fault.headers)
        elif fault.kind == "html":
            self._send(200, b"<html><body>Sign in</body></html>", "text/html")
        elif fault.kind == "bad-json":
            self._send(200, b'{"siblings": [', "application/json")
        elif fault.kind == "reset":
            self.close_connection = True
        elif fault.kind == "drip":
            self._drip()
        elif fault.kind == "loop":
            self._send(302, b"", "text/plain", {"Location": self.path})
        elif fault.kind == "away":
            self._send(302, b"", "text/plain", {"Location": fault.headers["Location"]})
        else:
            return False
        return True

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        try:
            while not self.server_hub.closing.wait(0.1):
                self.wfile.write(b" ")
                self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _send(
        self, status: int, body: bytes, kind: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.server_hub.content_encoding is not None:
            self.send_header("Content-Encoding", self.server_hub.content_encoding)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.server_hub.count(len(body))

    def _send_json(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), headers=headers)

    def _allowed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.server_hub.token}"

    # -------------------------------------------------------------- Hugging Face

    def _hf_information(self, rest: str) -> None:
        name, _, revision = rest.partition("/revision/")
        repository = self.server_hub.repositories.get(("hf", name))
        if repository is None or (repository.private and not self._allowed()):
            self._send_json(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        if revision and revision not in (*repository.revisions, repository.commit):
            self._send_json(404, {"error": f"Invalid rev id: {revision}"}, {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = []
        for path, content in repository.files.items():
            entry: dict[str, object] = {"rfilename": path, "size": size_of(content), "blobId": "0" * 40}
            if size_of(content) >= LFS_FROM:
                entry["lfs"] = {"sha256": sha256_of(content), "size": size_of(content), "pointerSize": 134}
            siblings.append(entry)
        self._send_json(
            200, {"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings, "private": False}
        )

    def _hf_resolve(self, path: str, fault: Fault | None) -> None:
        before, _, rest = path.lstrip("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        repository = self.server_hub.repositories.get(("hf", before))
        if (
            repository is None
            or file not in repository.files
            or revision not in (*repository.revisions, repository.commit)
        ):
            self._send_json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        elif repository.gated and not self._allowed():
            self._send_json(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        elif self.server_hub.redirect:
            self._send(302, b"", headers={"Location": f"/cdn/{before}/{revision}/{file}?X-Signature=secret"})
        else:
            self._file(repository.files[file], fault)

    # -------------------------------------------------------------- ModelScope

    def _modelscope(self, rest: str, query: Mapping[str, str], fault: Fault | None) -> None:
        name = rest.removesuffix("/files").removesuffix("/repo")
        repository = self.server_hub.repositories.get(("modelscope", name))
        allowed = self.headers.get("Cookie") == f"m_session_id={self.server_hub.token}"
        revision = query.get("Revision", "master")
        if repository is None or revision not in (*repository.revisions, repository.commit):
            self._send_json(404, {"Code": 10010205001, "Message": "not found", "Success": False})
        elif repository.private and not allowed:
            self._send_json(200, {"Code": 403, "Message": "no permission", "Success": False})
        elif rest.endswith("/repo/files"):
            self._send_json(200, {"Code": 200, "Success": True, "Data": {"Files": self._modelscope_files(repository)}})
        elif query.get("FilePath") in repository.files:
            self._file(repository.files[query["FilePath"]], fault)
        else:
            self._send_json(404, {"Code": 404, "Success": False})

    def _modelscope_files(self, repository: Repository) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = [
            {"Path": "folder", "Type": "tree", "Size": 0, "Sha256": "", "Revision": "1" * 40}
        ]
        for number, (path, content) in enumerate(sorted(repository.files.items())):
            last = number == len(repository.files) - 1
            entries.append({
                "Path": path, "Name": path, "Type": "blob", "Size": size_of(content), "Sha256": sha256_of(content),
                "Revision": repository.commit if last else "2" * 40, "CommittedDate": 1_700_000_000 + number,
            })  # fmt: skip
        return entries

    # -------------------------------------------------------------- Ollama

    def _ollama(self, rest: str, fault: Fault | None) -> None:
        name, _, tag = rest.partition("/manifests/")
        if tag and (name, tag) in self.server_hub.manifests:
            self._send(200, self.server_hub.manifests[name, tag], "text/plain; charset=utf-8")
            return
        digest = rest.partition("/blobs/")[2]
        if digest in self.server_hub.blobs:
            self._file(self.server_hub.blobs[digest], fault)
        else:
            self._send_json(404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})

    # -------------------------------------------------------------- files

    def _file(self, content: Content, fault: Fault | None) -> None:
        size = size_of(content)
        kind = fault.kind if fault is not None else None
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes=") or self.server_hub.ignore_range:
            self._stream(200, content, 0, size, {}, cut=kind == "truncate")
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or size - 1), size - 1)
        if start >= size:
            self._send(416, b"", headers={"Content-Range": f"bytes */{size}"})
            return
        told = start + 1 if self.server_hub.wrong_range else start
        self._stream(
            206,
            content,
            start,
            end - start + 1,
            {"Content-Range": f"bytes {told}-{end}/{size}"},
            cut=kind == "truncate",
        )

    def _stream(
        self, status: int, content: Content, start: int, length: int, headers: Mapping[str, str], *, cut: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = start + (length // 2 if cut else length)
        try:
            while start < stop:
                part = part_of(content, start, min(1 << 20, stop - start))
                self.wfile.write(part)
                self.server_hub.count(len(part))
                start += len(part)
        except OSError:
            self.close_connection = True
        if cut:
            self.close_connection = True
