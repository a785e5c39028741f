"""One model over two hosts, planned from a cluster file: two network namespaces, llama.cpp's servers, the units' argv.

Debian's llama.cpp is a build for CPUs, so every card has a stand-in, an RPC server of the CPU: for the leader's own
cards two more on its loopback, behind the ones of the plan, as the engine orders its devices (RPC first, then local).
"""

from __future__ import annotations

import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from model_files import ALIGNMENT, Tensor, gguf
from tests.support.real_hosts import Namespace, hosts_on_a_link
from tests.support.systemd_reader import command, environment, values
from tests.support.target_trees import REAL

from cli import Program
from gslc.ir.tensor_types import ggml_tensor_bytes

pytestmark = pytest.mark.real
ROOT = Path(os.environ.get("GSLC_TEST_CACHE") or Path.home() / ".cache" / "gslc-tests") / "llama" / "sid"
PROGRAMS = ("/usr/bin/llama-server", "/usr/libexec/x86_64-linux-gnu/llama/bin/ggml-rpc-server")
ADDRESSES = {"atlas": "10.77.0.1", "borea": "10.77.0.2"}
STAND_IN_PORT = 50052
READY_SECONDS = 120
BLOCKS, WIDTH, INNER, WORDS = 8, 1024, 8192, 1024
MIB = 1 << 20
ROUNDING = 0.011  # MiB: the engine prints two decimals

# A card holds what the driver and the buffers take (about 700 MiB) and two of the eight blocks of 27 MiB, no third one.
CLUSTER = """
version: 1
name: wide
target: systemd
engines: {{llama.cpp: {{path: {programs}}}}}
defaults: {{backend_for_gguf: llama.cpp}}
hosts:
  atlas: {{address: 10.77.0.1, memory: 8GiB, gpus: [&cards]}}
  borea: {{address: 10.77.0.2, memory: 8GiB, gpus: [&cards]}}
models:
  big: {{source: "file://{model}", context: 512, distributed: true}}
""".replace("&cards", "{{model: custom, vendor: nvidia, memory: 770MiB, compute_capability: '8.9', count: 2}}")


def write_model(path: Path) -> None:
    """A dense llama of 226 MiB with random weights in Q8_0: zeros would give no numbers to choose a token by."""
    tokens = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *(f"w{n}" for n in range(WORDS - 259)),
    ]
    keys = {
        "general.architecture": "llama", "llama.block_count": BLOCKS, "llama.context_length": 8192,
        "llama.embedding_length": WIDTH, "llama.feed_forward_length": INNER, "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 2, "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // 8, "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * WORDS, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
    }  # fmt: skip
    shapes = {
        "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,), "attn_q": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH),
        "attn_k": (WIDTH, WIDTH // 4), "attn_v": (WIDTH, WIDTH // 4),
        "ffn_gate": (WIDTH, INNER), "ffn_up": (WIDTH, INNER), "ffn_down": (INNER, WIDTH),
    }  # fmt: skip
    table: list[Tensor] = [("token_embd.weight", (WIDTH, WORDS), "Q8_0"), ("output_norm.weight", (WIDTH,), "F32")]
    for block in range(BLOCKS):
        for name, shape in shapes.items():
            table.append((f"blk.{block}.{name}.weight", shape, "F32" if len(shape) == 1 else "Q8_0"))
    chance = random.Random(1)
    # a block of Q8_0: a scale in half precision, 32 signed bytes
    pattern = b"".join(struct.pack("<e", 0.0005) + chance.randbytes(32) for _ in range(4099))
    ones = struct.pack("<f", 1.0) * WIDTH
    with path.open("wb") as file:
        file.write(gguf(keys, table).head)
        for _, shape, kind in table:
            size = ggml_tensor_bytes(kind, shape)
            file.write(ones if kind == "F32" else (pattern * (size // len(pattern) + 1))[:size])
            file.write(bytes(-size % ALIGNMENT))


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

    def words(self, shard: Mapping[str, Any], key: str, **variables: str) -> list[str]:
        """The command of one line of a shard's unit; the helper program where it was built."""
        (raw,) = values(self.unit(shard), key)
        helper = self.folder / "build" / "systemd" / shard["host"] / "host" / "gslc_host.py"
        known = {"S": "/var/lib", "C": "/var/cache"}
        return [word.replace("/etc/gslc/wide/gslc_host.py", str(helper)) for word in command(raw, known, variables)]

    def engine_environment(self, shard: Mapping[str, Any]) -> dict[str, str]:
        """The variables of a shard's unit, and the one by which the engine prints the sizes of all buffers."""
        variables = environment(self.unit(shard), {"S": "/var/lib", "C": "/var/cache"})
        return {**variables, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LLAMA_ARG_LOG_VERBOSITY": "4"}

    def start(self, stack: ExitStack, shard: Mapping[str, Any], words: list[str], log: Path) -> subprocess.Popen[bytes]:
        """A process of the engine on the shard's host with its unit's environment, ended with the stack."""
        output = stack.enter_context(log.open("ab"))
        process = subprocess.Popen(
            self.hosts[shard["host"]].command(words, root=ROOT, binds=(self.folder,)),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=self.engine_environment(shard),
        )

        def end() -> None:
            process.kill()
            process.wait(20)

        stack.callback(end)
        return process

    def on_host(self, shard: Mapping[str, Any], words: list[str]) -> subprocess.Popen[str]:
        """A program of this machine, in the network of the shard's host."""
        here = [sys.executable if word == "/usr/bin/python3" else word for word in words]
        return subprocess.Popen(
            self.hosts[shard["host"]].command(here), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


@pytest.fixture
def fleet(gslc: Program) -> Iterator[Fleet]:
    """The plan of a model that needs all four cards of two hosts, and the hosts."""
    subprocess.run([REAL / "install_targets.sh", "packages"], check=True)
    subprocess.run([REAL / "install_llama.sh"], check=True)
    with tempfile.TemporaryDirectory(prefix="gslc-rpc-") as name, hosts_on_a_link(ADDRESSES) as hosts:
        folder = Path(name)
        (folder / "bin").mkdir()
        for program in PROGRAMS:
            (folder / "bin" / Path(program).name).symlink_to(program)
        write_model(folder / "big.gguf")
        (folder / "cluster.yaml").write_text(CLUSTER.format(programs=folder / "bin", model=folder / "big.gguf"))
        run = gslc("build", folder / "cluster.yaml")
        assert run.status == 0, run.err
        yield Fleet(folder=folder, hosts=hosts)


def for_a_cpu_build(words: list[str], stand_ins: tuple[str, ...] = ()) -> list[str]:
    """The generated command with devices of a build without CUDA: CPU for CUDA0, RPC stand-ins for local cards."""
    changed = list(words)
    if "-d" in changed:
        place = changed.index("-d") + 1
        assert changed[place] == "CUDA0"
        changed[place] = "CPU"
    if stand_ins:
        place = changed.index("--rpc") + 1
        changed[place] = ",".join((changed[place], *stand_ins))
    return changed


def ask(fleet: Fleet, shard: Mapping[str, Any], path: str, body: object = None) -> tuple[str, str]:
    """Status and body of an answer, asked from the other host."""
    words = [
        "curl",
        "--silent",
        "--max-time",
        "60",
        "--write-out",
        "\n%{http_code}",
        f"http://{shard['address']}:{shard['port']}{path}",
    ]
    words += ["-d", json.dumps(body), "-H", "Content-Type: application/json"] if body is not None else []
    other = next(space for host, space in fleet.hosts.items() if host != shard["host"])
    done = subprocess.run(other.command(words), capture_output=True, text=True, check=False)
    answer, _, status = done.stdout.rpartition("\n")
    return status, answer


CHAT = {"model": "big", "messages": [{"role": "user", "content": "w1 w2"}], "max_tokens": 4, "temperature": 0}


def said(fleet: Fleet, leader: Mapping[str, Any]) -> str:
    """What the model answers."""
    status, body = ask(fleet, leader, "/v1/chat/completions", CHAT)
    assert status == "200", body
    answer = json.loads(body)
    assert answer["usage"]["completion_tokens"] == 4
    return str(answer["choices"][0]["message"]["content"])


def buffers(log: str) -> dict[str, dict[str, float]]:
    """What the engine printed: the MiB of each part by device, as `RPC0[10.77.0.2:20001]`."""
    found: dict[str, dict[str, float]] = {}
    for device, part, size in re.findall(r"(\S+) +(model|KV|compute) buffer size = +([\d.]+) MiB", log):
        parts = found.setdefault(device, {})
        parts[part] = parts.get(part, 0.0) + float(size)
    return found


def test_a_model_over_two_hosts_loads_where_the_plan_says_and_fails_with_its_rpc_server(fleet: Fleet) -> None:
    leader, *followers = fleet.shards
    assert [(shard["role"], shard["gpus"]) for shard in followers] == [("rpc", [0]), ("rpc", [1])]
    assert {shard["host"] for shard in followers} == set(ADDRESSES) - {leader["host"]}
    logs = {shard["name"]: fleet.folder / f"{shard['name']}.log" for shard in fleet.shards}
    with ExitStack() as stack:
        # what the leader's unit does first: it waits for the ports of the other host
        before = fleet.on_host(leader, fleet.words(leader, "ExecStartPre"))
        stack.callback(before.kill)
        time.sleep(1)
        assert before.poll() is None, "the leader did not wait"
        servers = {}
        for shard in followers:
            words = for_a_cpu_build(fleet.words(shard, "ExecStart"))
            servers[shard["name"]] = fleet.start(stack, shard, words, logs[shard["name"]])
            pid = str(servers[shard["name"]].pid)
            ready = fleet.on_host(shard, fleet.words(shard, "ExecStartPost", MAINPID=pid))
            assert ready.wait(60) == 0, ready.communicate()
        assert before.wait(60) == 0, before.communicate()

        stand_ins = tuple(f"127.0.0.1:{STAND_IN_PORT + index}" for index in range(len(leader["gpus"])))
        for address in stand_ins:
            host, port = address.split(":")
            fleet.start(
                stack, leader, [PROGRAMS[1], "-H", host, "-p", port, "-d", "CPU"], fleet.folder / "stand-in.log"
            )
            assert fleet.on_host(leader, waiting(fleet, leader, f"tcp://{address}")).wait(60) == 0

        def serve() -> subprocess.Popen[bytes]:
            began = time.monotonic()
            words = for_a_cpu_build(fleet.words(leader, "ExecStart"), stand_ins)
            process = fleet.start(stack, leader, words, logs[leader["name"]])
            ready = fleet.on_host(leader, fleet.words(leader, "ExecStartPost", MAINPID=str(process.pid)))
            stack.callback(ready.kill)
            # systemd collects what has ended, which the waiting program then notices
            while ready.poll() is None and process.poll() is None and time.monotonic() - began < READY_SECONDS:
                time.sleep(0.1)
            assert ready.poll() == 0, logs[leader["name"]].read_text(errors="replace")[-4000:]
            print(f"ready after {time.monotonic() - began:.1f} s")
            return process

        server = serve()
        assert ask(fleet, leader, "/health")[0] == "200"
        answer = said(fleet, leader)

        check_buffers(fleet, logs[leader["name"]].read_text(errors="replace"), stand_ins)

        # the engine ends when a server of its layers is gone; that is why all units restart always
        name = followers[-1]["name"]
        servers[name].kill()
        servers[name].wait(20)
        assert ask(fleet, leader, "/v1/chat/completions", CHAT)[0] != "200"
        status = server.wait(60)
        print(f"the leader ended with {status}")
        assert status != 0

        # and what the restarts come to: the killed one and the leader anew, the other RPC servers as they are
        again = fleet.start(stack, followers[-1], for_a_cpu_build(fleet.words(followers[-1], "ExecStart")), logs[name])
        pid = str(again.pid)
        assert fleet.on_host(followers[-1], fleet.words(followers[-1], "ExecStartPost", MAINPID=pid)).wait(60) == 0
        server = serve()
        assert said(fleet, leader) == answer
        server.terminate()
        assert server.wait(30) == 0


def waiting(fleet: Fleet, shard: Mapping[str, Any], *targets: str) -> list[str]:
    """The helper program of a host, waiting for ports."""
    helper = fleet.folder / "build" / "systemd" / shard["host"] / "host" / "gslc_host.py"
    return ["/usr/bin/python3", str(helper), "wait", "--seconds", "30", *targets]


def check_buffers(fleet: Fleet, log: str, stand_ins: tuple[str, ...]) -> None:
    """Weights and cache lie on the devices of the plan to the byte; compute buffers are covered."""
    leader, *followers = fleet.shards
    places = [(f"{shard['address']}:{shard['port']}", shard["memory"]["gpus"][0]) for shard in followers]
    places += list(zip(stand_ins, leader["memory"]["gpus"], strict=True))
    printed = buffers(log)
    # the order in which the engine lists them is the one that the plan's tensor_split is for
    assert re.findall(r"using device RPC\d+ \(([\d.:]+)\)", log) == [address for address, _ in places]
    for address, planned in places:
        real = printed[f"RPC0[{address}]"]  # counted by server
        print(f"{address}: {real}; planned compute {planned['compute'] / MIB:.2f} MiB")
        assert planned["weights"] / MIB == pytest.approx(real["model"], abs=ROUNDING)
        assert planned["kv_cache"] / MIB == pytest.approx(real["KV"], abs=ROUNDING)
        # enough, and no more than a twentieth too much
        assert real["compute"] - ROUNDING <= planned["compute"] / MIB <= real["compute"] * 1.05
    assert len([device for device in printed if device.startswith("RPC")]) == len(places)
