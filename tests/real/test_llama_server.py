"""Plans are given to the real llama-server: it loads, and the buffers it prints are the plan's.

Debian sid's llama.cpp 0.7.0 reports build 11669, which is the release's default pin. RPC servers on loopback stand in for
cards: they take layers, cache and compute buffers like cards do, with a CPU's alignment.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from model_files import gguf

from gslc.backends.llama_cpp import BACKEND
from gslc.cli.estimate import parsed_source
from gslc.edges.facts import fetch_facts
from gslc.edges.hub import HubSettings
from gslc.engines.llama_args import parse_args
from gslc.engines.llama_profile import LLAMA_CPP_DEFAULT, profile_of
from gslc.ir.diagnostic import Place
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import Cluster, Gpu, GpuKind, Host, Model
from gslc.ir.lock import Seat
from gslc.ir.placement import Assignment, FreeGpu, FreeHost, HostClass, Request
from gslc.memory.gguf.footprint import Device, footprint
from gslc.memory.gguf.shape import ModelShape

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("GSLC_TEST_CACHE") or Path.home() / ".cache" / "gslc-tests") / "llama"
ROOT = CACHE / "sid"
RPC_SERVER = "/usr/libexec/x86_64-linux-gnu/llama/bin/ggml-rpc-server"
MIB = 1 << 20
GIB = 1 << 30
ROUNDING = 0.011  # MiB: the engine prints two decimals
CARD = GpuKind(model="card", vendor="nvidia", memory_bytes=24 * GIB)


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """llama.cpp 0.7.0 in its own tree."""
    subprocess.run([str(HERE / "install_llama.sh")], check=True)


# ------------------------------------------------------------------ small models with published proportions


def tokenizer() -> dict[str, object]:
    """A vocabulary that llama.cpp loads: special tokens, all bytes, some words."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + [f"w{n}" for n in range(765)]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def dense(arch: str = "llama", *, blocks: int = 6, experts: int = 0, width: int = 512, kind: str = "Q4_K") -> object:
    """A decoder; with experts where asked for."""
    keys: dict[str, object] = {
        "general.architecture": arch,
        f"{arch}.block_count": blocks,
        f"{arch}.context_length": 8192,
        f"{arch}.embedding_length": width,
        f"{arch}.feed_forward_length": 1536,
        f"{arch}.attention.head_count": 8,
        f"{arch}.attention.head_count_kv": 2,
        f"{arch}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{arch}.rope.dimension_count": width // 8,
        **tokenizer(),
    }
    if experts:
        keys |= {f"{arch}.expert_count": experts, f"{arch}.expert_used_count": 2}
    if arch == "gemma3":
        keys |= {f"{arch}.attention.sliding_window": 512}
    table = [
        ("token_embd.weight", (width, 1024), "Q6_K" if kind == "Q4_K" else kind),
        ("output_norm.weight", (width,), "F32"),
    ]
    for block in range(blocks):
        table += [
            (f"blk.{block}.{name}.weight", shape, form) for name, shape, form in _block(arch, experts, width, kind)
        ]
    return gguf(keys, table)


def _block(arch: str, experts: int, width: int, kind: str) -> Iterator[tuple[str, tuple[int, ...], str]]:
    head = width // 8
    yield from (("attn_norm", (width,), "F32"), ("ffn_norm", (width,), "F32"))
    yield from (("attn_q", (width, width), kind), ("attn_output", (width, width), kind))
    yield from (("attn_k", (width, 2 * head), kind), ("attn_v", (width, 2 * head), kind))
    if arch == "gemma3":
        for name, size in (
            ("attn_q_norm", head),
            ("attn_k_norm", head),
            ("post_attention_norm", width),
            ("post_ffw_norm", width),
        ):
            yield name, (size,), "F32"
    if not experts:
        yield from (
            ("ffn_gate", (width, 1536), kind),
            ("ffn_up", (width, 1536), kind),
            ("ffn_down", (1536, width), kind),
        )
        return
    yield "ffn_gate_inp", (width, experts), "F32"
    for name, shape in (("gate", (width, 1536)), ("up", (width, 1536)), ("down", (1536, width))):
        yield f"ffn_{name}_exps", (*shape, experts), kind


# ------------------------------------------------------------------ running


@dataclass(frozen=True, slots=True)
class Printed:
    """What the engine printed of one device, in MiB."""

    weights: float
    kv_cache: float
    compute: float


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Until the port answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nothing listens on {port}")


def started(stack: ExitStack, command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A process of the tree, ended with the stack."""
    output = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(["chroot", str(ROOT), *command], stdout=output, stderr=subprocess.STDOUT)

    def end() -> None:
        process.terminate()
        process.wait(20)

    stack.callback(end)
    return process


def serve(argv: tuple[str, ...], cards: int, port: int, folder: Path) -> dict[str, Printed]:
    """Runs the server on stand-ins for cards until it is ready; the buffers by device."""
    with ExitStack() as stack:
        ports = [free_port() for _ in range(cards)]
        for index, each in enumerate(ports):
            rpc = started(stack, [RPC_SERVER, "-H", "127.0.0.1", "-p", str(each)], folder / f"rpc{index}.log")
            wait_for(each, rpc)
        servers = ("--rpc", ",".join(f"127.0.0.1:{each}" for each in ports)) if cards else ()
        log = folder / "server.log"
        # -lv 4 prints the sizes; a first run on weights of zeros would divide by zero
        server = started(stack, ["llama-server", *argv, *servers, "--no-warmup", "-lv", "4"], log)
        end = time.monotonic() + 120
        while "listening on" not in (text := log.read_text(errors="replace")) and time.monotonic() < end:
            assert server.poll() is None, text[-3000:]
            time.sleep(0.1)
        assert "listening on" in text, text[-3000:]
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b" 200 " in client.recv(4096)
    found: dict[str, dict[str, float]] = {}
    for device, part, size in re.findall(r"(\S+) +(model|KV|RS|compute) buffer size = +([\d.]+) MiB", text):
        endpoint = re.search(r":(\d+)\]", device)
        name = f"card {ports.index(int(endpoint[1]))}" if endpoint else "host"
        found.setdefault(name, {}).setdefault(part, 0.0)
        found[name][part] += float(size)
    return {
        name: Printed(parts.get("model", 0), parts.get("KV", 0) + parts.get("RS", 0), parts.get("compute", 0))
        for name, parts in found.items()
    }


# ------------------------------------------------------------------ the plans


class Nowhere:
    """Places of a cluster that no file holds."""

    def at(self, *path: str | int) -> Place:
        return Place(file="cluster.yaml")

    key = at


def facts_of(path: Path) -> ModelFacts:
    """The facts of a local file."""
    model = Model(name="m", source=parsed_source(str(path)), mmproj="")
    found = fetch_facts(model, HubSettings(local_sha256_limit=0)).value
    assert found is not None
    return found


def launched(path: Path, cards: int, port: int, **keys: object) -> tuple[str, ...]:
    """The command line of the plan for so many cards of one host (0: its CPU)."""
    source = parsed_source("/" + path.name)  # where the tree sees the file
    model = Model(name="m", source=source, **keys)  # type: ignore[arg-type]
    gpus = tuple(Gpu(index=index, kind=CARD) for index in range(cards))
    host = Host(
        name="atlas", address=None, listen="127.0.0.1", os="linux", arch="amd64", memory_bytes=64 * GIB,
        unified_memory=False, reserved_memory_bytes=0, reserved_gpu_memory_bytes=0, labels={}, target="systemd",
        model_dir="/models", engines={}, nomad_driver=None, gpus=gpus,
    )  # fmt: skip
    cluster = Cluster(
        name="lab",
        target="systemd",
        port_range=(20000, 29999),
        engines={},
        hosts=(host,),
        models=(model,),
        places=Nowhere(),
    )
    request = Request(model=model, facts=facts_of(path), backend="llama.cpp", selector={}, cluster=cluster)
    assert [d for d in BACKEND.review(request) if d.severity == "error"] == []
    kinds = HostClass(
        os="linux", arch="amd64", target="systemd", unified_memory=False, gpu_kinds=(CARD,) * cards,
        gpu_capacity=(24 * GIB,) * cards, memory_capacity=64 * GIB, engines=(),
    )  # fmt: skip
    options = BACKEND.options(request, kinds)
    if cards > 1:
        free = FreeHost(
            name="atlas",
            host_class=kinds,
            gpus=tuple(FreeGpu(index=g.index, kind=CARD, free_bytes=24 * GIB) for g in gpus),
            memory_free=64 * GIB,
        )
        choice = options.elastic[0].fit((free,))
    else:
        choice = options.fixed[0]
    assert choice is not None
    assert len(choice.parts[0].gpus) == cards
    seat = Seat(host="atlas", gpus=tuple(range(cards)), ports=(port,))
    (launch,) = BACKEND.launches(
        request, Assignment(model="m", replica=0, choice=choice, seats=(seat,)), {"atlas": host}
    )
    return launch.argv


CASES = {
    "one card": (dense, 1, {}),
    "the CPU": (dense, 0, {}),
    "some layers": (dense, 1, {"gpu_layers": 3}),
    "two cards": (dense, 2, {}),
    "four slots": (dense, 1, {"parallel": 4, "context": 1024}),
    "a quantised cache": (dense, 1, {"kv_cache_type": "q8_0"}),
    "no flash attention": (dense, 1, {"args": ("-fa", "off")}),
    "experts": (lambda: dense(experts=8), 1, {}),
    "experts on the CPU": (lambda: dense(experts=8), 1, {"args": ("--n-cpu-moe", "3")}),
    "experts on two cards": (lambda: dense(experts=8), 2, {}),
    "a sliding window": (lambda: dense("gemma3"), 1, {"parallel": 2, "context": 4096}),
    "other widths and types": (lambda: dense("qwen2", width=768, kind="Q8_0"), 1, {"args": ("-ub", "1024")}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_plan_loads_and_prints_the_plan_s_buffers(case: str, tmp_path: Path) -> None:
    make, cards, keys = CASES[case]
    made = make()
    path = ROOT / f"{case.replace(' ', '-')}.gguf"
    path.write_bytes(made.head)  # type: ignore[attr-defined]
    os.truncate(path, made.size)  # type: ignore[attr-defined]
    port = free_port()
    try:
        argv = launched(path, cards, port, **keys)
        printed = serve(argv, cards, port, tmp_path)
        profile = profile_of("llama.cpp", LLAMA_CPP_DEFAULT)
        assert profile is not None
        gguf_facts = facts_of(path).gguf
        assert gguf_facts is not None
        settings = parse_args(argv, profile, allow_owned=True).settings
        planned = footprint(ModelShape(gguf_facts), settings, profile, (Device(vendor=None),) * cards)
    finally:
        path.unlink()
    devices = [printed[name] for name in sorted(printed) if name != "host"]
    assert len(devices) == cards
    for memory, real in zip(planned.devices, devices, strict=True):
        assert memory.weights / MIB == pytest.approx(real.weights, abs=ROUNDING)
        assert memory.kv_cache / MIB == pytest.approx(real.kv_cache, abs=ROUNDING)
        assert memory.compute / MIB == pytest.approx(real.compute, abs=ROUNDING)
    host = printed["host"]
    assert (planned.host.compute - planned.output_bytes) / MIB == pytest.approx(host.compute, abs=ROUNDING)
    assert planned.host.kv_cache / MIB == pytest.approx(host.kv_cache, abs=ROUNDING)
    # the engine maps whole pages, piece by piece
    assert planned.host.weights / MIB == pytest.approx(host.weights, rel=0.02, abs=0.5)


def test_the_build_is_the_default_pin() -> None:
    said = subprocess.run(
        ["chroot", str(ROOT), "llama-server", "--version"], capture_output=True, text=True, check=True
    )
    match = re.search(r"build (\d+)", said.stdout + said.stderr)
    assert match
    assert f"b{match[1]}" == LLAMA_CPP_DEFAULT
