"""Ray itself, brought up over two network namespaces by the commands of the generated units; vLLM has a stand-in."""

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

import pytest
from hub_server import HubServer
from tests.support.real_hosts import Namespace, hosts_on_a_link
from tests.support.real_ray import (
    ADDRESSES,
    CLUSTER,
    KEY,
    KNOWN,
    RELEASES,
    Shard,
    check_answer,
    installed,
    programs_in,
    shards_of,
    unit_of,
    words_of,
)
from tests.support.systemd_reader import environment, values

from cli import Program

pytestmark = pytest.mark.real
READY_SECONDS = 180
GONE_SECONDS = 120  # a follower ends 60 s after it lost its head


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What was built, and the two hosts that it is run on."""

    folder: Path
    hosts: Mapping[str, Namespace]

    @property
    def shards(self) -> list[Shard]:
        """The shards of the plan's one instance, the leader first."""
        return shards_of(self.folder / "build")

    def unit(self, shard: Shard) -> str:
        """The text of a shard's unit."""
        return unit_of(self.folder / "build", shard)

    def words(self, shard: Shard) -> list[str]:
        """The command of a shard's unit."""
        return words_of(self.unit(shard))

    def variables(self, shard: Shard) -> dict[str, str]:
        """The variables of a shard's unit, and those of its secrets, which files on the host would bring."""
        secret = {"VLLM_API_KEY": KEY} if values(self.unit(shard), "EnvironmentFile") else {}
        # a home that is there: the state folder is made by systemd
        return {**environment(self.unit(shard), KNOWN), **secret, "HOME": "/tmp", "PATH": "/usr/bin:/bin"}

    def log(self, shard: Shard) -> Path:
        """Where a shard's process writes."""
        return self.folder / f"{shard['name']}.log"

    def start(self, stack: ExitStack, shard: Shard) -> subprocess.Popen[bytes]:
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

    def ask(self, shard: Shard, path: str) -> tuple[str, str]:
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


@pytest.mark.parametrize(("vllm", "ray"), RELEASES)
def test_two_hosts_serve_as_one_restart_as_one_and_stop(vllm: str, ray: str, gslc: Program, hub: HubServer) -> None:
    with fleet_of(gslc, vllm, ray) as fleet, ExitStack() as stack:
        leader, follower = fleet.shards
        second = fleet.start(stack, follower)
        time.sleep(3)
        assert second.poll() is None, "the follower did not wait for its leader"
        first = fleet.start(stack, leader)
        until(lambda: first.poll() is not None or fleet.ask(leader, "/health")[0] == "200", READY_SECONDS, fleet)
        check_answer(fleet.shards, fleet.words(leader), json.loads(fleet.ask(leader, "/")[1]))

        # the leader restarts at once: the follower leaves the Ray that is gone, and its own restart joins the new one
        assert stop(first) == 0
        first = fleet.start(stack, leader)
        until(lambda: second.poll() is not None, GONE_SECONDS, fleet)
        assert second.returncode == 1
        assert fleet.ask(leader, "/health")[0] != "200"
        second = fleet.start(stack, follower)
        until(lambda: fleet.ask(leader, "/health")[0] == "200", READY_SECONDS, fleet)
        check_answer(fleet.shards, fleet.words(leader), json.loads(fleet.ask(leader, "/")[1]))

        assert stop(second) == 0
        assert stop(first) == 0
