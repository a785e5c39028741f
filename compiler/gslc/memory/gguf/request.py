"""A model's keys and arguments as engine settings, with everything that contradicts itself or the engine's rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from gslc.engines.llama_args import ArgProblem, ParsedArgs, overridden_length, parse_args
from gslc.engines.llama_profile import EngineProfile
from gslc.engines.llama_settings import KV_CACHE_TYPES, GpuLayers, LlamaSettings
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import Model
from gslc.ir.record import dataclass
from gslc.memory.gguf.runtime import AUTO_SLOTS
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.types import block_elements, is_quantized

T = TypeVar("T")

DEFAULT_CONTEXT = 8192  # contract section 2: min(8192, the model's maximum)
SLOTS_MOST = 256  # src/llama-cparams.h, LLAMA_MAX_SEQ: "n_seq_max must be <= 256"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProblem:
    """What is wrong with one of the model's keys."""

    code: str
    key: str
    message: str
    help: str | None = None
    severity: str = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The settings that the engine will be given, in full, and what is wrong with the request.

    context and parallel: tokens of one request, and how many at a time. layers_pinned: -ngl is the user's own.
    """

    settings: LlamaSettings
    parsed: ParsedArgs
    context: int
    parallel: int
    layers_pinned: bool
    problems: tuple[ArgProblem | KeyProblem, ...]


def resolve(
    model: Model, facts: ModelFacts, shape: ModelShape, profile: EngineProfile, *, whole_command: bool = False
) -> Resolved:
    """Keys and `args` joined: context, slots, cache types, layers, split, and the flags that the model's kind needs.

    whole_command: the arguments are a complete command line, in which addresses and files may stand too.
    """
    parsed = parse_args(model.args, profile, allow_owned=whole_command)
    given = parsed.settings
    problems: list[ArgProblem | KeyProblem] = list(parsed.problems)
    if "-np" in parsed.given and given.parallel is None and not _misread(parsed, "-np"):
        given = replace(given, parallel=AUTO_SLOTS, unified=True)  # server.cpp: "n_parallel is set to auto"
    parallel = _agreed(model.parallel, given.parallel, "parallel", "-np", parsed, problems) or 1
    length = _context(model, given, parallel, shape, parsed, problems)
    cache_type = model.kv_cache_type
    if cache_type is not None and cache_type not in KV_CACHE_TYPES:
        problems.append(
            KeyProblem(
                code="GS304",
                key="kv_cache_type",
                message=f"{profile.product} has no KV cache type {cache_type}",
                help=f"use one of {', '.join(KV_CACHE_TYPES)}",
            )
        )
        cache_type = None
    key_type = _agreed(cache_type, given.key_type, "kv_cache_type", "-ctk", parsed, problems) or "f16"
    value_type = _agreed(cache_type, given.value_type, "kv_cache_type", "-ctv", parsed, problems) or "f16"
    gpu_layers: GpuLayers | None = _agreed(model.gpu_layers, given.gpu_layers, "gpu_layers", "-ngl", parsed, problems)
    split = tuple(float(part) for part in model.tensor_split) if model.tensor_split is not None else None
    split = _agreed(split, given.tensor_split, "tensor_split", "-ts", parsed, problems)
    settings = replace(
        given,
        context_tokens=length.total,
        parallel=parallel,
        unified=bool(given.unified),
        key_type=key_type,
        value_type=value_type,
        gpu_layers=gpu_layers,
        tensor_split=split,
        embedding=given.embedding or facts.kind in ("embedding", "reranker"),
        rerank=given.rerank or facts.kind == "reranker",
        cache_ram_mib=given.cache_ram_mib or 0,
        flash=given.flash or ("auto" if profile.flash_takes_value else given.flash),
    )
    if facts.kind in ("embedding", "reranker"):
        settings = _whole_request_batches(settings, parsed, length.request)
    problems.extend(_engine_rules(settings, shape, parsed, profile))
    pinned = isinstance(gpu_layers, int)
    return Resolved(
        settings=settings,
        parsed=parsed,
        context=length.request,
        parallel=parallel,
        layers_pinned=pinned,
        problems=tuple(problems),
    )


def _whole_request_batches(settings: LlamaSettings, parsed: ParsedArgs, context: int) -> LlamaSettings:
    """A request that is embedded must fit one ubatch (server.cpp: n_batch is cut to n_ubatch; llama.cpp 12836)."""
    ubatch = settings.ubatch if "-ub" in parsed.given else max(settings.ubatch, context)
    batch = settings.batch if "-b" in parsed.given else max(ubatch, context)
    return replace(settings, ubatch=min(ubatch, batch), batch=batch)


def _agreed(
    key_value: T | None,
    arg_value: T | None,
    key: str,
    flag: str,
    parsed: ParsedArgs,
    problems: list[ArgProblem | KeyProblem],
) -> T | None:
    """The value of a setting that may be given as a key and in `args`; two different values are an error."""
    if flag not in parsed.given or _misread(parsed, flag):
        return key_value
    if key_value is not None and key_value != arg_value:
        written = [one for one in parsed.flags if one.setting == flag][-1]
        problems.append(
            ArgProblem(
                code="GS306",
                index=written.index,
                message=f"{' '.join((written.spelling, *written.values))} contradicts the key {key}: "
                f"{_words(key_value)}",
                help=f"keep the key {key} and remove {written.spelling} from args",
            )
        )
    return arg_value


def _misread(parsed: ParsedArgs, setting: str) -> bool:
    """Whether a value of the setting was refused."""
    refused = {problem.index for problem in parsed.problems if problem.severity == "error"}
    return any(flag.index in refused for flag in parsed.flags if flag.setting == setting)


def _words(value: object) -> str:
    return ",".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Length:
    """Tokens of one request, and of all slots together as the engine is told (-c)."""

    request: int
    total: int


def _context(
    model: Model,
    given: LlamaSettings,
    parallel: int,
    shape: ModelShape,
    parsed: ParsedArgs,
    problems: list[ArgProblem | KeyProblem],
) -> _Length:
    """The key `context`, or the engine's total of -c shared among the slots; -c 0 is what the model was trained for."""
    trained = overridden_length(parsed) or shape.integer("context_length")
    if "-c" in parsed.given and given.context_tokens is not None:
        total = given.context_tokens or trained
        said = f"-c {given.context_tokens}" + ("" if given.context_tokens else f" (the model's own {trained})")
        if not total:
            problems.append(_untold(parsed))
        elif model.context is not None and model.context * parallel != total:
            problems.append(
                ArgProblem(
                    code="GS306",
                    index=parsed.index_of("-c") or 0,
                    message=f"{said} is the total; the keys say {model.context} x {parallel} = "
                    f"{model.context * parallel}",
                    help="keep the key context and remove -c from args",
                )
            )
        total = total or DEFAULT_CONTEXT
        return _Length(request=max(1, total // parallel), total=total)
    context = model.context
    if context is None:
        context = min(DEFAULT_CONTEXT, trained) if trained else DEFAULT_CONTEXT
    elif trained and context > trained:
        problems.append(
            KeyProblem(
                code="GS314",
                key="context",
                severity="warning",
                message=f"context {context} is longer than the {trained} tokens the model was trained for",
                # server-context.cpp caps each slot at the length that the header, or --override-kv, says
                help=f"set context: {trained} or less, or raise the length: [--override-kv, "
                f"'{shape.arch}.context_length=int:{context}'] in args",
            )
        )
    return _Length(request=context, total=context * parallel)


def _untold(parsed: ParsedArgs) -> ArgProblem:
    """-c 0 for a file that does not name the length it was trained for."""
    return ArgProblem(
        code="GS304",
        index=parsed.index_of("-c") or 0,
        message="-c 0 is the context that the model was trained for, and its file names none",
        help="give -c a number of tokens",
    )


def _engine_rules(
    settings: LlamaSettings, shape: ModelShape, parsed: ParsedArgs, profile: EngineProfile
) -> list[ArgProblem | KeyProblem]:
    """What the engine refuses at start, whatever the devices are."""
    found: list[ArgProblem | KeyProblem] = []
    flash = settings.flash or ("auto" if profile.flash_default else "off")
    if settings.parallel is not None and settings.parallel > SLOTS_MOST:
        found.append(
            _where(
                parsed,
                ("-np",),
                "parallel",
                "GS304",
                f"{profile.product} serves at most {SLOTS_MOST} requests at a time, not {settings.parallel}",
                f"set parallel to {SLOTS_MOST} at most, and replicas for the rest",
            )
        )
    if is_quantized(settings.value_type) and flash == "off":
        found.append(
            _where(
                parsed,
                ("-ctv", "-fa"),
                "kv_cache_type",
                "GS308",
                f"a V cache of type {settings.value_type} needs flash attention, which is off",
                f"add {'-fa on' if profile.flash_takes_value else '-fa'} to args",
            )
        )
    if shape.blocks:
        for flag, kind, type_name in (("-ctk", "key", settings.key_type), ("-ctv", "value", settings.value_type)):
            width = _misfit(shape, kind, type_name)
            if width:
                found.append(
                    _where(
                        parsed,
                        (flag,),
                        "kv_cache_type",
                        "GS309",
                        f"{flag} {type_name}: its blocks of {block_elements(type_name)} do not divide the {kind} head "
                        f"of {width}",
                        "use f16 or q8_0" if width % 32 == 0 else "use f16",
                    )
                )
    if settings.split_mode in ("row", "tensor"):
        found.append(
            _where(
                parsed,
                ("-sm",),
                "args",
                "GS317",
                f"-sm {settings.split_mode} is not planned: the engine's memory then follows other rules",
                "use -sm layer, or state the measured memory with the key requirements",
            )
        )
    layers = shape.blocks + 1
    if shape.blocks and isinstance(settings.gpu_layers, int) and settings.gpu_layers > layers:
        said = "-ngl" if "-ngl" in parsed.given else "gpu_layers"
        many = _where(
            parsed,
            ("-ngl",),
            "gpu_layers",
            "GS315",
            f"{said} {settings.gpu_layers} means all {layers} layers, the output layer counted: the model has no more",
            f"write {layers} to say the same",
        )
        found.append(replace(many, severity="note"))
    return found


def _misfit(shape: ModelShape, kind: str, type_name: str) -> int:
    """The head width that the type's blocks do not divide, 0 where all do (llama_context: n_embd_head % blck_size)."""
    step = block_elements(type_name)
    for block in range(shape.blocks):
        if shape.attends[block]:
            width = shape.key_head(block) if kind == "key" else shape.value_head(block)
            if width % step:
                return width
    return 0


def _where(
    parsed: ParsedArgs, flags: tuple[str, ...], key: str, code: str, message: str, advice: str
) -> ArgProblem | KeyProblem:
    """A problem at the argument that was given, else at the key."""
    index = parsed.index_of(*flags)
    if index is not None:
        return ArgProblem(code=code, index=index, message=message, help=advice)
    return KeyProblem(code=code, key=key, message=message, help=advice)
