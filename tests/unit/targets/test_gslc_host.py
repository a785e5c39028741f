"""The program that hosts run: fetching pinned files, waiting for ports, watching a server."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pauses import pauses_told
from tests.support.plans import ROOT

PROGRAM = ROOT / "templates" / "host" / "gslc_host.py"
CONTENT = bytes(range(256)) * 40


@dataclass(frozen=True, slots=True)
class Done:
    """What a run of the program left: its status, what it said, and the pauses that it made."""

    returncode: int
    stdout: str
    stderr: str
    pauses: tuple[float, ...] = ()


class Hub(http.server.ThreadingHTTPServer):
    """A hub that can break off, forbid, redirect and lie."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.requests: list[tuple[str, str | None, str | None]] = []
        self.break_after: int | None = None
        self.token: str | None = None
        self.content = CONTENT
        self.statuses: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class HubHandler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        hub = self.server
        hub.requests.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if hub.statuses:
            status = hub.statuses.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", "http://" + self.path.removeprefix("/to/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, given = hub.content, self.headers.get("Range")
        start = int(given.removeprefix("bytes=").removesuffix("-")) if given else 0
        self.send_response(206 if given else 200)
        self.send_header("Content-Length", str(len(body) - start))
        if given:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        body = body[start:]
        if hub.break_after is not None:
            body, hub.break_after = body[: hub.break_after], None
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def run(*arguments: str) -> Done:
    """The program in this process, with a clock on which pauses take no time."""
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with (
            mock.patch.dict(os.environ, without_proxies(), clear=True),
            mock.patch.object(sys, "argv", [str(PROGRAM), *arguments]),
            pauses_told() as pauses,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as end,
        ):
            runpy.run_path(str(PROGRAM), run_name="__main__")
    finally:
        signal.signal(signal.SIGTERM, handler)
    return Done(int(end.value.code or 0), out.getvalue(), err.getvalue(), tuple(pauses))


def run_alone(*arguments: str) -> Done:
    """The program in a process of its own, as a unit starts it."""
    command = [sys.executable, str(PROGRAM), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=without_proxies())
    return Done(done.returncode, done.stdout, done.stderr)


def without_proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def fetch(
    tmp_path: Path,
    url: str | None,
    *,
    token: str | None = None,
    start: Callable[..., Done] = run,
    **changes: Any,
) -> Done:
    entry = {
        "path": str(tmp_path / "models" / "hf" / "model.gguf"),
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "url": url,
        "token": "HF_TOKEN",
        **changes,
    }
    listing = tmp_path / "list.json"
    document = {"version": 1, "model": "chat", "model_dir": str(tmp_path / "models"), "files": [entry]}
    listing.write_text(json.dumps(document), encoding="utf-8")
    arguments = ["fetch", str(listing)]
    if token is not None:
        (tmp_path / "token").write_text(token, encoding="utf-8")
        arguments += ["--token-file", str(tmp_path / "token")]
    return start(*arguments)


def model(tmp_path: Path) -> Path:
    return tmp_path / "models" / "hf" / "model.gguf"


@pytest.mark.parametrize("start", [run, run_alone])
def test_a_file_is_fetched_and_named_only_when_it_is_right(
    tmp_path: Path, hub: Hub, start: Callable[..., Done]
) -> None:
    done = fetch(tmp_path, f"{hub.url}/x", start=start)
    assert done.returncode == 0, done.stdout
    assert model(tmp_path).read_bytes() == CONTENT
    assert model(tmp_path).stat().st_mode & 0o777 == 0o644
    assert [path.name for path in model(tmp_path).parent.iterdir()] == ["model.gguf"]


def test_a_second_run_opens_no_socket(tmp_path: Path, hub: Hub) -> None:
    fetch(tmp_path, f"{hub.url}/x")
    hub.requests.clear()
    done = fetch(tmp_path, f"{hub.url}/x")
    assert done.returncode == 0
    assert "verified before" in done.stdout
    assert hub.requests == []


def test_a_file_that_was_brought_by_hand_is_verified_without_a_socket(tmp_path: Path, hub: Hub) -> None:
    model(tmp_path).parent.mkdir(parents=True)
    model(tmp_path).write_bytes(CONTENT)
    done = fetch(tmp_path, f"{hub.url}/x")
    assert (done.returncode, hub.requests) == (0, [])


def test_a_file_that_changed_after_it_was_verified_is_fetched_again(tmp_path: Path, hub: Hub) -> None:
    fetch(tmp_path, f"{hub.url}/x")
    model(tmp_path).write_bytes(CONTENT[::-1])
    assert fetch(tmp_path, f"{hub.url}/x").returncode == 0
    assert model(tmp_path).read_bytes() == CONTENT


def test_a_download_goes_on_where_it_stopped(tmp_path: Path, hub: Hub) -> None:
    hub.break_after = 1000
    done = fetch(tmp_path, f"{hub.url}/x")
    assert (done.returncode, done.pauses) == (0, (2,))
    assert [asked for _, asked, _ in hub.requests] == [None, "bytes=1000-"]
    assert model(tmp_path).read_bytes() == CONTENT


def test_a_part_left_by_a_killed_run_is_used(tmp_path: Path, hub: Hub) -> None:
    model(tmp_path).parent.mkdir(parents=True)
    model(tmp_path).with_name("model.gguf.part").write_bytes(CONTENT[:5000])
    assert fetch(tmp_path, f"{hub.url}/x").returncode == 0
    assert hub.requests[0][1] == "bytes=5000-"


def test_a_spoilt_part_is_thrown_away_and_fetched_anew(tmp_path: Path, hub: Hub) -> None:
    model(tmp_path).parent.mkdir(parents=True)
    model(tmp_path).with_name("model.gguf.part").write_bytes(b"\xff" * 5000)
    assert fetch(tmp_path, f"{hub.url}/x").returncode == 0
    assert [asked for _, asked, _ in hub.requests] == ["bytes=5000-", None]
    assert model(tmp_path).read_bytes() == CONTENT


def test_another_file_of_the_same_size_is_refused_after_two_tries(tmp_path: Path, hub: Hub) -> None:
    hub.content = CONTENT[::-1]
    done = fetch(tmp_path, f"{hub.url}/x")
    assert done.returncode == 1
    assert "is not the file that was locked" in done.stdout
    assert not model(tmp_path).exists()
    assert len(hub.requests) == 2


def test_a_larger_file_is_refused_before_it_fills_the_disk(tmp_path: Path, hub: Hub) -> None:
    hub.content = CONTENT * 2
    done = fetch(tmp_path, f"{hub.url}/x")
    assert done.returncode == 1
    assert "is larger than the 10240 bytes" in done.stdout


def test_a_busy_hub_is_asked_again(tmp_path: Path, hub: Hub) -> None:
    hub.statuses = [503]
    done = fetch(tmp_path, f"{hub.url}/x")
    assert (done.returncode, done.pauses) == (0, (2,))
    assert len(hub.requests) == 2


@pytest.mark.parametrize(("status", "words"), [(404, "404"), (403, "it wants a token")])
def test_a_final_answer_is_not_tried_again(tmp_path: Path, hub: Hub, status: int, words: str) -> None:
    hub.statuses = [status]
    done = fetch(tmp_path, f"{hub.url}/x")
    assert done.returncode == 1
    assert words in done.stdout
    assert len(hub.requests) == 1


def test_a_gated_file_is_asked_for_with_the_token(tmp_path: Path, hub: Hub) -> None:
    hub.token = "hf_secret"
    done = fetch(tmp_path, f"{hub.url}/x", token="hf_secret\n")
    assert done.returncode == 0
    assert "hf_secret" not in done.stdout + done.stderr


def test_a_blank_token_file_is_no_token(tmp_path: Path, hub: Hub) -> None:
    assert fetch(tmp_path, f"{hub.url}/x", token="\n").returncode == 0
    assert hub.requests[0][2] is None


def test_a_token_does_not_follow_to_another_host(tmp_path: Path, hub: Hub) -> None:
    port = hub.server_address[1]
    assert fetch(tmp_path, f"{hub.url}/to/localhost:{port}/x", token="hf_secret").returncode == 0
    assert [token for _, _, token in hub.requests] == ["Bearer hf_secret", None]


def test_a_token_follows_on_the_same_host(tmp_path: Path, hub: Hub) -> None:
    hub.token = None
    assert fetch(tmp_path, f"{hub.url}/to/127.0.0.1:{hub.server_address[1]}/x", token="hf_secret").returncode == 0
    assert [token for _, _, token in hub.requests] == ["Bearer hf_secret", "Bearer hf_secret"]


def test_a_mirror_may_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a mirror").mkdir()
    (tmp_path / "a mirror" / "m").write_bytes(CONTENT)
    assert fetch(tmp_path, (tmp_path / "a mirror" / "m").as_uri()).returncode == 0
    assert model(tmp_path).read_bytes() == CONTENT


def test_a_file_that_nobody_can_fetch_must_be_there(tmp_path: Path) -> None:
    done = fetch(tmp_path, None)
    assert done.returncode == 1
    assert "put it there" in done.stdout


def test_a_file_without_a_pinned_digest_is_held_to_its_size(tmp_path: Path) -> None:
    model(tmp_path).parent.mkdir(parents=True)
    model(tmp_path).write_bytes(b"short")
    assert fetch(tmp_path, None, sha256=None, size=5).returncode == 0
    assert fetch(tmp_path, None, sha256=None, size=6).returncode == 1


def test_a_disk_that_is_too_small_is_told_before_the_download(tmp_path: Path, hub: Hub) -> None:
    done = fetch(tmp_path, f"{hub.url}/x", size=1 << 60)
    assert done.returncode == 1
    assert "are free" in done.stdout
    assert hub.requests == []


def test_wait_ends_when_all_targets_answer(hub: Hub) -> None:
    port = hub.server_address[1]
    assert run("wait", "--seconds", "5", f"{hub.url}/health", f"tcp://127.0.0.1:{port}").returncode == 0


def test_wait_asks_until_the_server_is_ready(hub: Hub) -> None:
    hub.statuses = [503]
    done = run("wait", "--seconds", "5", f"{hub.url}/health")
    assert (done.returncode, done.pauses) == (0, (1,))
    assert len(hub.requests) == 2


@pytest.mark.parametrize("start", [run, run_alone])
def test_wait_gives_up_when_the_time_is_over(start: Callable[..., Done]) -> None:
    done = start("wait", "--seconds", "0", "tcp://127.0.0.1:1")
    assert done.returncode == 1
    assert "does not answer after 0 s" in done.stdout


def test_wait_gives_up_when_the_process_is_gone() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    done = run("wait", "--seconds", "30", "--pid", str(gone.pid), "tcp://127.0.0.1:1")
    assert done.returncode == 1
    assert "has ended before" in done.stdout


def test_wait_that_is_stopped_is_no_failure(hub: Hub) -> None:
    hub.statuses = [503] * 1000
    waiting = subprocess.Popen([sys.executable, PROGRAM, "wait", f"{hub.url}/health"], stdout=subprocess.PIPE)
    started = time.monotonic()
    while not hub.requests:
        assert time.monotonic() - started < 30
        time.sleep(0.01)
    waiting.terminate()
    assert waiting.wait(timeout=10) == 0


def test_watch_ends_when_a_server_that_answered_is_gone(hub: Hub) -> None:
    hub.statuses = [200, 500, 500, 500]
    done = run("watch", f"{hub.url}/health")
    assert (done.returncode, done.pauses) == (1, (2, 2, 2))
    assert "no longer answers" in done.stdout


def test_the_program_can_stand_in_a_nomad_heredoc_and_template() -> None:
    text = PROGRAM.read_text(encoding="utf-8")
    assert all(mark not in text for mark in ("${", "%{", "<@", "GSLC_HOST_PROGRAM", "{{"))
