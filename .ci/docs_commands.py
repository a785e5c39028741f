"""Prints docs/commands.md from the commands' own help: `python .ci/docs_commands.py > docs/commands.md`."""

from __future__ import annotations

import sys

import click

from gslc.cli.main import COMMANDS, gslc

HEAD = """\
# Commands

What each command prints with `--help`. Results go to standard output, diagnostics and progress to standard error, with
colour only on a terminal and never with `NO_COLOR`.

| exit status | means |
|---|---|
| 0 | done |
| 1 | the input can't be compiled; the diagnostics say why; no output and no placement was written |
| 2 | wrong usage |
| 3 | out of date (`--check`, `--locked`, `--exit-code`), or a lock that fails its integrity check |
| 4 | files or network failed |

1 beats 3. `--format json` prints one object in every case but wrong usage:
`{"version":1,"diagnostics":[…],"plan":{…}|null,"files":[…]}`.
"""


def commands_md() -> str:
    """The page."""
    settings = {**gslc.context_settings, "max_content_width": 110}
    context = click.Context(gslc, info_name="gslc", terminal_width=110, **settings)
    parts = [HEAD]
    for name in COMMANDS:
        command = gslc.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context, terminal_width=110, max_content_width=110)
        parts.append(f"## gslc {name}\n\n```\n{command.get_help(inner)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(commands_md())
