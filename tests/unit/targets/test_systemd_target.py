"""What the systemd target writes, read back by systemd's rules."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.support import systemd_reader as reader
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

from gslc.ir.inputs import Host
from gslc.ir.plan import Instance, ModelFile
from gslc.targets.systemd import SystemdTarget

KNOWN = {"C": "/var/cache", "S": "/var/lib", "d": "/run/credentials/x"}
FILE = ModelFile(
    path="/var/lib/gslc/models/hf/a/b/m.gguf", size_bytes=3, sha256="0" * 64, url="https://hub/m", token="HF_TOKEN"
)


def rendered(*instances: Instance, hosts: tuple[Host, ...] = (make_host(gpus=make_gpus(4)),)) -> dict[str, str]:
    outcome = SystemdTarget(templates=templates).render(make_plan(*instances), make_cluster(*hosts))
    assert outcome.diagnostics == ()
    return {file.path: file.text for file in outcome.value or ()}


def unit(files: dict[str, str], name: str, host: str = "atlas") -> str:
    return files[f"systemd/{host}/gslc-lab-{name}.service"]


def test_a_launch_becomes_one_service_that_the_target_wants() -> None:
    files = rendered(make_instance(make_launch()))
    assert sorted(files) == [
        "systemd/atlas/gslc-lab-chat-0.service",
        "systemd/atlas/gslc-lab.target",
        "systemd/atlas/host/gslc_host.py",
    ]
    assert reader.values(files["systemd/atlas/gslc-lab.target"], "Wants") == ["gslc-lab-chat-0.service"]
    assert reader.values(unit(files, "chat-0"), "PartOf") == ["gslc-lab.target"]


def test_argv_and_environment_come_out_as_they_went_in() -> None:
    launch = make_launch(argv=HOSTILE, env=tuple((f"V{number}", text) for number, text in enumerate(HOSTILE)))
    text = unit(rendered(make_instance(launch)), "chat-0")
    [raw] = reader.values(text, "ExecStart")
    assert reader.command(raw, KNOWN, {"HOME": "/root"}) == ["/usr/local/bin/server", *HOSTILE]
    environment = reader.environment(text, KNOWN)
    assert [environment[f"V{number}"] for number in range(len(HOSTILE))] == list(HOSTILE)


def test_a_started_service_answers() -> None:
    text = unit(rendered(make_instance(make_launch(start_seconds=77))), "chat-0")
    [raw] = reader.values(text, "ExecStartPost")
    assert reader.words(raw) == [
        "/usr/bin/python3", "/etc/gslc/lab/gslc_host.py", "wait", "--pid", "${MAINPID}", "--seconds", "77",
        "http://127.0.0.1:20000/health",
    ]  # fmt: skip
    assert int(reader.values(text, "TimeoutStartSec")[0]) > 77


def test_start_limits_stand_in_the_unit_section_and_can_be_reached() -> None:
    found = {
        key: (section, int(value))
        for section, key, value in reader.directives(
            unit(rendered(make_instance(make_launch(start_seconds=600))), "chat-0")
        )
        if key.startswith("StartLimit")
    }
    assert found["StartLimitBurst"] == ("Unit", 5)
    assert found["StartLimitIntervalSec"][1] > 5 * 600


def test_nvidia_cards_are_shown_by_index_in_pci_order() -> None:
    launch = make_launch(gpus=(3, 1), vendor="nvidia")
    environment = reader.environment(unit(rendered(make_instance(launch)), "chat-0"), KNOWN)
    assert environment["CUDA_VISIBLE_DEVICES"] == "3,1"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_an_engine_that_is_told_the_index_itself_sees_all_cards() -> None:
    launch = make_launch(gpus=(3,), vendor="nvidia", gpu_selection="argument")
    environment = reader.environment(unit(rendered(make_instance(launch)), "chat-0"), KNOWN)
    assert "CUDA_VISIBLE_DEVICES" not in environment
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    ("vendor", "variable"), [("amd", "HIP_VISIBLE_DEVICES"), ("ascend", "ASCEND_RT_VISIBLE_DEVICES")]
)
def test_other_vendors_have_variables_of_their_own(vendor: str, variable: str) -> None:
    host = make_host(gpus=make_gpus(2, vendor))  # type: ignore[arg-type]
    launch = make_launch(gpus=(1,), vendor=vendor)
    environment = reader.environment(unit(rendered(make_instance(launch), hosts=(host,)), "chat-0"), KNOWN)
    assert environment[variable] == "1"
    assert "CUDA_DEVICE_ORDER" not in environment


def test_a_launch_on_the_cpu_is_shown_no_card() -> None:
    assert (
        reader.environment(unit(rendered(make_instance(make_launch())), "chat-0"), KNOWN)["CUDA_VISIBLE_DEVICES"]
        == "-1"
    )


def test_nothing_hides_the_device_nodes_of_a_launch_with_cards() -> None:
    files = rendered(
        make_instance(make_launch(gpus=(0,), vendor="nvidia")), make_instance(make_launch("cpu-0", port=20001))
    )
    keys = {name: {key for _, key, _ in reader.directives(unit(files, name))} for name in ("chat-0", "cpu-0")}
    # ProtectClock= adds DeviceAllow=char-rtc, and with any DeviceAllow= no other device can be opened
    assert not keys["chat-0"] & {"PrivateDevices", "ProtectClock", "DeviceAllow", "DevicePolicy", "PrivateUsers"}
    assert {"PrivateDevices", "ProtectClock", "MemoryDenyWriteExecute"} <= keys["cpu-0"]


def test_code_made_at_run_time_is_let_be() -> None:
    text = unit(rendered(make_instance(make_launch(jit=True))), "chat-0")
    assert reader.values(text, "MemoryDenyWriteExecute") == []


def test_secrets_are_files_of_the_host() -> None:
    launch = make_launch(secret_env=(("VLLM_API_KEY", "chat-key"),), hub_token=True, env=(("VLLM_API_KEY", "x"),))
    text = unit(rendered(make_instance(launch)), "chat-0")
    assert reader.values(text, "EnvironmentFile") == ["/etc/gslc/secrets/chat-key.env"]
    assert reader.values(text, "LoadCredential") == ["hf_token:/etc/gslc/secrets/hf_token"]
    environment = reader.environment(text, KNOWN)
    assert environment["HF_TOKEN_PATH"] == "/run/credentials/x/hf_token"
    assert "VLLM_API_KEY" not in environment


def test_caches_lie_in_folders_of_the_service() -> None:
    launch = make_launch(cache_dirs=("vllm", "hub"), cache_env=(("HF_HOME", "hub"), ("VLLM_CACHE_ROOT", "vllm")))
    text = unit(rendered(make_instance(launch)), "chat-0")
    assert reader.values(text, "CacheDirectory") == ["gslc-lab-chat-0/hub", "gslc-lab-chat-0/vllm"]
    assert reader.environment(text, KNOWN)["HF_HOME"] == "/var/cache/gslc-lab-chat-0/hub"


def test_files_are_fetched_before_the_server_starts() -> None:
    files = rendered(make_instance(make_launch(files=(FILE,))))
    text = unit(files, "chat-0")
    assert reader.values(text, "Requires") == ["gslc-lab-chat-fetch.service"]
    assert "gslc-lab-chat-fetch.service" in reader.values(text, "After")
    listing = json.loads(files["systemd/atlas/host/chat.fetch.json"])
    assert listing["files"] == [
        {"path": FILE.path, "size": 3, "sha256": "0" * 64, "url": "https://hub/m", "token": "HF_TOKEN"}
    ]
    fetch = unit(files, "chat-fetch")
    assert reader.values(fetch, "ReadWritePaths") == ["-/var/lib/gslc/models"]
    assert reader.words(reader.values(fetch, "ExecStart")[0])[-2:] == ["--token-file", "%d/hub_token"]


def test_two_models_with_one_file_fetch_it_once() -> None:
    other = replace(FILE, path="/var/lib/gslc/models/hf/a/b/other.gguf")
    files = rendered(
        make_instance(make_launch("a-0", files=(FILE,))),
        make_instance(make_launch("b-0", port=20001, files=(FILE, other))),
    )
    assert [entry["path"] for entry in json.loads(files["systemd/atlas/host/b.fetch.json"])["files"]] == [other.path]
    assert reader.values(unit(files, "b-0"), "Requires") == ["gslc-lab-a-fetch.service", "gslc-lab-b-fetch.service"]


def test_an_rpc_server_of_the_same_host_is_required_and_started_first() -> None:
    rpc = make_launch("chat-0-rpc-0", role="rpc", port=20001, health_path=None)
    text = unit(rendered(make_instance((make_launch(after=("chat-0-rpc-0",)), rpc))), "chat-0")
    assert reader.values(text, "Requires") == ["gslc-lab-chat-0-rpc-0.service"]
    assert "gslc-lab-chat-0-rpc-0.service" in reader.values(text, "After")


def test_an_rpc_server_of_another_host_is_waited_for() -> None:
    hosts = (make_host(), make_host("borea", address="10.0.0.2"))
    rpc = make_launch(
        "chat-0-rpc-0", role="rpc", port=20001, health_path=None, host="borea", listen="10.0.0.2", start_seconds=50
    )
    files = rendered(make_instance((make_launch(after=("chat-0-rpc-0",)), rpc)), hosts=hosts)
    [raw] = reader.values(unit(files, "chat-0"), "ExecStartPre")
    assert reader.words(raw)[2:] == ["wait", "--seconds", "50", "tcp://10.0.0.2:20001"]
    assert reader.values(unit(files, "chat-0"), "Requires") == []
    assert "systemd/borea/gslc-lab-chat-0-rpc-0.service" in files


def test_a_worker_watches_its_leader_on_another_host() -> None:
    hosts = (make_host(address="10.0.0.1"), make_host("borea", address="10.0.0.2"))
    worker = make_launch(
        "chat-0-worker-1", role="worker", rank=1, host="borea", listen="10.0.0.2", health_path=None, group_restart=True
    )
    files = rendered(make_instance((make_launch(listen="10.0.0.1", group_restart=True), worker)), hosts=hosts)
    watch = unit(files, "chat-0-worker-1-watch", "borea")
    assert reader.words(reader.values(watch, "ExecStart")[0])[2:] == ["watch", "http://10.0.0.1:20000/health"]
    assert reader.values(unit(files, "chat-0-worker-1", "borea"), "Requires") == [
        "gslc-lab-chat-0-worker-1-watch.service"
    ]
    assert reader.values(unit(files, "chat-0-worker-1", "borea"), "ExecStartPost") == []


def test_instances_on_one_card_start_one_after_the_other() -> None:
    first = make_instance(make_launch("a-0", gpus=(0,), vendor="nvidia"))
    second = make_instance(make_launch("b-0", port=20001, gpus=(0,), vendor="nvidia"), startup_group=("a-0",))
    assert "gslc-lab-a-0.service" in reader.values(unit(rendered(first, second), "b-0"), "After")


def test_a_port_below_1024_gets_the_one_capability_it_needs() -> None:
    text = unit(rendered(make_instance(make_launch(port=80))), "chat-0")
    assert reader.values(text, "AmbientCapabilities") == ["CAP_NET_BIND_SERVICE"]
    # a capability in a user namespace of its own would not hold for the host's network
    assert reader.values(text, "PrivateUsers") == []


def test_a_program_in_a_home_can_be_read() -> None:
    text = unit(rendered(make_instance(make_launch(program="/home/ml/venv/bin/vllm"))), "chat-0")
    assert reader.values(text, "ProtectHome") == ["read-only"]


def test_order_of_the_input_changes_nothing() -> None:
    one, two = (
        make_instance(make_launch("a-0", files=(FILE,))),
        make_instance(make_launch("b-0", port=20001, files=(FILE,))),
    )
    assert rendered(one, two) == rendered(two, one)


@pytest.mark.parametrize("os", ["darwin", "windows"])
def test_other_systems_are_told_what_can(os: str) -> None:
    found = SystemdTarget(templates=templates).excludes(host_class(os=os))
    assert found is not None
    assert "raw_exec" in found.detail


def test_a_launch_without_a_program_is_refused() -> None:
    plan = make_plan(make_instance(make_launch(program="")))
    [found] = SystemdTarget(templates=templates).review(plan, make_cluster(make_host()))
    assert (found.code, str(found.place)) == ("GS651", "models/chat:1:1")


def test_a_replica_over_two_targets_is_refused() -> None:
    hosts = (make_host(address="10.0.0.1"), make_host("borea", target="compose", address="10.0.0.2"))
    worker = make_launch("chat-0-worker-1", role="worker", rank=1, host="borea")
    [found] = SystemdTarget(templates=templates).review(
        make_plan(make_instance((make_launch(listen="10.0.0.1"), worker))), make_cluster(*hosts)
    )
    assert found.code == "GS650"
    assert "borea" in found.message


def test_a_follower_that_nobody_can_reach_is_refused() -> None:
    hosts = (make_host(), make_host("borea"))
    rpc = make_launch("chat-0-rpc-0", role="rpc", host="borea", health_path=None)
    plan = make_plan(make_instance((make_launch(after=("chat-0-rpc-0",)), rpc)))
    found = SystemdTarget(templates=templates).review(plan, make_cluster(*hosts))
    assert [(one.code, one.help) for one in found] == [
        ("GS659", "set hosts.borea.address to the address under which atlas reaches it")
    ]


def test_where_the_host_has_an_address_its_listen_is_the_fault() -> None:
    hosts = (make_host(), make_host("borea", address="10.0.0.12"))
    rpc = make_launch("chat-0-rpc-0", role="rpc", host="borea", health_path=None)
    instance = make_instance((make_launch(after=("chat-0-rpc-0",)), rpc))
    shards = tuple(replace(one, address="10.0.0.12") if one.host == "borea" else one for one in instance.shards)
    [found] = SystemdTarget(templates=templates).review(
        make_plan(replace(instance, shards=shards)), make_cluster(*hosts)
    )
    assert found.help == "set hosts.borea.listen to 10.0.0.12"
    assert str(found.place).startswith("hosts/borea/listen")


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        *((address, True) for address in ("127.0.0.1", "127.1.2.3", "::1", "localhost", "localhost.localdomain")),
        *((address, False) for address in ("10.0.0.1", "fd00::1", "::1:2", "localhosts", "atlas.lan")),
    ],
)
@pytest.mark.parametrize("alone", ["atlas", "borea"])
def test_workers_join_over_addresses_that_lead_to_another_host(alone: str, address: str, refused: bool) -> None:
    other = {"atlas": "borea", "borea": "atlas"}[alone]
    addresses = {alone: address, other: "10.0.0.9"}
    hosts = [make_host(name, address=given) for name, given in addresses.items()]
    leader = make_launch(listen=addresses["atlas"])
    worker = make_launch("chat-0-worker-1", role="worker", rank=1, host="borea", listen=addresses["borea"])
    found = SystemdTarget(templates=templates).review(make_plan(make_instance((leader, worker))), make_cluster(*hosts))
    assert [str(one.place).partition(":")[0] for one in found if one.code == "GS659"] == (
        [f"hosts/{alone}/address"] if refused else []
    )


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_a_character_that_no_process_can_be_given_is_refused(text: str) -> None:
    plan = make_plan(make_instance(make_launch(argv=(text,))))
    assert [one.code for one in SystemdTarget(templates=templates).review(plan, make_cluster(make_host()))] == ["GS655"]


def test_two_models_with_one_service_name_are_refused() -> None:
    rpc = make_launch("a-0-rpc-0", role="rpc", port=20001, health_path=None)
    plan = make_plan(make_instance((make_launch("a-0"), rpc)), make_instance(make_launch("a-0-rpc-0", port=20002)))
    found = SystemdTarget(templates=templates).review(plan, make_cluster(make_host()))
    assert [(one.code, str(one.place)) for one in found] == [("GS662", "models/a-0-rpc:1:1")]
