"""Names, addresses, paths, images and other words with a form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslc.frontend import names
from gslc.frontend.mistake import Mistake


def good(reader: Callable[[str, bool], object], text: str) -> bool:
    return not isinstance(reader(text, False), Mistake)


CASES: dict[str, tuple[Callable[[str, bool], object], list[str], list[str]]] = {
    "name": (
        names.name,
        ["a", "atlas-1", "0", "a" * 63, "a--b"],
        ["", "-a", "a-", "A", "a_b", "a.b", "..", "a/b", "a\n", "ü", "a" * 64, "con", "nul", "com1", "lpt9", "a b"],
    ),
    "address": (
        names.address,
        ["10.0.0.11", "fd00::11", "::1", "ff::1", "127.0.0.1", "223.0.0.1", "0.0.0.0", "atlas", "atlas.example.org", "atlas.", "1a"],
        ["", "10.0.0", "10.0.0.256", "10.0.0.01", "1.2.3.4.5", "http://x", "x:80", "[::1]", "a b", "-a", "a-", "a..b", ":", "1::2::3", "x" * 254, "a_b", "fe80::1%eth0",
         "224.0.0.1", "239.255.255.250", "255.255.255.255", "0.0.0.1", "ff02::1", "FF0E::0:1"],
    ),
    "path": (
        names.absolute_path,
        ["/", "/var/lib/gslc", "C:\\models", "C:/models", "/a b", "/a..b"],
        ["", "a", "./a", "~/a", "/a/../b", "/..", "C:\\..\\x", "/a\nb", "/a\0", "C:models"],
    ),
    "image": (
        names.image,
        ["a", "a:1", "ghcr.io/ggml-org/llama.cpp:server-cuda-b11669", "localhost:5000/a/b:c", "a@sha256:" + "0" * 64, "a__b"],
        ["", "A", "a:", "a b", "a//b", "-a", "http://a", "a@sha256:0", "a:1:2", "a/", "a:$(x)", "a\n"],
    ),
    "version": (names.version, ["0.26.0", "b11669", "1!2.0+cu129", "0.0.21"], ["", "-1", "a b", "v/1", "1;2", "1\n"]),
    "label value": (names.label_value, ["r1", "1e3", "a/b", "A"], ["", " a", "a ", "a,b", "a'b", "-a"]),
    "served name": (names.served_name, ["qwen", "Qwen/Qwen2.5:7b"], ["", " ", "a b", "-a", "a\tb"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_words_have_their_form(kind: str) -> None:
    reader, right, wrong = CASES[kind]
    assert [text for text in right if not good(reader, text)] == []
    assert [text for text in wrong if good(reader, text)] == []


def test_a_wrong_name_gets_a_right_one_proposed() -> None:
    answer = names.name("My Host_1", False)
    assert isinstance(answer, Mistake)
    assert answer.help == "did you mean my-host-1?"


def test_a_mistyped_choice_gets_the_nearest() -> None:
    answer = names.choice("systemd", "compose", "nomad")("systmd", False)
    assert isinstance(answer, Mistake)
    assert answer.help == "did you mean systemd?"
    other = names.choice("a", "b")("zzz", False)
    assert isinstance(other, Mistake)
    assert other.help == "write one of a, b"


def test_addresses_of_ipv6_are_written_one_way() -> None:
    assert names.address("FD00:0:0::0011", False) == "fd00::11"


def test_pins_are_host_and_index() -> None:
    assert names.gpu_pin("atlas/0", False) == ("atlas", 0)
    for text in ("atlas", "atlas/", "/0", "atlas/00", "atlas/-1", "a/b/0", "atlas/0 ", "atlas/99999"):
        assert isinstance(names.gpu_pin(text, False), Mistake), text


def test_text_of_one_line_holds_no_control_characters() -> None:
    assert names.line("--a b", False) == "--a b"
    for text in ("a\nb", "a\tb", "a\x7f", "a\x9b"):
        answer = names.line(text, True)
        assert isinstance(answer, Mistake)
        assert answer.code == "GS149"
    long = names.line("x" * 32_769, False)
    assert isinstance(long, Mistake)
    assert long.code == "GS137"


READERS = (
    names.name, names.address, names.absolute_path, names.image, names.version, names.label_key, names.label_value,
    names.served_name, names.cache_type, names.uuid, names.gpu_pin, names.line,
)  # fmt: skip


@given(st.text(max_size=80))
def test_any_text_is_a_word_or_a_mistake_with_a_help(text: str) -> None:
    for reader in READERS:
        answer = reader(text, False)
        assert not isinstance(answer, Mistake) or (answer.message and answer.help)


@given(st.text(max_size=20))
def test_what_is_accepted_never_holds_a_line_break_or_a_way_up(text: str) -> None:
    for candidate in (text, text + "\n", f"/{text}", f"a{text}", f"../{text}"):
        for reader in READERS[:-1]:
            if not isinstance(reader(candidate, True), Mistake):
                assert "\n" not in candidate
                assert ".." not in candidate.replace("\\", "/").split("/")


def test_limits_are_exact() -> None:
    label = "a" * 61
    assert good(names.address, ".".join([label] * 4) + ".abcde")
    assert len(".".join([label] * 4) + ".abcde") == 253
    assert not good(names.address, ".".join([label] * 4) + ".abcdef")
    assert good(names.line, "x" * names.MAX_TEXT_CHARACTERS)
    assert good(names.label_value, "a" * 128)
    assert not good(names.label_value, "a" * 129)


def test_only_real_device_names_are_refused() -> None:
    assert [word for word in ("com0", "com9", "lpt0", "prn", "aux") if good(names.name, word)] == []
    assert [word for word in ("com10", "lpt", "console", "nula") if not good(names.name, word)] == []


def test_a_proposed_name_is_a_name() -> None:
    for text in ("A" * 100, "Nul", "!!", "a" * 62 + "_b", "--"):
        answer = names.name(text, False)
        assert isinstance(answer, Mistake)
        proposed = (answer.help or "").removeprefix("did you mean ").removesuffix("?")
        assert good(names.name, proposed) or answer.help == "write, e.g. atlas-1"
