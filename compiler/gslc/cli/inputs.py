"""Reading what a compile needs: the cluster file with its includes, and the lock beside it."""

from __future__ import annotations

import os

from gslc.cli.session import INPUT_ERROR, OUT_OF_DATE, OUTSIDE_FAILED, Session
from gslc.contracts import Registry
from gslc.documents.lock import read_lock
from gslc.edges.files import read_input
from gslc.edges.gpu_table import RESOURCE, GpuTable, load_gpu_table
from gslc.edges.includes import ClusterFiles
from gslc.edges.resources import resource_text
from gslc.frontend.codec import read_cluster
from gslc.frontend.include import load_documents
from gslc.frontend.source import Document
from gslc.ir.diagnostic import Diagnostic, Outcome, Place, has_errors
from gslc.ir.inputs import Cluster
from gslc.ir.lock import Lock
from gslc.ir.record import dataclass
from gslc.passes.eligible import choose_backend
from gslc.registry import BACKEND_GROUP, BACKENDS, TARGET_GROUP, TARGETS, plugin_names, registry_of

STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where a run reads and writes: the cluster file as the user named it, the lock, the output folder."""

    cluster: str
    lock: str
    output: str

    @property
    def folder(self) -> str:
        """The folder that includes, lock and output are relative to."""
        return "." if self.cluster == STDIN else os.path.dirname(self.cluster) or "."


def paths_of(cluster: str, output: str | None, lock_file: str | None) -> Paths:
    """The paths of a run; lock and output lie beside the cluster file unless they are given."""
    folder = "" if cluster == STDIN else os.path.dirname(cluster)
    return Paths(
        cluster=cluster,
        lock=lock_file or os.path.join(folder, "gslc.lock"),
        output=output or os.path.join(folder, "build"),
    )


def read_cluster_file(session: Session, paths: Paths) -> Cluster:
    """The cluster; ends the run with status 1, or 4 where the file itself can't be read."""
    reader = ClusterFiles(main=paths.cluster)
    documents = load_documents(reader.name, reader)
    session.sources.update({name: data.decode("utf-8", "replace") for name, data in reader.sources.items()})
    session.add(documents.diagnostics)
    if documents.value is None:
        session.finish(INPUT_ERROR if reader.sources else OUTSIDE_FAILED)
    outcome = read_with_plugins(documents.value, load_gpu_table(resource_text(RESOURCE)))
    session.add(outcome.diagnostics)
    if outcome.value is None or has_errors(outcome.diagnostics):
        session.finish(INPUT_ERROR)
    session.lap("read")
    return outcome.value


def read_with_plugins(documents: tuple[Document, ...], gpu_table: GpuTable) -> Outcome[Cluster]:
    """The cluster; where it has mistakes it is read again with the names of plug-ins, since one may be the reason."""
    outcome = read_cluster(documents, gpu_table)
    if not has_errors(outcome.diagnostics):
        return outcome
    backends, targets = plugin_names(BACKEND_GROUP), plugin_names(TARGET_GROUP)
    if not backends and not targets:
        return outcome
    return read_cluster(
        documents, gpu_table, targets=(*TARGETS, *sorted(targets)), backends=(*BACKENDS, *sorted(backends))
    )


def registry_for(cluster: Cluster, lock: Lock) -> Registry:
    """The registry with the backends and targets that the cluster uses, plug-ins among them."""
    backends = {choose_backend(model, lock.facts.get(model.name), cluster)[0] for model in cluster.models}
    return registry_of(backends, {host.target for host in cluster.hosts})


def read_lock_file(session: Session, paths: Paths, cluster: Cluster) -> tuple[Lock, str | None]:
    """The lock and its text, or an empty lock and None. Ends the run with 3 where the file can't be trusted."""
    if not os.path.lexists(paths.lock):
        return Lock(cluster=cluster.name, facts={}), None
    data = read_input(paths.lock)
    session.add(data.diagnostics)
    if data.value is None:
        session.finish(OUTSIDE_FAILED)
    text = data.value.decode("utf-8", "replace")
    session.sources[paths.lock] = text
    outcome = read_lock(text, paths.lock)
    session.add(outcome.diagnostics)
    if outcome.value is None:
        session.finish(OUT_OF_DATE)
    if outcome.value.cluster != cluster.name:
        session.add([other_cluster(paths.lock, outcome.value.cluster, cluster.name)])
        session.finish(OUT_OF_DATE)
    session.lap("lock")
    return outcome.value, text


def other_cluster(path: str, found: str, wanted: str) -> Diagnostic:
    """The refusal of a lock that was made for another cluster."""
    return Diagnostic(
        code="GS203",
        place=Place(file=path),
        message=f"this lock belongs to the cluster {found!r}, not to {wanted!r}",
        help="name the right lock with --lock-file, or remove this one to start afresh",
    )
