"""rocm-smi, amd-smi and gpustack-runtime: the cards of one host."""

import json

import pytest
from importing import GIB, codes, hosts_of, imported, run, sample


@pytest.mark.parametrize(
    ("kind", "file", "model", "count"),
    [
        ("rocm-smi", "rocm-smi-mi300x.json", "AMD Instinct MI300X", 2),
        ("rocm-smi", "rocm-smi-5-6900xt.json", "AMD Radeon RX 6900 XT", 1),
        ("amd-smi", "amd-smi-7900xtx.json", "AMD Radeon RX 7900 XTX", 2),
        ("gpustack-runtime", "gpustack-runtime-h100.json", "NVIDIA H100 80GB HBM3", 2),
    ],
)
def test_a_sample_gives_cards_of_the_table(kind: str, file: str, model: str, count: int) -> None:
    outcome = run(kind, sample(file), "a", memory=256 * GIB)
    assert outcome.diagnostics == ()
    assert outcome.value is not None
    assert [gpu.kind.model for gpu in hosts_of(outcome.value.text())["a"].gpus] == [model] * count


def test_rocm_smi_cards_come_in_the_order_of_their_numbers() -> None:
    rows = {f"card{n}": {"Card Series": "AMD Radeon RX 7900 XTX", "Unique ID": f"0x{n:03}"} for n in (10, 9, 1)}
    cards = imported("rocm-smi", json.dumps(rows), "a", memory=GIB * 64, uuids=True).hosts[0].gpus
    assert [card.uuid for card in cards] == ["0x001", "0x009", "0x010"]


def test_amd_smi_may_come_without_a_wrapper() -> None:
    rows = json.loads(sample("amd-smi-7900xtx.json"))["gpu_data"]
    assert imported("amd-smi", json.dumps(rows), "a").hosts[0].gpus[0].count == 2


def test_gpustack_runtime_cards_come_in_the_order_of_their_index() -> None:
    cards = imported("gpustack-runtime", sample("gpustack-runtime-h100.json"), "a", uuids=True).hosts[0].gpus
    assert [str(card.uuid)[:12] for card in cards] == ["GPU-0c7d2e51", "GPU-5e1a7c90"]


def test_mig_slices_are_refused() -> None:
    rows = [{"manufacturer": "nvidia", "name": "MIG 1g.10gb", "memory": 9984, "appendix": {"vgpu": True}}]
    assert codes(run("gpustack-runtime", json.dumps(rows), "a")) == ["GS187"]


def test_cards_of_makers_without_an_engine_are_left_out_aloud() -> None:
    rows = [
        {"manufacturer": "cambricon", "index": 0, "name": "MLU370", "memory": 24576},
        {"manufacturer": "nvidia", "index": 1, "name": "NVIDIA L4", "memory": 23034},
    ]
    outcome = run("gpustack-runtime", json.dumps(rows), "a", memory=GIB * 64)
    assert codes(outcome) == ["GS190"]
    assert outcome.value is not None
    assert [card.model for card in outcome.value.hosts[0].gpus] == ["NVIDIA L4"]


@pytest.mark.parametrize("kind", ["rocm-smi", "amd-smi", "gpustack-runtime"])
@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", "[1]", '{"card0": {}}', '[{"asic": {}}]', "[" * 9999, "\x1b[2J", '{"a": NaN}']
)
def test_other_documents_are_refused(kind: str, text: str) -> None:
    outcome = run(kind, text, "a")
    assert outcome.value is None
    assert outcome.diagnostics
