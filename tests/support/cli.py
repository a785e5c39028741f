"""Runs the program as a user would, in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gslc.cli.main import main


@dataclass(frozen=True, slots=True)
class Run:
    """What a run left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def codes(self) -> list[str]:
        """The codes of a JSON report, in order."""
        return [diagnostic["code"] for diagnostic in self.json["diagnostics"]]


class Program:
    """The program, called with arguments."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *args: str | Path) -> Run:
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(arg) for arg in args])
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return Run(int(end.value.code or 0), said.out, said.err)


def tree(folder: Path) -> Mapping[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
