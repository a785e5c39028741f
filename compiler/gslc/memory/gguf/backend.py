"""What the two GGUF backends share: a request seen through an engine's profile."""

from __future__ import annotations

import re

from gslc.engines.llama_profile import EngineProfile, Product, profile_of
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.facts import GgufFacts, ModelFacts
from gslc.ir.inputs import EnginePin
from gslc.ir.placement import HostClass, Request
from gslc.ir.record import dataclass
from gslc.memory.gguf.offload import Planner
from gslc.memory.gguf.options import Ways
from gslc.memory.gguf.overhead import overhead_of
from gslc.memory.gguf.projector import projector_bytes
from gslc.memory.gguf.request import Resolved, resolve
from gslc.memory.gguf.review import diagnose, doubt_message, version_note
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.image import image_shape, missing_stages

EMPTY = GgufFacts(
    architecture="", hyper={}, vocabulary_size=0, tensors=(), header_sha256="", header_bytes=0, file_bytes=0
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """A request read for one engine build: its facts, shape, settings and image."""

    facts: ModelFacts
    shape: ModelShape
    profile: EngineProfile
    resolved: Resolved
    image: str | None
    version_known: bool

    @staticmethod
    def of(request: Request, product: Product, pin: EnginePin) -> RequestView:
        """The view of a request whose facts are known; an unreadable version is planned like the newest build."""
        facts = request.facts
        if facts is None:
            raise ValueError(f"{request.model.name}: a GGUF backend is asked before the facts are known")
        found = profile_of(product, pin.version)
        profile = found or profile_of(product, None)
        assert profile is not None  # the default version always has a profile
        shape = ModelShape(facts.gguf or EMPTY)
        return RequestView(
            facts=facts,
            shape=shape,
            profile=profile,
            resolved=resolve(request.model, facts, shape, profile),
            image=request.model.image or pin.image,
            version_known=found is not None,
        )


def ways_of(request: Request, view: RequestView, host_class: HostClass) -> Ways:
    """The planner of a request on hosts of one class."""
    vendors = sorted({kind.vendor for kind in host_class.gpu_kinds})
    projector = view.facts.projector
    return Ways(
        planner=Planner(
            shape=view.shape,
            settings=view.resolved.settings,
            profile=view.profile,
            host_arch=host_class.arch,
            first_device_bytes=projector_bytes(projector) if projector is not None else 0,
        ),
        resolved=view.resolved,
        name=request.model.name,
        exclusive=request.model.exclusive_gpus,
        basis_of_vendor={vendor: overhead_of(vendor).basis for vendor in vendors},
    )


def review_request(request: Request, view: RequestView) -> tuple[Diagnostic, ...]:
    """What is wrong with the model's own settings for this engine, and what is only bounded."""
    places, model = request.cluster.places, request.model
    product = view.profile.product
    found: list[Diagnostic] = []
    if view.facts.gguf is None:
        return (
            Diagnostic(
                code="GS311",
                message=f"model {model.name}: {product} runs GGUF files, and {view.facts.source} has none",
                place=places.at("models", model.name, "backend"),
                help="remove the key backend, or name a GGUF repository",
            ),
        )
    engine = places.at("engines", product, "version")
    if not view.version_known:
        found.append(
            Diagnostic(
                code="GS312",
                message=f"{product} has no version of that form: give a build like b11669"
                if product == "llama.cpp"
                else "llama-box has no version of that form: give one like v0.0.171",
                place=engine,
                help="write the version as the engine prints it",
            )
        )
    if note := version_note(view.profile):
        found.append(
            Diagnostic(code="GS313", severity="note", message=note, place=engine, help="check `gslc estimate` on it")
        )
    if view.facts.kind == "image" and product == "llama.cpp":
        return (
            Diagnostic(
                code="GS320",
                message=f"model {model.name}: llama.cpp draws no images, and {view.facts.kind_reason}",
                place=places.at("models", model.name, "backend"),
                help="set backend: llama-box",
            ),
        )
    if model.requirements:
        return tuple(found)
    if view.facts.kind == "image" and (missing := missing_stages(image_shape(view.facts.gguf), view.resolved.parsed)):
        found.append(
            Diagnostic(
                code="GS321",
                message=f"model {model.name}: the file holds no {' and no '.join(missing)}",
                place=places.at("models", model.name, "source"),
                help="use a file with all stages, or name the missing ones in args (--image-vae-model FILE, …)",
            )
        )
    if view.facts.kind != "image" and (doubt := doubt_message(view.shape)):
        found.append(
            Diagnostic(
                code="GS310",
                severity="warning",
                message=f"model {model.name}: {doubt}",
                place=places.at("models", model.name, "source"),
                help="measure it once and state the memory with the key requirements",
            )
        )
    for name, _ in model.env:
        if name.upper().startswith("LLAMA_ARG_"):  # Windows doesn't tell them apart
            found.append(
                Diagnostic(
                    code="GS316",
                    message=f"model {model.name}: {name} would change the engine's settings behind the plan",
                    place=places.at("models", model.name, "env", name),
                    help="give the flag in args",
                )
            )
    found += [wrong for wrong in _layout_problems(request, view) if wrong]
    return (*found, *diagnose(request, view.resolved))


def _layout_problems(request: Request, view: RequestView) -> tuple[Diagnostic | None, ...]:
    """What asks for cards that no process will see."""
    return (_split_problem(request, view), _main_gpu_problem(request, view), _override_problem(request, view))


def _override_problem(request: Request, view: RequestView) -> Diagnostic | None:
    """-ot to a card with a number that no host has; the engine ends with "unknown buffer type"."""
    most = max((len(host.gpus) for host in request.cluster.hosts), default=0)
    for pattern, buffer in view.resolved.settings.overrides:
        number = re.fullmatch(r"(?!CPU|RPC)[A-Za-z]+([0-9]{1,9})", buffer)
        if number is not None and int(number[1]) >= most:
            return Diagnostic(
                code="GS304",
                message=f"model {request.model.name}: -ot {pattern}={buffer}: the largest host has {most} "
                f"GPU{'s' if most != 1 else ''}, numbered from 0",
                place=request.cluster.places.at("models", request.model.name, "args", _override_index(view, buffer)),
                help="name a card that a host has, or CPU",
            )
    return None


def _override_index(view: RequestView, buffer: str) -> int:
    """Where the override to a buffer stands in `args`."""
    flags = view.resolved.parsed.flags
    return next((one.index for one in flags if one.setting == "-ot" and f"={buffer}" in one.values[0]), 0)


def _split_problem(request: Request, view: RequestView) -> Diagnostic | None:
    """A tensor split for more cards than any host (with distributed: than all hosts together) has."""
    split = view.resolved.settings.tensor_split
    counts = [len(host.gpus) for host in request.cluster.hosts]
    most = sum(counts) if request.model.distributed else max(counts, default=0)
    if split is None or len(split) <= max(1, most):
        return None
    index = view.resolved.parsed.index_of("-ts")
    path: tuple[str | int, ...] = ("tensor_split",) if index is None else ("args", index)
    where = "all hosts together have" if request.model.distributed else "the largest host has"
    return Diagnostic(
        code="GS307",
        message=f"model {request.model.name}: the tensor split has {len(split)} numbers, and {where} {most} GPUs",
        place=request.cluster.places.at("models", request.model.name, *path),
        help="give one number per GPU",
    )


def _main_gpu_problem(request: Request, view: RequestView) -> Diagnostic | None:
    """-sm none with a main GPU that the process will not see: it is shown the one card that it lies on."""
    settings, index = view.resolved.settings, view.resolved.parsed.index_of("-mg")
    if settings.split_mode != "none" or not settings.main_gpu or index is None:
        return None
    return Diagnostic(
        code="GS304",
        message=f"model {request.model.name}: -mg {settings.main_gpu} with -sm none: {view.profile.product} is shown "
        "the one card that it lies on, which is number 0 to it",
        place=request.cluster.places.at("models", request.model.name, "args", index),
        help="remove -mg, and choose the card with the key gpus",
    )
