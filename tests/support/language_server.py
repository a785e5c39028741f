"""VS Code's YAML language server, driven as an editor drives it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

VERSION = "1.18.0"  # the releases from 2.0.0 on want node 22, which Debian 12 does not have


def server_program() -> list[str]:
    """The command of the server, installed from npm once."""
    cache = (
        Path(os.environ.get("GSLC_TEST_CACHE", Path.home() / ".cache" / "gslc-tests"))
        / f"yaml-language-server-{VERSION}"
    )
    script = cache / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
    if not (cache / "done").exists():
        if shutil.which("npm") is None:
            subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "nodejs", "npm"], check=True)
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [
                "npm",
                "install",
                "--silent",
                "--no-fund",
                "--no-audit",
                "--prefix",
                str(cache),
                f"yaml-language-server@{VERSION}",
            ],
            check=True,
        )
        (cache / "done").touch()
    return ["node", str(script), "--stdio"]


class LanguageServer:
    """A running server. Messages that it sends unasked are kept in `diagnostics` by address of the document."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            server_program(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.number = 0
        self.diagnostics: dict[str, list[dict[str, object]]] = {}
        self.request(
            "initialize",
            {"processId": os.getpid(), "rootUri": None, "capabilities": {"workspace": {"configuration": True}}},
        )
        self.notify("initialized", {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def open(self, path: Path) -> str:
        """Open a document and wait for its diagnostics; returns its address."""
        uri = path.as_uri()
        self.notify(
            "textDocument/didOpen",
            {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": path.read_text()}},
        )
        end = time.monotonic() + 60
        while uri not in self.diagnostics and time.monotonic() < end:
            self.read()
        return uri

    def at(self, method: str, uri: str, line: int, character: int) -> dict[str, object]:
        """The answer of a request about a position (both from 0)."""
        answer = self.request(
            method, {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
        )
        assert isinstance(answer, dict)
        return answer

    def request(self, method: str, parameters: object) -> object:
        self.number += 1
        wanted = self.number
        self.send({"jsonrpc": "2.0", "id": wanted, "method": method, "params": parameters})
        while True:
            message = self.read()
            if message.get("id") == wanted and "method" not in message:
                assert "error" not in message, message
                return message["result"]

    def notify(self, method: str, parameters: object) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": parameters})

    def send(self, message: object) -> None:
        body = json.dumps(message).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def read(self) -> dict[str, object]:
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline().strip():
            name, _, value = line.decode().partition(":")
            if name.lower() == "content-length":
                length = int(value)
        message: dict[str, object] = json.loads(self.process.stdout.read(length))
        parameters = message.get("params")
        if message.get("method") == "textDocument/publishDiagnostics" and isinstance(parameters, dict):
            self.diagnostics[str(parameters["uri"])] = list(parameters["diagnostics"])
        elif message.get("method") == "workspace/configuration" and isinstance(parameters, dict):
            answers = [{"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}] + [
                {}
            ] * 9
            self.send({"jsonrpc": "2.0", "id": message["id"], "result": answers[: len(parameters["items"])]})
        elif "id" in message and "method" in message:
            self.send({"jsonrpc": "2.0", "id": message["id"], "result": None})
        return message
