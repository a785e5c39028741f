"""`gslc lock`."""

from __future__ import annotations

import click

from gslc.cli.build import moved_lines, summary
from gslc.cli.inputs import Paths, paths_of, read_cluster_file, read_lock_file, registry_for
from gslc.cli.resolve import fetched, stale_models
from gslc.cli.session import INPUT_ERROR, Session
from gslc.documents.lock import write_lock
from gslc.edges.files import write_whole
from gslc.ir.diagnostic import Diagnostic, has_errors
from gslc.ir.inputs import Cluster, Model
from gslc.ir.lock import Lock
from gslc.pipeline import Compilation, compile_cluster


@click.command("lock")
@click.argument("cluster", metavar="CLUSTER.yaml", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--upgrade", is_flag=True, help="Resolve every model anew, not only those that the lock lacks.")
@click.option(
    "--upgrade-model", "names", metavar="NAME", multiple=True, help="Resolve this model anew; may be repeated."
)
@click.option("--replan", is_flag=True, help="Place the whole fleet afresh, and list the moves.")
@click.option("--lock-file", metavar="FILE", help="Lock file. Default: gslc.lock beside the cluster file.")
@click.option("--offline", is_flag=True, help="Never open a socket; missing facts are an error.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
@click.option("-q", "--quiet", is_flag=True, help="Errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Also the CPU seconds of each stage.")
def command(
    cluster: str,
    upgrade: bool,
    names: tuple[str, ...],
    replan: bool,
    lock_file: str | None,
    offline: bool,
    form: str,
    quiet: bool,
    verbose: bool,
) -> None:
    """Resolve the facts of the models in CLUSTER.yaml into gslc.lock: revision, files, sha256, layer by layer.

    Only what the lock lacks is fetched. Placements stay, unless --replan is given.

    \b
    gslc lock cluster.yaml                          after adding a model
    gslc lock cluster.yaml --upgrade-model chat     take chat's newest revision
    gslc lock cluster.yaml --replan                 pack the fleet afresh
    """
    session = Session(format=form, quiet=quiet, verbose=verbose)  # type: ignore[arg-type]  # click.Choice is a Format
    paths = paths_of(cluster, None, lock_file)
    description = read_cluster_file(session, paths)
    old, old_text = read_lock_file(session, paths, description)
    models = wanted_models(session, description, old, names, everything=upgrade)
    flag = "--offline" if offline else None
    lock = fetched(session, paths, description, old, models, offline_flag=flag, keep=False) if models else old
    compilation = replanned(session, paths, description, lock) if replan else None
    new = compilation.lock if compilation else kept(description, lock)
    new_text = write_lock(new)
    if new_text != old_text:
        write_whole(paths.lock, new_text)
    session.lap("write")
    session.finish(0, text=report(session, paths, models, compilation, changed=new_text != old_text))


def wanted_models(
    session: Session, cluster: Cluster, lock: Lock, names: tuple[str, ...], *, everything: bool
) -> tuple[Model, ...]:
    """The models to resolve: those that the lock lacks, and those that were named."""
    known = {model.name for model in cluster.models}
    for name in names:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, sorted(known), n=1)
            raise click.BadParameter(
                f"there is no model {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""),
                param_hint="--upgrade-model",
            )
    stale = {model.name for model in stale_models(cluster, lock)}
    return tuple(
        model
        for model in cluster.models
        if model.source is not None and (everything or model.name in names or model.name in stale)
    )


def kept(cluster: Cluster, lock: Lock) -> Lock:
    """The lock without models that the cluster no longer has."""
    names = {model.name for model in cluster.models}
    return Lock(
        cluster=cluster.name,
        facts={name: facts for name, facts in lock.facts.items() if name in names},
        placements=tuple(placement for placement in lock.placements if placement.model in names),
    )


def replanned(session: Session, paths: Paths, cluster: Cluster, lock: Lock) -> Compilation:
    """The fleet placed afresh; ends the run where a replica finds no place, keeping the facts."""
    outcome = compile_cluster(cluster, lock, registry_for(cluster, lock), replan=True, lap=session.lap)
    diagnostics: tuple[Diagnostic, ...] = outcome.diagnostics
    session.add(diagnostics)
    compilation = outcome.value
    if compilation is None or has_errors(diagnostics) or compilation.plan.unplaced:
        write_whole(paths.lock, write_lock(lock))
        session.finish(INPUT_ERROR, text=summary(session, compilation))
    return compilation


def report(
    session: Session, paths: Paths, models: tuple[Model, ...], compilation: Compilation | None, *, changed: bool
) -> str:
    """What was done, in a few lines."""
    lines = "".join(f"resolved: {model.name} {model.source.text if model.source else ''}\n" for model in models)
    if compilation is not None:
        moves = moved_lines(compilation.placement)
        lines += moves or "no replica moves\n"
    return f"{lines}{paths.lock}: {'written' if changed else 'unchanged'}\n"
