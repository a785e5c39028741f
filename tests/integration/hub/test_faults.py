"""Hubs that fail: each failure ends in one error that says what was tried, in bounded time, and never in a traceback."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Iterator
from functools import cache

import pytest
from hub_server import FaultKind, HubServer
from model_files import Sparse, llama_gguf, transformers_repository
from pauses import pauses_told
from sources import model, source

from gslc.edges.facts import fetch_facts
from gslc.edges.hub import HubError, HubSettings, small_document
from gslc.edges.hub_http import Answer, Http, RemoteReader, StatusError, _is_private, endpoint_of
from gslc.edges.hub_modelscope import open_modelscope
from gslc.edges.hub_ollama import open_ollama
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.facts import ModelFacts

SOURCES = {"hf": "hf://o/m", "modelscope": "modelscope://o/m", "ollama": "ollama://m:7b"}
LISTING = {"hf": "/api/models/", "modelscope": "/repo/files", "ollama": "/manifests/"}
CONTENT = {"hf": "/resolve/", "modelscope": "/repo?", "ollama": "/blobs/"}


@cache
def large_header() -> Sparse:
    """A file whose header is larger than what the buffers between server and client hold at once."""
    return llama_gguf(blocks=20, tokens=20_000)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        file = large_header()
        server.add("hf", "o/m", {"m.gguf": file})
        server.add("modelscope", "o/m", {"m.gguf": file})
        server.add_ollama("m", "7b", file)
        yield server


def fetched(
    hub: HubServer, text: str, settings: HubSettings | None = None
) -> tuple[ModelFacts | None, Diagnostic | None]:
    started = time.monotonic()
    outcome = fetch_facts(model(text), settings or hub.settings())
    assert time.monotonic() - started < 20
    if outcome.value is None:
        (diagnostic,) = outcome.diagnostics
        assert "'chat'" in diagnostic.message
        assert diagnostic.help
        return None, diagnostic
    return outcome.value, None


def code(hub: HubServer, text: str, settings: HubSettings | None = None) -> str:
    diagnostic = fetched(hub, text, settings)[1]
    assert diagnostic is not None
    return diagnostic.code


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("where", [LISTING, CONTENT])
def test_a_busy_hub_is_asked_again(hub: HubServer, kind: str, status: int, where: dict[str, str]) -> None:
    hub.fault(where[kind], "status", times=2, status=status)
    assert fetched(hub, SOURCES[kind])[0] is not None


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(("status", "wanted"), [(429, "GS802"), (500, "GS801"), (503, "GS801")])
@pytest.mark.parametrize("where", [LISTING, CONTENT])
def test_a_hub_that_stays_busy_is_given_up(
    hub: HubServer, kind: str, status: int, wanted: str, where: dict[str, str]
) -> None:
    hub.fault(where[kind], "status", times=100, status=status)
    _, diagnostic = fetched(hub, SOURCES[kind])
    assert diagnostic is not None
    assert diagnostic.code == wanted
    assert "4 times" in diagnostic.message
    assert hub.asked(where[kind]) == 4


@pytest.mark.parametrize("kind", SOURCES)
def test_retry_after_is_waited_for(hub: HubServer, kind: str) -> None:
    hub.fault(CONTENT[kind], "status", status=429, Retry_After="2")
    with pauses_told() as pauses:
        assert fetched(hub, SOURCES[kind])[0] is not None
    (pause,) = pauses
    assert 2 <= pause < 3


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("where", [LISTING, CONTENT])
def test_a_wait_of_an_hour_is_no_wait(hub: HubServer, kind: str, where: dict[str, str]) -> None:
    hub.fault(where[kind], "status", status=429, Retry_After="3600")
    assert code(hub, SOURCES[kind]) == "GS802"
    assert hub.asked(where[kind]) == 1


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("fault", ["truncate", "reset"])
def test_a_broken_transfer_is_read_again(hub: HubServer, kind: str, fault: FaultKind) -> None:
    hub.fault(CONTENT[kind], fault)
    assert fetched(hub, SOURCES[kind])[0] is not None
    assert hub.asked(CONTENT[kind]) >= 2


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("where", [LISTING, CONTENT])
def test_a_connection_that_always_breaks_is_given_up(hub: HubServer, kind: str, where: dict[str, str]) -> None:
    hub.fault(where[kind], "reset", times=100)
    assert code(hub, SOURCES[kind]) == "GS800"


@pytest.mark.parametrize("kind", SOURCES)
def test_a_server_that_ignores_range_is_stopped_at_once(hub: HubServer, kind: str) -> None:
    big = llama_gguf(blocks=80, tokens=100, width=8192, inner=28672, kv=1024)
    hub.add("hf", "o/m", {"m.gguf": big})
    hub.add("modelscope", "o/m", {"m.gguf": big})
    hub.add_ollama("m", "7b", big)
    hub.ignore_range = True
    assert code(hub, SOURCES[kind]) == "GS804"
    assert hub.asked(CONTENT[kind]) == 1


def test_a_small_file_is_taken_even_without_range(hub: HubServer) -> None:
    hub.add("hf", "o/small", transformers_repository())
    hub.ignore_range = True
    assert fetched(hub, "hf://o/small")[0] is not None


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("fault", ["html", "bad-json"])
def test_a_login_page_instead_of_a_listing_is_named(hub: HubServer, kind: str, fault: FaultKind) -> None:
    hub.fault(LISTING[kind], fault, times=100)
    assert code(hub, SOURCES[kind]) == "GS803"


@pytest.mark.parametrize("kind", SOURCES)
def test_a_login_page_instead_of_a_file_is_no_model(hub: HubServer, kind: str) -> None:
    hub.fault(CONTENT[kind], "html", times=100)
    assert code(hub, SOURCES[kind]) == "GS256"


@pytest.mark.parametrize("kind", SOURCES)
def test_another_range_than_asked_for_is_refused(hub: HubServer, kind: str) -> None:
    hub.wrong_range = True
    assert code(hub, SOURCES[kind]) == "GS803"


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("where", [LISTING, CONTENT])
def test_a_slow_drip_ends(hub: HubServer, kind: str, where: dict[str, str]) -> None:
    hub.fault(where[kind], "drip", times=100)
    settings = dataclasses.replace(hub.settings(), request_seconds=0.25, attempts=2)
    _, diagnostic = fetched(hub, SOURCES[kind], settings)
    assert diagnostic is not None
    assert diagnostic.code in ("GS800", "GS803", "GS804")


@pytest.mark.parametrize("kind", SOURCES)
def test_redirects_without_end_are_cut(hub: HubServer, kind: str) -> None:
    hub.fault(CONTENT[kind], "loop", times=100)
    assert code(hub, SOURCES[kind]) == "GS805"
    assert hub.asked(CONTENT[kind]) <= 6


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:pw@127.0.0.1/x"])
def test_a_redirect_to_anything_but_a_plain_address_is_refused(hub: HubServer, target: str) -> None:
    hub.fault(CONTENT["hf"], "away", times=100, Location=target)
    _, diagnostic = fetched(hub, "hf://o/m")
    assert diagnostic is not None
    assert diagnostic.code == "GS805"
    assert "pw" not in diagnostic.message


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1/x", "http://169.254.169.254/meta", "http://10.0.0.1/", "http://localhost/", "http://[::1]/"],
)
def test_a_public_hub_may_not_redirect_into_a_private_network(target: str) -> None:
    client = Http(HubSettings(), "http://93.184.216.34")
    with pytest.raises(HubError) as refused:
        client._redirected("http://93.184.216.34/a", target)
    assert refused.value.code == "GS805"


def test_https_is_not_left_for_http() -> None:
    client = Http(HubSettings(), "https://hub.example")
    with pytest.raises(HubError, match="not protected by TLS"):
        client._redirected("https://hub.example/a", "http://cdn.example/a")


@pytest.mark.parametrize(
    ("kind", "variable"),
    [("hf", "HF_ENDPOINT"), ("modelscope", "MODELSCOPE_DOMAIN"), ("ollama", "OLLAMA_LIBRARY_BASE_URL")],
)
def test_a_hub_that_is_down_is_told_with_its_host_and_tries(kind: str, variable: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = HubSettings(environment={variable: f"http://127.0.0.1:{port}"}, retry_seconds=0.01, attempts=2)
    outcome = fetch_facts(model(SOURCES[kind]), settings)
    (diagnostic,) = outcome.diagnostics
    assert diagnostic.code == "GS800"
    assert f"127.0.0.1:{port} can't be reached (tried 2 times)" in diagnostic.message


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("hub.example", "https://hub.example"), ("http://h:80/p/", "http://h:80/p"), ("https://h", "https://h")],
)
def test_an_endpoint_may_lack_its_scheme(text: str, wanted: str) -> None:
    assert endpoint_of(text, "X") == wanted


@pytest.mark.parametrize(
    "text", ["", "ftp://h", "https://", "https://u@h", "https://u:p@h", "https://h?x=1", "file:///etc"]
)
def test_other_endpoints_are_refused(text: str) -> None:
    with pytest.raises(HubError) as refused:
        endpoint_of(text, "X")
    assert refused.value.code == "GS806"
    assert ":p@" not in refused.value.message


def test_an_answer_over_its_limit_is_cut(hub: HubServer) -> None:
    client = Http(hub.settings(), hub.url)
    with pytest.raises(HubError) as refused:
        client.get(f"{hub.url}/o/m/resolve/main/m.gguf", limit_bytes=1000)
    assert refused.value.code == "GS803"


def test_a_signed_address_that_ran_out_is_fetched_anew(hub: HubServer) -> None:
    file = llama_gguf(tokens=100)
    reader = RemoteReader(Http(hub.settings(), hub.url), f"{hub.url}/o/m/resolve/main/m.gguf", "m.gguf", file.size)
    reader._url = f"{hub.url}/o/gone/resolve/main/m.gguf"
    assert reader.read(0, 4) == b"GGUF"
    lost = RemoteReader(Http(hub.settings(), hub.url), f"{hub.url}/o/gone/resolve/main/m.gguf", "m.gguf", file.size)
    with pytest.raises(StatusError):
        lost.read(0, 4)


@pytest.mark.parametrize("token", ["hf_a\nX-Evil: 1", "hf_ä", "hf_a b"])
def test_a_token_that_cannot_be_one_is_refused_without_being_shown(hub: HubServer, token: str) -> None:
    for text, variable in (("hf://o/m", "HF_TOKEN"), ("modelscope://o/m", "MODELSCOPE_API_TOKEN")):
        _, diagnostic = fetched(hub, text, hub.settings(**{variable: token}))
        assert diagnostic is not None
        assert diagnostic.code == "GS806"
        assert variable in diagnostic.message
        assert token not in diagnostic.message
    assert hub.requests == []


def test_a_small_file_of_another_size_than_listed_is_refused(hub: HubServer) -> None:
    reader = RemoteReader(Http(hub.settings(), hub.url), f"{hub.url}/api/models/o/m", "config.json", 7)
    with pytest.raises(HubError, match="for a file of 7"):
        reader.read(0, 7)
    assert reader.read(7, 5) == b""


def answer_of(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    return Answer(
        status=status,
        headers={name.replace("_", "-"): text for name, text in headers.items()},
        body=body,
        url="https://h/x",
    )


def test_a_range_of_another_length_than_told_is_refused() -> None:
    client = Http(HubSettings(), "https://h")
    client._check_range(answer_of(206, b"abc", content_range="bytes 5-7/100"), 5, 10)
    for headers, body in (
        ("bytes 5-7/100", b"ab"),
        ("bytes 5-20/100", b"a" * 16),
        ("", b"abc"),
        ("bytes 6-8/100", b"abc"),
    ):
        with pytest.raises(HubError) as refused:
            client._check_range(answer_of(206, body, content_range=headers), 5, 10)
        assert refused.value.code == "GS803"


def test_an_encoding_that_nobody_asked_for_is_refused(hub: HubServer) -> None:
    hub.content_encoding = "gzip"
    assert code(hub, "modelscope://o/m") == "GS803"


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(("status", "listing", "content"), [(404, "GS252", "GS252"), (418, "GS801", "GS801")])
def test_other_statuses_are_told_by_the_hubs_own_module(
    hub: HubServer, kind: str, status: int, listing: str, content: str
) -> None:
    hub.fault(LISTING[kind], "status", times=1, status=status)
    assert code(hub, SOURCES[kind]) == listing
    hub.fault(CONTENT[kind], "status", times=5, status=status)
    assert code(hub, SOURCES[kind]) == content


@pytest.mark.parametrize(
    "body",
    [
        b'{"siblings": []}',
        b'{"sha": "main", "siblings": [], "id": "o/m"}',
        b'{"id": "o/m", "sha": "0123456789012345678901234567890123456789", "siblings": [{"rfilename": "a", "size": -1}]}',
        b'{"id": "o/m", "sha": "0123456789012345678901234567890123456789", "siblings": [{"rfilename": "a", "size": 4611686018427387904}]}',
        b'{"id": "o/m", "sha": "0123456789012345678901234567890123456789", "siblings": [{"rfilename": "a", "size": 1, "lfs": {"sha256": "x", "size": 1, "pointerSize": 1}}]}',
        b"[]",
        b"5",
    ],
)
def test_a_description_without_its_parts_is_refused_by_hugging_face(hub: HubServer, body: bytes) -> None:
    hub.answers["/api/models/"] = body
    assert code(hub, "hf://o/m") in ("GS803", "GS265")


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"Data": {"Files": [1]}}',
        b'{"Data": {"Files": []}}',
        b'{"Code": 200, "Data": {"Files": [{"Path": "a", "Size": -1, "Revision": "0123456789012345678901234567890123456789", "CommittedDate": 1}]}}',
        b'{"Code": 200, "Data": {"Files": [{"Path": "a", "Size": 1, "Sha256": "x", "Revision": "0123456789012345678901234567890123456789"}]}}',
        b'{"Code": 200, "Data": {"Files": [{"Path": "../a", "Size": 1, "Revision": "0123456789012345678901234567890123456789"}]}}',
    ],
)
def test_a_listing_without_its_parts_is_refused_by_modelscope(hub: HubServer, body: bytes) -> None:
    hub.answers["/repo/files"] = body
    assert code(hub, "modelscope://o/m") in ("GS803", "GS265")


def test_modelscope_may_name_the_head_commit_itself(hub: HubServer) -> None:
    commit = hub.repositories["modelscope", "o/m"].commit
    files = b'[{"Path": "m.gguf", "Type": "blob", "Size": 7, "Revision": "x"}]'
    hub.answers["/repo/files"] = b'{"Code": 200, "Data": {"Files": %s, "LatestCommitter": {"Id": "%s"}}}' % (
        files,
        commit.encode(),
    )
    assert open_modelscope(source("modelscope://o/m"), hub.settings()).listing.revision == commit


@pytest.mark.parametrize(
    "layer", [b'{"digest": "sha256:1", "size": 1}', b'{"digest": "sha256:%s", "size": -1}' % (b"a" * 64)]
)
def test_a_layer_without_digest_or_size_is_refused(hub: HubServer, layer: bytes) -> None:
    media = b'"mediaType": "application/vnd.ollama.image.model", '
    hub.manifests["library/m", "7b"] = b'{"layers": [{%s%s]}' % (media, layer[1:])
    assert code(hub, "ollama://m:7b") == "GS803"
    double = b'{%s"digest": "sha256:%s", "size": 1}' % (media, b"a" * 64)
    hub.manifests["library/m", "7b"] = b'{"layers": [%s, %s]}' % (double, double)
    assert code(hub, "ollama://m:7b") == "GS258"


def test_a_registry_may_be_part_of_the_name() -> None:
    with pytest.raises(HubError) as refused:
        open_ollama(source("ollama://127.0.0.1/ns/m:7b"), HubSettings(attempts=1, timeout_seconds=1))
    assert refused.value.code == "GS800"
    assert refused.value.message.startswith("127.0.0.1 can't be reached")
    with pytest.raises(HubError) as wrong:
        open_ollama(dataclasses.replace(source("ollama://m:7b"), repository="a/b/c/d"), HubSettings())
    assert wrong.value.code == "GS252"


def test_a_small_document_that_is_too_large_is_not_read(hub: HubServer) -> None:
    opened = open_modelscope(source("modelscope://o/m"), hub.settings())
    with pytest.raises(HubError) as refused:
        small_document(opened, "m.gguf", 1000)
    assert refused.value.code == "GS258"
    assert small_document(opened, "none.json", 1000) is None


def test_names_inside_a_network_are_private() -> None:
    private = (
        "localhost",
        "a.localhost",
        "nas.local",
        "x.internal",
        "10.1.1.1",
        "::1",
        "fe80::1",
        "192.168.0.1",
        "100.64.0.1",
    )
    assert [name for name in private if not _is_private(name)] == []
    assert [name for name in ("hub.example", "8.8.8.8", "2606:4700::1111") if _is_private(name)] == []
