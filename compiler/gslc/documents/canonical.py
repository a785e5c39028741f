"""Canonical JSON: one spelling for every value, so that equal documents are equal bytes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from gslc.ir.facts import Json

_NO_TRAVERSAL = re.compile(r"(?!/)(?!.*(?:^|/)\.{1,2}(?:/|\Z))(?!.*//)[^\x00-\x1f\x7f\\]+(?<!/)\Z", re.ASCII)
_CONFLICT = re.compile(r"^(?:<{7}|>{7}|={7}|\|{7})(?: .*)?\r?$", re.MULTILINE)


def line_of(value: object) -> str:
    """A value on one line: ASCII only, keys in the order given, no NaN and no infinity (ValueError)."""
    return json.dumps(value, allow_nan=False)


def sorted_line_of(value: object) -> str:
    """A value on one line with the keys of every mapping sorted."""
    return json.dumps(value, allow_nan=False, sort_keys=True)


def thaw(value: Json) -> object:
    """Plain dictionaries and lists for `json.dumps`, whatever mapping type holds the value."""
    if isinstance(value, Mapping):
        return {key: thaw(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [thaw(inner) for inner in value]
    return value


def freeze(value: object) -> Json:
    """Tuples for lists, finite numbers only; ValueError says what is not allowed."""
    if isinstance(value, dict):
        return {str(key): freeze(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(freeze(inner) for inner in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ValueError(f"{type(value).__name__} is not a JSON value")


def is_safe_path(path: str) -> bool:
    """True for a relative path that stays below its folder: no leading slash, no `..`, no control characters."""
    return len(path) <= 1024 and _NO_TRAVERSAL.match(path) is not None


def conflict_line(text: str) -> int | None:
    """The first line, counted from 1, that is a merge conflict marker; None without one."""
    found = _CONFLICT.search(text)
    return None if found is None else text.count("\n", 0, found.start()) + 1


def first_difference(left: str, right: str) -> int:
    """The first line, counted from 1, on which two different texts differ."""
    lines = zip(left.split("\n"), right.split("\n"), strict=False)
    for number, (one, other) in enumerate(lines, start=1):
        if one != other:
            return number
    return min(left.count("\n"), right.count("\n")) + 1
