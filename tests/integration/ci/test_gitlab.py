"""The GitLab template: its script, run in a repository with GitLab's variables."""

import subprocess
from pathlib import Path

import pytest
import yaml
from ci_repository import ROOT, Repository, make_repository

TEMPLATE = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab.yml").read_text())


def job(repository: Repository, base: str) -> subprocess.CompletedProcess[str]:
    environment = {**repository.environment, **TEMPLATE["variables"], "CI_MERGE_REQUEST_DIFF_BASE_SHA": base}
    script = "\n".join(TEMPLATE["gslc"]["script"])
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=repository.path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path)


def test_a_merge_request_keeps_its_diff(repository: Repository) -> None:
    base = repository.run("git", "rev-parse", "HEAD").stdout.strip()
    repository.change("/usr/local/bin/rerank, --port", "/usr/local/bin/rerank, --quiet, --port")
    repository.gslc("build", "cluster.yaml", "--offline")
    repository.commit("two")
    done = job(repository, base)
    assert done.returncode == 0, done.stderr
    diff = (repository.path / "gslc-diff.md").read_text()
    assert "rerank-0" in diff
    assert "embed" not in diff
    assert TEMPLATE["gslc"]["artifacts"]["paths"] == ["gslc-diff.md"]


@pytest.mark.parametrize(("old", "new", "status"), [("4GiB", "5GiB", 3), ("Tesla T4", "Tesla T5", 1)])
def test_the_job_fails_with_the_status_of_the_check(repository: Repository, old: str, new: str, status: int) -> None:
    repository.change(old, new)
    assert job(repository, "").returncode == status
    assert (repository.path / "gslc-diff.md").exists()
