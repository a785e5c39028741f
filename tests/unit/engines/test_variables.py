"""The variables that an engine's start decides, and those that stay the user's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clusters import SMALLEST, cluster_of

from gslc.engines.variables import own_variable, review_variables
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.placement import Request


def said(keys: str, backend: str = "vllm") -> list[Diagnostic]:
    cluster = cluster_of(f"{SMALLEST}models: {{q: {{source: 'hf://o/r', {keys}}}}}\n")
    request = Request(model=cluster.models[0], facts=None, backend="vllm", selector={}, cluster=cluster)
    return list(review_variables(replace(request, backend=backend)))  # type: ignore[arg-type]  # a backend's name


@pytest.mark.parametrize(
    "name",
    [
        "VLLM_HOST_IP",
        "VLLM_PORT",
        "VLLM_DP_RANK",
        "VLLM_DP_MASTER_PORT",
        "RAY_ADDRESS",
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "MASTER_ADDR",
        "VLLM_RAY_PER_WORKER_GPUS",
        "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES",
    ],
)
def test_what_a_start_of_vllm_decides_is_refused_at_its_place_with_the_reason(name: str) -> None:
    (found,) = said(f"env: {{A: b, {name}: '1'}}")
    own = own_variable("vllm", name)
    assert own is not None
    assert (found.code, found.help) == ("GS161", own.remedy)
    assert found.message == f"model q: env holds {name}, and {own.why}"
    assert found.place.line == len(SMALLEST.splitlines()) + 1
    assert found.place.column > 40  # the variable, not the model
    assert said(f"env: {{{name}: '1'}}", "llama.cpp") == []


@pytest.mark.parametrize("name", ["AIP_MODE", "AIP_HTTP_PORT"])
def test_variables_that_move_llama_server_to_another_port_are_refused(name: str) -> None:
    (found,) = said(f"env: {{{name}: PREDICTION}}", "llama.cpp")
    assert (found.code, found.help) == ("GS161", "remove it")
    assert said(f"env: {{{name}: PREDICTION}}") == []


@pytest.mark.parametrize(
    "name",
    [
        "VLLM_LOGGING_LEVEL",
        "NCCL_SOCKET_IFNAME",
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN",
        "HF_HUB_OFFLINE",
        "HF_HOME",
        "VLLM_CACHE_ROOT",
        "RAY_memory_monitor_refresh_ms",
        "VLLM_PP_LAYER_PARTITION",
        "RANKING",
    ],
)
def test_what_changes_neither_placement_nor_addresses_is_free(name: str) -> None:
    assert said(f"env: {{{name}: '1'}}") == []


@pytest.mark.parametrize(("backend", "name"), [("vllm", "VLLM_API_KEY"), ("llama.cpp", "LLAMA_API_KEY")])
def test_one_key_from_two_secrets_is_refused(backend: str, name: str) -> None:
    (found,) = said(f"api_key: {{secret: a}}, env: {{{name}: {{secret: b}}}}", backend)
    assert (found.code, found.help) == ("GS173", f"keep api_key and remove {name} from env")
    assert f"api_key is another secret than b, to which env sets {name}" in found.message
    assert said(f"api_key: {{secret: a}}, env: {{{name}: {{secret: a}}}}", backend) == []
    assert said(f"env: {{{name}: {{secret: b}}}}", backend) == []
