"""Which part of which output file starts a process, so that a changed byte is charged to the process it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gslc.documents.plan import InstanceView, ShardView

_SYSTEMD = re.compile(r"systemd/(?P<host>[^/]+)/gslc-(?P<name>.+)\.service")
_COMPOSE = re.compile(r"compose/(?P<host>[^/]+)/compose\.yaml")
_NOMAD = re.compile(r"nomad/[^/]+\.nomad\.hcl")
_COMPOSE_SERVICE = re.compile(r"""^  (?P<quote>["']?)(?P<name>[a-z0-9-]+)(?P=quote):$""")
_NOMAD_GROUP = re.compile(r'^  group "(?P<name>[^"]+)" \{$')

Units = Mapping[tuple[str, str], str]  # (host, or "" where the file does not name one; process) -> its text


def program(instance: InstanceView, shard: ShardView) -> str | None:
    """What is started: a container image where the target runs containers and there is one, else the program's path."""
    if instance.target != "systemd" and shard.image is not None:
        return shard.image
    return shard.program or None


def unit_texts(files: Mapping[str, str], cluster: str) -> Units:
    """The text that starts each process. Comments are left out: they restart nothing."""
    found: dict[tuple[str, str], str] = {}
    for path, text in files.items():
        body = _without_comments(text)
        if match := _SYSTEMD.fullmatch(path):
            found[match["host"], match["name"].removeprefix(f"{cluster}-")] = "\n".join(body)
        elif match := _COMPOSE.fullmatch(path):
            services = body[body.index("services:") + 1 :] if "services:" in body else []
            blocks, _ = _blocks(services, _COMPOSE_SERVICE, closed=False)
            found.update({(match["host"], name): block for name, block in blocks.items()})
        elif _NOMAD.fullmatch(path):
            blocks, rest = _blocks(body, _NOMAD_GROUP, closed=True)
            # What stands outside the groups (constraints, update rules) holds for every group of the job.
            found.update({("", name): f"{rest}\n{block}" for name, block in blocks.items()})
    return found


def _without_comments(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]


def _blocks(lines: list[str], head: re.Pattern[str], *, closed: bool) -> tuple[dict[str, str], str]:
    """Indented blocks by the name in their head line, and the lines outside them.

    closed: a block ends with "  }"; else with the next line that is indented as little as its head.
    """
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    name: str | None = None
    for number, line in enumerate(lines):
        match = head.match(line)
        if match and (closed is False or name is None):
            name = match["name"]
            found[name] = [line]
        elif name is None:
            rest.append(line)
        elif not closed and not line.startswith(" "):
            rest.extend(lines[number:])  # the next top-level key: no service follows
            break
        else:
            found[name].append(line)
            if closed and line == "  }":
                name = None
    return {key: "\n".join(block) for key, block in found.items()}, "\n".join(rest)
