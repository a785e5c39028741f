"""Secrets are named, never written: `{secret: name}`."""

from __future__ import annotations

import re

from gslc.frontend import names
from gslc.frontend.fields import Scan, read_fields
from gslc.frontend.source import Map, Mark, Node
from gslc.ir.inputs import SecretRef

SECRET_KEYS = frozenset({"secret"})
SECRET_VARIABLE = re.compile(r"(?:\A|_)(?:TOKEN|API_?KEY|PASSWORD|PASSWD|SECRET|SECRET_KEY|ACCESS_KEY|CREDENTIALS?)\Z")


def read_secret(scan: Scan, node: Node, mark: Mark, label: str) -> SecretRef | None:
    """The secret that `{secret: name}` refers to, or None after the mistake was noted."""
    if not isinstance(node, Map):
        message = f"{label} wants {{secret: name}}, never the secret itself"
        scan.refuse(mark, "GS160", message, "write {secret: name} and put the value into that secret on the host")
        return None
    fields = read_fields(scan, node, mark, label, SECRET_KEYS)
    name = fields.need("secret", names.name, None, "write {secret: name}")
    return SecretRef(name=name) if name is not None else None
