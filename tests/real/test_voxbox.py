"""vox-box without a GPU: generated files transcribe under systemd and compose; its own code agrees on the card."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
import wave
from pathlib import Path

import pytest
from tests.support.systemd_reader import command, environment, values
from tests.support.target_trees import REAL, put

from cli import Program
from gslc.targets.compose import HELPER_IMAGE

pytestmark = pytest.mark.real
BOOT_SECONDS = 300
# The same path on the building machine and inside, which no unit hides (as it does /tmp and homes).
SOURCES = Path("/var/cache/gslc-tests/speech")
# Both hold the same model; of a path that matches faster.*whisper vox-box believes that it is faster-whisper.
NAMES = ("faster-whisper-tiny", "tiny-speech")
COSYVOICE = "tiny-cosyvoice"
UNIT = "gslc-lab-asr-0.service"
# The venv may be moved, its own scripts may not: they name the interpreter by its first path.
PROGRAM = "#!/opt/vox-box/bin/python3\nimport sys\nfrom vox_box.main import main\nsys.exit(main())\n"
TARGETS = Path(os.environ.get("GSLC_TEST_CACHE") or Path.home() / ".cache" / "gslc-tests") / "targets"


@pytest.fixture(scope="module")
def voxbox() -> Path:
    """The folder with vox-box's virtual environment and the tiny models."""
    done = subprocess.run([REAL / "install_voxbox.sh"], check=True, stdout=subprocess.PIPE, text=True)
    folder = Path(done.stdout.strip().splitlines()[-1])
    for name in NAMES:
        shutil.copytree(folder / "models" / name, SOURCES / name, dirs_exist_ok=True)
    (SOURCES / COSYVOICE).mkdir(exist_ok=True)
    for name in ("cosyvoice.yaml", "llm.pt"):
        (SOURCES / COSYVOICE / name).write_text("nothing\n")
    return folder


def built(gslc: Program, folder: Path, model: str, cards: str = "[]", pinned: str = "", top: str = "") -> Path:
    """The output folder that `gslc build` makes for one host and one model; `top` is YAML beside them."""
    cluster = folder / "cluster.yaml"
    cluster.write_text(
        f"version: 1\nname: lab\n{top}hosts: {{atlas: {{memory: 16GiB, gpus: {cards}}}}}\n"
        f"models: {{asr: {{source: 'file://{SOURCES / model}'{pinned}}}}}\n"
    )
    run = gslc("build", cluster)
    assert run.status == 0, run.err
    return folder / "build"


def tone(path: Path, seconds: int = 2) -> None:
    """A recording: a tone of 440 Hz, 16 kHz, mono."""
    rate = 16000
    samples = (int(8000 * math.sin(math.tau * 440 * step / rate)) for step in range(seconds * rate))
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, rate, 0, "NONE", ""))
        recording.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


# ------------------------------------------------------------------ serving

UNDER_SYSTEMD = """
ip link set lo up
mkdir -p /opt/vox-box && mount --bind {venv} /opt/vox-box
unit={unit}
pid() {{ systemctl show --property MainPID --value $unit; }}
# answers to mistakes have status 200 too: the body counts
ask() {{
  curl --silent --max-time 120 --write-out ' %{{http_code}}' -F file=@/srv/tone.wav -F model=asr \\
    -F response_format=verbose_json http://127.0.0.1:20000/v1/audio/transcriptions
}}
begun=$EPOCHREALTIME
systemctl start gslc-lab.target; systemctl is-active --quiet $unit || exit 1
echo "started: 0"
echo "ready_seconds: $(awk "BEGIN {{ print $EPOCHREALTIME - $begun }}")"
echo "health: $(curl --silent --write-out ' %{{http_code}}' http://127.0.0.1:20000/health)"
echo "first: $(ask)"
before=$(pid)
echo "peak_kib: $(awk '/^VmHWM/ {{ print $2 }}' /proc/$before/status)"
echo "user: $(stat -c %U /proc/$before)"
kill -9 $before
for _ in $(seq 600); do
  now=$(pid); [ "$now" != 0 ] && [ "$now" != "$before" ] && [ "$(systemctl is-active $unit)" = active ] && break
  sleep 0.1
done
echo "restarts: $(systemctl show --property NRestarts --value $unit)"
echo "second: $(ask)"
begun=$EPOCHREALTIME
systemctl stop gslc-lab.target $unit
echo "stop_seconds: $(awk "BEGIN {{ print $EPOCHREALTIME - $begun }}")"
echo "stopped: $(systemctl is-active $unit) $(systemctl show --property Result --value $unit)" \
  "$(systemctl show --property ExecMainStatus --value $unit)"
"""


def test_a_generated_unit_transcribes_returns_after_a_kill_and_stops(
    gslc: Program, voxbox: Path, tmp_path: Path
) -> None:
    subprocess.run([REAL / "install_targets.sh", "packages"], check=True)
    out = built(gslc, tmp_path, NAMES[0])
    tree = tmp_path / "tree"
    for path in (out / "systemd" / "atlas").rglob("*"):
        if path.is_file():
            place = "/etc/gslc/lab" if path.parent.name == "host" else "/etc/systemd/system"
            put(tree, f"{place}/{path.name}", path.read_text())
    put(tree, "/usr/local/bin/vox-box", PROGRAM, 0o755)
    shutil.copytree(SOURCES / NAMES[0], tree / SOURCES.relative_to("/") / NAMES[0])
    (tree / "srv").mkdir()
    tone(tree / "srv" / "tone.wav")
    script, journal = tmp_path / "script", tmp_path / "journal"
    script.write_text(UNDER_SYSTEMD.format(venv=voxbox / "venv", unit=UNIT))
    done = subprocess.run(
        [REAL / "boot_systemd.sh", tree, script],
        capture_output=True, text=True, check=False,
        env={**os.environ, "JOURNAL": str(journal), "SECONDS_ALLOWED": str(BOOT_SECONDS)},
    )  # fmt: skip
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    end = done.stderr + (journal.read_text(errors="replace")[-5000:] if journal.exists() else "")
    print({name: told.get(name) for name in ("ready_seconds", "peak_kib", "stop_seconds")})
    assert told.get("started") == "0", end
    assert told["health"].endswith(" 200"), end
    for answer in (told["first"], told["second"]):
        body, status = answer.rsplit(" ", 1)
        assert status == "200", end
        assert json.loads(body)["duration"] == pytest.approx(2.0), end
    assert told["second"] == told["first"]
    assert int(told["restarts"]) == 1, end
    assert told["user"] != "root"
    assert told["stopped"] == "inactive success 0", end
    (instance,) = json.loads((out / "plan.json").read_text())["instances"]
    planned = instance["shards"][0]["memory"]["host"]["total"]
    assert 0 < int(told["peak_kib"]) * 1024 <= planned


UNDER_COMPOSE = """
docker() {{ /usr/bin/docker "$@"; }}
docker tag {image} {helper}
cd {folder}
ask() {{
  curl --silent --max-time 120 --write-out ' %{{http_code}}' -F file=@{tone} -F model=asr \\
    -F response_format=verbose_json http://127.0.0.1:20000/v1/audio/transcriptions
}}
{compose} up -d --wait > up.log 2>&1; echo "up: $?"
id=$(docker ps --all --quiet --filter label=com.docker.compose.service=asr-0)
echo "first: $(ask)"
kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' $id)
for _ in $(seq 120); do
  [ "$(docker inspect --format '{{{{.RestartCount}}}}' $id)" = 1 ] &&
    curl --silent --fail --output /dev/null http://127.0.0.1:20000/health && break
  sleep 0.5
done
echo "second: $(ask)"
docker logs --tail 60 $id > log 2>&1
docker stop --time 30 $id > /dev/null
echo "stopped: $(docker inspect --format '{{{{.State.ExitCode}}}}' $id)"
{compose} down > /dev/null 2>&1; echo "down: $?"
"""
# The image's place is taken by an empty one, with this machine's libraries and the installed engine mounted into it.
OVERRIDE = """
services:
  asr-fetch:
    volumes: ["/usr:/usr:ro"]
  asr-0:
    volumes: ["/usr:/usr:ro", "{venv}:/opt/vox-box:ro"]
    environment: {{PATH: "/opt/bin:/usr/bin"}}
"""


def test_a_generated_service_transcribes_returns_after_a_kill_and_stops(
    gslc: Program, voxbox: Path, tmp_path: Path
) -> None:
    subprocess.run([REAL / "install_targets.sh", "packages", "compose"], check=True)
    image = "registry.example/vox-box:1"
    folder = built(gslc, tmp_path, NAMES[0], top=f"target: compose\nengines: {{vox-box: {{image: '{image}'}}}}\n")
    folder = folder / "compose" / "atlas"
    (folder / "compose.override.yaml").write_text(OVERRIDE.format(venv=voxbox / "venv"))
    tree = tmp_path / "images" / "vox-box"
    put(tree, "/opt/bin/vox-box", PROGRAM, 0o755)
    put(tree, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    put(tree, "/image", image)
    for name in ("usr", "root", "sbin", "tmp", "opt/vox-box"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    tone(tmp_path / "tone.wav")
    script = tmp_path / "script"
    script.write_text(
        UNDER_COMPOSE.format(
            image=image, helper=HELPER_IMAGE, folder=folder, tone=tmp_path / "tone.wav",
            compose=TARGETS / "compose-sid" / "docker-compose",
        )
    )  # fmt: skip
    done = subprocess.run(
        [REAL / "run_dockerd.sh", tmp_path / "images", script],
        capture_output=True, text=True, check=False, env={**os.environ, "SECONDS_ALLOWED": str(BOOT_SECONDS)},
    )  # fmt: skip
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    logs = [path.read_text(errors="replace")[-3000:] for path in (folder / "up.log", folder / "log") if path.exists()]
    end = done.stderr + "".join(logs)
    assert told.get("up") == "0", end
    for answer in (told["first"], told["second"]):
        body, status = answer.rsplit(" ", 1)
        assert status == "200", end
        assert json.loads(body)["duration"] == pytest.approx(2.0), end
    assert (told["stopped"], told["down"]) == ("0", "0"), end


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
