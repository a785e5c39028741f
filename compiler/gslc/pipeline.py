"""The whole compiler on one screen: a cluster and its lock go in, a plan, output files and a new lock come out.

A pure function: no disk, no network, no clock. Whoever calls it reads before and writes after.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from gslc.contracts import Registry
from gslc.documents.plan_json import host_summaries
from gslc.documents.plan_text import plan_text
from gslc.ir.diagnostic import Decision, Diagnostic, Outcome, Place, has_errors
from gslc.ir.inputs import Cluster
from gslc.ir.lock import Lock, LockedPlacement
from gslc.ir.output import OutputFile
from gslc.ir.placement import Assignment, Candidates, Placement
from gslc.ir.plan import Plan
from gslc.ir.record import dataclass
from gslc.passes.assemble import assemble
from gslc.passes.check import check_plan
from gslc.passes.eligible import find_candidates
from gslc.passes.place import place_models
from gslc.targets.endpoints import render_endpoints

Lap = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """What a cluster compiles to. With unplaced replicas `files` is empty and `lock` is the old one."""

    cluster: Cluster
    plan: Plan
    files: tuple[OutputFile, ...]
    lock: Lock
    candidates: tuple[Candidates, ...]
    placement: Placement


def compile_cluster(
    cluster: Cluster,
    lock: Lock,
    registry: Registry,
    *,
    replan: bool = False,
    mirror: str | None = None,
    lap: Lap = lambda _: None,
) -> Outcome[Compilation]:
    """The compilation of a cluster whose facts are all in the lock; without files where a diagnostic is an error."""
    found = find_candidates(cluster, lock.facts, registry)
    lap("eligible")
    if found.value is None or has_errors(found.diagnostics):
        return Outcome(value=None, decisions=found.decisions, diagnostics=found.diagnostics)
    placed = place_models(found.value, cluster, lock, replan=replan)
    lap("place")
    diagnostics = [*found.diagnostics, *placed.diagnostics]
    if placed.value is None:
        return Outcome(value=None, decisions=found.decisions, diagnostics=tuple(diagnostics))
    placement = placed.value
    hosts = {host.name: host for host in cluster.hosts}
    candidates = {candidate.request.model.name: candidate for candidate in found.value}
    plan = Plan(
        cluster=cluster.name,
        instances=assemble(placement.assignments, candidates, hosts, registry, mirror),
        unplaced=placement.unplaced,
        hosts=host_summaries(cluster.hosts),
    )
    lap("launches")
    diagnostics += check_plan(plan, cluster, lock.facts)
    lap("check")
    files: tuple[OutputFile, ...] = ()
    if not has_errors(diagnostics) and not placement.unplaced:
        rendered = render(plan, cluster, registry)
        diagnostics += rendered.diagnostics
        files = rendered.value or ()
    lap("render")
    compilation = Compilation(
        cluster=cluster,
        plan=plan,
        files=() if has_errors(diagnostics) else files,
        lock=lock if has_errors(diagnostics) else new_lock(cluster, lock, placement, candidates),
        candidates=found.value,
        placement=placement,
    )
    return Outcome(value=compilation, decisions=(*found.decisions, *placed.decisions), diagnostics=tuple(diagnostics))


def render(plan: Plan, cluster: Cluster, registry: Registry) -> Outcome[tuple[OutputFile, ...]]:
    """All output files but the manifest, sorted by path; two files of one name are an error."""
    used = sorted({instance.target for instance in plan.instances})
    diagnostics: list[Diagnostic] = []
    files = [OutputFile(path="plan.json", text=plan_text(plan)), *render_endpoints(plan, cluster)]
    for name in used:
        target = registry.targets[name]
        diagnostics += target.review(plan, cluster)
        if has_errors(diagnostics):
            continue
        outcome = target.render(plan, cluster)
        diagnostics += outcome.diagnostics
        files += outcome.value or ()
    files.sort(key=lambda file: file.path)
    for first, second in pairwise(files):
        if first.path == second.path:
            diagnostics.append(
                Diagnostic(
                    code="GS606",
                    place=Place(file=cluster.file),
                    message=f"two instances would both be written to {first.path}",
                    help="rename one of the models",
                )
            )
    return Outcome(value=tuple(files), diagnostics=tuple(diagnostics))


def new_lock(cluster: Cluster, lock: Lock, placement: Placement, candidates: dict[str, Candidates]) -> Lock:
    """The lock that pins this placement and the facts of the models that the cluster still has."""
    names = {model.name for model in cluster.models}
    return Lock(
        cluster=cluster.name,
        facts={name: facts for name, facts in sorted(lock.facts.items()) if name in names},
        placements=tuple(locked(assignment, candidates) for assignment in placement.assignments),
    )


def locked(assignment: Assignment, candidates: dict[str, Candidates]) -> LockedPlacement:
    """An assignment as the lock keeps it."""
    return LockedPlacement(
        model=assignment.model,
        replica=assignment.replica,
        backend=candidates[assignment.model].request.backend,
        seats=assignment.seats,
        layout=assignment.choice.layout,
    )


def decisions_about(compilation: Compilation, model: str) -> tuple[Decision, ...]:
    """Every decision about a model and its replicas, in the order in which they were made, fleet-wide ones too."""
    found: list[Decision] = []
    for candidate in compilation.candidates:
        if candidate.request.model.name == model:
            found += candidate.decisions
    for assignment in compilation.placement.assignments:
        if assignment.model == model:
            found += (*assignment.choice.decisions, *assignment.decisions)
    return tuple(dict.fromkeys(found))
