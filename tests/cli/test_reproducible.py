"""The same input gives the same bytes: other seeds, locales, clocks, folders, masks, environments, parsers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import tree

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "team"
PURE_PARSER = "import yaml; del yaml.CLoader; import sys; from gslc.cli.main import main; main(sys.argv[1:])"
OTHER_CLOCK = (
    "import time; time.time = lambda: 4102444800.0; import sys; from gslc.cli.main import main; main(sys.argv[1:])"
)

VARIATIONS: dict[str, dict[str, object]] = {
    "hash seed 0": {"env": {"PYTHONHASHSEED": "0"}},
    "hash seed 1": {"env": {"PYTHONHASHSEED": "1"}},
    "Turkish locale": {"env": {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"}},
    "C locale": {"env": {"LC_ALL": "C", "PYTHONUTF8": "0"}},
    "time zone": {"env": {"TZ": "Pacific/Kiritimati"}},
    "no HOME": {"drop": ("HOME",)},
    "hundred variables": {"env": {f"NOISE_{number}": "x" * number for number in range(100)}},
    "hub settings": {"env": {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_nobody"}},
    "umask": {"umask": 0o077},
    "path with blank and ü": {"folder": "a folder ü"},
    "no libyaml": {"code": PURE_PARSER},
    "another clock": {"code": OTHER_CLOCK},
    "relative path": {"relative": True},
    "closed standard input": {"stdin": "closed"},
}  # fmt: skip


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_build_gives_the_committed_bytes(name: str, tmp_path: Path) -> None:
    how = VARIATIONS[name]
    folder = tmp_path / str(how.get("folder", "team"))
    folder.mkdir(parents=True)
    for part in ("cluster.yaml", "gslc.lock"):
        shutil.copyfile(EXAMPLE / part, folder / part)
    environment = {**os.environ, **dict(how.get("env", {}))}  # type: ignore[call-overload]
    for variable in how.get("drop", ()):  # type: ignore[attr-defined]
        environment.pop(variable, None)
    code = ["-c", str(how["code"])] if "code" in how else ["-m", "gslc"]
    file = "cluster.yaml" if how.get("relative") else str(folder / "cluster.yaml")
    before: Callable[[], object] | None = (lambda: os.close(0)) if how.get("stdin") else None
    mask = os.umask(int(how.get("umask", 0o022)))  # type: ignore[call-overload]
    try:
        done = subprocess.run(
            [sys.executable, *code, "build", file, "--offline", "-q"],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, preexec_fn=before,
        )  # fmt: skip
    finally:
        os.umask(mask)
    assert done.returncode == 0, done.stderr
    assert tree(folder / "build") == tree(EXAMPLE / "build")
    assert (folder / "gslc.lock").read_bytes() == (EXAMPLE / "gslc.lock").read_bytes()
    assert {oct(path.stat().st_mode & 0o777) for path in (folder / "build").rglob("*") if path.is_file()} == {"0o644"}


def test_two_builds_at_once_end_in_one_whole_tree(tmp_path: Path) -> None:
    for part in ("cluster.yaml", "gslc.lock"):
        shutil.copyfile(EXAMPLE / part, tmp_path / part)
    command = [sys.executable, "-m", "gslc", "build", str(tmp_path / "cluster.yaml"), "--offline", "-q"]
    running = [subprocess.Popen(command) for _ in range(6)]
    assert [process.wait() for process in running] == [0] * 6
    assert tree(tmp_path / "build") == tree(EXAMPLE / "build")
