"""`gslc import` as a program."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from gslc.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "tests" / "data" / "import"


@dataclass(frozen=True, slots=True)
class Done:
    """What a run of the program left."""

    returncode: int
    stdout: str
    stderr: str


def gslc(*args: str, cwd: Path, text: str = "") -> Done:
    """The program in this process, with streams of bytes as a shell gives them."""
    streams = [io.TextIOWrapper(io.BytesIO(start), encoding="utf-8") for start in (text.encode(), b"", b"")]
    with (
        contextlib.chdir(cwd),
        mock.patch.multiple(sys, stdin=streams[0], stdout=streams[1], stderr=streams[2]),
        pytest.raises(SystemExit) as end,
    ):
        main(list(args))
    for stream in streams[1:]:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode() for stream in streams[1:])  # type: ignore[attr-defined]
    return Done(int(end.value.code or 0), out, err)


def gslc_alone(*args: str, cwd: Path, text: str = "") -> Done:
    """The program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "gslc", *args],
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "compiler"), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


either = pytest.mark.parametrize("start", [gslc, gslc_alone])


@either
def test_the_result_goes_to_stdout_and_doubts_to_stderr(tmp_path: Path, start: Callable[..., Done]) -> None:
    done = start("import", "nvidia-smi", str(SAMPLES / "nvidia-smi-535-l40s.xml"), cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(
        "# Made by `gslc import nvidia-smi` from nvidia-smi-535-l40s.xml (driver 535.183.01).\nhosts:\n  nvidia-smi-535-l40s:\n"
    )
    assert "GS186" in done.stderr


@either
def test_a_fleet_by_pipe(tmp_path: Path, start: Callable[..., Done]) -> None:
    text = "".join((SAMPLES / name).read_text() for name in ("nvidia-smi-535-l40s.xml", "nvidia-smi-450-gtx1080ti.xml"))
    done = start(
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
