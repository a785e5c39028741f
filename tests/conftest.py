"""What all tests share: the helpers in tests/support, and the program as a fixture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from cli import Program  # noqa: E402  (the path above makes it importable)
from hub_server import HubServer  # noqa: E402
from model_hub import publish  # noqa: E402


@pytest.fixture
def gslc(capsys: pytest.CaptureFixture[str]) -> Program:
    """The program: gslc("build", path) answers with status, out and err."""
    return Program(capsys)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with one tiny model of every kind, at which the hubs' own settings point."""
    with HubServer() as server:
        publish(server)
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server
