"""Builds and what they do."""

from __future__ import annotations

import pytest

from gslc.engines.llama_profile import profile_of


@pytest.mark.parametrize("version", ["b11669", "11669", "0.7.0", "1:0.7.0+dfsg-2"])
def test_versions_are_read_as_their_owners_write_them(version: str) -> None:
    profile = profile_of("llama.cpp", version)
    assert profile is not None
    assert profile.build == 11669
    assert not profile.newer_than_known


def test_a_newer_build_is_planned_like_the_newest_with_a_note() -> None:
    profile = profile_of("llama.cpp", "b99999")
    assert profile is not None
    assert profile.newer_than_known
    assert profile.logits_per_slot


@pytest.mark.parametrize("version", ["latest", "v1", "b12", "0.7"])
def test_other_forms_have_no_profile(version: str) -> None:
    profile = profile_of("llama.cpp", version)
    assert profile is None or version == "0.7"
    assert profile_of("llama-box", version) is None


def test_layers_and_logits_changed_with_time() -> None:
    old, middle, new = (profile_of("llama.cpp", build) for build in ("b6000", "b8000", "b11669"))
    assert old
    assert middle
    assert new
    assert (old.output_first, middle.output_first, new.output_first) == (False, True, True)
    assert (old.logits_per_slot, middle.logits_per_slot, new.logits_per_slot) == (False, False, True)
    assert (old.flash_takes_value, middle.flash_takes_value) == (False, True)


def test_llama_box_behaves_like_its_sources_of_august_2025() -> None:
    box = profile_of("llama-box", None)
    assert box is not None
    assert not (box.output_first)
    assert not (box.logits_per_slot)
    assert not (box.auto_slots)
    assert not (box.has_fit)
    assert not (box.flash_default)
    assert box.default_context == 4096


def test_mmap_flags_are_known_to_older_builds_only() -> None:
    old, new = profile_of("llama.cpp", "b8000"), profile_of("llama.cpp", "b11669")
    assert old
    assert new
    assert "--no-mmap" in old.flags.settings
    assert "--no-mmap" in new.flags.removed
