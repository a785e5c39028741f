"""How long a whole `gslc build` takes, as CPU seconds and as a ratio to the bare imports; exits 1 when a promise is missed.

    python tests/bench/speed.py [--small]     (--small: leave the thousand hosts out)

Each size is built three times with a complete lock into a memory file system: from nothing (everything is written), and
again (nothing changed). The floor is `python -c "import yaml, click, jinja2"` on the same machine. CPU seconds and peak
memory are the operating system's own (wait4), the best of the runs.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from pace import pace

GROWTH = 1.2  # how much more time or memory a host of the largest fleet may take than one of the middle one
CARDS = (
    ("NVIDIA GeForce RTX 4090", 20),
    ("NVIDIA L40S", 40),
    ("NVIDIA A100-SXM4-80GB", 70),
    ("NVIDIA H200", 130),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A fleet, and what a build of it may take."""

    name: str
    hosts: int
    cards: int
    models: int
    replicas: int
    first_seconds: float
    again_seconds: float
    memory_mib: int


SIZES = (
    Size(name="1 host, 3 models", hosts=1, cards=8, models=3, replicas=1, first_seconds=0.2, again_seconds=0.2, memory_mib=120),
    Size(name="100 hosts, 200 models", hosts=100, cards=8, models=200, replicas=1, first_seconds=0.4, again_seconds=0.4, memory_mib=140),
    Size(name="1,000 hosts, 2,000 replicas", hosts=1000, cards=8, models=1000, replicas=2, first_seconds=2.0, again_seconds=1.0, memory_mib=200),
)  # fmt: skip


def cluster_text(size: Size) -> str:
    """A cluster of the size: four kinds of hosts, stated requirements of one to eight cards."""
    lines = ["version: 1", "name: bench", "target: systemd", "hosts:"]
    for number in range(size.hosts):
        card, _ = CARDS[number % len(CARDS)]
        lines += [
            f"  h{number:04d}:",
            f"    address: 10.{number // 65536}.{number // 256 % 256}.{number % 256}",
            "    memory: 1TiB",
            f"    labels: {{rack: r{number // 20}}}",
            f"    gpus: [{{model: {card}, count: {size.cards}}}]",
        ]
    lines.append("models:")
    for number in range(size.models):
        gib = CARDS[number % min(size.hosts, len(CARDS))][1]
        count = (1, 1, 1, 1, 1, 2, 1, 4)[number % 8]
        lines += [
            f"  m{number:04d}:",
            "    backend: custom",
            f"    replicas: {size.replicas}",
            '    command: [/usr/local/bin/serve, --port, "{port}"]',
            f"    requirements: [{{gpus: {count}, gpu_memory: {gib}GiB, memory: 4GiB}}]",
        ]
    return "\n".join(lines) + "\n"


def cost(command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """CPU seconds, peak MiB and standard error of a command that must succeed."""
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 2), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(command[0], command, environment, file_actions=actions)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as stream:
        said = stream.read()
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{said}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said


def best(command: list[str], environment: dict[str, str], runs: int, before: object = None) -> tuple[float, float, str]:
    """The cheapest of several runs."""
    answers = []
    for _ in range(runs):
        if callable(before):
            before()
        answers.append(cost(command, environment))
    return min(answers)


def main() -> int:
    """Print the table; 1 when a promise is missed."""
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    floor, floor_peak, _ = best([sys.executable, "-c", "import yaml, click, jinja2"], environment, 5)
    slower = pace()
    print(f"import floor (yaml, click, jinja2): {floor:.3f} s CPU; promised seconds x {slower:.1f} on this machine")
    print(f"{'fleet':<30}{'first':>9}{'x floor':>9}{'again':>9}{'x floor':>9}{'peak':>10}")
    missed = 0
    per_host: dict[int, tuple[float, float]] = {}
    room = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
    for size in SIZES[: 2 if "--small" in sys.argv else None]:
        folder = Path(tempfile.mkdtemp(dir=room))
        try:
            (folder / "cluster.yaml").write_text(cluster_text(size))
            command = [sys.executable, "-m", "gslc", "build", str(folder / "cluster.yaml"), "-v"]
            cost(command, environment)  # writes the lock
            first, peak, said = best(command, environment, 3, partial(shutil.rmtree, folder / "build"))
            again, _, _ = best(command, environment, 3)
            slower = max(slower, pace())
        finally:
            shutil.rmtree(folder)
        print(f"{size.name:<30}{first:>8.3f}s{first / floor:>9.1f}{again:>8.3f}s{again / floor:>9.1f}{peak:>6.0f} MiB")
        per_host[size.hosts] = ((first - floor) / size.hosts, (peak - floor_peak) / size.hosts)
        stages = [line for line in said.splitlines() if line.endswith(" s CPU")]
        print("    " + ", ".join(" ".join(line.split()[:-1]) for line in stages))
        seconds = (size.first_seconds * slower, size.again_seconds * slower)
        if first > seconds[0] or again > seconds[1] or peak > size.memory_mib:
            missed = 1
            print(f"    missed: at most {seconds[0]:.2f} s, {seconds[1]:.2f} s, {size.memory_mib} MiB")
    if len(per_host) == len(SIZES):
        few, many = per_host[SIZES[1].hosts], per_host[SIZES[2].hosts]
        print("a host, less the floor: ", end="")
        print(", ".join(f"{1e3 * one[0]:.2f} ms and {1024 * one[1]:.0f} KiB" for one in (few, many)), end="")
        print(f" of {SIZES[1].hosts:,} and of {SIZES[2].hosts:,} hosts")
        if many[0] > GROWTH * few[0] or many[1] > GROWTH * few[1]:
            missed = 1
            print(f"    missed: at most {GROWTH} times as much a host")
    return missed


if __name__ == "__main__":
    sys.exit(main())
