"""`gslc init`: the first files of a cluster."""

from __future__ import annotations

import os

import click

from gslc import __version__
from gslc.cli.session import DONE, INPUT_ERROR, OUTSIDE_FAILED, Session
from gslc.edges.resources import resource_text
from gslc.ir.diagnostic import Diagnostic, Place

MAIN = "cluster.yaml"
# What is written -> the resource it comes from.
FILES = {
    MAIN: "templates/init/cluster.yaml",
    "cluster.schema.json": "schemas/cluster.schema.json",
    ".github/workflows/gslc.yml": "templates/init/workflow.yml",
    ".gitignore": "templates/init/gitignore",
}


@click.command("init")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(file_okay=False))
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of the output.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(folder: str, format_: str, quiet: bool) -> None:
    """Start a cluster in DIR (default: here): cluster.yaml with comments, its schema, a CI file, .gitignore.

    Nothing that exists is overwritten.

    \b
    gslc init fleet && cd fleet
    $EDITOR cluster.yaml
    gslc build cluster.yaml
    """  # \b is the character that keeps click from wrapping
    session = Session(format="json" if format_ == "json" else "text", quiet=quiet)
    main = os.path.join(folder, MAIN)
    if os.path.lexists(main):
        session.add((in_the_way(main),))
        session.finish(INPUT_ERROR)
    written = []
    for path, resource in FILES.items():
        target = os.path.join(folder, *path.split("/"))
        try:
            if write_new(target, resource_text(resource).replace("{{version}}", __version__)):
                written.append(path)
            else:
                session.add((kept(target),))
        except OSError as error:
            session.add((not_written(target, error),))
            session.finish(OUTSIDE_FAILED, extra={"files": written})
    where = "" if folder == "." else f"{folder}/"
    lines = [f"wrote {where}{path}" for path in written]
    lines.append(f"Next: describe your hosts in {where}{MAIN}, then run: gslc build {where}{MAIN}")
    session.finish(DONE, text="\n".join(lines), extra={"files": written})


def write_new(path: str, text: str) -> bool:
    """Write a file that is not there yet, and its folders; False where anything is there. Raises OSError."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    return True


def in_the_way(path: str) -> Diagnostic:
    """The refusal to start a cluster where there is one."""
    return Diagnostic(
        code="GS690", message=f"{path} exists; nothing was written", place=Place(file=path), help="name another folder"
    )


def kept(path: str) -> Diagnostic:
    """The remark that a file of the user's was left as it is."""
    return Diagnostic(
        code="GS691",
        severity="note",
        message=f"{path} exists and was kept",
        place=Place(file=path),
        help="see that it does not ignore build/" if path.endswith(".gitignore") else None,
    )


def not_written(path: str, error: OSError) -> Diagnostic:
    """The failure to write a file."""
    return Diagnostic(
        code="GS692",
        message=f"cannot write {path}: {error.strerror or error}",
        place=Place(file=path),
        help="check the folder and its permissions",
    )
