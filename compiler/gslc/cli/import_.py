"""`gslc import KIND FILE…`: inventory or model lists from what people already have."""

from __future__ import annotations

import os
import sys
from typing import cast

import click

from gslc.cli.session import DONE, OUTSIDE_FAILED, Format, Session
from gslc.frontend.importers.kinds import KINDS
from gslc.ir.diagnostic import Diagnostic, Place, has_errors
from gslc.ir.inputs import Arch, Os


class ImportCommand(click.Command):
    """The command, with its kinds listed in the help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The kinds, each with the command whose output it is."""
        with formatter.section("Kinds, and what their files hold"):
            formatter.write_dl(list(KINDS.items()))


@click.command("import", cls=ImportCommand)
@click.argument("kind", type=click.Choice(list(KINDS)), metavar="KIND")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Name of the host; once for each host, in order.")
@click.option("--address", "addresses", multiple=True, metavar="ADDRESS", help="Address of the host; as --host.")
@click.option(
    "--memory", "memory", multiple=True, metavar="SIZE", help="RAM of the host, as 128GiB; one for all, or as --host."
)
@click.option(
    "--os", "system", type=click.Choice(("linux", "darwin", "windows")), help="System of the hosts (default linux)."
)
@click.option("--arch", type=click.Choice(("amd64", "arm64")), help="Processor of the hosts (default amd64).")
@click.option("--uuids", is_flag=True, help="Write one line a GPU with its UUID, instead of counting equal ones.")
@click.option("--into", metavar="CLUSTER", help="Add to this file, keeping its text, instead of printing a new one.")
@click.option(
    "--format", "format_", type=click.Choice(("text", "json")), default="text", help="How to print the result."
)
@click.option("-q", "--quiet", is_flag=True, help="Only errors on stderr.")
def command(  # click hands over one argument an option
    kind: str,
    files: tuple[str, ...],
    hosts: tuple[str, ...],
    addresses: tuple[str, ...],
    memory: tuple[str, ...],
    system: str | None,
    arch: str | None,
    uuids: bool,
    into: str | None,
    format_: str,
    quiet: bool,
) -> None:
    """Make hosts or models of a cluster file from what you already have.

    The result goes to stdout as a file for `include`, with its source in a comment:

    \b
      ssh atlas nvidia-smi -q -x | gslc import nvidia-smi - --host atlas --memory 128GiB > hosts/atlas.yaml
      gslc import gpustack-models models.json > models/gpustack.yaml
      gslc import nvidia-smi atlas.xml --into cluster.yaml

    FILE may be `-`. Nothing is guessed silently: what a file does not say is a warning.
    """
    from gslc.edges.gpu_table import RESOURCE, load_gpu_table
    from gslc.edges.resources import resource_text
    from gslc.frontend.importers.importing import ImportOptions, import_files

    session = Session(format=cast("Format", format_), quiet=quiet)
    texts = read_files(session, files)
    options = ImportOptions(
        hosts=hosts,
        addresses=addresses,
        memory_bytes=tuple(size_of(value) for value in memory),
        os=cast("Os | None", system),
        arch=cast("Arch | None", arch),
        uuids=uuids,
    )
    table = load_gpu_table(resource_text(RESOURCE))
    imported = import_files(kind, texts, table, options)
    session.add(imported.diagnostics)
    session.fail_if_errors()
    if imported.value is None:
        session.finish(DONE)
    if into is None:
        text = imported.value.text()
        session.finish(DONE, text=text, extra={"imported": text})
    from gslc.frontend.importers.merge import merge_into

    existing = read_text(session, into)
    merged = merge_into(existing, into, imported.value, table)
    session.add(merged.diagnostics)
    session.fail_if_errors()
    if merged.value is None:
        session.finish(DONE)
    if merged.value.text != existing:
        write_text(session, into, merged.value.text)
    changes = list(merged.value.changes)
    session.finish(DONE, text="\n".join(changes) or f"{into}: nothing to change", extra={"changes": changes})


def size_of(text: str) -> int:
    """The bytes of a size on the command line; wrong usage when it is none."""
    from gslc.frontend.sizes import size

    read = size(text, quoted=False)
    if isinstance(read, int):
        return read
    raise click.BadParameter(f"{read.message}; {read.help}", param_hint="--memory")


def read_files(session: Session, files: tuple[str, ...]) -> list[tuple[str, str]]:
    """The names and texts of the files; ends the run when one can't be read."""
    if files.count("-") > 1:
        raise click.UsageError("standard input can be given once")
    return [(file, read_text(session, file)) for file in files]


def read_text(session: Session, file: str) -> str:
    """The text of a file, or of standard input for `-`; ends the run when it can't be read."""
    from gslc.edges.files import read_input

    if file == "-":
        data = sys.stdin.buffer.read()
    else:
        read = read_input(file)
        session.add(read.diagnostics)
        session.fail_if_errors(OUTSIDE_FAILED)
        data = read.value or b""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        session.add((not_utf8(file, error),))
        session.fail_if_errors()
        return ""


def not_utf8(file: str, error: UnicodeDecodeError) -> Diagnostic:
    """What is said of a file in another encoding (PowerShell's `>` writes UTF-16)."""
    return Diagnostic(
        code="GS180",
        message=f"{file} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}",
        place=Place(file=file),
        help="save it as UTF-8; in PowerShell: … | Out-File -Encoding utf8 FILE",
    )


def write_text(session: Session, file: str, text: str) -> None:
    """Replace a file by renaming a finished one over it."""
    beside = f"{file}.gslc-new"
    try:
        with open(beside, "w", encoding="utf-8", newline="") as handle:
            handle.write(text)
        os.chmod(beside, os.stat(file).st_mode & 0o777)
        os.replace(beside, file)
    except OSError as error:
        session.add(
            (Diagnostic(code="GS860", message=f"cannot write {file}: {error.strerror}", place=Place(file=file)),)
        )
    if has_errors(session.diagnostics):
        session.finish(OUTSIDE_FAILED)
