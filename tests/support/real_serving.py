"""Runs a script beside a booted systemd or a dockerd and answers with what it said."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.target_trees import REAL, put

TARGETS = Path(os.environ.get("GSLC_TEST_CACHE") or Path.home() / ".cache" / "gslc-tests") / "targets"
LOG_CHARACTERS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a script said in lines `name: value`, and the ends of the logs."""

    told: dict[str, str]
    log: str


def said(text: str) -> dict[str, str]:
    """`name: value` lines."""
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def host_image(image: Path, name: str, mounted: str) -> Path:
    """The folder of an image that is empty but for the places into which this machine's /usr and an engine are mounted."""
    put(image, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    put(image, "/image", name)
    for place in ("usr", "root", "sbin", "tmp", mounted):
        (image / place).mkdir(parents=True, exist_ok=True)
    for place in ("bin", "lib", "lib64"):
        (image / place).symlink_to(f"usr/{place}")
    return image


def boot(folder: Path, tree: Path, script: str, seconds: int) -> Served:
    """What a script says inside of this machine's own systemd, booted with the files of `tree`."""
    (folder / "script").write_text(script, encoding="utf-8")
    journal = folder / "journal"
    done = subprocess.run(
        [REAL / "boot_systemd.sh", tree, folder / "script"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "JOURNAL": str(journal), "SECONDS_ALLOWED": str(seconds)},
    )  # fmt: skip
    return Served(told=said(done.stdout), log=done.stderr + ends(journal))


def run_dockerd(folder: Path, place: Path, script: str, seconds: int) -> Served:
    """What a script says beside a dockerd with the images of `folder`; it leaves up.log and log in `place`."""
    (folder / "script").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [REAL / "run_dockerd.sh", folder / "images", folder / "script"],
        capture_output=True, text=True, check=False, env={**os.environ, "SECONDS_ALLOWED": str(seconds)},
    )  # fmt: skip
    return Served(told=said(done.stdout), log=done.stderr + ends(place / "up.log", place / "log"))


def ends(*logs: Path) -> str:
    """The last part of each log that is there."""
    return "".join(path.read_text(errors="replace")[-LOG_CHARACTERS:] for path in logs if path.exists())
