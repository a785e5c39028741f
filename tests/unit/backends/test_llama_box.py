"""llama-box: its own words for the same settings, and pictures."""

from __future__ import annotations

from dataclasses import replace

from tests.support.llama_requests import flux_facts, free, gguf_facts_of, gguf_request, on_target, options_on
from tests.support.vllm_models import GIB, RTX_4090, class_of, host_of

from gslc.backends.llama_box import LlamaBox
from gslc.ir.estimate import EstimateAsk
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import Host, SecretRef
from gslc.ir.lock import Seat
from gslc.ir.placement import Assignment, Choice, Request
from gslc.ir.plan import Launch
from gslc.memory.image import estimate

BACKEND = LlamaBox()
SMALL, LARGE = "qwen3-4b-q4_k_m", "llama3.3-70b-q4_k_m"
ONE = host_of("atlas", RTX_4090)
CARD = replace(RTX_4090, memory_bytes=18 * GIB)  # three of them hold the large model, two do not
NEAR, FAR = host_of("atlas", CARD), host_of("boreas", CARD, CARD)


def request_of(facts: ModelFacts, *hosts: Host, **keys: object) -> Request:
    return gguf_request(facts, *hosts, backend="llama-box", **keys)


def launches(
    request: Request, choice: Choice, *seats: tuple[Host, tuple[int, ...], tuple[int, ...]]
) -> tuple[Launch, ...]:
    assignment = Assignment(
        model="chat",
        replica=0,
        choice=choice,
        seats=tuple(Seat(host=host.name, gpus=gpus, ports=ports) for host, gpus, ports in seats),
    )
    return BACKEND.launches(request, assignment, {host.name: host for host, _, _ in seats})


def test_no_flag_is_used_that_llama_box_does_not_have() -> None:
    request = request_of(gguf_facts_of("bge-m3-q8_0", "embedding"), ONE)
    (launch,) = launches(request, options_on(BACKEND, request, ONE).fixed[0], (ONE, (0,), (20000,)))
    assert launch.program == "/usr/local/bin/llama-box"
    assert "--embeddings" in launch.argv
    assert not {"--fit", "--no-kv-unified", "--embedding"}.intersection(launch.argv)


def test_remote_cards_are_served_by_the_same_program() -> None:
    request = request_of(gguf_facts_of(LARGE), NEAR, FAR, distributed=True)
    (way,) = options_on(BACKEND, request, NEAR).elastic
    choice = way.fit((free(NEAR), free(FAR)))
    assert choice is not None
    leader, *servers = launches(request, choice, (NEAR, (0,), (20000,)), (FAR, (0, 1), (20001, 20002)))
    assert "--rpc" in leader.argv
    assert [server.argv for server in servers] == [
        ("--rpc-server-host", "10.0.0.2", "--rpc-server-port", port, "--rpc-server-main-gpu", "0")
        for port in ("20001", "20002")
    ]


def test_it_checks_no_api_key_and_has_no_image() -> None:
    request = request_of(gguf_facts_of(SMALL), ONE, api_key=SecretRef(name="door"))
    assert "GS319" in [item.code for item in BACKEND.review(request)]
    box = on_target(ONE, "compose")
    (refusal,) = BACKEND.excludes(request_of(gguf_facts_of(SMALL), box), class_of(box))
    assert refusal.rule == "image"


# ------------------------------------------------------------------ pictures


def test_a_diffusion_model_lies_on_one_card_or_on_the_cpu_and_is_never_split() -> None:
    pair = host_of("atlas", RTX_4090, RTX_4090)
    options = options_on(BACKEND, request_of(flux_facts(), pair, distributed=True, cpu_offload=True), pair)
    assert [(choice.rank, choice.label, choice.basis) for choice in options.fixed] == [
        (0, "one GPU", "derived"),
        (4, "CPU", "derived"),
    ]
    assert options.elastic == ()


def test_larger_pictures_take_more_memory_by_the_square_of_their_cells() -> None:
    def compute(side: int) -> int:
        args = ("--image-max-width", str(side), "--image-max-height", str(side))
        return options_on(BACKEND, request_of(flux_facts(), ONE, args=args), ONE).fixed[0].parts[0].gpus[0].compute

    tokens = [(side // 16) ** 2 + 256 for side in (768, 1024)]
    assert [compute(768), compute(1024)] == [4 * count * (24 * count + 17 * 3072) for count in tokens]


def test_a_whole_picture_decoded_at_once_takes_what_stable_diffusion_cpp_prints() -> None:
    args = ("--image-max-width=512", "--image-max-height=512", "--image-no-vae-tiling")
    (gpu, _) = options_on(BACKEND, request_of(flux_facts(), ONE, args=args), ONE).fixed
    assert gpu.parts[0].gpus[0].compute == 1664 << 20  # "vae compute buffer size: 1664.00 MB"


def test_the_server_is_told_to_draw() -> None:
    request = request_of(flux_facts(), ONE)
    (launch,) = launches(request, options_on(BACKEND, request, ONE).fixed[0], (ONE, (0,), (20000,)))
    assert launch.argv[launch.argv.index("--images") :] == ("--images", "--image-vae-tiling", "-ngl", "999", "-ts", "1")


def test_a_file_with_the_diffusion_part_alone_is_refused() -> None:
    codes = [item.code for item in BACKEND.review(request_of(flux_facts(complete=False), ONE))]
    assert "GS321" in codes
    args = ("--image-vae-model", "/m/ae.gguf", "--image-clip-l-model", "/m/clip.gguf")
    found = BACKEND.review(request_of(flux_facts(complete=False), ONE, args=args))
    assert {item.code for item in found if item.severity == "error"} == set()


def test_the_estimate_of_a_diffusion_file_is_the_one_of_the_plan() -> None:
    found = estimate(flux_facts(), EstimateAsk(devices=(RTX_4090,)))
    assert found.value is not None
    (gpu, cpu) = options_on(BACKEND, request_of(flux_facts(), ONE), ONE).fixed
    assert found.value.devices == gpu.parts[0].gpus
    assert found.value.fits
    on_cpu = estimate(flux_facts(), EstimateAsk(host_memory_bytes=GIB))
    assert on_cpu.value is not None
    assert on_cpu.value.host == cpu.parts[0].host
    assert not on_cpu.value.fits


def test_other_engines_and_several_cards_are_refused_for_pictures() -> None:
    for ask, code in (
        (EstimateAsk(engine="llama.cpp"), "GS320"),
        (EstimateAsk(devices=(RTX_4090, RTX_4090)), "GS322"),
        (EstimateAsk(engine="llama-box", engine_version="latest"), "GS312"),
    ):
        found = estimate(flux_facts(), ask)
        assert found.value is None
        assert [item.code for item in found.diagnostics] == [code]
