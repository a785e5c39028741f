"""What is wrong with a model's own settings for vLLM, wherever it may run."""

from __future__ import annotations

from collections.abc import Iterator

from gslc.engines.vllm_command import ENDING, KEYED, OWNED, SECURED, SILENT, utilization_words
from gslc.engines.vllm_flags import Argument
from gslc.engines.vllm_ray import EXECUTOR_FLAG
from gslc.ir.diagnostic import Diagnostic, Excluded, Severity
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import Host, Model
from gslc.ir.placement import Request
from gslc.memory.vllm.architectures import known_architecture
from gslc.memory.vllm.legality import refusals
from gslc.memory.vllm.partition import review_partition
from gslc.memory.vllm.plausible import implausible
from gslc.memory.vllm.spanning import review_executor, review_spanning
from gslc.memory.vllm.view import KV_TYPES, Keys, View, needs_remote_code, view_of

LONG_CONTEXT = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
MOST_SIZES = 16
PROBLEM_CODES = {
    "unknown": "GS341",
    "removed": "GS342",
    "later": "GS343",
    "value": "GS344",
    "positional": "GS344",
    "uncertain": "GS345",
}
GGUF_KEYS = ("gpu_layers", "tensor_split", "mmproj")
UNCOUNTED = {
    "--enable-lora": "adapters",
    "--cpu-offload-gb": "weights kept on the host",
    "--speculative-config": "a draft model",
    "--kv-transfer-config": "a KV connector",
}


def keys_of(model: Model) -> Keys:
    """The model keys that vLLM has a setting for."""
    return Keys(
        context=model.context,
        parallel=model.parallel,
        tensor_parallel=model.tensor_parallel,
        pipeline_parallel=model.pipeline_parallel,
        utilization=model.gpu_memory_utilization,
        kv_cache_type=model.kv_cache_type,
    )


def review_model(request: Request, version: str, hosts: tuple[Host, ...]) -> tuple[Diagnostic, ...]:
    """All mistakes of the model's entry for one release; `hosts` are those that have it and may run the model."""
    model, facts = request.model, request.facts
    if facts is None:
        return ()
    view = view_of(
        facts,
        keys_of(model),
        model.args,
        version,
        long_context_allowed=(LONG_CONTEXT, "1") in model.env,
    )
    if view is None:
        return (_not_servable(request),)
    return (
        *_argument_problems(request, view),
        *_owned(request, view),
        *_clashes(request, view),
        *_context(request, view),
        *_layout(request, view),
        *review_partition(request, view.shape.layers, _stages(request, view)),
        *review_spanning(request, view, hosts),
        *_keys(request),
        *_doubts(request, view),
    )


def _say(
    request: Request,
    code: str,
    message: str,
    path: tuple[str | int, ...],
    help_line: str | None,
    severity: Severity = "error",
) -> Diagnostic:
    place = request.cluster.places.at("models", request.model.name, *path)
    return Diagnostic(
        code=code, severity=severity, message=f"model {request.model.name}: {message}", place=place, help=help_line
    )


def _not_servable(request: Request) -> Diagnostic:
    facts = request.facts
    gguf = facts is not None and facts.gguf is not None
    what = "vLLM does not serve GGUF files" if gguf else unreadable(facts)
    return _say(
        request,
        "GS340",
        what,
        ("backend",) if request.model.backend is not None else ("source",),
        "remove `backend: vllm`" if gguf else "choose a repository with safetensors weights",
    )


def unreadable(facts: ModelFacts | None) -> str:
    """Why there is nothing to count: no config.json, or one that describes no model."""
    config = facts.safetensors.config if facts is not None and facts.safetensors is not None else None
    wrong = implausible(config) if config else None
    return (
        f"config.json describes no model: {wrong}"
        if wrong
        else "vLLM needs a config.json, and the pinned files have none"
    )


def _argument_problems(request: Request, view: View) -> Iterator[Diagnostic]:
    for problem in view.problems:
        yield _say(
            request,
            PROBLEM_CODES[problem.kind],
            problem.message,
            ("args", problem.index),
            problem.help,
            "warning" if problem.kind == "uncertain" else "error",
        )


def _owned(request: Request, view: View) -> Iterator[Diagnostic]:
    for argument in view.arguments:
        if argument.flag == EXECUTOR_FLAG:
            wrong = review_executor(request, view, argument)
            if wrong is not None:
                yield wrong
        elif argument.flag in OWNED:
            key = OWNED[argument.flag]
            help_line = f"remove {argument.written.partition('=')[0]}" + (f"; {key} decides it" if key else "")
            yield _say(request, "GS347", f"{argument.flag} is set by gslc", ("args", argument.index), help_line)
        elif argument.flag in SECURED:
            message = (
                f"with {argument.flag} vLLM answers https, and its health is asked for by http: it would never be ready"
            )
            help_line = f"remove {argument.flag}, and terminate TLS in a proxy in front of it"
            yield _say(request, "GS347", message, ("args", argument.index), help_line)
        elif argument.flag in SILENT and not argument.off and not _is_positive(argument.value):
            written = " ".join((argument.flag, argument.value or "")).rstrip()
            message = (
                f"with {written} vLLM does not answer http, by which its health is asked for: it would never be ready"
            )
            help_line = f"remove {argument.written.partition('=')[0]}"
            yield _say(request, "GS347", message, ("args", argument.index), help_line)
        elif argument.flag in ENDING:
            message = f"with {argument.flag} vLLM prints and ends: nothing would be served"
            yield _say(request, "GS347", message, ("args", argument.index), f"remove {argument.flag}")
        elif argument.flag.startswith("--data-parallel"):
            yield _say(
                request,
                "GS359",
                f"{argument.flag}: every replica is placed as an instance of its own",
                ("args", argument.index),
                "use `replicas`",
            )


def _is_positive(value: str | None) -> bool:
    """Whether a value is a number above 0."""
    return value is not None and value.isascii() and value.isdigit() and int(value[:9]) > 0


def _clashes(request: Request, view: View) -> Iterator[Diagnostic]:
    model, settings = request.model, view.settings
    said: dict[str, tuple[str, str]] = {}
    pairs: tuple[tuple[str, object, object], ...] = (
        ("--max-model-len", model.context, settings.max_model_len),
        ("--max-num-seqs", model.parallel, settings.max_num_seqs),
        ("--tensor-parallel-size", model.tensor_parallel, settings.tensor_parallel),
        ("--pipeline-parallel-size", model.pipeline_parallel, settings.pipeline_parallel),
        ("--gpu-memory-utilization", model.gpu_memory_utilization, settings.utilization),
        ("--kv-cache-dtype", KV_TYPES.get(model.kv_cache_type or ""), settings.kv_cache_dtype),
        ("--served-model-name", model.served_name, settings.served_model_name),
    )
    for flag, key_value, arg_value in pairs:
        if key_value is not None and arg_value is not None and key_value != arg_value:
            share = flag == "--gpu-memory-utilization"
            shown = [
                utilization_words(value) if share and isinstance(value, int) else str(value)
                for value in (key_value, arg_value)
            ]
            said[flag] = (shown[0], shown[1])
    for argument in view.arguments:
        if argument.flag in said:
            ours, theirs = said.pop(argument.flag)
            yield _say(
                request,
                "GS346",
                f"`{KEYED[argument.flag]}` is {ours}, {argument.flag} in `args` is {theirs}",
                ("args", argument.index),
                f"keep `{KEYED[argument.flag]}` and remove {argument.flag}",
            )
    if (
        settings.served_model_name is not None
        and model.served_name is None
        and settings.served_model_name != model.name
    ):
        named = _argument(view, "--served-model-name")
        yield _say(
            request,
            "GS347",
            f"--served-model-name {settings.served_model_name} in `args`: the name comes from `served_name`",
            ("args", named.index if named else 0),
            f"write `served_name: {name}` instead"
            if (name := next(iter(settings.served_model_name.split()), "")) and name.isascii()
            else "remove it, and give `served_name` a name in ASCII",
        )


def _argument(view: View, flag: str) -> Argument | None:
    return next((argument for argument in reversed(view.arguments) if argument.flag == flag), None)


def _path(request: Request, view: View, key: str, flag: str) -> tuple[str | int, ...]:
    """The key where it is written, else the argument that says the same."""
    argument = _argument(view, flag)
    if getattr(request.model, key) is None and argument is not None:
        return ("args", argument.index)
    return (key,)


def _context_help(request: Request, view: View) -> str:
    """How to ask for the longest context: by the key, or by the argument where that alone says it."""
    argued = request.model.context is None and _argument(view, "--max-model-len") is not None
    most = view.context_ceiling
    return f"set --max-model-len in `args` to {most} or less" if argued else f"set `context: {most}` or less"


def _context(request: Request, view: View) -> Iterator[Diagnostic]:
    asked, most = view.context, view.context_ceiling
    if asked is not None and asked > most and not view.long_context_allowed:
        yield _say(
            request,
            "GS348",
            f"a context of {asked} is more than the {most} tokens that vLLM {view.version} derives for this model",
            _path(request, view, "context", "--max-model-len"),
            _context_help(request, view),
        )
    tokens, sequences = view.settings.max_num_batched_tokens, view.parallel
    if tokens is not None and sequences is not None and tokens < sequences:
        yield _say(
            request,
            "GS356",
            f"max_num_batched_tokens is {tokens}, below the {sequences} sequences of `parallel`",
            _path(request, view, "parallel", "--max-num-batched-tokens"),
            f"raise --max-num-batched-tokens to at least {sequences}",
        )
    kind = request.model.kv_cache_type
    if kind is not None and kind not in KV_TYPES:
        yield _say(
            request,
            "GS358",
            f"vLLM has no KV cache type {kind}",
            ("kv_cache_type",),
            f"use one of {', '.join(sorted(KV_TYPES))}",
        )


def _stages(request: Request, view: View) -> int | None:
    """The number of pipeline stages, None where the placement decides it."""
    decided = request.model.distributed or request.model.requirements
    return view.pipeline_parallel or (None if decided else 1)


def _layout(request: Request, view: View) -> Iterator[Diagnostic]:
    stages = view.pipeline_parallel or 1
    size = view.tensor_parallel
    if size is not None and size > 0:
        against = refusals(view.shape, size, stages, view.terms)
        path = _path(request, view, "tensor_parallel", "--tensor-parallel-size")
    else:
        against = refusals(view.shape, 1, stages, view.terms) if stages > 1 else ()
        path = _path(request, view, "pipeline_parallel", "--pipeline-parallel-size")
    if against:
        yield _say(request, "GS349", refusal_words(against), path, sizes_help(view, stages))
    if view.settings.expert_parallel and view.shape.experts is None:
        argument = _argument(view, "--enable-expert-parallel")
        yield _say(
            request,
            "GS354",
            "--enable-expert-parallel, and the model has no experts",
            ("args", argument.index if argument else 0),
            "remove it",
        )


def legal_sizes(view: View, stages: int = 1) -> tuple[int, ...]:
    """Tensor-parallel sizes up to 16 that break no rule."""
    return tuple(size for size in range(1, MOST_SIZES + 1) if not refusals(view.shape, size, stages, view.terms))


def refusal_words(against: tuple[Excluded, ...]) -> str:
    """All broken rules of one layout in one sentence, in the order in which vLLM meets them."""
    return "; ".join(dict.fromkeys(refusal.detail for refusal in against))


def sizes_help(view: View, stages: int) -> str:
    """One line that names the sizes that would work."""
    sizes = legal_sizes(view, stages)
    if sizes:
        return f"use tensor parallel {', '.join(str(size) for size in sizes)}"
    return "remove `pipeline_parallel`" if stages > 1 else "no size up to 16 is legal for this model"


def _keys(request: Request) -> Iterator[Diagnostic]:
    model = request.model
    for key in GGUF_KEYS:
        if getattr(model, key) is not None:
            yield _say(request, "GS350", f"`{key}` has no meaning for vLLM", (key,), f"remove `{key}`")
    if model.cpu_offload:
        yield _say(
            request,
            "GS350",
            "`cpu_offload` has no effect on vLLM: weights stay on the GPUs",
            ("cpu_offload",),
            "remove `cpu_offload`",
            "warning",
        )


def _doubts(request: Request, view: View) -> Iterator[Diagnostic]:
    name, facts = view.shape.architecture, request.facts
    listed = known_architecture(name, view.version) is not None
    if name and not listed:
        yield _say(
            request,
            "GS351",
            f"vLLM {view.version} does not list the architecture {name}",
            ("source",),
            "pin a release that lists it in `engines`, or state `requirements` after a trial",
            "warning",
        )
    trusted = _argument(view, "--trust-remote-code") is not None
    if facts is not None and not listed and needs_remote_code(facts) and not trusted:
        yield _say(
            request,
            "GS353",
            "the repository brings model code of its own",
            ("source",),
            "add --trust-remote-code to `args`",
            "warning",
        )
    for argument in view.arguments:
        if argument.flag in UNCOUNTED and not argument.off:
            yield _say(
                request,
                "GS352",
                f"the memory of {UNCOUNTED[argument.flag]} ({argument.flag}) is not counted",
                ("args", argument.index),
                "lower `gpu_memory_utilization` or state `requirements`",
                "warning",
            )
