"""The ways to lay out a file of which only the size is known: the question "what if" about another quantisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gslc.engines.llama_settings import LlamaSettings
from gslc.ir.diagnostic import Excluded
from gslc.ir.placement import Choice, Options, Request
from gslc.memory.gguf.resized import Spread, resized


def options_by_size(request: Request, settings: LlamaSettings, options_of: Callable[[Request], Options]) -> Options:
    """The options for the file size that the request assumes, from facts that are scaled to it.

    A layout that keeps all layers together is bound by the size of the file; every other one is taken from facts that
    hold for any part of the model.
    """
    together, apart = _scaled(request, "together"), _scaled(request, "apart")
    if together is None or apart is None:
        detail = f"a file of {request.assumed_file_bytes or 0:,} bytes is none of this model"
        return Options(refused=(Excluded(what="another quantisation", rule="file-size", detail=detail),))
    divided = bool(settings.overrides or settings.cpu_moe_layers or settings.cpu_ffn_layers)
    whole, parts = options_of(together), options_of(apart)
    fixed = tuple(
        one if _is_whole(one) and not divided else other for one, other in zip(whole.fixed, parts.fixed, strict=True)
    )
    return replace(parts, fixed=fixed)


def _scaled(request: Request, spread: Spread) -> Request | None:
    facts = request.facts
    if facts is None or facts.gguf is None or request.assumed_file_bytes is None:
        return None
    gguf = resized(facts.gguf, request.assumed_file_bytes, spread)
    return None if gguf is None else replace(request, facts=replace(facts, gguf=gguf), assumed_file_bytes=None)


def _is_whole(choice: Choice) -> bool:
    """True where all layers lie on one device, or all in host memory."""
    return choice.layout.gpu_layers in (None, 0, choice.layout.layers)
