"""`nvidia-smi topo -m`: bridges, NVSwitch, meshes, and the forms in which drivers print the matrix."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import GIB, TABLE, codes, hosts_of, run, sample

from gslc.frontend.importers.importing import Imported, ImportOptions, import_files
from gslc.frontend.importers.merge import merge_into
from gslc.frontend.importers.records import Refused
from gslc.frontend.importers.topology import Topology, is_topology, read_topology
from gslc.ir.diagnostic import Outcome

LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks
"""
# Driver 570, two cards under one bridge: tabs, a blank at both sides of X, three columns of affinity.
TWO_BRIDGED = (
    "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
    "GPU0\t X \tNV4\t0-23\t0\t\tN/A\n"
    "GPU1\tNV4\t X \t0-23\t0\t\tN/A\n" + LEGEND
)
# Driver 470, four cards in two pairs that are not neighbours in PCI order.
TWO_PAIRS = """\
        GPU0    GPU1    GPU2    GPU3    CPU Affinity    NUMA Affinity
GPU0     X      SYS     NV12    SYS     0-31,64-95      0
GPU1    SYS      X      SYS     NV12    32-63,96-127    1
GPU2    NV12    SYS      X      PXB     0-31,64-95      0
GPU3    SYS     NV12    PXB      X      32-63,96-127    1
"""
THREE_WITH_ONE_ALONE = (
    "\tGPU0\tGPU1\tGPU2\tCPU Affinity\tNUMA Affinity\n"
    "GPU0\t X \tNV4\tNODE\t0-31,64-95\t0\n"
    "GPU1\tNV4\t X \tNODE\t0-31,64-95\t0\n"
    "GPU2\tNODE\tNODE\t X \t0-31,64-95\t0\n"
)
# DGX-1 with V100: a cube, each card linked to four of seven others, the names of the network cards as columns.
CUBE = (
    "\tGPU0\tGPU1\tGPU2\tGPU3\tGPU4\tGPU5\tGPU6\tGPU7\tmlx5_0\tmlx5_2\tCPU Affinity\n"
    "GPU0\t X \tNV1\tNV1\tNV2\tNV2\tSYS\tSYS\tSYS\tPIX\tSYS\t0-19,40-59\n"
    "GPU1\tNV1\t X \tNV2\tNV1\tSYS\tNV2\tSYS\tSYS\tPIX\tSYS\t0-19,40-59\n"
    "GPU2\tNV1\tNV2\t X \tNV2\tSYS\tSYS\tNV1\tSYS\tPHB\tSYS\t0-19,40-59\n"
    "GPU3\tNV2\tNV1\tNV2\t X \tSYS\tSYS\tSYS\tNV1\tPHB\tSYS\t0-19,40-59\n"
    "GPU4\tNV2\tSYS\tSYS\tSYS\t X \tNV1\tNV1\tNV2\tSYS\tPIX\t20-39,60-79\n"
    "GPU5\tSYS\tNV2\tSYS\tSYS\tNV1\t X \tNV2\tNV1\tSYS\tPIX\t20-39,60-79\n"
    "GPU6\tSYS\tSYS\tNV1\tSYS\tNV1\tNV2\t X \tNV2\tSYS\tPHB\t20-39,60-79\n"
    "GPU7\tSYS\tSYS\tSYS\tNV1\tNV2\tNV1\tNV2\t X \tSYS\tPHB\t20-39,60-79\n"
    "mlx5_0\tPIX\tPIX\tPHB\tPHB\tSYS\tSYS\tSYS\tSYS\t X \tSYS\t\n"
    "mlx5_2\tSYS\tSYS\tSYS\tSYS\tPIX\tPIX\tPHB\tPHB\tSYS\t X \t\n" + LEGEND
)


def nvswitch(cards: int, *, nics: int, escape: bool = False) -> str:
    """A host whose cards are all linked alike, in the form of drivers from 535 on; escape: with an underlined header."""
    names = [*(f"GPU{number}" for number in range(cards)), *(f"NIC{number}" for number in range(nics))]
    header = "\t".join([*names, "CPU Affinity", "NUMA Affinity", "GPU NUMA ID"])
    lines = ["\t" + (f"\x1b[4m{header}\x1b[0m" if escape else header)]
    for row, name in enumerate(names):
        cells = [
            " X " if row == column else "NV18" if row < cards and column < cards else "NODE"
            for column in range(len(names))
        ]
        tail = ["0-51,104-155", "0", "", "N/A"] if row < cards else [""]
        lines.append("\t".join([name, *cells, *tail]))
    legend = "".join(f"  NIC{number}: mlx5_{number}\n" for number in range(nics))
    return "\n".join(lines) + "\n" + LEGEND + (f"\nNIC Legend:\n\n{legend}" if nics else "")


@pytest.mark.parametrize(
    ("text", "cards", "islands"),
    [
        (TWO_BRIDGED, 2, ((0, 1),)),
        (TWO_PAIRS, 4, ((0, 2), (1, 3))),
        (THREE_WITH_ONE_ALONE, 3, ((0, 1),)),
        (nvswitch(8, nics=10), 8, (tuple(range(8)),)),
        (nvswitch(8, nics=4, escape=True), 8, (tuple(range(8)),)),
        (nvswitch(16, nics=0, escape=True), 16, (tuple(range(16)),)),
        (TWO_BRIDGED.replace("NV4", "PHB"), 2, ()),
        (TWO_BRIDGED.replace("NV4", "SOC"), 2, ()),
        ("\t\x1b[4mGPU0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m\nGPU0\t X \t0-15\t0\t\tN/A\n" + LEGEND, 1, ()),
        (f"$ nvidia-smi topo -m\r\n{TWO_BRIDGED}".replace("\n", "\r\n"), 2, ((0, 1),)),
    ],
)
def test_cards_that_nvlink_joins_are_one_group(text: str, cards: int, islands: tuple[tuple[int, ...], ...]) -> None:
    assert is_topology(text)
    assert read_topology(text) == Topology(cards=cards, islands=islands)


def test_a_mesh_is_written_as_the_groups_that_are_linked_throughout() -> None:
    assert read_topology(CUBE) == Topology(cards=8, islands=((0, 1, 2, 3), (4, 5, 6, 7)), beyond=tuple(range(8)))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (TWO_BRIDGED.replace("NV4\t X", "PIX\t X"), 1, "GPU0 is linked to GPU1, and GPU1 not to GPU0"),
        (TWO_BRIDGED.replace("GPU1\tNV4", "GPU7\tNV4"), 3, "the row of GPU1 is missing"),
        ("\n".join(TWO_BRIDGED.splitlines()[:2]), 1, "the row of GPU1 is missing"),
        (
            TWO_PAIRS.replace("GPU2    NV12    SYS      X      PXB     0-31,64-95      0", "GPU2    NV12    SYS"),
            4,
            "has 2 cells, not 4",
        ),
        (TWO_BRIDGED.replace("NV4", "OK"), 2, "'OK' in the column of GPU1"),
        (TWO_BRIDGED.replace(" X ", "PIX"), 2, "'PIX' in the column of GPU0"),
        (TWO_BRIDGED.replace("\tGPU0\tGPU1", "\tGPU0\tGPU2", 1), 1, "the header names GPU0, GPU2"),
        (nvswitch(65, nics=0), 1, "the header names"),
        (
            TWO_BRIDGED.replace("NV4", "PHB").replace("  NV#  = Connection traversing a bonded set of # NVLinks\n", ""),
            1,
            "leaves NVLink out",
        ),
    ],
)
def test_a_matrix_that_is_damaged_or_of_another_kind_is_refused_at_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(Refused) as refused:
        read_topology(text)
    assert (refused.value.code, refused.value.line) == ("GS180", line)
    assert words in refused.value.message
    assert refused.value.help_line


@given(st.integers(2, 9), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_groups_are_linked_throughout_and_of_separate_bridges_none_is_missed(cards: int, data: st.DataObject) -> None:
    pairs = list(itertools.combinations(range(cards), 2))
    links = set(data.draw(st.lists(st.sampled_from(pairs), unique=True)))
    rows = [
        [
            f"GPU{row}",
            *(
                "X" if row == column else "NV2" if (min(row, column), max(row, column)) in links else "SYS"
                for column in range(cards)
            ),
        ]
        for row in range(cards)
    ]
    text = " ".join(f"GPU{card}" for card in range(cards)) + "\n" + "\n".join(" ".join(row) for row in rows)
    found = read_topology(text)
    inside = {pair for island in found.islands for pair in itertools.combinations(island, 2)}
    assert inside <= links
    members = [card for island in found.islands for card in island]
    assert len(members) == len(set(members))
    assert (found.beyond == ()) == (inside == links)
    alone = [pair for pair in links if not set(pair) & set(members)]
    assert alone == []


# ------------------------------------------------------------------ to which host a matrix belongs

LOG = sample("nvidia-smi-535-l40s.xml")  # four cards


def imported(*files: tuple[str, str], hosts: tuple[str, ...] = ()) -> Outcome[Imported]:
    return import_files("nvidia-smi", files, TABLE, ImportOptions(hosts=hosts, memory_bytes=(64 * GIB,)))


def links_in(outcome: Outcome[Imported]) -> dict[str, tuple[tuple[int, ...], ...]]:
    assert outcome.value is not None, outcome.diagnostics
    return {name: host.nvlink for name, host in hosts_of(outcome.value.text()).items()}


def test_a_matrix_goes_to_the_log_with_its_name_up_to_the_first_dot() -> None:
    swapped = TWO_PAIRS.replace("NV12", "SYS").replace("PXB", "NV4")
    outcome = imported(("x/borea.topo.txt", swapped), ("atlas.xml", LOG), ("borea.xml", LOG), ("atlas.topo", TWO_PAIRS))
    assert links_in(outcome) == {"atlas": ((0, 2), (1, 3)), "borea": ((2, 3),)}
    assert outcome.diagnostics == ()
    assert outcome.value is not None
    first = outcome.value.text().splitlines()[0]
    assert "atlas.xml (driver 535.183.01), atlas.topo, borea.xml (driver 535.183.01), borea.topo.txt" in first


def test_one_matrix_beside_one_log_belongs_to_it() -> None:
    assert links_in(imported(("-", LOG), ("t.txt", TWO_PAIRS), hosts=("atlas",))) == {"atlas": ((0, 2), (1, 3))}


def test_a_matrix_behind_its_log_in_one_text_belongs_to_it() -> None:
    text = f"{LOG}{TWO_PAIRS}{LOG}{LOG}{TWO_PAIRS.replace('NV12', 'SYS')}"
    found = links_in(imported(("-", text), hosts=("a", "b", "c")))
    assert found == {"a": ((0, 2), (1, 3)), "b": (), "c": ()}


def test_the_line_of_a_damaged_matrix_is_that_of_the_whole_text() -> None:
    outcome = imported(("-", LOG + TWO_PAIRS.replace("GPU3    SYS", "GPU9    SYS")), hosts=("a",))
    (said,) = outcome.diagnostics
    assert said.code == "GS180"
    assert said.place.line == LOG.count("\n") + 5


@pytest.mark.parametrize(
    ("files", "place", "words"),
    [
        ([("a.xml", LOG), ("b.xml", LOG), ("c.topo", TWO_PAIRS)], "c.topo", "no log is called c"),
        ([("c.topo", TWO_PAIRS)], "c.topo", "no log is called c"),
        ([("a.xml", LOG), ("a.txt", TWO_PAIRS), ("a.topo", TWO_PAIRS)], "a.topo", "no log"),
        ([("a.xml", LOG), ("a.topo", TWO_BRIDGED)], "a.topo", "it has 2 GPUs, and the log of a has 4"),
        ([("a.xml", LOG + LOG), ("a.topo", TWO_PAIRS)], "a.topo", "a.xml holds 2 of them"),
    ],
)
def test_a_matrix_without_its_host_is_refused(files: list[tuple[str, str]], place: str, words: str) -> None:
    outcome = imported(*files)
    assert outcome.value is None
    errors = [entry for entry in outcome.diagnostics if entry.severity == "error"]
    assert [(entry.code, entry.place.file) for entry in errors] == [("GS186", place)]
    assert words in errors[0].message
    assert errors[0].help


def test_a_mesh_is_told_with_a_note() -> None:
    text = CUBE.replace("\tGPU4\tGPU5\tGPU6\tGPU7", "", 1)
    four = (
        "\n".join(
            "\t".join([*row.split("\t")[:5], *row.split("\t")[9:]]) if row.startswith("GPU") else row
            for row in text.splitlines()
            if not row.startswith(("GPU4", "GPU5", "GPU6", "GPU7", "mlx"))
        )
        .replace("GPU0\t X \tNV1\tNV1\tNV2", "GPU0\t X \tNV1\tNV1\tSYS")
        .replace("GPU3\tNV2", "GPU3\tSYS")
    )
    outcome = imported(("a.xml", LOG), ("a.topo", four))
    assert links_in(outcome) == {"a": ((0, 1, 2),)}
    (note,) = outcome.diagnostics
    assert (note.code, note.severity, note.place.file) == ("GS197", "note", "a.topo")
    assert "GPU 0,1,2, and leaves out" in note.message


def test_other_kinds_do_not_know_matrices() -> None:
    assert codes(run("rocm-smi", TWO_PAIRS, "a")) == ["GS180"]


# ------------------------------------------------------------------ into a file that is there


def merged(text: str) -> tuple[str, list[str], tuple[str, ...]]:
    outcome = imported(("atlas.xml", LOG), ("atlas.topo", TWO_PAIRS))
    assert outcome.value is not None
    result = merge_into(text, "cluster.yaml", outcome.value, TABLE)
    assert result.value is not None, result.diagnostics
    return result.value.text, [entry.code for entry in result.diagnostics], result.value.changes


HAS_CARDS = (
    "version: 1\nname: lab\nhosts:\n  atlas:\n    memory: 64GiB\n    gpus:\n      - {model: NVIDIA L40S, count: 4}\n"
)


def test_links_are_added_to_a_host_that_is_there() -> None:
    text, said, changes = merged(HAS_CARDS)
    assert text == HAS_CARDS + "    nvlink: [[0, 2], [1, 3]]\n"
    assert said == []
    assert changes == ("cluster.yaml: host atlas got nvlink",)


@pytest.mark.parametrize(
    ("own", "said"),
    [("[[3, 1], [2, 0]]", []), ("[[0, 1], [2, 3]]", ["GS195"]), ("nothing", ["GS195"])],
)
def test_links_that_are_there_stay(own: str, said: list[str]) -> None:
    text = HAS_CARDS + f"    nvlink: {own}  # mine\n"
    assert merged(text) == (text, said, ())
