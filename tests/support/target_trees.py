"""Puts what a target wrote where the deploy guides put it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gslc.ir.output import OutputFile

REAL = Path(__file__).resolve().parents[1] / "real"


def put(root: Path, path: str, text: str, mode: int = 0o644) -> Path:
    """A file at an absolute path below `root`."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    place.chmod(mode)
    return place


def install_systemd(files: Iterable[OutputFile], cluster: str, root: Path, hosts: tuple[str, ...] = ("atlas",)) -> None:
    """Units to /etc/systemd/system, the host folder to /etc/gslc/<cluster>: docs/deploy-systemd.md, step 2."""
    for file in files:
        top, host, *rest = file.path.split("/")
        if top != "systemd" or host not in hosts:
            continue
        folder = f"/etc/gslc/{cluster}" if rest[0] == "host" else "/etc/systemd/system"
        put(root, f"{folder}/{rest[-1]}", file.text)


def install_built(folder: Path, cluster: str, root: Path) -> None:
    """The same from a host's folder of an output tree."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            place = f"/etc/gslc/{cluster}" if path.parent.name == "host" else "/etc/systemd/system"
            put(root, f"{place}/{path.name}", path.read_text(encoding="utf-8"))


def write_tree(files: Iterable[OutputFile], root: Path) -> None:
    """Every file at its own path below the output folder."""
    for file in files:
        put(root, file.path, file.text)
