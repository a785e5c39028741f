"""Text for compose files: every string is double-quoted, so that YAML 1.1 and 1.2 readers see the same string.

Compose reads `$` in every value (not in keys) as the start of a variable; doubled it is one dollar in version 1 and 2.
"""

from __future__ import annotations

import re

from gslc.targets.render import Quoted

# What YAML 1.1 or 1.2 does not take as printable, and line breaks, which a double-quoted scalar would fold.
_NEEDS_ESCAPE = re.compile('[\\\\"\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]')
_SPECIAL = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_PLAIN_KEY = re.compile(r"[a-z][a-z0-9_-]*\Z")


def _replacement(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if code == 0 or 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"a character that no process can be given: {character!r}")
    return _SPECIAL.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def key(text: str) -> Quoted:
    """A mapping key, which compose does not interpolate."""
    return Quoted(f'"{_NEEDS_ESCAPE.sub(_replacement, text)}"')


def value(text: str) -> Quoted:
    """A string that compose reads back as `text`."""
    return Quoted(f'"{_NEEDS_ESCAPE.sub(_replacement, text).replace("$", "$$")}"')


def comment(text: str) -> Quoted:
    """Text for a `#` line."""
    return Quoted(re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]", " ", text))
