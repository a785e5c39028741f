"""Two branches that each add a model and commit what they built: either side of the lock and one build put all right."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from copies import copy_of

from cli import Program, tree

BASE = """\
version: 1
name: lab
hosts:
  h1: {address: 10.0.0.1, memory: 128GiB, gpus: [{model: NVIDIA L40S, count: 2}]}
models:
  a: {backend: custom, command: [/a, "{port}"], requirements: [{memory: 1GiB}]}

  z: {backend: custom, command: [/z, "{port}"], requirements: [{memory: 1GiB}]}
"""
UNIT = "build/systemd/h1/gslc-lab-{}-0.service"
ADD = ["gslc.lock", "build", "cluster.yaml"]
RECIPES = {
    "ours": ["checkout --ours gslc.lock"],
    "theirs": ["checkout --theirs gslc.lock"],
    "ours, also of the manifest": ["checkout --ours gslc.lock build/MANIFEST.json"],
    "theirs, also of the manifest": ["checkout --theirs gslc.lock build/MANIFEST.json"],
    "ours of everything that conflicts, added": ["checkout --ours .", "add ."],
}
FAR = """
  m: {backend: custom, command: [/m, "{port}"], requirements: [{memory: 1GiB}]}
"""


class Repository:
    """A repository with a cluster file, its lock and its output folder."""

    def __init__(self, root: Path, gslc: Program) -> None:
        self.root = root
        self.gslc = gslc
        self.cluster = root / "cluster.yaml"

    def git(self, *args: str, status: int = 0) -> str:
        """Run git without the settings of whoever runs the tests."""
        settings = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.autocrlf=false"]
        environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_EDITOR": "true"}
        command = ["git", *settings, *args]
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def commit(self, text: str) -> None:
        """Write the cluster file, build, commit everything."""
        self.cluster.write_text(text)
        self.build()
        self.git("add", "-A")
        self.git("commit", "-qm", "built")

    def build(self) -> None:
        """A build that succeeds."""
        run = self.gslc("build", self.cluster, "-q")
        assert run.status == 0, run.err

    def refused(self) -> list[tuple[str, str]]:
        """The codes and files that a build refuses; it changes nothing."""
        before = tree(self.root)
        run = self.gslc("build", self.cluster, "--format", "json")
        assert run.status == 1
        assert tree(self.root) == before
        return [
            (each["code"], Path(each["file"]).relative_to(self.root).as_posix()) for each in run.json["diagnostics"]
        ]


def with_model(text: str, name: str, after: str) -> str:
    """The cluster file with one more model behind another."""
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"  {after}: "))
    lines.insert(at + 1, lines[at].replace(f"  {after}:", f"  {name}:").replace(f"/{after}", f"/{name}"))
    return "\n".join(lines) + "\n"


def branched(tmp_path: Path, gslc: Program, base: str) -> Repository:
    """Branch y is checked out; branch x waits to be merged."""

    def make(root: Path) -> None:
        made = Repository(root, gslc)
        made.git("init", "-q", "-b", "main", ".")
        made.commit(base)
        made.git("checkout", "-qb", "x")
        made.commit(with_model(base, "b", "a"))
        made.git("checkout", "-q", "main")
        made.git("checkout", "-qb", "y")
        made.commit(with_model(base, "zz", "z"))

    copy_of(("two branches", base), make, tmp_path / "fleet")
    return Repository(tmp_path / "fleet", gslc)


@pytest.fixture
def repository(tmp_path: Path, gslc: Program) -> Repository:
    """Two branches whose changes of the lock touch each other."""
    return branched(tmp_path, gslc, BASE)


def merge(repository: Repository, *recipe: str, style: str = "merge") -> None:
    """Merge x into y, which stops, and take the steps of a recipe."""
    repository.git("-c", f"merge.conflictStyle={style}", "merge", "x", status=1)
    assert repository.cluster.read_text() == with_model(with_model(BASE, "b", "a"), "zz", "z")
    status = repository.git("status", "--short")
    assert {"UU gslc.lock", "UU build/MANIFEST.json"} <= set(status.splitlines()), status
    for step in recipe:
        repository.git(*step.split())


def assert_merged(repository: Repository) -> None:
    """Both models are built, the check agrees, and the folder is what a build from nothing but the lock writes."""
    checked = repository.gslc("build", repository.cluster, "--check")
    assert checked.status == 0, checked.err
    repository.git("add", *ADD)
    repository.git("commit", "-qm", "merged")
    assert repository.git("status", "--short") == ""
    fresh = repository.root.parent / "fresh"
    run = repository.gslc("build", repository.cluster, "--locked", "-o", fresh, "-q")
    assert run.status == 0, run.err
    assert tree(fresh) == tree(repository.root / "build")
    assert {UNIT.format(name).removeprefix("build/") for name in ("a", "b", "z", "zz")} <= tree(fresh).keys()


@pytest.mark.parametrize(
    ("recipe", "style"), [*((recipe, "merge") for recipe in RECIPES), ("ours", "diff3"), ("theirs", "zdiff3")]
)
def test_either_side_of_the_lock_and_a_build_finish_a_merge(repository: Repository, recipe: str, style: str) -> None:
    merge(repository, *RECIPES[recipe], style=style)
    checked = repository.gslc("build", repository.cluster, "--check", "--format", "json")
    assert (checked.status, set(checked.codes)) == (3, {"GS608"})
    repository.build()
    assert_merged(repository)


def test_a_lock_that_git_merged_by_itself_needs_the_build_alone(tmp_path: Path, gslc: Program) -> None:
    repository = branched(tmp_path, gslc, BASE.replace("\n\n", f"\n{FAR}\n"))
    repository.git("merge", "x", status=1)
    status = repository.git("status", "--short").splitlines()
    assert {"M  gslc.lock", "UU build/MANIFEST.json"} <= set(status)
    repository.build()
    assert_merged(repository)


def test_the_lock_with_its_markers_is_refused_and_says_what_to_do(repository: Repository) -> None:
    merge(repository)
    run = repository.gslc("build", repository.cluster, "--format", "json")
    assert (run.status, run.codes) == (3, ["GS201"])
    found = run.json["diagnostics"][0]
    lines = (repository.root / "gslc.lock").read_text().splitlines()
    assert lines[found["line"] - 1].startswith("<<<<<<< ")
    assert "either side" in found["help"]
    assert "gslc build" in found["help"]


@pytest.mark.parametrize("command", [["rebase", "x"], ["cherry-pick", "x"]])
def test_a_rebase_and_a_cherry_pick_are_finished_likewise(repository: Repository, command: list[str]) -> None:
    repository.git(*command, status=1)
    repository.git("checkout", "--ours", "gslc.lock")
    repository.build()
    assert repository.gslc("build", repository.cluster, "--check").status == 0
    repository.git("add", *ADD)
    repository.git(command[0], "--continue")
    assert repository.git("status", "--short") == ""
    assert repository.gslc("build", repository.cluster, "--check", "--locked").status == 0


def test_a_linked_working_tree_is_a_repository_too(repository: Repository) -> None:
    linked = repository.root.parent / "linked"
    repository.git("worktree", "add", "-q", "-b", "w", str(linked), "y")
    repository.root, repository.cluster = linked, linked / "cluster.yaml"
    merge(repository, "checkout --ours gslc.lock")
    repository.build()
    assert_merged(repository)


def test_a_file_that_only_the_other_side_placed_and_no_longer_wants_goes(repository: Repository) -> None:
    merge(repository, "checkout --ours gslc.lock build/MANIFEST.json")
    repository.cluster.write_text(with_model(BASE, "zz", "z"))
    assert (repository.root / UNIT.format("b")).exists()
    repository.build()
    assert not (repository.root / UNIT.format("b")).exists()
    assert repository.gslc("build", repository.cluster, "--check").status == 0


# ------------------------------------------------------------------ edits are still refused


def appended(path: Path) -> None:
    path.write_text(path.read_text() + "# by hand\n")


def marked(path: Path) -> None:
    path.write_text("<<<<<<< HEAD\nby hand\n=======\n" + path.read_text() + ">>>>>>> x\n")


@pytest.mark.parametrize("edit", [appended, marked])
@pytest.mark.parametrize(
    ("file", "recipe"),
    [
        ("build/plan.json", "ours"),
        (UNIT.format("a"), "theirs"),
        (UNIT.format("b"), "ours, also of the manifest"),
        (UNIT.format("zz"), "theirs, also of the manifest"),
    ],
)
def test_a_hand_edit_in_a_merge_is_refused_until_forced(
    repository: Repository, file: str, recipe: str, edit: Callable[[Path], None]
) -> None:
    merge(repository, *RECIPES[recipe])
    edit(repository.root / file)
    assert repository.refused() == [("GS601", file)]
    assert repository.gslc("build", repository.cluster, "--force", "-q").status == 0
    assert_merged(repository)


def test_a_hand_edit_that_is_added_to_the_merge_is_refused(repository: Repository) -> None:
    merge(repository, "checkout --ours gslc.lock")
    appended(repository.root / "build/plan.json")
    repository.git("add", "build/plan.json")
    assert repository.refused() == [("GS601", "build/plan.json")]


def test_a_hand_edit_that_a_branch_committed_is_refused_after_git_merged_it(repository: Repository) -> None:
    repository.git("checkout", "-q", "x")
    targets = repository.root / "build/prometheus/targets.json"
    targets.write_text(targets.read_text().replace("{", "{ ", 1))
    repository.git("commit", "-qam", "by hand")
    repository.git("checkout", "-q", "y")
    merge(repository, "checkout --ours gslc.lock")
    assert ("GS601", "build/prometheus/targets.json") in repository.refused()


def test_a_foreign_file_in_a_merge_is_refused_where_it_is_in_the_way_and_kept_where_it_is_not(
    repository: Repository,
) -> None:
    merge(repository, "checkout --ours gslc.lock")
    (repository.root / "build/notes.md").write_text("mine\n")
    repository.cluster.write_text(with_model(repository.cluster.read_text(), "n", "a"))
    (repository.root / UNIT.format("n")).write_text("mine\n")
    assert repository.refused() == [("GS602", UNIT.format("n"))]
    (repository.root / UNIT.format("n")).unlink()
    repository.build()
    assert (repository.root / "build/notes.md").read_text() == "mine\n"


def test_after_the_merge_was_committed_what_git_made_of_two_files_is_an_edit_again(repository: Repository) -> None:
    merge(repository, "checkout --ours gslc.lock build/MANIFEST.json")
    repository.git("add", *ADD)
    repository.git("commit", "-qm", "merged too early")
    assert ("GS601", "build/plan.json") in repository.refused()
    assert repository.gslc("build", repository.cluster, "--force", "-q").status == 0
    assert repository.gslc("build", repository.cluster, "--check").status == 0
