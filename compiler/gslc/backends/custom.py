"""Backend custom: any program, placed by the memory that `requirements` state and started by the user's own command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from gslc.engines.containers import runs_containers
from gslc.engines.paths import file_path, model_files, model_folder
from gslc.ir.diagnostic import Diagnostic, Excluded
from gslc.ir.inputs import EnginePin, Host, SecretRef
from gslc.ir.placement import Assignment, HostClass, Options, Request
from gslc.ir.plan import Launch, Role
from gslc.ir.record import dataclass
from gslc.memory.stated import stated_options

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
PLACEHOLDERS = ("port", "host", "name", "gpus", "model", "rank", "nodes", "leader")
ADDRESSES = ("host", "leader")  # placeholders that stand for an address
DEFAULT_PROGRAM_FOLDER = "/usr/local/bin"  # where a program without a path is looked for, as for the built-in engines
KEYS_OF_KNOWN_ENGINES = (
    "context",
    "parallel",
    "tensor_parallel",
    "pipeline_parallel",
    "gpu_memory_utilization",
    "gpu_layers",
    "tensor_split",
    "kv_cache_type",
    "mmproj",
    "args",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """See contracts.Backend."""

    name: str = "custom"
    default_pin: EnginePin = field(default_factory=lambda: EnginePin(version="custom"))

    def review(self, request: Request) -> tuple[Diagnostic, ...]:
        """Missing requirements or command, unknown placeholders, and keys that would have no effect."""
        return (*_missing(request), *_placeholder_mistakes(request), *_keys_without_effect(request))

    def excludes(self, request: Request, host_class: HostClass) -> tuple[Excluded, ...]:
        """Hosts that start containers need an image; hosts that start processes need a command."""
        model = request.model
        in_container = runs_containers(host_class, model.image)
        if in_container and model.image is None:
            detail = f"target {host_class.target} runs containers there and the model has no image"
            return (Excluded(what=request.model.name, rule="image", detail=detail),)
        if not in_container and not model.command and not _commands(request):
            detail = f"target {host_class.target} runs programs there and the model has an image but no command"
            return (Excluded(what=request.model.name, rule="command", detail=detail),)
        return ()

    def options(self, request: Request, host_class: HostClass) -> Options:
        """The stated alternatives."""
        return stated_options(request.model, host_class)

    def engine_version(self, request: Request, host_class: HostClass) -> str:
        """The image's tag or digest; "custom" for a program, whose version nobody stated."""
        image = request.model.image
        if image is None:
            return "custom"
        if "@" in image:
            return image.partition("@")[2]
        tag = image.rpartition("/")[2].partition(":")[2]
        return tag or "latest"

    def launches(self, request: Request, assignment: Assignment, hosts: Mapping[str, Host]) -> tuple[Launch, ...]:
        """One launch a seat, leader first, in the user's words with the placeholders filled in."""
        return tuple(_launch(request, assignment, hosts, rank) for rank in range(len(assignment.seats)))


# ------------------------------------------------------------------ review


def _commands(request: Request) -> tuple[tuple[tuple[str | int, ...], tuple[str, ...]], ...]:
    """Every command that the model states, with the path of its place."""
    model = request.model
    found: list[tuple[tuple[str | int, ...], tuple[str, ...]]] = []
    if model.command:
        found.append((("models", model.name, "command"), model.command))
    for index, requirement in enumerate(model.requirements):
        here = ("models", model.name, "requirements", index)
        if requirement.command:
            found.append(((*here, "command"), requirement.command))
        for number, part in enumerate(requirement.parts):
            if part.command:
                found.append(((*here, "parts", number, "command"), part.command))
    return tuple(found)


def _missing(request: Request) -> tuple[Diagnostic, ...]:
    model, places = request.model, request.cluster.places
    found = []
    if not model.requirements:
        found.append(
            Diagnostic(
                code="GS384",
                message=f"model {model.name}: backend custom needs `requirements`",
                place=places.key("models", model.name),
                help="add `requirements: [{gpus: 1, gpu_memory: 8GiB, memory: 2GiB}]` with what you measured",
            )
        )
    if model.image is None and not _commands(request):
        found.append(
            Diagnostic(
                code="GS385",
                message=f"model {model.name}: backend custom needs a `command` or an `image`",
                place=places.key("models", model.name),
                help='add `command: [program, --port, "{port}"]`',
            )
        )
    return tuple(found)


def _placeholder_mistakes(request: Request) -> tuple[Diagnostic, ...]:
    texts: list[tuple[tuple[str | int, ...], str]] = [
        ((*path, index), word) for path, words in _commands(request) for index, word in enumerate(words)
    ]
    model = request.model
    texts.extend(
        (("models", model.name, "env", name), value) for name, value in model.env if not isinstance(value, SecretRef)
    )
    found = []
    for path, text in texts:
        for name in PLACEHOLDER.findall(text):
            if name not in PLACEHOLDERS:
                found.append(
                    Diagnostic(
                        code="GS386",
                        message=f"model {model.name}: unknown placeholder {{{name}}} in {text!r}",
                        place=request.cluster.places.at(*path),
                        help=f"use one of {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}",
                    )
                )
            elif name == "model" and model.source is None:
                found.append(
                    Diagnostic(
                        code="GS387",
                        message=f"model {model.name}: {{model}} is used, but the model has no source",
                        place=request.cluster.places.at(*path),
                        help="add `source`, or write the path itself",
                    )
                )
    return tuple(found)


def _keys_without_effect(request: Request) -> tuple[Diagnostic, ...]:
    model = request.model
    given = [key for key in KEYS_OF_KNOWN_ENGINES if getattr(model, key) not in (None, ())]
    return tuple(
        Diagnostic(
            code="GS388",
            severity="warning",
            message=f"model {model.name}: `{key}` has no effect with backend custom",
            place=request.cluster.places.at("models", model.name, key),
            help="remove it, and say it in `command`",
        )
        for key in given
        if request.cluster.places.at("models", model.name, key) != request.cluster.places.at("models", model.name)
    )


# ------------------------------------------------------------------ launch


def _launch(request: Request, assignment: Assignment, hosts: Mapping[str, Host], rank: int) -> Launch:
    model = request.model
    seat, part = assignment.seats[rank], assignment.choice.parts[rank]
    host = hosts[seat.host]
    name = f"{model.name}-{assignment.replica}"
    words = _filled(_command_of(request, assignment, rank), request, assignment, hosts, rank)
    env = tuple(
        (variable, _fill(value, _values(request, assignment, hosts, rank)))
        for variable, value in model.env
        if not isinstance(value, SecretRef)
    )
    role: Role = "leader" if rank == 0 else "worker"
    cards = {gpu.index: gpu for gpu in host.gpus}
    return Launch(
        name=name if rank == 0 else f"{name}-worker-{rank}",
        role=role,
        rank=rank,
        host=seat.host,
        program=_program(words[0], model.name, request, host) if words else "",
        argv=words[1:],
        image=model.image,
        image_entrypoint=words[:1] or None,
        env=env,
        secret_env=tuple((variable, value.name) for variable, value in model.env if isinstance(value, SecretRef)),
        gpus=seat.gpus,
        gpu_uuids=tuple(cards[index].uuid for index in seat.gpus),
        vendor=cards[seat.gpus[0]].kind.vendor if seat.gpus else None,
        listen=host.listen,
        port=seat.ports[0],
        extra_ports=seat.ports[1:],
        group_restart=len(assignment.seats) > 1,
        memory_bytes=part.host.total,
        model_dir=host.model_dir,
        files=model_files(request.facts, host.model_dir, model.source) if request.facts and model.source else (),
    )


def _command_of(request: Request, assignment: Assignment, rank: int) -> tuple[str, ...]:
    """The part's own command, else its alternative's, else the model's; () lets the image's entry point run."""
    requirement = request.model.requirements[assignment.choice.layout.requirement or 0]
    part = requirement.parts[rank]
    return part.command or requirement.command or request.model.command


def _values(request: Request, assignment: Assignment, hosts: Mapping[str, Host], rank: int) -> Mapping[str, str]:
    seat = assignment.seats[rank]
    host, leader = hosts[seat.host], hosts[assignment.seats[0].host]
    return {
        "port": str(seat.ports[0]),
        "host": host.listen,
        "name": f"{request.model.name}-{assignment.replica}",
        "gpus": ",".join(str(index) for index in seat.gpus),
        "model": _model_path(request, host),
        "rank": str(rank),
        "nodes": str(len(assignment.seats)),
        "leader": leader.address or leader.listen,
    }


def _filled(
    words: tuple[str, ...], request: Request, assignment: Assignment, hosts: Mapping[str, Host], rank: int
) -> tuple[str, ...]:
    values = _values(request, assignment, hosts, rank)
    return tuple(_fill(word, values) for word in words)


def _fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders filled in; an IPv6 address before a port or in a URL gets its brackets."""

    def value_of(match: re.Match[str]) -> str:
        value = values[match.group(1)]
        in_socket = text[match.end() : match.end() + 1] == ":" or text[: match.start()].endswith("://")
        return f"[{value}]" if in_socket and match.group(1) in ADDRESSES and ":" in value else value

    return PLACEHOLDER.sub(value_of, text) if "{" in text else text


def _model_path(request: Request, host: Host) -> str:
    """The path that the source names: a file where it names one, else the folder of the repository."""
    source, facts = request.model.source, request.facts
    if source is None:
        return ""
    if source.kind == "file":
        return source.path or source.text.removeprefix("file://")
    if facts is None:
        return f"{host.model_dir}/{source.kind}/{source.repository}/{source.revision or 'main'}"
    folder = model_folder(facts, host.model_dir, source)
    names_a_file = facts.gguf is not None or source.path is not None
    return file_path(folder, facts.files[0].path) if names_a_file and facts.files else folder


def _program(word: str, model: str, request: Request, host: Host) -> str:
    """An absolute path: the word itself, the path that `engines` gives for it, or the default folder."""
    if word.startswith("/"):
        return word
    for engines in (host.engines, request.cluster.engines):
        own = engines.get(word)
        if own is not None and own.path is not None:
            return own.path if own.path.rstrip("/").endswith(f"/{word}") else f"{own.path.rstrip('/')}/{word}"
        folder = engines.get("custom")
        if folder is not None and folder.path is not None:
            return f"{folder.path.rstrip('/')}/{word}"
    return f"{DEFAULT_PROGRAM_FOLDER}/{word}"
