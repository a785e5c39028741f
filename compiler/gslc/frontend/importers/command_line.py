"""A command line of vLLM or llama-server -> the keys of a model; what has no key goes on in `args`, in its order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Literal, TypeAlias

from gslc.frontend.importers.records import Findings, Number, SecretName, Setting
from gslc.ir.record import dataclass

Engine: TypeAlias = Literal["vllm", "llama.cpp"]

ALL_LAYERS = 99  # people write -ngl 99 or 999 for "all"; no model with so many blocks is split by hand
_INTEGER = re.compile(r"[0-9]{1,12}\Z")
_FRACTION = re.compile(r"(?:0?\.[0-9]{1,3}|1(?:\.0{1,3})?)\Z")


@dataclass(slots=True)
class Line:
    """What was understood of one command line."""

    name: str  # of the model, for messages
    engine: Engine
    source: str | None = None
    file: str | None = None
    revision: str | None = None
    hf_file: str | None = None
    settings: dict[str, Setting] = field(default_factory=dict)
    args: list[str] = field(default_factory=list)
    port: int | None = None
    total_context: int | None = None  # llama.cpp: over all slots
    kv_types: dict[str, str] = field(default_factory=dict)


Take: TypeAlias = Callable[[Findings, Line, str, str], bool]  # flag and value -> understood; False: goes to args


def _number(key: str) -> Take:
    def take(_found: Findings, line: Line, _flag: str, value: str) -> bool:
        if not _INTEGER.match(value) or int(value) < 1:
            return False
        line.settings[key] = int(value)
        return True

    return take


def _text(key: str) -> Take:
    def take(_found: Findings, line: Line, _flag: str, value: str) -> bool:
        line.settings[key] = value
        return True

    return take


def _field(name: Literal["source", "file", "revision", "hf_file"]) -> Take:
    def take(_found: Findings, line: Line, _flag: str, value: str) -> bool:
        setattr(line, name, value)
        return True

    return take


def _utilization(_found: Findings, line: Line, _flag: str, value: str) -> bool:
    if not _FRACTION.match(value):
        return False
    line.settings["gpu_memory_utilization"] = Number("0" + value if value.startswith(".") else value)
    return True


def _model_length(_found: Findings, line: Line, _flag: str, value: str) -> bool:
    """Human integers of vLLM: 8k = 8000, 8K = 8192; `auto` and -1 stay in args."""
    units = {"k": 1000, "K": 1024, "": 1}
    match = re.fullmatch(r"([0-9]{1,12})([kK]?)", value)
    if match is None or int(match.group(1)) == 0:
        return False
    line.settings["context"] = int(match.group(1)) * units[match.group(2)]
    return True


def _port(_found: Findings, line: Line, _flag: str, value: str) -> bool:
    if _INTEGER.match(value) and 0 < int(value) < 65536:
        line.port = int(value)
    return True


def _api_key(found: Findings, line: Line, flag: str, value: str) -> bool:
    secret = f"{line.name}-api-key"
    line.settings["api_key"] = SecretName(secret)
    if not value.startswith("$"):
        found.say(
            "GS193", f"{line.name} has its {flag} in plain text; it became the secret {secret}", "store the key there"
        )
    return True


def _left_to_gslc(_found: Findings, _line: Line, _flag: str, _value: str) -> bool:
    return True  # address and port to listen on are the compiler's to choose; dropping them changes no result


def _not_carried(found: Findings, line: Line, flag: str, value: str) -> bool:
    found.say(
        "GS191", f"{line.name}: {flag} {value} is not carried over: gslc chooses where model files lie (`model_dir`)"
    )
    return True


def _hf_repo(_found: Findings, line: Line, _flag: str, value: str) -> bool:
    line.source = f"hf://{value}"
    return True


def _layers(_found: Findings, line: Line, _flag: str, value: str) -> bool:
    if value in ("all", "auto", "-1"):
        return True
    if not _INTEGER.match(value):
        return False
    if int(value) < ALL_LAYERS:
        line.settings["gpu_layers"] = int(value)
    return True


def _total_context(_found: Findings, line: Line, _flag: str, value: str) -> bool:
    """-c 0 is the length that the model was trained for: no number that the file being imported says."""
    if not _INTEGER.match(value) or not int(value):
        return False
    line.total_context = int(value)
    return True


def _split(_found: Findings, line: Line, _flag: str, value: str) -> bool:
    parts = re.split(r"[,/]", value)
    if not all(_INTEGER.match(part) for part in parts):
        return False
    line.settings["tensor_split"] = [Number(part) for part in parts]
    return True


def _kv_type(_found: Findings, line: Line, flag: str, value: str) -> bool:
    line.kv_types["k" if flag in ("-ctk", "--cache-type-k") else "v"] = value
    return True


VLLM: dict[str, Take] = {
    "--model": _field("source"),
    "--revision": _field("revision"),
    "--served-model-name": _text("served_name"),
    "--max-model-len": _model_length,
    "--max-num-seqs": _number("parallel"),
    "--tensor-parallel-size": _number("tensor_parallel"),
    "-tp": _number("tensor_parallel"),
    "--pipeline-parallel-size": _number("pipeline_parallel"),
    "-pp": _number("pipeline_parallel"),
    "--gpu-memory-utilization": _utilization,
    "--kv-cache-dtype": _text("kv_cache_type"),
    "--api-key": _api_key,
    "--port": _port,
    "--host": _left_to_gslc,
    "--download-dir": _not_carried,
}
LLAMA: dict[str, Take] = {
    "-m": _field("file"),
    "--model": _field("file"),
    "-hf": _hf_repo,
    "-hfr": _hf_repo,
    "--hf-repo": _hf_repo,
    "-hff": _field("hf_file"),
    "--hf-file": _field("hf_file"),
    "-a": _text("served_name"),
    "--alias": _text("served_name"),
    "-c": _total_context,
    "--ctx-size": _total_context,
    "-np": _number("parallel"),
    "--parallel": _number("parallel"),
    "-ngl": _layers,
    "--gpu-layers": _layers,
    "--n-gpu-layers": _layers,
    "-ts": _split,
    "--tensor-split": _split,
    "-ctk": _kv_type,
    "--cache-type-k": _kv_type,
    "-ctv": _kv_type,
    "--cache-type-v": _kv_type,
    "--api-key": _api_key,
    "--port": _port,
    "--host": _left_to_gslc,
}


def read_line(found: Findings, name: str, engine: Engine, words: Sequence[str]) -> Line:
    """The line, understood. `words` come behind the program (and behind vLLM's `serve`)."""
    line = Line(name=name, engine=engine)
    known = VLLM if engine == "vllm" else LLAMA
    rest = list(words)
    if engine == "vllm" and rest and not rest[0].startswith("-"):
        line.source = rest.pop(0)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        spelled = flag.replace("_", "-") if flag.startswith("--") else flag
        take = known.get(spelled)
        if take is None or (not equals and not rest):
            line.args.append(word)
            continue
        given = value if equals else rest.pop(0)
        if not take(found, line, spelled, given):
            line.args += [word] if equals else [word, given]
        if spelled == "--served-model-name":
            others = []
            while rest and not rest[0].startswith("-"):
                others.append(rest.pop(0))
            if others:
                found.say("GS191", f"{name} is served as {', '.join(others)} too; only the first name is carried over")
    _finish(line)
    return line


def _finish(line: Line) -> None:
    """Settle what depends on two flags: total context and slots, key and value types."""
    if line.total_context is not None:
        slots = line.settings.get("parallel", 1)
        if isinstance(slots, int) and line.total_context % slots == 0:
            line.settings["context"] = line.total_context // slots
        else:
            line.args += ["-c", str(line.total_context)]
    if line.kv_types:
        if set(line.kv_types) == {"k", "v"} and len(set(line.kv_types.values())) == 1:
            line.settings["kv_cache_type"] = line.kv_types["k"]
        else:
            for side, kind in sorted(line.kv_types.items()):
                line.args += [f"--cache-type-{side}", kind]
