"""Generated units under the real systemd: checked, started, asked, killed, stopped."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.hostile import HOSTILE
from tests.support.plans import make_cluster, make_gpus, make_host, make_instance, make_launch, make_plan, templates
from tests.support.target_trees import REAL, install_systemd, put

from gslc.ir.plan import Launch, ModelFile, Plan
from gslc.targets.systemd import SystemdTarget

pytestmark = pytest.mark.real
CACHE = Path(os.environ.get("GSLC_TEST_CACHE") or Path.home() / ".cache" / "gslc-tests") / "targets"
ROOTS = {"252": "/", "257": str(CACHE / "systemd-trixie"), "newest": str(CACHE / "systemd-sid")}
MODEL = b"not really a model"
Boot = Callable[..., "Booted"]


class Booted:
    """What a script said inside: lines, and the JSON behind the last `name: {...}` of each name."""

    def __init__(self, done: subprocess.CompletedProcess[str], journal: str) -> None:
        self.status, self.out, self.err, self.journal = done.returncode, done.stdout, done.stderr, journal

    def value(self, name: str) -> str:
        found = [line.split(": ", 1)[1] for line in self.out.splitlines() if line.startswith(f"{name}: ")]
        assert found, f"no {name} in {self.out}\n{self.err}\n{self.journal[-3000:]}"
        return found[-1]

    def process(self, name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.value(name))
        return found


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    subprocess.run([REAL / "install_targets.sh", "packages", "trees"], check=True)


ADDRESSES = {"atlas": "10.99.0.2", "borea": "10.99.0.1"}  # where one machine plays both


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    """Installs a plan's units for the hosts named, boots, runs a script."""

    def run(
        plan: Plan, script: str, *, hosts: tuple[str, ...] = ("atlas",), root: str = "/", seconds: int = 120
    ) -> Booted:
        tree = tmp_path / "tree"
        machines = [
            make_host(name, address=ADDRESSES[name] if len(hosts) > 1 else "127.0.0.1", gpus=make_gpus(4))
            for name in hosts
        ]
        cluster = make_cluster(*machines)
        target = SystemdTarget(templates=templates)
        assert [found for found in target.review(plan, cluster) if found.severity == "error"] == []
        install_systemd(target.render(plan, cluster).value or (), "lab", tree, hosts)
        put(tree, "/usr/local/bin/server", (REAL / "stand_in.py").read_text(), 0o755)
        put(tree, "/srv/mirror/chat/model.gguf", MODEL.decode())
        put(tree, "/etc/gslc/secrets/chat-key.env", "VLLM_API_KEY=geheim\n", 0o600)
        place = tmp_path / "script"
        place.write_text(PRELUDE + script, encoding="utf-8")
        journal = tmp_path / "journal"
        environment = {**os.environ, "ROOTFS": root, "JOURNAL": str(journal), "SECONDS_ALLOWED": str(seconds)}
        done = subprocess.run(
            [REAL / "boot_systemd.sh", tree, place], capture_output=True, text=True, env=environment, check=False
        )
        return Booted(done, journal.read_text(errors="replace") if journal.exists() else "")

    return run


PRELUDE = """
ask() { curl --silent --fail --max-time 5 "http://$1/process"; }
pid() { systemctl show --property MainPID --value "$1"; }
until_state() { for _ in $(seq 200); do [ "$(systemctl is-active "$2")" = "$1" ] && return; sleep 0.1; done; return 1; }
until_other_pid() { for _ in $(seq 200); do now=$(pid "$1"); [ "$now" != 0 ] && [ "$now" != "$2" ] && return; sleep 0.1; done; return 1; }
ip link set lo up; ip address add 10.99.0.1/32 dev lo; ip address add 10.99.0.2/32 dev lo
"""


def model_files(url: str | None = "file:///srv/mirror/chat/model.gguf") -> tuple[ModelFile, ...]:
    digest = hashlib.sha256(MODEL).hexdigest()
    path = "/var/lib/gslc/models/hf/a/b/model.gguf"
    return (ModelFile(path=path, size_bytes=len(MODEL), sha256=digest, url=url, token="HF_TOKEN"),)


def gpu_launch(**changes: object) -> Launch:
    return make_launch(
        **{
            "gpus": (1, 0),
            "vendor": "nvidia",
            "gpu_uuids": (None, None),
            "files": model_files(),
            "argv": ("--port", "20000", *HOSTILE),
            "env": tuple((f"VALUE_{number}", text) for number, text in enumerate(HOSTILE)),
            "secret_env": (("VLLM_API_KEY", "chat-key"),),
            "cache_dirs": ("hub",),
            "cache_env": (("HF_HOME", "hub"),),
            "hub_token": True,
            **changes,
        }
    )


def everything() -> Plan:
    """One unit of each kind: GPU, CPU with and without code made at run time, RPC, worker, watch, fetch."""
    rpc = make_launch(
        "big-0-rpc-0", role="rpc", port=20010, argv=("--port", "20010"), health_path=None, gpus=(2,), vendor="nvidia"
    )
    head = make_launch(
        "big-0", port=20011, argv=("--port", "20011"), after=("big-0-rpc-0",), gpus=(3,), vendor="nvidia"
    )
    leader = make_launch(
        "wide-0", port=20020, argv=("--port", "20020"), host="borea", listen="10.99.0.1", group_restart=True
    )
    worker = make_launch(
        "wide-0-worker-1", role="worker", rank=1, port=20021, health_path=None, group_restart=True, listen="10.99.0.2"
    )
    return make_plan(
        make_instance(gpu_launch(), startup_group=("big-0",)),
        make_instance(make_launch("cpu-0", port=20001, argv=("--port", "20001"))),
        make_instance(make_launch("speech-0", port=20002, argv=("--port", "20002"), jit=True)),
        make_instance(make_launch("web-0", port=80, argv=("--port", "80"))),
        make_instance((head, rpc)),
        make_instance((leader, worker)),
    )


@pytest.mark.parametrize("version", sorted(ROOTS))
def test_every_kind_of_unit_passes_verify_in_silence_and_is_locked_down(boot: Boot, version: str) -> None:
    booted = boot(
        everything(),
        "cd /etc/systemd/system\n"
        "systemd-analyze verify --man=no --recursive-errors=yes gslc-lab* && echo verified: yes\n"
        "for unit in gslc-lab*.service; do\n"
        "  grep -q '^SystemCallFilter=kcmp' $unit && limit=40 || limit=25\n"
        "  systemd-analyze security --offline=true --no-pager --threshold=$limit $unit > /tmp/table ||"
        ' { echo "exposed: $unit"; tail -n 40 /tmp/table; }\n'
        '  echo "$unit $(tail -n 1 /tmp/table)"\n'
        "done\n",
        hosts=("atlas", "borea"),
        root=ROOTS[version],
    )
    assert booted.value("verified") == "yes", booted.err
    assert booted.err == ""
    assert "exposed:" not in booted.out
    assert len([line for line in booted.out.splitlines() if "exposure level" in line]) == 10


@pytest.mark.parametrize("version", sorted(ROOTS))
def test_a_target_starts_answers_returns_after_a_kill_and_stops(boot: Boot, version: str) -> None:
    booted = boot(
        make_plan(make_instance(gpu_launch())),
        """
systemctl start gslc-lab.target; echo "started: $?"
echo "first: $(ask 127.0.0.1:20000)"
before=$(pid gslc-lab-chat-0.service); kill -9 $before
until_other_pid gslc-lab-chat-0.service $before && until_state active gslc-lab-chat-0.service
echo "second: $(ask 127.0.0.1:20000)"
systemctl stop gslc-lab.target gslc-lab-chat-0.service
echo "state: $(systemctl is-active gslc-lab-chat-0.service) $(systemctl show --property Result --value gslc-lab-chat-0.service)"
echo "home: $(stat -c %U:%a /var/lib/private/gslc-lab-chat-0)"
""",
        root=ROOTS[version],
    )
    assert booted.value("started") == "0", booted.journal
    first, second = booted.process("first"), booted.process("second")
    assert first["argv"] == ["--port", "20000", *HOSTILE]
    environment = first["env"]
    assert isinstance(environment, dict)
    assert [environment[f"VALUE_{number}"] for number in range(len(HOSTILE))] == list(HOSTILE)
    assert environment["CUDA_VISIBLE_DEVICES"] == "1,0"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert environment["VLLM_API_KEY"] == "geheim"
    assert environment["HF_HOME"] == "/var/cache/gslc-lab-chat-0/hub"
    assert first["uid"] != 0
    assert first["pid"] != second["pid"]
    assert booted.value("state") == "inactive success"


def test_start_fails_soon_when_the_server_ends_while_it_loads(boot: Boot) -> None:
    launch = make_launch(env=(("STAND_IN_FAIL", "0"),), start_seconds=100)
    booted = boot(
        make_plan(make_instance(launch)),
        """
SECONDS=0; systemctl start gslc-lab-chat-0.service; echo "started: $?"; echo "took: $SECONDS"
sleep 40; echo "state: $(systemctl is-failed gslc-lab-chat-0.service) $(systemctl show --property NRestarts --value gslc-lab-chat-0.service)"
""",
    )
    assert booted.value("started") == "1"
    assert int(booted.value("took")) < 10
    # an engine that ends with status 0 is tried again, and left failed after five starts
    assert booted.value("state").startswith("failed")


def test_a_server_that_never_answers_fails_after_its_time(boot: Boot) -> None:
    launch = make_launch(env=(("STAND_IN_LOADING", "1000"),), start_seconds=3)
    booted = boot(
        make_plan(make_instance(launch)),
        'SECONDS=0; systemctl start gslc-lab-chat-0.service; echo "started: $?"; echo "took: $SECONDS"\n',
    )
    assert booted.value("started") == "1"
    assert 3 <= int(booted.value("took")) < 15


def test_a_leader_starts_after_its_rpc_server_and_again_with_it(boot: Boot) -> None:
    rpc = make_launch("big-0-rpc-0", role="rpc", port=20010, argv=("--port", "20010"), health_path=None)
    head = make_launch("big-0", port=20011, argv=("--port", "20011"), after=("big-0-rpc-0",))
    booted = boot(
        make_plan(make_instance((head, rpc))),
        """
systemctl start gslc-lab-big-0.service; echo "started: $?"
began() { systemctl show --property ActiveEnterTimestampMonotonic --value "$1"; }
[ "$(began gslc-lab-big-0-rpc-0.service)" -lt "$(began gslc-lab-big-0.service)" ] && echo "order: rpc first"
head=$(pid gslc-lab-big-0.service); rpc=$(pid gslc-lab-big-0-rpc-0.service)
kill -9 $rpc
until_other_pid gslc-lab-big-0-rpc-0.service $rpc && until_other_pid gslc-lab-big-0.service $head && echo "restarted: both"
until_state active gslc-lab-big-0.service && echo "second: $(ask 127.0.0.1:20011)"
""",
    )
    assert booted.value("started") == "0"
    assert booted.value("order") == "rpc first"
    assert booted.value("restarted") == "both"
    assert booted.process("second")["argv"] == ["--port", "20011"]


def test_a_leader_waits_for_an_rpc_server_of_another_host(boot: Boot) -> None:
    rpc = make_launch(
        "big-0-rpc-0",
        role="rpc",
        port=20010,
        argv=("--host", "10.99.0.1", "--port", "20010"),
        health_path=None,
        host="borea",
        listen="10.99.0.1",
    )
    head = make_launch("big-0", port=20011, argv=("--port", "20011"), after=("big-0-rpc-0",))
    booted = boot(
        make_plan(make_instance((head, rpc))),
        """
systemctl start --no-block gslc-lab-big-0.service; sleep 3
echo "alone: $(systemctl show --property SubState --value gslc-lab-big-0.service)"
systemctl start gslc-lab-big-0-rpc-0.service
until_state active gslc-lab-big-0.service && echo "then: $(systemctl is-active gslc-lab-big-0.service)"
""",
        hosts=("atlas", "borea"),
    )
    assert booted.value("alone") == "start-pre"
    assert booted.value("then") == "active"


def test_a_worker_restarts_when_its_leader_on_another_host_is_gone(boot: Boot) -> None:
    leader = make_launch(
        "wide-0",
        port=20020,
        argv=("--host", "10.99.0.1", "--port", "20020"),
        host="borea",
        listen="10.99.0.1",
        group_restart=True,
    )
    worker = make_launch(
        "wide-0-worker-1",
        role="worker",
        rank=1,
        port=20021,
        argv=("--host", "10.99.0.2", "--port", "20021"),
        health_path=None,
        group_restart=True,
        listen="10.99.0.2",
    )
    booted = boot(
        make_plan(make_instance((leader, worker))),
        """
systemctl start gslc-lab-wide-0-worker-1.service gslc-lab-wide-0.service; echo "started: $?"
sleep 3
worker=$(pid gslc-lab-wide-0-worker-1.service)
systemctl stop gslc-lab-wide-0.service
until_other_pid gslc-lab-wide-0-worker-1.service $worker && echo "worker: restarted"
worker=$(pid gslc-lab-wide-0-worker-1.service)
systemctl start gslc-lab-wide-0.service; sleep 12
[ "$(pid gslc-lab-wide-0-worker-1.service)" = $worker ] && echo "then: left alone"
""",
        hosts=("atlas", "borea"),
    )
    assert booted.value("started") == "0", booted.journal
    assert booted.value("worker") == "restarted"
    assert booted.value("then") == "left alone"


def test_servers_on_one_card_start_one_after_the_other(boot: Boot) -> None:
    first = make_launch(
        "a-0", port=20001, argv=("--port", "20001"), gpus=(0,), vendor="nvidia", env=(("STAND_IN_LOADING", "3"),)
    )
    second = make_launch("b-0", port=20002, argv=("--port", "20002"), gpus=(0,), vendor="nvidia")
    booted = boot(
        make_plan(make_instance(first), make_instance(second, startup_group=("a-0",))),
        """
systemctl start gslc-lab.target
began() { systemctl show --property "$2" --value "$1"; }
[ "$(began gslc-lab-b-0.service ExecMainStartTimestampMonotonic)" -ge "$(began gslc-lab-a-0.service ActiveEnterTimestampMonotonic)" ] && echo "order: one by one"
""",
    )
    assert booted.value("order") == "one by one"


def test_files_are_fetched_once_and_a_later_start_needs_no_source(boot: Boot) -> None:
    booted = boot(
        make_plan(make_instance(gpu_launch())),
        """
systemctl start gslc-lab.target; systemctl stop gslc-lab.target gslc-lab-chat-0.service gslc-lab-chat-fetch.service
rm -r /srv/mirror
systemctl start gslc-lab-chat-0.service; echo "started: $?"
echo "owner: $(stat -c %U:%a /var/lib/gslc/models/hf/a/b/model.gguf)"
journalctl --no-pager -u gslc-lab-chat-fetch.service -o cat | grep model.gguf | sed 's/^/fetch: /'
""",
    )
    assert booted.value("started") == "0"
    assert booted.value("fetch").endswith("there, verified before")
    assert booted.value("owner") == "root:644"


def test_a_server_does_not_start_on_files_that_are_not_what_was_locked(boot: Boot) -> None:
    booted = boot(
        make_plan(make_instance(gpu_launch())),
        'printf "not quite a model" > /srv/mirror/chat/model.gguf\n'
        'systemctl start gslc-lab-chat-0.service; echo "started: $?"\n'
        'echo "state: $(systemctl is-active gslc-lab-chat-0.service)"; ls /var/lib/gslc/models/hf/a/b | grep -c gguf$\n',
    )
    assert booted.value("started") == "1"
    assert booted.value("state") == "inactive"
    assert booted.out.rstrip().endswith("0")
