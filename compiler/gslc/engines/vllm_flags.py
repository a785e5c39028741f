"""The command line of `vllm serve`, release by release, and the reading of arguments by vLLM's own rules.

The table (data/vllm_flags.json) was read from the argument declarations of the real packages at the sampled releases.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Literal

from gslc.engines.vllm_versions import version_tuple
from gslc.ir.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagTable:
    """flag -> (index of the first sample that has it, index of the last, how many values it takes)."""

    sampled: tuple[str, ...]
    aliases: Mapping[str, str]
    successors: Mapping[str, str]
    flags: Mapping[str, tuple[int, int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One setting of a command line. `flag` is the long form; `index` the place of the flag in the list as written.

    value is None for a switch; `off` marks its --no- twin. `width` words of the list belong to it.
    """

    flag: str
    value: str | None
    index: int
    width: int
    written: str
    off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentProblem:
    """What vLLM would refuse about the word at `index`, and the one action that mends it."""

    kind: Literal["unknown", "removed", "later", "value", "positional", "uncertain"]
    index: int
    message: str
    help: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedArguments:
    """The settings in the order written (a later one wins) and what is wrong."""

    arguments: tuple[Argument, ...]
    problems: tuple[ArgumentProblem, ...]


@cache
def flag_table() -> FlagTable:
    """The shipped table."""
    document = json.loads((files("gslc.engines") / "data" / "vllm_flags.json").read_text(encoding="utf-8"))
    return FlagTable(
        sampled=tuple(document["sampled"]),
        aliases=document["aliases"],
        successors=document["successors"],
        flags={name: (row[0], row[1], row[2]) for name, row in document["flags"].items()},
    )


def flag_status(flag: str, version: str) -> Literal["present", "later", "removed", "uncertain", "unknown"]:
    """Whether `version` has a flag. uncertain: it came or went between two sampled releases around this one."""
    table = flag_table()
    row = table.flags.get(flag)
    if row is None:
        return "unknown"
    first, last, _ = row
    asked = version_tuple(version)
    samples = [version_tuple(sample) for sample in table.sampled]
    if asked < samples[first]:
        return "uncertain" if (first > 0 and asked > samples[first - 1]) or first == 0 else "later"
    if asked > samples[last] and last + 1 < len(samples):
        return "uncertain" if asked < samples[last + 1] else "removed"
    return "present"


def has_flag(flag: str, version: str) -> bool:
    """True when the release surely has the flag; gslc emits no other."""
    return flag_status(flag, version) == "present"


def parse_arguments(args: tuple[str, ...], version: str) -> ParsedArguments:
    """The words of a command line as vLLM's FlexibleArgumentParser reads them."""
    found: list[Argument] = []
    problems: list[ArgumentProblem] = []
    at = 0
    while at < len(args):
        word = args[at]
        if not is_flag(word):
            problems.append(_positional(word, at))
            at += 1
            continue
        argument, problem = _read(args, at, version)
        if problem is not None:
            problems.append(problem)
        if argument is not None:
            found.append(argument)
        at += argument.width if argument is not None else 1
        if argument is None:
            while at < len(args) and not is_flag(args[at]):
                at += 1
    return ParsedArguments(arguments=tuple(found), problems=tuple(problems))


def is_flag(word: str) -> bool:
    """Whether argparse takes the word for a flag: it starts with a dash and is no negative number."""
    return word.startswith("-") and word != "-" and re.fullmatch(r"-\d+(\.\d*)?|-\.\d+", word) is None


def _positional(word: str, at: int) -> ArgumentProblem:
    return ArgumentProblem(
        kind="positional",
        index=at,
        message=f"`{word}` stands where vLLM expects a flag",
        help="write each flag and each value as an item of its own; the model comes from `source`",
    )


def canonical(word: str) -> tuple[str, str | None, bool]:
    """(long flag, value after `=`, whether it is a --no- twin). Underscores and short forms are resolved."""
    name, equals, value = word.partition("=")
    if re.fullmatch(r"-O\.?[0-3]?", name) and name != "-O":
        return "--optimization-level", name[-1], False
    key, dot, rest = name.partition(".")
    if key.startswith("--"):
        key = "--" + key[2:].replace("_", "-")
    table = flag_table()
    key = table.aliases.get(key, key)
    given = value if equals else None
    if dot:
        # --compilation-config.mode 3 is vLLM's spelling of one JSON key.
        return key, json.dumps({rest: given}) if given is not None else None, False
    if key not in table.flags and key.startswith("--no-"):
        positive = "--" + key[5:]
        row = table.flags.get(positive)
        if row is not None and row[2] in {"b", ""}:
            return positive, given, True
    return key, given, False


def _read(args: tuple[str, ...], at: int, version: str) -> tuple[Argument | None, ArgumentProblem | None]:
    word = args[at]
    flag, given, off = canonical(word)
    status = flag_status(flag, version)
    if status in {"unknown", "removed", "later"}:
        return None, _refused(word, flag, status, version, at)
    values = flag_table().flags[flag][2]
    doubt = None
    if status == "uncertain":
        doubt = ArgumentProblem(
            kind="uncertain",
            index=at,
            message=(
                f"whether vLLM {version} has {flag} is not known: it came or went "
                "between two releases that were looked at"
            ),
            help=(
                f"check `vllm serve --help={flag.lstrip('-')}` of {version}, or "
                "pin a release of the table in docs/vllm.md"
            ),
        )
    if off or values in {"0", "b"}:
        if given is not None:
            return None, ArgumentProblem(
                kind="value", index=at, message=f"{flag} takes no value, `{word}` gives one", help=f"write {flag} alone"
            )
        return Argument(flag=flag, value=None, index=at, width=1, written=word, off=off), doubt
    if given is not None:
        return Argument(flag=flag, value=given, index=at, width=1, written=word), doubt
    following = _values(args, at, values)
    if not following and values not in {"?", ""}:
        return None, ArgumentProblem(
            kind="value", index=at, message=f"{flag} needs a value", help=f"add the value as the next item after {word}"
        )
    value = " ".join(following) if following else None
    return Argument(flag=flag, value=value, index=at, width=1 + len(following), written=word), doubt


def _values(args: tuple[str, ...], at: int, values: str) -> tuple[str, ...]:
    end = at + 1
    limit = len(args) if values == "+" else min(len(args), at + 2)
    while end < limit and not is_flag(args[end]):
        end += 1
    return args[at + 1 : end]


def _refused(word: str, flag: str, status: str, version: str, at: int) -> ArgumentProblem:
    table = flag_table()
    first_word, _, rest = word.partition(" ")
    if status == "unknown" and rest and flag_status(canonical(first_word)[0], version) == "present":
        return ArgumentProblem(
            kind="unknown",
            index=at,
            message=f"`{word}` is one argument, and vLLM wants the flag and its value as two",
            help=f"write {first_word} and its value as two items of the list",
        )
    if status == "unknown":
        present = [name for name in table.flags if name.startswith("--") and has_flag(name, version)]
        near = get_close_matches(flag, present, n=1, cutoff=0.75)
        return ArgumentProblem(
            kind="unknown",
            index=at,
            message=f"vLLM {version} has no flag {word.partition('=')[0]}",
            help=f"did you mean {near[0]}?"
            if near
            else "remove it, or give it as `env` if it is a variable of the engine",
        )
    first, last, _ = table.flags[flag]
    if status == "later":
        return ArgumentProblem(
            kind="later",
            index=at,
            message=(
                f"vLLM {version} does not have {flag} yet; the first release looked "
                f"at that has it is {table.sampled[first]}"
            ),
            help=f"pin vllm {table.sampled[first]} or newer in `engines`, or remove {flag}",
        )
    successor = table.successors.get(flag)
    gone = table.sampled[last + 1] if last + 1 < len(table.sampled) else version
    return ArgumentProblem(
        kind="removed",
        index=at,
        message=f"{flag} is gone from vLLM {version}; the last release looked at that has it is {table.sampled[last]}",
        help=f"use {successor}"
        if successor
        else f"remove it (vLLM {gone} has no replacement), or pin vllm {table.sampled[last]}",
    )
