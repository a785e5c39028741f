"""`gslc diff`."""

from __future__ import annotations

from pathlib import Path

import click

from gslc.cli.session import DONE, OUT_OF_DATE, OUTSIDE_FAILED, Session
from gslc.edges.plan_source import PlanSource, open_plan
from gslc.ir.diagnostic import Diagnostic, Place


@click.command("diff")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--exit-code", is_flag=True, help="Exit 3 when anything differs.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="How to print the diff; markdown is made for a pull request comment (under 60,000 characters).",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no diff, errors only; with --exit-code for scripts.")
@click.option("-v", "--verbose", is_flag=True, help="Also the CPU seconds of each stage.")
def command(old: str, new: str, exit_code: bool, form: str, quiet: bool, verbose: bool) -> None:
    """Say what changes for people between two builds: models, places, memory, flags, and what restarts.

    OLD and NEW are output folders, plan.json files, or git revisions with a path.

    \b
    gslc diff HEAD~1:build build                   what my change does
    gslc diff origin/main:build build --format markdown
    gslc diff old/plan.json new/plan.json --exit-code
    """
    session = Session(format=form, quiet=quiet, verbose=verbose)  # type: ignore[arg-type]  # click.Choice is a Format
    before, after = _open(session, old), _open(session, new)
    if before is None or after is None:
        session.finish(OUTSIDE_FAILED, extra={"diff": None})
    session.lap("read")
    from gslc.report.diff import diff_plans

    diff = diff_plans(before, after)
    session.lap("compare")
    if diff.cluster[0] != diff.cluster[1]:
        session.add([_other_cluster(before, after)])
    extra: dict[str, object] = {}
    text = ""
    if form == "json":
        from gslc.report.diff_json import diff_json

        extra["diff"] = diff_json(diff)
    elif form == "markdown":
        from gslc.report.diff_markdown import diff_markdown

        text = diff_markdown(diff)
    else:
        from gslc.report.diff_text import diff_text

        text = diff_text(diff)
    session.finish(OUT_OF_DATE if exit_code and diff.different else DONE, text=text, extra=extra)


def _open(session: Session, argument: str) -> PlanSource | None:
    outcome = open_plan(argument, Path.cwd())
    session.add(outcome.diagnostics)
    return outcome.value


def _other_cluster(before: PlanSource, after: PlanSource) -> Diagnostic:
    names = f'"{before.document.cluster}" and "{after.document.cluster}"'
    return Diagnostic(
        code="GS857",
        severity="warning",
        place=Place(file=after.name),
        message=f"these are plans of two clusters, {names}",
        help="compare two plans of one cluster",
    )
