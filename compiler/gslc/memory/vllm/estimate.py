"""Will this model start under vLLM on these devices, and how long a context fits."""

from __future__ import annotations

from gslc.engines.vllm_command import utilization_words
from gslc.engines.vllm_versions import DEFAULT_VERSION
from gslc.ir.diagnostic import Diagnostic, Outcome, Place, Severity
from gslc.ir.estimate import Estimate, EstimateAsk
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import GpuKind
from gslc.ir.plan import DeviceMemory
from gslc.memory.vllm.architectures import known_architecture
from gslc.memory.vllm.cards import card_refusals
from gslc.memory.vllm.fit import Fit, fit
from gslc.memory.vllm.legality import layout_words, refusals
from gslc.memory.vllm.options import MEASURED_VERSION, devices_of, host_bytes, layout_decisions
from gslc.memory.vllm.review import PROBLEM_CODES, refusal_words, sizes_help, unreadable
from gslc.memory.vllm.table import disagreement
from gslc.memory.vllm.view import KV_TYPES, Keys, View, view_of

DEVICES = Place(file="--devices")


def estimate(facts: ModelFacts, ask: EstimateAsk) -> Outcome[Estimate]:
    """One model on given devices. A layout that vLLM refuses is an error; too little memory is `fits: false`."""
    version = (ask.engine_version or DEFAULT_VERSION).removeprefix("v")
    keys = Keys(
        context=ask.context,
        parallel=ask.parallel,
        tensor_parallel=ask.tensor_parallel,
        pipeline_parallel=ask.pipeline_parallel,
        utilization=ask.gpu_memory_utilization,
        kv_cache_type=ask.kv_cache_type,
    )
    view = view_of(facts, keys, ask.args, version)
    if view is None:
        problem = _error(
            "GS340",
            f"{facts.source}: {unreadable(facts)}",
            Place(file=facts.source),
            "choose a repository with safetensors weights",
        )
        return Outcome(value=None, diagnostics=(problem,))
    found = _problems(view, ask)
    layout = _layout(view, ask.devices)
    if layout is None:
        found = (*found, _devices(view, ask))
    if layout is None or any(item.severity == "error" for item in found):
        return Outcome(value=None, diagnostics=found)
    tensor, stages = layout
    against = _refused(view, ask.devices, tensor, stages)
    if against:
        return Outcome(value=None, diagnostics=(*found, *against))
    counted = counted_at(view, ask.devices[: tensor * stages], tensor, stages)
    return Outcome(
        value=_answer(view, ask, counted, version, facts.source),
        diagnostics=(*found, *_notes(view, counted, tensor, stages)),
    )


def counted_at(view: View, devices: tuple[GpuKind, ...], tensor: int, stages: int) -> Fit:
    """The layout at the view's context, or at the longest that fits where the context is left to vLLM."""
    counted = fit(view.facts, view.shape, devices, tensor, stages, view.wish())
    if view.context is not None:
        return counted
    longest = counted.longest(view.context_ceiling)
    return fit(view.facts, view.shape, devices, tensor, stages, view.wish(longest)) if longest else counted


def _error(code: str, message: str, place: Place, help_line: str | None, severity: Severity = "error") -> Diagnostic:
    return Diagnostic(code=code, severity=severity, message=message, place=place, help=help_line)


def _problems(view: View, ask: EstimateAsk) -> tuple[Diagnostic, ...]:
    found = [
        _error(
            PROBLEM_CODES[problem.kind],
            problem.message,
            Place(file="engine arguments", column=problem.index + 1),
            problem.help,
            "warning" if problem.kind == "uncertain" else "error",
        )
        for problem in view.problems
    ]
    if view.context is not None and view.context > view.context_ceiling:
        found.append(
            _error(
                "GS348",
                f"a context of {view.context} is more than the {view.context_ceiling} tokens that vLLM {view.version} "
                "derives for this model",
                Place(file="--context"),
                f"ask for {view.context_ceiling} or less",
            )
        )
    if ask.kv_cache_type is not None and ask.kv_cache_type not in KV_TYPES:
        wanted = ", ".join(sorted(KV_TYPES))
        found.append(
            _error(
                "GS358",
                f"vLLM has no KV cache type {ask.kv_cache_type}",
                Place(file="--kv-cache-type"),
                f"use one of {wanted}",
            )
        )
    if view.settings.expert_parallel and view.shape.experts is None:
        found.append(
            _error(
                "GS354",
                "--enable-expert-parallel, and the model has no experts",
                Place(file="engine arguments"),
                "remove it",
            )
        )
    return tuple(found)


def _layout(view: View, devices: tuple[GpuKind, ...]) -> tuple[int, int] | None:
    """(tensor parallel, pipeline parallel) on these devices; sizes that are not said follow from their number."""
    count = len(devices)
    stages = view.pipeline_parallel or (
        count // view.tensor_parallel if view.tensor_parallel and count % view.tensor_parallel == 0 else 1
    )
    if view.pipeline_parallel is None and view.tensor_parallel is not None:
        stages = 1
    tensor = view.tensor_parallel or (count // stages if stages <= count else 0)
    if not tensor or tensor * stages > count or len({_alike(kind) for kind in devices}) > 1:
        return None
    return tensor, stages


def _alike(kind: GpuKind) -> tuple[str, int, tuple[int, int] | None]:
    return kind.model, kind.memory_bytes, kind.compute_capability


def _devices(view: View, ask: EstimateAsk) -> Diagnostic:
    if not ask.devices:
        return _error(
            "GS362", "vLLM needs a GPU, and no device was given", DEVICES, "add `--devices 24GiB` or the name of a card"
        )
    if len({_alike(kind) for kind in ask.devices}) > 1:
        return _error(
            "GS361", "the devices of one vLLM instance must be alike, these differ", DEVICES, "give devices of one kind"
        )
    tensor, stages = view.tensor_parallel or 1, view.pipeline_parallel or 1
    return _error(
        "GS361",
        (
            f"tensor parallel {tensor} x pipeline parallel {stages} needs "
            f"{tensor * stages} devices, {len(ask.devices)} were given"
        ),
        DEVICES,
        f"give {tensor * stages} devices",
    )


def _refused(view: View, devices: tuple[GpuKind, ...], tensor: int, stages: int) -> tuple[Diagnostic, ...]:
    place = Place(file="--tensor-parallel") if view.tensor_parallel is not None else DEVICES
    against = refusals(view.shape, tensor, stages, view.terms)
    found = [_error("GS349", refusal_words(against), place, sizes_help(view, stages))] if against else []
    found += [
        _error("GS360", refusal.detail, DEVICES, "choose a newer card or another quantisation")
        for refusal in card_refusals(view.shape, devices[0], view.terms)
    ]
    return tuple(found)


def _answer(view: View, ask: EstimateAsk, counted: Fit, version: str, subject: str) -> Estimate:
    memory = devices_of(view, counted)
    unused = len(ask.devices) - len(memory)
    devices = (*memory, *(DeviceMemory() for _ in range(unused)))
    host = DeviceMemory(overhead=host_bytes(view, len(memory)))
    enough_host = ask.host_memory_bytes is None or host.total <= ask.host_memory_bytes
    longest: int | None = None
    if ask.max_context:
        # Counted anew at the ceiling: `auto` sizes its pool by the context.
        ceiling = fit(
            view.facts,
            view.shape,
            ask.devices[: len(memory)],
            counted.tensor_parallel,
            counted.pipeline_parallel,
            view.wish(view.context_ceiling),
        )
        longest = ceiling.longest(view.context_ceiling) or None
    words = layout_words(counted.tensor_parallel, counted.pipeline_parallel)
    return Estimate(
        backend="vllm",
        engine_version=version,
        layers=view.shape.layers,
        gpu_layers=None,
        devices=devices,
        host=host,
        fits=counted.starts and enough_host,
        max_context=longest,
        kv_bytes_per_token=counted.token_bytes,
        basis="measured" if version == MEASURED_VERSION else "derived",
        decisions=tuple(layout_decisions(view, counted, ask.devices[0], subject, words, ())),
        context=counted.context,
    )


def _notes(view: View, counted: Fit, tensor: int, stages: int) -> tuple[Diagnostic, ...]:
    found: list[Diagnostic] = []
    if counted.lowered_from is not None:
        outside = max(rank.outside for rank in counted.ranks)
        found.append(
            _error(
                "GS364",
                (
                    f"--gpu-memory-utilization is {utilization_words(counted.utilization)}: vLLM uses "
                    f"{outside:,} bytes of each card outside of its budget"
                ),
                DEVICES,
                None,
                "note",
            )
        )
    if counted.starts and view.parallel is not None and counted.blocks and counted.concurrency < view.parallel:
        found.append(
            _error(
                "GS357",
                (
                    f"the KV cache holds {counted.concurrency} requests of {counted.context} "
                    f"tokens at once, {view.parallel} were asked for"
                ),
                Place(file="--parallel"),
                "lower the context or the number of requests",
                "warning",
            )
        )
    for what, needed, available in counted.short_of:
        found.append(
            _error(
                "GS365",
                f"does not start: {what} needs {needed:,} bytes on a card, there are {available:,}",
                DEVICES,
                None,
                "note",
            )
        )
    difference = disagreement(view.facts, view.shape)
    if difference is not None:
        found.append(_error("GS363", difference, Place(file="config.json"), None, "warning"))
    name = view.shape.architecture
    if name and known_architecture(name, view.version) is None:
        unlisted = f"vLLM {view.version} does not list the architecture {name}"
        found.append(_error("GS351", unlisted, Place(file="config.json"), "ask for a release that lists it", "warning"))
    return tuple(found)
