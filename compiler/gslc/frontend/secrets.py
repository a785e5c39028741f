"""Secrets are named, never written: `{secret: name}`, and how a literal token is recognised."""

from __future__ import annotations

import re

from gslc.frontend import names
from gslc.frontend.fields import Scan, read_fields
from gslc.frontend.source import Map, Mark, Node
from gslc.ir.inputs import SecretRef

SECRET_KEYS = frozenset({"secret"})
# Hugging Face, OpenAI and look-alikes, GitHub, GitLab, AWS, Slack, NVIDIA NGC, ModelScope has no prefix.
TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-(?:[a-z]+-)*[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[A-Za-z0-9_-]{16,}|AKIA[A-Z0-9]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|nvapi-[A-Za-z0-9_-]{16,})"
)
CREDENTIAL_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@")
SECRET_VARIABLE = re.compile(r"(?:\A|_)(?:TOKEN|API_?KEY|PASSWORD|PASSWD|SECRET|SECRET_KEY|ACCESS_KEY|CREDENTIALS?)\Z")


def looks_secret(text: str) -> bool:
    """True when a text holds a token of a known form, or a URL with a password."""
    return bool(TOKEN.search(text) or CREDENTIAL_URL.search(text))


def redacted(text: str) -> str:
    """The text without what looks like a token."""
    return CREDENTIAL_URL.sub("…@", TOKEN.sub(lambda found: found.group()[:3] + "…", text))


def read_secret(scan: Scan, node: Node, mark: Mark, label: str) -> SecretRef | None:
    """The secret that `{secret: name}` refers to, or None after the mistake was noted."""
    if not isinstance(node, Map):
        message = f"{label} wants {{secret: name}}, never the secret itself"
        scan.refuse(mark, "GS160", message, "write {secret: name} and put the value into that secret on the host")
        return None
    fields = read_fields(scan, node, mark, label, SECRET_KEYS)
    name = fields.need("secret", names.name, None, "write {secret: name}")
    return SecretRef(name=name) if name is not None else None
