"""Generated compose files under real compose releases and a real dockerd: read back, brought up, asked, killed, stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.hostile import HOSTILE
from tests.support.plans import make_cluster, make_gpus, make_host, make_instance, make_launch, make_plan, templates
from tests.support.target_trees import REAL, put, write_tree

from gslc.ir.plan import Launch, ModelFile, Plan
from gslc.targets.compose import HELPER_IMAGE, ComposeTarget

pytestmark = pytest.mark.real
CACHE = Path(os.environ.get("GSLC_TEST_CACHE") or Path.home() / ".cache" / "gslc-tests") / "targets"
IMAGE = "registry.example/server:1"
MODEL = b"not really a model"
LIMITS = "    ulimits:\n      memlock: -1\n      stack: 67108864\n"
VERSIONS = {
    "1.29": "/usr/bin/docker-compose",
    "2.26": str(CACHE / "compose-trixie" / "docker-compose"),
    "newest": str(CACHE / "compose-sid" / "docker-compose"),
}


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    subprocess.run([REAL / "install_targets.sh", "packages", "compose", "trees"], check=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image in all roles: a Debian with Python and curl, and the stand-in as its entry point."""
    folder = tmp_path_factory.mktemp("images")
    shutil.copytree(
        CACHE / "systemd-trixie", folder / "server", symlinks=True, ignore=shutil.ignore_patterns("dev", "proc")
    )
    put(folder / "server", "/usr/local/bin/server", (REAL / "stand_in.py").read_text(), 0o755)
    (folder / "server" / "image").write_text(IMAGE)
    (folder / "server" / "entrypoint").write_text('["/usr/local/bin/server"]')
    return folder


def launch(name: str = "chat-0", **changes: Any) -> Launch:
    digest = hashlib.sha256(MODEL).hexdigest()
    path = "/var/lib/gslc/models/hf/a/b/model.gguf"
    url = "file:///srv/mirror/chat/model.gguf"
    files = (ModelFile(path=path, size_bytes=len(MODEL), sha256=digest, url=url, token="HF_TOKEN"),)
    return make_launch(name, **{"image": IMAGE, "files": files, "program": "", **changes})


def hostile_plan() -> Plan:
    one = launch(
        argv=("--port", "20000", *HOSTILE),
        env=tuple((f"VALUE_{number}", text) for number, text in enumerate(HOSTILE)),
        gpus=(3, 1),
        vendor="nvidia",
        shared_memory_bytes=1 << 30,
        cache_dirs=("hub",),
        cache_env=(("HF_HOME", "hub"),),
        secret_env=(("VLLM_API_KEY", "chat-key"),),
        hub_token=True,
    )
    two = launch("next-0", port=20001, argv=("--port", "20001"), gpus=(1,), vendor="nvidia", health_program="python3")
    return make_plan(
        make_instance(one, target="compose"), make_instance(two, target="compose", startup_group=("chat-0",))
    )


def write(plan: Plan, root: Path) -> Path:
    host = make_host(target="compose", gpus=make_gpus(4, uuids=True))
    target, cluster = ComposeTarget(templates=templates), make_cluster(host, target="compose")
    assert [found for found in target.review(plan, cluster) if found.severity == "error"] == []
    write_tree(target.render(plan, cluster).value or (), root)
    return root / "compose" / "atlas"


def dockerd(images: Path, tmp_path: Path, script: str) -> dict[str, str]:
    place = tmp_path / "script"
    place.write_text(PRELUDE + script, encoding="utf-8")
    done = subprocess.run([REAL / "run_dockerd.sh", images, place], capture_output=True, text=True, check=False)
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return said


PRELUDE = f"""
docker() {{ /usr/bin/docker "$@"; }}
docker tag {IMAGE} {HELPER_IMAGE}
mkdir -p /srv/mirror/chat /etc/gslc/secrets; printf '{MODEL.decode()}' > /srv/mirror/chat/model.gguf
echo 'VLLM_API_KEY=geheim' > /etc/gslc/secrets/chat-key.env; echo hf_x > /etc/gslc/secrets/hf_token
ask() {{ curl --silent --fail --max-time 5 "http://$1/process"; }}
container() {{ docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.service=$1"; }}
state() {{ docker inspect --format "$2" "$(container "$1")" 2> /dev/null; }}
until_healthy() {{ for _ in $(seq 300); do [ "$(state $1 '{{{{.State.Health.Status}}}}')" = healthy ] && return; sleep 0.2; done; return 1; }}
"""


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_every_release_reads_the_same_arguments_and_variables(tmp_path: Path, version: str) -> None:
    folder = write(hostile_plan(), tmp_path)
    for file in ("chat-key.env", "hf_token"):
        put(tmp_path, f"secrets/{file}", "")
    text = (folder / "compose.yaml").read_text()
    # the file of a secret must be there, and the machine that runs the test has none
    (folder / "compose.yaml").write_text(text.replace("/etc/gslc/secrets/", f"{tmp_path}/secrets/"))
    command = [VERSIONS[version], "config"] + ([] if version == "1.29" else ["--format", "json"])
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]}
    )
    assert (done.returncode, done.stderr) == (0, "")
    read = yaml.safe_load(done.stdout) if version == "1.29" else json.loads(done.stdout)
    service = read["services"]["chat-0"]
    assert [word.replace("$$", "$") for word in service["command"]] == ["--port", "20000", *HOSTILE]
    values = [service["environment"][f"VALUE_{number}"] for number in range(len(HOSTILE))]
    assert [value.replace("$$", "$") for value in values] == list(HOSTILE)
    if version != "1.29":
        assert read["name"] == "lab"


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_a_project_comes_up_answers_returns_after_a_kill_and_goes_down(
    tmp_path: Path, images: Path, version: str
) -> None:
    folder = write(hostile_plan(), tmp_path / "out")
    text = (folder / "compose.yaml").read_text()
    # raising a limit wants CAP_SYS_RESOURCE, which test machines may lack; config has read the lines above
    assert LIMITS in text
    (folder / "compose.yaml").write_text(text.replace(LIMITS, ""))
    said = dockerd(
        images,
        tmp_path,
        f"""
cd {folder}
{VERSIONS[version]} up -d > {tmp_path}/up.log 2>&1 || {{ cat {tmp_path}/up.log; exit 1; }}
until_healthy chat-0 && until_healthy next-0 && echo "health: both"
echo "first: $(ask 127.0.0.1:20000)"
began() {{ state $1 '{{{{.State.StartedAt}}}}'; }}
[[ "$(began chat-0)" < "$(began next-0)" ]] && echo "order: one by one"
echo "hook: $(cut -d ' ' -f 1,3- "$HOOK_LOG" | sort -u | tr '\\n' '|')"
kill -9 "$(state chat-0 '{{{{.State.Pid}}}}')"
for _ in $(seq 100); do ask 127.0.0.1:20000 > /dev/null && [ "$(state chat-0 '{{{{.RestartCount}}}}')" = 1 ] && break; sleep 0.2; done
echo "second: $(ask 127.0.0.1:20000)"
echo "file: $(stat -c %a /var/lib/gslc/models/hf/a/b/model.gguf)"
rm -r /srv/mirror
{VERSIONS[version]} up -d > {tmp_path}/up.log 2>&1; echo "again: $?"
{VERSIONS[version]} down > {tmp_path}/down.log 2>&1; echo "down: $?"
echo "left: $(docker ps --all --quiet | wc -l)"
""",
    )
    assert said["health"] == "both"
    assert said["order"] == "one by one"
    first = json.loads(said["first"])
    assert first["argv"] == ["--port", "20000", *HOSTILE]
    assert [first["env"][f"VALUE_{number}"] for number in range(len(HOSTILE))] == list(HOSTILE)
    assert first["env"]["CUDA_VISIBLE_DEVICES"] == "1,0"
    assert first["env"]["VLLM_API_KEY"] == "geheim"
    cards = [f"GPU-0000000{index}-0000-4000-8000-000000000000" for index in (1, 3)]
    assert f"NVIDIA_VISIBLE_DEVICES={','.join(cards)} " in said["hook"]
    assert f"NVIDIA_VISIBLE_DEVICES={cards[0]} " in said["hook"]
    assert json.loads(said["second"])["argv"] == first["argv"]
    assert (said["file"], said["again"], said["down"], said["left"]) == ("644", "0", "0", "0")


def test_a_server_does_not_start_on_files_that_are_not_what_was_locked(tmp_path: Path, images: Path) -> None:
    plan = make_plan(make_instance(launch(), target="compose"))
    folder = write(plan, tmp_path / "out")
    said = dockerd(
        images,
        tmp_path,
        f"""
cd {folder}
printf 'not quite a model!' > /srv/mirror/chat/model.gguf
{VERSIONS["newest"]} up -d > {tmp_path}/up.log 2>&1; echo "up: $?"
echo "running: $(docker ps --quiet | wc -l)"
{VERSIONS["newest"]} down > /dev/null 2>&1
""",
    )
    assert said["up"] != "0"
    assert said["running"] == "0"
