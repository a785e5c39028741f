"""Reads a quoted HCL2 string by the language's specification (hclsyntax/spec.md, "Template Expressions")."""

from __future__ import annotations

import re

_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_TOKEN = re.compile(r'\$\$\{|%%\{|\$\{|%\{|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\(.)|([^\\"\n])', re.DOTALL)


def read_string(literal: str) -> str:
    """The value of a literal; ValueError for a template, an unknown escape, or a quote too many."""
    if len(literal) < 2 or literal[0] != '"' or literal[-1] != '"':
        raise ValueError(f"not a quoted string: {literal!r}")
    body, place, pieces = literal[1:-1], 0, []
    while place < len(body):
        token = _TOKEN.match(body, place)
        if not token:
            raise ValueError(f"not a string token at {place} of {body!r}")
        text = token.group()
        if text in ("${", "%{"):
            raise ValueError(f"a template in {body!r}")
        if text in ("$${", "%%{"):
            pieces.append(text[1:])
        elif token.group(1) or token.group(2):
            pieces.append(chr(int(token.group(1) or token.group(2), 16)))
        elif token.group(3):
            pieces.append(_SIMPLE[token.group(3)])
        else:
            pieces.append(text)
        place = token.end()
    return "".join(pieces)
