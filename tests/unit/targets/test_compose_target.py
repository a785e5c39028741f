"""What the compose target writes, read as YAML 1.1 reads it, dollars undone as compose does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from tests.support.hostile import HOSTILE
from tests.support.plans import (
    host_class,
    make_cluster,
    make_gpus,
    make_host,
    make_instance,
    make_launch,
    make_plan,
    templates,
)

from gslc.ir.inputs import EnginePin, Host, Model
from gslc.ir.plan import Instance, ModelFile
from gslc.targets.compose import ComposeTarget

FILE = ModelFile(
    path="/var/lib/gslc/models/hf/a/b/m.gguf", size_bytes=3, sha256="0" * 64, url="https://hub/m", token="HF_TOKEN"
)


def instance(*launches: Any, **changes: Any) -> Instance:
    return make_instance(tuple(launches), target="compose", **changes)


def host(name: str = "atlas", **changes: Any) -> Host:
    return make_host(name, target="compose", **changes)


def rendered(*instances: Instance, hosts: tuple[Host, ...] = (host(gpus=make_gpus(4)),)) -> dict[str, str]:
    outcome = ComposeTarget(templates=templates).render(make_plan(*instances), make_cluster(*hosts, target="compose"))
    return {file.path: file.text for file in outcome.value or ()}


def document(files: dict[str, str], name: str = "atlas") -> Any:
    def undo(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: undo(value) for key, value in node.items()}
        if isinstance(node, list):
            return [undo(value) for value in node]
        return node.replace("$$", "$") if isinstance(node, str) else node

    return undo(yaml.load(files[f"compose/{name}/compose.yaml"], Loader=yaml.CSafeLoader))


def service(*instances: Instance, name: str = "chat-0", **options: Any) -> Any:
    return document(rendered(*instances, **options))["services"][name]


def review(*instances: Instance, hosts: tuple[Host, ...] = (host(gpus=make_gpus(4)),)) -> list[str]:
    target = ComposeTarget(templates=templates)
    return [found.code for found in target.review(make_plan(*instances), make_cluster(*hosts, target="compose"))]


def test_a_host_has_a_compose_file_and_the_projects_name() -> None:
    files = rendered(instance(make_launch()))
    assert sorted(files) == ["compose/atlas/.env", "compose/atlas/compose.yaml"]
    assert files["compose/atlas/.env"] == "COMPOSE_PROJECT_NAME=lab\n"
    assert list(document(files)["services"]) == ["chat-0"]


def test_argv_and_environment_come_out_as_they_went_in() -> None:
    launch = make_launch(argv=HOSTILE, env=tuple((f"V{number}", text) for number, text in enumerate(HOSTILE)))
    found = service(instance(launch))
    assert found["command"] == list(HOSTILE)
    assert [found["environment"][f"V{number}"] for number in range(len(HOSTILE))] == list(HOSTILE)


def test_every_scalar_that_is_text_is_double_quoted() -> None:
    text = rendered(instance(make_launch(files=(FILE,), gpus=(0,), vendor="nvidia", shared_memory_bytes=1 << 30)))
    for line in text["compose/atlas/compose.yaml"].splitlines():
        value = line.partition(": ")[2] or (line.strip().removeprefix("- ") if line.strip().startswith("- ") else "")
        if value and not line.startswith("#"):
            assert value.startswith('"') or value in ("-1", "67108864", "3", "true", "{}"), line


def test_cards_are_reserved_by_uuid_and_ordered_inside() -> None:
    found = service(instance(make_launch(gpus=(3, 1), vendor="nvidia")), hosts=(host(gpus=make_gpus(4, uuids=True)),))
    [device] = found["deploy"]["resources"]["reservations"]["devices"]
    assert device == {
        "driver": "nvidia",
        "device_ids": ["GPU-00000001-0000-4000-8000-000000000000", "GPU-00000003-0000-4000-8000-000000000000"],
        "capabilities": ["gpu"],
    }
    # inside, cards keep their PCI order and count from 0
    assert found["environment"]["CUDA_VISIBLE_DEVICES"] == "1,0"
    assert found["environment"]["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_cards_without_uuids_are_reserved_by_index() -> None:
    found = service(instance(make_launch(gpus=(2,), vendor="nvidia")))
    assert found["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] == ["2"]


def test_a_container_of_its_own_has_arguments_of_its_own() -> None:
    launch = make_launch(
        gpus=(2,), vendor="nvidia", gpu_selection="argument", argv=("cuda:2",), isolated_argv=("cuda:0",)
    )
    assert service(instance(launch))["command"] == ["cuda:0"]


def test_amd_cards_are_device_nodes_and_a_variable() -> None:
    found = service(instance(make_launch(gpus=(1,), vendor="amd")), hosts=(host(gpus=make_gpus(2, "amd")),))
    assert found["devices"] == ["/dev/dri:/dev/dri", "/dev/kfd:/dev/kfd"]
    assert found["group_add"] == ["video"]
    assert found["environment"]["HIP_VISIBLE_DEVICES"] == "1"
    assert "deploy" not in found


def test_ascend_cards_are_device_nodes_and_the_drivers_folder() -> None:
    found = service(instance(make_launch(gpus=(1,), vendor="ascend")), hosts=(host(gpus=make_gpus(2, "ascend")),))
    assert found["devices"][0] == "/dev/davinci1:/dev/davinci1"
    assert "/usr/local/Ascend/driver:/usr/local/Ascend/driver:ro" in found["volumes"]
    assert found["environment"]["ASCEND_RT_VISIBLE_DEVICES"] == "0"


def test_a_launch_on_the_cpu_is_given_no_card_by_a_default_runtime() -> None:
    assert service(instance(make_launch()))["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_tensor_parallel_gets_shared_memory() -> None:
    assert service(instance(make_launch(shared_memory_bytes=17179869184)))["shm_size"] == "17179869184"


def test_a_health_check_waits_for_loading() -> None:
    found = service(instance(make_launch(start_seconds=900)))["healthcheck"]
    assert found["start_period"] == "900s"
    assert found["test"][:2] == ["CMD", "curl"]
    assert found["test"][-1] == "http://127.0.0.1:20000/health"


def test_an_image_without_curl_is_asked_by_python() -> None:
    found = service(instance(make_launch(health_program="python3")))["healthcheck"]
    assert found["test"][:3] == ["CMD", "python3", "-c"]
    compile(found["test"][3], "probe", "exec")


def test_a_launch_without_http_has_no_health_check() -> None:
    assert "healthcheck" not in service(instance(make_launch(health_path=None)))


def test_files_are_fetched_by_a_service_that_must_have_ended_well() -> None:
    files = rendered(instance(make_launch(files=(FILE,))))
    services = document(files)["services"]
    assert services["chat-0"]["depends_on"] == {"chat-fetch": {"condition": "service_completed_successfully"}}
    assert services["chat-0"]["volumes"] == ["/var/lib/gslc/models:/var/lib/gslc/models:ro"]
    fetch = services["chat-fetch"]
    assert fetch["volumes"] == ["./host:/gslc:ro", "/var/lib/gslc/models:/var/lib/gslc/models:rw"]
    assert fetch["command"][-1] == "/run/secrets/hf_token"
    assert document(files)["secrets"] == {"hf_token": {"file": "/etc/gslc/secrets/hf_token"}}
    assert {"compose/atlas/host/chat.fetch.json", "compose/atlas/host/gslc_host.py"} < set(files)


def test_files_outside_the_models_folder_and_mirrors_are_mounted() -> None:
    own = replace(FILE, path="/data/own/m.gguf", url=None, token=None)
    mirrored = replace(FILE, url="file:///mnt/mirror%20a/hf/m.gguf")
    services = document(rendered(instance(make_launch(files=(own, mirrored)))))["services"]
    assert "/data/own:/data/own:ro" in services["chat-0"]["volumes"]
    assert {"/data/own:/data/own:ro", "/mnt/mirror a/hf:/mnt/mirror a/hf:ro"} < set(services["chat-fetch"]["volumes"])


def test_parts_of_the_same_host_start_in_order_and_those_of_others_are_waited_for() -> None:
    near = make_launch("chat-0-rpc-0", role="rpc", port=20001, health_path=None)
    far = make_launch("chat-0-rpc-1", role="rpc", port=20002, health_path=None, host="borea", listen="10.0.0.2")
    leader = make_launch(after=("chat-0-rpc-0", "chat-0-rpc-1"), image="own/llama:rpc")
    services = document(rendered(instance(leader, near, far), hosts=(host(), host("borea", address="10.0.0.2"))))[
        "services"
    ]
    assert services["chat-0"]["depends_on"] == {
        "chat-0-rpc-0": {"condition": "service_started"},
        "chat-0-wait": {"condition": "service_completed_successfully"},
    }
    assert services["chat-0-wait"]["command"][-1] == "tcp://10.0.0.2:20002"


def test_instances_on_one_card_start_one_after_the_other() -> None:
    first = instance(make_launch("a-0", gpus=(0,), vendor="nvidia"))
    second = instance(make_launch("b-0", port=20001, gpus=(0,), vendor="nvidia"), startup_group=("a-0",))
    assert service(first, second, name="b-0")["depends_on"] == {"a-0": {"condition": "service_healthy"}}


def test_secrets_are_files_outside_the_repository() -> None:
    launch = make_launch(secret_env=(("VLLM_API_KEY", "chat-key"),), hub_token=True)
    found = service(instance(launch))
    assert found["env_file"] == ["/etc/gslc/secrets/chat-key.env"]
    assert found["secrets"] == ["hf_token"]
    assert found["environment"]["HF_TOKEN_PATH"] == "/run/secrets/hf_token"


def test_caches_lie_on_a_named_volume() -> None:
    files = rendered(instance(make_launch(cache_dirs=("hub",), cache_env=(("HF_HOME", "hub"),))))
    assert document(files)["volumes"] == {"chat-0-cache": {}}
    assert document(files)["services"]["chat-0"]["environment"]["HF_HOME"] == "/var/cache/gslc/hub"


def test_an_entry_point_is_written_where_the_launch_has_one() -> None:
    assert service(instance(make_launch(image_entrypoint=("vox-box",))))["entrypoint"] == ["vox-box"]
    assert "entrypoint" not in service(instance(make_launch()))


@pytest.mark.parametrize("os", ["darwin", "windows"])
def test_other_systems_are_told_what_can(os: str) -> None:
    found = ComposeTarget(templates=templates).excludes(host_class(os=os, target="compose"))
    assert found is not None
    assert "raw_exec" in found.detail


def test_an_official_image_without_rpc_is_refused() -> None:
    image = "ghcr.io/ggml-org/llama.cpp:server-cuda-b1"
    rpc = make_launch("chat-0-rpc-0", role="rpc", port=20001, health_path=None, image=image)
    assert review(instance(make_launch(image=image, after=("chat-0-rpc-0",)), rpc)) == ["GS653", "GS653"]
    assert review(instance(make_launch(image=image))) == []


def test_a_launch_without_an_image_is_refused() -> None:
    assert review(instance(make_launch(image=None))) == ["GS652"]


def test_cards_that_no_container_can_be_given_are_refused() -> None:
    assert review(instance(make_launch(gpus=(0,), vendor="apple")), hosts=(host(gpus=make_gpus(1, "apple")),)) == [
        "GS657"
    ]


def test_a_folder_that_the_short_volume_form_would_cut_is_refused() -> None:
    assert review(instance(make_launch(model_dir="/data/a:b"))) == ["GS655"]


def test_workers_that_would_have_to_restart_with_their_leader_are_told_of() -> None:
    worker = make_launch(
        "chat-0-worker-1", role="worker", host="borea", health_path=None, group_restart=True, listen="10.0.0.2"
    )
    hosts = (host(address="10.0.0.1"), host("borea", address="10.0.0.2"))
    found = review(instance(make_launch(group_restart=True), worker), hosts=hosts)
    assert found == ["GS660"]


def test_two_models_with_one_service_name_are_refused() -> None:
    rpc = make_launch("a-0-rpc-0", role="rpc", port=20001, health_path=None)
    assert review(instance(make_launch("a-0"), rpc), instance(make_launch("a-0-rpc-0", port=20002))) == ["GS662"]


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (("--chat-template-file", "/etc/x.jinja"), [1]),
        (("--jinja", "--grammar-file=/srv/g.gbnf", "--path", "/srv/www"), [1, 3]),
        (("--lora-modules", "a=/srv/lora"), [1]),
        (("--chat-template-file", "/var/lib/gslc/models/x.jinja"), []),
        (("--chat-template-file", "/data/own/x.jinja"), []),  # beside the model's own file, whose folder is mounted
        (("--root-path", "/chat", "--root-path=/chat", "--temp", "0", "--chat-template", "{{ a/b }}"), []),
    ],
)
def test_files_that_the_container_would_not_have_are_warned_of(args: tuple[str, ...], found: list[int]) -> None:
    own = ModelFile(path="/data/own/m.gguf", size_bytes=1, sha256=None, url=None)
    plan = make_plan(instance(make_launch(files=(own,))))
    for model, expected in (
        (Model(name="chat", source=None, args=args), found),
        (Model(name="chat", source=None, args=args, image="own:1"), []),
    ):
        cluster = make_cluster(host(gpus=make_gpus(4)), models=(model,), target="compose")
        said = [one for one in ComposeTarget(templates=templates).review(plan, cluster) if one.code == "GS665"]
        assert [(one.severity, one.place.file) for one in said] == [
            ("warning", f"models/chat/args/{index}") for index in expected
        ]
    pinned = make_cluster(
        host(engines={"llama.cpp": EnginePin(image="own:1")}), models=(Model(name="chat", source=None, args=args),)
    )
    assert all(one.code != "GS665" for one in ComposeTarget(templates=templates).review(plan, pinned))
