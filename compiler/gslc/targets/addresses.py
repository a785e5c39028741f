"""Where a launch can be asked whether it is up: from its own host, and from another one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gslc.ir.plan import Instance, Launch, Shard

ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
# 127.0.0.0/8, also as IPv6 (ipaddress writes ::ffff:7f00:1 before Python 3.13, ::ffff:127.0.0.1 since); the names are
# those of RFC 6761 and of the /etc/hosts of Debian (ip6-) and Fedora (localhost4, localhost6).
_LOOPBACK = re.compile(
    r"127\..*|::1|::ffff:(127\..*|7f[0-9a-f]{2}:.*)|(.*\.)?localhost|localhost[46]?\.localdomain[46]?|localhost[46]"
    r"|ip6-(localhost|loopback)",
    re.IGNORECASE,
)


def is_loopback(address: str) -> bool:
    """Whether an address or name means, on every host, the host itself."""
    return _LOOPBACK.fullmatch(address.removesuffix(".")) is not None


def socket_address(address: str, port: int) -> str:
    """`address:port`, with the brackets that an IPv6 address wants."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


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
