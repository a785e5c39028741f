"""The pre-commit hooks: their entries, run in a repository as pre-commit runs them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ci_repository import ROOT, Repository, make_repository

HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}


def hook(repository: Repository, name: str) -> subprocess.CompletedProcess[str]:
    about = HOOKS[name]
    assert about["pass_filenames"] is False
    return repository.run(*shlex.split(about["entry"]), *about["args"], check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path)


@pytest.mark.parametrize("name", ["gslc-check", "gslc-build-check"])
def test_a_current_repository_passes(repository: Repository, name: str) -> None:
    done = hook(repository, name)
    assert done.returncode == 0, done.stderr


def test_only_the_build_check_minds_a_stale_build(repository: Repository) -> None:
    repository.change("4GiB", "5GiB")
    assert hook(repository, "gslc-check").returncode == 0
    assert hook(repository, "gslc-build-check").returncode == 3


def test_both_refuse_a_cluster_that_does_not_compile(repository: Repository) -> None:
    repository.change("Tesla T4", "Tesla T5")
    for name in HOOKS:
        done = hook(repository, name)
        assert done.returncode == 1
        assert "cluster.yaml:11:17" in done.stderr


def test_the_hooks_open_no_socket(repository: Repository) -> None:
    repository.change("models:\n", "models:\n  chat: {source: hf://a/b}\n")
    for name in HOOKS:
        done = hook(repository, name)
        assert done.returncode == 1
        assert "chat" in done.stderr


@pytest.mark.parametrize(
    "file", ["cluster.yaml", "fleet/cluster.yml", "hosts/a.yaml", "models/team/x.yaml", "gslc.lock"]
)
def test_both_run_when_an_input_changes(file: str) -> None:
    for about in HOOKS.values():
        assert re.search(about["files"], file)


def test_the_build_check_runs_when_an_output_changes() -> None:
    assert re.search(HOOKS["gslc-build-check"]["files"], "build/systemd/a/x.service")
    assert not re.search(HOOKS["gslc-check"]["files"], "README.md")


@pytest.mark.real
def test_pre_commit_itself_installs_and_runs_them(tmp_path: Path) -> None:
    cache = Path(os.environ.get("GSLC_TEST_CACHE", Path.home() / ".cache" / "gslc-tests")) / "pre-commit"
    program = cache / "bin" / "pre-commit"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(cache)], check=True)
        subprocess.run([str(cache / "bin" / "python"), "-m", "pip", "install", "-q", "pre-commit==4.3.0"], check=True)
    repository = make_repository(tmp_path)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    tracked = (
        subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        .stdout.decode()
        .split("\0")
    )
    for name in (name for name in tracked if name and (ROOT / name).is_file()):
        (hooks / name).parent.mkdir(parents=True, exist_ok=True)
        (hooks / name).write_bytes((ROOT / name).read_bytes())
    environment = {
        **os.environ,
        **{key: value for key, value in repository.environment.items() if key.startswith("GIT_")},
    }
    for command in (["git", "init", "-q", "."], ["git", "add", "-Af"], ["git", "commit", "-q", "-m", "x"]):
        subprocess.run(command, cwd=hooks, env=environment, check=True)
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=hooks, capture_output=True, text=True, check=True
    ).stdout.strip()
    (repository.path / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: file://{hooks}\n  rev: {revision}\n  hooks:\n  - id: gslc-check\n  - id: gslc-build-check\n"
    )
    repository.commit("hooks")
    environment |= {"PRE_COMMIT_HOME": str(tmp_path / "pre-commit-home")}
    done = subprocess.run(
        [str(program), "run", "--all-files"],
        cwd=repository.path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Passed") == 2
