"""`--into`: the user's text stays, only what must change changes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import TABLE, hosts_of

from gslc.frontend.importers.importing import Imported
from gslc.frontend.importers.merge import Merged, merge_into
from gslc.frontend.importers.records import ImportedCard, ImportedHost, ImportedModel
from gslc.ir.diagnostic import Outcome

GIB = 1024**3
ATLAS = ImportedHost(
    name="atlas", address="10.0.0.1", memory_bytes=64 * GIB, gpus=(ImportedCard(model="NVIDIA L4", count=2),)
)
CHAT = ImportedModel(name="chat", settings=(("source", "hf://a/b"),))


def merge(text: str, *hosts: ImportedHost, models: tuple[ImportedModel, ...] = ()) -> Outcome[Merged]:
    return merge_into(text, "cluster.yaml", Imported(header=(), hosts=hosts, models=models), TABLE)


def merged(text: str, *hosts: ImportedHost, models: tuple[ImportedModel, ...] = ()) -> str:
    outcome = merge(text, *hosts, models=models)
    assert outcome.value is not None, outcome.diagnostics
    return outcome.value.text


CLUSTER = """\
# our lab
version: 1   # keep
hosts:
  # the old machine
  borea:
    memory: 32GiB  # two sticks
    labels: {rack: r1}

# what runs
models: {}
"""


def test_a_new_host_goes_to_the_end_of_the_hosts() -> None:
    assert merged(CLUSTER, ATLAS) == CLUSTER.replace(
        "    labels: {rack: r1}\n",
        '    labels: {rack: r1}\n  atlas:\n    address: "10.0.0.1"\n    memory: 64GiB\n    gpus:\n      - {model: NVIDIA L4, count: 2}\n',
    )


def test_a_new_model_fills_an_empty_section() -> None:
    assert merged(CLUSTER, models=(CHAT,)) == CLUSTER.replace("models: {}", "models:\n  chat:\n    source: hf://a/b")


def test_a_missing_section_is_made() -> None:
    assert merged("version: 1", models=(CHAT,)) == "version: 1\nmodels:\n  chat:\n    source: hf://a/b\n"


def test_a_host_that_is_there_gets_what_it_lacks_and_keeps_the_rest() -> None:
    text = "hosts:\n  atlas:\n    memory: 60GiB  # measured\n    labels:\n      rack: r9\n  z: {memory: 1GiB}\n"
    outcome = merge(text, ATLAS)
    assert [diagnostic.code for diagnostic in outcome.diagnostics] == ["GS195"]
    assert outcome.diagnostics[0].place.line == 3
    assert outcome.value is not None
    assert outcome.value.text == text.replace(
        "      rack: r9\n", '      rack: r9\n    address: "10.0.0.1"\n    gpus:\n      - {model: NVIDIA L4, count: 2}\n'
    )


@pytest.mark.parametrize(
    "gpus",
    [
        "    gpus:\n      - {model: NVIDIA L4, count: 2}  # the good ones\n",
        "    gpus:\n    - model: NVIDIA L4\n    - {model: NVIDIA L4, uuid: GPU-1}\n",
        "    gpus: [{model: NVIDIA L4, count: 2}]\n",
    ],
)
def test_the_same_gpus_are_left_alone(gpus: str) -> None:
    text = f"hosts:\n  atlas:\n    address: 10.0.0.1\n    memory: 64GiB\n{gpus}"
    outcome = merge(text, ATLAS)
    assert outcome.value is not None
    assert (outcome.value.text, outcome.value.changes) == (text, ())


@pytest.mark.parametrize(
    ("gpus", "result"),
    [
        ("    gpus:\n      - {model: Tesla T4}\n", "    gpus:\n      - {model: NVIDIA L4, count: 2}\n"),
        (
            "    gpus:\n    - {model: Tesla T4}\n    - model: Tesla T4\n      count: 3\n",
            "    gpus:\n    - {model: NVIDIA L4, count: 2}\n",
        ),
        ("    gpus: [{model: Tesla T4}]  # two\n", "    gpus:\n      - {model: NVIDIA L4, count: 2}  # two\n"),
        ("    gpus: [{model: Tesla T4},\n      {model: 'x ]'}]\n", "    gpus:\n      - {model: NVIDIA L4, count: 2}\n"),
    ],
)
def test_other_gpus_are_replaced(gpus: str, result: str) -> None:
    head = "hosts:\n  atlas:\n    address: 10.0.0.1\n    memory: 64GiB\n"
    tail = "    # below\n    labels: {a: b}  # mine\nmodels:\n"
    assert merged(head + gpus + tail, ATLAS) == head + result + tail


LINKED = "version: 1\nname: lab\nhosts:\n  atlas:\n    address: 10.0.0.1\n    memory: 64GiB\n"
FOUR = "    gpus: [{model: NVIDIA A40, count: 4}]\n"
TWO = "    gpus:\n      - {model: NVIDIA L4, count: 2}\n"


@pytest.mark.parametrize(
    "links",
    [
        "    nvlink: [[0, 3], [1, 2]]\n",
        "    nvlink: [[0, 1],\n      [2, 3]]\n",
        "    nvlink:\n      - [0, 1]\n      - [2, 3]\n",
        "    nvlink:\n    - [0, 1]\n    -\n      - 2\n      - 3\n",
    ],
)
@pytest.mark.parametrize("tail", ["", "    # below\n    labels: {a: b}  # mine\n", "  z: {memory: 8GiB}\n"])
def test_links_of_cards_that_are_gone_are_taken_out(links: str, tail: str) -> None:
    for text in (LINKED + FOUR + links + tail, LINKED + links + FOUR + tail):
        outcome = merge(text, ATLAS)
        assert outcome.value is not None
        assert outcome.value.text == LINKED + TWO + tail
        (said,) = outcome.diagnostics
        assert (said.code, said.severity, said.place.line) == ("GS198", "warning", _line(text, links))
        assert "atlas" in said.message
        assert "the import has 2 cards" in said.message
        assert "host atlas lost its nvlink" in outcome.value.changes[-1]
        assert hosts_of(outcome.value.text)["atlas"].nvlink == ()


def _line(text: str, links: str) -> int:
    """The line of the first group."""
    return text.count("\n", 0, text.index(links) + links.index("[")) + (0 if "    -" in links[:16] else 1)


def test_links_of_cards_that_are_gone_give_way_to_those_of_the_import() -> None:
    linked = replace(ATLAS, nvlink=((0, 1),))
    outcome = merge(LINKED + FOUR + "    nvlink: [[0, 3], [1, 2]]\n", linked)
    assert outcome.value is not None
    assert outcome.value.text == LINKED + TWO + "    nvlink: [[0, 1]]\n"
    assert [said.code for said in outcome.diagnostics] == ["GS198"]
    assert "[[0, 1]]" in outcome.diagnostics[0].message


def test_links_are_taken_out_where_the_new_cards_can_have_none() -> None:
    amd = replace(ATLAS, gpus=(ImportedCard(model="AMD Instinct MI300X", count=4),))
    outcome = merge(LINKED + FOUR + "    nvlink: [[0, 3]]\n", amd)
    assert outcome.value is not None
    assert "nvlink" not in outcome.value.text
    assert "names GPU 0, which is AMD Instinct MI300X" in outcome.diagnostics[0].message


def test_links_that_the_new_cards_can_have_stay() -> None:
    text = LINKED + FOUR + "    nvlink: [[0, 1]]  # mine\n"
    outcome = merge(text, ATLAS)
    assert outcome.value is not None
    assert outcome.value.text == LINKED + TWO + "    nvlink: [[0, 1]]  # mine\n"
    assert outcome.diagnostics == ()


def test_a_comment_on_links_that_can_not_stay_is_not_lost() -> None:
    outcome = merge(LINKED + FOUR + "    nvlink: [[0, 3]]  # two bridges\n", ATLAS)
    assert outcome.value is None
    assert [said.code for said in outcome.diagnostics] == ["GS194"]
    assert "names GPU 3" in outcome.diagnostics[0].message


@pytest.mark.parametrize(
    "text",
    [
        "hosts: {borea: {memory: 1GiB}}\n",
        "hosts:\n  atlas: {memory: 1GiB}\n",
        "hosts:\n  atlas:\n    gpus:\n      - {model: Tesla T4}\n      # bought 2021\n      - {model: NVIDIA L4}\n",
        "hosts:\n  atlas:\n    gpus: some\n",
        "version: 1\n...\n",
    ],
)
def test_a_file_that_can_not_be_edited_safely_is_refused(text: str) -> None:
    outcome = merge(text, ATLAS)
    assert outcome.value is None
    assert [diagnostic.code for diagnostic in outcome.diagnostics] == ["GS194"]


def test_a_file_that_can_not_be_read_is_refused_with_its_own_diagnostic() -> None:
    outcome = merge("a: *b\n", ATLAS)
    assert outcome.value is None
    assert outcome.diagnostics[0].code.startswith("GS1")


def test_a_model_that_is_there_is_left_alone() -> None:
    text = "models:\n  chat:\n    source: hf://x/y\n"
    outcome = merge(text, models=(CHAT,))
    assert outcome.value is not None
    assert outcome.value.text == text
    assert [diagnostic.code for diagnostic in outcome.diagnostics] == ["GS195"]


def test_windows_line_ends_stay() -> None:
    text = merged(CLUSTER.replace("\n", "\r\n"), ATLAS, models=(CHAT,))
    assert "\n" not in text.replace("\r\n", "")
    assert text.replace("\r\n", "\n") == merged(CLUSTER, ATLAS, models=(CHAT,))


def test_importing_twice_changes_nothing() -> None:
    once = merged(CLUSTER, ATLAS, models=(CHAT,))
    again = merge(once, ATLAS)
    assert again.value is not None
    assert (again.value.text, again.value.changes) == (once, ())


PIECES = st.sampled_from(
    [
        "hosts:\n", "models:\n", "  atlas:\n", "  borea:\n", "    memory: 1GiB\n", "    gpus:\n", "      - {model: Tesla T4}\n", "    gpus: []\n",
        "# c\n", "\n", "    # d\n", "  b: {}\n", "  atlas: {}\n", "    labels: {a: b}\n", "    labels:\n      a: b\n", "version: 1\n", "...\n", "    gpus: [{model: X}]\n",
    ]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(PIECES, max_size=9))
def test_no_line_of_the_user_is_lost_but_gpus(pieces: list[str]) -> None:
    text = "".join(pieces)
    outcome = merge(text, ATLAS, models=(CHAT,))
    if outcome.value is None:
        assert outcome.diagnostics
        return
    kept = outcome.value.text.splitlines()
    for line in text.splitlines():
        if "model: " not in line and "gpus" not in line and "{}" not in line:
            assert line in kept
