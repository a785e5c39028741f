"""Who may run what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from small_fleets import REGISTRY, AnyTarget, cluster, host, model, need

from gslc.contracts import Registry
from gslc.ir.diagnostic import Decision, Excluded
from gslc.ir.facts import GgufFacts, ModelFacts, SafetensorsFacts, SpeechFacts
from gslc.ir.inputs import Cluster, EnginePin, Model, Source
from gslc.ir.placement import Assignment, Candidates, Choice, HostClass, Options, PartNeed, Request
from gslc.ir.plan import DeviceMemory, Launch, Layout
from gslc.passes.eligible import find_candidates
from gslc.passes.host_classes import classify_hosts

CPU = Choice(
    rank=4,
    label="CPU",
    parts=(PartNeed(gpus=(), host=DeviceMemory(weights=8)),),
    layout=Layout(),
    offloaded_bytes=8,
)
GPU = Choice(
    rank=0, label="one GPU", parts=(PartNeed(gpus=(DeviceMemory(weights=8),), host=DeviceMemory()),), layout=Layout()
)


@dataclass(frozen=True)
class Engine:
    """A backend that offers one GPU or the CPU, and runs on linux only."""

    name: str
    default_pin: EnginePin = field(default_factory=lambda: EnginePin(version="1", image="image:1"))
    fixed: tuple[Choice, ...] = (GPU, CPU)

    def review(self, request: Request) -> tuple[()]:
        return ()

    def excludes(self, request: Request, host_class: HostClass) -> tuple[Excluded, ...]:
        if host_class.os != "linux":
            return (Excluded(what="", rule="platform", detail=f"{self.name} does not run on {host_class.os}"),)
        return ()

    def options(self, request: Request, host_class: HostClass) -> Options:
        return Options(fixed=self.fixed)

    def engine_version(self, request: Request, host_class: HostClass) -> str:
        return "1"

    def launches(self, request: Request, assignment: Assignment, hosts: object) -> tuple[Launch, ...]:
        return ()


ENGINES = Registry(
    backends={name: Engine(name) for name in ("vllm", "llama-box", "llama.cpp", "vox-box")} | dict(REGISTRY.backends),
    targets=REGISTRY.targets,
)
GGUF = GgufFacts(
    architecture="llama", hyper={}, vocabulary_size=0, tensors=(), header_sha256="", header_bytes=0, file_bytes=0
)
BASE = ModelFacts(source="hf://a/b", revision=None, files=(), kind="chat", kind_reason="")
FACTS = {
    "gguf": replace(BASE, gguf=GGUF),
    "speech": replace(BASE, speech=SpeechFacts(framework="faster-whisper", model_file="model.bin", model_bytes=1)),
    "dense": replace(BASE, safetensors=SafetensorsFacts(config={}, tensors=(), parameter_bytes=0, header_sha256=None)),
}


def hub_model(name: str = "m", **keys: object) -> Model:
    return Model(name=name, source=Source(kind="hf", text="hf://a/b", repository="a/b"), **keys)  # type: ignore[arg-type]


def find(fleet: Cluster, facts: str | None = None) -> tuple[Candidates, ...]:
    found = find_candidates(fleet, {"m": FACTS[facts]} if facts else {}, ENGINES)
    assert found.value is not None
    return found.value


def decision(candidates: Candidates, topic: str) -> Decision:
    return next(entry for entry in candidates.decisions if entry.topic == topic)


# ------------------------------------------------------------------ backend


@pytest.mark.parametrize(
    ("facts", "keys", "backend", "rule"),
    [
        ("gguf", {}, "llama-box", "gguf"),
        ("gguf", {"backend_for_gguf": "llama.cpp"}, "llama.cpp", "gguf"),
        ("gguf", {"backend": "vllm"}, "vllm", "explicit"),
        ("speech", {}, "vox-box", "speech"),
        ("dense", {}, "vllm", "otherwise"),
    ],
)
def test_the_backend_follows_the_rules(facts: str, keys: dict[str, object], backend: str, rule: str) -> None:
    (candidates,) = find(cluster([host("a", [24])], [hub_model(**keys)]), facts)
    assert candidates.request.backend == backend
    assert decision(candidates, "backend").rule == rule


def test_llama_box_is_warned_about_once() -> None:
    fleet = cluster([host("a", [24])], [hub_model("m"), hub_model("n")])
    found = find_candidates(fleet, {"m": FACTS["gguf"], "n": FACTS["gguf"]}, ENGINES)
    assert [entry.code for entry in found.diagnostics] == ["GS381"]


def test_an_unknown_backend_is_an_error() -> None:
    found = find_candidates(cluster([host("a", [24])], [hub_model(backend="tgi")]), {}, ENGINES)
    assert found.value is None
    assert [entry.code for entry in found.diagnostics] == ["GS382"]


def test_a_model_without_facts_is_an_error() -> None:
    found = find_candidates(cluster([host("a", [24])], [hub_model()]), {}, ENGINES)
    assert [entry.code for entry in found.diagnostics] == ["GS383"]


# ------------------------------------------------------------------ hosts


def test_vllm_without_a_selector_wants_linux_on_amd64() -> None:
    arm = host("arm", [24], arch="arm64", labels={"arch": "arm64"})
    (candidates,) = find(cluster([host("a", [24]), arm], [hub_model()]), "dense")
    assert candidates.hosts == ("a",)
    assert candidates.request.selector == {"arch": "amd64", "os": "linux"}


def test_the_users_selector_replaces_it_whole() -> None:
    arm = host("arm", [24], arch="arm64", labels={"arch": "arm64", "rack": "r1"})
    (candidates,) = find(cluster([host("a", [24]), arm], [hub_model(host_selector=(("rack", "r1"),))]), "dense")
    assert candidates.hosts == ("arm",)


def test_a_model_no_host_can_run_says_which_rule_excludes_each() -> None:
    hosts = [
        host("a", [24], labels={"rack": "r2"}),
        host("b", [24]),
        host("mac", [24], os="darwin", labels={"rack": "r1", "os": "darwin"}),
    ]
    found = find_candidates(
        cluster(hosts, [hub_model(host_selector=(("rack", "r1"),))]), {"m": FACTS["dense"]}, ENGINES
    )
    assert [entry.code for entry in found.diagnostics] == ["GS380"]
    assert found.diagnostics[0].message == (
        "no host can run model m with vllm: b: no label rack, the model wants rack=r1; "
        "a: rack is r2, the model wants r1; mac: vllm does not run on darwin"
    )


def test_pins_leave_only_their_hosts() -> None:
    (candidates,) = find(cluster([host("a", [24]), host("b", [24])], [hub_model(gpus=(("b", 0),))]), "dense")
    assert candidates.hosts == ("b",)


def test_a_target_that_does_not_run_there_excludes_the_host() -> None:
    registry = Registry(backends=ENGINES.backends, targets={"systemd": AnyTarget("systemd", refuses="linux")})
    found = find_candidates(cluster([host("a", [24])], [hub_model()]), {"m": FACTS["dense"]}, registry)
    assert "systemd does not run on linux" in found.diagnostics[0].message


# ------------------------------------------------------------------ the CPU rule


def labels(candidates: Candidates) -> list[str]:
    return [choice.label for options in candidates.options.values() for choice in options.fixed]


def test_the_cpu_needs_a_switch_where_there_is_a_gpu() -> None:
    (candidates,) = find(cluster([host("a", [24])], [hub_model()]), "gguf")
    assert labels(candidates) == ["one GPU"]
    assert [refusal.rule for options in candidates.options.values() for refusal in options.refused] == ["cpu_offload"]


def test_the_cpu_is_allowed_with_the_switch() -> None:
    (candidates,) = find(cluster([host("a", [24])], [hub_model(cpu_offload=True)]), "gguf")
    assert labels(candidates) == ["one GPU", "CPU"]


def test_the_cpu_needs_no_switch_where_no_eligible_host_has_a_gpu() -> None:
    (candidates,) = find(
        cluster([host("a"), host("b", [24], labels={"rack": "r1"})], [hub_model(host_selector=(("host", "a"),))]),
        "gguf",
    )
    assert "CPU" in labels(candidates)


def test_a_choice_that_says_so_needs_no_switch() -> None:
    registry = Registry(
        backends={**ENGINES.backends, "vox-box": Engine("vox-box", fixed=(GPU, replace(CPU, needs_no_switch=True)))},
        targets=ENGINES.targets,
    )
    found = find_candidates(cluster([host("a", [24])], [hub_model()]), {"m": FACTS["speech"]}, registry)
    assert found.value is not None
    assert labels(found.value[0]) == ["one GPU", "CPU"]


def test_a_stated_alternative_needs_no_switch() -> None:
    (candidates,) = find(cluster([host("a", [24])], [model("m", need(1, 8), need(0, 0, 8, 8))]))
    assert labels(candidates) == ["one GPU", "CPU"]


# ------------------------------------------------------------------ classes


def test_hosts_that_differ_only_by_name_and_labels_share_a_class() -> None:
    fleet = cluster([host("a", [24]), host("b", [24], labels={"rack": "r1"}), host("c", [48])], [])
    classes = classify_hosts(fleet, ENGINES)
    assert classes["a"] is classes["b"]
    assert classes["a"] != classes["c"]


def test_a_host_overrides_the_clusters_engine_and_another_version_forgets_the_image() -> None:
    own = host("a", [24], engines={"vllm": EnginePin(version="2")})
    fleet = cluster([own, host("b", [24])], [], engines={"vllm": EnginePin(path="/opt/vllm")})
    engines = {name: dict(found.engines)["vllm"] for name, found in classify_hosts(fleet, ENGINES).items()}
    assert engines["a"] == EnginePin(version="2", path="/opt/vllm", image=None)
    assert engines["b"] == EnginePin(version="1", path="/opt/vllm", image="image:1")
