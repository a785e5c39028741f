"""vLLM's CPU build under a generated unit and a generated service: installed, started, asked, killed, asked again, stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

from tests.support.plans import make_cluster, make_instance, make_plan, templates
from tests.support.real_serving import TARGETS, Served, boot, host_image, run_dockerd
from tests.support.target_trees import REAL, install_systemd, put, write_tree
from tests.support.vllm_models import RTX_4090, frozen, host_of, launches_of, request_of

from gslc.engines.vllm_versions import DEFAULT_VERSION
from gslc.ir.facts import FileFact, ModelFacts, SafetensorsFacts
from gslc.ir.inputs import Host, SecretRef, Source, TargetName
from gslc.ir.plan import Launch
from gslc.targets.compose import HELPER_IMAGE, ComposeTarget
from gslc.targets.systemd import SystemdTarget

READY_SECONDS = 300
CPU_ENVIRONMENT = (("OMP_NUM_THREADS", "2"), ("VLLM_CPU_KVCACHE_SPACE", "1"), ("VLLM_CPU_OMP_THREADS_BIND", "nobind"))
# The venv may be moved, its own scripts may not: they name the interpreter by its first path.
PROGRAM = '#!/bin/sh\nexec /opt/vllm/bin/python /opt/vllm/bin/vllm "$@"\n'
CHAT = json.dumps(
    {
        "model": "chat",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 8,
        "temperature": 0,
        "ignore_eos": True,
        "return_token_ids": True,
    }
)
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
    done = subprocess.run([REAL / "install_vllm.sh", version], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip().splitlines()[-1])


def make_tiny_model(folder: Path) -> Path:
    """The folder, with a Llama of two layers with random weights and a byte tokenizer."""
    subprocess.run([engine(DEFAULT_VERSION) / "bin" / "python", "-c", TINY, folder], check=True, capture_output=True)
    return folder


def tiny_facts(folder: Path) -> ModelFacts:
    """The facts of the tiny model, as the lock would hold them."""
    config = json.loads((folder / "config.json").read_text())
    files = SafetensorsFacts(config=frozen(config), tensors=(), parameter_bytes=0, header_sha256=None)  # type: ignore[arg-type]
    return ModelFacts(
        source="hf://test/tiny", revision="b" * 40, kind="chat", kind_reason="config.json", safetensors=files,
        files=tuple(FileFact(path=item.name, size_bytes=item.stat().st_size) for item in sorted(folder.iterdir())),
    )  # fmt: skip


def planned(model: Path, kind: TargetName) -> tuple[Launch, Host]:
    """The backend's launch of the tiny model in /srv/tiny, with a key, on a described host with one card."""
    facts = replace(tiny_facts(model), source="file:///srv/tiny", revision=None)
    host = replace(host_of("atlas", RTX_4090, target=kind), address="127.0.0.1", listen="127.0.0.1")
    request = request_of(
        "test/tiny", host, facts=facts, context=512, parallel=4, args=("--enforce-eager",), env=CPU_ENVIRONMENT,
        api_key=SecretRef(name="key"), source=Source(kind="file", text="file:///srv/tiny", path="/srv/tiny"),
    )  # fmt: skip
    (launch,) = launches_of(request, host)
    return launch, host


UNDER_SYSTEMD = """
ip link set lo up
mkdir -p /opt/vllm && mount --bind {venv} /opt/vllm
cd /etc/systemd/system
unit=gslc-lab-chat-0.service
pid() {{ systemctl show --property MainPID --value $unit; }}
until_ready() {{
  for _ in $(seq {seconds}); do
    curl --silent --fail --output /dev/null http://127.0.0.1:20000/health && return
    systemctl is-failed --quiet $unit && return 1
    sleep 1
  done
}}
until_active() {{ for _ in $(seq 100); do systemctl is-active --quiet $unit && return; sleep 0.1; done; }}
ask() {{ curl --silent --max-time 60 -H "Authorization: Bearer geheim" -H "Content-Type: application/json" "$@"; }}
echo "systemd: $(systemctl --version | head -n 1)"
echo "verify: $(systemd-analyze verify --man=no --recursive-errors=yes gslc-lab* 2>&1 | tr '\\n' ' ')"
systemctl start --no-block gslc-lab.target
until_ready; until_active
echo "up: $(systemctl is-active $unit)"
echo "engine: $(curl --silent http://127.0.0.1:20000/version)"
echo "open: $(curl --silent --output /dev/null --write-out '%{{http_code}}' http://127.0.0.1:20000/v1/models)"
echo "models: $(ask http://127.0.0.1:20000/v1/models)"
echo "first: $(ask -d '{chat}' http://127.0.0.1:20000/v1/chat/completions)"
before=$(pid)
echo "user: $(ps -o user= -p $before)"
kill -9 $before
for _ in $(seq 600); do now=$(pid); [ "$now" != 0 ] && [ "$now" != "$before" ] && break; sleep 0.1; done
until_ready; until_active
echo "restarts: $(systemctl show --property NRestarts --value $unit)"
echo "second: $(ask -d '{chat}' http://127.0.0.1:20000/v1/chat/completions)"
systemctl stop gslc-lab.target $unit
echo "stopped: $(systemctl is-active $unit) $(systemctl show --property Result --value $unit)" \\
  "$(systemctl show --property ExecMainStatus --value $unit)"
"""


def serve_under_systemd(model: Path, folder: Path) -> Served:
    """What a booted systemd of this machine does with the generated unit; `folder` is for the work."""
    subprocess.run([REAL / "install_targets.sh", "packages"], check=True)
    launch, host = planned(model, "systemd")
    files = SystemdTarget(templates=templates).render(make_plan(make_instance(launch)), make_cluster(host)).value or ()
    tree = folder / "tree"
    install_systemd(files, "lab", tree)
    put(tree, "/usr/local/bin/vllm", PROGRAM, 0o755)
    put(tree, "/etc/gslc/secrets/key.env", "VLLM_API_KEY=geheim\n", 0o600)
    shutil.copytree(model, tree / "srv" / "tiny")
    for place in (tree / "srv" / "tiny", *(tree / "srv" / "tiny").iterdir()):
        place.chmod(0o755)
    script = UNDER_SYSTEMD.format(venv=engine(DEFAULT_VERSION), seconds=READY_SECONDS, chat=CHAT)
    return boot(folder, tree, script, 3 * READY_SECONDS)


UNDER_COMPOSE = """
docker() {{ /usr/bin/docker "$@"; }}
docker tag {image} {helper}
mkdir -p /etc/gslc/secrets /srv/tiny
echo VLLM_API_KEY=geheim > /etc/gslc/secrets/key.env
cp {model}/* /srv/tiny && chmod 644 /srv/tiny/*
cd {folder}
until_ready() {{
  for _ in $(seq {seconds}); do
    curl --silent --fail --output /dev/null http://127.0.0.1:20000/health && return
    sleep 1
  done
}}
ask() {{ curl --silent --max-time 60 -H "Authorization: Bearer geheim" -H "Content-Type: application/json" "$@"; }}
echo "compose: $({compose} version --short)"
echo "verify: $({compose} -f compose.yaml config --quiet 2>&1 | tr '\\n' ' ')"
{compose} up -d > up.log 2>&1; echo "created: $?"
until_ready
name=$(docker ps --all --quiet --filter label=com.docker.compose.service=chat-0)
healthy() {{ [ "$(docker inspect --format '{{{{.State.Health.Status}}}}' $name)" = healthy ]; }}
for _ in $(seq 60); do healthy && break; sleep 1; done
echo "up: $(docker inspect --format '{{{{.State.Health.Status}}}}' $name)"
echo "engine: $(curl --silent http://127.0.0.1:20000/version)"
echo "models: $(ask http://127.0.0.1:20000/v1/models)"
echo "first: $(ask -d '{chat}' http://127.0.0.1:20000/v1/chat/completions)"
kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' $name)
for _ in $(seq 120); do [ "$(docker inspect --format '{{{{.RestartCount}}}}' $name)" = 1 ] && break; sleep 0.5; done
until_ready
echo "restarts: $(docker inspect --format '{{{{.RestartCount}}}}' $name)"
echo "second: $(ask -d '{chat}' http://127.0.0.1:20000/v1/chat/completions)"
docker logs --tail 60 $name > log 2>&1
docker stop --time 30 $name > /dev/null
echo "stopped: $(docker inspect --format '{{{{.State.ExitCode}}}}' $name)"
{compose} down > /dev/null 2>&1; echo "down: $?"
echo "left: $(docker ps --all --quiet | wc -l)"
"""
# The image's place is taken by an empty one, with this machine's libraries and the installed engine mounted into it. Its
# CPU build hands weights to a worker process through shared memory, which a single GPU does without. Raising a limit wants
# CAP_SYS_RESOURCE, which test machines may lack.
OVERRIDE = """
services:
  chat-fetch:
    volumes: ["/usr:/usr:ro"]
  chat-0:
    shm_size: 2g
    ulimits: !reset null
    volumes: ["/usr:/usr:ro", "{venv}:/opt/vllm:ro"]
    environment: {{PATH: "/opt/bin:/usr/bin"}}
"""


def serve_under_compose(model: Path, folder: Path) -> Served:
    """What compose and a dockerd do with the generated service; `folder` is for the work."""
    subprocess.run([REAL / "install_targets.sh", "packages", "compose"], check=True)
    launch, host = planned(model, "compose")
    target, cluster = ComposeTarget(templates=templates), make_cluster(host, target="compose")
    write_tree(target.render(make_plan(make_instance(launch, target="compose")), cluster).value or (), folder / "out")
    place = folder / "out" / "compose" / "atlas"
    (place / "compose.override.yaml").write_text(OVERRIDE.format(venv=engine(DEFAULT_VERSION)), encoding="utf-8")
    image = host_image(folder / "images" / "vllm", launch.image or "", "opt/vllm")
    put(image, "/opt/bin/vllm", PROGRAM, 0o755)
    (image / "entrypoint").write_text('["vllm"]')
    script = UNDER_COMPOSE.format(
        image=launch.image, helper=HELPER_IMAGE, model=model, folder=place, seconds=READY_SECONDS, chat=CHAT,
        compose=TARGETS / "compose-sid" / "docker-compose",
    )  # fmt: skip
    return run_dockerd(folder, place, script, 3 * READY_SECONDS)
