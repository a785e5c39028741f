"""The program `gslc`: finds the command, runs it, and turns every end into an exit status."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from gslc import __version__
from gslc.cli.session import OUTSIDE_FAILED, Exit

# name -> (module, one-line help). The modules are imported when they are asked for, so that `build` stays light.
COMMANDS = {
    "build": ("gslc.cli.build", "Compile the cluster file into units, compose files and Nomad jobs."),
    "lock": ("gslc.cli.lock", "Resolve model facts (and with --replan placements) into gslc.lock."),
    "diff": ("gslc.cli.diff", "Say what changes for people between two builds."),
    "explain": ("gslc.cli.explain", "Say why a model lies where it lies, or what a diagnostic code means."),
    "estimate": ("gslc.cli.estimate", "Memory of one model on given devices: will it fit my card?"),
    "report": ("gslc.cli.report", "Write one self-contained HTML page of a plan."),
    "import": ("gslc.cli.import_", "Make inventory or model lists from what you already have."),
    "init": ("gslc.cli.init", "Start a cluster: cluster.yaml, CI file, .gitignore."),
    "schema": ("gslc.cli.schema", "Print a JSON Schema."),
    "completion": ("gslc.cli.completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = import_module(entry[0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest command named in the refusal."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"there is no command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `gslc init`, then `gslc build cluster.yaml`. Exit status: 0 done, 1 the input can't be "
    "compiled, 2 wrong usage, 3 out of date, 4 files or network failed.",
)
@click.version_option(__version__, prog_name="gslc", message="%(prog)s %(version)s")
def gslc() -> None:
    """Compile a reviewed cluster.yaml into the files that run an LLM fleet.

    If it compiles, it starts: every flag is one the pinned engine takes, every file one the supervisor takes, and the
    memory of every device is counted.
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run the program and exit with its status."""
    open_closed_streams()
    # A run builds one large tree of records that all live to the end: the collector would only walk it again and again
    # (half of the parse time of a 1.3 MB inventory). The process is short, so nothing is lost.
    if args is None:
        gc.disable()
    try:
        gslc.main(args=args, prog_name="gslc", standalone_mode=False)
        status = 0
    except Exit as end:
        status = end.status
    except click.exceptions.Exit as end:
        status = end.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("gslc: interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = OUTSIDE_FAILED
    except OSError as error:
        print(f"gslc: error[GS899]: {describe(error)}", file=sys.stderr)
        status = OUTSIDE_FAILED
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        status = status or OUTSIDE_FAILED
    # Leaving by os._exit skips the teardown of the record tree (0.1 s on a thousand hosts).
    sys.stderr.flush()
    if args is None:
        os._exit(status)
    sys.exit(status)


def open_closed_streams() -> None:
    """Puts /dev/null where the caller closed a standard stream (`gslc … >&-`): Python leaves None there.

    It also takes the number, which the next file that is opened would get otherwise.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - it lives as long as the process


def describe(error: OSError) -> str:
    """An operating system error in one sentence."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
