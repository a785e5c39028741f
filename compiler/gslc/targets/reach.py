"""What keeps the hosts of one replica from reaching each other, as diagnostics at the hosts of the cluster file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gslc.engines.addresses import is_ipv4, is_loopback
from gslc.ir.diagnostic import Diagnostic, Related
from gslc.ir.inputs import Cluster
from gslc.ir.plan import Instance, Shard
from gslc.targets.addresses import ANY_ADDRESS, remote_address, shards_by_name


def review_reach(instances: Iterable[Instance], cluster: Cluster) -> Iterator[Diagnostic]:
    """Hosts of a replica that the others can't reach: by their address, or because a part listens to its host alone."""
    found = tuple(instances)
    yield from _review_addresses(found, cluster)
    yield from _review_same_addresses(found, cluster)
    yield from _review_listening(found, cluster)
    yield from _review_rpc(found, cluster)


def review_followers(instances: Iterable[Instance], cluster: Cluster, target: str) -> Iterator[Diagnostic]:
    """Replicas whose workers on other hosts would have to restart with their leader, which `target` can't do."""
    for instance in instances:
        others = _bound_to_leader(instance)
        if others:
            yield Diagnostic(
                code="GS660",
                severity="warning",
                place=cluster.places.key("models", instance.model),
                message=f"{target} can't restart the workers of {instance.name} on "
                f"{', '.join(others)} when its leader on {instance.shards[0].host} restarts",
                help="after a restart of the leader restart the workers too, or use target systemd, which does it",
            )


def review_watches(instances: Iterable[Instance], cluster: Cluster) -> Iterator[Diagnostic]:
    """Replicas whose workers can't watch their leader, since it answers its own host alone."""
    addresses = {host.name: host.address or "" for host in cluster.hosts}
    for instance in instances:
        leader, others = instance.shards[0], _bound_to_leader(instance)
        address = addresses[leader.host]
        # where the host's address is no better, that is an error of its own
        if others and is_loopback(leader.launch.listen) and not is_loopback(address):
            yield Diagnostic(
                code="GS660",
                severity="warning",
                place=cluster.places.at("hosts", leader.host, "listen"),
                message=f"the workers of {instance.name} on {', '.join(others)} are not restarted with its leader on "
                f"{leader.host}: they would watch its port, and it listens on {leader.launch.listen}",
                help=f"set hosts.{leader.host}.listen to {address or 'its address'}, "
                "or restart the workers after the leader",
            )


def _bound_to_leader(instance: Instance) -> list[str]:
    """The hosts, beside the leader's, of workers that are of no use to a leader that started after them."""
    home = instance.shards[0].host
    workers = [shard for shard in instance.shards if shard.host != home and shard.role == "worker"]
    if not any(shard.launch.group_restart and not shard.launch.ends_with_leader for shard in workers):
        return []
    return sorted({shard.host for shard in workers})


def _reached(instance: Instance) -> tuple[Shard, ...]:
    """The parts whose hosts the others connect to, () where all lie on one host.

    RPC servers are called by their leader and call nobody; all other parts are ranks of one group (NCCL, Gloo, Ray),
    of which each may connect to each. Of custom programs nothing better is known.
    """
    if len({shard.host for shard in instance.shards}) < 2:
        return ()
    servers = tuple(shard for shard in instance.shards if shard.role == "rpc")
    return servers or instance.shards


def _review_addresses(instances: tuple[Instance, ...], cluster: Cluster) -> Iterator[Diagnostic]:
    """Each host once whose address means, on another host, that other host."""
    addresses = {host.name: host.address for host in cluster.hosts}
    told: set[str] = set()
    for instance in instances:
        for shard in _reached(instance):
            address = addresses[shard.host]
            if address is None or not is_loopback(address) or shard.host in told:
                continue
            told.add(shard.host)
            others = sorted({other.host for other in instance.shards} - {shard.host})
            yield Diagnostic(
                code="GS659",
                place=cluster.places.at("hosts", shard.host, "address"),
                message=f"{instance.name} spans hosts, and {', '.join(others)} must reach {shard.launch.name} on "
                f"{shard.host}, whose address {address} means each host itself",
                help=f"set hosts.{shard.host}.address to the address under which {others[0]} reaches it",
            )


def _review_same_addresses(instances: tuple[Instance, ...], cluster: Cluster) -> Iterator[Diagnostic]:
    """Each pair of hosts once that one replica spans and that have one address."""
    addresses = {host.name: _normal(host.address) for host in cluster.hosts if host.address is not None}
    told: set[tuple[str, str]] = set()
    for instance in instances:
        for shard in _reached(instance):
            address = addresses.get(shard.host)
            if address is None or is_loopback(address):
                continue
            for other in sorted({part.host for part in instance.shards} - {shard.host}):
                first, second = sorted((shard.host, other))
                if addresses.get(other) != address or (first, second) in told:
                    continue
                told.add((first, second))
                yield Diagnostic(
                    code="GS663",
                    place=cluster.places.at("hosts", second, "address"),
                    message=f"{instance.name} spans {first} and {second}, which have the same address {address}",
                    help=f"set hosts.{second}.address to its own",
                    related=(
                        Related(
                            place=cluster.places.at("hosts", first, "address"), message=f"the address of host {first}"
                        ),
                    ),
                )


def _normal(address: str) -> str:
    """A name as DNS compares it."""
    return address.lower().removesuffix(".")


def _review_listening(instances: tuple[Instance, ...], cluster: Cluster) -> Iterator[Diagnostic]:
    """Parts that another host waits for, and that listen to their own host alone though its address is good."""
    addresses = {host.name: host.address for host in cluster.hosts}
    for instance in instances:
        shards = shards_by_name(instance)
        for shard in instance.shards:
            for name in shard.launch.after:
                other = shards[name]
                address, listen = addresses[other.host], other.launch.listen
                reachable = other.host == shard.host or remote_address(other) is not None
                if reachable or (address is not None and is_loopback(address)):
                    continue
                # the key that is wrong: `listen` is the address where it is not written
                wrong = "address" if address is None or listen in ANY_ADDRESS else "listen"
                yield Diagnostic(
                    code="GS659",
                    place=cluster.places.at("hosts", other.host, wrong),
                    message=f"{shard.launch.name} on {shard.host} must reach {name} on {other.host}, "
                    f"which listens on {listen}",
                    help=f"set hosts.{other.host}.address"
                    if address is None
                    else f"set hosts.{other.host}.{wrong} to {address}",
                )


def _review_rpc(instances: tuple[Instance, ...], cluster: Cluster) -> Iterator[Diagnostic]:
    """Each host once on which an RPC server can't listen, or to which its leader can't connect.

    ggml/src/ggml-rpc/transport.cpp (llama.cpp b11669) has IPv4 sockets alone: the server reads its address with
    inet_addr, which knows no names; the leader cuts host:port at the first colon and resolves names to IPv4.
    """
    hosts = {host.name: host for host in cluster.hosts}
    told: set[str] = set()
    for instance in instances:
        for shard in instance.shards:
            host = hosts[shard.host]
            if shard.role != "rpc" or host.name in told:
                continue
            told.add(host.name)
            address = host.address or host.listen
            if ":" in address:
                wrong, why = "address", f"is at {address}, and the RPC of {instance.backend} speaks IPv4 alone"
                action = f"set hosts.{host.name}.address to an IPv4 address, or to a name that has one"
            elif not is_ipv4(host.listen) and not is_loopback(host.listen):  # that one has an error of its own
                wrong = "listen" if host.listen != host.address else "address"
                why = f"listens on {host.listen}, and an RPC server of {instance.backend} takes an IPv4 address alone"
                action = f"set hosts.{host.name}.listen to its IPv4 address"
            else:
                continue
            yield Diagnostic(
                code="GS664",
                place=cluster.places.at("hosts", host.name, wrong),
                message=f"{shard.launch.name} on {host.name} {why}",
                help=action,
            )
