"""Filling the lock: which facts are missing, fetching them with progress, keeping what was fetched."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from gslc.cli.inputs import Paths
from gslc.cli.session import INPUT_ERROR, OUT_OF_DATE, OUTSIDE_FAILED, Session
from gslc.documents.lock import write_lock
from gslc.edges.files import write_whole
from gslc.engines.asked import facts_current
from gslc.ir.diagnostic import Diagnostic, has_errors
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import Cluster, Model
from gslc.ir.lock import Lock

NETWORK_CODES = range(800, 850)  # the hub, not the input, is at fault


def stale_models(cluster: Cluster, lock: Lock) -> tuple[Model, ...]:
    """The models whose facts the lock lacks, or has for another source."""
    return tuple(model for model in cluster.models if model.source is not None and not has_facts(model, lock.facts))


def has_facts(model: Model, facts: Mapping[str, ModelFacts]) -> bool:
    """True when the lock answers what the model asks for."""
    known = facts.get(model.name)
    return known is not None and facts_current(model, known)


def bring_facts(
    session: Session,
    paths: Paths,
    cluster: Cluster,
    lock: Lock,
    *,
    locked_flag: str | None,
    offline_flag: str | None,
    keep: bool,
) -> Lock:
    """The lock with facts for every model; ends the run where they can't be had.

    locked_flag and offline_flag are the flags as the user gave them, for messages. keep: the lock file isn't written.
    """
    missing = stale_models(cluster, lock)
    if not missing:
        return lock
    if locked_flag is not None:
        session.add(would_change(cluster, model, locked_flag, paths.lock) for model in missing)
        session.finish(OUT_OF_DATE)
    return fetched(session, paths, cluster, lock, missing, offline_flag=offline_flag, keep=keep)


def fetched(
    session: Session,
    paths: Paths,
    cluster: Cluster,
    lock: Lock,
    models: tuple[Model, ...],
    *,
    offline_flag: str | None,
    keep: bool,
) -> Lock:
    """The lock with fresh facts of the given models; ends the run when some can't be fetched, keeping the others."""
    from gslc.edges.facts import fetch_all
    from gslc.edges.hub import HubSettings

    settings = HubSettings(environment=dict(os.environ), offline_flag=offline_flag)
    progress = ProgressLine(quiet=session.quiet or offline_flag is not None)
    arrived: dict[str, ModelFacts] = {}
    try:
        outcome = fetch_all(
            models, settings, places=cluster.places, progress=progress.show, arrived=arrived.__setitem__
        )
    except KeyboardInterrupt:
        if arrived and not keep:
            facts = {**lock.facts, **arrived}
            write_whole(paths.lock, write_lock(Lock(cluster=cluster.name, facts=facts, placements=lock.placements)))
        raise
    finally:
        progress.clear()
    session.add(outcome.diagnostics)
    fresh = Lock(cluster=cluster.name, facts={**lock.facts, **(outcome.value or {})}, placements=lock.placements)
    session.lap("fetch")
    if has_errors(outcome.diagnostics):
        if outcome.value and not keep:
            write_whole(paths.lock, write_lock(fresh))
        errors = [diagnostic for diagnostic in outcome.diagnostics if diagnostic.severity == "error"]
        outside = all(int(diagnostic.code[2:]) in NETWORK_CODES for diagnostic in errors)
        session.finish(OUTSIDE_FAILED if outside else INPUT_ERROR)
    return fresh


def would_change(cluster: Cluster, model: Model, flag: str, lock_path: str) -> Diagnostic:
    """GS208: the lock lacks a model's facts and may not be changed."""
    source = model.source.text if model.source else ""
    return Diagnostic(
        code="GS208",
        place=cluster.places.at("models", model.name, "source"),
        message=f"{lock_path} has no facts of {model.name!r} ({source}), and {flag} forbids to change it",
        help="run gslc lock and commit the result",
    )


class ProgressLine:
    """One line on a terminal that says how far a fetch is; plain lines for finished models elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty()
        self.width = 0

    def show(self, moment: object) -> None:
        """Print one moment of a fetch."""
        from gslc.edges.facts import FetchProgress

        if self.quiet or not isinstance(moment, FetchProgress):
            return
        if self.live:
            text = f"facts {moment.done}/{moment.total}  {moment.model}: {moment.step or moment.state}"[:79]
            sys.stderr.write("\r" + text.ljust(self.width))
            sys.stderr.flush()
            self.width = len(text)
        elif moment.state != "working":
            print(f"facts {moment.done}/{moment.total}  {moment.model}: {moment.state}", file=sys.stderr)

    def clear(self) -> None:
        """Remove the live line."""
        if self.live and self.width:
            sys.stderr.write("\r" + " " * self.width + "\r")
            sys.stderr.flush()
