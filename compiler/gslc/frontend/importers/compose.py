"""A compose file with vLLM or llama.cpp services -> models."""

from __future__ import annotations

import re
import shlex
from functools import partial
from pathlib import PurePosixPath

from gslc.frontend.importers.command_line import Engine, Line, read_line
from gslc.frontend.importers.foreign import as_list, as_map, integer_of, line_of, member, read_yaml, text_of
from gslc.frontend.importers.names import free_name
from gslc.frontend.importers.records import Findings, Setting
from gslc.frontend.importers.services import engine_backend, environment_of, model_of, source_of

COMMAND = "docker compose"
_VLLM_IMAGE = re.compile(r"(?:^|/)vllm(?:-openai|-rocm|-cpu)?(?:[:@]|$)|vllm/vllm|rocm/vllm")
_LLAMA_IMAGE = re.compile(r"llama\.cpp|llama-cpp|llamacpp|(?:^|/)llama-server(?:[:@]|$)")
_PROGRAMS: dict[str, Engine] = {"vllm": "vllm", "llama-server": "llama.cpp", "server": "llama.cpp"}
_DEFAULT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):?-([^${}]*)\}")


def compose_models(found: Findings, text: str, host: str | None) -> None:
    """The models of a compose file. `host`: where it runs, for the pins that `device_ids` mean."""
    value = read_yaml(text, COMMAND)
    taken: set[str] = set()
    for service, content in sorted(as_map(member(value, "services")).items()):
        at = line_of(member(value, "services"), service)
        image = _interpolated(found, service, text_of(content, "image") or "", at)
        words = [_interpolated(found, service, word, at) for word in _command(content)]
        engine, rest = engine_of(image, words)
        if engine is None:
            found.say(
                "GS196", f"service {service} is left out: {image or 'it'} is neither vLLM nor llama.cpp", None, line=at
            )
            continue
        name = free_name(found, "service", service, taken)
        line = read_line(found, name, engine, rest)
        environment = _environment(content)
        if engine == "llama.cpp":
            _read_llama_variables(line, environment)
        source = source_of(found, line, partial(_host_path, content), at)
        if source is None:
            continue
        extra = _extra(found, line, content, host, image, at)
        found.models.append(
            model_of(
                found,
                line,
                backend=engine_backend(engine),
                source=source,
                environment=environment_of(found, name, environment, partial(_line_of, content)),
                extra=extra,
            )
        )


def engine_of(image: str, words: list[str]) -> tuple[Engine | None, list[str]]:
    """The engine of a command, and the words behind its program."""
    rest = list(words)
    if rest:
        program = _PROGRAMS.get(PurePosixPath(rest[0]).name)
        if program is not None:
            rest.pop(0)
            if program == "vllm" and rest[:1] == ["serve"]:
                rest.pop(0)
            return program, rest
        if rest[0].startswith("python") and rest[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]:
            return "vllm", rest[3:]
    if _VLLM_IMAGE.search(image):
        return "vllm", rest
    if _LLAMA_IMAGE.search(image):
        return "llama.cpp", rest
    return None, rest


def _command(content: object) -> list[str]:
    """Entry point and command as words."""
    words: list[str] = []
    for key in ("entrypoint", "command"):
        value = member(content, key)
        if isinstance(value, str):
            words += _split(value)
        else:
            words += [str(item) for item in as_list(value)]
    if words[:2] in (["sh", "-c"], ["/bin/sh", "-c"], ["bash", "-c"], ["/bin/bash", "-c"]) and len(words) == 3:
        words = _split(words[2])
        if words[:1] == ["exec"]:
            words.pop(0)
    return words


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=False)
    except ValueError:  # an unbalanced quote
        return text.split()


def _interpolated(found: Findings, service: str, text: str, at: int) -> str:
    """The text with `${X:-default}` replaced by the default, saying so; other variables stay as they are."""
    for match in _DEFAULT.finditer(text):
        found.say(
            "GS191",
            f"service {service}: the default {match.group(2)!r} of the variable {match.group(1)} was taken",
            None,
            line=at,
        )
    return _DEFAULT.sub(lambda match: match.group(2), text).replace("$$", "$")


def _environment(content: object) -> dict[str, object]:
    """The environment, given as a map or as a list of NAME=VALUE."""
    value = member(content, "environment")
    if isinstance(value, dict):
        return dict(as_map(value))
    found: dict[str, object] = {}
    for item in as_list(value):
        name, equals, text = str(item).partition("=")
        found[name] = text if equals else None
    return found


def _line_of(content: object, variable: str) -> int:
    environment = member(content, "environment")
    return line_of(environment, variable) if isinstance(environment, dict) else line_of(content, "environment")


# llama-server reads options from the environment too.
_LLAMA_VARIABLES = {
    "LLAMA_ARG_MODEL": "-m",
    "LLAMA_ARG_HF_REPO": "-hf",
    "LLAMA_ARG_HF_FILE": "-hff",
    "LLAMA_ARG_CTX_SIZE": "-c",
    "LLAMA_ARG_N_PARALLEL": "-np",
    "LLAMA_ARG_N_GPU_LAYERS": "-ngl",
    "LLAMA_ARG_PORT": "--port",
    "LLAMA_ARG_HOST": "--host",
    "LLAMA_ARG_ALIAS": "--alias",
}


def _read_llama_variables(line: Line, environment: dict[str, object]) -> None:
    """Understand LLAMA_ARG_*; the command line wins, as in llama-server."""
    words: list[str] = []
    for name, flag in _LLAMA_VARIABLES.items():
        if environment.get(name) is not None:
            words += [flag, str(environment.pop(name))]
    other = read_line(Findings(file=""), line.name, "llama.cpp", words)
    line.file = line.file or other.file
    line.source = line.source or other.source
    line.hf_file = line.hf_file or other.hf_file
    line.port = line.port or other.port
    line.settings = {**other.settings, **line.settings}


def _host_path(content: object, path: str) -> str | None:
    """Where a path of the container lies on the host; None for relative mounts, named volumes and no mount."""
    best: tuple[int, str] | None = None
    for volume in as_list(member(content, "volumes")):
        if isinstance(volume, str):
            source, _, rest = volume.partition(":")
            target = rest.split(":")[0]
        else:
            source, target = text_of(volume, "source") or "", text_of(volume, "target") or ""
        target = target.rstrip("/")
        if (
            target
            and source.startswith("/")
            and (path == target or path.startswith(target + "/"))
            and "$" not in source
        ):
            lies = source.rstrip("/") + path[len(target) :]
            if best is None or len(target) > best[0]:
                best = (len(target), lies)
    return best[1] if best else None


def _extra(found: Findings, line: Line, content: object, host: str | None, image: str, at: int) -> dict[str, Setting]:
    """What stands outside the command: port, replicas, devices, image."""
    extra: dict[str, Setting] = {}
    if line.engine == "vllm" and line.source is not None and "served_name" not in line.settings:
        extra["served_name"] = line.source  # what vLLM calls the model where nobody says; clients send it
    port = _published_port(content) or line.port
    if port is not None:
        extra["port"] = port
    replicas = integer_of(content, "deploy", "replicas") or integer_of(content, "scale")
    if replicas is not None and replicas > 1:
        extra["replicas"] = replicas
    pins = _device_ids(content)
    if pins and host is not None and all(pin.isascii() and pin.isdigit() and len(pin) < 4 for pin in pins):
        extra["gpus"] = tuple(f"{host}/{int(pin)}" for pin in pins)
    elif pins:
        found.say(
            "GS191",
            f"{line.name} runs on the devices {', '.join(pins)}; gslc chooses GPUs by itself",
            "give --host NAME to pin devices that are named by index",
            line=at,
        )
    if image and "$" not in image:
        extra["image"] = image
    return extra


def _published_port(content: object) -> int | None:
    for row in as_list(member(content, "ports")):
        if isinstance(row, dict):
            return integer_of(row, "published")
        match = re.fullmatch(r"(?:[0-9.]+:)?([0-9]{1,5}):[0-9]{1,5}(?:/tcp)?", str(row))
        if match:
            return int(match.group(1))
    return None


def _device_ids(content: object) -> list[str]:
    found: list[str] = []
    for device in as_list(member(content, "deploy", "resources", "reservations", "devices")):
        found += [str(item) for item in as_list(member(device, "device_ids"))]
    return found
