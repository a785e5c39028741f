"""vox-box under a generated unit and a generated service: installed, started, asked, killed, asked again, stopped."""

from __future__ import annotations

import math
import shutil
import struct
import subprocess
import wave
from pathlib import Path

from tests.support.real_serving import TARGETS, Served, boot, host_image, run_dockerd
from tests.support.target_trees import REAL, put

from gslc.targets.compose import HELPER_IMAGE

RUN_SECONDS = 300
# The same path on the building machine and inside, which no unit hides (as it does /tmp and homes).
SOURCES = Path("/var/cache/gslc-tests/speech")
# Both hold the same model; of a path that matches faster.*whisper vox-box believes that it is faster-whisper.
NAMES = ("faster-whisper-tiny", "tiny-speech")
UNIT = "gslc-lab-asr-0.service"
IMAGE = "registry.example/vox-box:1"
# The YAML beside hosts and models that makes it a compose cluster.
COMPOSE = f"target: compose\nengines: {{vox-box: {{image: '{IMAGE}'}}}}\n"
# The venv may be moved, its own scripts may not: they name the interpreter by its first path.
PROGRAM = "#!/opt/vox-box/bin/python3\nimport sys\nfrom vox_box.main import main\nsys.exit(main())\n"


def install() -> Path:
    """The folder with vox-box's virtual environment and the tiny models, whose copies stand in SOURCES."""
    done = subprocess.run([REAL / "install_voxbox.sh"], check=True, stdout=subprocess.PIPE, text=True)
    folder = Path(done.stdout.strip().splitlines()[-1])
    for name in NAMES:
        shutil.copytree(folder / "models" / name, SOURCES / name, dirs_exist_ok=True)
    return folder


def cluster(model: str, cards: str = "[]", pinned: str = "", top: str = "") -> str:
    """A cluster file of one host and one model; `top` is YAML beside them."""
    return (
        f"version: 1\nname: lab\n{top}hosts: {{atlas: {{memory: 16GiB, gpus: {cards}}}}}\n"
        f"models: {{asr: {{source: 'file://{SOURCES / model}'{pinned}}}}}\n"
    )


def tone(path: Path, seconds: int = 2) -> None:
    """A recording: a tone of 440 Hz, 16 kHz, mono."""
    rate = 16000
    samples = (int(8000 * math.sin(math.tau * 440 * step / rate)) for step in range(seconds * rate))
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, rate, 0, "NONE", ""))
        recording.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


UNDER_SYSTEMD = """
ip link set lo up
mkdir -p /opt/vox-box && mount --bind {venv} /opt/vox-box
cd /etc/systemd/system
unit={unit}
pid() {{ systemctl show --property MainPID --value $unit; }}
# answers to mistakes have status 200 too: the body counts
ask() {{
  curl --silent --max-time 120 --write-out ' %{{http_code}}' -F file=@/srv/tone.wav -F model=asr \\
    -F response_format=verbose_json http://127.0.0.1:20000/v1/audio/transcriptions
}}
echo "systemd: $(systemctl --version | head -n 1)"
echo "engine: $(/opt/vox-box/bin/python3 -c 'from importlib.metadata import version; print(version("vox-box"))')"
echo "verify: $(systemd-analyze verify --man=no --recursive-errors=yes gslc-lab* 2>&1 | tr '\\n' ' ')"
begun=$EPOCHREALTIME
systemctl start gslc-lab.target; echo "up: $(systemctl is-active $unit)"
systemctl is-active --quiet $unit || exit 1
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
echo "stopped: $(systemctl is-active $unit) $(systemctl show --property Result --value $unit)" \\
  "$(systemctl show --property ExecMainStatus --value $unit)"
"""


def serve_under_systemd(voxbox: Path, out: Path, folder: Path) -> Served:
    """What a booted systemd of this machine does with the units of a built output folder; `folder` is for the work."""
    subprocess.run([REAL / "install_targets.sh", "packages"], check=True)
    tree = folder / "tree"
    for path in (out / "systemd" / "atlas").rglob("*"):
        if path.is_file():
            place = "/etc/gslc/lab" if path.parent.name == "host" else "/etc/systemd/system"
            put(tree, f"{place}/{path.name}", path.read_text())
    put(tree, "/usr/local/bin/vox-box", PROGRAM, 0o755)
    shutil.copytree(SOURCES / NAMES[0], tree / SOURCES.relative_to("/") / NAMES[0])
    (tree / "srv").mkdir()
    tone(tree / "srv" / "tone.wav")
    return boot(folder, tree, UNDER_SYSTEMD.format(venv=voxbox / "venv", unit=UNIT), RUN_SECONDS)


UNDER_COMPOSE = """
docker() {{ /usr/bin/docker "$@"; }}
docker tag {image} {helper}
cd {folder}
ask() {{
  curl --silent --max-time 120 --write-out ' %{{http_code}}' -F file=@{tone} -F model=asr \\
    -F response_format=verbose_json http://127.0.0.1:20000/v1/audio/transcriptions
}}
echo "compose: $({compose} version --short)"
echo "engine: $({venv}/bin/python -c 'from importlib.metadata import version; print(version("vox-box"))')"
echo "verify: $({compose} -f compose.yaml config --quiet 2>&1 | tr '\\n' ' ')"
{compose} up -d --wait > up.log 2>&1; echo "up: $?"
id=$(docker ps --all --quiet --filter label=com.docker.compose.service=asr-0)
echo "first: $(ask)"
kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' $id)
for _ in $(seq 120); do
  [ "$(docker inspect --format '{{{{.RestartCount}}}}' $id)" = 1 ] &&
    curl --silent --fail --output /dev/null http://127.0.0.1:20000/health && break
  sleep 0.5
done
echo "restarts: $(docker inspect --format '{{{{.RestartCount}}}}' $id)"
echo "second: $(ask)"
docker logs --tail 60 $id > log 2>&1
docker stop --time 30 $id > /dev/null
echo "stopped: $(docker inspect --format '{{{{.State.ExitCode}}}}' $id)"
{compose} down > /dev/null 2>&1; echo "down: $?"
echo "left: $(docker ps --all --quiet | wc -l)"
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


def serve_under_compose(voxbox: Path, out: Path, folder: Path) -> Served:
    """What compose and a dockerd do with the service of a built output folder; `folder` is for the work."""
    subprocess.run([REAL / "install_targets.sh", "packages", "compose"], check=True)
    place = out / "compose" / "atlas"
    (place / "compose.override.yaml").write_text(OVERRIDE.format(venv=voxbox / "venv"))
    put(host_image(folder / "images" / "vox-box", IMAGE, "opt/vox-box"), "/opt/bin/vox-box", PROGRAM, 0o755)
    tone(folder / "tone.wav")
    script = UNDER_COMPOSE.format(
        image=IMAGE, helper=HELPER_IMAGE, folder=place, tone=folder / "tone.wav", venv=voxbox / "venv",
        compose=TARGETS / "compose-sid" / "docker-compose",
    )  # fmt: skip
    return run_dockerd(folder, place, script, RUN_SECONDS)
