"""Changes to settings that stand in `args`, in `defaults` or at the model: what is said helps when it is followed."""

from __future__ import annotations

import pytest
from clusters import SMALLEST, cluster_of

from gslc.ir.inputs import Cluster
from gslc.passes.placing.written import Change, default_utilizations, inherits, offloads, path_of, shorter_contexts


def cluster(keys: str, defaults: str = "") -> Cluster:
    return cluster_of(f"{SMALLEST}defaults: {{{defaults}}}\nmodels: {{q: {{source: 'hf://o/r', {keys}}}}}\n")


def shorter(keys: str, backend: str = "vllm", defaults: str = "") -> list[Change]:
    read = cluster(keys, defaults)
    return list(shorter_contexts(read, read.models[0], backend, default=8192, least=1024))


def offloaded(keys: str, defaults: str = "") -> list[Change]:
    read = cluster(keys, defaults)
    return list(offloads(read, read.models[0]))


def test_a_context_that_is_not_written_is_halved_as_the_key() -> None:
    changes = shorter("")
    assert [change.action for change in changes] == [f"set models.q.context to {n}" for n in (4096, 2048, 1024)]
    assert [change.model.context for change in changes] == [4096, 2048, 1024]


@pytest.mark.parametrize(
    ("keys", "backend", "action", "args"),
    [
        ("args: [--max-model-len, '131072']", "vllm", "set --max-model-len in models.q.args to 65536", "65536"),
        ("args: [--max_model_len=128K]", "vllm", "set --max_model_len in models.q.args to 65536", "65536"),
        ("args: [-c, '32768']", "llama.cpp", "set -c in models.q.args to 16384", "16384"),
        ("args: [--ctx-size, '32768'], parallel: 4", "llama-box", "set --ctx-size in models.q.args to 16384", "16384"),
    ],
)
def test_a_context_in_args_is_changed_there(keys: str, backend: str, action: str, args: str) -> None:
    first = shorter(keys, backend)[0]
    assert first.action == action
    assert first.model.args[-1] == args
    assert len(first.model.args) == 2
    assert first.model.context is None


def test_the_total_of_several_slots_is_not_cut_below_the_shortest_request() -> None:
    assert [change.what for change in shorter("args: [-c, '16384'], parallel: 4", "llama.cpp")] == [
        "context 2048", "context 1024",
    ]  # fmt: skip


def test_the_models_own_context_is_halved_from_the_length_it_was_trained_for() -> None:
    read = cluster("args: [-c, '0']")
    changes = shorter_contexts(read, read.models[0], "llama.cpp", default=8192, least=1024, trained=4096)
    assert [change.action for change in changes] == [f"set -c in models.q.args to {n}" for n in (2048, 1024)]


def test_a_context_in_the_key_and_in_args_is_changed_in_the_key_alone() -> None:
    first = shorter("context: 8192, args: [--max-model-len, '8192', --enforce-eager]")[0]
    assert first.action == "set models.q.context to 4096, and remove --max-model-len from models.q.args"
    assert (first.model.context, first.model.args) == (4096, ("--enforce-eager",))


@pytest.mark.parametrize("value", ["auto", "-1"])
def test_a_context_as_long_as_fits_is_not_shortened(value: str) -> None:
    assert shorter(f"args: [--max-model-len, '{value}']") == []


def test_args_of_the_defaults_are_named_there() -> None:
    assert shorter("", defaults="args: [--max-model-len, '8192']")[0].action == (
        "set --max-model-len in defaults.args to 4096"
    )


def test_pinned_layers_are_unpinned_before_and_with_cpu_offload() -> None:
    free, offload = offloaded("args: [-ngl, '99', --mlock]")
    assert (free.action, free.model.args, free.model.cpu_offload) == (
        "remove -ngl from models.q.args",
        ("--mlock",),
        False,
    )
    assert offload.action == "remove -ngl from models.q.args and set models.q.cpu_offload to true"
    assert (offload.model.args, offload.model.cpu_offload) == (("--mlock",), True)


def test_with_cpu_offload_a_pin_is_only_removed() -> None:
    (change,) = offloaded("gpu_layers: 65, cpu_offload: true")
    assert (change.action, change.model.gpu_layers) == ("remove models.q.gpu_layers", None)
    assert [one.action for one in offloaded("", "gpu_layers: 65, cpu_offload: true")] == ["remove defaults.gpu_layers"]


def test_without_a_pin_cpu_offload_is_the_change() -> None:
    assert [change.action for change in offloaded("")] == ["set models.q.cpu_offload to true"]
    assert offloaded("cpu_offload: true") == []


def test_a_key_is_named_where_it_is_written() -> None:
    own, inherited = cluster("anti_affinity: host"), cluster("", "anti_affinity: host")
    assert path_of(own, own.models[0], "anti_affinity") == "models.q.anti_affinity"
    assert path_of(inherited, inherited.models[0], "anti_affinity") == "defaults.anti_affinity"
    both = cluster("anti_affinity: host", "anti_affinity: host")
    assert not inherits(both, both.models[0], "anti_affinity")


@pytest.mark.parametrize(
    ("keys", "actions"),
    [
        ("gpu_memory_utilization: 1", ["remove models.q.gpu_memory_utilization"]),
        ("args: [--gpu_memory_utilization=1]", ["remove --gpu_memory_utilization from models.q.args"]),
        ("context: 8192", []),
    ],
)
def test_a_share_of_ones_own_is_left_where_it_is_written(keys: str, actions: list[str]) -> None:
    read = cluster(keys)
    changes = list(default_utilizations(read, read.models[0], "vllm"))
    assert [change.action for change in changes] == actions
    assert all((change.model.gpu_memory_utilization, change.model.args) == (None, ()) for change in changes)
    assert list(default_utilizations(read, read.models[0], "llama.cpp")) == []
