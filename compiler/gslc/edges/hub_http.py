"""Bounded HTTP: size, time and redirect limits, retries, and no token beyond the host it belongs to.

urllib alone, so that a run needs no further package and proxies (HTTPS_PROXY, NO_PROXY) work as everywhere.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import IO
from urllib.parse import urljoin, urlsplit

from gslc.edges.hub import HubError, HubSettings
from gslc.ir.record import dataclass

REDIRECTS_MAX = 5
JSON_MAX = 32 * 1024 * 1024
READ_BYTES = 64 * 1024
SMALL_FILE_MAX = 4 * 1024 * 1024  # a server that ignores Range may still send a file this small as a whole
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
TOO_MANY = 429
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z", re.ASCII)
_AGAIN = "try again; what is already resolved stays in the lock"
_UNREACHABLE = (
    "check the network, proxy and endpoint settings, then run it again; what is already resolved stays in the lock"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response: status, headers with lower-case names, body up to its limit, and the address that sent it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class _Truncated(Exception):
    """The body ended before its declared length."""


class _KeepRedirects(urllib.request.HTTPRedirectHandler):
    """Hands redirects back to the caller, who checks where they lead."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        """None: the 3xx response itself is the answer."""
        del req, fp, code, msg, headers, newurl
        return None


class Http:
    """A client for one hub. `secret` headers go to the hub's own host only."""

    def __init__(self, settings: HubSettings, endpoint: str, secret: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.endpoint = endpoint
        self._secret = dict(secret or {})
        self._opener = urllib.request.build_opener(_KeepRedirects)

    # -------------------------------------------------------------- requests

    def get(self, url: str, *, limit_bytes: int, headers: Mapping[str, str] | None = None) -> Answer:
        """The final answer, after redirects and retries; HubError when the hub can't be reached or keeps failing."""
        waited = self.settings.retry_seconds
        for attempt in range(1, self.settings.attempts + 1):
            last = attempt == self.settings.attempts
            pause = waited
            try:
                answer = self._follow(url, limit_bytes, dict(headers or {}))
            except (OSError, http.client.HTTPException, _Truncated) as fault:
                if last or _certificate(fault):
                    raise self._unreachable(url, attempt, fault) from None
            else:
                if answer.status not in RETRIED:
                    return answer
                if last:
                    raise self._failing(url, attempt, answer)
                pause = _retry_after(answer.headers, waited)
                if pause > self.settings.retry_most_seconds:
                    raise self._failing(url, attempt, answer)
            time.sleep(pause)
            waited *= 2
        raise AssertionError("attempts is at least 1")

    def json(self, url: str) -> object:
        """The JSON value at `url`. Only a 200 is taken; other statuses are returned as HubError by `refuse`."""
        answer = self.get(url, limit_bytes=JSON_MAX, headers={"Accept": "application/json"})
        if answer.status != http.HTTPStatus.OK:
            raise StatusError(answer)
        return parse_json(answer)

    def read_whole(self, url: str, size_bytes: int) -> Answer:
        """All bytes of a small file, asked for without Range, which not every server offers for small files."""
        answer = self.get(url, limit_bytes=SMALL_FILE_MAX)
        if answer.status != http.HTTPStatus.OK:
            raise StatusError(answer)
        if len(answer.body) != size_bytes:
            raise _bad(answer.url, f"{len(answer.body)} bytes for a file of {size_bytes}")
        return answer

    def read_range(self, url: str, offset: int, length: int) -> Answer:
        """The bytes of a range. A server that ignores Range is refused unless the whole file is small."""
        wanted = f"bytes={offset}-{offset + length - 1}"
        limit = max(length, SMALL_FILE_MAX)
        answer = self.get(url, limit_bytes=limit, headers={"Range": wanted})
        if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
            self._check_range(answer, offset, length)
            return answer
        if answer.status == http.HTTPStatus.OK:
            body = answer.body[offset : offset + length]
            return Answer(status=206, headers=answer.headers, body=body, url=answer.url)
        raise StatusError(answer)

    # -------------------------------------------------------------- one attempt

    def _follow(self, url: str, limit_bytes: int, headers: dict[str, str]) -> Answer:
        deadline = time.monotonic() + self.settings.request_seconds
        for _ in range(REDIRECTS_MAX + 1):
            answer = self._once(url, limit_bytes, headers, deadline)
            target = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer
            url = self._redirected(url, urljoin(url, target))
        message = f"{host_of(self.endpoint)} redirects more than {REDIRECTS_MAX} times"
        raise HubError("GS805", message, "check the endpoint setting of the hub")

    def _once(self, url: str, limit_bytes: int, headers: dict[str, str], deadline: float) -> Answer:
        sent = {"User-Agent": "gslc", "Accept-Encoding": "identity", **headers}
        if _same_host(url, self.endpoint):
            sent.update(self._secret)
        request = urllib.request.Request(url, headers=sent)  # noqa: S310 - http(s) only, see endpoint_of
        try:
            response = self._opener.open(request, timeout=self.settings.timeout_seconds)
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(status=refused.code, headers=_headers(refused.headers), body=b"", url=url)
        with response:
            kept = _headers(response.headers)
            status = response.status
            if status == http.HTTPStatus.OK and "Range" in headers:
                self._check_whole(url, kept)
            body = self._body(response, kept, limit_bytes, deadline, url)
            return Answer(status=status, headers=kept, body=body, url=url)

    def _body(
        self,
        response: http.client.HTTPResponse,
        headers: Mapping[str, str],
        limit_bytes: int,
        deadline: float,
        url: str,
    ) -> bytes:
        if headers.get("content-encoding", "identity") != "identity":
            raise _bad(url, f"a body with the encoding {headers['content-encoding'][:20]}, though none was asked for")
        parts: list[bytes] = []
        total = 0
        while part := response.read1(READ_BYTES):
            parts.append(part)
            total += len(part)
            if total > limit_bytes:
                raise _bad(url, f"more than {limit_bytes} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError(f"still sending after {self.settings.request_seconds:.0f} s")
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) != total:
            raise _Truncated(f"the answer broke off after {total} of {declared} bytes")
        return b"".join(parts)

    # -------------------------------------------------------------- checks

    def _redirected(self, source: str, target: str) -> str:
        """The target of a redirect, when it may be followed."""
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or (parts.scheme == "http" and urlsplit(source).scheme == "https"):
            raise _no_redirect(source, f"to {parts.scheme}://{parts.hostname}, which is not protected by TLS")
        if parts.username is not None or not parts.hostname:
            raise _no_redirect(source, "to an address with a user name in it")
        if _is_private(parts.hostname) and not _is_private(urlsplit(self.endpoint).hostname or ""):
            raise _no_redirect(source, f"to the private address {parts.hostname}")
        return target

    def _check_whole(self, url: str, headers: Mapping[str, str]) -> None:
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > SMALL_FILE_MAX:
            message = f"{host_of(url)} ignores Range: it answers with the whole file instead of a piece"
            raise HubError(
                "GS804",
                message,
                "use an endpoint that supports range requests, or download the model and name it by file://",
            )

    def _check_range(self, answer: Answer, offset: int, length: int) -> None:
        found = _RANGE.match(answer.headers.get("content-range", ""))
        if found is None or int(found.group(1)) != offset or len(answer.body) > length:
            raise _bad(answer.url, f"another range than the one asked for ({offset}, {length} bytes)")
        if len(answer.body) != int(found.group(2)) - offset + 1:
            raise _bad(answer.url, f"{len(answer.body)} bytes as the range {answer.headers['content-range'][:60]}")

    # -------------------------------------------------------------- errors

    def _unreachable(self, url: str, attempts: int, fault: Exception) -> HubError:
        reason = getattr(fault, "reason", fault)
        words = str(reason) or type(reason).__name__
        tried = "once" if attempts == 1 else f"{attempts} times"
        return HubError("GS800", f"{host_of(url)} can't be reached (tried {tried}): {words[:200]}", _UNREACHABLE)

    def _failing(self, url: str, attempts: int, answer: Answer) -> HubError:
        tried = "once" if attempts == 1 else f"{attempts} times"
        if answer.status == TOO_MANY:
            wait = answer.headers.get("retry-after", "")
            when = f" and asks to wait {wait[:10]} s" if wait.isdecimal() else ""
            return HubError("GS802", f"{host_of(url)} limits the rate of requests (429, tried {tried}){when}", _AGAIN)
        return HubError("GS801", f"{host_of(url)} answers with status {answer.status} (tried {tried})", _AGAIN)


class StatusError(Exception):
    """A status that the hub's own module has to interpret (401, 403, 404, …)."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"status {answer.status}")
        self.answer = answer


class RemoteReader:
    """A remote file by range; remembers where a redirect led, so that each piece costs one request."""

    def __init__(self, http_client: Http, url: str, name: str, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self._http = http_client
        self._origin = url
        self._url = url

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on, at most `length` of them; HubError or StatusError when the hub fails."""
        length = min(length, self.size_bytes - offset)
        if length <= 0:
            return b""
        try:
            answer = self._read(offset, length)
        except StatusError:
            if self._url == self._origin:
                raise
            self._url = self._origin  # a signed address that has run out
            answer = self._read(offset, length)
        self._url = answer.url
        return answer.body

    def _read(self, offset: int, length: int) -> Answer:
        if length == self.size_bytes <= SMALL_FILE_MAX:
            return self._http.read_whole(self._url, length)
        return self._http.read_range(self._url, offset, length)


# ------------------------------------------------------------------ helpers


def endpoint_of(text: str, setting: str) -> str:
    """The address of a hub, checked: http or https, a host, no user name, no query."""
    parts = urlsplit(text if "://" in text else f"https://{text}")
    plain = parts.scheme in ("http", "https") and parts.hostname and parts.username is None and not parts.query
    if not plain:
        message = f"{setting} is no address of a hub: it must be http(s)://host[/path], without a user name"
        raise HubError("GS806", message, f"set {setting} to the address of the hub, or unset it")
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def checked_token(token: str | None, setting: str) -> str | None:
    """The token, when it can be a header; HubError without the token in it otherwise."""
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise HubError("GS806", f"{setting} holds characters that no token has", f"set {setting} again, or unset it")
    return token


def parse_json(answer: Answer) -> object:
    """The body as JSON; HubError for HTML and everything else."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        value: object = json.loads(answer.body)
    except (ValueError, RecursionError):
        what = f"{kind or 'an untyped body'}" if kind != "application/json" else "broken JSON"
        raise _bad(answer.url, f"{what} where JSON was expected") from None
    return value


def host_of(url: str) -> str:
    """The host of an address, for messages: never its query, which may hold a signature."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _bad(url: str, what: str) -> HubError:
    return HubError(
        "GS803",
        f"{host_of(url)} sent {what}",
        "check that the endpoint setting names a hub and no login page or proxy; then run it again",
    )


def _no_redirect(url: str, where: str) -> HubError:
    return HubError(
        "GS805", f"{host_of(url)} redirects {where}; that is not followed", "check the endpoint setting of the hub"
    )


def _headers(message: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in message.items()}


def _same_host(left: str, right: str) -> bool:
    one, other = urlsplit(left), urlsplit(right)
    return (one.scheme, one.netloc) == (other.scheme, other.netloc)


def _is_private(host: str) -> bool:
    """True for a literal address, or a name, that only means something inside one network."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _certificate(fault: Exception) -> bool:
    return isinstance(getattr(fault, "reason", fault), ssl.SSLCertVerificationError)


def _retry_after(headers: Mapping[str, str], otherwise: float) -> float:
    value = headers.get("retry-after", "")
    return float(value) if value.isdecimal() and len(value) < 6 else otherwise
