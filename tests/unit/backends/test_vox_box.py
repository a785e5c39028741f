"""vox-box: how each version is kept on its card, and what may be said to it."""

from __future__ import annotations

import pytest

from gslc.backends.vox_box import device_words, pinning, version_tuple
from gslc.ir.facts import SpeechFacts, SpeechFramework


def speech(framework: SpeechFramework) -> SpeechFacts:
    return SpeechFacts(framework=framework, model_file="model.bin", model_bytes=1)


@pytest.mark.parametrize(
    ("framework", "version", "how", "whisper_switch"),
    [
        ("faster-whisper", "0.0.11", "visible", False),
        ("faster-whisper", "0.0.17", "visible", False),
        ("faster-whisper", "0.0.18", "index", False),
        ("faster-whisper", "0.0.21", "visible", True),
        ("cosyvoice", "0.0.11", "visible", False),
        ("cosyvoice", "0.0.15", "index", False),
        ("cosyvoice", "0.0.21", "index", False),
        ("funasr", "0.0.17", "visible", False),
        ("funasr", "0.0.21", "visible", False),
        ("bark", "0.0.21", "visible", False),
    ],
)
def test_the_card_is_pinned_the_way_the_version_respects(
    framework: SpeechFramework, version: str, how: str, whisper_switch: bool
) -> None:
    chosen, env = pinning(speech(framework), version, (3,))
    assert chosen == how
    assert (env.get("IS_FASTER_WHISPER") == "false") is whisper_switch


def test_a_hidden_neighbourhood_is_numbered_from_zero_and_an_open_one_by_host_index() -> None:
    assert device_words((3,), "visible") == ("--device", "cuda:0")
    assert device_words((3,), "index") == ("--device", "cuda:3")
    assert device_words((), "index") == ("--device", "cpu")


def test_a_version_that_is_no_number_sorts_below_all() -> None:
    assert version_tuple("v0.0.21") == (0, 0, 21)
    assert version_tuple("main") == ()
