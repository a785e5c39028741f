"""NVLink islands from the outside: cluster file to unit files, and what explain says of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from cli import Program, tree

ROOT = Path(__file__).parents[2]

BRIDGED = """\
version: 1
name: lab
hosts:
  atlas:
    memory: 128GiB
    gpus: [{model: NVIDIA GeForce RTX 3090, count: 4}]
    nvlink: [[0, 2], [1, 3]]
models:
  pair:
    backend: custom
    command: [serve, --port, "{port}", --devices, "{gpus}"]
    exclusive_gpus: true
    requirements:
      - {gpus: 2, gpu_memory: 20GiB, memory: 4GiB}
  rerank:
    backend: custom
    replicas: 2
    command: [tei, --port, "{port}"]
    requirements:
      - {gpus: 1, gpu_memory: 20GiB, memory: 1GiB}
"""

TENSOR_PARALLEL = """\
version: 1
name: team
hosts:
  atlas:
    memory: 256GiB
    gpus: [{model: NVIDIA RTX A6000, count: 4}]
    nvlink: [[0, 3], [1, 2]]
models:
  coder:
    source: hf://Qwen/Qwen2.5-32B-Instruct
    replicas: 2
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def seats(folder: Path) -> dict[str, list[int]]:
    plan = json.loads((folder / "build" / "plan.json").read_text())
    return {entry["name"]: entry["shards"][0]["gpus"] for entry in plan["instances"]}


def test_a_pair_takes_one_bridge_and_single_replicas_the_other(gslc: Program, tmp_path: Path) -> None:
    lab = write(tmp_path, BRIDGED)
    assert gslc("build", lab).status == 0
    assert seats(tmp_path) == {"pair-0": [0, 2], "rerank-0": [1], "rerank-1": [3]}
    plan = json.loads((tmp_path / "build" / "plan.json").read_text())
    assert plan["hosts"][0]["nvlink"] == [[0, 2], [1, 3]]
    (unit,) = [
        data.decode() for name, data in tree(tmp_path / "build").items() if name.endswith("gslc-lab-pair-0.service")
    ]
    assert "0,2" in unit
    said = gslc("explain", lab, "pair").out
    assert f"NVLink: one island of atlas: GPU 0,2  ({lab}:7:5)" in said


def test_a_link_that_comes_later_moves_nothing_and_is_told(gslc: Program, tmp_path: Path) -> None:
    lab = write(tmp_path, BRIDGED.replace("    nvlink: [[0, 2], [1, 3]]\n", ""))
    assert gslc("build", lab).status == 0
    before = seats(tmp_path)
    assert before["pair-0"] == [0, 1]
    write(tmp_path, BRIDGED)
    built = gslc("build", lab)
    assert (built.status, seats(tmp_path)) == (0, before)
    assert "GS407" not in built.err
    assert gslc("build", lab, "--check").status == 0
    said = gslc("explain", lab, "pair").out
    assert "NVLink: crosses 2 islands of atlas: GPU 0 and GPU 1" in said
    assert "[sticky]" in said
    assert "- island GPU 0,2  cards with room: needs 2, has 1; 1 short" in said
    assert gslc("lock", lab, "--replan").status == 0  # a move costs more than a crossing
    assert gslc("build", lab).status == 0
    assert seats(tmp_path) == before


def test_the_order_in_which_links_are_written_changes_no_byte(gslc: Program, tmp_path: Path) -> None:
    first = write(tmp_path, BRIDGED)
    assert gslc("build", first).status == 0
    assert (
        gslc("build", write(tmp_path, BRIDGED.replace("[[0, 2], [1, 3]]", "[[3, 1], [2, 0]]")), "--check").status == 0
    )


def test_tensor_parallel_replicas_of_vllm_lie_on_bridged_cards(gslc: Program, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "team" / "gslc.lock", tmp_path / "gslc.lock")
    lab = write(tmp_path, TENSOR_PARALLEL)
    built = gslc("build", lab, "--offline", "--format", "json")
    assert built.status == 0
    first, second = built.json["plan"]["instances"]
    assert [one["tensor_parallel"] for one in (first, second)] == [2, 2]
    assert [one["shards"][0]["gpus"] for one in (first, second)] == [[0, 3], [1, 2]]
    assert "NVLink: one island of atlas: GPU 0,3" in gslc("explain", lab, "coder").out


def test_a_tensor_parallel_replica_that_has_to_cross_says_so_without_a_warning(gslc: Program, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "team" / "gslc.lock", tmp_path / "gslc.lock")
    lab = write(tmp_path, TENSOR_PARALLEL.replace("replicas: 2", "tensor_parallel: 4"))
    built = gslc("build", lab, "--offline", "--format", "json")
    assert built.status == 0
    assert [entry for entry in built.json["diagnostics"] if "island" in entry["message"]] == []
    said = gslc("explain", lab, "coder").out
    assert "NVLink: crosses 2 islands of atlas: GPU 0,3 and GPU 1,2" in said
    assert "the largest island of atlas has 2" in said


def test_a_wrong_link_is_told_with_its_place(gslc: Program, tmp_path: Path) -> None:
    run = gslc("build", write(tmp_path, BRIDGED.replace("[1, 3]", "[1, 4]")))
    assert run.status == 1
    assert "cluster.yaml:7:26: error[GS155]: group 2 of nvlink of host atlas names GPU 4" in run.err
