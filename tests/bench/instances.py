"""Placement instances from a seed: planted ones, whose full placement is known, and loaded fleets."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from small_fleets import GIB, cluster, host, model, need

from gslc.ir.inputs import Cluster, Host, Model, RequirementPart

SHAPES = (
    (24, 1),
    (24, 2),
    (24, 4),
    (48, 2),
    (48, 4),
    (80, 2),
    (80, 4),
    (80, 8),
    (16, 1),
    (141, 8),
)  # GiB a card, cards
SLACK = (1.0, 1.0, 0.98, 0.95, 0.9)  # how much of a host the planted replicas fill


@dataclass(frozen=True, slots=True)
class Planted:
    """A cluster for which a full placement on GPUs exists, and how many replicas it has."""

    name: str
    fleet: Cluster
    replicas: int


def planted(seed: int, hosts: tuple[int, int] = (2, 8), replicas: tuple[int, int] = (5, 40)) -> Planted:
    """Hosts filled with replicas until they are full; the replicas become models with alternatives."""
    for attempt in range(1000):
        rng = random.Random(seed * 1000 + attempt)
        fleet = [_random_host(f"h{index:02d}", rng) for index in range(rng.randint(*hosts))]
        parts: list[tuple[RequirementPart, bool]] = []
        for entry in fleet:
            parts.extend(_fill(entry, rng, rng.choice(SLACK)))
        if replicas[0] <= len(parts) <= replicas[1]:
            rng.shuffle(parts)
            models = _models(parts, rng)
            return Planted(name=f"planted-{seed}", fleet=cluster(fleet, models), replicas=len(parts))
    raise ValueError(f"seed {seed} plants nothing of this size")


def _random_host(name: str, rng: random.Random) -> Host:
    gib, cards = rng.choice(SHAPES)
    memory = rng.choice((1, 2, 2, 4)) * gib * cards
    return host(name, [gib] * cards, max(32, min(memory, 1024)))


def _fill(entry: Host, rng: random.Random, slack: float) -> list[tuple[RequirementPart, bool]]:
    """Parts that fill the cards of a host, and its memory nearly."""
    gib = entry.gpus[0].kind.memory_bytes // GIB
    free = [int(gib * slack * 4) for _ in entry.gpus]  # in quarters of a GiB
    memory = int(entry.memory_bytes // GIB * slack)
    found: list[tuple[int, int, bool]] = []
    untouched = list(range(len(free)))
    while untouched:
        width = rng.choice([size for size in (1, 1, 2, 4, 8) if size <= len(untouched)])
        cards, untouched = untouched[:width], untouched[width:]
        style = rng.random()
        size = free[cards[0]]
        if style < 0.35:
            found.append((width, int(gib * 0.9 * 4), True))
        else:
            pieces = _pieces(size, rng)
            if width > 1:
                found.append((width, pieces[0], False))
                for _ in cards:
                    found.extend((1, piece, False) for piece in pieces[1:])
            else:
                found.extend((1, piece, False) for piece in pieces)
    shares = [rng.random() + 0.2 for _ in found]
    total = sum(shares)
    fill = rng.choice((0.5, 0.8, 1.0))
    return [
        (need(width, size / 4, int(4 * memory * fill * share / total) / 4), alone)
        for (width, size, alone), share in zip(found, shares, strict=True)
    ]


def _pieces(size: int, rng: random.Random) -> list[int]:
    count = rng.choice((1, 2, 2, 3, 4))
    cuts = sorted(rng.sample(range(1, size), count - 1))
    return [right - left for left, right in zip([0, *cuts], [*cuts, size], strict=True)]


def _models(parts: Sequence[tuple[RequirementPart, bool]], rng: random.Random) -> list[Model]:
    models = []
    for index, (part, alone) in enumerate(parts):
        gib = part.gpu_memory_bytes / GIB
        memory = part.memory_bytes / GIB
        alternatives = [part]
        if rng.random() < 0.4 and part.gpus < 8:
            alternatives.append(need(part.gpus * 2, gib * 0.55, memory))
        if rng.random() < 0.3 and part.gpus > 1:
            alternatives.insert(rng.randint(0, 1), need(part.gpus // 2, gib * 2.1, memory))
        if rng.random() < 0.5:
            whole = gib * part.gpus
            alternatives.append(need(part.gpus, gib / 2, memory + whole / 2, whole / 2))
            alternatives.append(need(0, 0, memory + whole, whole))
        models.append(model(f"m{index:03d}", *alternatives, exclusive_gpus=alone))
    return models


def loaded(seed: int, hosts: int, load: float) -> Cluster:
    """A fleet of four kinds of hosts with random models up to `load` of its GPU memory."""
    rng = random.Random(seed)
    shapes = ((24, 2), (24, 4), (48, 4), (80, 8), (141, 8))
    fleet = []
    for index in range(hosts):
        gib, cards = rng.choice(shapes)
        fleet.append(host(f"h{index:03d}", [gib] * cards, gib * cards * 2, labels={"rack": f"r{index % 3}"}))
    capacity = sum(gpu.kind.memory_bytes for entry in fleet for gpu in entry.gpus)
    models: list[Model] = []
    used = 0
    while used < capacity * load:
        entry = _random_model(f"m{len(models):03d}", rng)
        part = entry.requirements[0].parts[0]
        size = part.gpus * part.gpu_memory_bytes * entry.replicas
        if entry.exclusive_gpus:
            size = int(size * 1.1)
        used += size
        models.append(entry)
    return cluster(fleet, models)


def _random_model(name: str, rng: random.Random) -> Model:
    gib = rng.choice((2, 5, 8, 12, 18, 20, 36, 40, 65, 70, 130, 260))
    replicas = rng.choice((1, 1, 2, 3, 4))
    memory = rng.choice((1, 2, 4, 8))
    selector = (("rack", f"r{rng.randint(0, 2)}"),) if rng.random() < 0.15 else None
    keys: dict[str, object] = {"replicas": replicas, "host_selector": selector}
    if rng.random() < 0.1:
        keys["anti_affinity"] = "host"
    alternatives = [need(1, gib, memory)] if gib <= 130 else []
    alternatives += [need(cards, gib / cards + 1.5, memory) for cards in (2, 4, 8) if gib / cards >= 8]
    if rng.random() < 0.4:
        alternatives.append(need(1, min(gib / 2, 20), memory + gib / 2, gib / 2))
        alternatives.append(need(0, 0, memory + gib, gib))
    keys["exclusive_gpus"] = rng.random() < 0.3
    return model(name, *alternatives, **keys)


def wide_fleet(hosts: int, replicas: int, seed: int = 1) -> Cluster:
    """Hosts of eight cards and that many replicas, all of which fit: what speed is measured on."""
    rng = random.Random(seed)
    fleet = [
        host(
            f"h{index:04d}",
            [rng.choice((24, 48, 80, 80, 141))] * 8,
            rng.choice((512, 1024)),
            labels={"rack": f"r{index % 20}"},
        )
        for index in range(hosts)
    ]
    racks = min(20, hosts)
    models = []
    for index in range(replicas):
        gib = rng.choice((2, 5, 8, 12, 18, 20)) + rng.random() * 2
        if hosts > 8 and rng.random() < 0.4:
            gib = rng.choice((36, 40, 65, 70)) + rng.random() * 2
        alternatives = [need(1, gib, rng.choice((2, 4, 8)))]
        alternatives += [need(cards, gib / cards + 1.5, 4) for cards in (2, 4, 8) if gib / cards >= 8]
        keys: dict[str, object] = {"exclusive_gpus": rng.random() < 0.3}
        if rng.random() < 0.3:
            alternatives.append(need(0, 0, 4 + gib, gib))
        if hosts > 8 and rng.random() < 0.1:
            alternatives = [need(8, 60, 32), need(8, 30, 200, 100)]
        if rng.random() < 0.1:
            keys["host_selector"] = (("rack", f"r{rng.randrange(racks)}"),)
        models.append(model(f"m{index:05d}", *alternatives, **keys))
    return cluster(fleet, models)
