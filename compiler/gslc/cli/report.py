"""`gslc report`."""

from __future__ import annotations

from pathlib import Path

import click

from gslc.cli.session import DONE, OUTSIDE_FAILED, Session
from gslc.edges.files import write_whole
from gslc.edges.plan_source import PlanSource, open_plan


@click.command("report")
@click.argument("plan", metavar="PLAN")
@click.option("-o", "--output", metavar="FILE.html", help="The page to write.")
@click.option("--svg", metavar="FILE.svg", help="Also (or only) the memory map as an image for Markdown.")
@click.option("--before", metavar="OLD", help="A second plan: the page then shows before, after and what changed.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
@click.option("-q", "--quiet", is_flag=True, help="Errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Also the CPU seconds of each stage.")
def command(
    plan: str, output: str | None, svg: str | None, before: str | None, form: str, quiet: bool, verbose: bool
) -> None:
    """Write one self-contained page of a plan: the fleet, its GPUs, what lies where and why.

    PLAN and OLD are output folders, plan.json files, or git revisions with a path. The page loads nothing from the
    network, so it works as a CI artifact.

    \b
    gslc report build -o report.html
    gslc report build --before HEAD~1:build -o report.html
    gslc report build --svg docs/memory.svg
    """
    if output is None and svg is None:
        raise click.UsageError("say what to write: -o FILE.html, --svg FILE.svg, or both")
    session = Session(format=form, quiet=quiet, verbose=verbose)  # type: ignore[arg-type]  # click.Choice is a Format
    now = _open(session, plan)
    then = None if before is None else _open(session, before)
    if now is None or (before is not None and then is None):
        session.finish(OUTSIDE_FAILED)
    session.lap("read")
    written = []
    if output is not None:
        write_whole(output, _page(now, then))
        written.append(output)
    if svg is not None:
        from gslc.report.page_svg import memory_map

        write_whole(svg, memory_map(now.document))
        written.append(svg)
    session.lap("write")
    text = "".join(f"wrote {path}\n" for path in written)
    files = [{"path": path, "change": "written"} for path in written]
    session.finish(DONE, text=text, extra={"files": files})


def _open(session: Session, argument: str) -> PlanSource | None:
    outcome = open_plan(argument, Path.cwd())
    session.add(outcome.diagnostics)
    return outcome.value


def _page(now: PlanSource, then: PlanSource | None) -> str:
    from gslc.edges.resources import resource_text
    from gslc.report.diff import diff_plans
    from gslc.report.page import report_page

    if then is None:
        return report_page(now.document, resource_text)
    return report_page(now.document, resource_text, then.document, diff_plans(then, now))
