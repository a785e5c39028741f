"""The seams of the house: what a backend and a target must offer, and the registry that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gslc.ir.diagnostic import Diagnostic, Excluded, Outcome
from gslc.ir.inputs import Cluster, EnginePin, Host
from gslc.ir.output import OutputFile
from gslc.ir.placement import Assignment, HostClass, Options, Request
from gslc.ir.plan import Instance, Launch, Plan
from gslc.ir.record import dataclass


class Backend(Protocol):
    """An engine that serves models. Never meets a target."""

    name: str
    default_pin: EnginePin  # what this release was tested with; image None: from version and vendor

    def review(self, request: Request) -> tuple[Diagnostic, ...]:
        """What is wrong with the model's own settings for this engine, wherever it may run (args, context, types)."""
        ...

    def excludes(self, request: Request, host_class: HostClass) -> tuple[Excluded, ...]:
        """Why hosts of this class can't run it at all (platform, vendor, no build); () when they can."""
        ...

    def options(self, request: Request, host_class: HostClass) -> Options:
        """The ways to lay the model out on hosts of this class, memory counted."""
        ...

    def engine_version(self, request: Request, host_class: HostClass) -> str:
        """The version that will run there."""
        ...

    def launches(self, request: Request, assignment: Assignment, hosts: Mapping[str, Host]) -> tuple[Launch, ...]:
        """One Launch a shard, leader first. For RPC one a remote GPU, for the rest one a seat."""
        ...


class Target(Protocol):
    """A supervisor whose files gslc writes. Knows Launches, not backends."""

    name: str

    def excludes(self, host_class: HostClass) -> Excluded | None:
        """Why hosts of this class can't run the target (systemd on darwin), or None."""
        ...

    def review(self, plan: Plan, cluster: Cluster) -> tuple[Diagnostic, ...]:
        """What the plan asks of this target that it can't do (an image without RPC, one job over two drivers)."""
        ...

    def render(self, plan: Plan, cluster: Cluster) -> Outcome[tuple[OutputFile, ...]]:
        """The files for all instances of this target, paths below the output folder, sorted by path."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The backends and targets of this run, by name."""

    backends: Mapping[str, Backend]
    targets: Mapping[str, Target]


def instances_of(plan: Plan, target: str) -> tuple[Instance, ...]:
    """The instances of a plan that one target runs."""
    return tuple(instance for instance in plan.instances if instance.target == target)
