"""vox-box without a GPU: generated files transcribe under systemd and compose; its own code agrees on the card."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.support.real_serving import Served
from tests.support.real_voxbox import (
    COMPOSE,
    NAMES,
    SOURCES,
    UNIT,
    cluster,
    install,
    serve_under_compose,
    serve_under_systemd,
)
from tests.support.systemd_reader import command, environment, values

from cli import Program

pytestmark = pytest.mark.real
COSYVOICE = "tiny-cosyvoice"


@pytest.fixture(scope="module")
def voxbox() -> Path:
    """The folder with vox-box's virtual environment and the tiny models."""
    folder = install()
    (SOURCES / COSYVOICE).mkdir(exist_ok=True)
    for name in ("cosyvoice.yaml", "llm.pt"):
        (SOURCES / COSYVOICE / name).write_text("nothing\n")
    return folder


def built(gslc: Program, folder: Path, model: str, cards: str = "[]", pinned: str = "", top: str = "") -> Path:
    """The output folder that `gslc build` makes for one host and one model; `top` is YAML beside them."""
    (folder / "cluster.yaml").write_text(cluster(model, cards, pinned, top))
    run = gslc("build", folder / "cluster.yaml")
    assert run.status == 0, run.err
    return folder / "build"


# ------------------------------------------------------------------ serving


def transcripts(served: Served) -> None:
    """Two answers of status 200 to a recording of two seconds, the second after one restart."""
    for answer in (served.told["first"], served.told["second"]):
        body, status = answer.rsplit(" ", 1)
        assert status == "200", served.log
        assert json.loads(body)["duration"] == pytest.approx(2.0), served.log
    assert served.told["second"] == served.told["first"]
    assert served.told["restarts"] == "1", served.log


def test_a_generated_unit_transcribes_returns_after_a_kill_and_stops(
    gslc: Program, voxbox: Path, tmp_path: Path
) -> None:
    out = built(gslc, tmp_path, NAMES[0])
    served = serve_under_systemd(voxbox, out, tmp_path)
    print({name: served.told.get(name) for name in ("ready_seconds", "peak_kib", "stop_seconds")})
    assert served.told.get("up") == "active", served.log
    assert served.told["verify"] == ""
    assert served.told["health"].endswith(" 200"), served.log
    transcripts(served)
    assert served.told["user"] != "root"
    assert served.told["stopped"] == "inactive success 0", served.log
    (instance,) = json.loads((out / "plan.json").read_text())["instances"]
    planned = instance["shards"][0]["memory"]["host"]["total"]
    assert 0 < int(served.told["peak_kib"]) * 1024 <= planned


def test_a_generated_service_transcribes_returns_after_a_kill_and_stops(
    gslc: Program, voxbox: Path, tmp_path: Path
) -> None:
    served = serve_under_compose(voxbox, built(gslc, tmp_path, NAMES[0], top=COMPOSE), tmp_path)
    assert served.told.get("up") == "0", served.log
    assert served.told["verify"] == ""
    transcripts(served)
    assert (served.told["stopped"], served.told["down"], served.told["left"]) == ("0", "0", "0"), served.log


# ------------------------------------------------------------------ on a card, by vox-box's own code

# What a process would do with its arguments and environment before it loads anything on a card.
READ = """
import argparse, json, os, sys
from vox_box.backends.tts.cosyvoice import CosyVoice
from vox_box.cmd.start import parse_args, setup_start_cmd
from vox_box.estimator.estimate import estimate_model
from vox_box.utils.model import preconfigure_faster_whisper_env

parser = argparse.ArgumentParser()
setup_start_cmd(parser.add_subparsers())
config = parse_args(parser.parse_args(sys.argv[1:]))
preconfigure_faster_whisper_env(config)
framework = estimate_model(config)["backend_framework"]
if framework == "CosyVoice":
    CosyVoice(config)
print(json.dumps({"framework": framework, "device": config.device, "visible": os.environ.get("CUDA_VISIBLE_DEVICES")}))
"""
TWO_CARDS = "[{model: custom, vendor: nvidia, memory: 24GiB, compute_capability: '8.9', count: 2}]"


def read_by_voxbox(voxbox: Path, argv: list[str], variables: dict[str, str], folder: Path) -> dict[str, str | None]:
    """The framework, device and visible cards that vox-box comes to; it imports torch, so it takes seconds."""
    done = subprocess.run(
        [voxbox / "venv" / "bin" / "python", "-c", READ, *argv],
        env={"PATH": "/usr/bin:/bin", **variables, "HOME": str(folder)},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.mark.parametrize(
    ("model", "framework", "device", "visible", "without"),
    [
        # without IS_FASTER_WHISPER the card of the unit would be lost to the one of --device
        (NAMES[0], "FasterWhisper", "cuda:0", "1", "0"),
        (NAMES[1], "FasterWhisper", "cuda:0", "1", "1"),
        # this one can't be told to leave the variable alone: the unit leaves it to --device
        (COSYVOICE, "CosyVoice", "cuda:1", "1", "1"),
    ],
)
def test_a_unit_lands_on_the_card_of_the_plan(
    gslc: Program, voxbox: Path, tmp_path: Path, model: str, framework: str, device: str, visible: str, without: str
) -> None:
    out = built(gslc, tmp_path, model, TWO_CARDS, pinned=", gpus: [atlas/1]")
    unit = (out / "systemd" / "atlas" / UNIT).read_text()
    known = {"S": str(tmp_path), "C": str(tmp_path), "d": str(tmp_path)}
    variables = environment(unit, known)
    (start,) = values(unit, "ExecStart")
    program, *argv = command(start, known, variables)
    assert program == "/usr/local/bin/vox-box"
    assert variables["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    said = read_by_voxbox(voxbox, argv, variables, tmp_path)
    assert said == {"framework": framework, "device": device, "visible": visible}
    variables.pop("IS_FASTER_WHISPER", None)
    assert read_by_voxbox(voxbox, argv, variables, tmp_path)["visible"] == without


def test_a_model_that_it_cannot_load_ends_it_with_status_0_and_the_unit_restarts_always(
    gslc: Program, voxbox: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [voxbox / "venv" / "bin" / "vox-box", "start", "--model", empty, "--data-dir", tmp_path / "data"],
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "Model isn't supported" in done.stdout + done.stderr
    assert done.returncode == 0
    out = built(gslc, tmp_path, NAMES[0])
    assert values((out / "systemd" / "atlas" / UNIT).read_text(), "Restart") == ["always"]
