"""Engine arguments of llama-server and llama-box, read the way the engine reads them."""

from __future__ import annotations

import re
from dataclasses import replace

from gslc.engines.llama_profile import EngineProfile
from gslc.engines.llama_settings import LlamaSettings
from gslc.engines.llama_values import LENGTH, SWITCHES, VALUE_FIELDS, BadValueError, check_value, one_of, overrides
from gslc.ir.record import dataclass

# Settings that gslc decides itself, with the key to use instead.
OWNED = {
    "--host": "hosts.*.listen",
    "--port": "port",
    "-m": "source",
    "-mu": "source",
    "-hf": "source",
    "-hff": "source",
    "-dr": "source",
    "-a": "served_name",
    "--rpc": "distributed",
    "-mm": "mmproj",
    "--mmproj": "mmproj",
    "-mmu": "mmproj",
    "--api-key": "api_key",
    "--api-key-file": "api_key",
    "-fit": "gpu_layers",
    "-dev": "gpus",
    "--rpc-server-host": "distributed",
    "--rpc-server-port": "distributed",
    "--models-dir": "source",
    "--models-preset": "source",
}
# Settings with which the program prints something and ends.
ENDING = frozenset({"-h", "--version", "--list-devices", "-cl", "--completion-bash"})
# Settings with which the server answers https alone, which neither the waits for its health nor endpoints.json speak.
SECURED = frozenset({"--ssl-key-file", "--ssl-cert-file"})
# Settings that move every route, /health too, below a path (server-http.cpp, path_prefix); and there /health wants the
# API key, since the list of public routes holds it without the prefix.
MOVED = frozenset({"--api-prefix"})
# Settings that load more than the model: the estimate can't know what is in those files.
UNCOUNTED = {
    "-md": "a draft model",
    "--spec-draft-model": "a draft model",
    "--spec-draft-hf": "a draft model",
    "--lora": "a LoRA adapter",
    "--lora-scaled": "a LoRA adapter",
    "--control-vector": "a control vector",
    "--control-vector-scaled": "a control vector",
    "--moe-cache-mib": "a cache of experts on the GPU",
    "--override-kv": "header values of your own",
    "--image-vae-model": "a VAE",
    "--image-taesd-model": "a VAE",
    "--image-clip-l-model": "a text encoder",
    "--image-clip-g-model": "a text encoder",
    "--image-t5xxl-model": "a text encoder",
    "--image-upscale-model": "an upscaler",
    "--image-control-net-model": "a control net",
}
REPEATABLE = {
    "-ot",
    "--lora",
    "--lora-scaled",
    "--control-vector",
    "--control-vector-scaled",
    "-l",
    "--override-kv",
    "--dry-sequence-breaker",
    "-r",
    "--spec-type",
    "--image-slg-skip-layer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One argument as given: its canonical setting, spelling, values and place in the list."""

    setting: str
    spelling: str
    values: tuple[str, ...]
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgProblem:
    """What is wrong with args[index], and the one action that mends it."""

    code: str
    index: int
    message: str
    help: str | None = None
    severity: str = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedArgs:
    """The arguments, read: flags in order, the settings they make, and what is wrong with them."""

    flags: tuple[Flag, ...]
    settings: LlamaSettings
    given: frozenset[str]  # canonical settings that were given
    problems: tuple[ArgProblem, ...]

    def index_of(self, *settings: str) -> int | None:
        """Where one of the settings was given last."""
        found = [flag.index for flag in self.flags if flag.setting in settings]
        return found[-1] if found else None


def parse_args(args: tuple[str, ...], profile: EngineProfile, *, allow_owned: bool = False) -> ParsedArgs:
    """What the engine would make of `args`, and what it (or gslc) would refuse, with the index of the argument."""
    flags, problems = _read_flags(args, profile)
    settings = LlamaSettings()
    for flag in flags:
        if not allow_owned and flag.setting in OWNED:
            key = OWNED[flag.setting]
            problems.append(
                ArgProblem(
                    code="GS303",
                    index=flag.index,
                    message=f"{flag.spelling} is set by gslc itself",
                    help=f"remove it and use the key {key}",
                )
            )
            continue
        if flag.setting in SECURED and not allow_owned:
            message = f"with {flag.spelling} {profile.product} answers https, and its health is asked for by http"
            remedy = f"remove {flag.spelling}, and terminate TLS in a proxy in front of it"
            problems.append(ArgProblem(code="GS303", index=flag.index, message=message, help=remedy))
            continue
        if flag.setting in MOVED and not allow_owned:
            message = (
                f"with {flag.spelling} {profile.product} answers below {flag.values[0]} alone, and its health and "
            )
            message += "what endpoints.json and litellm/config.yaml name lie at the root"
            remedy = f"remove {flag.spelling}, and let the proxy in front of it strip the path"
            problems.append(ArgProblem(code="GS303", index=flag.index, message=message, help=remedy))
            continue
        if flag.setting in ENDING:
            message = f"with {flag.spelling} {profile.product} prints and ends: nothing would be served"
            problems.append(ArgProblem(code="GS303", index=flag.index, message=message, help=f"remove {flag.spelling}"))
            continue
        if flag.setting in UNCOUNTED and not _is_length(flag):
            problems.append(
                ArgProblem(
                    code="GS318",
                    index=flag.index,
                    severity="warning",
                    message=f"{flag.spelling} loads {UNCOUNTED[flag.setting]} that the estimate does not count",
                    help="state the measured memory with the key requirements",
                )
            )
        if flag.setting == "-cram" and flag.values[0].startswith("-"):
            message = (
                f"{flag.spelling} {flag.values[0]} keeps prompts in host memory without a limit, and the estimate "
            )
            message += "does not count them"
            remedy = f"give {flag.spelling} a number of MiB"
            problems.append(
                ArgProblem(code="GS318", index=flag.index, severity="warning", message=message, help=remedy)
            )
        try:
            settings = _apply(settings, flag, profile)
        except BadValueError as error:
            problems.append(
                ArgProblem(
                    code="GS304",
                    index=flag.index,
                    message=f"{flag.spelling} {' '.join(flag.values)}: {profile.product} takes {error}",
                    help=f"give {flag.spelling} {error}",
                )
            )
    problems.extend(_repeats(flags))
    given = frozenset(flag.setting for flag in flags)
    return ParsedArgs(
        flags=tuple(flags), settings=settings, given=given, problems=tuple(sorted(problems, key=lambda p: p.index))
    )


def overridden_length(parsed: ParsedArgs) -> int | None:
    """The length of training that --override-kv puts in place of the header's; None where it does not."""
    found = [LENGTH.fullmatch(part) for flag in parsed.flags if _is_length(flag) for part in flag.values[0].split(",")]
    return int(found[-1][1]) if found and found[-1] else None


def _is_length(flag: Flag) -> bool:
    """Whether a flag overrides the length that the model was trained for, and nothing else."""
    return flag.setting == "--override-kv" and all(LENGTH.fullmatch(part) for part in flag.values[0].split(","))


def _read_flags(args: tuple[str, ...], profile: EngineProfile) -> tuple[list[Flag], list[ArgProblem]]:
    flags: list[Flag] = []
    problems: list[ArgProblem] = []
    table = profile.flags
    index = 0
    while index < len(args):
        start = index
        spelling, equals, attached = args[index].partition("=")
        # llama.cpp reads --flag_name as --flag-name; `k=v` is gslc's convenience and is split before the engine sees it
        spelling = "--" + spelling[2:].replace("_", "-") if spelling.startswith("--") else spelling
        index += 1
        known = table.settings.get(spelling)
        if known is None:
            problems.append(_unknown(spelling, start, profile))
            # the values of an unknown flag can't be told from stray words: skip to the next flag
            while index < len(args) and not re.match(r"-{1,2}[A-Za-z]", args[index]):
                index += 1
            continue
        setting, arity = known
        if setting == "-fa":
            arity = 1 if profile.flash_takes_value else 0
        values: tuple[str, ...] = (attached,) if equals else ()
        if equals and not attached and arity:
            message = f"{spelling}= gives no value"
            problems.append(ArgProblem(code="GS304", index=start, message=message, help=f"write {spelling}=VALUE"))
            continue
        wanted = arity - len(values)
        if wanted < 0:
            problems.append(
                ArgProblem(
                    code="GS304",
                    index=start,
                    message=f"{spelling} takes no value, got {attached}",
                    help=f"write {spelling} alone",
                )
            )
            continue
        values += tuple(args[index : index + wanted])
        index += wanted
        if len(values) < arity:
            problems.append(
                ArgProblem(
                    code="GS304",
                    index=start,
                    message=f"{spelling} wants a value and stands last",
                    help=f"give {spelling} its value",
                )
            )
            continue
        flags.append(Flag(setting=setting, spelling=spelling, values=values, index=start))
    return flags, problems


def _unknown(spelling: str, index: int, profile: EngineProfile) -> ArgProblem:
    advice = profile.flags.removed.get(spelling)
    if advice is not None:
        return ArgProblem(
            code="GS302",
            index=index,
            message=f"{profile.product} {profile.version} has removed {spelling}",
            help=advice,
        )
    if not spelling.startswith("-"):
        return ArgProblem(
            code="GS301", index=index, message=f"{spelling!r} is no flag and no flag's value", help="remove it"
        )
    flag, _, value = spelling.partition(" ")
    if value and flag in profile.flags.settings:
        return ArgProblem(
            code="GS301",
            index=index,
            message=f"{spelling!r} is one argument, and {profile.product} wants the flag and its value as two",
            help=f"write them as two items: {flag}, {_item(value.strip())}",
        )
    near = _nearest(spelling, profile)
    return ArgProblem(
        code="GS301",
        index=index,
        message=f"{profile.product} {profile.version} has no flag {spelling}",
        help=f"did you mean {near}?" if near else "remove it",
    )


def _item(text: str) -> str:
    """A text as an item of a YAML list in brackets; quoted unless it is a plain word."""
    return text if re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", text) else "'" + text.replace("'", "''") + "'"


def _nearest(spelling: str, profile: EngineProfile) -> str | None:
    from difflib import get_close_matches  # only to report an error

    found = get_close_matches(spelling, sorted(profile.flags.settings), n=1)
    return found[0] if found else None


def _apply(settings: LlamaSettings, flag: Flag, profile: EngineProfile) -> LlamaSettings:
    if flag.setting == "-fa":
        word = flag.values[0] if flag.values else ("off" if flag.spelling == "--no-flash-attn" else "on")
        truth = {
            "on": "on",
            "off": "off",
            "auto": "auto",
            "1": "on",
            "0": "off",
            "true": "on",
            "false": "off",
            "enabled": "on",
            "disabled": "off",
            "-1": "auto",
        }
        if word not in truth:
            raise BadValueError("on, off or auto")
        return replace(settings, flash=truth[word])  # type: ignore[arg-type]
    if flag.setting == "-ot":
        return replace(settings, overrides=settings.overrides + overrides(flag.values[0]))
    if flag.setting == "-lm":
        mode = one_of("auto", "none", "mmap", "mlock", "mmap+mlock", "dio")(flag.values[0])
        return replace(settings, memory_mapped=mode in ("auto", "mmap", "mmap+mlock"))
    if flag.spelling in SWITCHES:
        field, value = SWITCHES[flag.spelling]
        return replace(settings, **{field: value})  # type: ignore[arg-type]
    if flag.setting in VALUE_FIELDS:
        field, read = VALUE_FIELDS[flag.setting]
        value = read(flag.values[0])
        if flag.setting == "-np":
            if value == 0 or (value == -1 and not profile.auto_slots):
                raise BadValueError("a whole number from 1 up")
            value = None if value == -1 else value
        if flag.setting == "-ngl" and profile.product == "llama-box" and isinstance(value, str):
            raise BadValueError("a whole number from 0 up")
        return replace(settings, **{field: value})  # type: ignore[arg-type]
    if flag.values:
        check_value(flag.setting, flag.values[0])
    return settings


def _repeats(flags: list[Flag]) -> list[ArgProblem]:
    problems = []
    first: dict[str, Flag] = {}
    for flag in flags:
        if flag.setting in REPEATABLE:
            continue
        earlier = first.setdefault(flag.setting, flag)
        same = earlier.values == flag.values and (bool(flag.values) or earlier.spelling == flag.spelling)
        if earlier is not flag and not same:
            problems.append(
                ArgProblem(
                    code="GS305",
                    index=flag.index,
                    message=f"{' '.join((flag.spelling, *flag.values))} contradicts "
                    f"{' '.join((earlier.spelling, *earlier.values))} before it",
                    help=f"keep one {earlier.spelling}",
                )
            )
    return problems


def merge_argv(ours: tuple[tuple[str, ...], ...], parsed: ParsedArgs, profile: EngineProfile) -> tuple[str, ...]:
    """One command line: our flags (each with its values), less those whose setting the user gives, then the user's.

    No setting occurs twice, so nothing depends on which value an engine takes; `k=v` is written as two words.
    """
    table = profile.flags.settings
    # `-ngl auto` leaves the number to gslc: with --fit off the engine would take it for all layers
    left = {"-ngl"} if parsed.settings.gpu_layers == "auto" else set()
    left.add("-ts")  # ours says the same in whole layers
    kept = [word for flag in ours if table[flag[0]][0] not in parsed.given - left for word in flag]
    theirs = [flag for flag in parsed.flags if flag.setting not in left]
    last = {flag.setting: flag for flag in theirs if flag.setting not in REPEATABLE}
    for flag in theirs:
        if flag.setting in REPEATABLE or last[flag.setting] is flag:
            kept += [flag.spelling, *flag.values]
    return tuple(kept)
