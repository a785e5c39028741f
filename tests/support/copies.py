"""Folders that many tests begin with: made once a run, copied for each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

_made: dict[object, TemporaryDirectory[str]] = {}  # removed when the run ends


def copy_of(name: object, make: Callable[[Path], object], folder: Path) -> None:
    """The folder holds what `make` puts into an empty one; made once under this name, and equal wherever it lies."""
    if name not in _made:
        first = TemporaryDirectory(prefix="gslc-tests-")
        make(Path(first.name))
        _made[name] = first
    shutil.copytree(_made[name].name, folder, symlinks=True, dirs_exist_ok=True)
