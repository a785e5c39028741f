"""File names of GGUF repositories: quantisations, splits, projectors, globs."""

from __future__ import annotations

import pytest
from sources import source

from gslc.edges.gguf_choice import choose_model, choose_projector, in_gib, is_projector, matching, quantization_of
from gslc.edges.hub import HubError, HubFile, Listing


def listing(*paths: str) -> Listing:
    return Listing(
        source="hf://o/r",
        revision="0" * 40,
        files=tuple(HubFile(path=path, size_bytes=1 << 30) for path in sorted(paths)),
    )


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("qwen2.5-7b-instruct-q4_k_m.gguf", "Q4_K_M"), ("Llama-3.2-1B-Instruct-IQ3_XXS.gguf", "IQ3_XXS"), ("m.Q8_0.gguf", "Q8_0"), ("m-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"), ("m-MXFP4_MOE.gguf", "MXFP4_MOE"), ("m-TQ1_0.gguf", "TQ1_0"), ("m-BF16.gguf", "BF16"), ("m-fp16.gguf", "F16"), ("m-f32.gguf", "F32"),
        ("Q4_K_M/model-00001-of-00003.gguf", "Q4_K_M"), ("m-Q5_K_S-00002-of-00009.gguf", "Q5_K_S"), ("m-Q4_K_M-with-bf16-output.gguf", "Q4_K_M"), ("model.gguf", None),
        ("qwen3-q-v2.gguf", None), ("BF16/m.gguf", "BF16"), ("m-Q4_0_4_4.gguf", "Q4_0_4_4"), ("m-NVFP4.gguf", "NVFP4"),
    ],
)  # fmt: skip
def test_the_quantisation_is_read_from_the_name(path: str, label: str | None) -> None:
    assert quantization_of(path) == label


def test_a_label_does_not_match_a_longer_one() -> None:
    files = listing("m-Q4_K.gguf", "m-Q4_K_M.gguf", "m-UD-Q4_K_M.gguf", "m-UD-Q2_K.gguf")
    assert choose_model(source("hf://o/r:Q4_K"), files).name == "m-Q4_K.gguf"
    assert choose_model(source("hf://o/r:Q4_K_M"), files).name == "m-Q4_K_M.gguf"
    assert choose_model(source("hf://o/r:UD-Q4_K_M"), files).name == "m-UD-Q4_K_M.gguf"
    assert choose_model(source("hf://o/r:Q2_K"), files).name == "m-UD-Q2_K.gguf"


def test_a_split_counts_once_and_its_sizes_are_added() -> None:
    names = [f"m-Q8_0-{number:05d}-of-00003.gguf" for number in (1, 2, 3)]
    files = listing(*names, "m-Q4_K_M.gguf")
    with pytest.raises(HubError) as refused:
        choose_model(source("hf://o/r"), files)
    assert "Q8_0 m-Q8_0-00001-of-00003.gguf (3.0 GiB)" in refused.value.message
    chosen = choose_model(source("hf://o/r:Q8_0"), files)
    assert [file.path for file in chosen.files] == names
    assert chosen.size_bytes == 3 << 30


def test_projectors_and_importance_matrices_are_no_models() -> None:
    files = listing("m.gguf", "mmproj-F16.gguf", "m.imatrix.gguf", "MMPROJ-x.GGUF")
    assert choose_model(source("hf://o/r"), files).name == "m.gguf"
    assert is_projector("x/MMPROJ-x.GGUF")
    assert not is_projector("mmproj/m.gguf")


def test_a_long_list_is_cut() -> None:
    with pytest.raises(HubError, match="and 8 more"):
        choose_model(source("hf://o/r"), listing(*(f"m{number:02d}.gguf" for number in range(20))))


def test_two_files_of_one_label_are_told_apart_by_name() -> None:
    with pytest.raises(HubError) as refused:
        choose_model(source("hf://o/r:Q4_0"), listing("a-Q4_0.gguf", "b-Q4_0.gguf"))
    assert refused.value.action == "name one, for example hf://o/r/a-Q4_0.gguf"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("a.gguf", 1), ("*.gguf", 3), ("x/*", 2), ("x", 2), ("x/", 2), ("[ab].gguf", 1), ("A.gguf", 0), ("?.gguf", 1)],
)
def test_globs_cross_folders_and_case_counts(pattern: str, found: int) -> None:
    assert len(matching(listing("a.gguf", "x/b.gguf", "x/y/c.gguf"), pattern)) == found


def test_on_a_tie_the_projector_beside_the_model_wins() -> None:
    files = listing("q4/m.gguf", "q4/mmproj-f16.gguf", "mmproj-F16.gguf")
    chosen = choose_projector(files, choose_model(source("hf://o/r/q4/m.gguf"), files), None)
    assert chosen is not None
    assert chosen.path == "q4/mmproj-f16.gguf"


def test_a_projector_may_be_named_by_a_glob_that_is_not_ambiguous() -> None:
    files = listing("m.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf")
    chosen = choose_model(source("hf://o/r/m.gguf"), files)
    found = choose_projector(files, chosen, "*F16*")
    assert found is not None
    assert found.path == "mmproj-F16.gguf"
    with pytest.raises(HubError, match="matches 2 files"):
        choose_projector(files, chosen, "mmproj*")


def test_sizes_are_told_in_the_unit_that_fits() -> None:
    assert (in_gib(3 << 20), in_gib(5 << 30), in_gib(0)) == ("3.0 MiB", "5.0 GiB", "0.0 MiB")
