"""`nvidia-smi -q -x` of three driver generations, and what people send instead."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import GIB, MIB, TABLE, codes, hosts_of, imported, run, sample

OLD, MIDDLE, NEW = "nvidia-smi-450-gtx1080ti.xml", "nvidia-smi-535-l40s.xml", "nvidia-smi-580-rtx5090-pro6000.xml"
ONE = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log><driver_version>550.54</driver_version><gpu id="1"><product_name>{name}</product_name>
<product_architecture>{architecture}</product_architecture><mig_mode><current_mig>{mig}</current_mig></mig_mode>
<uuid>GPU-1</uuid><fb_memory_usage><total>{total} MiB</total><reserved>{reserved} MiB</reserved></fb_memory_usage></gpu></nvidia_smi_log>
"""


def one(
    name: str = "NVIDIA L4",
    total: int = 23034,
    reserved: int = 450,
    mig: str = "N/A",
    architecture: str = "Ada Lovelace",
) -> str:
    return ONE.format(name=name, total=total, reserved=reserved, mig=mig, architecture=architecture)


@pytest.mark.parametrize(
    ("file", "models"),
    [
        (OLD, ["NVIDIA GeForce GTX 1080 Ti"] * 3),
        (MIDDLE, ["NVIDIA L40S"] * 4),
        (NEW, ["NVIDIA GeForce RTX 5090"] * 2 + ["NVIDIA RTX PRO 6000 Blackwell Workstation Edition"]),
    ],
)
def test_three_driver_generations_give_cards_of_the_table_without_a_warning(file: str, models: list[str]) -> None:
    outcome = run("nvidia-smi", sample(file), "atlas", memory=128 * GIB)
    assert outcome.diagnostics == ()
    assert outcome.value is not None
    host = hosts_of(outcome.value.text())["atlas"]
    assert [gpu.kind.model for gpu in host.gpus] == models
    assert host.memory_bytes == 128 * GIB
    assert all(gpu.kind == TABLE.find(gpu.kind.model) for gpu in host.gpus)


def test_the_result_names_its_source_and_driver() -> None:
    assert (
        imported("nvidia-smi", sample(MIDDLE), "a")
        .text()
        .startswith("# Made by `gslc import nvidia-smi` from in (driver 535.183.01).\n")
    )


def test_uuids_give_one_line_a_card() -> None:
    host = hosts_of(imported("nvidia-smi", sample(MIDDLE), "a", memory=GIB * 64, uuids=True).text())["a"]
    assert len({gpu.uuid for gpu in host.gpus}) == 4
    assert all(gpu.uuid is not None and gpu.uuid.startswith("GPU-") for gpu in host.gpus)


def test_memory_that_the_tool_does_not_say_is_a_warning_and_no_guess() -> None:
    outcome = run("nvidia-smi", one(), "atlas")
    assert codes(outcome) == ["GS186"]
    assert outcome.value is not None
    assert "memory" not in outcome.value.text()


def test_a_host_is_called_after_its_file() -> None:
    outcome = run("nvidia-smi", one(), file="some/folder/GPU_Box1.xml", memory=GIB * 64)
    assert codes(outcome) == ["GS188"]
    assert outcome.value is not None
    assert [host.name for host in outcome.value.hosts] == ["gpu-box1"]


def test_several_outputs_in_one_file_are_several_hosts() -> None:
    outcome = run("nvidia-smi", one() + one("Tesla T4", 15360, 450), "atlas", "borea", memory=GIB * 64)
    assert outcome.value is not None
    assert [(host.name, host.gpus[0].model) for host in outcome.value.hosts] == [
        ("atlas", "NVIDIA L4"),
        ("borea", "Tesla T4"),
    ]


def test_more_hosts_than_names_are_an_error() -> None:
    assert codes(run("nvidia-smi", one() + one(), "atlas", memory=GIB * 64)) == ["GS186"]
    assert codes(run("nvidia-smi", one(), file="-")) == ["GS186"]


def test_two_hosts_of_one_name_are_an_error() -> None:
    assert codes(run("nvidia-smi", one() + one(), "atlas", "atlas", memory=GIB * 64)) == ["GS189"]


def test_an_unknown_card_keeps_the_memory_of_the_probe() -> None:
    outcome = run("nvidia-smi", one("NVIDIA RTX 9999", 49140, 600), "a", memory=GIB * 64)
    assert codes(outcome) == ["GS184"]
    assert outcome.value is not None
    (gpu,) = hosts_of(outcome.value.text())["a"].gpus
    assert (gpu.kind.vendor, gpu.kind.memory_bytes, gpu.kind.compute_capability) == (
        "nvidia",
        (49140 - 600) * MIB,
        (8, 9),
    )
    assert "# NVIDIA RTX 9999" in outcome.value.text()


def test_an_unknown_card_of_an_architecture_with_two_capabilities_has_none() -> None:
    assert "compute_capability" not in imported("nvidia-smi", one("NVIDIA A77", architecture="Ampere"), "a").text()


@pytest.mark.parametrize(("total", "reserved"), [(21000, 450), (46068, 600)])
def test_a_known_card_with_other_memory_is_custom(total: int, reserved: int) -> None:
    outcome = run("nvidia-smi", one("NVIDIA L4", total, reserved), "a", memory=GIB * 64)
    assert codes(outcome) == ["GS185"]
    assert outcome.value is not None
    (gpu,) = hosts_of(outcome.value.text())["a"].gpus
    assert gpu.kind.memory_bytes == (total - reserved) * MIB
    assert gpu.kind.compute_capability == (8, 9)


def test_the_probe_tells_apart_two_sizes_of_one_name() -> None:
    small = imported("nvidia-smi", one("NVIDIA GeForce RTX 4060 Ti", 8188, 222), "a").text()
    large = imported("nvidia-smi", one("NVIDIA GeForce RTX 4060 Ti", 16380, 330), "a").text()
    assert "{model: NVIDIA GeForce RTX 4060 Ti}" in small
    assert "{model: NVIDIA GeForce RTX 4060 Ti 16GB}" in large


def test_a_card_that_shares_its_hosts_memory_makes_the_host_unified() -> None:
    text = one("NVIDIA GB10").replace("23034 MiB", "N/A").replace("450 MiB", "N/A")
    host = hosts_of(imported("nvidia-smi", text, "spark", memory=120 * GIB).text())["spark"]
    assert host.unified_memory
    assert host.gpus[0].kind.memory_bytes == 120 * GIB


def test_a_host_with_mig_is_refused() -> None:
    assert codes(run("nvidia-smi", one(mig="Enabled"), "a")) == ["GS187"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "GS180"),
        ("NVIDIA-SMI has failed", "GS180"),
        ("{}", "GS180"),
        ("<html></html>", "GS180"),
        ("<nvidia_smi_log>", "GS180"),
        ("<nvidia_smi_log></nvidia_smi_log>", "GS183"),
        ("<nvidia_smi_log><gpu/></nvidia_smi_log>", "GS180"),
        ("<nvidia_smi_log>\ud800</nvidia_smi_log>", "GS180"),
    ],
)
def test_anything_else_is_refused(text: str, code: str) -> None:
    outcome = run("nvidia-smi", text, "a")
    assert outcome.value is None
    assert codes(outcome) == [code]


BOMB = """<?xml version="1.0"?>
<!DOCTYPE nvidia_smi_log [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<nvidia_smi_log><gpu><product_name>&b;</product_name></gpu></nvidia_smi_log>"""


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        BOMB.replace("nvidia_smi_log [", 'nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd" ['),
        BOMB.replace("<!DOCTYPE", "<!-- x --><!DOCTYPE"),
        BOMB.replace("<!DOCTYPE", "<?pi x?><!DOCTYPE"),
        '<!DOCTYPE nvidia_smi_log PUBLIC "x" "file:///etc/passwd"><nvidia_smi_log/>',
        '<!DOCTYPE x SYSTEM "a"><!DOCTYPE nvidia_smi_log [<!ENTITY x SYSTEM "file:///etc/passwd">]><nvidia_smi_log>&x;</nvidia_smi_log>',
    ],
)
def test_a_document_with_declarations_of_its_own_is_refused(text: str) -> None:
    assert codes(run("nvidia-smi", text, "a")) == ["GS182"]


def test_an_undeclared_entity_is_damage() -> None:
    assert codes(run("nvidia-smi", one("&x;"), "a")) == ["GS180"]


def test_a_refusal_names_the_line_of_the_damage() -> None:
    cut = sample(OLD)[:9000]
    (diagnostic,) = run("nvidia-smi", cut, "a").diagnostics
    assert diagnostic.place.line == cut.count("\n") + 1


@settings(max_examples=60, deadline=None)
@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_a_hostile_name_of_a_card_stays_text(name: str) -> None:
    from xml.sax.saxutils import escape

    outcome = run("nvidia-smi", one(escape(name)), "a", memory=GIB * 64)
    if outcome.value is not None and outcome.value.hosts:
        text = outcome.value.text()
        assert len(hosts_of(text)["a"].gpus) == 1
        assert re.fullmatch(
            r"# Made by .*\nhosts:\n  a:\n    memory: 64GiB\n    gpus:\n      - \{.*\}(?:  # .*)?\n", text
        )


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 4000), text=st.sampled_from((one(), BOMB, one() + one())))
def test_a_cut_document_is_never_a_traceback(cut: int, text: str) -> None:
    run("nvidia-smi", text[:cut], "a", "b")
    run("nvidia-smi", text[cut:], "a", "b")
