"""The commands of the deploy guides, run as they stand in docs/."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.plans import ROOT, make_cluster, make_host, make_instance, make_launch, make_plan, templates
from tests.support.target_trees import REAL, put, write_tree

from gslc.ir.plan import ModelFile, Plan
from gslc.targets.compose import HELPER_IMAGE, ComposeTarget
from gslc.targets.systemd import SystemdTarget

pytestmark = pytest.mark.real
CACHE = Path(os.environ.get("GSLC_TEST_CACHE") or Path.home() / ".cache" / "gslc-tests") / "targets"
IMAGE = "registry.example/server:1"
FILE = ModelFile(
    path="/var/lib/gslc/models/hf/a/b/m.gguf",
    size_bytes=5,
    sha256="2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    url="file:///srv/mirror/m.gguf",
    token="HF_TOKEN",
)


def commands(guide: str, step: str) -> str:
    """The shell block of one step of a guide."""
    text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
    section = text[text.index(f"## {step}") :]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found, f"no commands in {guide}, {step}"
    return found.group(1)


def plan(target: str, host: str) -> Plan:
    launch = make_launch(
        host=host, image=IMAGE, files=(FILE,), secret_env=(("VLLM_API_KEY", "chat-key"),), argv=("--port", "20000")
    )
    return make_plan(make_instance(launch, target=target))


def test_the_systemd_guide(tmp_path: Path) -> None:
    subprocess.run([REAL / "install_targets.sh", "packages"], check=True)
    tree = tmp_path / "tree"
    target = SystemdTarget(templates=templates)
    write_tree(target.render(plan("systemd", "atlas"), make_cluster(make_host())).value or (), tree / "srv/repo/build")
    put(tree, "/usr/local/bin/server", (REAL / "stand_in.py").read_text(), 0o755)
    put(tree, "/srv/mirror/m.gguf", "hello")
    script = put(
        tmp_path,
        "script",
        "set -e; cd /srv/repo\n"
        + commands("deploy-systemd.md", "2.")
        + "echo VLLM_API_KEY=geheim > /etc/gslc/secrets/chat-key.env\n"
        + commands("deploy-systemd.md", "4.")
        + "curl --silent --fail http://127.0.0.1:20000/process | grep -c geheim\n"
        + commands("deploy-systemd.md", "5.")
        + "[ $(systemctl is-active gslc-lab-chat-0.service) = inactive ] && echo stopped\n",
    )
    done = subprocess.run([REAL / "boot_systemd.sh", tree, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-2:]) == (0, ["1", "stopped"]), done.stdout + done.stderr


def test_the_compose_guide(tmp_path: Path) -> None:
    subprocess.run([REAL / "install_targets.sh", "packages", "compose", "trees"], check=True)
    cluster = make_cluster(make_host("den", target="compose"), target="compose")
    target = ComposeTarget(templates=templates)
    write_tree(target.render(plan("compose", "den"), cluster).value or (), tmp_path / "repo" / "build")
    image = tmp_path / "images" / "server"
    shutil.copytree(CACHE / "systemd-trixie", image, symlinks=True, ignore=shutil.ignore_patterns("dev", "proc"))
    put(image, "/usr/local/bin/server", (REAL / "stand_in.py").read_text(), 0o755)
    (image / "image").write_text(IMAGE)
    (image / "entrypoint").write_text('["/usr/local/bin/server"]')
    script = put(
        tmp_path,
        "script",
        # `docker compose` and git stand for themselves: compose is a plugin folder of its own, git has nothing to pull
        f'set -e; docker() {{ if [ $1 = compose ]; then shift; {CACHE}/compose-sid/docker-compose "$@"; '
        'else /usr/bin/docker "$@"; fi; }\n'
        f"git() {{ true; }}; cd {tmp_path}/repo; docker tag {IMAGE} {HELPER_IMAGE}\n"
        "mkdir /srv/mirror; printf hello > /srv/mirror/m.gguf\n"
        + commands("deploy-compose.md", "1.")
        + "echo VLLM_API_KEY=geheim > /etc/gslc/secrets/chat-key.env\n"
        + commands("deploy-compose.md", "3.")
        + "curl --silent --fail http://127.0.0.1:20000/process | grep -c geheim\n"
        + commands("deploy-compose.md", "4.")
        + "docker compose down; [ -z $(/usr/bin/docker ps -aq) ] && echo stopped\n",
    )
    done = subprocess.run(
        [REAL / "run_dockerd.sh", tmp_path / "images", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"1", "stopped"} <= set(done.stdout.splitlines())
