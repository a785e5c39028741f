"""llama.cpp's layouts on hosts, and the processes that they become."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.llama_requests import REVISION, flux_facts, free, gguf_facts_of, gguf_request, on_target, options_on
from tests.support.vllm_models import GIB, H200, RTX_4090, T4, class_of, host_of

from gslc.backends.llama_cpp import LlamaCpp
from gslc.ir.inputs import EnginePin, Host, SecretRef
from gslc.ir.lock import Seat
from gslc.ir.placement import Assignment, Choice, Request
from gslc.ir.plan import Launch

BACKEND = LlamaCpp()
SMALL, LARGE, MOE = "qwen3-4b-q4_k_m", "llama3.3-70b-q4_k_m", "qwen3-30b-a3b-q4_k_m"
ONE = host_of("atlas", RTX_4090)
TWO = host_of("atlas", RTX_4090, RTX_4090)
UNEVEN = host_of("atlas", RTX_4090, T4)
FAR = host_of("boreas", RTX_4090, RTX_4090)
CARD = replace(RTX_4090, memory_bytes=18 * GIB)  # three of them hold the large model, two do not
NEAR_RPC, FAR_RPC = host_of("atlas", CARD), host_of("boreas", CARD, CARD)


def launches(
    request: Request, choice: Choice, *seats: tuple[Host, tuple[int, ...], tuple[int, ...]]
) -> tuple[Launch, ...]:
    """The processes of a choice on these seats."""
    assignment = Assignment(
        model="chat",
        replica=0,
        choice=choice,
        seats=tuple(Seat(host=host.name, gpus=gpus, ports=ports) for host, gpus, ports in seats),
    )
    return BACKEND.launches(request, assignment, {host.name: host for host, _, _ in seats})


def value(argv: tuple[str, ...], flag: str) -> str:
    """The word after a flag that is there once."""
    assert argv.count(flag) == 1
    return argv[argv.index(flag) + 1]


def only(request: Request, host: Host, label: str) -> Choice:
    """The fixed choice with this label."""
    (found,) = [choice for choice in options_on(BACKEND, request, host).fixed if choice.label == label]
    return found


# ------------------------------------------------------------------ layouts


def test_one_card_comes_first_and_the_cpu_last_with_all_its_bytes_offloaded() -> None:
    gpu, cpu = options_on(BACKEND, gguf_request(gguf_facts_of(SMALL), ONE), ONE).fixed
    assert (gpu.rank, gpu.label, gpu.offloaded_bytes, gpu.layout.gpu_layers) == (0, "one GPU", 0, 37)
    assert (cpu.rank, cpu.label, cpu.layout.gpu_layers) == (4, "CPU", 0)
    assert cpu.offloaded_bytes == gpu.parts[0].gpus[0].weights + gpu.parts[0].gpus[0].kv_cache
    assert cpu.parts[0].gpus == ()


def test_the_switches_open_the_ways_beyond_one_host_and_beyond_the_cards() -> None:
    facts = gguf_facts_of(LARGE)
    plain = options_on(BACKEND, gguf_request(facts, TWO), TWO)
    opened = options_on(BACKEND, gguf_request(facts, TWO, cpu_offload=True, distributed=True), TWO)
    assert [way.label for way in plain.elastic] == ["several GPUs"]
    assert [way.rank for way in opened.elastic] == [1, 2, 3]


@pytest.mark.parametrize(
    "keys",
    [
        {"args": ("-ngl", "99")},
        {"args": ("-ngl", "all")},
        {"gpu_layers": 37},
        {"gpu_layers": 99},
        {"args": ("-ngl", "37")},
    ],
)
def test_all_layers_pinned_are_never_left_to_the_cpu(keys: dict[str, object]) -> None:
    found = options_on(BACKEND, gguf_request(gguf_facts_of(SMALL), TWO, cpu_offload=True, **keys), TWO)
    assert [(choice.label, choice.layout.gpu_layers) for choice in found.fixed] == [("one GPU", 37)]
    assert [way.label for way in found.elastic] == ["several GPUs"]
    assert [(one.what, one.rule) for one in found.refused] == [("CPU", "gpu_layers")]
    bare = host_of("cpu")
    assert options_on(BACKEND, gguf_request(gguf_facts_of(SMALL), bare, cpu_offload=True, **keys), bare).fixed == ()


@pytest.mark.parametrize(
    ("keys", "said", "column"),
    [({"gpu_layers": 99}, "gpu_layers", 1), ({"args": ("--metrics", "--gpu-layers", "99")}, "-ngl", 2)],
)
def test_more_layers_than_the_model_has_are_all_of_them_and_that_is_said(
    keys: dict[str, object], said: str, column: int
) -> None:
    (found,) = BACKEND.review(gguf_request(gguf_facts_of(SMALL), ONE, **keys))
    assert (found.code, found.severity, found.place.column) == ("GS315", "note", column)
    assert found.message.startswith(f"model chat: {said} 99 means all 37 layers")


def test_layers_left_to_the_engine_are_decided_by_the_layout() -> None:
    request = gguf_request(gguf_facts_of(SMALL), ONE, cpu_offload=True, args=("-ngl", "auto", "--metrics"))
    choice = only(request, ONE, "CPU")
    (launch,) = launches(request, choice, (ONE, (), (20000,)))
    assert value(launch.argv, "-ngl") == "0"
    assert "--metrics" in launch.argv


@pytest.mark.parametrize(
    ("args", "context", "parallel", "said"),
    [
        (("-c", "0"), 40960, 1, ("-c", "40960")),
        (("--ctx-size=0",), 40960, 1, ("-c", "40960")),
        (("--ctx_size", "0", "-np", "4"), 10240, 4, ("-c", "40960", "-np", "4")),
        (("-c", "0", "-np", "-1"), 10240, 4, ("-c", "40960", "-np", "4", "--kv-unified")),
        (("-np", "-1"), 8192, 4, ("-c", "32768", "-np", "4", "--kv-unified")),
    ],
)
def test_the_context_is_planned_as_the_engine_shares_it_among_its_slots(
    args: tuple[str, ...], context: int, parallel: int, said: tuple[str, ...]
) -> None:
    request = gguf_request(gguf_facts_of(SMALL), ONE, args=args)
    assert BACKEND.review(request) == ()
    choice = only(request, ONE, "one GPU")
    assert (choice.layout.context, choice.layout.parallel) == (context, parallel)
    assert choice.parts == only(gguf_request(gguf_facts_of(SMALL), ONE, args=said), ONE, "one GPU").parts


def test_slots_shared_unevenly_are_counted_at_the_size_that_the_engine_makes_them() -> None:
    # 2305 tokens are padded to 2560, and a third of that to 1024 cells
    uneven = only(gguf_request(gguf_facts_of(SMALL), ONE, args=("-c", "2305", "-np", "3")), ONE, "one GPU")
    whole = only(gguf_request(gguf_facts_of(SMALL), ONE, context=1024, parallel=3), ONE, "one GPU")
    assert uneven.parts[0].gpus[0].kv_cache == whole.parts[0].gpus[0].kv_cache


def test_the_models_own_context_contradicts_a_shorter_key_and_agrees_with_the_same() -> None:
    facts = gguf_facts_of(SMALL)
    (found,) = BACKEND.review(gguf_request(facts, ONE, context=8192, args=("-c", "0")))
    assert found.message == ("model chat: -c 0 (the model's own 40960) is the total; the keys say 8192 x 1 = 8192")
    assert BACKEND.review(gguf_request(facts, ONE, context=20480, parallel=2, args=("-c", "0"))) == ()


def test_a_context_beyond_the_models_own_can_be_had_by_the_help_that_is_given() -> None:
    facts = gguf_facts_of(SMALL)
    (found,) = BACKEND.review(gguf_request(facts, ONE, context=65536))
    assert found.code == "GS314"
    assert found.help is not None
    assert found.help.endswith("[--override-kv, 'qwen3.context_length=int:65536'] in args")
    longer = ("--override-kv", "qwen3.context_length=int:65536")
    assert BACKEND.review(gguf_request(facts, ONE, context=65536, args=longer)) == ()
    whole = gguf_request(facts, ONE, args=("-c", "0", *longer))
    assert only(whole, ONE, "one GPU").layout.context == 65536


@pytest.mark.parametrize(("buffer", "refused"), [("CUDA1", True), ("CUDA0", False), ("CPU", False), ("RPC3", False)])
def test_tensors_for_a_card_that_no_host_has_are_refused(buffer: str, refused: bool) -> None:
    args = ("--metrics", "-ot", f"exps={buffer}")
    found = BACKEND.review(gguf_request(gguf_facts_of(SMALL), ONE, args=args))
    assert [(one.code, one.place.column) for one in found] == ([("GS304", 2)] if refused else [])


def test_the_models_own_context_is_refused_where_the_file_names_none() -> None:
    facts = gguf_facts_of(SMALL)
    assert facts.gguf is not None
    hyper = {key: value for key, value in facts.gguf.hyper.items() if not key.endswith("context_length")}
    request = gguf_request(replace(facts, gguf=replace(facts.gguf, hyper=hyper)), ONE, args=("-c", "0"))
    assert [found.code for found in BACKEND.review(request)] == ["GS304"]


def test_a_contradiction_is_said_in_the_words_that_were_written() -> None:
    (found,) = BACKEND.review(gguf_request(gguf_facts_of(SMALL), ONE, parallel=2, args=("--parallel", "-1")))
    assert found.message == "model chat: --parallel -1 contradicts the key parallel: 2"
    assert found.help == "keep the key parallel and remove --parallel from args"


@pytest.mark.parametrize("flag", ["--ssl-key-file", "--ssl-cert-file"])
def test_tls_in_the_server_is_refused_since_nothing_would_ask_it_by_https(flag: str) -> None:
    (found,) = BACKEND.review(gguf_request(gguf_facts_of(SMALL), ONE, args=("--metrics", flag, "/etc/x.pem")))
    assert (found.code, found.place.column) == ("GS303", 2)
    assert found.help == f"remove {flag}, and terminate TLS in a proxy in front of it"


def test_a_prefix_of_all_routes_is_refused_since_health_is_asked_for_at_the_root() -> None:
    (found,) = BACKEND.review(gguf_request(gguf_facts_of(SMALL), ONE, args=("--metrics", "--api-prefix=/llama")))
    assert (found.code, found.place.column) == ("GS303", 2)
    assert "answers below /llama alone" in found.message
    assert found.help == "remove --api-prefix, and let the proxy in front of it strip the path"


def test_a_file_of_api_keys_is_refused_since_the_routers_file_would_not_have_them() -> None:
    (found,) = BACKEND.review(gguf_request(gguf_facts_of(SMALL), ONE, args=("--api-key-file", "/etc/keys")))
    assert (found.code, found.help) == ("GS303", "remove it and use the key api_key")


def test_several_cards_take_whole_layers_that_add_up() -> None:
    (way,) = options_on(BACKEND, gguf_request(gguf_facts_of(LARGE), TWO), TWO).elastic
    choice = way.fit((free(TWO),))
    assert choice is not None
    assert choice.layout.tensor_split is not None
    assert sum(choice.layout.tensor_split) == choice.layout.gpu_layers == 81
    assert all(need.total <= RTX_4090.memory_bytes for need in choice.parts[0].gpus)


@pytest.mark.parametrize(
    ("written", "split"),
    [("0.6,0.4", (49, 32)), ("1.0,2", (1, 2)), ("3/1", (3, 1)), ("0.5,0.5", (41, 40)), ("040,41", (40, 41))],
)
def test_a_split_in_any_numbers_is_told_to_the_engine_in_whole_layers(written: str, split: tuple[int, ...]) -> None:
    big = host_of("atlas", H200, H200)
    request = gguf_request(gguf_facts_of(LARGE), big, args=("-ts", written, "--metrics"))
    assert BACKEND.review(request) == ()
    (way,) = options_on(BACKEND, request, big).elastic
    choice = way.fit((free(big),))
    assert choice is not None
    assert choice.layout.tensor_split == split
    assert way.restore(choice.layout, (free(big),)) == choice
    (launch,) = launches(request, choice, (big, (0, 1), (20000,)))
    assert value(launch.argv, "-ts") == ",".join(map(str, split))
    as_asked = gguf_request(gguf_facts_of(LARGE), big, tensor_split=split)
    (twin,) = options_on(BACKEND, as_asked, big).elastic
    same = twin.fit((free(big),))
    assert same is not None
    assert same.parts == choice.parts


def test_a_card_without_layers_still_has_the_process_on_it() -> None:
    request = gguf_request(gguf_facts_of(SMALL), TWO, tensor_split=(0, 1))
    (way,) = options_on(BACKEND, request, TWO).elastic
    choice = way.fit((free(TWO),))
    assert choice is not None
    idle, busy = choice.parts[0].gpus
    assert (idle.weights, idle.kv_cache) == (0, 0)
    assert idle.overhead == busy.overhead > 0


@pytest.mark.parametrize("keys", [{}, {"cpu_offload": True, "distributed": True}, {"gpu_layers": 40}])
def test_without_a_split_all_layers_lie_on_one_card(keys: dict[str, object]) -> None:
    found = options_on(BACKEND, gguf_request(gguf_facts_of(LARGE), TWO, args=("-sm", "none"), **keys), TWO)
    assert [way.label for way in found.elastic] == (["partial offload"] if "cpu_offload" in keys else [])
    for way in found.elastic:
        choice = way.fit((free(TWO),))
        assert choice is not None
        assert len(choice.parts[0].gpus) == 1


def test_a_main_gpu_that_the_process_does_not_see_is_refused() -> None:
    facts = gguf_facts_of(SMALL)
    (found,) = BACKEND.review(gguf_request(facts, TWO, args=("-sm", "none", "-mg", "1")))
    assert (found.code, found.place.column) == ("GS304", 3)
    assert BACKEND.review(gguf_request(facts, TWO, args=("-sm", "none", "-mg", "0"))) == ()
    assert BACKEND.review(gguf_request(facts, TWO, args=("-mg", "1"))) == ()  # without a meaning to layers


@pytest.mark.parametrize(
    ("islands", "taken", "chosen"),
    [
        ((), (), (0, 1)),
        (((0, 2), (1, 3)), (), (0, 2)),
        (((0, 2), (1, 3)), (0,), (1, 3)),  # the roomiest cards come first, linked ones among equals
        (((1, 2),), (), (1, 2)),
    ],
)
def test_of_equally_free_cards_linked_ones_take_the_layers(
    islands: tuple[tuple[int, ...], ...], taken: tuple[int, ...], chosen: tuple[int, ...]
) -> None:
    four = replace(host_of("atlas", *[RTX_4090] * 4), nvlink=islands)
    (way,) = options_on(BACKEND, gguf_request(gguf_facts_of(LARGE), four), four).elastic
    empty = free(four)
    cards = tuple(
        replace(gpu, free_bytes=gpu.free_bytes - GIB) if gpu.index in taken else gpu for gpu in empty.gpus[::-1]
    )
    choice = way.fit((replace(empty, gpus=cards),))
    assert choice is not None
    assert choice.parts[0].indices == chosen


def test_what_was_laid_out_is_laid_out_again_from_its_layout() -> None:
    request = gguf_request(gguf_facts_of(LARGE), TWO, FAR, distributed=True, cpu_offload=True)
    several, hosts, partial = options_on(BACKEND, request, TWO).elastic
    for way, where in ((several, (free(TWO),)), (hosts, (free(TWO), free(FAR))), (partial, (free(ONE),))):
        choice = way.fit(where)
        assert choice is not None
        used = tuple(
            replace(host, gpus=tuple(gpu for gpu in host.gpus if gpu.index in (part.indices or ())))
            for host, part in zip(where, choice.parts, strict=True)
        )
        assert way.restore(choice.layout, used) == choice


def test_experts_leave_the_card_before_whole_layers_do() -> None:
    small = host_of("atlas", replace(RTX_4090, memory_bytes=12 * GIB))
    (way,) = options_on(BACKEND, gguf_request(gguf_facts_of(MOE), small, cpu_offload=True), small).elastic
    choice = way.fit((free(small),))
    assert choice is not None
    assert choice.layout.gpu_layers == choice.layout.layers
    assert choice.layout.cpu_moe_layers
    assert choice.offloaded_bytes > 0


def test_a_model_too_large_for_all_cards_says_how_much_is_missing() -> None:
    (way,) = options_on(BACKEND, gguf_request(gguf_facts_of(LARGE), UNEVEN), UNEVEN).elastic
    assert way.fit((free(UNEVEN),)) is None
    assert way.shortfall((free(UNEVEN),)) > GIB


def test_hosts_without_cards_offer_the_cpu_alone() -> None:
    bare = host_of("dune")
    options = options_on(BACKEND, gguf_request(gguf_facts_of(SMALL), bare, distributed=True), bare)
    assert [choice.label for choice in options.fixed] == ["CPU"]
    assert options.elastic == ()


# ------------------------------------------------------------------ processes


def test_the_server_is_told_every_setting_that_the_plan_rests_on() -> None:
    request = gguf_request(gguf_facts_of(SMALL), ONE, context=4096, parallel=4)
    (launch,) = launches(request, only(request, ONE, "one GPU"), (ONE, (0,), (20000,)))
    assert launch.program == "/usr/local/bin/llama-server"
    argv = launch.argv
    assert value(argv, "-m") == f"/var/lib/gslc/models/hf/lab/model/{REVISION}/model.gguf"
    assert (value(argv, "-c"), value(argv, "-np"), value(argv, "-ngl")) == ("16384", "4", "37")
    assert (value(argv, "--fit"), value(argv, "--cache-ram")) == ("off", "0")
    assert "--no-kv-unified" in argv
    assert "--metrics" in argv
    assert launch.health_path == "/health"
    assert launch.gpus == (0,)


def test_on_the_cpu_no_card_is_opened() -> None:
    request = gguf_request(gguf_facts_of(SMALL), ONE, cpu_offload=True)
    (launch,) = launches(request, only(request, ONE, "CPU"), (ONE, (), (20000,)))
    assert (value(launch.argv, "-ngl"), value(launch.argv, "--device")) == ("0", "none")
    assert launch.gpus == ()


def test_a_setting_of_the_user_replaces_ours_and_stands_once() -> None:
    request = gguf_request(gguf_facts_of(SMALL), ONE, args=("--ctx-size", "12288", "--threads=8"))
    (launch,) = launches(request, only(request, ONE, "one GPU"), (ONE, (0,), (20000,)))
    assert "-c" not in launch.argv
    assert value(launch.argv, "--ctx-size") == "12288"
    assert value(launch.argv, "--threads") == "8"


@pytest.mark.parametrize(("kind", "flag"), [("embedding", "--embedding"), ("reranker", "--rerank")])
def test_encoders_take_a_whole_request_in_one_batch(kind: str, flag: str) -> None:
    request = gguf_request(gguf_facts_of("bge-m3-q8_0", kind), ONE)  # type: ignore[arg-type]  # a kind's name
    (launch,) = launches(request, only(request, ONE, "one GPU"), (ONE, (0,), (20000,)))
    assert flag in launch.argv
    assert value(launch.argv, "-b") == value(launch.argv, "-ub") == value(launch.argv, "-c")


def test_remote_cards_come_first_and_each_has_a_server_that_starts_before_the_leader() -> None:
    request = gguf_request(gguf_facts_of(LARGE), NEAR_RPC, FAR_RPC, distributed=True)
    (way,) = options_on(BACKEND, request, NEAR_RPC).elastic
    choice = way.fit((free(NEAR_RPC), free(FAR_RPC)))
    assert choice is not None
    assert choice.parts[1].ports == ("rpc", "rpc")
    leader, *servers = launches(request, choice, (NEAR_RPC, (0,), (20000,)), (FAR_RPC, (0, 1), (20001, 20002)))
    assert value(leader.argv, "--rpc") == "10.0.0.2:20001,10.0.0.2:20002"
    assert len(value(leader.argv, "-ts").split(",")) == 3
    assert leader.after == ("chat-0-rpc-1", "chat-0-rpc-2")
    assert [server.role for server in servers] == ["rpc", "rpc"]
    assert [server.argv for server in servers] == [
        ("-H", "10.0.0.2", "-p", "20001", "-d", "CUDA0"),
        ("-H", "10.0.0.2", "-p", "20002", "-d", "CUDA0"),
    ]
    assert all(launch.group_restart for launch in (leader, *servers))


def test_an_api_key_goes_by_the_environment_and_never_by_the_command_line() -> None:
    request = gguf_request(gguf_facts_of(SMALL), ONE, api_key=SecretRef(name="door"))
    (launch,) = launches(request, only(request, ONE, "one GPU"), (ONE, (0,), (20000,)))
    assert launch.secret_env == (("LLAMA_API_KEY", "door"),)
    assert "door" not in " ".join(launch.argv)


def test_a_pinned_program_is_used_where_it_lies() -> None:
    request = gguf_request(
        gguf_facts_of(SMALL), ONE, engines={"llama.cpp": EnginePin(version="b11669", path="/opt/llama")}
    )
    (launch,) = launches(request, only(request, ONE, "one GPU"), (ONE, (0,), (20000,)))
    assert launch.program == "/opt/llama/llama-server"


# ------------------------------------------------------------------ containers


def test_containers_take_the_image_of_the_pinned_build_for_the_cards() -> None:
    box = on_target(ONE, "compose")
    request = gguf_request(gguf_facts_of(SMALL), box)
    (launch,) = launches(request, only(request, box, "one GPU"), (box, (0,), (20000,)))
    assert launch.image == "ghcr.io/ggml-org/llama.cpp:server-cuda-b11669"


def test_the_official_images_lack_rpc_and_that_is_said_before_anything_runs() -> None:
    box = on_target(TWO, "compose")
    request = gguf_request(gguf_facts_of(LARGE), box, distributed=True)
    options = options_on(BACKEND, request, box)
    assert [(item.what, item.rule) for item in options.refused] == [("several hosts", "rpc-image")]
    assert all(not way.spans_hosts for way in options.elastic)
    own = gguf_request(gguf_facts_of(LARGE), box, distributed=True, image="lab/llama-rpc:1")
    assert any(way.spans_hosts for way in options_on(BACKEND, own, box).elastic)


def test_no_image_is_published_for_ascend_cards() -> None:
    card = replace(H200, model="Ascend 910B", vendor="ascend")
    box = on_target(host_of("atlas", card), "compose")
    (refusal,) = BACKEND.excludes(gguf_request(gguf_facts_of(SMALL), box), class_of(box))
    assert "ascend" in refusal.detail
    native = host_of("atlas", card)
    assert BACKEND.excludes(gguf_request(gguf_facts_of(SMALL), native), class_of(native)) == ()


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"args": ("--port", "1")}, "GS303"),
        ({"context": 4096, "args": ("-c", "2048")}, "GS306"),
        ({"kv_cache_type": "q8_0", "args": ("-fa", "off")}, "GS308"),
        ({"args": ("-sm", "row")}, "GS317"),
        ({"tensor_split": (1, 1)}, "GS307"),
        ({"args": ("-ts", "1,1,2")}, "GS307"),
        ({"env": (("LLAMA_ARG_CTX_SIZE", "1"),)}, "GS316"),
        ({"env": (("llama_arg_ctx_size", "0"),)}, "GS316"),
        ({"args": ("-ts", "9" * 400 + ",1")}, "GS304"),
        ({"args": ("-ts", "\u0663,1")}, "GS304"),
    ],
)
def test_what_the_engine_would_not_do_is_said_at_its_place(keys: dict[str, object], code: str) -> None:
    found = BACKEND.review(gguf_request(gguf_facts_of(SMALL), ONE, **keys))
    assert [item.code for item in found if item.severity == "error"] == [code]
    assert all(item.place.line for item in found)


def test_diffusion_models_are_sent_to_llama_box() -> None:
    (found,) = BACKEND.review(gguf_request(flux_facts(), ONE))
    assert (found.code, found.help) == ("GS320", "set backend: llama-box")
