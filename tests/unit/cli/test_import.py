"""`gslc import` as a program."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "tests" / "data" / "import"


def gslc(*args: str, cwd: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gslc", *args],
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "compiler"), "PATH": "/usr/bin:/bin"},
        check=False,
    )


def test_the_result_goes_to_stdout_and_doubts_to_stderr(tmp_path: Path) -> None:
    done = gslc("import", "nvidia-smi", str(SAMPLES / "nvidia-smi-535-l40s.xml"), cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(
        "# Made by `gslc import nvidia-smi` from nvidia-smi-535-l40s.xml (driver 535.183.01).\nhosts:\n  nvidia-smi-535-l40s:\n"
    )
    assert "GS186" in done.stderr


def test_a_fleet_by_pipe(tmp_path: Path) -> None:
    text = "".join((SAMPLES / name).read_text() for name in ("nvidia-smi-535-l40s.xml", "nvidia-smi-450-gtx1080ti.xml"))
    done = gslc(
        "import",
        "nvidia-smi",
        "-",
        "--host",
        "a",
        "--host",
        "b",
        "--memory",
        "64GiB",
        "--memory",
        "128GiB",
        "--address",
        "10.0.0.1",
        cwd=tmp_path,
        text=text,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert '  a:\n    address: "10.0.0.1"\n    memory: 64GiB\n' in done.stdout
    assert "  b:\n    memory: 128GiB\n" in done.stdout


def test_into_a_cluster_file(tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("version: 1\nname: lab\nhosts:\n  # first\n  a: {memory: 1GiB}\n")
    done = gslc(
        "import",
        "nvidia-smi",
        str(SAMPLES / "nvidia-smi-535-l40s.xml"),
        "--host",
        "b",
        "--memory",
        "64GiB",
        "--into",
        "cluster.yaml",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "cluster.yaml: host b is new\n")
    assert cluster.read_text().endswith("  b:\n    memory: 64GiB\n    gpus:\n      - {model: NVIDIA L40S, count: 4}\n")
    again = gslc(
        "import",
        "nvidia-smi",
        str(SAMPLES / "nvidia-smi-535-l40s.xml"),
        "--host",
        "b",
        "--memory",
        "64GiB",
        "--into",
        "cluster.yaml",
        cwd=tmp_path,
    )
    assert (again.returncode, again.stdout) == (0, "cluster.yaml: nothing to change\n")
    assert list(tmp_path.iterdir()) == [cluster]


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (("import", "nvidia-smi", "missing.xml"), 4),
        (("import", "nvidia-smi", "empty"), 1),
        (("import", "nvidia-smi", "utf16"), 1),
        (("import", "nvidia-smi", "."), 4),
        (("import", "no-such-kind", "empty"), 2),
        (("import", "nvidia-smi"), 2),
        (("import", "nvidia-smi", "-", "-"), 2),
        (("import", "nvidia-smi", "empty", "--memory", "lots"), 2),
    ],
)
def test_exit_statuses(tmp_path: Path, args: tuple[str, ...], status: int) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "utf16").write_bytes("<nvidia_smi_log/>".encode("utf-16"))
    done = gslc(*args, cwd=tmp_path, text="")
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_json_reports_diagnostics_in_the_envelope(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    done = gslc("import", "nvidia-smi", "empty", "--format", "json", cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["diagnostics"][0]["code"] == "GS180"


def test_json_holds_the_result(tmp_path: Path) -> None:
    file = str(SAMPLES / "nvidia-smi-535-l40s.xml")
    done = gslc("import", "nvidia-smi", file, "--format", "json", cwd=tmp_path)
    plain = gslc("import", "nvidia-smi", file, cwd=tmp_path)
    assert json.loads(done.stdout)["imported"] == plain.stdout


def test_the_help_names_the_command_behind_each_kind(tmp_path: Path) -> None:
    done = gslc("import", "--help", cwd=tmp_path)
    assert "nvidia-smi -q -x" in done.stdout
    assert "kubectl get nodes -o json" in done.stdout
