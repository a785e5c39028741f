"""The GitHub Action: its own shell steps, run in a repository, with the files that a runner gives them."""

import json
import os
from pathlib import Path

import pytest
import yaml
from ci_repository import ROOT, ActionRun, Repository, make_repository, run_action

GH = """#!/bin/sh
# Stands in for GitHub's program: lists $GH_OLD, and keeps method, address and body of what is written.
for word in "$@"; do case "$word" in body=@*) cp "${word#body=@}" "$GH_FOLDER/body.md";; esac; done
case "$*" in *--method*) printf '%s\\n' "$*" > "$GH_FOLDER/call";; *) printf '%s' "$GH_OLD";; esac
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path)


def act(repository: Repository, base: str, **inputs: str) -> ActionRun:
    context = {
        "github.event.pull_request.base.sha": base,
        "github.event.pull_request.number": "7",
        "github.event_name": "pull_request",
        "github.repository": "acme/fleet",
        "github.token": "t",
        "github.action_path": str(ROOT),
    }
    return run_action(repository, repository.path.parent / "runner", context, inputs)


def head(repository: Repository) -> str:
    return repository.run("git", "rev-parse", "HEAD").stdout.strip()


def test_a_pull_request_that_changes_one_model_gets_a_comment_about_that_model_only(repository: Repository) -> None:
    base = head(repository)
    repository.run("git", "checkout", "-q", "-b", "more")
    repository.change("/usr/local/bin/embed, --port", "/usr/local/bin/embed, --quiet, --port")
    repository.gslc("build", "cluster.yaml", "--offline")
    repository.commit("two")
    programs = repository.path.parent / "programs"
    (programs / "gh").write_text(GH)
    (programs / "gh").chmod(0o755)
    repository.environment |= {"GH_FOLDER": str(repository.path.parent), "GH_OLD": ""}
    done = act(repository, base, comment="true")
    assert done.statuses == dict.fromkeys(done.statuses, 0)
    body = (repository.path.parent / "body.md").read_text()
    assert body.startswith("<!-- gslc cluster.yaml -->\n")
    assert "embed-0" in body
    assert "atlas GPU" in body
    assert "restarts" in body
    assert "rerank" not in body
    assert "borea" not in body
    assert done.summary in body
    assert (
        (repository.path.parent / "call").read_text().startswith("api --method POST repos/acme/fleet/issues/7/comments")
    )


def test_the_comment_of_the_last_run_is_replaced(repository: Repository) -> None:
    programs = repository.path.parent / "programs"
    (programs / "gh").write_text(GH)
    (programs / "gh").chmod(0o755)
    repository.environment |= {"GH_FOLDER": str(repository.path.parent), "GH_OLD": "4711\n"}
    act(repository, head(repository), comment="true")
    assert (
        (repository.path.parent / "call")
        .read_text()
        .startswith("api --method PATCH repos/acme/fleet/issues/comments/4711")
    )


def test_a_comment_that_may_not_be_written_is_no_failure(repository: Repository) -> None:
    programs = repository.path.parent / "programs"
    (programs / "gh").write_text("#!/bin/sh\nexit 1\n")
    (programs / "gh").chmod(0o755)
    done = act(repository, head(repository), comment="true")
    assert done.statuses["Verdict"] == 0
    assert "::warning title=gslc::" in done.log["Comment on the pull request"]


def test_without_being_asked_nothing_is_commented_nor_uploaded(repository: Repository) -> None:
    done = act(repository, head(repository))
    assert set(done.statuses) == {"Check the build", "Show what changes", "Verdict"}


def test_a_build_that_was_not_committed_fails_after_the_summary_was_written(repository: Repository) -> None:
    base = head(repository)
    repository.change("4GiB", "5GiB")
    repository.commit("two")
    done = act(repository, base)
    assert done.statuses == {"Check the build": 0, "Show what changes": 0, "Verdict": 3}
    assert done.outputs["check"]["status"] == "3"
    assert "::error file=build/plan.json," in done.log["Check the build"]
    assert "`build` is not what the cluster file compiles to" in done.summary


def test_a_cluster_that_does_not_compile_is_annotated_at_its_line(repository: Repository) -> None:
    base = head(repository)
    repository.change("Tesla T4", "Tesla T5")
    repository.commit("two")
    done = act(repository, base)
    assert done.statuses["Verdict"] == 1
    assert "::error file=cluster.yaml,line=11,col=17" in done.log["Check the build"]
    assert "does not compile" in done.summary


def test_at_most_ten_annotations_of_a_type_are_written(repository: Repository) -> None:
    models = "".join(f"  m{n}: {{source: nowhere}}\n" for n in range(30))
    (repository.path / "cluster.yaml").write_text((repository.path / "cluster.yaml").read_text() + models)
    done = act(repository, head(repository))
    assert sum(line.startswith("::error") for line in done.log["Check the build"].splitlines()) == 10


@pytest.mark.parametrize("base", ["", "0" * 40])
def test_a_first_push_has_nothing_to_compare_with(repository: Repository, base: str) -> None:
    done = act(repository, base)
    assert done.statuses["Verdict"] == 0
    assert "no earlier commit" in done.summary


def test_a_base_without_a_build_is_no_failure(repository: Repository) -> None:
    repository.run("git", "checkout", "-q", "--orphan", "empty")
    repository.run("git", "rm", "-rfq", "--cached", ".")
    repository.run("git", "commit", "-q", "--allow-empty", "-m", "empty")
    base = head(repository)
    repository.run("git", "checkout", "-qf", "main")
    done = act(repository, base)
    assert done.statuses["Verdict"] == 0
    assert "The base has no `build/plan.json`" in done.summary


def test_the_base_of_a_shallow_checkout_is_fetched(repository: Repository) -> None:
    base = head(repository)
    repository.change("--port", "--quiet, --port")
    repository.gslc("build", "cluster.yaml", "--offline")
    repository.commit("two")
    repository.run("git", "config", "uploadpack.allowAnySHA1InWant", "true")
    shallow = repository.path.parent / "shallow"
    repository.run("git", "clone", "-q", "--depth=1", f"file://{repository.path}", str(shallow))
    done = act(Repository(path=shallow, environment=repository.environment), base)
    assert done.statuses["Verdict"] == 0
    assert "embed-0" in done.summary


def test_a_cluster_in_a_folder(tmp_path: Path) -> None:
    repository = make_repository(tmp_path, "fleet")
    base = head(repository)
    repository.change("--port", "--quiet, --port", "fleet/cluster.yaml")
    repository.gslc("build", "fleet/cluster.yaml", "--offline")
    repository.commit("two")
    done = act(repository, base, cluster="fleet/cluster.yaml")
    assert done.outputs["check"] == {"status": "0", "output": "fleet/build"}
    assert "embed-0" in done.summary


def test_sarif_is_written_for_the_upload(repository: Repository) -> None:
    repository.change("Tesla T4", "Tesla T5")
    done = act(repository, head(repository), sarif="true")
    log = json.loads(Path(done.outputs["sarif"]["file"]).read_text())
    assert log["version"] == "2.1.0"
    assert log["runs"][0]["results"][0]["ruleId"].startswith("GS1")
    assert "Upload SARIF" in done.statuses


@pytest.mark.parametrize("name", ["a b.yaml", "$(touch hit).yaml", "`touch hit`.yaml", "'; touch hit; '.yaml"])
def test_hostile_names_are_never_run(repository: Repository, name: str) -> None:
    os.rename(repository.path / "cluster.yaml", repository.path / name)
    done = act(repository, head(repository), cluster=name)
    assert done.outputs["check"]["status"] == "0"
    assert not (repository.path / "hit").exists()


def test_the_action_asks_for_nothing_that_is_not_documented() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    page = (ROOT / "docs" / "ci.md").read_text()
    for name in (*action["inputs"], *action["outputs"]):
        assert f"`{name}`" in page, name


@pytest.mark.real
def test_the_action_installs_the_code_of_its_own_revision(repository: Repository) -> None:
    del repository.environment["PYTHONPATH"]
    (repository.path.parent / "programs" / "gslc").unlink()
    done = act(repository, head(repository), really_install="yes")
    assert done.statuses["Verdict"] == 0, done.log
    assert done.log["Install gslc"].startswith("gslc ")
