"""The wheel and the sdist, installed in clean environments, build an example; the layers hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cli import tree

ROOT = Path(__file__).parents[2]
DATA = {
    "gslc/schemas/cluster.schema.json",
    "gslc/schemas/lock.schema.json",
    "gslc/schemas/plan.schema.json",
    "gslc/templates/systemd/server.service.j2",
    "gslc/py.typed",
}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Standard output of a command that must succeed, away from this checkout's settings."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of a copy of the tree that git knows."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    names = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=source)
    return folder


def test_the_wheel_holds_the_package_and_its_data_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert names >= DATA
    assert {name.split("/")[0].split("-")[0] for name in names} == {"gslc"}
    assert not [name for name in names if "/tests/" in name or name.endswith(".pyc")]


def test_the_sdist_holds_what_a_packager_needs(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names >= {"pyproject.toml", "README.md", "LICENSE", "examples/team/cluster.yaml", "tests/conftest.py"}
    assert "schemas/cluster.schema.json" in names


def environment_of(wheel: Path, folder: Path) -> None:
    """A virtual environment with a wheel and what it requires, no more: links to what the tests' own environment has."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", wheel)
    (site,) = folder.glob("lib/python*/site-packages")
    (own,) = distributions(path=[str(site)])
    wanted, seen = list(requirements(own, "")), set()
    while wanted:
        requirement = wanted.pop()
        found = distribution(requirement.name)
        assert requirement.specifier.contains(found.version, prereleases=True), f"{requirement}: {found.version}"
        for each in {(found.name, extra) for extra in ("", *requirement.extras)} - seen:
            seen.add(each)
            wanted += requirements(found, each[1])
        for name in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(Path(str(found.locate_file(name))))


def requirements(of: Distribution, extra: str) -> list[Requirement]:
    """What a distribution requires here, or what one of its extras adds."""
    stated = map(Requirement, of.requires or ())
    return [one for one in stated if one.marker is None or one.marker.evaluate({"extra": extra})]


def from_the_index(wheel: Path, folder: Path) -> None:
    """A virtual environment into which pip installs a wheel and all that it requires."""
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)


@pytest.mark.parametrize("install", [environment_of, pytest.param(from_the_index, marks=pytest.mark.real)])
def test_an_installed_wheel_builds_an_example_to_the_committed_bytes(
    built: Path, tmp_path: Path, install: Callable[[Path, Path], None]
) -> None:
    install(next(built.glob("*.whl")), tmp_path / "venv")
    program = tmp_path / "venv" / "bin"
    example = tmp_path / "team"
    shutil.copytree(ROOT / "examples" / "team", example)
    shutil.rmtree(example / "build")
    run(program / "gslc", "build", example / "cluster.yaml", "--offline", cwd=tmp_path)
    assert tree(example / "build") == tree(ROOT / "examples" / "team" / "build")
    assert run(program / "gslc", "--version").startswith("gslc ")


def test_imports_go_down_only() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    run(lint, "--no-cache", cwd=ROOT)


def test_importing_the_program_is_light() -> None:
    listed = run(sys.executable, "-c", "import sys, gslc.cli.main; print(*sorted(sys.modules))")
    ours = [name for name in listed.split() if name.startswith("gslc")]
    assert ours == [
        "gslc",
        "gslc.cli",
        "gslc.cli.main",
        "gslc.cli.session",
        "gslc.ir",
        "gslc.ir.diagnostic",
        "gslc.ir.record",
    ]
