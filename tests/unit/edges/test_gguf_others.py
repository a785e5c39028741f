"""The other quantisations of a model, from listings as published repositories have them."""

from __future__ import annotations

import time

import pytest
from sources import source

from gslc.edges.gguf_choice import choose_model
from gslc.edges.gguf_others import OTHERS_MAX, family_of, other_quantizations
from gslc.edges.hub import HubFile, Listing
from gslc.engines.paths import source_of_other
from gslc.ir.facts import OtherQuantization

MIB = 1 << 20
# bartowski/Llama-3.2-1B-Instruct-GGUF, sizes as published
BARTOWSKI = {
    "Llama-3.2-1B-Instruct-IQ3_M.gguf": 657_289_728, "Llama-3.2-1B-Instruct-IQ4_XS.gguf": 743_141_376,
    "Llama-3.2-1B-Instruct-Q3_K_L.gguf": 732_524_032, "Llama-3.2-1B-Instruct-Q4_0.gguf": 773_025_280,
    "Llama-3.2-1B-Instruct-Q4_0_4_4.gguf": 770_928_128, "Llama-3.2-1B-Instruct-Q4_K_L.gguf": 871_309_824,
    "Llama-3.2-1B-Instruct-Q4_K_M.gguf": 807_694_464, "Llama-3.2-1B-Instruct-Q6_K_L.gguf": 1_085_357_568,
    "Llama-3.2-1B-Instruct-Q8_0.gguf": 1_321_083_008, "Llama-3.2-1B-Instruct-f16.gguf": 2_479_595_456,
    "Llama-3.2-1B-Instruct.imatrix": 1_347_360, "README.md": 8_000,
}  # fmt: skip
# unsloth: whole files in the root, split ones in folders of their own, a projector, a draft model
UNSLOTH = {
    "BF16/Qwen3-VL-BF16-00001-of-00002.gguf": 40_000 * MIB, "BF16/Qwen3-VL-BF16-00002-of-00002.gguf": 20_000 * MIB,
    "Q8_0/Qwen3-VL-Q8_0-00001-of-00003.gguf": 12_000 * MIB, "Q8_0/Qwen3-VL-Q8_0-00002-of-00003.gguf": 12_000 * MIB, "Q8_0/Qwen3-VL-Q8_0-00003-of-00003.gguf": 7_000 * MIB,
    "UD-Q4_K_XL/Qwen3-VL-UD-Q4_K_XL-00001-of-00001.gguf": 18_000 * MIB, "Qwen3-VL-UD-IQ2_M.gguf": 10_000 * MIB, "Qwen3-VL-Q4_K_M.gguf": 18_500 * MIB,
    "Qwen3-VL-MXFP4_MOE.gguf": 16_000 * MIB, "Qwen3-VL-UD-TQ1_0.gguf": 8_000 * MIB, "mmproj-BF16.gguf": 900 * MIB, "imatrix_unsloth.gguf": 100 * MIB,
    "Qwen3-0.6B-Q8_0.gguf": 700 * MIB, "Q5_K_M/Qwen3-VL-Q5_K_M-00001-of-00002.gguf": 12_000 * MIB,
}  # fmt: skip
# mradermacher: a full stop before the quantisation; Qwen's own: lower case, folders that repeat the name
MRADERMACHER = {"Big.Q8_0.gguf": 900, "Big.Q4_K_M.gguf": 500, "Big.IQ4_XS.gguf": 450, "Big.f16.gguf": 1800}
FOLDERS = {
    "Llama-70B-Q8_0/Llama-70B-Q8_0-00001-of-00002.gguf": 40,
    "Llama-70B-Q8_0/Llama-70B-Q8_0-00002-of-00002.gguf": 35,
    "Llama-70B-Q4_K_M.gguf": 42,
}


def listing(files: dict[str, int]) -> Listing:
    found = tuple(HubFile(path=path, size_bytes=size) for path, size in sorted(files.items()))
    return Listing(source="hf://o/r", revision="0" * 40, files=found)


def others(text: str, files: dict[str, int]) -> dict[str, int]:
    there, asked = listing(files), source(text)
    found = other_quantizations(asked, there, choose_model(asked, there))
    for other in found:  # what is offered is what the source with that name means
        chosen = choose_model(source(source_of_other(asked, other)), there)
        assert chosen.size_bytes == other.size_bytes
    assert list(found) == sorted(found, key=lambda other: other.name)
    return {other.name: other.size_bytes for other in found}


def test_a_repository_of_whole_files_offers_its_labels() -> None:
    assert others("hf://bartowski/Llama-3.2-1B-Instruct-GGUF:Q8_0", BARTOWSKI) == {
        "F16": 2_479_595_456, "IQ3_M": 657_289_728, "IQ4_XS": 743_141_376, "Q3_K_L": 732_524_032, "Q4_0": 773_025_280,
        "Q4_K_L": 871_309_824, "Q4_K_M": 807_694_464, "Q6_K_L": 1_085_357_568,
    }  # fmt: skip


def test_splits_are_summed_and_folders_of_one_quantisation_belong_together() -> None:
    files = {path: size for path, size in UNSLOTH.items() if not path.startswith(("Q5_K_M/", "Qwen3-0.6B"))}
    assert others("hf://unsloth/Qwen3-VL-GGUF:BF16", files) == {
        "MXFP4_MOE": 16_000 * MIB, "Q4_K_M": 18_500 * MIB, "Q8_0": 31_000 * MIB, "UD-IQ2_M": 10_000 * MIB,
        "UD-Q4_K_XL": 18_000 * MIB, "UD-TQ1_0": 8_000 * MIB,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["BF16/Qwen3-VL-BF16-00001-of-00002.gguf", "*BF16*.gguf", "BF16"])
def test_a_source_with_a_path_is_answered_with_paths(name: str) -> None:
    files = {path: size for path, size in UNSLOTH.items() if not path.startswith("Q5_K_M/")}
    assert others(f"hf://unsloth/Qwen3-VL-GGUF/{name}", files) == {
        "Q8_0/Qwen3-VL-Q8_0-00001-of-00003.gguf": 31_000 * MIB, "Qwen3-VL-MXFP4_MOE.gguf": 16_000 * MIB,
        "Qwen3-VL-Q4_K_M.gguf": 18_500 * MIB, "Qwen3-VL-UD-IQ2_M.gguf": 10_000 * MIB, "Qwen3-VL-UD-TQ1_0.gguf": 8_000 * MIB,
        "UD-Q4_K_XL/Qwen3-VL-UD-Q4_K_XL-00001-of-00001.gguf": 18_000 * MIB,
    }  # fmt: skip


def test_a_label_that_two_models_share_is_told_by_path() -> None:
    files = {path: size for path, size in UNSLOTH.items() if not path.startswith("Q5_K_M/")}
    found = others("hf://unsloth/Qwen3-VL-GGUF:BF16", files)
    assert found == {
        "MXFP4_MOE": 16_000 * MIB, "Q4_K_M": 18_500 * MIB, "Q8_0/Qwen3-VL-Q8_0-00001-of-00003.gguf": 31_000 * MIB,
        "UD-IQ2_M": 10_000 * MIB, "UD-Q4_K_XL": 18_000 * MIB, "UD-TQ1_0": 8_000 * MIB,
    }  # fmt: skip


def test_names_with_full_stops_and_folders_that_repeat_the_name() -> None:
    assert others("hf://o/r:Q8_0", MRADERMACHER) == {"F16": 1800, "IQ4_XS": 450, "Q4_K_M": 500}
    assert others("hf://o/r:Q8_0", FOLDERS) == {"Q4_K_M": 42}
    assert others("modelscope://o/r@main:Q4_K_M", FOLDERS) == {"Q8_0": 75}


def test_other_models_of_the_repository_are_none() -> None:
    files = {"7b/m-Q4_0.gguf": 4, "7b/m-Q8_0.gguf": 8, "13b/m-Q4_0.gguf": 7, "m-draft-Q4_0.gguf": 1, "m-Q2_K.gguf": 0}
    assert others("hf://o/r/7b/m-Q8_0.gguf", files) == {"7b/m-Q4_0.gguf": 4}


def test_a_split_with_a_missing_part_is_none_and_hides_nothing() -> None:
    files = {"m-Q8_0.gguf": 8, "m-Q4_0.gguf": 4, "m-Q6_K-00001-of-00002.gguf": 3}
    there, asked = listing(files), source("hf://o/r/m-Q8_0.gguf")
    assert other_quantizations(asked, there, choose_model(asked, there)) == (
        OtherQuantization(name="m-Q4_0.gguf", size_bytes=4),
    )


def test_a_name_that_no_source_can_have_is_left_out() -> None:
    assert others("hf://o/r:Q8_0", {"a b-Q8_0.gguf": 8, "a b-Q4_0.gguf": 4, "a b-q4_0.gguf": 4}) == {}


def test_files_of_the_building_machine_say_nothing_of_the_hosts() -> None:
    there, asked = listing({"m-Q8_0.gguf": 8, "m-Q4_0.gguf": 4}), source("file:///srv/m-Q8_0.gguf")
    assert other_quantizations(asked, there, choose_model(asked, there)) == ()


def test_of_a_great_many_the_nearest_in_size_are_kept() -> None:
    files = {f"m-Q{number}_0.gguf": number for number in range(10, 210)}
    assert sorted(others("hf://o/r:Q100_0", files).values()) == [*range(76, 100), *range(101, 125)]
    assert OTHERS_MAX == 48


def test_a_repository_of_hundreds_of_parts_takes_no_time() -> None:
    labels = [f"Q{number}_K" for number in range(20)]
    files = {f"{label}/m-{label}-{part:05d}-of-00030.gguf": 10 for label in labels for part in range(1, 31)}
    start = time.process_time()
    assert len(others("hf://o/r:Q8_K", files)) == 19
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("UD-Q4_K_XL/Qwen3-UD-Q4_K_XL-00001-of-00002.gguf", ("", "qwen3")), ("Qwen3-Q8_0.gguf", ("", "qwen3")), ("qwen3.Q4_0.GGUF", ("", "qwen3")),
        ("Q4_K_M/model.gguf", ("", "model")), ("gpt-oss-20b-mxfp4.gguf", ("", "gpt-oss-20b")), ("7b/m-F16.gguf", ("7b", "m")), ("m-i1-Q4_0.gguf", ("", "m-i1")),
        ("m-Q4_K_M-with-bf16-output.gguf", ("", "m-with-bf16-output")),
    ],
)  # fmt: skip
def test_the_family_is_the_name_without_its_quantisation(path: str, family: tuple[str, str]) -> None:
    assert family_of(path) == family
