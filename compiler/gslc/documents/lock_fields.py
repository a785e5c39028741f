"""Checked leaves of gslc.lock: each function answers a value of its type, or refuses with the key path."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeGuard

from gslc.documents.canonical import is_safe_path

Raw = dict[str, object]
Path = tuple[str, ...]

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
INTEGER_MAX = 1 << 63


class Problem(NamedTuple):
    """Why a lock is refused: code, sentence, key path or line, and an action if it isn't the usual one."""

    code: str
    message: str
    path: Path = ()
    line: int | None = None
    help: str | None = None


class LockRefused(Exception):
    """The text is no lock that can be trusted."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def refuse(path: Path, message: str, code: str = "GS202") -> LockRefused:
    """The refusal of a value, with its key path in front of the sentence."""
    where = ".".join(key.strip('"').removesuffix('":') for key in path)
    return LockRefused(Problem(code, f"{where or 'lock'}: {message}", path))


def fields_of(raw: object, path: Path, required: set[str], optional: frozenset[str] = frozenset()) -> Raw:
    """An object with all required fields and none that is unknown."""
    if not isinstance(raw, dict):
        raise refuse(path, "must be an object")
    if not required <= raw.keys():
        raise refuse(path, f"`{min(required - raw.keys())}` is missing")
    if len(raw) > len(required):
        unknown = raw.keys() - required - optional
        if unknown:
            raise refuse((*path, f'"{min(unknown)}"'), "unknown field")
    return raw


def text_of(value: object, path: Path) -> str:
    """A text."""
    if not isinstance(value, str):
        raise refuse(path, "must be text")
    return value


def is_count(value: object) -> TypeGuard[int]:
    """True for a whole number from 0 up."""
    return type(value) is int and 0 <= value < INTEGER_MAX


def count_of(value: object, path: Path) -> int:
    """A whole number from 0 up."""
    if not is_count(value):
        raise refuse(path, "must be a whole number from 0 up")
    return value


def optional_count_of(value: object, path: Path) -> int | None:
    """A whole number, or None."""
    return None if value is None else count_of(value, path)


def counts_of(value: object, path: Path) -> tuple[int, ...]:
    """A list of whole numbers, as a tuple."""
    if not isinstance(value, list) or not all(map(is_count, value)):
        raise refuse(path, "must be a list of whole numbers")
    return tuple(value)


def matching(pattern: re.Pattern[str], value: object, path: Path, wanted: str) -> str:
    """A text that the pattern matches; `wanted` says what that is."""
    if not isinstance(value, str) or not pattern.match(value):
        raise refuse(path, f"must be {wanted}")
    return value


def name_of(value: object, path: Path) -> str:
    """A name of a cluster, model or host."""
    return matching(NAME, value, path, "a name of a-z, 0-9 and -")


def sha256_of(value: object, path: Path) -> str:
    """A sha256 in hex."""
    return matching(SHA256, value, path, "64 hex digits")


def path_of(value: object, path: Path) -> str:
    """A relative path that stays in its folder."""
    if not isinstance(value, str) or not is_safe_path(value):
        raise refuse(path, "must be a relative path without `..`")
    return value


def texts_of(value: object, path: Path) -> tuple[str, ...]:
    """A list of texts, as a tuple."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise refuse(path, "must be a list of text")
    return tuple(value)
