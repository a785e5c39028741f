"""What all tests share: the helpers in tests/support, and the program as a fixture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "support"))

from hub_server import HubServer
from model_hub import publish

from cli import Program

# A busy machine makes single examples slow; what must be fast is measured by tests that say so. The same commit draws
# the same examples, so that a red run means a change; `pytest --hypothesis-profile search` looks for new ones.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("steady")


@pytest.fixture
def gslc(capsys: pytest.CaptureFixture[str]) -> Program:
    """The program, called with its arguments; it answers with status, out and err."""
    return Program(capsys)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with one tiny model of every kind, at which the hubs' own settings point."""
    with HubServer() as server:
        publish(server)
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server
