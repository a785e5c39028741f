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


FLEETS = tuple(
    (hosts, load, hosts * 7 + load + 1000 * turn)
    for turn in range(2)
    for hosts in (10, 20, 30, 50)
    for load in (60, 85, 100)
)  # hosts, percent of GPU memory that is asked for, seed


@dataclass(frozen=True, slots=True)
class Flavour:
    """What planted fleets of one kind have more of than the plain ones; shares in [0, 1]."""

    slack: tuple[float, ...] = (1.0, 1.0, 0.98, 0.95, 0.9)  # how much of a host the planted replicas fill
    shapes: tuple[tuple[int, int], ...] = SHAPES
    widths: tuple[int, ...] = (1, 1, 2, 4, 8)
    memory_fill: tuple[float, ...] = (0.5, 0.8, 1.0)
    alone: float = 0.35  # exclusive cards
    offload: float = 0.5  # models that may lie in host memory too
    flexible: float = 0.4  # models that may take twice the cards
    labels: float = 0.0  # models that ask for the rack of their host
    pins: float = 0.0  # models that ask for the cards of their host
    apart: float = 0.0  # models of which the fleet has several equal ones, on different hosts: made one, kept apart
    wide: float = 0.0  # replicas whose second part lies on another host


FLAVOURS = {
    "plain": Flavour(),
    "tight": Flavour(slack=(1.0,), memory_fill=(1.0,)),
    "rigid": Flavour(
        slack=(1.0, 0.95),
        shapes=((24, 4), (48, 4), (48, 8), (80, 4), (80, 8), (141, 8)),
        widths=(1, 2, 2, 4, 4, 8),
        flexible=0.2,
    ),
    "memory": Flavour(memory_fill=(1.0,), offload=0.8),
    "exclusive": Flavour(alone=0.6),
    "offload": Flavour(offload=1.0, flexible=0.6),
    "labels": Flavour(labels=0.3, pins=0.15),
    "apart": Flavour(apart=1.0, flexible=0.2),
    "wide": Flavour(wide=0.2),
}


@dataclass(frozen=True, slots=True)
class Planted:
    """A cluster for which a full placement on GPUs exists, and how many replicas it has."""

    name: str
    fleet: Cluster
    replicas: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part as it was planted: what it takes, on which cards of which host, and whether it has them alone."""

    part: RequirementPart
    alone: bool
    host: str
    cards: tuple[int, ...]


def planted(
    seed: int, hosts: tuple[int, int] = (2, 8), replicas: tuple[int, int] = (5, 40), flavour: str = "plain"
) -> Planted:
    """Hosts filled with replicas until they are full; the replicas become models with alternatives."""
    like = FLAVOURS[flavour]
    for attempt in range(1000):
        rng = random.Random(seed * 1000 + attempt)
        fleet = [_random_host(f"h{index:02d}", rng, like) for index in range(rng.randint(*hosts))]
        pieces: list[Piece] = []
        for entry in fleet:
            pieces.extend(_fill(entry, rng, like))
        if replicas[0] <= len(pieces) <= replicas[1]:
            rng.shuffle(pieces)
            models = _models(pieces, rng, like)
            count = sum(entry.replicas for entry in models)
            return Planted(name=f"{flavour}-{seed}", fleet=cluster(fleet, models), replicas=count)
    raise ValueError(f"seed {seed} plants nothing of this size")


def _random_host(name: str, rng: random.Random, like: Flavour) -> Host:
    gib, cards = rng.choice(like.shapes)
    memory = rng.choice((1, 2, 2, 4)) * gib * cards
    labels = {"rack": f"r{int(name[1:]) % 3}"}
    return host(name, [gib] * cards, max(32, min(memory, 1024)), labels=labels)


def _fill(entry: Host, rng: random.Random, like: Flavour) -> list[Piece]:
    """Parts that fill the cards of a host, and its memory nearly."""
    slack = rng.choice(like.slack)
    gib = entry.gpus[0].kind.memory_bytes // GIB
    size = int(gib * slack * 4)  # in quarters of a GiB
    memory = int(entry.memory_bytes // GIB * slack)
    found: list[tuple[tuple[int, ...], int, bool]] = []
    untouched = tuple(range(len(entry.gpus)))
    while untouched:
        width = rng.choice([width for width in like.widths if width <= len(untouched)] or [1])
        cards, untouched = untouched[:width], untouched[width:]
        if rng.random() < like.alone:
            found.append((cards, int(gib * 0.9 * 4), True))
            continue
        pieces = _pieces(size, rng)
        if width > 1:
            found.append((cards, pieces[0], False))
            for card in cards:
                found.extend(((card,), piece, False) for piece in pieces[1:])
        else:
            found.extend((cards, piece, False) for piece in pieces)
    shares = [rng.random() + 0.2 for _ in found]
    total = sum(shares)
    fill = rng.choice(like.memory_fill)
    return [
        Piece(
            part=need(len(cards), piece / 4, int(4 * memory * fill * share / total) / 4),
            alone=alone,
            host=entry.name,
            cards=cards,
        )
        for (cards, piece, alone), share in zip(found, shares, strict=True)
    ]


def _pieces(size: int, rng: random.Random) -> list[int]:
    count = rng.choice((1, 2, 2, 3, 4))
    cuts = sorted(rng.sample(range(1, size), count - 1))
    return [right - left for left, right in zip([0, *cuts], [*cuts, size], strict=True)]


def _models(pieces: Sequence[Piece], rng: random.Random, like: Flavour) -> list[Model]:
    models = []
    left = list(pieces)
    while left:
        piece = left.pop(0)
        name = f"m{len(models):03d}"
        second = next((other for other in left if other.host != piece.host and other.alone == piece.alone), None)
        if second is not None and rng.random() < like.wide:
            left.remove(second)
            models.append(model(name, [piece.part, second.part], exclusive_gpus=piece.alone))
            continue
        keys: dict[str, object] = {"exclusive_gpus": piece.alone}
        part = piece.part
        if rng.random() < like.apart:
            twins = _twins(piece, left)
            if twins:
                left = [other for other in left if other not in twins]
                memory = min(entry.part.memory_bytes for entry in (piece, *twins)) / GIB
                part = need(part.gpus, part.gpu_memory_bytes / GIB, memory)
                keys |= {"anti_affinity": "host", "replicas": 1 + len(twins)}
        elif rng.random() < like.labels:
            keys["host_selector"] = (("rack", f"r{int(piece.host[1:]) % 3}"),)
        elif rng.random() < like.pins:
            keys["gpus"] = tuple((piece.host, card) for card in piece.cards)
        models.append(model(name, *_alternatives(part, rng, like), **keys))
    return models


def _twins(piece: Piece, others: list[Piece]) -> list[Piece]:
    """Pieces of nearly the same size on other hosts, one a host: they do with what the largest needs no more than."""
    hosts = {piece.host}
    found: list[Piece] = []
    for other in others:
        alike = (other.part.gpus, other.alone) == (piece.part.gpus, piece.alone)
        if alike and other.host not in hosts and other.part.gpu_memory_bytes >= piece.part.gpu_memory_bytes:
            hosts.add(other.host)
            found.append(other)
    return found[:3]


def _alternatives(part: RequirementPart, rng: random.Random, like: Flavour) -> list[RequirementPart]:
    gib = part.gpu_memory_bytes / GIB
    memory = part.memory_bytes / GIB
    alternatives = [part]
    if rng.random() < like.flexible and part.gpus < 8:
        alternatives.append(need(part.gpus * 2, gib * 0.55, memory))
    if rng.random() < 0.3 and part.gpus > 1:
        alternatives.insert(rng.randint(0, 1), need(part.gpus // 2, gib * 2.1, memory))
    if rng.random() < like.offload:
        whole = gib * part.gpus
        alternatives.append(need(part.gpus, gib / 2, memory + whole / 2, whole / 2))
        alternatives.append(need(0, 0, memory + whole, whole))
    return alternatives


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
