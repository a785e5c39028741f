"""`gslc diff` and where it reads plans from: folders, files, git revisions."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from copies import copy_of
from sample_plans import instance, plan

from gslc.cli import build as build_command
from gslc.cli import diff as diff_command
from gslc.cli.session import Exit
from gslc.documents.manifest import Manifest, digest, manifest_text
from gslc.documents.plan import plan_document, plan_text
from gslc.edges.plan_source import open_plan
from gslc.ir.plan import Plan

OLD = plan(instance("chat"), instance("coder", gpus=(1,), port=20001))
NEW = plan(instance("chat", context=16384, gib=20), instance("coder", gpus=(1,), port=20001))
UNIT = "systemd/atlas/gslc-lab-chat-0.service"


def write_folder(folder: Path, of: Plan, unit: str = "[Service]\n") -> Path:
    texts = {"plan.json": plan_text(of), UNIT: unit}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    files = {name: digest(text) for name, text in texts.items()}
    (folder / "MANIFEST.json").write_text(manifest_text(Manifest(cluster=of.cluster, files=files)))
    return folder


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, env=environment)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits of build/, the newer one also in the working tree."""

    def make(folder: Path) -> None:
        git(folder, "init", "-q", "-b", "main")
        write_folder(folder / "build", OLD)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", "one")
        write_folder(folder / "build", NEW, "[Service]\nRestart=always\n")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", "two")

    copy_of("two commits of build/", make, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of `gslc diff`."""
    result = CliRunner().invoke(diff_command.command, list(words))
    if isinstance(result.exception, Exit):
        return result.exception.status, result.stdout, result.stderr
    if result.exception is not None and not isinstance(result.exception, SystemExit | click.ClickException):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_two_revisions_a_folder_and_a_file_all_compare(repository: Path) -> None:
    assert repository
    for old in ("HEAD~1:build", "HEAD~1:build/", "HEAD~1:build/plan.json", "HEAD~1:./build", "main~1:build"):
        for new in ("build", "build/plan.json", "HEAD:build"):
            status, out, _ = run(old, new, "--exit-code")
            assert status == 3, (old, new)
            assert "~ chat changed" in out
            assert "coder" not in out


def test_without_exit_code_a_difference_is_no_failure(repository: Path) -> None:
    assert repository
    assert run("HEAD~1:build", "build")[0] == 0
    assert run("HEAD:build", "build", "--exit-code")[0] == 0


def test_files_are_compared_where_both_sides_are_folders(repository: Path) -> None:
    assert repository
    both = json.loads(run("HEAD~1:build", "build", "--format", "json")[1])["diff"]
    assert both["files"] == [{"path": "plan.json", "change": "changed"}, {"path": UNIT, "change": "changed"}]
    lone = json.loads(run("HEAD~1:build/plan.json", "build", "--format", "json")[1])["diff"]
    assert lone["files"] is None


def test_json_stands_in_the_envelope(repository: Path) -> None:
    assert repository
    envelope = json.loads(run("HEAD~1:build", "build", "--format", "json")[1])
    assert envelope["version"] == 1
    assert envelope["diagnostics"] == []
    assert [model["model"] for model in envelope["diff"]["models"]] == ["chat"]
    assert [one["instance"] for one in envelope["diff"]["restarts"]] == ["chat-0"]


def test_markdown_goes_to_stdout(repository: Path) -> None:
    assert repository
    status, out, err = run("HEAD~1:build", "build", "--format", "markdown")
    assert status == 0
    assert out.startswith("### gslc: 1 model changed; 1 instance restarts")
    assert err == ""


def test_a_revision_may_hold_colons_and_the_staged_plan_is_read(repository: Path) -> None:
    assert repository
    assert run("HEAD^{/one}:build", "build", "--exit-code")[0] == 3
    assert run("main@{2099-01-31 12:00:00}:build", "build", "--exit-code")[0] == 0
    assert run("HEAD~1:build/plan.json", ":build/plan.json", "--exit-code")[0] == 3


def test_a_subfolder_counts_from_the_top_as_git_does(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "build")
    assert run("HEAD~1:build", ".", "--exit-code")[0] == 3
    assert run("HEAD~1:./", ".", "--exit-code")[0] == 3


def test_a_path_that_misses_in_a_subfolder_is_helped_with_its_spelling(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "build")
    status, _, err = run("HEAD:plan.json", ".")
    assert status == 4
    assert "from this folder write HEAD:./plan.json" in err


@pytest.mark.parametrize(
    ("argument", "code", "words"),
    [
        ("nowhere", "GS853", "there is no nowhere"),
        ("", "GS853", "empty"),
        ("HEAD~9:build", "GS854", 'no revision "HEAD~9"'),
        ("HEAD:nothing", "GS854", 'has no "nothing"'),
        ("HEAD:", "GS853", "holds no plan.json"),
        ("--upload-pack=touch x:build", "GS854", "no revision"),
        ("--help:build", "GS854", "no revision"),
        (":build", "GS854", "of the index only single files"),
        ("HEAD~9@{2026-01-31 12:00}:build", "GS854", "no revision"),
        ("HEAD:../outside", "GS854", "has no"),
        ("HEAD:build/MANIFEST.json", "GS851", "not a gslc plan"),
        (f"HEAD:build/{UNIT}", "GS850", "not JSON"),
        ("build/systemd", "GS853", "holds no plan.json"),
    ],
)
def test_what_cannot_be_read_is_a_diagnostic_and_status_4(
    repository: Path, argument: str, code: str, words: str
) -> None:
    assert repository
    status, out, _ = run("--format", "json", "--", argument, "build")
    assert status == 4
    envelope = json.loads(out)
    (found,) = envelope["diagnostics"]
    assert found["code"] == code
    assert words in found["message"]
    assert found["help"]
    assert envelope["diff"] is None


def test_outside_a_repository_git_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (found,) = open_plan("HEAD:build", tmp_path).diagnostics
    assert found.code == "GS855"
    assert "git" in found.message


def test_without_git_the_message_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository / "nothing"))
    (found,) = open_plan("HEAD:build", repository).diagnostics
    assert found.code == "GS855"
    assert "not installed" in found.message


def test_a_path_that_exists_wins_over_a_revision(repository: Path) -> None:
    odd = repository / "HEAD~1:build"
    write_folder(odd, NEW)
    source = open_plan("HEAD~1:build", repository).value
    assert source is not None
    assert source.document.instances == plan_document(NEW).instances


def test_links_in_a_folder_are_not_followed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("outside") / "secret"
    secret.write_text("secret")
    (repository / "build" / UNIT).unlink()
    (repository / "build" / UNIT).symlink_to(secret)
    source = open_plan("build", repository).value
    assert source is not None
    assert source.files is not None
    assert UNIT not in source.files


def test_a_damaged_manifest_hides_the_files_but_not_the_plan(repository: Path) -> None:
    (repository / "build" / "MANIFEST.json").write_text('{"version": 1, "cluster": "lab", "files": {"../x": ""}}')
    source = open_plan("build", repository).value
    assert source is not None
    assert source.files is None


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes("{}".encode("utf-16"))
    (found,) = open_plan("plan.json", tmp_path).diagnostics
    assert found.code == "GS856"


def test_another_cluster_is_a_warning(repository: Path) -> None:
    write_folder(repository / "other", plan(instance("chat"), cluster="office"))
    envelope = json.loads(run("build", "other", "--format", "json")[1])
    assert [(one["code"], one["severity"]) for one in envelope["diagnostics"]] == [("GS857", "warning")]
    assert envelope["diff"]["cluster"] == {"before": "lab", "after": "office"}


CLUSTER = """\
version: 1
name: lab
target: systemd
hosts:
  atlas:
    memory: 64GiB
    gpus: [{model: custom, vendor: nvidia, memory: 24GiB, compute_capability: "8.9", count: 2}]
defaults: {backend: custom}
models:
  chat: {command: [serve, --context, "8192"], requirements: [{gpus: 1, gpu_memory: 10GiB, memory: 1GiB}]}
  coder: {command: [serve], requirements: [{gpus: 1, gpu_memory: 12GiB, memory: 1GiB}]}
"""


def test_a_branch_that_changes_one_model_names_that_model_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q", "-b", "main")
    for text in (CLUSTER, CLUSTER.replace("8192", "4096").replace("10GiB", "11GiB")):
        Path("cluster.yaml").write_text(text)
        result = CliRunner().invoke(build_command.command, ["cluster.yaml", "--offline"])
        assert isinstance(result.exception, Exit)
        assert result.exception.status == 0, result.stderr
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", "a step")
    status, out, _ = run("HEAD~1:build", "HEAD:build", "--format", "markdown", "--exit-code")
    assert status == 3
    assert "**chat** changed" in out
    assert "+1.0 GiB" in out
    assert "<code>8192</code>" in out
    assert "**Restarts:** <code>chat-0</code>" in out
    assert "coder" not in out
