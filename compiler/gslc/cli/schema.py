"""`gslc schema`: print a JSON Schema."""

from __future__ import annotations

import sys

import click

from gslc.edges.resources import resource_text

NAMES = ("cluster", "lock", "plan", "part")


@click.command(
    "schema",
    epilog="Editors: put `# yaml-language-server: $schema=FILE` on the first line of cluster.yaml.",
)
@click.argument("name", type=click.Choice(NAMES), default="cluster", metavar="[cluster|lock|plan|part]")
def command(name: str) -> None:
    """Print the JSON Schema of cluster.yaml (the default), gslc.lock, plan.json, or a part that cluster.yaml includes.

    \b
    gslc schema > cluster.schema.json
    gslc schema plan
    """  # \b is the character that keeps click from wrapping
    sys.stdout.write(resource_text(f"schemas/{name}.schema.json"))
