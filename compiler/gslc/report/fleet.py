"""The figures of the whole fleet: cards used, bytes free and stranded per host, room for the next model."""

from __future__ import annotations

from gslc.ir.lock import Seat
from gslc.ir.placement import Placement

GIB = 1024**3


def fleet_json(placement: Placement) -> dict[str, object]:
    """The member `fleet` of the JSON report."""
    stats = placement.stats
    return {
        "replicas": stats.replicas,
        "placed": stats.placed,
        "gpus": stats.gpus,
        "gpus_used": stats.gpus_used,
        "offloaded_bytes": stats.offloaded_bytes,
        "kept": stats.kept,
        "moved": stats.moved,
        "steps": stats.steps,
        "room": [{"gpus": count, "bytes_each": size} for count, size in stats.room],
        "hosts": [
            {
                "name": host.host,
                "gpus": host.gpus,
                "gpus_used": host.gpus_used,
                "gpu_free": host.gpu_free_bytes,
                "gpu_stranded": host.gpu_stranded_bytes,
                "memory_free": host.memory_free_bytes,
                "largest_free_gpu": host.largest_free_gpu_bytes,
            }
            for host in stats.hosts
        ],
        "moves": [
            {
                "instance": f"{a.model}-{a.replica}",
                "from": [seat_text(seat) for seat in a.moved_from],
                "to": [seat_text(seat) for seat in a.seats],
                "because": a.moved_because,
            }
            for a in placement.assignments
            if a.moved_from is not None
        ],
    }


def fleet_text(placement: Placement) -> str:
    """The same for people: a table of hosts, and what the next model may ask for."""
    stats = placement.stats
    lines = [f"{stats.gpus_used} of {stats.gpus} GPUs used, {stats.kept} replicas kept, {stats.moved} moved"]
    width = max((len(host.host) for host in stats.hosts), default=4)
    lines.append(f"{'host':<{width}}  GPUs used  GPU free    stranded    memory free")
    lines += [
        f"{host.host:<{width}}  {host.gpus_used:>4}/{host.gpus:<4}  {gib(host.gpu_free_bytes):>9}  "
        f"{gib(host.gpu_stranded_bytes):>9}  {gib(host.memory_free_bytes):>11}"
        for host in stats.hosts
    ]
    for count, size in stats.room:
        if size == 0:
            continue
        cards = "card" if count == 1 else "cards"
        lines.append(f"room for a model on {count} {cards} of one host: {gib(size)} each")
    return "\n".join(lines) + "\n"


def gib(size: int) -> str:
    """Bytes in GiB, rounded down to one decimal, since it is room that is stated."""
    tenths = size * 10 // GIB
    return f"{tenths // 10}.{tenths % 10} GiB"


def seat_text(seat: Seat) -> str:
    """A seat in words: "atlas/0,1", or "atlas" on the CPU."""
    return f"{seat.host}/{','.join(str(gpu) for gpu in seat.gpus)}" if seat.gpus else seat.host
