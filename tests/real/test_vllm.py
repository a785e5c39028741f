"""vLLM itself, without a GPU: its parser accepts what gslc emits, and a tiny model serves with the emitted command."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import make_cluster, make_instance, make_plan, templates
from tests.support.target_trees import REAL, install_systemd, put, write_tree
from tests.support.vllm_models import H200, RTX_4090, T4, frozen, host_of, launches_of, request_of

from gslc.backends.vllm import Vllm
from gslc.engines.vllm_versions import DEFAULT_VERSION, NEWEST_VERSION
from gslc.ir.facts import FileFact, ModelFacts, SafetensorsFacts
from gslc.ir.inputs import Host, SecretRef, Source
from gslc.ir.placement import Request
from gslc.targets.compose import HELPER_IMAGE, ComposeTarget
from gslc.targets.systemd import SystemdTarget

pytestmark = pytest.mark.real
HERE = Path(__file__).parent
READY_SECONDS = 300
STOP_SECONDS = 30
CACHE = Path(os.environ.get("GSLC_TEST_CACHE") or Path.home() / ".cache" / "gslc-tests")
CPU_ENVIRONMENT = (("OMP_NUM_THREADS", "2"), ("VLLM_CPU_KVCACHE_SPACE", "1"), ("VLLM_CPU_OMP_THREADS_BIND", "nobind"))

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

TINY = """
import sys
from pathlib import Path
from typing import Any
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

folder = Path(sys.argv[1])
torch.manual_seed(0)
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
special = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
vocabulary = {word: index for index, word in enumerate([*special, *alphabet])}
tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", model_max_length=512)
fast.chat_template = "{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{% endfor %}<|assistant|>"
fast.save_pretrained(folder)
config = LlamaConfig(vocab_size=320, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False, torch_dtype="bfloat16")
LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
"""


@cache
def engine(version: str) -> Path:
    """The virtual environment of a release, installed on first use and kept outside of the tree."""
    done = subprocess.run([HERE / "install_vllm.sh", version], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip().splitlines()[-1])


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
    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run([engine(DEFAULT_VERSION) / "bin" / "python", "-c", TINY, folder], check=True, capture_output=True)
    return folder


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


UNDER_SYSTEMD = """
ip link set lo up
mkdir -p /opt/vllm && mount --bind {venv} /opt/vllm
unit=gslc-lab-chat-0.service
systemctl start --no-block $unit
for _ in $(seq {seconds}); do
  curl --silent --fail --output /dev/null http://127.0.0.1:20000/health && break
  systemctl is-failed --quiet $unit && break
  sleep 1
done
ask() {{ curl --silent --max-time 60 -H "Authorization: Bearer geheim" -H "Content-Type: application/json" "$@"; }}
echo "open: $(curl --silent --output /dev/null --write-out '%{{http_code}}' http://127.0.0.1:20000/v1/models)"
echo "models: $(ask http://127.0.0.1:20000/v1/models)"
echo "chat: $(ask -d '{chat}' http://127.0.0.1:20000/v1/chat/completions)"
echo "user: $(ps -o user= -p $(systemctl show --property MainPID --value $unit))"
systemctl stop $unit
echo "status: $(systemctl show --property ExecMainStatus --value $unit)"
echo "result: $(systemctl show --property Result --value $unit)"
"""


def test_the_generated_unit_serves_under_systemd(tiny_model: Path, tmp_path: Path) -> None:
    subprocess.run([REAL / "install_targets.sh", "packages"], check=True)
    facts = replace(tiny_facts(tiny_model), source="file:///srv/tiny", revision=None)
    host = replace(host_of("atlas", RTX_4090), address="127.0.0.1", listen="127.0.0.1")
    request = request_of(
        "test/tiny", host, facts=facts, context=512, parallel=4, args=("--enforce-eager",), env=CPU_ENVIRONMENT,
        api_key=SecretRef(name="key"), source=Source(kind="file", text="file:///srv/tiny", path="/srv/tiny"),
    )  # fmt: skip
    (launch,) = launches_of(request, host)
    target = SystemdTarget(templates=templates)
    files = target.render(make_plan(make_instance(launch)), make_cluster(host)).value or ()
    tree = tmp_path / "tree"
    install_systemd(files, "lab", tree)
    put(tree, "/usr/local/bin/vllm", '#!/bin/sh\nexec /opt/vllm/bin/python /opt/vllm/bin/vllm "$@"\n', 0o755)
    put(tree, "/etc/gslc/secrets/key.env", "VLLM_API_KEY=geheim\n", 0o600)
    shutil.copytree(tiny_model, tree / "srv" / "tiny")
    for place in (tree / "srv" / "tiny", *(tree / "srv" / "tiny").iterdir()):
        place.chmod(0o755)
    chat = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "ignore_eos": True}
    script = tmp_path / "script"
    script.write_text(
        UNDER_SYSTEMD.format(venv=engine(DEFAULT_VERSION), seconds=READY_SECONDS, chat=json.dumps(chat)),
        encoding="utf-8",
    )
    journal = tmp_path / "journal"
    done = subprocess.run(
        [REAL / "boot_systemd.sh", tree, script],
        capture_output=True, text=True, check=False,
        env={**os.environ, "JOURNAL": str(journal), "SECONDS_ALLOWED": str(2 * READY_SECONDS)},
    )  # fmt: skip
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    end = journal.read_text(errors="replace")[-4000:] if journal.exists() else done.stderr
    assert told.get("models", ""), end
    assert told["open"] == "401"
    assert json.loads(told["models"])["data"][0]["id"] == "chat"
    assert json.loads(told["chat"])["usage"]["completion_tokens"] == 8
    assert told["user"] != "root"
    assert (told["status"], told["result"]) == ("0", "success"), end


UNDER_COMPOSE = """
docker() {{ /usr/bin/docker "$@"; }}
docker tag {image} {helper}
mkdir -p /etc/gslc/secrets /srv/tiny
echo VLLM_API_KEY=geheim > /etc/gslc/secrets/key.env
cp {model}/* /srv/tiny && chmod 644 /srv/tiny/*
cd {folder}
{compose} up -d > up.log 2>&1 || {{ cat up.log; exit 1; }}
for _ in $(seq {seconds}); do
  curl --silent --fail --output /dev/null http://127.0.0.1:20000/health && break
  sleep 1
done
ask() {{ curl --silent --max-time 60 -H "Authorization: Bearer geheim" -H "Content-Type: application/json" "$@"; }}
echo "models: $(ask http://127.0.0.1:20000/v1/models)"
echo "chat: $(ask -d '{chat}' http://127.0.0.1:20000/v1/chat/completions)"
name=$(docker ps --all --quiet --filter label=com.docker.compose.service=chat-0)
docker logs --tail 60 $name > {folder}/log 2>&1
docker stop --time 30 $name > /dev/null
echo "status: $(docker inspect --format '{{{{.State.ExitCode}}}}' $name)"
{compose} down > /dev/null 2>&1; echo "down: $?"
"""
# The image's place is taken by an empty one, with this machine's libraries and the installed engine mounted into it. Its
# CPU build hands weights to a worker process through shared memory, which a single GPU does without.
OVERRIDE = """
services:
  chat-fetch:
    volumes: ["/usr:/usr:ro"]
  chat-0:
    shm_size: 2g
    volumes: ["/usr:/usr:ro", "{venv}:/opt/vllm:ro"]
    environment: {{PATH: "/opt/bin:/usr/bin"}}
"""


def test_the_generated_service_serves_under_compose(tiny_model: Path, tmp_path: Path) -> None:
    subprocess.run([REAL / "install_targets.sh", "packages", "compose"], check=True)
    facts = replace(tiny_facts(tiny_model), source="file:///srv/tiny", revision=None)
    host = replace(host_of("atlas", RTX_4090, target="compose"), address="127.0.0.1", listen="127.0.0.1")
    request = request_of(
        "test/tiny", host, facts=facts, context=512, parallel=4, args=("--enforce-eager",), env=CPU_ENVIRONMENT,
        api_key=SecretRef(name="key"), source=Source(kind="file", text="file:///srv/tiny", path="/srv/tiny"),
    )  # fmt: skip
    (launch,) = launches_of(request, host)
    target, cluster = ComposeTarget(templates=templates), make_cluster(host, target="compose")
    write_tree(target.render(make_plan(make_instance(launch, target="compose")), cluster).value or (), tmp_path / "out")
    folder = tmp_path / "out" / "compose" / "atlas"
    (folder / "compose.override.yaml").write_text(OVERRIDE.format(venv=engine(DEFAULT_VERSION)), encoding="utf-8")
    # raising a limit wants CAP_SYS_RESOURCE, which test machines may lack
    text = (folder / "compose.yaml").read_text()
    limits = "    ulimits:\n      memlock: -1\n      stack: 67108864\n"
    (folder / "compose.yaml").write_text(text.replace(limits, ""))
    image = tmp_path / "images" / "vllm"
    put(image, "/opt/bin/vllm", '#!/bin/sh\nexec /opt/vllm/bin/python /opt/vllm/bin/vllm "$@"\n', 0o755)
    put(image, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    for name in ("usr", "root", "sbin", "tmp", "opt/vllm"):
        (image / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64"):
        (image / name).symlink_to(f"usr/{name}")
    (image / "image").write_text(launch.image or "")
    (image / "entrypoint").write_text('["vllm"]')
    chat = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "ignore_eos": True}
    script = tmp_path / "script"
    script.write_text(
        UNDER_COMPOSE.format(
            image=launch.image, helper=HELPER_IMAGE, model=tiny_model, folder=folder, seconds=READY_SECONDS,
            chat=json.dumps(chat), compose=CACHE / "targets" / "compose-sid" / "docker-compose",
        ),
        encoding="utf-8",
    )  # fmt: skip
    done = subprocess.run(
        [REAL / "run_dockerd.sh", tmp_path / "images", script],
        capture_output=True, text=True, check=False, env={**os.environ, "SECONDS_ALLOWED": str(2 * READY_SECONDS)},
    )  # fmt: skip
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    log = (folder / "log").read_text(errors="replace") if (folder / "log").exists() else f"{done.stdout}\n{done.stderr}"
    assert told.get("models", ""), log
    assert json.loads(told["models"])["data"][0]["id"] == "chat"
    assert json.loads(told["chat"])["usage"]["completion_tokens"] == 8
    assert (told["status"], told["down"]) == ("0", "0"), log


def tiny_facts(folder: Path) -> ModelFacts:
    """The facts of the tiny model, as the lock would hold them."""
    config = json.loads((folder / "config.json").read_text())
    files = SafetensorsFacts(config=frozen(config), tensors=(), parameter_bytes=0, header_sha256=None)  # type: ignore[arg-type]
    return ModelFacts(
        source="hf://test/tiny", revision="b" * 40, kind="chat", kind_reason="config.json", safetensors=files,
        files=tuple(FileFact(path=item.name, size_bytes=item.stat().st_size) for item in sorted(folder.iterdir())),
    )  # fmt: skip


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
