"""The commands that start Ray: which release needs it, what the shells do, and that no target changes a word of them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.support.hcl_reader import read_string
from tests.support.systemd_reader import command, values

from gslc.engines.vllm_ray import (
    OBJECT_STORE_BYTES,
    OWN_PORTS,
    RayNode,
    beside,
    environment,
    follower_argv,
    leader_argv,
    starts_hosts_with,
)
from gslc.targets import quoting_hcl, quoting_systemd, quoting_yaml

NODE = RayNode(program="/opt/vllm/bin/ray", address="10.0.0.2", head="10.0.0.1:20001", gpus=4)
WORDS = ("serve", "/models/a b", "--chat-template", 'it\'s $HOME "${x}" %d')


@pytest.mark.parametrize(
    ("version", "executor", "found"),
    [
        ("0.7.2", None, None),
        ("0.7.3", None, "ray"),
        ("v0.9.2", None, "ray"),
        ("0.11.0", None, "ray"),
        ("0.11.1", None, "ray"),
        ("0.11.2", None, "native"),
        ("0.11.2", "ray", "ray"),
        ("0.17.1", "ray", "ray"),
        ("0.18.0", "ray", "native"),
        ("0.26.0", "mp", "native"),
    ],
)
def test_a_release_starts_several_hosts_in_one_way(version: str, executor: str | None, found: str | None) -> None:
    assert starts_hosts_with(version, executor) == found


def test_ray_is_the_one_beside_vllm() -> None:
    assert beside("/opt/vllm/bin/vllm") == "/opt/vllm/bin/ray"
    assert beside("/vllm") == "/ray"
    assert beside("vllm") == "ray"


def test_variables_name_the_cluster_to_the_server_alone() -> None:
    assert environment(NODE, leader=True)["RAY_ADDRESS"] == "10.0.0.1:20001"
    assert "RAY_ADDRESS" not in environment(NODE, leader=False)
    assert environment(NODE, leader=False)["RAY_USAGE_STATS_ENABLED"] == "0"


def test_no_port_of_ray_is_fixed_but_the_heads() -> None:
    words = leader_argv(NODE, 20001, "vllm", WORDS)[1].split()
    ports = {word for word in words if "port=" in word}
    assert ports == {"--port=20001", "--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"}
    assert not {"--dashboard-port", "--ray-client-server-port"} & {word.partition("=")[0] for word in words}
    assert set(OWN_PORTS) == {8265, 10001}


def _scripts() -> list[tuple[str, ...]]:
    odd = replace(NODE, program="/opt/it's $here/ray", head="atlas.lan:20001")
    return [
        leader_argv(NODE, 20001, "/opt/vllm/bin/vllm", WORDS[:3]),
        follower_argv(NODE),
        leader_argv(odd, 20001, "vllm", WORDS[:3]),
        follower_argv(odd),
    ]


@pytest.mark.parametrize("argv", _scripts())
def test_targets_hand_every_word_over_as_it_is(argv: tuple[str, ...]) -> None:
    (raw,) = values(f"[Service]\nExecStart={quoting_systemd.command_line('/bin/sh', argv)}\n", "ExecStart")
    assert command(raw, {}, {}) == ["/bin/sh", *argv]
    items = "".join(f"- {quoting_yaml.value(word)}\n" for word in argv)
    assert [word.replace("$$", "$") for word in yaml.safe_load(items)] == list(argv)
    assert all(word.count("$$") * 2 == word.count("$") for word in yaml.safe_load(items))
    assert tuple(read_string(str(quoting_hcl.string(word))) for word in argv) == argv
    assert all(quoting_hcl.client_reference(word) is None for word in argv)


# ------------------------------------------------------------------ the shells, with programs that stand in


Stand = Callable[[str, str], Path]


@pytest.fixture
def stand_in(tmp_path: Path) -> Stand:
    """Writes a program of some lines of shell that notes its name and words in the file `log`."""

    def write(name: str, lines: str) -> Path:
        path = tmp_path / "bin dir" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\nprintf '%s|' {name} \"$@\" >> {tmp_path}/log; echo >> {tmp_path}/log\n{lines}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write


def lines(folder: Path) -> list[list[str]]:
    """The commands that the stand-ins were called with."""
    text = (folder / "log").read_text() if (folder / "log").exists() else ""
    return [line.split("|")[:-1] for line in text.splitlines()]


def start(argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """A shell as a supervisor starts it."""
    return subprocess.Popen(["/bin/sh", *argv], start_new_session=True)


def until(true: Callable[[], bool]) -> None:
    """Waits for something that other processes do."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_leader_becomes_the_server_once_ray_is_up(stand_in: Stand, tmp_path: Path) -> None:
    ray = stand_in("ray", "exit 0")
    vllm = stand_in("vllm", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    process = start(leader_argv(replace(NODE, program=str(ray)), 20001, str(vllm), WORDS))
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    called, served = lines(tmp_path)
    assert called[:4] == ["ray", "start", "--head", "--port=20001"]
    assert {"--node-ip-address=10.0.0.2", "--num-gpus=4", f"--object-store-memory={OBJECT_STORE_BYTES}"} <= set(called)
    assert served == ["vllm", *WORDS]
    assert int((tmp_path / "pid").read_text()) == process.pid  # so that the supervisor's signals reach the server
    process.terminate()
    assert process.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_leader_that_is_asked_to_stop_before_ray_is_up_serves_nothing(
    stand_in: Stand, tmp_path: Path, sent: signal.Signals
) -> None:
    ray, vllm = stand_in("ray", "sleep 1"), stand_in("vllm", "exit 0")
    process = start(leader_argv(replace(NODE, program=str(ray)), 20001, str(vllm), WORDS))
    until(lambda: lines(tmp_path) != [])
    process.send_signal(sent)
    assert process.wait(10) == 0
    assert [words[0] for words in lines(tmp_path)] == ["ray"]


def test_a_head_that_does_not_start_ends_the_leader_and_serves_nothing(stand_in: Stand, tmp_path: Path) -> None:
    ray, vllm = stand_in("ray", "exit 7"), stand_in("vllm", "exit 0")
    assert start(leader_argv(replace(NODE, program=str(ray)), 20001, str(vllm), WORDS)).wait(10) == 7
    assert [words[0] for words in lines(tmp_path)] == ["ray"]


def test_a_follower_waits_for_the_head_and_fails_when_it_is_gone(stand_in: Stand, tmp_path: Path) -> None:
    up = tmp_path / "up"
    ray = stand_in("ray", f'if [ "$1" = health-check ]; then test -e {up}; else sleep 0.1; exit 1; fi')
    process = start(follower_argv(replace(NODE, program=str(ray))))
    until(lambda: lines(tmp_path) != [])
    assert process.poll() is None
    up.touch()
    assert process.wait(20) == 1
    asked = [words[1:] for words in lines(tmp_path)]
    assert asked[-1][:3] == ["start", "--address=10.0.0.1:20001", "--block"]
    assert asked[:-1] == [["health-check", "--skip-version-check", "--address", "10.0.0.1:20001"]] * (len(asked) - 1)


@pytest.mark.parametrize("program", ["/nowhere/ray", "ray-that-is-nowhere"])
def test_a_follower_without_ray_says_so_and_waits_for_nobody(program: str) -> None:
    argv = follower_argv(replace(NODE, program=program))
    done = subprocess.run(["/bin/sh", *argv], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 127
    assert f"{program}: not found" in done.stderr


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("joined", [False, True])
def test_a_follower_that_is_asked_to_stop_ends_well_and_takes_ray_along(
    stand_in: Stand, tmp_path: Path, joined: bool, sent: signal.Signals
) -> None:
    # ray itself answers SIGTERM with 1
    hang = f"echo $$ > {tmp_path}/pid; trap 'exit 1' TERM; while :; do sleep 0.05; done"
    ray = stand_in("ray", f"[ $1 = health-check ] && exit 0; {hang}" if joined else hang)
    process = start(follower_argv(replace(NODE, program=str(ray))))
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    inner = int((tmp_path / "pid").read_text())
    process.send_signal(sent)
    assert process.wait(10) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(inner, 0)
