"""Command lines and environments compared by meaning: flags with their values, whatever their order."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gslc.documents.plan import ShardView
from gslc.report.diff_model import WordChange

# -1 and -0.5 are values, -c and --ctx-size are flags.
_FLAG = re.compile(r"-{1,2}[A-Za-z][^=\s]*")

# The words before the first flag (a subcommand, a model path).
POSITIONAL = "arguments"


def flag_values(argv: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Flag -> the words that follow it, repeated flags joined in order; the words before any flag under POSITIONAL."""
    found: dict[str, tuple[str, ...]] = {}
    current = POSITIONAL
    for word in argv:
        flag = _FLAG.match(word)
        if flag is None:
            found[current] = (*found.get(current, ()), word)
        elif flag.end() == len(word):
            current = word
            found.setdefault(current, ())
        elif word[flag.end()] == "=":
            current = flag.group()
            found[current] = (*found.get(current, ()), word[flag.end() + 1 :])
        else:
            found[current] = (*found.get(current, ()), word)
    return found


def changed_flags(before: ShardView, after: ShardView) -> tuple[WordChange, ...]:
    """The flags that differ; where only their order does, one change of the arguments as a whole."""
    changes = _changed(flag_values(before.argv), flag_values(after.argv), after.name)
    if not changes and before.argv != after.argv:
        return (WordChange(name="order of arguments", before=before.argv, after=after.argv, shard=after.name),)
    return changes


def changed_env(before: ShardView, after: ShardView) -> tuple[WordChange, ...]:
    """The variables that differ; of secrets only the name of the secret is known."""
    return _changed(_environment(before), _environment(after), after.name)


def _environment(shard: ShardView) -> dict[str, tuple[str, ...]]:
    plain: dict[str, tuple[str, ...]] = {name: (value,) for name, value in shard.env}
    plain.update((name, (f"(secret {secret})",)) for name, secret in shard.secret_env)
    return plain


def _changed(
    before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]], shard: str
) -> tuple[WordChange, ...]:
    return tuple(
        WordChange(name=name, before=before.get(name), after=after.get(name), shard=shard)
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )
