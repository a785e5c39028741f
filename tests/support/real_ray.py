"""Ray itself, and the plan of a model over two hosts that is run with it; vLLM has a stand-in.

Of vLLM's wheels of these releases none runs without a card, so tests/real/vllm_on_ray.py asks Ray for what they ask.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.systemd_reader import command, values
from tests.support.target_trees import REAL, put

ADDRESSES = {"atlas": "10.78.0.1", "borea": "10.78.0.2"}
# the oldest release on the Ray that it pins, and a later one on the newest Ray that it was published beside
RELEASES = (("0.7.3", "2.40.0"), ("0.9.2", "2.48.0"))
KNOWN = {"S": "/var/lib", "C": "/var/cache"}
KEY = "opensesame"
Shard = Mapping[str, Any]

CLUSTER = """
version: 1
name: wide
target: systemd
engines: {{vllm: {{version: "{version}", path: {programs}}}}}
hosts:
  atlas: {{address: 10.78.0.1, memory: 64GiB, gpus: [{{model: NVIDIA L4, count: 2}}]}}
  borea: {{address: 10.78.0.2, memory: 64GiB, gpus: [{{model: NVIDIA L4, count: 2}}]}}
models:
  big:
    source: hf://makers/tiny-chat
    distributed: true
    tensor_parallel: 2
    pipeline_parallel: 2
    api_key: {{secret: door}}
    args: [--override-generation-config, '{{"a": "it''s 100 % of $HOME"}}']
"""

# The environment's own script names the interpreter by its first path.
RAY = "import sys\nfrom ray.scripts.scripts import main\nsys.exit(main())\n"


def installed(version: str) -> Path:
    """The folder of a virtual environment with this Ray, and the programs by which two hosts are made of a machine."""
    subprocess.run([REAL / "install_targets.sh", "packages"], check=True)
    done = subprocess.run([REAL / "install_ray.sh", version], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip().splitlines()[-1])


def programs_in(folder: Path, python: Path | str) -> None:
    """A `ray` and a `vllm` in one folder, as engines.vllm.path names it, run by the `python` of an environment."""
    for name, text in (("ray", RAY), ("vllm", (REAL / "vllm_on_ray.py").read_text())):
        put(folder, name, f"#!{python}\n{text}", 0o755)


def shards_of(built: Path) -> list[Shard]:
    """The shards of the plan's one instance, the leader first."""
    (instance,) = json.loads((built / "plan.json").read_text())["instances"]
    shards: list[Shard] = instance["shards"]
    return shards


def unit_of(built: Path, shard: Shard) -> str:
    """The text of a shard's unit."""
    return (built / "systemd" / shard["host"] / f"gslc-wide-{shard['name']}.service").read_text()


def words_of(unit: str) -> list[str]:
    """The command of a unit."""
    (raw,) = values(unit, "ExecStart")
    return command(raw, KNOWN, {})


def check_answer(shards: Sequence[Shard], leader_words: Sequence[str], answer: Mapping[str, Any]) -> None:
    """The server was given its own words, and its workers the cards of the plan, leader's host first."""
    leader, follower = shards
    _, _, _, vllm, *words = leader_words
    assert answer["argv"] == [vllm, *words]
    assert words[-2:] == ["--override-generation-config", '{"a": "it\'s 100 % of $HOME"}']
    assert answer["nodes"] == [[shard["address"], 2.0] for shard in sorted(shards, key=lambda s: str(s["address"]))]
    ranks = [(worker["host"], worker["ids"], worker["visible"]) for worker in answer["workers"]]
    assert ranks == [(shard["address"], [gpu], str(gpu)) for shard in (leader, follower) for gpu in shard["gpus"]]
    by_host = {worker["host"]: worker for worker in answer["workers"]}
    for shard in shards:
        worker = by_host[shard["address"]]
        assert worker["cache"] == f"/var/cache/gslc-wide-{shard['name']}/cache"
        assert worker["key"] is (shard is leader)
        assert worker["parcel"] == 64 << 20
