"""vLLM before 0.11.2 over several hosts: parts, processes and mistakes of instances that Ray brings together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.vllm_models import (
    GIB,
    H200,
    choices_of,
    class_of,
    host_of,
    launches_of,
    request_of,
)

from gslc.backends.vllm import Vllm
from gslc.backends.vllm_launch import SHARED_MEMORY_BYTES
from gslc.engines.vllm_ray import OBJECT_STORE_BYTES
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.inputs import EnginePin, GpuKind, Host, Requirement, RequirementPart, SecretRef
from gslc.ir.placement import Request
from gslc.ir.plan import Launch
from gslc.memory.vllm.spanning import ray_host_bytes

BIG = "meta-llama/Llama-3.1-405B-Instruct"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
OLD, NEW = "0.9.2", "0.11.2"
HOSTS = tuple(host_of(name, *[H200] * 4) for name in ("alpha", "beta"))
SHORT = {"context": 4096, "gpu_memory_utilization": 950}


def request(version: str = OLD, hosts: tuple[Host, ...] = HOSTS, **keys: object) -> Request:
    return request_of(BIG, *hosts, version=version, **{"distributed": True, **SHORT, **keys})  # type: ignore[arg-type]


def launches(version: str = OLD, hosts: tuple[Host, ...] = HOSTS, **keys: object) -> tuple[Launch, ...]:
    return launches_of(request(version, hosts, **keys), *hosts)


def review(*hosts: Host, **keys: object) -> list[Diagnostic]:
    made = request(hosts=hosts or HOSTS, **keys)  # type: ignore[arg-type]
    return list(Vllm().review(made))


# ------------------------------------------------------------------ processes


def test_the_leader_starts_the_head_and_becomes_the_server_with_its_own_words() -> None:
    leader, _ = launches()
    shell, script, vllm, *words = leader.argv
    assert (leader.program, shell, vllm) == ("/bin/sh", "-c", "/usr/local/bin/vllm")
    assert "/usr/local/bin/ray start --head --port=20001 " in script
    assert " --node-ip-address=10.0.0.1 --num-gpus=4 " in script
    assert words[:2] == ["serve", f"/var/lib/gslc/models/hf/{BIG}/{'a' * 40}"]
    assert words[words.index("--distributed-executor-backend") + 1] == "ray"
    assert not [word for word in words if word.startswith(("--nnodes", "--node-rank", "--master", "--headless"))]
    assert (leader.port, leader.extra_ports, leader.health_path) == (20000, (20001,), "/health")


def test_a_follower_joins_by_its_own_address_and_answers_nobody() -> None:
    leader, follower = launches()
    assert (follower.name, follower.role, follower.rank) == ("chat-0-worker-1", "worker", 1)
    assert follower.argv[2:6] == ("/usr/local/bin/ray", "start", "--address=10.0.0.1:20001", "--block")
    assert {"--node-ip-address=10.0.0.2", "--num-gpus=4"} <= set(follower.argv)
    assert "serve" not in follower.argv
    assert (follower.port, follower.extra_ports, follower.health_path) == (0, (), None)
    assert leader.group_restart
    assert follower.group_restart
    assert (leader.ends_with_leader, follower.ends_with_leader) == (False, True)
    assert follower.gpus == (0, 1, 2, 3)
    assert follower.files == leader.files


def test_containers_find_both_programs_by_path_and_shared_memory_holds_the_store() -> None:
    for launch in launches():
        assert launch.image == "vllm/vllm-openai:v0.9.2"
        assert launch.image_entrypoint == ("/bin/sh",)
        assert launch.isolated_argv is not None
        assert not [word for word in launch.isolated_argv if "/usr/local/bin" in word]
        assert launch.isolated_argv[2] == ("vllm" if launch.role == "leader" else "ray")
        assert launch.isolated_argv[3:] == launch.argv[3:]
        assert launch.shared_memory_bytes == SHARED_MEMORY_BYTES > OBJECT_STORE_BYTES


def test_variables_are_each_hosts_own_and_no_folder_of_the_leader_reaches_another_host() -> None:
    leader, follower = launches()
    both = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}
    assert both.items() <= dict(leader.env).items()
    assert both.items() <= dict(follower.env).items()
    assert (dict(leader.env)["VLLM_HOST_IP"], dict(follower.env)["VLLM_HOST_IP"]) == ("10.0.0.1", "10.0.0.2")
    assert dict(leader.env)["RAY_ADDRESS"] == "10.0.0.1:20001"
    for launch in (leader, follower):
        # vLLM copies variables that start with VLLM_ from the server to the workers of all hosts
        assert not [name for name, _ in launch.cache_env if name.startswith("VLLM_")]
        assert {folder for _, folder in launch.cache_env} == set(launch.cache_dirs)


@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_key_of_the_server_is_on_the_leader_alone(version: str) -> None:
    leader, follower = launches(version, api_key=SecretRef(name="key"), env=(("T", SecretRef(name="t")),))
    assert leader.secret_env == (("T", "t"), ("VLLM_API_KEY", "key"))
    assert follower.secret_env == (("T", "t"),)
    env = (("T", SecretRef(name="t")), ("VLLM_API_KEY", SecretRef(name="key")))
    assert [launch.secret_env for launch in launches(version, env=env)] == [leader.secret_env, follower.secret_env]


def test_the_pinned_folder_holds_both_programs() -> None:
    pin = {"vllm": EnginePin(version=OLD, path="/opt/vllm/bin")}
    hosts = tuple(replace(host, engines=pin) for host in HOSTS)
    leader, follower = launches(hosts=hosts)
    assert "; /opt/vllm/bin/ray start " in leader.argv[1]
    assert (leader.argv[2], follower.argv[2]) == ("/opt/vllm/bin/vllm", "/opt/vllm/bin/ray")


def test_one_host_needs_no_ray() -> None:
    (launch,) = launches_of(request_of(LLAMA, HOSTS[0], version=OLD, distributed=True), HOSTS[0])
    assert launch.program == "/usr/local/bin/vllm"
    args = ("--distributed-executor-backend", "ray")
    (asked,) = launches_of(request_of(LLAMA, HOSTS[0], version=OLD, distributed=True, args=args), HOSTS[0])
    assert asked.argv == launch.argv


# ------------------------------------------------------------------ which release


def test_a_newer_release_starts_ray_only_where_it_is_asked_to() -> None:
    assert launches(NEW)[0].program == "/usr/local/bin/vllm"
    leader, _ = launches(NEW, args=("--distributed-executor-backend=ray",))
    assert leader.program == "/bin/sh"
    assert leader.argv.count("--distributed-executor-backend") == 1
    assert "--nnodes" not in leader.argv


def test_executors_that_cannot_be_are_refused_at_their_place() -> None:
    def said(version: str, *args: str, **keys: object) -> list[tuple[str, int]]:
        made = request(version, args=args, **keys)
        return [(item.code, item.place.column) for item in Vllm().review(made)]

    flag = "--distributed-executor-backend"
    assert said(OLD, flag, "ray") == []
    assert said(NEW, "--seed", "7", flag, "ray") == []
    assert said("0.26.0", "--seed", "7", flag, "ray") == [("GS347", 3)]
    assert said(OLD, flag, "mp") == [("GS347", 1)]
    assert said(OLD, flag, "ray", distributed=False) == [("GS347", 1)]
    (found,) = Vllm().review(request("0.26.0", args=(flag, "ray")))
    assert "0.26.0 comes without Ray" in found.message


# ------------------------------------------------------------------ parts


def test_ray_itself_is_counted_in_host_memory_on_every_host() -> None:
    (by_ray,) = choices_of(request(), HOSTS[0])
    (native,) = choices_of(request(NEW), HOSTS[0])
    assert [part.ports for part in by_ray.parts] == [("http", "master"), ()]
    assert [part.gpus for part in by_ray.parts] == [part.gpus for part in native.parts]
    for ours, theirs in zip(by_ray.parts, native.parts, strict=True):
        assert ours.host.total - theirs.host.total == ray_host_bytes() == OBJECT_STORE_BYTES + GIB


def test_a_follower_has_room_for_any_stage_since_ray_orders_them_by_address() -> None:
    hosts = tuple(host_of(name, H200, H200) for name in ("alpha", "beta", "gamma"))
    keys = {"pipeline_parallel": 3, "tensor_parallel": 2, "context": 4096}
    sizes = {}
    for version in (OLD, NEW):
        made = request_of("Qwen/Qwen2.5-32B-Instruct", *hosts, version=version, distributed=True, **keys)
        # two cards a host, and six ranks asked for
        (choice,) = choices_of(made, hosts[0])
        sizes[version] = [[need.weights for need in part.gpus] for part in choice.parts]
    assert sizes[NEW][1] != sizes[NEW][2]
    assert sizes[OLD][0] == sizes[NEW][0]
    assert sizes[OLD][1] == sizes[OLD][2] == max(sizes[NEW][1:])


def test_stated_parts_have_a_port_where_the_others_find_the_leader() -> None:
    part = RequirementPart(gpus=4, gpu_memory_bytes=130 * GIB, memory_bytes=32 * GIB)
    stated = (Requirement(parts=(part, part)),)
    for version in (OLD, NEW):
        made = request_of(BIG, *HOSTS, version=version, distributed=True, requirements=stated)
        (choice,) = choices_of(made, HOSTS[0])
        assert [need.ports for need in choice.parts] == [("http", "master"), ()]
        leader, follower = launches_of(made, *HOSTS)
        assert (leader.extra_ports, follower.port) == ((20001,), 0)
        assert [word for word in follower.argv if "20001" in word]


def test_other_vendors_are_refused_by_name() -> None:
    mi300 = GpuKind(model="AMD Instinct MI300X", vendor="amd", memory_bytes=192 * GIB)
    hosts = tuple(host_of(name, *[mi300] * 2) for name in ("alpha", "beta"))
    options = Vllm().options(request(hosts=hosts), class_of(hosts[0], {"vllm": EnginePin(version=OLD)}))
    assert options.fixed == ()
    assert [item.detail for item in options.refused if item.rule == "Ray"] == [
        "vLLM 0.9.2 starts several hosts with Ray, which gslc sets up for nvidia, not amd"
    ]


# ------------------------------------------------------------------ mistakes


def test_hosts_that_ray_can_bring_together_have_nothing_said_of_them() -> None:
    assert review() == []


def test_different_model_folders_are_an_error_at_the_second_host() -> None:
    moved = replace(HOSTS[1], model_dir="/data/models")
    (found,) = review(HOSTS[0], moved)
    assert (found.code, found.severity) == ("GS366", "error")
    assert "/var/lib/gslc/models on alpha, /data/models on beta" in found.message
    assert review(HOSTS[0], moved, gpus=tuple(("alpha", index) for index in range(4))) == []
    assert review(HOSTS[0], replace(moved, gpus=())) == []


def test_hosts_without_an_address_are_not_looked_at_since_they_get_no_part() -> None:
    assert (
        review(*HOSTS, replace(host_of("gamma", *[H200] * 4), address=None, listen="::", model_dir="/data/models"))
        == []
    )


def test_an_ipv6_address_is_an_error_at_its_host() -> None:
    (found,) = review(HOSTS[0], replace(HOSTS[1], address="fd00::2"))
    assert (found.code, found.severity) == ("GS367", "error")
    assert "fd00::2 of beta" in found.message


def test_a_port_range_with_a_port_of_rays_own_is_an_error() -> None:
    made = request()
    made = replace(made, cluster=replace(made.cluster, port_range=(8000, 8999)))
    (found,) = Vllm().review(made)
    assert (found.code, found.severity) == ("GS368", "error")
    assert "8265" in found.message


@pytest.mark.parametrize("keys", [{"distributed": False}, {"args": ("--seed", "7"), "version": NEW}])
def test_nothing_of_it_is_asked_of_models_that_ray_does_not_start(keys: dict[str, object]) -> None:
    hosts = (HOSTS[0], replace(HOSTS[1], model_dir="/data", address="fd00::2"))
    made = request(**{"hosts": hosts, **keys})  # type: ignore[arg-type]
    made = replace(made, cluster=replace(made.cluster, port_range=(8000, 8999)))
    assert list(Vllm().review(made)) == []
