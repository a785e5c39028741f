"""The same input gives the same bytes: other seeds, locales, clocks, folders, masks, environments, parsers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import Program, tree

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "team"
PURE_PARSER = "import yaml; del yaml.CLoader; import sys; from gslc.cli.main import main; main(sys.argv[1:])"
# Twelve processes that begin to build at the same moment: they are forked from one that has built before, elsewhere.
AT_ONCE = """
import os, sys
from gslc.cli.main import main
def build(file):
    try:
        main(["build", file, "--offline", "-q"])
    except SystemExit as end:
        return int(end.code or 0)
assert build(sys.argv[1]) == 0
gate, opened = os.pipe()
processes = []
for _ in range(12):
    process = os.fork()
    if not process:
        os.read(gate, 1)
        os._exit(build(sys.argv[2]))
    processes.append(process)
os.write(opened, bytes(12))
print([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes])
"""

VARIATIONS: dict[str, dict[str, object]] = {
    "hash seed 0": {"env": {"PYTHONHASHSEED": "0"}},
    "hash seed 1": {"env": {"PYTHONHASHSEED": "1"}},
    "Turkish locale": {"env": {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"}},
    "C locale": {"env": {"LC_ALL": "C", "PYTHONUTF8": "0"}},
    "time zone": {"env": {"TZ": "Pacific/Kiritimati"}},
    "no HOME": {"drop": ("HOME",)},
    "hundred variables": {"env": {f"NOISE_{number}": "x" * number for number in range(100)}},
    "hub settings": {"env": {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_nobody"}},
    "no libyaml": {"code": PURE_PARSER},
    "closed standard input": {"stdin": "closed"},
}  # fmt: skip


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_build_gives_the_committed_bytes(name: str, tmp_path: Path) -> None:
    how = VARIATIONS[name]
    folder = example_in(tmp_path / "team")
    environment = {**os.environ, **dict(how.get("env", {}))}  # type: ignore[call-overload]
    for variable in how.get("drop", ()):  # type: ignore[attr-defined]
        environment.pop(variable, None)
    code = ["-c", str(how["code"])] if "code" in how else ["-m", "gslc"]
    before: Callable[[], object] | None = (lambda: os.close(0)) if how.get("stdin") else None
    done = subprocess.run(
        [sys.executable, *code, "build", str(folder / "cluster.yaml"), "--offline", "-q"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, preexec_fn=before,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_committed_bytes(folder)


def example_in(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for part in ("cluster.yaml", "gslc.lock"):
        shutil.copyfile(EXAMPLE / part, folder / part)
    return folder


def assert_committed_bytes(folder: Path) -> None:
    assert tree(folder / "build") == tree(EXAMPLE / "build")
    assert (folder / "gslc.lock").read_bytes() == (EXAMPLE / "gslc.lock").read_bytes()
    assert {oct(path.stat().st_mode & 0o777) for path in (folder / "build").rglob("*") if path.is_file()} == {"0o644"}


# What a running program meets; the variations above are those that its start depends on.


@pytest.mark.parametrize("mask", [0o077, 0o000])
def test_a_mask_changes_nothing(gslc: Program, tmp_path: Path, mask: int) -> None:
    folder = example_in(tmp_path / "team")
    before = os.umask(mask)
    try:
        assert gslc("build", folder / "cluster.yaml", "--offline", "-q").status == 0
    finally:
        os.umask(before)
    assert_committed_bytes(folder)


@pytest.mark.parametrize("name", ["a folder ü", "team"])
def test_the_folder_and_the_way_to_it_change_nothing(
    gslc: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = example_in(tmp_path / name)
    if name == "team":
        monkeypatch.chdir(folder)
    file = "cluster.yaml" if name == "team" else folder / "cluster.yaml"
    assert gslc("build", file, "--offline", "-q").status == 0
    assert_committed_bytes(folder)


def test_another_clock_changes_nothing(gslc: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = example_in(tmp_path / "team")
    monkeypatch.setattr(time, "time", lambda: 4102444800.0)
    assert gslc("build", folder / "cluster.yaml", "--offline", "-q").status == 0
    assert_committed_bytes(folder)


def test_two_builds_at_once_end_in_one_whole_tree(tmp_path: Path) -> None:
    first, folder = (str(example_in(tmp_path / name) / "cluster.yaml") for name in ("first", "team"))
    done = subprocess.run([sys.executable, "-c", AT_ONCE, first, folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{[0] * 12}\n"), done.stderr
    assert_committed_bytes(tmp_path / "team")
