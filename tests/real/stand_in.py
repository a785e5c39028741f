#!/usr/bin/python3
"""A program in an engine's place: answers on the port after --port (or PORT), and tells its argv and environment.

/health answers 503 for the first STAND_IN_LOADING seconds, /process the argv, environment and process id as JSON. With
STAND_IN_FAIL it ends at once with that status, as an engine does that can't load its model.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import sys
import time

started = time.monotonic()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers like an engine."""

    def do_GET(self) -> None:
        loading = time.monotonic() - started < float(os.environ.get("STAND_IN_LOADING", "1"))
        process = {"argv": sys.argv[1:], "env": dict(os.environ), "pid": os.getpid(), "uid": os.getuid()}
        body = json.dumps(process if self.path == "/process" else {"status": "ok"}).encode()
        self.send_response(503 if loading and self.path == "/health" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def value_after(flag: str, default: str) -> str:
    """The argument that follows a flag."""
    return sys.argv[sys.argv.index(flag) + 1] if flag in sys.argv else default


if __name__ == "__main__":
    if "STAND_IN_FAIL" in os.environ:
        sys.exit(int(os.environ["STAND_IN_FAIL"]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    address = value_after("--host", "127.0.0.1")
    port = int(value_after("--port", os.environ.get("PORT", "0")))
    http.server.ThreadingHTTPServer((address, port), Handler).serve_forever()
