"""Values of engine arguments, read the way llama-server and llama-box read them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

from gslc.engines.llama_settings import ALL_LAYERS, KV_CACHE_TYPES


class BadValueError(ValueError):
    """A value that the engine would not take; the text says what it takes."""


LENGTH = re.compile(r"[A-Za-z0-9_-]+\.context_length=int:([0-9]{1,9})")  # of --override-kv
_INTEGER = re.compile(r"-?[0-9]{1,4000}")  # int() reads other digits too, and refuses longer texts
INT_MOST = (1 << 31) - 1  # arg.cpp reads numbers with std::stoi


def _integer(low: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text) if _INTEGER.fullmatch(text) else None
        if value is None or value < low:
            raise BadValueError(f"a whole number from {low} up")
        if value > INT_MOST:
            raise BadValueError(f"a whole number up to {INT_MOST}")
        return value

    return read


def _gpu_layers(text: str) -> int | str:
    if text in ("all", "auto"):
        return text
    value = _integer(-1)(text)
    return "auto" if value < 0 else value


def _kv_type(text: str) -> str:
    if text not in KV_CACHE_TYPES:
        raise BadValueError("one of " + ", ".join(KV_CACHE_TYPES))
    return text


def one_of(*words: str) -> Callable[[str], str]:
    """A reader of one word of a list."""

    def read(text: str) -> str:
        if text not in words:
            raise BadValueError("one of " + ", ".join(words))
        return text

    return read


def _split(text: str) -> tuple[float, ...]:
    parts = re.split(r"[,/]+", text)
    if not all(re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", part) for part in parts):
        raise BadValueError("numbers separated by commas, one a device")
    values = tuple(float(part) for part in parts)
    if sum(values) <= 0:
        raise BadValueError("numbers of which one at least is above 0")
    return values


# What Python reads otherwise than std::regex does, and what std::regex does not read at all.
POSIX_CLASSES = {
    "[:digit:]": "0-9", "[:alpha:]": "A-Za-z", "[:alnum:]": "A-Za-z0-9", "[:lower:]": "a-z", "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f", "[:space:]": r"\s",
}  # fmt: skip
FOREIGN = re.compile(r"\(\?(?![:=!])|\\[AZ]|[*+?}]\+|\[[:.=]")
# A word of an expression: what is escaped, a set, a repeat without an end, the start or the end of a group, the rest.
WORD = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[*+]|\{[0-9]+,\}|[()]|.", re.DOTALL)
MOST_REPEATS = 6  # published patterns have three at most; each multiplies the time by the length of a tensor's name


def overrides(text: str) -> tuple[tuple[str, str], ...]:
    """The pairs of -ot: a regular expression on names of tensors, and a buffer."""
    pairs = []
    for part in text.split(","):
        pattern, found, buffer = part.partition("=")  # at the first one, as arg.cpp does
        if not found or not pattern or not buffer:
            raise BadValueError("pattern=buffer pairs separated by commas")
        pairs.append((_expression(pattern), buffer))
    return tuple(pairs)


def _expression(pattern: str) -> str:
    """A regular expression of std::regex in Python's words."""
    for name, members in POSIX_CLASSES.items():
        pattern = pattern.replace(name, members)
    if FOREIGN.search(pattern):
        raise BadValueError("a regular expression of ECMAScript before the =")
    if _repeats(pattern) > MOST_REPEATS:
        raise BadValueError(
            f"a regular expression with {MOST_REPEATS} repeats at most, and none of a repeat or of a choice"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # "[[" is no set of sets yet
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadValueError(f"a regular expression before the = ({error})") from error
    return pattern


def _repeats(pattern: str) -> int:
    """How many repeats without an end an expression has; a repeat of a repeat or of a choice counts as too many."""
    words = WORD.findall(pattern)
    count = 0
    open_groups = [False]  # whether there is a repeat or a choice in each of them
    for place, word in enumerate(words):
        if word == "(":
            open_groups.append(False)
        elif word == ")" and len(open_groups) > 1:
            inner = open_groups.pop()
            open_groups[-1] |= inner
            if inner and place + 1 < len(words) and words[place + 1][0] in "*+{":
                return MOST_REPEATS + 1
        elif word[0] in "*+" or (word[0] == "{" and len(word) > 1):
            count += 1
            open_groups[-1] = True
        elif word == "|":
            open_groups[-1] = True
    return count


VALUE_FIELDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "-c": ("context_tokens", _integer(0)),
    "-np": ("parallel", _integer(-1)),
    "-b": ("batch", _integer(1)),
    "-ub": ("ubatch", _integer(1)),
    "-ctk": ("key_type", _kv_type),
    "-ctv": ("value_type", _kv_type),
    "-ngl": ("gpu_layers", _gpu_layers),
    "-ts": ("tensor_split", _split),
    "-sm": ("split_mode", one_of("none", "layer", "row", "tensor")),
    "-mg": ("main_gpu", _integer(0)),
    "-ncmoe": ("cpu_moe_layers", _integer(0)),
    "-ncffn": ("cpu_ffn_layers", _integer(0)),
    "--pooling": ("pooling", one_of("none", "mean", "cls", "last", "rank")),
    "-cram": ("cache_ram_mib", _integer(-1)),
    "-ctxcp": ("context_checkpoints", _integer(0)),
}
# Settings that change nothing in the plan, and whose values arg.cpp reads with std::stoi and std::stof, or from a list.
WHOLE_NUMBERS = frozenset({
    "-t", "-tb", "-n", "--keep", "--prio", "--prio-batch", "-to", "--threads-http", "--top-k", "--repeat-last-n",
    "--dry-allowed-length", "--dry-penalty-last-n", "--mirostat", "-cms", "--image-min-tokens", "--image-max-tokens",
    "--embd-normalize", "--cache-reuse", "--yarn-orig-ctx", "--sleep-idle-seconds", "--sse-ping-interval",
})  # fmt: skip
NUMBERS = frozenset({
    "--temp", "--top-p", "--min-p", "--top-nsigma", "--xtc-probability", "--xtc-threshold", "--typical",
    "--repeat-penalty", "--presence-penalty", "--frequency-penalty", "--dry-multiplier", "--dry-base",
    "--adaptive-target", "--adaptive-decay", "--dynatemp-range", "--dynatemp-exp", "--mirostat-lr", "--mirostat-ent",
    "--rope-scale", "--rope-freq-base", "--rope-freq-scale", "--yarn-ext-factor", "--yarn-attn-factor",
    "--yarn-beta-slow", "--yarn-beta-fast", "-sps",
})  # fmt: skip
CHOICES: dict[str, tuple[str, ...]] = {
    "--rope-scaling": ("none", "linear", "yarn"),
    "--numa": ("distribute", "isolate", "numactl"),
}
SWITCHES: dict[str, tuple[str, object]] = {
    "--swa-full": ("swa_full", True),
    "-cmoe": ("cpu_moe_layers", ALL_LAYERS),
    "--cpu-moe": ("cpu_moe_layers", ALL_LAYERS),
    "-nkvo": ("kv_offload", False),
    "--no-kv-offload": ("kv_offload", False),
    "-kvo": ("kv_offload", True),
    "--kv-offload": ("kv_offload", True),
    "--repack": ("repack", True),
    "-nr": ("repack", False),
    "--no-repack": ("repack", False),
    "--op-offload": ("op_offload", True),
    "--no-op-offload": ("op_offload", False),
    "-kvu": ("unified", True),
    "--kv-unified": ("unified", True),
    "-no-kvu": ("unified", False),
    "--no-kv-unified": ("unified", False),
    "--embedding": ("embedding", True),
    "--embeddings": ("embedding", True),
    "--rerank": ("rerank", True),
    "--reranking": ("rerank", True),
    "--mmproj-offload": ("projector_offload", True),
    "--no-mmproj-offload": ("projector_offload", False),
    "--mmap": ("memory_mapped", True),
    "--no-mmap": ("memory_mapped", False),
}


def check_value(setting: str, text: str) -> None:
    """Refuse what the engine can't read; like it, a number with something behind it is taken."""
    if setting in WHOLE_NUMBERS:
        found = re.match(r"\s*([+-]?[0-9]{1,4000})", text)
        if found is None or not -INT_MOST - 1 <= int(found[1]) <= INT_MOST:
            raise BadValueError(f"a whole number up to {INT_MOST}" if found else "a whole number")
    elif setting in NUMBERS:
        if re.match(r"\s*[+-]?(\.?[0-9]|inf|nan)", text, re.IGNORECASE) is None:
            raise BadValueError("a number")
    elif setting in CHOICES:
        one_of(*CHOICES[setting])(text)
