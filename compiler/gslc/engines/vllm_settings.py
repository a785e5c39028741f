"""What a vLLM command line says about memory and layout, as typed values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from math import ceil

from gslc.engines.vllm_flags import Argument, ArgumentProblem
from gslc.ir.record import dataclass

DECIMAL_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
THOUSANDTHS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmSettings:
    """Settings that change memory, layout or what the engine does. None: not said."""

    max_model_len: int | None = None  # -1: as long as fits
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    data_parallel: int | None = None
    utilization: int | None = None  # thousandths, rounded up
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_cache_dtype: str | None = None
    dtype: str | None = None
    eager: bool = False
    quantization: str | None = None
    expert_parallel: bool = False
    kv_cache_memory: int | None = None
    hybrid_cache: bool = True
    block_size: int | None = None
    speculative: bool = False
    images_off: bool = False
    language_only: bool = False
    vision_data_parallel: bool = False
    runner: str | None = None
    convert: str | None = None
    task: str | None = None
    cpu_offload: bool = False
    loras: bool = False
    load_format: str | None = None
    served_model_name: str | None = None
    hf_overrides: str | None = None
    executor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSettings:
    """The settings and the values among them that vLLM would not accept."""

    settings: VllmSettings
    problems: tuple[ArgumentProblem, ...] = ()


def human_integer(text: str) -> int | None:
    """8k is 8000, 8K is 8192, 25.6k is 25600, plain digits are themselves; None for anything else.

    vLLM's human_readable_int: decimal parts only with decimal units.
    """
    match = re.fullmatch(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)([kKmMgGtT]?)", text.strip())
    if match is None:
        return None
    number, unit = match.groups()
    if unit in BINARY_UNITS:
        return int(number) * BINARY_UNITS[unit] if "." not in number else None
    if unit:
        return int(Decimal(number) * DECIMAL_UNITS[unit])
    return int(number) if "." not in number else None


def thousandths(text: str) -> int | None:
    """A utilisation as thousandths, rounded up; None where it is not in (0, 1]."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or not 0 < value <= 1:
        return None
    return ceil(value * THOUSANDTHS)


def read_settings(arguments: tuple[Argument, ...]) -> ReadSettings:
    """The typed reading of a command line; a later argument wins."""
    settings = VllmSettings()
    problems: list[ArgumentProblem] = []
    for argument in arguments:
        outcome = _unreadable(argument) or _apply(settings, argument)
        if isinstance(outcome, ArgumentProblem):
            problems.append(outcome)
        else:
            settings = outcome
    return ReadSettings(settings=settings, problems=tuple(problems))


_INTEGERS = {
    "--tensor-parallel-size": "tensor_parallel",
    "--pipeline-parallel-size": "pipeline_parallel",
    "--data-parallel-size": "data_parallel",
    "--max-num-seqs": "max_num_seqs",
    "--max-num-batched-tokens": "max_num_batched_tokens",
    "--block-size": "block_size",
    "--kv-cache-memory-bytes": "kv_cache_memory",
}
_WORDS = {
    "--kv-cache-dtype": "kv_cache_dtype",
    "--dtype": "dtype",
    "--quantization": "quantization",
    "--runner": "runner",
    "--convert": "convert",
    "--task": "task",
    "--load-format": "load_format",
    "--served-model-name": "served_model_name",
    "--hf-overrides": "hf_overrides",
    "--distributed-executor-backend": "executor",
}
_SWITCHES = {
    "--enforce-eager": "eager",
    "--enable-expert-parallel": "expert_parallel",
    "--language-model-only": "language_only",
    "--enable-lora": "loras",
}
_HUMAN = frozenset({"--max-num-batched-tokens", "--kv-cache-memory-bytes"})


# Words of which a release takes some and no release others. --kv-cache-dtype: of 0.7.3 to 0.32.0.
_CHOICES = {
    "--dtype": ("auto", "half", "float16", "bfloat16", "float", "float32"),
    "--runner": ("auto", "generate", "pooling", "draft"),
    "--convert": ("auto", "none", "embed", "classify", "reward"),
    "--kv-cache-dtype": (
        "auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla", "fp8_per_token_head",
        "int8_per_token_head", "int4_per_token_head", "nvfp4", "nvfp4_4over6", "nvfp4_ds_mla", "turboquant_3bit_nc",
        "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_k8v4", "ultraquant_4bit",
    ),
}  # fmt: skip
# Flags whose value is read as JSON where it looks like an object or a list.
_JSON = frozenset({
    "--hf-overrides", "--override-generation-config", "--compilation-config", "--speculative-config", "--pooler-config",
    "--kv-transfer-config", "--additional-config", "--model-loader-extra-config", "--mm-processor-kwargs",
    "--media-io-kwargs", "--limit-mm-per-prompt", "--default-chat-template-kwargs", "--attention-config",
    "--structured-outputs-config", "--allowed-origins", "--allowed-methods", "--allowed-headers", "--rope-scaling",
})  # fmt: skip


def _unreadable(argument: Argument) -> ArgumentProblem | None:
    """What vLLM would refuse about a word of a list, or about JSON."""
    words, value = _CHOICES.get(argument.flag), argument.value
    if value is None:
        return None
    if words is not None and value not in words:
        return _bad(argument, f"one of {', '.join(words)}")
    if argument.flag in _JSON and value.lstrip()[:1] in ("{", "["):
        try:
            json.loads(value)
        except (ValueError, RecursionError) as error:
            return _bad(argument, f"JSON ({error})")
    return None


def _apply(settings: VllmSettings, argument: Argument) -> VllmSettings | ArgumentProblem:
    flag, value = argument.flag, argument.value
    if flag in _SWITCHES:
        return _set(settings, _SWITCHES[flag], not argument.off)
    if flag == "--disable-hybrid-kv-cache-manager":
        return replace(settings, hybrid_cache=argument.off)
    if flag == "--speculative-config":
        return replace(settings, speculative=True)
    if flag == "--limit-mm-per-prompt":
        return replace(settings, images_off=no_images(value or ""))
    if flag == "--mm-encoder-tp-mode":
        return replace(settings, vision_data_parallel=value == "data")
    if flag == "--cpu-offload-gb":
        return replace(settings, cpu_offload=value not in {"0", "0.0", None})
    if value is None:
        return settings
    if flag in _WORDS:
        return _set(settings, _WORDS[flag], value)
    if flag in _INTEGERS:
        number = human_integer(value) if flag in _HUMAN else _plain(value)
        return _set(settings, _INTEGERS[flag], number) if number else _bad(argument, "a whole number above 0")
    if flag == "--max-model-len":
        length = -1 if value in {"-1", "auto"} else human_integer(value)
        return (
            replace(settings, max_model_len=length)
            if length
            else _bad(argument, "a number of tokens such as 8192, 8k or 8K")
        )
    if flag == "--gpu-memory-utilization":
        share = thousandths(value)
        return replace(settings, utilization=share) if share else _bad(argument, "a number above 0 and at most 1")
    return settings


def _set(settings: VllmSettings, field: str, value: str | int | bool | None) -> VllmSettings:
    """`replace` with a field name that comes from a table."""
    if field not in {item.name for item in fields(settings)}:
        raise KeyError(field)
    changes: dict[str, str | int | bool | None] = {field: value}
    return replace(settings, **changes)  # type: ignore[arg-type]  # the tables above pair each field with its type


def _plain(value: str) -> int | None:
    return int(value) if re.fullmatch(r"[0-9]{1,30}", value) else None


def _bad(argument: Argument, wanted: str) -> ArgumentProblem:
    return ArgumentProblem(
        kind="value",
        index=argument.index,
        message=f"{argument.flag} is `{argument.value}`, vLLM wants {wanted}",
        help=f"give {argument.flag} {wanted}",
    )


def no_images(text: str) -> bool:
    """Whether a --limit-mm-per-prompt value allows no image and no video."""
    try:
        limits = json.loads(text)
    except ValueError:
        limits = {key: value for key, _, value in (part.partition("=") for part in text.split(","))}
    if not isinstance(limits, Mapping):
        return False
    return str(limits.get("image", "1")) == "0" and str(limits.get("video", "0")) == "0"
