"""`gslc build` from the outside: statuses, files, formats, and that the same input gives the same bytes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli import Program, tree

ROOT = Path(__file__).parents[2]

LAB = """\
version: 1
name: lab
target: systemd
hosts:
  atlas:
    address: 10.0.0.11
    memory: 128GiB
    gpus: [{model: NVIDIA GeForce RTX 4090, count: 2}]
  borea:
    address: 10.0.0.12
    memory: 64GiB
    gpus: [{model: NVIDIA L40S}]
models:
  rerank:
    backend: custom
    command: [tei, --port, "{port}"]
    requirements:
      - {gpus: 1, gpu_memory: 3GiB, memory: 1GiB}
  chat:
    backend: custom
    replicas: 2
    command: [serve, --port, "{port}"]
    requirements:
      - {gpus: 1, gpu_memory: 20GiB, memory: 4GiB}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(LAB)
    return path


def test_a_build_writes_the_contract_s_files_and_a_second_one_changes_nothing(gslc: Program, lab: Path) -> None:
    assert gslc("build", lab).status == 0
    first, lock = tree(lab.parent / "build"), (lab.parent / "gslc.lock").read_bytes()
    assert {"plan.json", "endpoints.json", "MANIFEST.json"} <= first.keys()
    assert any(re.fullmatch(r"systemd/\w+/gslc-lab-chat-0\.service", name) for name in first)
    again = gslc("build", lab)
    assert (again.status, tree(lab.parent / "build"), (lab.parent / "gslc.lock").read_bytes()) == (0, first, lock)
    assert gslc("build", lab, "--check").status == 0


def test_check_names_the_files_that_would_change_and_writes_nothing(gslc: Program, lab: Path) -> None:
    gslc("build", lab)
    lab.write_text(LAB.replace("gpu_memory: 3GiB", "gpu_memory: 4GiB"))
    before = tree(lab.parent)
    checked = gslc("build", lab, "--check")
    assert checked.status == 3
    assert "plan.json" in checked.err
    assert "GS608" in checked.err
    assert tree(lab.parent) == before


def test_check_before_the_first_build_is_out_of_date(gslc: Program, lab: Path) -> None:
    assert gslc("build", lab, "--check").status == 3
    assert [path.name for path in lab.parent.iterdir()] == ["cluster.yaml"]


def test_the_order_of_hosts_and_models_changes_no_byte(gslc: Program, lab: Path, tmp_path: Path) -> None:
    gslc("build", lab)
    head, rest = LAB.split("hosts:\n")
    hosts, models = rest.split("models:\n")
    atlas, borea = hosts.split("  borea:\n")
    rerank, chat = models.split("  chat:\n")
    other = tmp_path / "other"
    other.mkdir()
    turned = f"{head}models:\n  chat:\n{chat}{rerank}hosts:\n  borea:\n{borea}{atlas}"
    (other / "cluster.yaml").write_text(turned)
    gslc("build", other / "cluster.yaml")
    assert tree(other / "build") == tree(lab.parent / "build")
    assert (other / "gslc.lock").read_bytes() == (lab.parent / "gslc.lock").read_bytes()


def test_a_model_that_is_added_moves_nothing_and_one_that_is_removed_takes_its_files_along(
    gslc: Program, lab: Path
) -> None:
    gslc("build", lab)
    before = tree(lab.parent / "build")
    added = """\
  extra:
    backend: custom
    command: [extra, --port, "{port}"]
    requirements: [{gpus: 1, gpu_memory: 10GiB}]
"""
    lab.write_text(LAB + added)
    assert gslc("build", lab).status == 0
    after = tree(lab.parent / "build")
    units = {name for name in before if name.endswith(".service")}
    assert {name: before[name] for name in units} == {name: after[name] for name in units}
    assert any("extra-0" in name for name in after)
    lab.write_text(LAB)
    gslc("build", lab)
    assert tree(lab.parent / "build") == before


def test_every_mistake_of_a_broken_file_comes_with_its_place_and_nothing_is_written(gslc: Program, lab: Path) -> None:
    lab.write_text(LAB.replace("memory: 128GiB", "memory: 128").replace("replicas: 2", "replica: 2"))
    report = gslc("build", lab, "--format", "json")
    assert report.status == 1
    assert report.json["plan"] is None
    assert [d["line"] for d in report.json["diagnostics"]] == [7, 21]
    assert all(d["severity"] == "error" and d["column"] > 1 and d["help"] for d in report.json["diagnostics"])
    assert [path.name for path in lab.parent.iterdir()] == ["cluster.yaml"]


def test_a_replica_without_a_place_is_reported_with_the_plan_and_no_file(gslc: Program, lab: Path) -> None:
    lab.write_text(LAB.replace("replicas: 2", "replicas: 9"))
    report = gslc("build", lab, "--format", "json")
    assert report.status == 1
    assert report.json["plan"]["unplaced"]
    assert "chat" in report.out
    assert [path.name for path in lab.parent.iterdir()] == ["cluster.yaml"]


def test_locked_and_frozen_refuse_a_lock_that_would_change_naming_the_flag(gslc: Program, lab: Path) -> None:
    for flag in ("--locked", "--frozen"):
        refused = gslc("build", lab, flag)
        assert refused.status == 3
        assert flag in refused.err
    gslc("build", lab)
    assert gslc("build", lab, "--frozen").status == 0


def test_an_edited_output_is_refused_until_forced(gslc: Program, lab: Path) -> None:
    gslc("build", lab)
    plan = lab.parent / "build" / "plan.json"
    good = plan.read_bytes()
    plan.write_text("{}")
    refused = gslc("build", lab)
    assert (refused.status, plan.read_text()) == (1, "{}")
    assert "GS601" in refused.err
    assert gslc("build", lab, "--force").status == 0
    assert plan.read_bytes() == good


def test_check_says_of_an_edited_output_what_the_build_says_and_what_helps(gslc: Program, lab: Path) -> None:
    gslc("build", lab)
    unit = lab.parent / "build" / "systemd" / "borea" / "gslc-lab.target"
    unit.write_text(unit.read_text() + "# by hand\n")
    refused, checked = (gslc("build", lab, *flags, "--format", "json") for flags in ([], ["--check"]))
    assert (refused.status, checked.status) == (1, 3)
    assert checked.json["diagnostics"] == refused.json["diagnostics"]
    assert checked.codes == ["GS601"]
    assert "gslc build --force" in checked.json["diagnostics"][0]["help"]


def test_check_points_at_what_stops_the_build_before_the_build(gslc: Program, lab: Path) -> None:
    gslc("build", lab)
    unit = lab.parent / "build" / "systemd" / "borea" / "gslc-lab.target"
    unit.write_text(unit.read_text() + "# by hand\n")
    lab.write_text(LAB.replace("serve, --port", "serve, --verbose, --port"))
    checked = gslc("build", lab, "--check", "--format", "json")
    assert (checked.status, set(checked.codes)) == (3, {"GS601", "GS608"})
    helps = [each["help"] for each in checked.json["diagnostics"] if each["code"] == "GS608" and each["help"]]
    assert helps
    assert all(f"stops at {unit} (GS601)" in text for text in helps)


@pytest.mark.parametrize(
    ("old", "new", "code"), [('"cluster": "lab"', '"cluster": "other"', "GS604"), ('"version": 1,', "", "GS605")]
)
def test_check_says_of_a_manifest_that_can_t_be_trusted_what_the_build_says(
    gslc: Program, lab: Path, old: str, new: str, code: str
) -> None:
    gslc("build", lab)
    manifest = lab.parent / "build" / "MANIFEST.json"
    assert old in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(old, new))
    refused, checked = (gslc("build", lab, *flags, "--format", "json") for flags in ([], ["--check"]))
    assert (refused.status, checked.status) == (1, 3)
    assert checked.codes == refused.codes == [code]
    assert checked.json["diagnostics"] == refused.json["diagnostics"]


@pytest.mark.parametrize("text", ["{", "", "<<<<<<< ours\n", '{"version": 1}'])
def test_a_lock_that_can_t_be_trusted_is_status_3_and_stays(gslc: Program, lab: Path, text: str) -> None:
    lock = lab.parent / "gslc.lock"
    lock.write_text(text)
    refused = gslc("build", lab)
    assert refused.status == 3
    assert "gslc.lock:" in refused.err
    assert lock.read_text() == text
    assert not (lab.parent / "build").exists()


def test_another_cluster_s_lock_is_status_3(gslc: Program, lab: Path) -> None:
    gslc("build", lab)
    lab.write_text(LAB.replace("name: lab", "name: other"))
    assert gslc("build", lab).status == 3


def test_a_missing_cluster_file_is_status_4(gslc: Program, tmp_path: Path) -> None:
    missing = gslc("build", tmp_path / "none.yaml")
    assert missing.status == 4
    assert "none.yaml" in missing.err


def test_github_and_sarif_speak_of_the_same_mistake(gslc: Program, lab: Path) -> None:
    lab.write_text(LAB.replace("replicas: 2", "replica: 2"))
    annotations = gslc("build", lab, "--format", "github")
    assert annotations.status == 1
    assert annotations.out.startswith("::error file=")
    sarif = json.loads(gslc("build", lab, "--format", "sarif").out)
    assert sarif["version"] == "2.1.0"
    assert len(sarif["runs"][0]["results"]) == 1


def test_standard_input_is_read_and_the_output_goes_to_the_working_directory(lab: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-m", "gslc", "build", "-"]
    done = subprocess.run(command, input=LAB, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "build" / "plan.json").exists()
    assert (elsewhere / "gslc.lock").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_standard_stream_that_the_caller_closed_is_no_traceback(lab: Path, closed: str) -> None:
    command = f'exec "$0" -m gslc build "$1" {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable, str(lab)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((lab.parent / "build" / "plan.json").read_text(encoding="utf-8"))["version"] == 1


def test_a_build_imports_nothing_heavy_and_opens_no_socket(lab: Path) -> None:
    shutil.copytree(ROOT / "examples" / "team", lab.parent / "team")
    probe = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = refuse\n"
        "from gslc.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: status = end.code\n"
        "heavy = {'numpy', 'gguf', 'huggingface_hub', 'requests', 'httpx', 'jsonschema', 'importlib.metadata', 'asyncio'}\n"
        "print(status, sorted(heavy & sys.modules.keys()))\n"
    )
    command = [sys.executable, "-c", probe, "build", str(lab.parent / "team" / "cluster.yaml"), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"


def test_stages_are_timed_on_standard_error_with_v(gslc: Program, lab: Path) -> None:
    run = gslc("build", lab, "-v")
    assert "place" in run.err
    assert "s CPU" in run.err
    assert "GPU free" in run.out
    assert gslc("build", lab, "-q").out == ""


def test_wrong_usage_is_status_2(gslc: Program, lab: Path) -> None:
    assert gslc("build").status == 2
    assert gslc("build", lab, "--format", "xml").status == 2
    assert gslc("bild", lab).status == 2
