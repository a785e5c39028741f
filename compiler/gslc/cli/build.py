"""`gslc build`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import click

from gslc.cli.inputs import Paths, paths_of, read_cluster_file, read_lock_file, registry_for
from gslc.cli.resolve import bring_facts
from gslc.cli.session import INPUT_ERROR, OUT_OF_DATE, OUTSIDE_FAILED, Session
from gslc.documents.lock import write_lock
from gslc.edges.files import Comparison, compare, ignored_by_git, open_folder, publish, write_whole
from gslc.ir.diagnostic import Diagnostic, Place, has_errors, sort_key
from gslc.ir.lock import Lock, Seat
from gslc.ir.placement import Placement
from gslc.ir.record import dataclass
from gslc.pipeline import Compilation, compile_cluster

LINK_IN_THE_WAY = "GS603"
RUN_BUILD = "run gslc build and commit the result"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The options of a build that decide what may happen."""

    check: bool
    locked: bool
    offline: bool
    frozen: bool
    force: bool
    mirror: str | None

    @property
    def keeps_lock(self) -> bool:
        """True when the lock may not be written."""
        return self.check or self.locked or self.frozen


@click.command("build")
@click.argument("cluster", metavar="CLUSTER.yaml", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("-o", "--output", metavar="DIR", help="Output folder. Default: build/ beside the cluster file.")
@click.option("--lock-file", metavar="FILE", help="Lock file. Default: gslc.lock beside the cluster file.")
@click.option("--check", is_flag=True, help="Write nothing; exit 3 if any byte of the folder or the lock would change.")
@click.option("--locked", is_flag=True, help="Exit 3 if the lock would change.")
@click.option("--offline", is_flag=True, help="Never open a socket; missing facts are an error.")
@click.option("--frozen", is_flag=True, help="Both --locked and --offline.")
@click.option("--force", is_flag=True, help="Replace files that were edited by hand or that gslc does not own.")
@click.option(
    "--mirror", metavar="DIR|URL", help="Fetch model files from here (laid out like model_dir), not from the hubs."
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "github", "sarif", "markdown"]), default="text",
    show_default=True, help="How to print the result.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Also the fleet's free bytes, and the CPU seconds of each stage.")
def command(
    cluster: str,
    output: str | None,
    lock_file: str | None,
    check: bool,
    locked: bool,
    offline: bool,
    frozen: bool,
    force: bool,
    mirror: str | None,
    form: str,
    quiet: bool,
    verbose: bool,
) -> None:
    """Compile CLUSTER.yaml (- reads standard input) into units, compose files and Nomad jobs.

    The lock is brought up to date first: facts of models that it lacks are fetched, replicas that it doesn't place are
    placed. What it places legally never moves.

    \b
    gslc build cluster.yaml                 compile into build/
    gslc build cluster.yaml --check         in CI: is build/ what cluster.yaml compiles to?
    gslc build cluster.yaml --format json   for programs
    """
    session = Session(format=form, quiet=quiet, verbose=verbose)  # type: ignore[arg-type]  # click.Choice is a Format
    paths = paths_of(cluster, output, lock_file)
    ask = Ask(check=check, locked=locked, offline=offline, frozen=frozen, force=force, mirror=mirror)
    build(session, paths, ask)


def build(session: Session, paths: Paths, ask: Ask) -> None:
    """Run a build to its end; leaves by session.finish."""
    description = read_cluster_file(session, paths)
    old_lock, old_text = read_lock_file(session, paths, description)
    lock = bring_facts(
        session,
        paths,
        description,
        old_lock,
        locked_flag=flag_given(ask) if ask.locked or ask.frozen else None,
        offline_flag="--offline" if ask.offline else None,
        keep=ask.keeps_lock,
    )
    outcome = compile_cluster(description, lock, registry_for(description, lock), mirror=ask.mirror, lap=session.lap)
    session.add(outcome.diagnostics)
    compilation = outcome.value
    if compilation is None or has_errors(outcome.diagnostics) or compilation.plan.unplaced:
        keep_facts(paths, old_lock, lock, keep=ask.keeps_lock)
        session.finish(INPUT_ERROR, text=summary(session, compilation), extra=plan_extra(session, compilation, None))
    # A lock that was read is its own canonical text, so one that holds the same needs no writing.
    kept = old_text if compilation.lock == old_lock else None
    new_text = kept or write_lock(compilation.lock)
    session.lap("lock text")
    if ask.check:
        finish_check(session, paths, compilation, old_text, new_text)
    if (ask.locked or ask.frozen) and new_text != old_text:
        session.add([out_of_date(paths.lock, flag_given(ask), "it does not pin what this cluster file compiles to")])
        session.finish(OUT_OF_DATE, extra=plan_extra(session, compilation, None))
    write(session, paths, ask, compilation, old_text, new_text)


def write(
    session: Session, paths: Paths, ask: Ask, compilation: Compilation, old_text: str | None, new_text: str
) -> None:
    """Publish the folder and the lock, and say what was done."""
    try:
        with open_folder(paths.output, create=True) as folder:
            comparison = compare(folder, compilation.cluster.name, compilation.files, force=ask.force)
            session.add(comparison.obstacles)
            if comparison.obstacles:
                session.finish(INPUT_ERROR, extra=plan_extra(session, compilation, None))
            if new_text != old_text:
                write_whole(paths.lock, new_text)
            if folder is not None:
                publish(folder, compilation.cluster.name, compilation.files, comparison)
    except OSError as error:
        failure = write_failure(paths, error)
        session.add([failure])
        session.finish(INPUT_ERROR if failure.code == LINK_IN_THE_WAY else OUTSIDE_FAILED)
    session.lap("write")
    if ignored_by_git(paths.output):
        session.add([ignored(paths.output)])
    text = summary(session, compilation) + written_line(paths, comparison)
    session.finish(0, text=text, extra=plan_extra(session, compilation, comparison))


def finish_check(session: Session, paths: Paths, compilation: Compilation, old_text: str | None, new_text: str) -> None:
    """End a --check: 0 when nothing would change, else 3 with every file that would, and what a build would refuse."""
    try:
        with open_folder(paths.output, create=False) as folder:
            comparison = compare(folder, compilation.cluster.name, compilation.files, force=False)
    except OSError as error:
        session.add([write_failure(paths, error)])
        session.finish(OUT_OF_DATE)
    session.lap("compare")
    lock_differs = new_text != old_text
    session.add(comparison.obstacles)
    session.add(stale(paths, comparison, "created" if old_text is None else "changed" if lock_differs else None))
    status = OUT_OF_DATE if comparison.differs or comparison.obstacles or lock_differs else 0
    text = "" if status else f"{paths.output}: up to date, {len(comparison.changes)} files\n"
    session.finish(status, text=text, extra=plan_extra(session, compilation, comparison))


def stale(paths: Paths, comparison: Comparison, lock: str | None) -> Iterator[Diagnostic]:
    """GS608 for the lock and each file that a build would change, GS609 for a folder that it would only complete.

    A file that a build refuses to touch has a diagnostic of its own, which the help then names as what comes first.
    """
    refused = {one.place.file for one in comparison.obstacles}
    first = min(comparison.obstacles, key=sort_key, default=None)
    action = RUN_BUILD
    if first is not None:
        action = f"gslc build stops at {first.place.file} ({first.code}): mend that first, then {RUN_BUILD}"
    if lock is not None:
        yield replace(out_of_date(paths.lock, "--check", f"the lock would be {lock}"), help=action)
    files = [change for change in comparison.changes if change.change != "unchanged"]
    if comparison.incomplete and not files and not refused:
        yield incomplete(paths.output)
    shown = [(os.path.join(paths.output, change.path), change.change) for change in files]
    for number, (path, change) in enumerate(one for one in shown if one[0] not in refused):
        found = out_of_date(path, "--check", f"it would be {change}")
        yield replace(found, help=action if number == 0 else None)


def keep_facts(paths: Paths, old_lock: Lock, lock: Lock, *, keep: bool) -> None:
    """Facts that were fetched for a build that failed stay in the lock; placements are as they were."""
    if keep or lock.facts == old_lock.facts:
        return
    write_whole(paths.lock, write_lock(Lock(cluster=lock.cluster, facts=lock.facts, placements=old_lock.placements)))


def plan_extra(session: Session, compilation: Compilation | None, comparison: Comparison | None) -> dict[str, object]:
    """The members that a build adds to the JSON envelope, where that is printed."""
    if compilation is None or session.format != "json":
        return {}
    from gslc.documents.plan_json import plan_json
    from gslc.report.fleet import fleet_json

    changes = comparison.changes if comparison else ()
    return {
        "plan": plan_json(compilation.plan),
        "files": [{"path": c.path, "change": c.change, "sha256": c.sha256} for c in changes],
        "fleet": fleet_json(compilation.placement),
    }


def summary(session: Session, compilation: Compilation | None) -> str:
    """The plan in a table, where text or markdown is wanted."""
    if compilation is None or session.format not in ("text", "markdown") or session.quiet:
        return ""
    from gslc.report.fleet import fleet_text
    from gslc.report.summary import plan_summary, plan_summary_markdown

    if session.format == "markdown":
        return plan_summary_markdown(compilation.plan)
    text = plan_summary(compilation.plan)
    return text + (fleet_text(compilation.placement) if session.verbose else "")


def moved_lines(placement: Placement) -> str:
    """One line for each replica that left its locked seats, and why."""
    return "".join(
        f"moved: {a.model}-{a.replica} from {seats(a.moved_from)} to {seats(a.seats)}, because {a.moved_because}\n"
        for a in placement.assignments
        if a.moved_from is not None
    )


def seats(places: tuple[Seat, ...]) -> str:
    """Seats in words: atlas/0,1 + borea."""
    from gslc.report.fleet import seat_text

    return " + ".join(seat_text(seat) for seat in places)


def written_line(paths: Paths, comparison: Comparison) -> str:
    """One line on what happened to the folder."""
    counts = dict.fromkeys(("created", "changed", "removed", "unchanged"), 0)
    for change in comparison.changes:
        counts[change.change] += 1
    words = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f"{paths.output}: {words or 'no files'}\n"


def flag_given(ask: Ask) -> str:
    """The flag that the user gave, for the message (cargo names the wrong one: rust-lang/cargo issue 10504)."""
    return "--frozen" if ask.frozen else "--locked"


def out_of_date(file: str, flag: str, what: str) -> Diagnostic:
    """GS608 about one file."""
    return Diagnostic(
        code="GS608",
        place=Place(file=file),
        message=f"out of date ({flag}): {what}",
        help=RUN_BUILD,
    )


def incomplete(folder: str) -> Diagnostic:
    """GS609 about a folder whose build was interrupted."""
    return Diagnostic(
        code="GS609",
        place=Place(file=folder),
        message="incomplete: a build of this folder did not end, or its manifest is missing",
        help="run gslc build: it finishes the work",
    )


def ignored(folder: str) -> Diagnostic:
    """GS607 about a folder that git hides."""
    return Diagnostic(
        code="GS607",
        severity="warning",
        place=Place(file=folder),
        message=f"git ignores {folder}, so what was built can't be reviewed or committed",
        help=f"remove the .gitignore rule, or add the line !{os.path.basename(folder)}/",
    )


def write_failure(paths: Paths, error: OSError) -> Diagnostic:
    """GS870 about the folder or the lock."""
    where = error.filename if isinstance(error.filename, str) else paths.output
    if isinstance(error, NotADirectoryError) or error.errno == 40:
        return Diagnostic(
            code=LINK_IN_THE_WAY,
            place=Place(file=paths.output),
            message=f"{paths.output} is, or holds, a link or a file where a folder belongs ({where})",
            help="remove it, or build into another folder with -o",
        )
    return Diagnostic(
        code="GS870",
        place=Place(file=where),
        message=f"cannot write: {error.strerror or error}",
        help="free space or fix the permissions, then build again",
    )
