"""Kubernetes, Nomad, Ansible and GPUStack: whole machines."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import GIB, codes, hosts_of, imported, run, sample


def test_kubernetes_nodes_keep_peoples_labels_only() -> None:
    outcome = run("kubernetes", sample("kubernetes-nodes.json"))
    assert codes(outcome) == ["GS188"]
    assert outcome.value is not None
    hosts = hosts_of(outcome.value.text())
    gpu, plain = hosts["gpu-a-example-internal"], hosts["plain-b"]
    assert {key: value for key, value in gpu.labels.items() if key not in ("os", "arch", "host")} == {"team": "search"}
    assert [card.kind.model for card in gpu.gpus] == ["NVIDIA A100-SXM4-80GB"] * 4
    assert (gpu.address, gpu.memory_bytes) == ("10.20.0.11", 1056270136 * 1024)
    assert (plain.arch, plain.gpus) == ("arm64", ())


def test_a_node_without_node_info_is_what_its_labels_say() -> None:
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"}
    node = {"kind": "Node", "metadata": {"name": "a", "labels": labels}, "status": {"capacity": {"memory": "16Gi"}}}
    outcome = run("kubernetes", json.dumps(node))
    assert outcome.value is not None
    assert hosts_of(outcome.value.text())["a"].arch == "arm64"


def test_a_node_whose_gpus_have_no_label_says_so() -> None:
    node = {
        "kind": "Node",
        "metadata": {"name": "n1"},
        "status": {
            "capacity": {"memory": "64Gi", "nvidia.com/gpu": "2"},
            "nodeInfo": {"architecture": "amd64", "operatingSystem": "linux"},
        },
    }
    outcome = run("kubernetes", json.dumps(node))
    assert codes(outcome) == ["GS186"]
    assert outcome.value is not None
    assert outcome.value.hosts[0].memory_bytes == 64 * GIB


@pytest.mark.parametrize(
    "labels", [{"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"}, {"nvidia.com/mig-1g.5gb.count": "7"}]
)
def test_a_node_with_mig_is_left_out(labels: dict[str, str]) -> None:
    node = {"kind": "Node", "metadata": {"name": "n1", "labels": labels}, "status": {"capacity": {"memory": "64Gi"}}}
    assert codes(run("kubernetes", json.dumps(node))) == ["GS183", "GS187"]


def test_a_nomad_node_has_its_gpus_in_pci_order() -> None:
    host = imported("nomad", sample("nomad-node.json"), uuids=True).hosts[0]
    assert [str(gpu.uuid)[:12] for gpu in host.gpus] == ["GPU-1f2e3d4c", "GPU-9ab3c2d1"]
    assert dict(host.labels) == {"datacenter": "dc1", "node-class": "gpu", "rack": "r2"}
    assert host.memory_bytes == 134994653184


def test_a_card_that_nomad_calls_unhealthy_is_counted_and_said() -> None:
    text = sample("nomad-node.json").replace('"Healthy": true', '"Healthy": false', 1)
    outcome = run("nomad", text)
    assert codes(outcome) == [*codes(run("nomad", sample("nomad-node.json"))), "GS191"]
    assert len(imported("nomad", text).hosts[0].gpus) == len(imported("nomad", sample("nomad-node.json")).hosts[0].gpus)


def test_a_nomad_row_without_attributes_says_what_is_missing() -> None:
    assert set(codes(run("nomad", '[{"Name": "n1", "Address": "10.0.0.1"}]'))) == {"GS186"}


def test_ansible_facts_and_groups() -> None:
    outcome = run("ansible", sample("ansible-inventory.json"))
    assert codes(outcome) == ["GS188"]
    assert outcome.value is not None
    hosts = hosts_of(outcome.value.text())
    assert hosts["gpu01"].labels["group-inference"] == "true"
    assert [gpu.kind.model for gpu in hosts["gpu01"].gpus] == ["NVIDIA RTX A6000"] * 2
    assert (hosts["mac-studio"].os, hosts["mac-studio"].unified_memory) == ("darwin", True)


def test_gpustack_workers() -> None:
    outcome = run("gpustack-workers", sample("gpustack-workers.json"))
    assert outcome.diagnostics == ()
    assert outcome.value is not None
    hosts = hosts_of(outcome.value.text())
    assert [gpu.kind.model for gpu in hosts["worker-a"].gpus] == ["NVIDIA GeForce RTX 4090"] * 2
    assert hosts["mini"].unified_memory


def test_a_machine_that_gslc_does_not_place_on_is_left_out() -> None:
    rows = {"items": [{"name": "w", "status": {"kernel": {"name": "Linux", "architecture": "riscv64"}}}]}
    outcome = run("gpustack-workers", json.dumps(rows))
    assert codes(outcome) == ["GS183", "GS190"]


def test_a_label_that_the_codec_refuses_is_left_out_aloud() -> None:
    rows = {
        "items": [
            {
                "name": "w",
                "labels": {"ok": "yes", "bad key!": "x", "empty": ""},
                "status": {"memory": {"total": 64 * GIB}},
            }
        ]
    }
    outcome = run("gpustack-workers", json.dumps(rows))
    assert codes(outcome) == ["GS191", "GS191"]
    assert outcome.value is not None
    assert hosts_of(outcome.value.text())["w"].labels["ok"] == "yes"


def test_the_order_of_the_input_changes_no_byte() -> None:
    rows = json.loads(sample("gpustack-workers.json"))
    turned = {"items": [dict(reversed(row.items())) for row in reversed(rows["items"])]}
    assert (
        imported("gpustack-workers", json.dumps(turned)).text() == imported("gpustack-workers", json.dumps(rows)).text()
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "items",
                    "kind",
                    "metadata",
                    "name",
                    "labels",
                    "status",
                    "capacity",
                    "memory",
                    "nodeInfo",
                    "Name",
                    "Attributes",
                    "Meta",
                    "NodeResources",
                    "Devices",
                    "Instances",
                    "_meta",
                    "hostvars",
                    "all",
                    "hosts",
                    "ansible_facts",
                    "gpu_devices",
                    "vendor",
                    "index",
                    "card0",
                    "asic",
                    "market_name",
                    "vram",
                    "size",
                    "value",
                    "manufacturer",
                    "appendix",
                    "source",
                    "replicas",
                    "huggingface_repo_id",
                    "backend_parameters",
                    "env",
                    "worker_selector",
                    "gpu_selector",
                    "gpu_ids",
                    "services",
                    "image",
                    "command",
                    "models",
                    "cmd",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@pytest.mark.parametrize(
    "kind",
    [
        "kubernetes",
        "nomad",
        "ansible",
        "gpustack-workers",
        "gpustack-models",
        "rocm-smi",
        "amd-smi",
        "gpustack-runtime",
    ],
)
@settings(max_examples=40, deadline=None)
@given(value=JSON)
def test_no_json_is_a_traceback(kind: str, value: object) -> None:
    outcome = run(kind, json.dumps(value), "a", memory=GIB * 64)
    assert outcome.value is not None or outcome.diagnostics


def test_apple_silicon_gets_what_metal_hands_out() -> None:
    mini = hosts_of(imported("gpustack-workers", sample("gpustack-workers.json")).text())["mini"]
    assert mini.gpus[0].kind.memory_bytes == 48 * GIB
