"""vLLM itself, without a GPU: its parser accepts what gslc emits, and a tiny model serves with the emitted command."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.support.real_serving import Served
from tests.support.real_vllm import (
    READY_SECONDS,
    engine,
    make_tiny_model,
    serve_under_compose,
    serve_under_systemd,
    tiny_facts,
)
from tests.support.vllm_models import H200, RTX_4090, T4, host_of, launches_of, request_of

from gslc.backends.vllm import Vllm
from gslc.engines.vllm_versions import DEFAULT_VERSION, NEWEST_VERSION
from gslc.ir.inputs import Host
from gslc.ir.placement import Request

pytestmark = pytest.mark.real
STOP_SECONDS = 30

PARSE = """
import json, sys
try:
    from vllm.utils.argparse_utils import FlexibleArgumentParser
except ImportError:
    from vllm.utils import FlexibleArgumentParser
from vllm.entrypoints.cli.serve import ServeSubcommand

answers = []
for argv in json.load(sys.stdin):
    root = FlexibleArgumentParser()
    ServeSubcommand().subparser_init(root.add_subparsers())
    try:
        read = root.parse_args(argv)
        answers.append({"model": read.model_tag, "tensor_parallel": read.tensor_parallel_size,
                        "max_model_len": read.max_model_len, "utilization": read.gpu_memory_utilization})
    except SystemExit as stopped:
        answers.append({"refused": stopped.code})
print("ANSWERS " + json.dumps(answers))
"""


def commands(version: str) -> dict[str, tuple[str, ...]]:
    """What gslc emits for this release: every kind of launch that it has."""
    atlas, boreas = host_of("atlas", *[RTX_4090] * 4), host_of("boreas", *[RTX_4090] * 4)
    old, big = host_of("old", T4, T4), host_of("hopper", *[H200] * 2)
    eight, thirtytwo = "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-32B-Instruct"
    args = ("--enforce-eager", "--max_num_batched_tokens=4096", "-q", "fp8", "--limit-mm-per-prompt", '{"image": 0}')
    requests: dict[str, tuple[Request, tuple[Host, ...]]] = {
        "chat": (request_of(eight, atlas, version=version), (atlas,)),
        "tensor parallel": (request_of(thirtytwo, atlas, version=version), (atlas,)),
        "several hosts": (
            request_of(
                "Qwen/Qwen2.5-32B-Instruct",
                atlas,
                boreas,
                version=version,
                distributed=True,
                tensor_parallel=2,
                pipeline_parallel=2,
            ),
            (atlas, boreas),
        ),
        "auto": (request_of(eight, big, version=version, gpu_memory_utilization="auto", parallel=4), (big,)),
        "fp8 cache": (request_of(eight, big, version=version, kv_cache_type="fp8"), (big,)),
        "half": (request_of("Qwen/Qwen2.5-3B-Instruct", old, version=version), (old,)),
        "embedding": (request_of("Qwen/Qwen3-0.6B", atlas, version=version, kind="embedding"), (atlas,)),
        "reranker": (request_of("Qwen/Qwen3-0.6B", atlas, version=version, kind="reranker"), (atlas,)),
        "user's own": (request_of(eight, atlas, version=version, args=args), (atlas,)),
    }
    found: dict[str, tuple[str, ...]] = {}
    for name, (request, hosts) in requests.items():
        assert [item for item in Vllm().review(request) if item.severity == "error"] == [], name
        for launch in launches_of(request, *hosts):
            found[f"{name}: {launch.name}"] = launch.argv
    return found


@pytest.mark.parametrize("version", [DEFAULT_VERSION, NEWEST_VERSION])
def test_the_real_parser_accepts_every_command_that_is_emitted(version: str) -> None:
    emitted = commands(version)
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [engine(version) / "bin" / "python", "-c", PARSE],
        input=json.dumps(list(emitted.values())),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
    assert lines, done.stderr[-3000:]
    answers = dict(zip(emitted, json.loads(lines[0].removeprefix("ANSWERS ")), strict=True))
    assert {name: answer for name, answer in answers.items() if "refused" in answer} == {}, done.stderr[-3000:]
    for name, argv in emitted.items():
        said = dict(itertools.pairwise(argv))
        assert answers[name]["model"] == argv[1]
        assert answers[name]["tensor_parallel"] == int(said["--tensor-parallel-size"])
        assert answers[name]["max_model_len"] == int(said["--max-model-len"])
        assert answers[name]["utilization"] == float(said["--gpu-memory-utilization"])


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and a byte tokenizer."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def test_a_tiny_model_serves_with_the_emitted_command(tiny_model: Path, tmp_path: Path) -> None:
    facts = tiny_facts(tiny_model)
    host = host_of("atlas", RTX_4090)
    request = request_of("test/tiny", host, facts=facts, context=512, parallel=4, args=("--enforce-eager",))
    (launch,) = launches_of(request, host)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The plan's own words, with this machine's folder, address and port in their places.
    moved = {launch.argv[1]: str(tiny_model), host.listen: "127.0.0.1", "20000": str(port)}
    argv = [moved.get(word, word) for word in launch.argv]
    environment = {
        **os.environ,
        **dict(launch.env),
        "VLLM_HOST_IP": "127.0.0.1",
        "HOME": str(tmp_path),
        "OMP_NUM_THREADS": "2",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_API_KEY": "secret",
        **{name: str(tmp_path / folder) for name, folder in launch.cache_env},
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [engine(DEFAULT_VERSION) / "bin" / "vllm", *argv], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}{launch.health_path}", process, log)
        models = ask(f"http://127.0.0.1:{port}/v1/models")
        assert models["data"][0]["id"] == "chat"
        assert models["data"][0]["max_model_len"] == 512
        said = ask(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "ignore_eos": True},
        )
        assert said["usage"]["completion_tokens"] == 8
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(served: Served) -> None:
    """The first answer has its tokens, and the one after the kill is the same."""
    assert served.told.get("models", ""), served.log
    assert json.loads(served.told["models"])["data"][0]["id"] == "chat"
    first, second = (json.loads(served.told[name]) for name in ("first", "second"))
    assert first["usage"]["completion_tokens"] == len(first["choices"][0]["token_ids"]) == 8
    assert second["choices"][0]["token_ids"] == first["choices"][0]["token_ids"]
    assert served.told["restarts"] == "1", served.log


def test_the_generated_unit_serves_returns_after_a_kill_and_stops(tiny_model: Path, tmp_path: Path) -> None:
    served = serve_under_systemd(tiny_model, tmp_path)
    answers(served)
    assert served.told["verify"] == ""
    assert served.told["open"] == "401"
    assert served.told["user"] != "root"
    assert served.told["stopped"] == "inactive success 0", served.log


def test_the_generated_service_serves_returns_after_a_kill_and_stops(tiny_model: Path, tmp_path: Path) -> None:
    served = serve_under_compose(tiny_model, tmp_path)
    answers(served)
    assert served.told["verify"] == ""
    assert (served.told["up"], served.told["stopped"]) == ("healthy", "0"), served.log
    assert (served.told["down"], served.told["left"]) == ("0", "0"), served.log


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when the address answers 200; fails with the log's end when the process ends or takes too long."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(errors="replace")[-4000:]
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(1)
    raise AssertionError(f"not ready after {READY_SECONDS} s\n{log.read_text(errors='replace')[-4000:]}")


def ask(url: str, body: object = None) -> Any:
    """The JSON answer of a request with the key."""
    headers = {"Authorization": "Bearer secret", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers), timeout=60) as answer:
        return json.loads(answer.read())
