"""VLLM_PP_LAYER_PARTITION: how many layers each pipeline stage holds, where the user says it.

vLLM takes it in every release that was looked at (distributed/utils.py, get_pp_indices), on one GPU too, and refuses a
list whose length is not the number of stages or whose sum is not the number of layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gslc.ir.diagnostic import Diagnostic
from gslc.ir.inputs import SecretRef
from gslc.ir.placement import Request

VARIABLE = "VLLM_PP_LAYER_PARTITION"
_LIST = re.compile(r"\d{1,6}(?:,\d{1,6})*")


def partition_of(env: tuple[tuple[str, str | SecretRef], ...]) -> tuple[int, ...] | None:
    """The layers of each stage; None where nothing is said, or nothing that can be read."""
    text = dict(env).get(VARIABLE)
    if not isinstance(text, str) or _LIST.fullmatch(text) is None:
        return None
    counts = tuple(int(part) for part in text.split(","))
    return counts if min(counts) > 0 else None


def review_partition(request: Request, layers: int, stages: int | None) -> Iterator[Diagnostic]:
    """What vLLM would refuse about the list; stages: how many there will be, None where the placement decides."""
    model = request.model
    text = dict(model.env).get(VARIABLE)
    if text is None:
        return
    counts = partition_of(model.env)
    said = text if isinstance(text, str) else "a secret"
    if counts is None:
        message, remedy = "vLLM wants the number of layers of each stage, as 40,40", f"write {VARIABLE}: '40,40'"
    elif sum(counts) != layers:
        message = f"its sum is {sum(counts)}, the model has {layers} layers"
        remedy = f"write one number a pipeline stage, {layers} together"
    elif stages is not None and len(counts) != stages:
        message = f"it is for {len(counts)} pipeline stage{'s' if len(counts) > 1 else ''}, there is {stages}"
        message = message.replace("there is", "there are") if stages > 1 else message
        remedy = f"set pipeline_parallel to {len(counts)}, or remove {VARIABLE}"
    else:
        return
    yield Diagnostic(
        code="GS349",
        message=f"model {model.name}: {VARIABLE} is {said}: {message}",
        place=request.cluster.places.at("models", model.name, "env", VARIABLE),
        help=remedy,
    )
