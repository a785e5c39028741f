"""The GPU table: names find their card, bytes are never more than a program gets."""

import json
import runpy
import time
from pathlib import Path

import pytest
from pace import pace

from gslc.edges.gpu_table import (
    BOARD_LOSS,
    MIB,
    RESOURCE,
    GpuCard,
    GpuTable,
    load_gpu_table,
    normal_name,
)
from gslc.edges.resources import resource_text
from gslc.ir.host_share import shared_memory_bytes

ROOT = Path(__file__).resolve().parents[3]
TEXT = resource_text(RESOURCE)
TABLE = load_gpu_table(TEXT)
GIB = 1024 * MIB


@pytest.mark.parametrize(
    ("written", "card"),
    [
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("nvidia geforce rtx 4090", "NVIDIA GeForce RTX 4090"),
        ("GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),  # nvidia-smi before driver 460
        ("NVIDIA-GeForce-RTX-4090", "NVIDIA GeForce RTX 4090"),  # the label of NVIDIA's Kubernetes plug-in
        ("rtx4090", "NVIDIA GeForce RTX 4090"),
        ("T4", "Tesla T4"),
        ("NVIDIA Tesla T4", "Tesla T4"),
        ("H200", "NVIDIA H200"),
        ("7900 XTX", "AMD Radeon RX 7900 XTX"),
        ("AMD Instinct MI300X OAM", "AMD Instinct MI300X"),
        ("Intel(R) Arc(TM) A770 Graphics", "Intel Arc A770 Graphics"),
        ("910B4", "Ascend 910B4"),
    ],
)
def test_a_card_goes_by_several_names(written: str, card: str) -> None:
    found = TABLE.find(written)
    assert found is not None
    assert found.model == card


@pytest.mark.parametrize("written", ["RTX 4000", "RTX 6000", "A100", "", "  ", "custom", "GeForce", "4"])
def test_a_name_that_fits_two_cards_or_none_finds_none(written: str) -> None:
    assert TABLE.find(written) is None


def test_every_card_is_found_by_its_own_name() -> None:
    for card in TABLE.cards:
        assert TABLE.card(card.name) is card
        for alias in card.aliases:
            assert TABLE.card(alias) is card, alias


def test_no_two_cards_claim_one_name() -> None:
    claimed: dict[str, str] = {}
    for card in TABLE.cards:
        for name in {normal_name(given) for given in (card.name, *card.aliases)}:
            assert claimed.setdefault(name, card.name) == card.name, name


def test_the_table_covers_the_families_it_promises() -> None:
    count = {vendor: sum(card.vendor == vendor for card in TABLE.cards) for vendor in BOARD_LOSS}
    assert len(TABLE.cards) >= 120
    assert all(count.values()), count
    capabilities = {card.compute_capability for card in TABLE.cards if card.vendor == "nvidia"}
    assert {(5, 2), (6, 1), (7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0), (12, 1)} <= capabilities


def test_what_a_program_gets_is_never_more_than_what_somebody_read() -> None:
    for card in TABLE.cards:
        for reading in (card.runtime_mib, card.reported_mib, card.board_mib):
            assert reading is None or card.memory_mib <= reading, card.name
        assert (card.memory_mib == 0) == (card.unified is not None), card.name


def test_the_derating_rules_stay_below_every_runtime_reading() -> None:
    checked = 0
    for card in TABLE.cards:
        if card.runtime_mib is None:
            continue
        without_runtime = GpuCard(
            name=card.name,
            vendor=card.vendor,
            mark="nominal",
            board_mib=card.board_mib,
            reported_mib=card.reported_mib,
            ecc=card.ecc,
        )
        only_board = GpuCard(name=card.name, vendor=card.vendor, mark="nominal", board_mib=card.board_mib, ecc=card.ecc)
        assert without_runtime.memory_mib <= card.runtime_mib, card.name
        assert only_board.memory_mib <= card.runtime_mib, card.name
        checked += 1
    assert checked >= 10


@pytest.mark.parametrize(
    ("name", "least_gib", "most_gib"),
    [
        ("NVIDIA A100-SXM4-80GB", 79.1, 79.3),
        ("NVIDIA L4", 21.9, 22.5),
        ("RTX 4090", 23.5, 23.6),
        ("Tesla T4", 14.5, 14.6),
        ("H200", 139.7, 139.9),
    ],
)
def test_known_cards_have_the_memory_that_cuda_gives(name: str, least_gib: float, most_gib: float) -> None:
    found = TABLE.find(name)
    assert found is not None
    assert least_gib <= found.memory_bytes / GIB <= most_gib


def test_a_figure_that_is_not_nominal_names_its_source() -> None:
    for card in TABLE.cards:
        assert (card.mark == "nominal") == (card.source is None), card.name
        if card.mark == "published":
            assert card.source is not None
            assert card.source.startswith("https://github.com/")


def test_two_sizes_under_one_printed_name_are_variants() -> None:
    assert [kind.model for kind in TABLE.variants("NVIDIA GeForce RTX 4060 Ti")] == [
        "NVIDIA GeForce RTX 4060 Ti",
        "NVIDIA GeForce RTX 4060 Ti 16GB",
    ]
    assert [kind.model for kind in TABLE.variants("L4")] == ["NVIDIA L4"]
    assert TABLE.variants("no such card") == ()


@pytest.mark.parametrize(
    ("share", "host_gib", "gpu_gib"),
    [("all", 120, 120), ("half", 128, 64), ("metal", 36, 24), ("metal", 64, 48), ("metal", 192, 144)],
)
def test_a_card_without_memory_takes_a_share_of_its_host(share: str, host_gib: int, gpu_gib: int) -> None:
    assert shared_memory_bytes(share, host_gib * GIB) == gpu_gib * GIB  # type: ignore[arg-type]


def test_on_host_fills_in_the_share_and_leaves_other_cards_alone() -> None:
    mac = TABLE.on_host("Apple M2 Ultra", 192 * GIB)
    card = TABLE.on_host("RTX 4090", 192 * GIB)
    assert mac is not None
    assert card == TABLE.find("RTX 4090")
    assert mac.memory_bytes == 144 * GIB
    assert TABLE.on_host("no such card", GIB) is None


def test_one_name_gives_one_record() -> None:
    assert TABLE.find("RTX 4090") is TABLE.find("RTX 4090")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("rtx 4091", "NVIDIA GeForce RTX 4090"),
        ("A100", "NVIDIA A100-PCIE-40GB"),
        ("RTX 4000", "Quadro RTX 4000"),
        ("MI300", "AMD Instinct MI300X"),
    ],
)
def test_the_nearest_names_hold_the_one_meant(written: str, expected: str) -> None:
    assert expected in TABLE.nearest(written, 4)


def test_nothing_is_near_to_nonsense() -> None:
    assert TABLE.nearest("wxyzqj") == []


def test_the_table_loads_in_five_milliseconds() -> None:
    def once() -> float:
        start = time.perf_counter()
        load_gpu_table(TEXT)
        return time.perf_counter() - start

    assert min(once() for _ in range(10)) <= 0.005 * pace()


def test_the_file_has_one_card_a_line_so_that_reviews_are_short() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith('  {"name"')]
    assert len(rows) == len(json.loads(TEXT)["gpus"])


def test_the_page_of_the_table_is_current() -> None:
    generate = runpy.run_path(str(ROOT / ".ci" / "docs_gpus.py"))["gpus_md"]
    assert (ROOT / "docs" / "gpus.md").read_text(encoding="utf-8") == generate(GpuTable(TABLE.cards))
