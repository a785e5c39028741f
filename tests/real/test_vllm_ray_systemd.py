"""Generated units of an instance on Ray under two booted systems, each a host with a network of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_server import HubServer, part_of, size_of
from model_hub import repositories
from tests.support.real_hosts import hosts_on_a_link
from tests.support.real_ray import (
    ADDRESSES,
    CLUSTER,
    KEY,
    RELEASES,
    Shard,
    check_answer,
    installed,
    programs_in,
    shards_of,
    unit_of,
    words_of,
)
from tests.support.real_serving import said
from tests.support.target_trees import REAL, install_built, put

from cli import Program

pytestmark = pytest.mark.real
SECONDS_ALLOWED = 400  # for a boot with all that is done in it; every wait inside is shorter
ENGINE = "/opt/engine"
# With all bytes, unlike what the hub fixture publishes: nothing can be fetched from within, so the files are put there and
# must be what was locked, or the fetch unit asks a hub that is out of reach for minutes and nothing else starts.
MODEL = {name: part_of(content, 0, size_of(content)) for name, content in repositories()["makers/tiny-chat"].items()}

# The two scripts wait for each other by files in a folder that both hosts see.
PRELUDE = """
cd /etc/systemd/system
tell() {{ touch /run/both/$1; }}
await() {{ for _ in $(seq 150); do [ -e /run/both/$1 ] && return; sleep 1; done; echo "missed: $1"; return 1; }}
state() {{ systemctl show --property "$1" --value {unit}; }}
verdict() {{ echo "$(state ActiveState) $(state Result) $(state ExecMainStatus)"; }}
daemons() {{ echo "$(pgrep --count raylet) $(pgrep --count gcs_server)"; }}
echo "verify: $(systemd-analyze verify --man=no --recursive-errors=yes gslc-wide* 2>&1 | tr '\\n' ' ')"
"""
LEADER = """
ask() {{ curl --silent --max-time 10 http://{address}:{port}/; }}
await waiting
systemctl start gslc-wide.target; echo "started: $(state ActiveState)"
echo "first: $(ask)"; echo "daemons: $(daemons)"
tell served; await seen
systemctl restart {unit}; echo "restarted: $(state ActiveState)"
echo "second: $(ask)"
tell again; await left
systemctl stop gslc-wide.target {unit}; echo "stopped: $(verdict)"
echo "left over: $(daemons)"
"""
FOLLOWER = """
systemctl start gslc-wide.target; echo "started: $(state ActiveState)"
sleep 3; echo "waits: $(state ActiveState) $(state NRestarts)"
tell waiting; await served; echo "daemons: $(daemons)"
before=$(state MainPID); echo "user: $(ps -o user= -p $before)"
tell seen; await again
echo "joined: $(state ActiveState)"
[ "$(state MainPID)" = "$before" ] || echo "other: process"
systemctl stop gslc-wide.target {unit}; echo "stopped: $(verdict)"
echo "left over: $(daemons)"
tell left
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a host's script said, and what its systemd wrote into the journal."""

    told: Mapping[str, str]
    log: str


def host_tree(built: Path, shard: Shard, root: Path) -> Path:
    """The files of a host: what was built for it, the model, the secret, and the programs that stand in for vLLM's."""
    install_built(built / "systemd" / shard["host"], "wide", root)
    listing = json.loads((root / "etc/gslc/wide/big.fetch.json").read_text())
    for entry in listing["files"]:
        put(root, entry["path"], "").write_bytes(MODEL[Path(entry["path"]).name])
    put(root, "/etc/gslc/secrets/door.env", f"VLLM_API_KEY={KEY}\n", 0o600)
    programs_in(root / ENGINE.lstrip("/"), "/opt/ray/bin/python3")
    return root


def booted(folder: Path, shards: list[Shard], environment: Path) -> dict[str, Host]:
    """Both hosts, booted at once, each running its script; `folder` is for the work and holds `build`."""
    (folder / "both").mkdir()
    with hosts_on_a_link(ADDRESSES) as hosts:
        running: dict[str, subprocess.Popen[str]] = {}
        for shard, script in zip(shards, (LEADER, FOLLOWER), strict=True):
            host = shard["host"]
            known = {"unit": f"gslc-wide-{shard['name']}.service", "address": shard["address"], "port": shard["port"]}
            (folder / f"{host}.sh").write_text((PRELUDE + script).format(**known), encoding="utf-8")
            running[host] = subprocess.Popen(
                [REAL / "boot_systemd.sh", host_tree(folder / "build", shard, folder / host), folder / f"{host}.sh"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={
                    **os.environ,
                    "NETNS": hosts[host].name,
                    "JOURNAL": str(folder / f"{host}.journal"),
                    "SECONDS_ALLOWED": str(SECONDS_ALLOWED),
                    "BINDS": f"{environment}:/opt/ray {folder / 'both'}:/run/both",
                },
            )
        outputs = {host: process.communicate() for host, process in running.items()}
    found = {}
    for host, (out, err) in outputs.items():
        journal = folder / f"{host}.journal"
        written = journal.read_text(errors="replace")[-6000:] if journal.exists() else "no journal"
        found[host] = Host(told=said(out), log=f"{out}\n{err}\n{written}")
    return found


def test_the_generated_units_serve_restart_and_stop_as_one(gslc: Program, hub: HubServer, tmp_path: Path) -> None:
    vllm, ray = RELEASES[-1]
    environment = installed(ray)
    hub.add("hf", "makers/tiny-chat", MODEL)
    (tmp_path / "cluster.yaml").write_text(CLUSTER.format(programs=ENGINE, version=vllm))
    run = gslc("build", tmp_path / "cluster.yaml")
    assert run.status == 0, run.err
    shards = shards_of(tmp_path / "build")
    hosts = booted(tmp_path, shards, environment)
    leader, follower = (hosts[shard["host"]] for shard in shards)
    log = leader.log + follower.log
    for host in (leader, follower):
        assert "missed" not in host.told, log
        assert host.told.get("verify") == "", log
        assert host.told["started"] == "active", log
        assert host.told["stopped"] == "inactive success 0", log
        assert host.told["left over"] == "0 0", log
    assert (leader.told["daemons"], follower.told["daemons"]) == ("1 1", "1 0"), log
    assert follower.told["waits"] == "active 0", log
    assert follower.told["user"] not in {"", "root"}
    assert leader.told["restarted"] == follower.told["joined"] == "active", log
    assert follower.told["other"] == "process", log
    words = words_of(unit_of(tmp_path / "build", shards[0]))
    for answer in ("first", "second"):
        check_answer(shards, words, json.loads(leader.told[answer]))
