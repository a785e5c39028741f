"""vLLM's layouts on hosts, and the processes that they become."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest
from tests.support.vllm_models import (
    GIB,
    H200,
    RTX_4090,
    T4,
    choices_of,
    class_of,
    facts_of,
    host_of,
    launches_of,
    request_of,
)

from gslc.backends.vllm import Vllm
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.inputs import EnginePin, GpuKind, Host, Requirement, RequirementPart, SecretRef
from gslc.ir.lock import Seat
from gslc.ir.placement import Assignment, Request
from gslc.memory.vllm.options import would_do

LLAMA, QWEN = "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct"
BIG, MOE, PHI = "Qwen/Qwen2.5-32B-Instruct", "mistralai/Mixtral-8x22B-v0.1", "microsoft/Phi-3-mini-4k-instruct"
FOUR = host_of("atlas", *[RTX_4090] * 4)
BACKEND = Vllm()


def review(name: str, *hosts: Host, **keys: object) -> list[Diagnostic]:
    version = keys.pop("version", None)
    return list(BACKEND.review(request_of(name, *(hosts or (FOUR,)), version=version, **keys)))  # type: ignore[arg-type]


def said(name: str, **keys: object) -> list[tuple[str, str, int, int]]:
    return [(item.code, item.severity, item.place.line, item.place.column) for item in review(name, **keys)]


# ------------------------------------------------------------------ layouts


def test_one_card_is_enough_where_it_fits() -> None:
    (choice,) = choices_of(request_of(LLAMA, FOUR), FOUR)
    assert choice.label == "one GPU"
    assert choice.exclusive
    assert choice.layout.gpu_memory_utilization == 900
    assert (choice.layout.context, choice.layout.parallel, choice.layout.layers) == (8192, 256, 32)
    assert choice.parts[0].gpus[0].weights == 16_060_522_496


def test_else_the_smallest_legal_size_that_fits_is_taken_and_the_smaller_are_explained() -> None:
    options = BACKEND.options(request_of(BIG, FOUR), class_of(FOUR))
    assert [choice.label for choice in options.fixed] == ["tensor parallel 4"]
    assert {(item.what, item.rule) for item in options.refused} == {
        ("one GPU", "GPU memory"),
        ("tensor parallel 2", "GPU memory"),
        ("tensor parallel 3", "attention heads"),
        ("tensor parallel 3", "key and value heads"),
    }


def test_every_card_of_a_choice_has_room_for_what_it_is_given() -> None:
    for name in (LLAMA, QWEN, BIG, PHI):
        for choice in choices_of(request_of(name, FOUR), FOUR):
            for need in choice.parts[0].gpus:
                assert need.total <= RTX_4090.memory_bytes
                assert need.total == need.weights + need.kv_cache + need.compute + need.overhead


def test_reserved_memory_lowers_the_utilisation() -> None:
    reserved = replace(FOUR, reserved_gpu_memory_bytes=3 * GIB)
    (choice,) = choices_of(request_of(LLAMA, reserved), reserved)
    assert choice.layout.gpu_memory_utilization is not None
    assert choice.layout.gpu_memory_utilization < 900
    assert choice.parts[0].gpus[0].total <= RTX_4090.memory_bytes - 3 * GIB
    assert [item.topic for item in choice.decisions] == ["layout", "gpu_memory_utilization"]


def test_sharing_is_right_sized_and_not_exclusive() -> None:
    request = request_of("Qwen/Qwen3-0.6B", FOUR, gpu_memory_utilization="auto", parallel=4, context=4096)
    (choice,) = choices_of(request, FOUR)
    assert not choice.exclusive
    assert choice.parts[0].gpus[0].total < 8 * GIB
    assert launches_of(request, FOUR)[0].measures_free_memory


def test_on_hosts_of_two_kinds_each_need_names_its_kind() -> None:
    mixed = host_of("mixed", RTX_4090, RTX_4090, H200)
    found = {choice.parts[0].kind: choice for choice in choices_of(request_of(LLAMA, mixed), mixed)}
    assert set(found) == {RTX_4090, H200}
    assert found[H200].layout.parallel == 1024


def test_a_card_that_is_too_old_is_refused_with_its_capability() -> None:
    old = host_of("old", T4)
    options = BACKEND.options(request_of("openai/gpt-oss-20b", old), class_of(old))
    assert options.fixed == ()
    assert options.refused[0].detail == "mxfp4 needs compute capability 8.0, Tesla T4 has 7.5"


def test_several_hosts_only_when_distributed_and_with_equal_parts() -> None:
    a, b = FOUR, host_of("boreas", *[RTX_4090] * 4)
    alone = request_of("meta-llama/Llama-3.1-405B-Instruct", a, b)
    assert choices_of(alone, a) == ()
    hosts = tuple(host_of(name, *[H200] * 4) for name in ("alpha", "beta", "gamma"))
    spread = request_of("meta-llama/Llama-3.1-405B-Instruct", *hosts, distributed=True)
    (choice,) = choices_of(spread, hosts[0])
    assert choice.layout.pipeline_parallel == 2
    assert choice.layout.tensor_parallel == 4
    assert [len(part.gpus) for part in choice.parts] == [4, 4]
    assert [part.ports for part in choice.parts] == [("http", "master"), ()]


def test_stated_requirements_replace_the_estimate() -> None:
    stated = Requirement(parts=(RequirementPart(gpus=2, gpu_memory_bytes=20 * GIB, memory_bytes=8 * GIB),))
    request = request_of(QWEN, FOUR, requirements=(stated,))
    (choice,) = choices_of(request, FOUR)
    assert [need.stated for need in choice.parts[0].gpus] == [20 * GIB] * 2
    (launch,) = launches_of(request, FOUR)
    words = dict(zip(launch.argv, launch.argv[1:], strict=False))
    assert words["--tensor-parallel-size"] == "2"
    assert 0.5 < float(words["--gpu-memory-utilization"]) * RTX_4090.memory_bytes / (20 * GIB) <= 1


# ------------------------------------------------------------------ processes


def test_a_launch_says_everything_that_a_supervisor_needs() -> None:
    (launch,) = launches_of(
        request_of(LLAMA, FOUR, api_key=SecretRef(name="key"), env=(("A", "b"), ("T", SecretRef(name="t")))), FOUR
    )
    assert launch.program == "/usr/local/bin/vllm"
    assert launch.argv[:2] == ("serve", f"/var/lib/gslc/models/hf/{LLAMA}/{'a' * 40}")
    assert launch.image == "vllm/vllm-openai:v0.26.0"
    assert launch.image_entrypoint == ("vllm",)
    assert dict(launch.env) == {"A": "b", "HF_HUB_OFFLINE": "1", "VLLM_HOST_IP": "10.0.0.1", "VLLM_NO_USAGE_STATS": "1"}
    assert launch.secret_env == (("T", "t"), ("VLLM_API_KEY", "key"))
    assert {name for name, _ in launch.cache_env} == {"HF_HOME", "TRITON_CACHE_DIR", "VLLM_CACHE_ROOT"}
    assert launch.health_path == "/health"
    assert launch.start_seconds >= 600
    assert launch.shared_memory_bytes == 0
    assert not launch.group_restart
    assert launch.jit


def test_several_ranks_need_shared_memory() -> None:
    assert launches_of(request_of(BIG, FOUR), FOUR)[0].shared_memory_bytes >= 1 * GIB


def test_followers_are_headless_and_restart_with_their_leader() -> None:
    hosts = tuple(host_of(name, *[H200] * 4) for name in ("alpha", "beta"))
    leader, follower = launches_of(request_of("meta-llama/Llama-3.1-405B-Instruct", *hosts, distributed=True), *hosts)
    assert (leader.role, leader.name, leader.health_path, leader.extra_ports) == (
        "leader",
        "chat-0",
        "/health",
        (20001,),
    )
    assert (follower.role, follower.name, follower.health_path, follower.port) == ("worker", "chat-0-worker-1", None, 0)
    assert leader.group_restart
    assert follower.group_restart
    assert "--headless" in follower.argv
    assert "--headless" not in leader.argv
    for launch in (leader, follower):
        words = dict(zip(launch.argv, launch.argv[1:], strict=False))
        assert (words["--nnodes"], words["--master-addr"], words["--master-port"]) == ("2", "10.0.0.1", "20001")
        assert words["--node-rank"] == str(launch.rank)
    assert dict(follower.env)["VLLM_HOST_IP"] == "10.0.0.2"


def test_old_cards_are_told_half_precision() -> None:
    old = host_of("old", T4)
    argv = launches_of(request_of("Qwen/Qwen2.5-1.5B-Instruct", old), old)[0].argv
    assert argv[argv.index("--dtype") + 1] == "half"
    assert "--dtype" not in launches_of(request_of("Qwen/Qwen2.5-1.5B-Instruct", FOUR), FOUR)[0].argv


@pytest.mark.parametrize(("kind", "convert"), [("embedding", "embed"), ("reranker", "classify")])
def test_models_that_pool_are_started_to_pool(kind: str, convert: str) -> None:
    argv = launches_of(request_of("Qwen/Qwen3-0.6B", FOUR, kind=kind), FOUR)[0].argv  # type: ignore[arg-type]
    assert argv[argv.index("--runner") + 1] == "pooling"
    assert argv[argv.index("--convert") + 1] == convert


def test_pins_decide_program_image_and_release() -> None:
    host = host_of("atlas", RTX_4090, engines={"vllm": EnginePin(version="0.32.0", path="/opt/vllm/bin")})
    request = request_of(LLAMA, host)
    assert BACKEND.engine_version(request, class_of(host)) == "0.32.0"
    (launch,) = launches_of(request, host)
    assert (launch.program, launch.image) == ("/opt/vllm/bin/vllm", "vllm/vllm-openai:v0.32.0")
    assert BACKEND.engine_version(request_of(LLAMA, FOUR, image="registry/vllm:v0.20.2"), class_of(FOUR)) == "0.20.2"


def test_the_users_arguments_are_kept_and_no_flag_has_two_values() -> None:
    args = ("--max-model-len=4K", "--enforce-eager", "--seed", "7", "--max_num_seqs", "16")
    argv = launches_of(request_of(LLAMA, FOUR, args=args), FOUR)[0].argv
    assert argv[-3:] == ("--enforce-eager", "--seed", "7")
    words = dict(itertools.pairwise(argv))
    assert (words["--max-model-len"], words["--max-num-seqs"]) == ("4096", "16")


# ------------------------------------------------------------------ where it runs


def test_hosts_without_linux_a_gpu_or_an_image_are_excluded_with_the_rule() -> None:
    mi300 = GpuKind(model="AMD Instinct MI300X", vendor="amd", memory_bytes=192 * GIB)
    npu = GpuKind(model="Ascend 910B", vendor="ascend", memory_bytes=64 * GIB)

    def rules(host: Host) -> list[str]:
        return [item.rule for item in BACKEND.excludes(request_of(LLAMA, host), class_of(host))]

    assert rules(FOUR) == []
    assert rules(replace(FOUR, os="windows")) == ["platform"]
    assert rules(host_of("bare")) == ["GPU"]
    assert rules(host_of("npu", npu, target="compose")) == ["image"]
    assert rules(host_of("npu", npu)) == []
    assert rules(host_of("red", mi300, target="compose")) == []


# ------------------------------------------------------------------ review


def test_a_good_model_has_nothing_said_of_it() -> None:
    assert review(LLAMA, args=("--enforce-eager",), tensor_parallel=2, context=8192) == []


def test_mistakes_in_args_are_located_by_their_place_in_the_list() -> None:
    args = ("--dtype", "half", "--swap-space", "4", "--enforce-eagr", "--port=1", "-tp", "x")
    assert said(LLAMA, args=args) == [
        ("GS342", "error", 4, 3),
        ("GS341", "error", 4, 5),
        ("GS344", "error", 4, 7),
        ("GS347", "error", 4, 6),
    ]


def test_a_key_and_an_argument_with_different_values_are_refused_and_equal_ones_are_not() -> None:
    assert said(LLAMA, context=4096, args=("--max-model-len", "8K")) == [("GS346", "error", 4, 1)]
    assert said(LLAMA, context=8192, args=("--max-model-len", "8K")) == []
    assert said(LLAMA, gpu_memory_utilization=800, args=("--gpu-memory-utilization", "0.9")) == [
        ("GS346", "error", 4, 1)
    ]


def test_a_context_beyond_the_maximum_is_refused_unless_allowed() -> None:
    (found,) = review(QWEN, context=65_536)
    assert (found.code, found.help) == ("GS348", "set `context: 32768` or less")
    (argued,) = review(QWEN, args=("--max-model-len", "65536"))
    assert (argued.code, argued.help) == ("GS348", "set --max-model-len in `args` to 32768 or less")
    assert review(QWEN, context=65_536, env=(("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1"),)) == []


def test_values_of_hf_overrides_stand_in_place_of_those_of_config_json() -> None:
    longer = ("--hf-overrides", '{"max_position_embeddings": 200000}')
    assert review(QWEN, context=131072, args=longer) == []
    assert [one.code for one in review(QWEN, context=131072)] == ["GS348"]
    fewer = ("--hf-overrides", '{"num_hidden_layers": 14}')
    (half,), (whole,) = choices_of(request_of(QWEN, FOUR, args=fewer), FOUR), choices_of(request_of(QWEN, FOUR), FOUR)
    assert (half.layout.layers, whole.layout.layers) == (14, 28)
    assert half.parts[0].gpus[0].weights < whole.parts[0].gpus[0].weights
    (found,) = review(QWEN, args=("--enforce-eager", "--hf-overrides", '{"num_hidden_layers": "many"}'))
    assert (found.code, found.place.column) == ("GS344", 2)


def test_a_share_with_which_no_card_would_do_is_said_to_be_so() -> None:
    options = BACKEND.options(request_of(QWEN, FOUR, gpu_memory_utilization=1000), class_of(FOUR))
    assert options.fixed == ()
    assert options.refused[-1].detail.startswith("no card of up to 4096 GiB")


@pytest.mark.parametrize("args", [("--grpc",), ("--api-server-count", "0"), ("-asc", "-1"), ("--api_server_count=0",)])
def test_a_server_that_answers_no_http_is_refused(args: tuple[str, ...]) -> None:
    (found,) = review(LLAMA, args=("--enforce-eager", *args))
    assert (found.code, found.place.column) == ("GS347", 2)
    assert review(LLAMA, args=("--api-server-count", "2")) == []


@pytest.mark.parametrize("flag", ["--ssl-keyfile", "--ssl-certfile"])
def test_tls_in_the_server_is_refused_since_nothing_would_ask_it_by_https(flag: str) -> None:
    (found,) = review(LLAMA, args=("--enforce-eager", flag, "/etc/ssl/x.pem"))
    assert (found.code, found.place.column) == ("GS347", 2)
    assert found.help == f"remove {flag}, and terminate TLS in a proxy in front of it"


@pytest.mark.parametrize(
    ("text", "keys", "said_of_it", "help_line"),
    [
        ("16,x", {}, "vLLM wants the number of layers", "write VLLM_PP_LAYER_PARTITION: '40,40'"),
        ("32,0", {}, "vLLM wants the number of layers", "write VLLM_PP_LAYER_PARTITION: '40,40'"),
        ("30,3", {"pipeline_parallel": 2}, "its sum is 33, the model has 32 layers", "32 together"),
        ("30,2", {}, "it is for 2 pipeline stages, there is 1", "set pipeline_parallel to 2"),
        ("30,2", {"pipeline_parallel": 4}, "it is for 2 pipeline stages, there are 4", "set pipeline_parallel to 2"),
    ],
)
def test_a_layer_partition_that_vllm_refuses_is_refused(
    text: str, keys: dict[str, object], said_of_it: str, help_line: str
) -> None:
    (found,) = review(LLAMA, env=(("VLLM_PP_LAYER_PARTITION", text),), **keys)
    assert found.code == "GS349"
    assert f"VLLM_PP_LAYER_PARTITION is {text}: {said_of_it}" in found.message
    assert help_line in (found.help or "")


def test_a_layer_partition_is_counted_stage_by_stage() -> None:
    env = (("VLLM_PP_LAYER_PARTITION", "24,8"),)
    assert review(LLAMA, pipeline_parallel=2, env=env) == []
    assert review(LLAMA, distributed=True, tensor_parallel=1, env=env) == []
    even, uneven = (
        choices_of(request_of(LLAMA, FOUR, pipeline_parallel=2, env=given), FOUR)[0].parts[0].gpus
        for given in ((("A", "b"),), env)
    )
    # weights of a layer of Llama 3.1 8B: 436,224,000 bytes
    assert uneven[0].weights - even[0].weights == even[1].weights - uneven[1].weights == 8 * 436_224_000


def test_the_number_of_stages_that_a_partition_is_for_is_the_only_layout() -> None:
    options = BACKEND.options(
        request_of(BIG, FOUR, distributed=True, env=(("VLLM_PP_LAYER_PARTITION", "32,32"),)), class_of(FOUR)
    )
    assert {item.rule for item in options.refused} >= {"layer partition"}
    assert all(choice.layout.pipeline_parallel == 2 for choice in options.fixed)


def test_an_illegal_size_names_those_that_would_work() -> None:
    found = review(QWEN, tensor_parallel=7)
    assert {item.code for item in found} == {"GS349"}
    assert found[0].help == "use tensor parallel 1, 2, 4"


def test_gguf_is_not_for_vllm() -> None:
    facts = replace(facts_of(LLAMA), safetensors=None)
    assert [item.code for item in BACKEND.review(request_of(LLAMA, FOUR, facts=facts))] == ["GS340"]


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"gpu_layers": 10}, "GS350"),
        ({"cpu_offload": True}, "GS350"),
        ({"kv_cache_type": "q8_0"}, "GS358"),
        ({"args": ("--enable-expert-parallel",)}, "GS354"),
        ({"args": ("--data-parallel-size", "2")}, "GS359"),
        ({"args": ("--speculative-config", "{}")}, "GS352"),
        ({"args": ("--max-num-batched-tokens", "64"), "parallel": 128}, "GS356"),
        ({"distributed": True, "version": "0.7.2"}, "GS355"),
        ({"args": ("--nnodes", "2")}, "GS347"),
        ({"args": ("--api-key", "k")}, "GS347"),
        ({"args": ("--help",)}, "GS347"),
    ],
)
def test_what_vllm_or_the_house_refuses_has_a_code_of_its_own(keys: dict[str, object], code: str) -> None:
    assert [item.code for item in review(LLAMA, **keys)] == [code]


def test_every_release_that_could_run_it_is_reviewed() -> None:
    newer = host_of("newer", RTX_4090, engines={"vllm": EnginePin(version="0.32.0")})
    found = review(LLAMA, FOUR, newer, args=("--calculate-kv-scales",))
    assert [item.code for item in found] == ["GS342"]
    assert "0.32.0" in found[0].message


def test_a_locked_choice_can_be_launched_again() -> None:
    request: Request = request_of(LLAMA, FOUR)
    (choice,) = choices_of(request, FOUR)
    seats = (Seat(host="atlas", gpus=(3,), ports=(20007,)),)
    (launch,) = BACKEND.launches(
        request, Assignment(model="chat", replica=0, choice=choice, seats=seats), {"atlas": FOUR}
    )
    assert (launch.gpus, launch.port) == ((3,), 20007)


def test_a_cache_too_small_for_the_requests_asked_for_is_a_warning_of_the_choice() -> None:
    (choice,) = choices_of(request_of(LLAMA, FOUR, parallel=200), FOUR)
    assert [(item.code, item.severity, item.place.line) for item in choice.diagnostics] == [("GS357", "warning", 3)]
    (enough,) = choices_of(request_of(LLAMA, FOUR, parallel=2), FOUR)
    assert enough.diagnostics == ()


def test_a_lowered_utilisation_is_a_note_of_the_choice() -> None:
    (choice,) = choices_of(request_of(QWEN, FOUR, tensor_parallel=2), FOUR)
    assert [(item.code, item.severity) for item in choice.diagnostics] == [("GS364", "note")]


def test_stated_requirements_are_laid_out_over_the_cards_they_name() -> None:
    part = RequirementPart(gpus=2, gpu_memory_bytes=20 * GIB, memory_bytes=8 * GIB)
    (choice,) = choices_of(request_of(QWEN, FOUR, requirements=(Requirement(parts=(part,)),)), FOUR)
    assert (choice.layout.tensor_parallel, choice.layout.pipeline_parallel, choice.layout.requirement) == (2, 1, 0)
    assert choice.layout.context == 8192


def test_where_nothing_fits_the_sizes_and_cards_that_would_do_are_named() -> None:
    small = host_of("old", T4)
    options = BACKEND.options(request_of(QWEN, small), class_of(small))
    assert options.fixed == ()
    said = options.refused[-1]
    assert (said.what, said.rule) == ("one request of 8192 tokens", "would fit")
    assert re.findall(r"(one GPU|tensor parallel \d+) on cards of (\d+) GiB", said.detail) == [
        ("one GPU", "18"),
        ("tensor parallel 2", "11"),
        ("tensor parallel 4", "7"),
    ]
    for size, cards in ((18, 1), (11, 2), (7, 4)):
        enough = GpuKind(model="", vendor="nvidia", memory_bytes=size * GIB)
        less = replace(enough, memory_bytes=(size - 1) * GIB)
        assert choices_of(request_of(QWEN, FOUR, tensor_parallel=cards), host_of("enough", *[enough] * cards))
        assert not choices_of(request_of(QWEN, FOUR, tensor_parallel=cards), host_of("less", *[less] * cards))
    assert "tensor parallel 3" not in said.detail


def test_what_would_do_is_worked_out_once_for_all_classes_of_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("gslc.backends.vllm.would_do", lambda view: asked.append(view) or would_do(view))
    hosts = [host_of(name, *[T4] * cards) for name, cards in (("a", 1), ("b", 2), ("c", 3))]
    request = request_of(BIG, *hosts)
    said = {BACKEND.options(request, class_of(host)).refused[-1] for host in hosts}
    assert [(len(asked), one.rule) for one in said] == [(1, "would fit")]


def test_what_would_do_keeps_to_the_stages_that_a_partition_names() -> None:
    small = host_of("old", T4)
    env = (("VLLM_PP_LAYER_PARTITION", "20,12"),)
    said = BACKEND.options(request_of(LLAMA, small, distributed=True, env=env), class_of(small)).refused[-1]
    assert said.rule == "would fit"
    assert said.detail.startswith("tensor parallel 1 x pipeline parallel 2 on cards of ")
    (size, *_) = (int(found) for found in re.findall(r"on cards of (\d+) GiB", said.detail))
    card = GpuKind(model="", vendor="nvidia", memory_bytes=size * GIB, compute_capability=(8, 9))
    enough = host_of("new", card, card)
    assert choices_of(request_of(LLAMA, enough, pipeline_parallel=2, env=env), enough)


def test_encoders_read_a_request_in_one_step() -> None:
    argv = launches_of(request_of("bge-reranker-v2-m3", FOUR, kind="reranker", context=8192), FOUR)[0].argv
    assert argv[argv.index("--max-num-batched-tokens") + 1] == "8192"
    assert "--convert" not in argv


def test_a_model_that_sees_leaves_its_batch_to_the_engine() -> None:
    sees = launches_of(request_of("qwen2-vl-7b", FOUR), FOUR)[0].argv
    assert "--max-num-batched-tokens" not in sees
    blind = launches_of(
        request_of("qwen2-vl-7b", FOUR, args=("--limit-mm-per-prompt", '{"image": 0, "video": 0}')), FOUR
    )[0].argv
    assert "--max-num-batched-tokens" in blind


def test_a_stated_share_leaves_the_rest_of_the_card_to_others() -> None:
    (default,) = choices_of(request_of("Qwen/Qwen3-0.6B", FOUR), FOUR)
    (stated,) = choices_of(request_of("Qwen/Qwen3-0.6B", FOUR, gpu_memory_utilization=400), FOUR)
    (alone,) = choices_of(request_of("Qwen/Qwen3-0.6B", FOUR, gpu_memory_utilization=400, exclusive_gpus=True), FOUR)
    assert (default.exclusive, stated.exclusive, alone.exclusive) == (True, False, True)
    assert stated.parts[0].gpus[0].total < 0.46 * RTX_4090.memory_bytes


def test_an_encoder_takes_no_pool() -> None:
    (choice,) = choices_of(request_of("bert-base", FOUR, kind="embedding"), FOUR)
    need = choice.parts[0].gpus[0]
    assert need.kv_cache == 0
    assert need.total < 4 * GIB
    shared = request_of("bert-base", FOUR, kind="embedding", gpu_memory_utilization="auto", parallel=8)
    (small,) = choices_of(shared, FOUR)
    assert small.parts[0].gpus[0].total <= need.total + RTX_4090.memory_bytes // 1000
    assert not small.exclusive
