"""Goldens are real files: what each case builds for each target, one folder a tree, and a snapshot of the list of its files
(without which a vanished file would pass).

`make golden` (pytest tests/golden --snapshot-update) writes them anew; a reviewer then sees .service, .yaml and
.nomad.hcl diffs. The models are tiny ones that a local hub serves, so the whole way from source to unit is taken.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from hub_server import HubServer
from syrupy.assertion import SnapshotAssertion

from cli import Program, tree

HERE = Path(__file__).parent
CASES = [
    ("engines", "systemd"), ("engines", "compose"), ("engines", "nomad"),
    ("spanning", "systemd"),
    ("ray", "systemd"), ("ray", "compose"), ("ray", "nomad"),
    ("vendors", "systemd"), ("vendors", "compose"),
]  # fmt: skip


def assert_tree(found: Mapping[str, bytes], golden: Path, *, update: bool) -> None:
    """Compare a tree with its golden folder file by file, or write the folder anew with --snapshot-update."""
    if update:
        shutil.rmtree(golden, ignore_errors=True)
        for name, content in found.items():
            (golden / name).parent.mkdir(parents=True, exist_ok=True)
            (golden / name).write_bytes(content)
    kept = tree(golden)
    for name, content in found.items():
        assert content.decode() == kept.get(name, b"").decode(), name


@pytest.mark.parametrize(("case", "target"), CASES, ids=[f"{case}-{target}" for case, target in CASES])
def test_a_case_builds_its_golden_tree(
    case: str, target: str, hub: HubServer, gslc: Program, tmp_path: Path, snapshot: SnapshotAssertion,
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config,
) -> None:  # fmt: skip
    (tmp_path / "cluster.yaml").write_text((HERE / "cases" / f"{case}.yaml").read_text().replace("TARGET", target))
    monkeypatch.chdir(tmp_path)
    built = gslc("build", "cluster.yaml", "-q")
    assert built.status == 0, built.err
    assert hub.requests, "the facts came from the hub"
    files = {**tree(tmp_path / "build"), "gslc.lock": (tmp_path / "gslc.lock").read_bytes()}
    assert_tree(files, HERE / "trees" / f"{case}-{target}", update=pytestconfig.getoption("update_snapshots"))
    assert "".join(f"{name}\n" for name in sorted(files)) == snapshot(name="FILES")


@pytest.mark.parametrize("example", ["homelab", "team", "datacenter", "edge"])
def test_an_example_builds_what_is_committed(example: str, gslc: Program) -> None:
    checked = gslc("build", HERE.parents[1] / "examples" / example / "cluster.yaml", "--check", "--offline")
    assert checked.status == 0, checked.err
