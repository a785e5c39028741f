"""Real engines under what `gslc build` writes for a cluster file: built, installed as the guides say, started, asked, killed,
stopped. One function a cell of the table in docs/real-runs.md; each answers with what it saw.
"""

from __future__ import annotations

import array
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "compiler"), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "real")]

from model_files import Sparse  # noqa: E402 - the path above makes it importable
from test_llama_server import dense  # noqa: E402
from tests.support.plans import make_cluster, make_host, make_instance, make_launch, make_plan, templates  # noqa: E402
from tests.support.real_serving import TARGETS, said  # noqa: E402
from tests.support.target_trees import install_built, install_systemd  # noqa: E402

from gslc.ir.plan import ModelFile  # noqa: E402
from gslc.targets.systemd import SystemdTarget  # noqa: E402

REAL = ROOT / "tests" / "real"
# A path that is the same on the building machine and inside, and that no unit hides (as /tmp and homes are).
MODEL = Path("/var/cache/gslc-tests/tiny.gguf")
NOTHING = "nothing"
DEBIAN_IMAGE = "the image is a tree of Debian sid with llama-server, and also takes the place of the image that fetches"
NETWORK_NAMESPACES = "hosts are network namespaces of one machine; the plan is made by hand"
STEPS = ("verified", "started", "answered", "restarted", "stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run saw: a step that succeeded says with what, one that failed is missing."""

    engine: str
    target: str
    version: str
    seen: dict[str, str]
    stood_in: str
    log: str = ""

    @property
    def complete(self) -> bool:
        """True where every step succeeded."""
        return all(step in self.seen for step in STEPS)


def tiny_model() -> None:
    """A dense llama with random weights: zeros would give no numbers to choose a token by."""
    made = dense(blocks=2, width=256, kind="F32")
    assert isinstance(made, Sparse)
    chance = random.Random(1)
    count = (made.size - len(made.head) + 3) // 4
    weights = array.array("f", (chance.uniform(-0.1, 0.1) for _ in range(count)))
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    MODEL.write_bytes((made.head + weights.tobytes())[: made.size])


def build(folder: Path, text: str) -> Path:
    """The output folder that `gslc build` makes of a cluster file."""
    (folder / "cluster.yaml").write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "compiler")}
    subprocess.run(
        [sys.executable, "-m", "gslc", "build", "cluster.yaml", "-q"], cwd=folder, check=True, env=environment
    )
    return folder / "build"


CLUSTER = """version: 1
name: real
target: {target}
defaults: {{backend_for_gguf: llama.cpp}}
engines: {{llama.cpp: {{path: /usr/bin, image: "registry.example/llama:1"}}}}
hosts: {{atlas: {{memory: 8GiB}}}}
models:
  tiny: {{source: "file://{model}", context: 512}}
"""

ASK = """
ask() {
  curl --silent --fail --max-time 60 http://127.0.0.1:20000/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"model":"tiny","max_tokens":8,"temperature":0,"messages":[{"role":"user","content":"w1 w2"}]}' | /usr/bin/python3 -c '
import hashlib, json, sys
answer = json.load(sys.stdin)
text = answer["choices"][0]["message"]["content"]
print(answer["usage"]["completion_tokens"], "tokens, text", hashlib.sha256(text.encode()).hexdigest()[:8])'
}
until_active() { for _ in $(seq 100); do systemctl is-active --quiet $1 && return; sleep 0.1; done; return 1; }
ready() { for _ in $(seq 300); do curl --silent --fail http://127.0.0.1:20000/health > /dev/null && return; sleep 0.2; done; return 1; }
"""


def llama_systemd() -> Run:
    """llama-server of Debian sid under the newest systemd."""
    subprocess.run([REAL / "install_targets.sh", "packages", "trees"], check=True)
    tiny_model()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = build(folder, CLUSTER.format(target="systemd", model=MODEL))
        tree = folder / "tree"
        install_built(built / "systemd" / "atlas", "real", tree)
        (tree / MODEL.relative_to("/")).parent.mkdir(parents=True)
        shutil.copyfile(MODEL, tree / MODEL.relative_to("/"))
        script = folder / "script"
        script.write_text(
            ASK
            + """
cd /etc/systemd/system
unit=gslc-real-tiny-0.service
echo "version: llama.cpp $(llama-server --version 2>&1 | sed -n 's/^version: //p') under $(systemctl --version | head -n 1)"
[ -z "$(systemd-analyze verify --man=no --recursive-errors=yes gslc-real* 2>&1)" ] && echo "verified: systemd-analyze verify"
systemctl start gslc-real.target && systemctl is-active --quiet $unit && echo "started: systemctl start"
answer=$(ask) && echo "answered: $answer"
before=$(systemctl show --property MainPID --value $unit); kill -9 $before
for _ in $(seq 100); do now=$(systemctl show --property MainPID --value $unit); [ $now != 0 ] && [ $now != $before ] && break; sleep 0.2; done
ready && until_active $unit && again=$(ask) && [ "$again" = "$answer" ] && echo "restarted: after kill -9, the same answer"
systemctl stop gslc-real.target $unit
[ "$(systemctl is-active $unit) $(systemctl show --property Result --value $unit)" = "inactive success" ] && echo "stopped: inactive, success"
true
""",
            encoding="utf-8",
        )
        environment = {**os.environ, "ROOTFS": str(TARGETS / "systemd-sid"), "JOURNAL": str(folder / "journal")}
        done = subprocess.run(
            [REAL / "boot_systemd.sh", tree, script], capture_output=True, text=True, env=environment, check=False
        )
        journal = (folder / "journal").read_text(errors="replace") if (folder / "journal").exists() else ""
    return result("llama.cpp", "systemd", done, journal, NOTHING)


def llama_compose() -> Run:
    """llama-server of Debian sid as a container under the newest compose."""
    subprocess.run([REAL / "install_targets.sh", "packages", "compose", "trees"], check=True)
    tiny_model()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = build(folder, CLUSTER.format(target="compose", model=MODEL))
        image = folder / "images" / "llama"
        ignored = shutil.ignore_patterns("dev", "proc")
        shutil.copytree(TARGETS / "systemd-sid", image, symlinks=True, ignore=ignored)
        (image / "image").write_text("registry.example/llama:1")
        (image / "entrypoint").write_text('["/usr/bin/llama-server"]')
        script = folder / "script"
        script.write_text(
            ASK
            + f"""
compose={TARGETS}/compose-sid/docker-compose
docker tag registry.example/llama:1 docker.io/library/python:3.13-slim
cd {built}/compose/atlas
echo "version: llama.cpp of Debian sid under compose $($compose version --short)"
[ -z "$($compose config --quiet 2>&1)" ] && echo "verified: compose config"
$compose up -d --wait > {folder}/up 2>&1 && echo "started: compose up --wait, healthy" || cat {folder}/up >&2
answer=$(ask) && echo "answered: $answer"
id=$(docker ps --quiet --filter label=com.docker.compose.service=tiny-0)
kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' $id)
for _ in $(seq 100); do [ "$(docker inspect --format '{{{{.RestartCount}}}}' $id)" = 1 ] && break; sleep 0.2; done
ready && again=$(ask) && [ "$again" = "$answer" ] && echo "restarted: after kill -9, the same answer"
$compose down > /dev/null 2>&1 && [ -z "$(docker ps --all --quiet)" ] && echo "stopped: compose down, nothing left"
true
""",
            encoding="utf-8",
        )
        done = subprocess.run(
            [REAL / "run_dockerd.sh", folder / "images", script], capture_output=True, text=True, check=False
        )
    return result("llama.cpp", "compose", done, "", DEBIAN_IMAGE)


def llama_rpc_systemd() -> Run:
    """llama-server with an RPC server on another host: two booted systems, each in a network namespace of its own."""
    subprocess.run([REAL / "install_targets.sh", "packages", "trees"], check=True)
    tiny_model()
    files = (
        ModelFile(
            path=str(MODEL), size_bytes=MODEL.stat().st_size, sha256=sha256(MODEL.read_bytes()).hexdigest(), url=None
        ),
    )
    rpc = make_launch(
        "tiny-0-rpc-0",
        role="rpc",
        host="borea",
        listen="10.77.0.2",
        port=20001,
        health_path=None,
        program="/usr/libexec/x86_64-linux-gnu/llama/bin/ggml-rpc-server",
        argv=("-H", "10.77.0.2", "-p", "20001"),
    )
    leader = make_launch(
        "tiny-0",
        listen="10.77.0.1",
        program="/usr/bin/llama-server",
        files=files,
        after=("tiny-0-rpc-0",),
        argv=(
            "-m",
            str(MODEL),
            "--host",
            "10.77.0.1",
            "--port",
            "20000",
            "-c",
            "512",
            "-np",
            "1",
            "--alias",
            "tiny",
            "--rpc",
            "10.77.0.2:20001",
            "--device",
            "RPC0",
            "-ngl",
            "99",
            "--fit",
            "off",
        ),
    )
    cluster = make_cluster(make_host(address="10.77.0.1"), make_host("borea", address="10.77.0.2"))
    output = SystemdTarget(templates=templates).render(make_plan(make_instance((leader, rpc))), cluster).value or ()
    names = [f"gslc{os.getpid()}{letter}" for letter in "ab"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for host in ("atlas", "borea"):
            install_systemd(output, "lab", folder / host, (host,))
            copy = folder / host / MODEL.relative_to("/")
            copy.parent.mkdir(parents=True)
            shutil.copyfile(MODEL, copy)
        (folder / "atlas.sh").write_text(ASK.replace("127.0.0.1", "10.77.0.1") + RPC_LEADER, encoding="utf-8")
        (folder / "borea.sh").write_text(RPC_FOLLOWER, encoding="utf-8")
        try:
            subprocess.run(["bash", "-euc", NAMESPACES, "-", *names], check=True)
            started = [
                subprocess.Popen(
                    [REAL / "boot_systemd.sh", folder / host, folder / f"{host}.sh"],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={
                        **os.environ,
                        "ROOTFS": str(TARGETS / "systemd-sid"),
                        "NETNS": namespace,
                        "JOURNAL": str(folder / f"{host}.journal"),
                    },
                )
                for host, namespace in zip(("atlas", "borea"), names, strict=True)
            ]
            outcomes = [process.communicate() for process in started]
        finally:
            for namespace in names:
                subprocess.run(["ip", "netns", "delete", namespace], check=False)
        journals = "".join(path.read_text(errors="replace")[-3000:] for path in sorted(folder.glob("*.journal")))
    done = subprocess.CompletedProcess([], 0, "".join(out for out, _ in outcomes), "".join(err for _, err in outcomes))
    return result("llama.cpp over RPC, two hosts", "systemd", done, journals, NETWORK_NAMESPACES)


NAMESPACES = """
ip netns add $1; ip netns add $2
ip link add name v0 netns $1 type veth peer name v0 netns $2
ip -n $1 address add 10.77.0.1/24 dev v0; ip -n $2 address add 10.77.0.2/24 dev v0
for name in $1 $2; do ip -n $name link set lo up; ip -n $name link set v0 up; done
"""
RPC_LEADER = """
unit=gslc-lab-tiny-0.service
echo "version: llama.cpp $(llama-server --version 2>&1 | sed -n 's/^version: //p') under $(systemctl --version | head -n 1)"
[ -z "$(cd /etc/systemd/system; systemd-analyze verify --man=no --recursive-errors=yes gslc-lab* 2>&1)" ] && echo "verified: systemd-analyze verify on both hosts"
systemctl start gslc-lab.target && systemctl is-active --quiet $unit && echo "started: the leader waited for the other host's port"
answer=$(ask) && echo "answered: $answer, layers on the other host"
before=$(systemctl show --property MainPID --value $unit); kill -9 $before
for _ in $(seq 100); do now=$(systemctl show --property MainPID --value $unit); [ $now != 0 ] && [ $now != $before ] && break; sleep 0.2; done
ready && until_active $unit && again=$(ask) && [ "$again" = "$answer" ] && echo "restarted: after kill -9 of the leader, the same answer"
systemctl stop gslc-lab.target $unit
[ "$(systemctl is-active $unit) $(systemctl show --property Result --value $unit)" = "inactive success" ] && echo "stopped: inactive, success"
true
"""
RPC_FOLLOWER = """
sleep 4
systemctl start gslc-lab.target
seen=no
for _ in $(seq 90); do
  if curl --silent --max-time 2 http://10.77.0.1:20000/health > /dev/null; then seen=yes; gone=0; else gone=$((gone + 1)); fi
  [ $seen = yes ] && [ ${gone:-0} -gt 12 ] && break
  sleep 1
done
true
"""


def result(engine: str, target: str, done: subprocess.CompletedProcess[str], journal: str, stood_in: str) -> Run:
    """What a script said, as a run."""
    found = said(done.stdout)
    return Run(
        engine=engine,
        target=target,
        version=found.get("version", "unknown"),
        seen={step: found[step] for step in STEPS if step in found},
        stood_in=stood_in,
        log=json.dumps(found) + done.stderr + journal[-4000:],
    )


RUNS: tuple[Callable[[], Run], ...] = (llama_systemd, llama_rpc_systemd, llama_compose)
