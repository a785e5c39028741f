"""Foreign names -> names of cluster.yaml, saying so when they had to change."""

from __future__ import annotations

import re

from gslc.frontend.importers.records import Findings, Refused

LEGAL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")


def legal_name(found: Findings, what: str, foreign: str) -> str:
    """The name, or the nearest legal one with a warning; Refused when nothing of it is left."""
    if LEGAL.match(foreign):
        return foreign
    made = re.sub(r"[^a-z0-9]+", "-", foreign.lower()).strip("-")[:63].rstrip("-")
    if not made:
        raise Refused(
            "GS180",
            f"{what} is called {foreign!r}, and no letter or digit of that can be kept",
            "rename it, or give a name with --host",
        )
    found.say("GS188", f"{what} {foreign!r} is called {made} in the result", "use the new name in selectors and pins")
    return made


def free_name(found: Findings, what: str, foreign: str, taken: set[str]) -> str:
    """As `legal_name`, and not one of `taken`, to which it is added; two of one name are Refused."""
    name = legal_name(found, what, foreign)
    if name in taken:
        raise Refused(
            "GS189", f"there are two of the name {name} (the second is {what} {foreign!r})", "rename one of them"
        )
    taken.add(name)
    return name
