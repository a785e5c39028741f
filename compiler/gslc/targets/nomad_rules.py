"""What Nomad can and can't do for a plan: drivers, the two ways to give cards, and one job a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from gslc.contracts import instances_of
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.inputs import Cluster, Host
from gslc.ir.plan import Instance, Launch, Plan, Shard
from gslc.targets.reach import review_followers, review_reach
from gslc.targets.reviews import (
    review_client_references,
    review_image,
    review_mixed_targets,
    review_normal_form,
    review_paths,
    review_program,
    review_values,
)

Driver = Literal["docker", "raw_exec"]
GpuWay = Literal["device", "variables"]


def nomad_driver(host: Host, launch: Launch) -> Driver:
    """The host's driver; where none is set, docker on Linux for what has an image."""
    if host.nomad_driver is not None:
        return host.nomad_driver
    return "docker" if host.os == "linux" and launch.image is not None else "raw_exec"


def gpu_ways(plan: Plan, hosts: Mapping[str, Host]) -> dict[str, GpuWay]:
    """How the tasks of each node that has tasks with cards are given them.

    Nomad's device block takes a card for one allocation alone and needs its UUID. Where one task of the node can't use
    it, none does: Nomad would count cards as free that a task with variables uses.
    """
    ways: dict[str, GpuWay] = {}
    for instance in instances_of(plan, "nomad"):
        for shard in instance.shards:
            if not shard.gpus:
                continue
            ways.setdefault(shard.host, "device")
            if not _fits_device_block(instance, shard, hosts[shard.host]):
                ways[shard.host] = "variables"
    return ways


def review_nomad(plan: Plan, cluster: Cluster) -> tuple[Diagnostic, ...]:
    """All that the plan asks of Nomad and that a job can't hold."""
    instances = instances_of(plan, "nomad")
    hosts = {host.name: host for host in cluster.hosts}

    def in_docker(shard: Shard) -> bool:
        return nomad_driver(hosts[shard.host], shard.launch) == "docker"

    return (
        *review_mixed_targets(instances, cluster),
        *_one_job(plan, instances, cluster),
        *_drivers(instances, cluster, hosts),
        *review_image(instances, cluster, in_docker),
        *review_paths(instances, cluster, in_docker),
        *review_program(instances, cluster, lambda shard: not in_docker(shard)),
        *review_reach(instances, cluster),
        *review_followers(instances, cluster, "nomad"),
        *review_client_references(instances, cluster),
        *review_normal_form(instances, cluster),
        *review_values(instances, cluster),
        *_cards_by_variables(plan, cluster, hosts),
    )


def _fits_device_block(instance: Instance, shard: Shard, host: Host) -> bool:
    cards = {gpu.index: gpu for gpu in host.gpus}
    return instance.exclusive and shard.launch.vendor == "nvidia" and all(cards[index].uuid for index in shard.gpus)


def _one_job(plan: Plan, instances: tuple[Instance, ...], cluster: Cluster) -> Iterator[Diagnostic]:
    """Models that Nomad runs and that have replicas under another target too."""
    models = {instance.model for instance in instances}
    others: dict[str, Instance] = {}
    for instance in plan.instances:
        if instance.model in models and instance.target != "nomad":
            others.setdefault(instance.model, instance)
    for model, other in sorted(others.items()):
        own = next(instance for instance in instances if instance.model == model)
        yield Diagnostic(
            code="GS650",
            place=cluster.places.key("models", model),
            message=f"Nomad runs a model as one job, and {own.name} lies on {own.shards[0].host} (nomad) while "
            f"{other.name} lies on {other.shards[0].host} ({other.target})",
            help="choose hosts of one target with host_selector",
        )


def _drivers(instances: tuple[Instance, ...], cluster: Cluster, hosts: dict[str, Host]) -> Iterator[Diagnostic]:
    """Parts that the docker driver would have to run on macOS or Windows."""
    for instance in instances:
        for shard in instance.shards:
            host = hosts[shard.host]
            if host.os != "linux" and nomad_driver(host, shard.launch) == "docker":
                yield Diagnostic(
                    code="GS658",
                    place=cluster.places.at("hosts", host.name, "nomad_driver"),
                    message=f"{shard.launch.name} can't run on {host.name} by docker: the host is {host.os}",
                    help=f"set hosts.{host.name}.nomad_driver: raw_exec",
                )


def _cards_by_variables(plan: Plan, cluster: Cluster, hosts: dict[str, Host]) -> Iterator[Diagnostic]:
    """A note for each node whose cards Nomad does not count."""
    used = {
        shard.host
        for instance in instances_of(plan, "nomad")
        for shard in instance.shards
        if shard.gpus and shard.launch.vendor == "nvidia"
    }
    ways = gpu_ways(plan, hosts)
    for name in sorted(used):
        if ways[name] == "variables":
            yield Diagnostic(
                code="GS656",
                severity="note",
                place=cluster.places.key("hosts", name),
                message=f"the cards of {name} are given to tasks by variables, and Nomad does not count them: "
                "a model shares its cards, or a card has no uuid in the inventory",
                help=f"keep other GPU jobs off {name}, or set exclusive_gpus and the uuid of each card",
            )
