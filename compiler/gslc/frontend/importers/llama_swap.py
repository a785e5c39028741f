"""A llama-swap configuration -> models."""

from __future__ import annotations

import re
import shlex

from gslc.frontend.importers.command_line import read_line
from gslc.frontend.importers.compose import engine_of
from gslc.frontend.importers.foreign import as_list, as_map, line_of, member, read_yaml, text_of
from gslc.frontend.importers.names import free_name
from gslc.frontend.importers.records import Findings
from gslc.frontend.importers.services import engine_backend, environment_of, model_of, source_of

COMMAND = "llama-swap"
MAX_EXPANSIONS = 8  # macros may use macros that stand before them
MAX_COMMAND = 65536
_MACRO = re.compile(r"\$\{([A-Za-z0-9_-]+)\}")
# llama-swap starts and stops models on demand; gslc's run always.
_SWITCHING = ("ttl", "unlisted", "concurrencyLimit", "cmdStop", "checkEndpoint", "filters")


def llama_swap_models(found: Findings, text: str) -> None:
    """The models of a llama-swap configuration, macros expanded."""
    value = read_yaml(text, COMMAND)
    macros = _macros(member(value, "macros"))
    taken: set[str] = set()
    for key in ("groups", "matrix", "peers", "hooks", "profiles"):
        if member(value, key):
            found.say(
                "GS191",
                f"{key} is not carried over: gslc keeps all models running, and places them so that they fit together",
                None,
                line=line_of(value, key),
            )
    for foreign, content in sorted(as_map(member(value, "models")).items()):
        at = line_of(member(value, "models"), foreign)
        own = {"PORT": "${PORT}", "MODEL_ID": foreign, **macros, **_macros(member(content, "macros"))}
        words = _words(_expanded(text_of(content, "cmd") or "", own))
        image, words = _container(words)
        engine, rest = engine_of(image, words)
        if engine is None:
            found.say("GS196", f"model {foreign} is left out: its cmd is neither vLLM nor llama-server", None, line=at)
            continue
        name = free_name(found, "model", foreign, taken)
        line = read_line(found, name, engine, rest)
        source = source_of(found, line, _nowhere if image else _as_is, at)
        if source is None:
            continue
        given: dict[str, object] = {}
        for item in as_list(member(content, "env")):
            variable, _, text_value = str(item).partition("=")
            given[variable] = text_value
        dropped = [key for key in _SWITCHING if member(content, key)]
        if dropped:
            found.say(
                "GS191", f"{foreign}: {', '.join(dropped)} is not carried over: gslc's models run always", None, line=at
            )
        aliases = [str(item) for item in as_list(member(content, "aliases"))]
        served = text_of(content, "useModelName") or foreign
        line.settings.setdefault("served_name", served)
        found.models.append(
            model_of(
                found,
                line,
                backend=engine_backend(engine),
                source=source,
                environment=environment_of(found, name, given, at),
                extra={"image": image} if image else {},
                note=f"also called {', '.join(aliases)}" if aliases else "",
            )
        )


def _as_is(path: str) -> str | None:
    return path


def _nowhere(_path: str) -> str | None:
    return None  # the mounts of a `docker run` inside a cmd are not followed


def _macros(value: object) -> dict[str, str]:
    return {name: str(item) for name, item in as_map(value).items() if isinstance(item, (str, int))}


def _expanded(command: str, macros: dict[str, str]) -> str:
    for _ in range(MAX_EXPANSIONS):
        after = _MACRO.sub(lambda match: macros.get(match.group(1), match.group(0)), command)
        if after == command or len(after) > MAX_COMMAND:
            break
        command = after
    return command


def _words(command: str) -> list[str]:
    """The words of a cmd: line continuations and comment lines are passed over, as llama-swap does."""
    lines = [line for line in command.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\s*$", " ", "\n".join(lines), flags=re.MULTILINE)
    try:
        return shlex.split(joined)
    except ValueError:
        return joined.split()


def _container(words: list[str]) -> tuple[str, list[str]]:
    """The image and the words behind it, of `docker run … IMAGE …`; no image for a plain program."""
    if words[:1] not in (["docker"], ["podman"]):
        return "", words
    for place, word in enumerate(words[1:], start=1):
        if not word.startswith("-") and engine_of(word, [])[0] is not None and ("/" in word or ":" in word):
            return word, words[place + 1 :]
    return "", words
