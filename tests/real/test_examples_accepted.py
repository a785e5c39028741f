"""Every example, built afresh, is accepted by the supervisors that would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.plans import ROOT
from tests.support.target_trees import REAL, put

pytestmark = pytest.mark.real
CACHE = Path(os.environ.get("GSLC_TEST_CACHE") or Path.home() / ".cache" / "gslc-tests") / "targets"
COMPOSE = {
    "1.29": "/usr/bin/docker-compose",
    "2.26": str(CACHE / "compose-trixie" / "docker-compose"),
    "newest": str(CACHE / "compose-sid" / "docker-compose"),
}
ROOTS = {"252": "/", "257": str(CACHE / "systemd-trixie"), "newest": str(CACHE / "systemd-sid")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folders of all examples, by name."""
    subprocess.run([REAL / "install_targets.sh"], check=True)
    folder = tmp_path_factory.mktemp("built")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "compiler")}
    for cluster in sorted((ROOT / "examples").glob("*/cluster.yaml")):
        command = [
            sys.executable,
            "-m",
            "gslc",
            "build",
            str(cluster),
            "--frozen",
            "-q",
            "-o",
            str(folder / cluster.parent.name),
        ]
        subprocess.run(command, check=True, env=environment)
    return folder


@pytest.mark.parametrize("version", sorted(ROOTS))
def test_units_pass_verify_in_silence_and_are_locked_down(built: Path, tmp_path: Path, version: str) -> None:
    folders = sorted(built.glob("*/systemd/*"))
    assert folders
    tree = tmp_path / "tree"
    for number, folder in enumerate(folders):
        for unit in folder.glob("gslc-*"):
            put(tree, f"/units/{number}/{unit.name}", unit.read_text())
            for program in re.findall(r"^ExecStart=(/\S+)", unit.read_text(), re.MULTILINE):
                if not program.startswith("/usr/bin/python3"):
                    put(tree, program, "#!/bin/true\n", 0o755)
    script = put(
        tmp_path,
        "script",
        "for folder in /units/*; do cd $folder; rm -rf /run/systemd/system/gslc*; cp gslc-* /run/systemd/system/\n"
        "systemd-analyze verify --man=no --recursive-errors=yes gslc-* || echo refused: $folder\n"
        "for unit in *.service; do grep -q '^SystemCallFilter=kcmp' $unit && limit=40 || limit=25\n"
        "systemd-analyze security --offline=true --no-pager --threshold=$limit $unit > /dev/null || echo exposed: $unit\n"
        "done; done; echo folders: $(ls /units | wc -l)\n",
    )
    environment = {**os.environ, "ROOTFS": ROOTS[version]}
    done = subprocess.run(
        [REAL / "boot_systemd.sh", tree, script], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.stdout, done.stderr) == (f"folders: {len(folders)}\n", "")


@pytest.mark.parametrize("version", sorted(COMPOSE))
def test_compose_files_are_accepted_in_silence(built: Path, version: str) -> None:
    folders = sorted(built.glob("*/compose/*"))
    assert folders
    for folder in folders:
        done = subprocess.run(
            [COMPOSE[version], "config", "--quiet"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"]},
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_nomad_jobs_are_read_by_the_real_library(built: Path) -> None:
    jobs = [str(path) for path in sorted(built.glob("*/nomad/*.hcl"))]
    assert jobs
    done = subprocess.run([CACHE / "hcl" / "gslc-hcl", *jobs], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
