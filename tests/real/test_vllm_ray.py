"""Ray itself, brought up over two network namespaces by the commands of the generated units; vLLM has a stand-in.

Of vLLM's wheels of these releases none runs without a card, so tests/real/vllm_on_ray.py asks Ray for what they ask.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hub_server import HubServer
from tests.support.real_hosts import Namespace, hosts_on_a_link
from tests.support.systemd_reader import command, environment, values
from tests.support.target_trees import REAL, put

from cli import Program

pytestmark = pytest.mark.real
ADDRESSES = {"atlas": "10.78.0.1", "borea": "10.78.0.2"}
READY_SECONDS = 180
GONE_SECONDS = 120  # a follower ends 60 s after it lost its head
KNOWN = {"S": "/var/lib", "C": "/var/cache"}

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
    """The folder of a virtual environment with this Ray."""
    done = subprocess.run([REAL / "install_ray.sh", version], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip().splitlines()[-1])


def programs_in(folder: Path, python: Path | str) -> None:
    """A `ray` and a `vllm` in one folder, as engines.vllm.path names it, run by the `python` of an environment."""
    for name, text in (("ray", RAY), ("vllm", (REAL / "vllm_on_ray.py").read_text())):
        put(folder, name, f"#!{python}\n{text}", 0o755)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What was built, and the two hosts that it is run on."""

    folder: Path
    hosts: Mapping[str, Namespace]

    @property
    def shards(self) -> list[dict[str, Any]]:
        """The shards of the plan's one instance, the leader first."""
        (instance,) = json.loads((self.folder / "build" / "plan.json").read_text())["instances"]
        shards: list[dict[str, Any]] = instance["shards"]
        return shards

    def unit(self, shard: Mapping[str, Any]) -> str:
        """The text of a shard's unit."""
        return (self.folder / "build" / "systemd" / shard["host"] / f"gslc-wide-{shard['name']}.service").read_text()

    def words(self, shard: Mapping[str, Any]) -> list[str]:
        """The command of a shard's unit."""
        (raw,) = values(self.unit(shard), "ExecStart")
        return command(raw, KNOWN, {})

    def variables(self, shard: Mapping[str, Any]) -> dict[str, str]:
        """The variables of a shard's unit, and those of its secrets, which files on the host would bring."""
        secret = {"VLLM_API_KEY": "opensesame"} if values(self.unit(shard), "EnvironmentFile") else {}
        # a home that is there: the state folder is made by systemd
        return {**environment(self.unit(shard), KNOWN), **secret, "HOME": "/tmp", "PATH": "/usr/bin:/bin"}

    def log(self, shard: Mapping[str, Any]) -> Path:
        """Where a shard's process writes."""
        return self.folder / f"{shard['name']}.log"

    def start(self, stack: ExitStack, shard: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """A shard's process, the first of a namespace of processes, which end with it as in a container or a unit.

        Ray's folder is each host's own; the loopback of the machine is not there, as with hosts.
        """
        inside = 'mkdir -p /tmp/ray && mount -t tmpfs tmpfs /tmp/ray && exec "$@"'
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", inside, "-"]
        output = stack.enter_context(self.log(shard).open("ab"))
        process = subprocess.Popen(
            self.hosts[shard["host"]].command([*alone, *self.words(shard)]),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=self.variables(shard),
        )

        def end() -> None:
            process.kill()
            process.wait(20)

        stack.callback(end)
        return process

    def ask(self, shard: Mapping[str, Any], path: str) -> tuple[str, str]:
        """Status and body of an answer, asked from the other host."""
        url = f"http://{shard['address']}:{shard['port']}{path}"
        words = ["curl", "--silent", "--max-time", "5", "--write-out", "\n%{http_code}", url]
        other = next(space for host, space in self.hosts.items() if host != shard["host"])
        done = subprocess.run(other.command(words), capture_output=True, text=True, check=False)
        body, _, status = done.stdout.rpartition("\n")
        return status, body


@contextmanager
def fleet_of(gslc: Program, vllm: str, ray: str) -> Iterator[Fleet]:
    """The plan of a model over all four cards of two hosts, and the hosts with a `ray` and a `vllm` in one folder."""
    environment_folder = installed(ray)
    with tempfile.TemporaryDirectory(prefix="gslc-ray-") as name, hosts_on_a_link(ADDRESSES) as hosts:
        folder = Path(name)
        programs_in(folder / "bin", environment_folder / "bin" / "python3")
        (folder / "cluster.yaml").write_text(CLUSTER.format(programs=folder / "bin", version=vllm))
        run = gslc("build", folder / "cluster.yaml")
        assert run.status == 0, run.err
        yield Fleet(folder=folder, hosts=hosts)


def until(what: Callable[[], bool], seconds: int, fleet: Fleet) -> None:
    """Waits for something; where it does not come, the logs are the message."""
    began = time.monotonic()
    while not what():
        logs = "\n".join(fleet.log(shard).read_text(errors="replace")[-3000:] for shard in fleet.shards)
        assert time.monotonic() - began < seconds, logs
        time.sleep(0.5)
    print(f"after {time.monotonic() - began:.1f} s")


def stop(process: subprocess.Popen[bytes]) -> int:
    """What a process ends with that is asked to stop: the first of its namespace gets the signal, as from a supervisor."""
    (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGTERM)
    return process.wait(50)  # units are given 60 s


# the oldest release on the Ray that it pins, and a later one on the newest Ray that it was published beside
@pytest.mark.parametrize(("vllm", "ray"), [("0.7.3", "2.40.0"), ("0.9.2", "2.48.0")])
def test_two_hosts_serve_as_one_restart_as_one_and_stop(vllm: str, ray: str, gslc: Program, hub: HubServer) -> None:
    with fleet_of(gslc, vllm, ray) as fleet, ExitStack() as stack:
        leader, follower = fleet.shards
        second = fleet.start(stack, follower)
        time.sleep(3)
        assert second.poll() is None, "the follower did not wait for its leader"
        first = fleet.start(stack, leader)
        until(lambda: first.poll() is not None or fleet.ask(leader, "/health")[0] == "200", READY_SECONDS, fleet)
        check_answer(fleet, json.loads(fleet.ask(leader, "/")[1]))

        # the leader restarts at once: the follower leaves the Ray that is gone, and its own restart joins the new one
        assert stop(first) == 0
        first = fleet.start(stack, leader)
        until(lambda: second.poll() is not None, GONE_SECONDS, fleet)
        assert second.returncode == 1
        assert fleet.ask(leader, "/health")[0] != "200"
        second = fleet.start(stack, follower)
        until(lambda: fleet.ask(leader, "/health")[0] == "200", READY_SECONDS, fleet)
        check_answer(fleet, json.loads(fleet.ask(leader, "/")[1]))

        assert stop(second) == 0
        assert stop(first) == 0


def check_answer(fleet: Fleet, answer: Mapping[str, Any]) -> None:
    """The server was given its own words, and its workers the cards of the plan, leader's host first."""
    leader, follower = fleet.shards
    _, _, _, vllm, *words = fleet.words(leader)
    assert answer["argv"] == [vllm, *words]
    assert words[-2:] == ["--override-generation-config", '{"a": "it\'s 100 % of $HOME"}']
    assert answer["nodes"] == [
        [shard["address"], 2.0] for shard in sorted(fleet.shards, key=lambda s: str(s["address"]))
    ]
    ranks = [(worker["host"], worker["ids"], worker["visible"]) for worker in answer["workers"]]
    assert ranks == [(shard["address"], [gpu], str(gpu)) for shard in (leader, follower) for gpu in shard["gpus"]]
    by_host = {worker["host"]: worker for worker in answer["workers"]}
    for shard in (leader, follower):
        worker = by_host[shard["address"]]
        assert worker["cache"] == f"/var/cache/gslc-wide-{shard['name']}/cache"
        assert worker["key"] is (shard is leader)
        assert worker["parcel"] == 64 << 20
