"""The part of every written file that starts a process is found, for every target, in the files that targets write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gslc.edges.plan_source import PlanSource, open_plan
from gslc.edges.resources import resource_text
from gslc.report.diff import diff_plans
from gslc.report.diff_units import unit_texts
from gslc.report.page import report_page

ROOT = Path(__file__).parents[3]
TREES = sorted([*(ROOT / "tests/golden/trees").iterdir(), *(ROOT / "examples").glob("*/build")])


def read(tree: Path) -> PlanSource:
    source = open_plan(str(tree), ROOT).value
    assert source is not None
    assert source.files
    return source


def test_there_are_trees_of_every_target() -> None:
    targets = {one.target for tree in TREES for one in read(tree).document.instances}
    assert targets >= {"systemd", "compose", "nomad"}


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: f"{tree.parent.name}-{tree.name}")
def test_every_process_of_a_tree_has_its_unit(tree: Path) -> None:
    source = read(tree)
    units = unit_texts(source.files or {}, source.document.cluster)
    for instance in source.document.instances:
        for shard in instance.shards:
            text = units.get((shard.host, shard.name), units.get(("", shard.name), ""))
            assert len(text.splitlines()) > 5, shard.name


def with_one_line_more(files: Mapping[str, str], process: str) -> dict[str, str]:
    """The files with a line added where the process is started, as each target writes it."""
    heads = {f'  "{process}":': "    init: true", f'  group "{process}" {{': "    count = 2"}
    changed = dict(files)
    for path, text in files.items():
        if path.endswith(f"-{process}.service"):
            changed[path] = f"{text}Nice=1\n"
        for head, line in heads.items():
            if f"\n{head}\n" in text:
                changed[path] = text.replace(f"\n{head}\n", f"\n{head}\n{line}\n")
    return changed


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: f"{tree.parent.name}-{tree.name}")
def test_a_changed_line_is_charged_to_its_own_process(tree: Path) -> None:
    source = read(tree)
    for instance in source.document.instances:
        for shard in instance.shards:
            files = with_one_line_more(source.files or {}, shard.name)
            diff = diff_plans(source, PlanSource(name="new", document=source.document, files=files))
            assert [(one.name, one.restart and one.restart.because) for one in diff.restarts] == [
                (instance.name, "its unit changes")
            ], shard.name


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: f"{tree.parent.name}-{tree.name}")
def test_a_tree_does_not_differ_from_itself_and_has_a_page(tree: Path) -> None:
    source = read(tree)
    assert not diff_plans(source, source).different
    assert f"<h1>{source.document.cluster}</h1>" in report_page(source.document, resource_text)
