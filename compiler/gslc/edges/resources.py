"""Where the shipped data files live: schemas, templates and tables, in a wheel or in a checkout."""

from __future__ import annotations

import os
from functools import cache


@cache
def resource_root() -> str:
    """The folder that holds `schemas/` and `templates/`: the package itself when installed, else the checkout.

    Wheels carry both folders inside the package; editable installs and checkouts keep them three folders up from here.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.isdir(os.path.join(package, "schemas")):
        return package
    return os.path.dirname(os.path.dirname(package))


def resource_path(relative_path: str) -> str:
    """The path of a shipped file, given with `/` and relative to the root; ValueError where it would leave the root."""
    parts = relative_path.split("/")
    if any(part in ("", ".", "..") or os.sep in part for part in parts):
        raise ValueError(f"not a resource path: {relative_path!r}")
    return os.path.join(resource_root(), *parts)


def resource_text(relative_path: str) -> str:
    """The text of a shipped file, e.g. `schemas/cluster.schema.json`; FileNotFoundError where it was not packaged."""
    with open(resource_path(relative_path), encoding="utf-8", newline="") as file:
        return file.read()
