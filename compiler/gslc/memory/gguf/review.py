"""Problems of a GGUF request as diagnostics at their places."""

from __future__ import annotations

from typing import cast

from gslc.engines.llama_args import ArgProblem
from gslc.engines.llama_profile import BUILD_NEWEST, EngineProfile
from gslc.ir.diagnostic import Diagnostic, Place, Severity
from gslc.ir.placement import Request
from gslc.memory.gguf.graphs import is_known, missing_part
from gslc.memory.gguf.request import KeyProblem, Resolved
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.types import is_known as is_known_type


def place_of(request: Request, problem: ArgProblem | KeyProblem) -> Place:
    """Where the argument or the key stands in the cluster file."""
    places, name = request.cluster.places, request.model.name
    if isinstance(problem, ArgProblem):
        return places.at("models", name, "args", problem.index)
    return places.at("models", name, problem.key)


def diagnose(request: Request, resolved: Resolved) -> tuple[Diagnostic, ...]:
    """Every problem of the model's keys and arguments."""
    return tuple(
        Diagnostic(
            code=problem.code,
            severity=cast("Severity", problem.severity),
            message=f"model {request.model.name}: {problem.message}",
            place=place_of(request, problem),
            help=problem.help,
        )
        for problem in resolved.problems
    )


def doubts(shape: ModelShape) -> tuple[str, ...]:
    """What of the file is unknown, so that its memory is bounded rather than computed; () for nothing."""
    found = []
    if not is_known(shape.arch):
        found.append(f"the architecture {shape.arch!r}, whose graph is bounded by the widths of its tensors")
    elif missing := missing_part(shape):
        found.append(
            f"a file of the architecture {shape.arch!r} without {missing}, which is bounded by its tensors' widths"
        )
    types = sorted({g.type for g in shape.facts.tensors if not is_known_type(g.type)})
    if types:
        found.append(
            f"the tensor type{'s' if len(types) > 1 else ''} {', '.join(types)}, counted as 4 bytes an element"
        )
    return tuple(found)


def doubt_message(shape: ModelShape) -> str:
    """The doubts in one sentence, "" where there are none."""
    found = doubts(shape)
    return f"the estimate is an upper bound: gslc does not know {' nor '.join(found)}" if found else ""


def version_note(profile: EngineProfile) -> str:
    """What is said of a build that this release has not seen, "" for known ones."""
    if not profile.newer_than_known:
        return ""
    newest = "v0.0.171" if profile.product == "llama-box" else f"b{BUILD_NEWEST}"
    return f"{profile.product} {profile.version} is not known to this release; it is planned like {newest}"
