"""How a literal token is recognised, so that none is accepted and none is printed."""

from __future__ import annotations

import re

# Hugging Face, OpenAI and look-alikes, GitHub, GitLab, AWS, Slack, NVIDIA NGC.
TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[A-Za-z0-9_-]{16,}|AKIA[A-Z0-9]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|nvapi-[A-Za-z0-9_-]{16,})"
)
CREDENTIALS = re.compile(r"(?<=://)[^/\s:@\"']*:[^/\s@\"']+(?=@)")


def looks_secret(text: str) -> bool:
    """True when a text holds a token of a known form, or a URL with a password."""
    return TOKEN.search(text) is not None or ("://" in text and CREDENTIALS.search(text) is not None)


def redacted(text: str) -> str:
    """The text with stars for what looks like a token, as long as before, so that columns stay."""
    return CREDENTIALS.sub(stars, TOKEN.sub(stars, text))


def stars(found: re.Match[str]) -> str:
    """Three characters of a token, by which its owner knows it, and stars."""
    return found.group()[:3] + "*" * (len(found.group()) - 3)
