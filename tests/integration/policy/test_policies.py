"""The example policies, evaluated by a real Rego interpreter on plans."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
POLICIES = sorted((ROOT / "examples" / "policy").glob("*.rego"))
MIB = 1024 * 1024
EVALUATE = """
import json, sys
from regopy import Interpreter
rego = Interpreter()
for path in sys.argv[2:]:
    rego.add_module(path, open(path).read())
rego.set_input(json.load(open(sys.argv[1])))
print(rego.query("data.main.deny"))
"""


def rego_python() -> Path:
    """A Python with regopy (Microsoft's Rego interpreter, from PyPI), installed once."""
    cache = Path(os.environ.get("GSLC_TEST_CACHE", Path.home() / ".cache" / "gslc-tests")) / "rego"
    python = cache / "bin" / "python"
    if not (cache / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(cache)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "regopy==1.5.2"], check=True)
        (cache / "done").touch()
    return python


def denied(plan: Path, policy: str) -> list[str]:
    path = ROOT / "examples" / "policy" / policy
    done = subprocess.run(
        [str(rego_python()), "-c", EVALUATE, str(plan), str(path)], capture_output=True, text=True, check=True
    )
    (messages,) = json.loads(done.stdout)["expressions"]
    assert isinstance(messages, list)
    return messages


def plan_with(tmp_path: Path, used: int, hosts: tuple[str, ...]) -> Path:
    """A plan of one model with a replica on each of `hosts`, each taking `used` MiB of a card of 80,000."""
    plan = {
        "version": 1,
        "cluster": "lab",
        "instances": [
            {
                "name": f"m-{n}",
                "model": "m",
                "shards": [{"name": f"m-{n}", "host": host, "gpus": [1], "memory": {"gpus": [{"total": used * MIB}]}}],
            }
            for n, host in enumerate(hosts)
        ],
        "unplaced": [],
        "hosts": [{"name": host, "gpus": [{"model": "x", "memory": 80_000 * MIB}] * 2} for host in sorted(set(hosts))],
    }
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan))
    return path


@pytest.mark.real
@pytest.mark.parametrize(("used", "count"), [(77_600, 0), (77_601, 1), (1, 0), (0, 0)])
def test_headroom_counts_bytes(tmp_path: Path, used: int, count: int) -> None:
    messages = denied(plan_with(tmp_path, used, ("a",)), "headroom.rego")
    assert len(messages) == count
    assert all(message.startswith("GPU 1 of a (x) has 77601 MiB planned of 80000") for message in messages)


@pytest.mark.real
def test_headroom_adds_what_shares_a_card(tmp_path: Path) -> None:
    assert len(denied(plan_with(tmp_path, 39_200, ("a", "a")), "headroom.rego")) == 1
    assert denied(plan_with(tmp_path, 39_200, ("a", "b")), "headroom.rego") == []


@pytest.mark.real
def test_spread_wants_two_hosts(tmp_path: Path) -> None:
    (message,) = denied(plan_with(tmp_path, 1, ("a", "a")), "spread.rego")
    assert message == "all 2 replicas of m lie on a; add anti_affinity: host, or placement: spread"
    assert denied(plan_with(tmp_path, 1, ("a", "b")), "spread.rego") == []
    assert denied(plan_with(tmp_path, 1, ("a",)), "spread.rego") == []


@pytest.mark.real
@pytest.mark.parametrize("policy", [path.name for path in POLICIES])
def test_the_policies_read_the_plan_of_a_real_build(policy: str) -> None:
    for message in denied(ROOT / "examples" / "team" / "build" / "plan.json", policy):
        assert "undefined" not in message


def test_every_policy_is_documented() -> None:
    page = (ROOT / "docs" / "policy.md").read_text()
    assert POLICIES
    for path in POLICIES:
        assert f"(../examples/policy/{path.name})" in page
