"""`gslc explain`."""

from __future__ import annotations

import re
from difflib import get_close_matches

import click

from gslc.cli.session import DONE, INPUT_ERROR, Session

_CODE = re.compile(r"[gG][sS][0-9]{3}")


@click.command("explain")
@click.argument("subject", metavar="CLUSTER.yaml|CODE")
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--lock-file", metavar="FILE", help="Lock file. Default: gslc.lock beside the cluster file.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
@click.option("-q", "--quiet", is_flag=True, help="Errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Also the CPU seconds of each stage.")
def command(subject: str, model: str | None, lock_file: str | None, form: str, quiet: bool, verbose: bool) -> None:
    """Say why a model lies where it lies, or what a diagnostic code means.

    For a model: the backend, host, GPUs and layers that were chosen, from which values; what was refused, and by how
    many bytes; and, where it has no place, what would make it fit. Never touches the network.

    \b
    gslc explain cluster.yaml chat
    gslc explain GS402
    """
    session = Session(format=form, quiet=quiet, verbose=verbose, members={"decisions": []})  # type: ignore[arg-type]  # click.Choice is a Format
    if model is None:
        if not _CODE.fullmatch(subject):
            raise click.UsageError("give a cluster file and a model, or a diagnostic code such as GS402")
        _explain_code(session, subject.upper())
    _explain_model(session, subject, model or "", lock_file)


def _explain_code(session: Session, code: str) -> None:
    """Print the entry of a code; wrong usage where there is none."""
    from gslc.ir.codes import all_codes
    from gslc.report.explain import explain_code

    codes = all_codes()
    entry = codes.get(code)
    if entry is None:
        near = get_close_matches(code, codes, n=3, cutoff=0.7)
        raise click.UsageError(f"there is no code {code}." + (f" Near it: {', '.join(near)}." if near else ""))
    member = {"code": code, "title": entry.title, "meaning": entry.meaning, "remedy": entry.remedy}
    session.finish(DONE, text=explain_code(code, entry), extra={"decisions": [], "code": member})


def _explain_model(session: Session, cluster: str, model: str, lock_file: str | None) -> None:
    """Compile without network and print the decisions; status 1 where the model has no place."""
    from gslc.cli.inputs import paths_of, read_cluster_file, read_lock_file, registry_for
    from gslc.cli.resolve import bring_facts
    from gslc.documents.plan_json import plan_json
    from gslc.pipeline import compile_cluster, decisions_about
    from gslc.report.decisions_json import decisions_json
    from gslc.report.explain import decisions_of, explain_model

    paths = paths_of(cluster, None, lock_file)
    description = read_cluster_file(session, paths)
    names = [one.name for one in description.models]
    name = next((one for one in names if re.fullmatch(rf"{re.escape(one)}(-[0-9]+)?", model)), None)
    name = model if model in names else name
    if name is None:
        near = get_close_matches(model, names, n=1)
        hint = f" Did you mean {near[0]}?" if near else f" It has {', '.join(names[:20]) or 'no models'}."
        raise click.UsageError(f"{cluster} has no model {model}.{hint}")
    lock, _ = read_lock_file(session, paths, description)
    facts = bring_facts(session, paths, description, lock, locked_flag=None, offline_flag="explain", keep=True)
    outcome = compile_cluster(description, facts, registry_for(description, facts), lap=session.lap)
    plan = None if outcome.value is None else outcome.value.plan
    made = () if outcome.value is None else decisions_about(outcome.value, name)
    found = (*made, *outcome.decisions)
    decisions = decisions_of(name, plan, found)
    place = description.places.key("models", name)
    named = re.compile(rf"(?<![a-z0-9-]){re.escape(name)}(-[0-9]+)?(?![a-z0-9-])")
    own = [one for one in outcome.diagnostics if named.search(one.message) or one.place == place]
    session.add(outcome.diagnostics if plan is None else own)
    placed = plan is not None and any(one.model == name for one in plan.instances)
    missing = plan is None or any(one.model == name for one in plan.unplaced)
    session.finish(
        INPUT_ERROR if missing or not placed else DONE,
        text=explain_model(name, plan, found, own),
        extra={"plan": None if plan is None else plan_json(plan), "decisions": decisions_json(decisions)},
    )
