"""Sizes, numbers and ranges as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslc.frontend import sizes
from gslc.frontend.mistake import Mistake

SIZES = {
    "24GiB": 24 << 30,
    "80GB": 80 * 10**9,
    "512MiB": 512 << 20,
    "24564 MiB": 24564 << 20,
    "1.5TiB": 3 << 39,
    "0.001KiB": 1,
    "7B": 7,
    "0": 0,
    "1048576": 1 << 20,
    "8589934592": 8 << 30,
}


@pytest.mark.parametrize("text", SIZES)
def test_a_size_is_bytes(text: str) -> None:
    assert sizes.size(text, False) == SIZES[text]


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("24", "GS142", "24GiB"),
        ("1", "GS142", "1GiB"),
        ("24576", "GS142", "24576MiB"),
        ("1048575", "GS142", "1048575MiB"),
        ("24G", "GS141", "24GiB"),
        ("24Gi", "GS141", "24GiB"),
        ("24gb", "GS141", "24GiB"),
        ("24 g", "GS141", "24GiB"),
        ("1.5.2GiB", "GS141", "24GiB"),
        ("GiB", "GS141", "24GiB"),
        ("1e9", "GS141", "24GiB"),
        ("0x10", "GS141", "24GiB"),
        ("1_000", "GS141", "24GiB"),
        (".inf", "GS141", "24GiB"),
        ("24GiB\n", "GS141", "24GiB"),
        ("-1", "GS137", "24GiB"),
        ("9999TiB", "GS137", "unit"),
        ("9" * 18, "GS137", "24GiB"),
        ("9" * 1_000_000, "GS141", "24GiB"),
        ("٣GiB", "GS141", "24GiB"),
    ],
)
def test_what_is_no_size_is_refused_with_what_was_meant(text: str, code: str, hint: str) -> None:
    answer = sizes.size(text, False)
    assert isinstance(answer, Mistake)
    assert answer.code == code
    assert hint in (answer.help or "")


def test_a_quoted_bare_number_is_no_size() -> None:
    answer = sizes.size("8589934592", True)
    assert isinstance(answer, Mistake)
    assert answer.code == "GS141"
    assert sizes.size("24GiB", True) == 24 << 30


def test_capacity_rounds_down_and_demand_up() -> None:
    assert sizes.size("0.001GiB", False) == 1_073_741
    assert sizes.demand_size("0.001GiB", False) == 1_073_742


def test_a_positive_size_is_not_0() -> None:
    assert isinstance(sizes.positive_size("0", False), Mistake)
    assert isinstance(sizes.positive_size("0GiB", False), Mistake)


@given(st.integers(0, 1 << 50), st.sampled_from(list(sizes.UNITS)))
def test_a_whole_number_of_units_is_exact(number: int, unit: str) -> None:
    wanted = number * sizes.UNITS[unit]
    answer = sizes.size(f"{number}{unit}", False)
    assert isinstance(answer, Mistake) if wanted > sizes.MAX_SIZE_BYTES or number >= 10**16 else answer == wanted


@given(st.text(max_size=30), st.booleans())
def test_any_text_is_a_value_or_a_mistake(text: str, quoted: bool) -> None:
    readers = (
        sizes.size, sizes.demand_size, sizes.positive_size, sizes.boolean, sizes.utilization, sizes.port_range,
        sizes.compute_capability, sizes.whole_number(0, 9),
    )  # fmt: skip
    for reader in readers:
        answer = reader(text, quoted)
        assert not isinstance(answer, Mistake) or (answer.message and answer.help)


def test_whole_numbers_are_plain_and_in_range() -> None:
    read = sizes.whole_number(1, 10)
    assert read("10", False) == 10
    for text, quoted, code in [
        ("0", False, "GS137"), ("11", False, "GS137"), ("3", True, "GS134"), ("03", False, "GS134"), ("+3", False, "GS134"),
        ("3.0", False, "GS134"), ("1e0", False, "GS134"), ("9" * 400, False, "GS134"), ("true", False, "GS134"), ("", True, "GS134"),
    ]:  # fmt: skip
        answer = read(text, quoted)
        assert isinstance(answer, Mistake), text
        assert answer.code == code


@pytest.mark.parametrize(
    ("text", "help_text"), [("yes", "write true"), ("off", "write false"), ("1", "write true or false")]
)
def test_booleans_have_one_spelling(text: str, help_text: str) -> None:
    answer = sizes.boolean(text, False)
    assert isinstance(answer, Mistake)
    assert answer.help == help_text
    assert sizes.boolean("true", False) is True
    assert sizes.boolean("false", False) is False
    assert isinstance(sizes.boolean("true", True), Mistake)


def test_utilization_is_thousandths() -> None:
    good = {"0.9": 900, "1": 1000, "0.123": 123, "0.1230": 123, "1.0": 1000, "auto": "auto"}
    assert {text: sizes.utilization(text, False) for text in good} == good
    for text in ("0", "0.0", "1.1", "0.9001", "90", ".9", "-0.5", "0.9" + "0" * 50):
        assert isinstance(sizes.utilization(text, False), Mistake), text
    assert isinstance(sizes.utilization("0.9", True), Mistake)


def test_port_ranges_go_up() -> None:
    assert sizes.port_range("20000-29999", False) == (20000, 29999)
    assert sizes.port_range("1 - 65535", False) == (1, 65535)
    assert sizes.port_range("80-80", False) == (80, 80)
    for text in ("80", "90-80", "0-9", "1-65536", "a-b", "20000-", "1-2-3", "-1-5"):
        assert isinstance(sizes.port_range(text, False), Mistake), text


def test_compute_capabilities_are_two_numbers() -> None:
    assert sizes.compute_capability("8.9", False) == (8, 9)
    assert sizes.compute_capability("12.0", True) == (12, 0)
    for text in ("8", "8.90", "sm_89", "0.1", "100.0"):
        assert isinstance(sizes.compute_capability(text, False), Mistake), text


def test_every_unit_is_what_it_says() -> None:
    decimal = {"KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000}
    binary = {"KiB": 1_024, "MiB": 1_048_576, "GiB": 1_073_741_824, "TiB": 1_099_511_627_776}
    for unit, number in {"B": 1, **decimal, **binary}.items():
        assert sizes.size(f"3{unit}", False) == 3 * number


def test_the_largest_size_is_1024_tebibytes() -> None:
    assert sizes.size("1024TiB", False) == 1_125_899_906_842_624
    assert sizes.size("1125899906842624", False) == 1_125_899_906_842_624
    assert isinstance(sizes.size("1125899906842625", False), Mistake)
    assert isinstance(sizes.size("1024.001TiB", False), Mistake)


def test_a_bare_number_was_meant_in_gibibytes_or_mebibytes() -> None:
    for text, meant in {"9999": "9999GiB", "10000": "10000MiB"}.items():
        answer = sizes.size(text, False)
        assert isinstance(answer, Mistake)
        assert answer.help == f"did you mean {meant}?"


def test_the_smallest_utilization_is_a_thousandth() -> None:
    assert sizes.utilization("0.001", False) == 1
    assert isinstance(sizes.utilization("0.000", False), Mistake)


@pytest.mark.parametrize(
    ("text", "quoted", "help_text"),
    [
        ("true", True, "write true, without quotes"),
        ("false", True, "write false, without quotes"),
        ("yes", True, "write true, without quotes"),
        ("no", False, "write false"),
        ("", True, "write true or false"),
        ("maybe", True, "write true or false"),
    ],
)
def test_a_quoted_boolean_is_told_to_lose_its_quotes(text: str, quoted: bool, help_text: str) -> None:
    answer = sizes.boolean(text, quoted)
    assert isinstance(answer, Mistake)
    assert answer.help == help_text
