"""A file of which only the size is known, under both GGUF engines: what stands in for its header."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.llama_requests import flux_facts, free, gguf_facts_of, gguf_request, options_on
from tests.support.vllm_models import GIB, RTX_4090, host_of

from gslc.backends.llama_box import LlamaBox
from gslc.backends.llama_cpp import LlamaCpp
from gslc.contracts import Backend
from gslc.ir.placement import Options, Request

HOST = host_of("atlas", RTX_4090, RTX_4090)
LLAMA = gguf_facts_of("llama3.1-8b-q4_k_m")
ENGINES = [(LlamaCpp(), "llama.cpp"), (LlamaBox(), "llama-box")]


def options(engine: Backend, request: Request, size: int) -> Options:
    return options_on(engine, replace(request, assumed_file_bytes=size), HOST)


def on_card(found: Options) -> int:
    """Bytes of weights on the one card of the first layout."""
    return found.fixed[0].parts[0].gpus[0].weights


@pytest.mark.parametrize(("engine", "name"), ENGINES)
def test_the_weights_of_a_whole_model_follow_the_file_and_nothing_else_does(engine: Backend, name: str) -> None:
    request = gguf_request(LLAMA, HOST, backend=name)
    known, small = options_on(engine, request, HOST), options(engine, request, 3 * GIB)
    assert on_card(small) <= 3 * GIB < on_card(known)
    one, other = known.fixed[0].parts[0].gpus[0], small.fixed[0].parts[0].gpus[0]
    assert (one.kv_cache, one.compute, one.overhead) == (other.kv_cache, other.compute, other.overhead)
    assert [choice.label for choice in known.fixed] == [choice.label for choice in small.fixed]
    assert [elastic.label for elastic in known.elastic] == [elastic.label for elastic in small.elastic]


@pytest.mark.parametrize(("engine", "name"), ENGINES)
def test_a_file_that_is_none_of_the_model_has_no_layout(engine: Backend, name: str) -> None:
    found = options(engine, gguf_request(LLAMA, HOST, backend=name), 1000)
    assert (found.fixed, found.elastic) == ((), ())
    assert [(one.rule, one.detail) for one in found.refused] == [
        ("file-size", "a file of 1,000 bytes is none of this model")
    ]


def test_layers_on_several_cards_are_counted_with_a_margin() -> None:
    found = options(LlamaCpp(), gguf_request(LLAMA, HOST), 3 * GIB)
    choice = found.elastic[0].fit((free(HOST),))
    assert choice is not None
    assert sum(card.weights for card in choice.parts[0].gpus) > on_card(found)


def test_the_same_layers_with_tensors_kept_on_the_host_are_counted_with_a_margin() -> None:
    mixtral = gguf_facts_of("mixtral-8x7b-q4_k_m")
    plain = gguf_request(mixtral, HOST)
    held = gguf_request(mixtral, HOST, args=("--n-cpu-moe", "1"))
    assert on_card(options(LlamaCpp(), held, 20 * GIB)) > on_card(options(LlamaCpp(), plain, 20 * GIB)) * 31 // 32


def test_a_picture_model_is_judged_by_its_file_too() -> None:
    request = gguf_request(flux_facts(), HOST, backend="llama-box")
    assert on_card(options(LlamaBox(), request, GIB // 4)) < on_card(options_on(LlamaBox(), request, HOST))
