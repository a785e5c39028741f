"""What all tests share: the helpers in tests/support, and the program as a fixture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from cli import Program  # noqa: E402  (the path above makes it importable)


@pytest.fixture
def gslc(capsys: pytest.CaptureFixture[str]) -> Program:
    """The program: gslc("build", path) answers with status, out and err."""
    return Program(capsys)
