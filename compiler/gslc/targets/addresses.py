"""Where a launch can be asked whether it is up: from its own host, and from another one."""

from __future__ import annotations

from collections.abc import Iterable

from gslc.engines.addresses import is_loopback, socket_address
from gslc.ir.plan import Instance, Launch, Shard

ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound


def local_address(launch: Launch) -> str:
    """The address under which a process of the same host reaches the launch."""
    return "127.0.0.1" if launch.listen in ANY_ADDRESS else launch.listen


def remote_address(shard: Shard) -> str | None:
    """The address under which another host reaches the shard; None where it listens to its own host alone."""
    address = shard.address if shard.launch.listen in ANY_ADDRESS else shard.launch.listen
    return None if address in ANY_ADDRESS or is_loopback(address) else address


def probe(launch: Launch, address: str) -> str | None:
    """What `gslc_host.py wait` polls for: the health page, else the open port; None where the launch opens none."""
    if not launch.port:
        return None
    if launch.health_path:
        return f"http://{socket_address(address, launch.port)}{launch.health_path}"
    # a headless worker has a port of its own in the plan only where it listens on it
    return f"tcp://{socket_address(address, launch.port)}" if launch.role != "worker" else None


def shards_by_host(instances: Iterable[Instance]) -> dict[str, list[tuple[Instance, Shard]]]:
    """All shards with their instances, by host; hosts sorted, shards in the order of the plan."""
    found: dict[str, list[tuple[Instance, Shard]]] = {}
    for instance in instances:
        for shard in instance.shards:
            found.setdefault(shard.host, []).append((instance, shard))
    return dict(sorted(found.items()))


def shards_by_name(instance: Instance) -> dict[str, Shard]:
    """The shards of an instance by the name of their launch."""
    return {shard.launch.name: shard for shard in instance.shards}
