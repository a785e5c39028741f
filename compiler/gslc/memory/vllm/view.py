"""A model as vLLM will be asked to serve it: keys and arguments brought together, mistakes located."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from gslc.engines.vllm_flags import Argument, ArgumentProblem, parse_arguments
from gslc.engines.vllm_ray import starts_hosts_with
from gslc.engines.vllm_settings import VllmSettings, read_settings
from gslc.ir.facts import Json, ModelFacts, SafetensorsFacts
from gslc.ir.record import dataclass
from gslc.memory.vllm.architectures import generates_embeddings_only
from gslc.memory.vllm.context import default_context, derived_max_tokens, names_length
from gslc.memory.vllm.fit import Wish
from gslc.memory.vllm.legality import Terms
from gslc.memory.vllm.plausible import implausible
from gslc.memory.vllm.shape import Shape, read_shape

KV_TYPES = {"f16": "auto", "bf16": "auto", "auto": "auto", "fp8": "fp8", "fp8_e4m3": "fp8_e4m3", "fp8_e5m2": "fp8_e5m2"}
RERANKER_ENDINGS = ("ForSequenceClassification",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The model keys that vLLM has a setting for; None: not said."""

    context: int | None = None
    parallel: int | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    utilization: int | Literal["auto"] | None = None
    kv_cache_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that layouts are counted from. A key wins over an argument: where they differ, review refuses them."""

    version: str
    facts: SafetensorsFacts
    shape: Shape
    arguments: tuple[Argument, ...]
    problems: tuple[ArgumentProblem, ...]
    settings: VllmSettings
    context: int | None  # None: as long as fits (--max-model-len auto)
    context_ceiling: int
    parallel: int | None
    tensor_parallel: int | None
    pipeline_parallel: int | None
    utilization: int | Literal["auto"] | None
    kv_cache_dtype: str
    runner: Literal["generate", "pooling"]
    convert: str | None
    long_context_allowed: bool
    partition: tuple[int, ...] | None = None  # layers of each pipeline stage; None: vLLM divides them evenly

    @property
    def terms(self) -> Terms:
        """What legality goes by."""
        return Terms(
            version=self.version,
            expert_parallel=self.settings.expert_parallel,
            vision_data_parallel=self.settings.vision_data_parallel,
            vision_off=self.settings.images_off or self.settings.language_only,
            dtype=self.settings.dtype or "auto",
            kv_cache_dtype=self.kv_cache_dtype,
            partition=self.partition,
        )

    @property
    def by_ray(self) -> bool:
        """Whether this release starts an instance over several hosts with Ray."""
        return starts_hosts_with(self.version, self.settings.executor) == "ray"

    def wish(self, context: int | None = None) -> Wish:
        """What the engine is asked for at a context (default: the view's own)."""
        asked = context or self.context or self.context_ceiling
        pooling = self.runner == "pooling"
        return Wish(
            context=asked,
            terms=self.terms,
            parallel=self.parallel,
            utilization=self.utilization,
            batched_tokens=self.settings.max_num_batched_tokens,
            block_tokens=self.settings.block_size,
            pool_bytes=self.settings.kv_cache_memory,
            eager=self.settings.eager,
            hybrid_cache=self.settings.hybrid_cache,
            pooling=pooling,
        )


def view_of(
    facts: ModelFacts,
    keys: Keys,
    args: tuple[str, ...],
    version: str,
    *,
    long_context_allowed: bool = False,
    partition: tuple[int, ...] | None = None,
) -> View | None:
    """The model as this release will see it; None where there is no config.json to go by."""
    files = facts.safetensors
    if files is None or not files.config or implausible(files.config) is not None:
        return None
    parsed = parse_arguments(args, version)
    read = read_settings(parsed.arguments)
    settings = read.settings
    problems = [*parsed.problems, *read.problems]
    if settings.hf_overrides is not None:
        changed = _overridden(files, settings.hf_overrides)
        wrong = implausible(changed.config)
        files = changed if wrong is None else files
        problems += [_bad_override(parsed.arguments, wrong)] if wrong is not None else []
    shape = read_shape(files)
    ceiling = derived_max_tokens(files, version)
    written = settings.max_model_len
    context = keys.context or (None if written == -1 else written or default_context(files, version))
    if context is not None and not names_length(files):
        ceiling = max(ceiling, context)
    runner, convert = _purpose(facts, shape, settings, version)
    return View(
        version=version,
        facts=files,
        shape=shape,
        arguments=parsed.arguments,
        problems=tuple(problems),
        settings=settings,
        context=context,
        context_ceiling=ceiling,
        parallel=keys.parallel or settings.max_num_seqs,
        tensor_parallel=keys.tensor_parallel or settings.tensor_parallel,
        pipeline_parallel=keys.pipeline_parallel or settings.pipeline_parallel,
        utilization=keys.utilization or settings.utilization,
        kv_cache_dtype=KV_TYPES.get(keys.kv_cache_type or "") or settings.kv_cache_dtype or "auto",
        runner=runner,
        convert=convert,
        long_context_allowed=long_context_allowed,
        partition=partition,
    )


def _overridden(files: SafetensorsFacts, text: str) -> SafetensorsFacts:
    """The facts with the values of --hf-overrides in place of config.json's; as they are where it is no object."""
    try:
        changes = json.loads(text)
    except (ValueError, RecursionError):
        return files
    return replace(files, config=_joined(files.config, changes)) if isinstance(changes, dict) else files


def _bad_override(arguments: tuple[Argument, ...], wrong: str) -> ArgumentProblem:
    """Values of --hf-overrides with which config.json would describe no model."""
    at = max(argument.index for argument in arguments if argument.flag == "--hf-overrides")
    message = f"with --hf-overrides config.json describes no model: {wrong}"
    return ArgumentProblem(kind="value", index=at, message=message, help="correct the value in --hf-overrides")


def _joined(config: Mapping[str, Json], changes: Mapping[str, object]) -> Mapping[str, Json]:
    """A configuration with other values; those of a configuration inside it are joined, as vLLM does."""
    found = dict(config)
    for key, value in changes.items():
        inner = found.get(key)
        if isinstance(value, dict) and isinstance(inner, Mapping) and key.endswith("_config"):
            found[key] = _joined(inner, value)
        else:
            found[key] = _frozen(value)
    return found


def _frozen(value: object) -> Json:
    """A JSON value as the lock holds it."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {str(key): _frozen(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool) else None


def _purpose(
    facts: ModelFacts, shape: Shape, settings: VllmSettings, version: str
) -> tuple[Literal["generate", "pooling"], str | None]:
    """Which runner serves the model, and what it has to be converted to.

    A bare MistralModel came out as a generator on 0.32, so pooling is always said; a class that pools by itself is
    not converted.
    """
    asked = settings.runner
    pooling = asked == "pooling" or (asked in {None, "auto"} and facts.kind in {"embedding", "reranker"})
    if settings.task in {"embed", "embedding", "score", "classify", "reward"}:
        pooling = True
    if not pooling:
        return "generate", None
    if settings.convert not in {None, "auto"}:
        return "pooling", settings.convert
    native = generates_embeddings_only(shape.architecture, version) or shape.architecture.endswith(RERANKER_ENDINGS)
    if native:
        return "pooling", None
    return "pooling", "classify" if facts.kind == "reranker" else "embed"


def needs_remote_code(facts: ModelFacts) -> bool:
    """Whether the repository brings code that vLLM would have to run."""
    files = facts.safetensors
    return bool(facts.code_files) and files is not None and "auto_map" in files.config
