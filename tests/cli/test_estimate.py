"""`gslc estimate` from the outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_files import Sparse, gguf, projector_gguf

from cli import Program

MIB = 1 << 20
KEYS = {
    "general.architecture": "llama",
    "llama.context_length": 8192,
    "llama.embedding_length": 256,
    "llama.block_count": 2,
    "llama.feed_forward_length": 512,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.rope.dimension_count": 64,
}


def block(number: int) -> list[tuple[str, tuple[int, ...], str]]:
    """The tensors of one small block."""
    shapes = {
        "attn_norm": (256,), "attn_q": (256, 256), "attn_k": (256, 128), "attn_v": (256, 128), "attn_output": (256, 256),
        "ffn_norm": (256,), "ffn_gate": (256, 512), "ffn_up": (256, 512), "ffn_down": (512, 256),
    }  # fmt: skip
    return [(f"blk.{number}.{name}.weight", shape, "F32") for name, shape in shapes.items()]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of two blocks."""
    tensors = [("token_embd.weight", (256, 1000), "F32"), ("output_norm.weight", (256,), "F32")]
    path = tmp_path / "small.gguf"
    made = gguf(KEYS, tensors + block(0) + block(1), tokens=1000)
    if isinstance(made, Sparse):
        path.write_bytes(made.head)
        with path.open("r+b") as file:
            file.truncate(made.size)
    else:
        path.write_bytes(made)
    return path


def test_the_json_has_what_the_contract_names(gslc: Program, model: Path) -> None:
    run = gslc("estimate", model, "--devices", "1GiB", "--context", "4096", "--format", "json")
    assert run.status == 0
    answer = run.json["estimate"]
    assert answer["backend"] == "llama.cpp"
    assert (answer["layers"], answer["gpu_layers"]) == (3, 3)
    (device,) = answer["devices"]
    assert device["kv_cache"] == 2 * 4096 * 2 * 128 * 2
    assert answer["kv_bytes_per_token"] == 2 * 2 * 128 * 2
    assert device["total"] == sum(device[part] for part in ("weights", "kv_cache", "compute", "overhead"))
    assert answer["fits"] is False or device["total"] <= 1 << 30
    assert run.json["plan"] is None


def test_tied_embeddings_are_counted_on_the_device_too(gslc: Program, model: Path) -> None:
    run = gslc("estimate", model, "--devices", "2GiB", "--format", "json")
    answer = run.json["estimate"]
    assert answer["host"]["weights"] == 256 * 1000 * 4
    assert answer["devices"][0]["weights"] > 256 * 1000 * 4


def test_no_devices_means_the_cpu(gslc: Program, model: Path) -> None:
    run = gslc("estimate", model, "--host-memory", "4GiB", "--format", "json")
    assert run.json["estimate"]["devices"] == []
    assert run.json["estimate"]["gpu_layers"] == 0
    assert run.json["estimate"]["fits"] is True


def test_what_does_not_fit_is_an_answer_unless_the_exit_code_is_asked_for(gslc: Program, model: Path) -> None:
    asked = ("estimate", str(model), "--devices", "64MiB", "--format", "json")
    assert gslc(*asked).status == 0
    assert gslc(*asked).json["estimate"]["fits"] is False
    assert gslc(*asked, "--exit-code").status == 3


def test_engine_arguments_are_understood_as_they_stand(gslc: Program, model: Path) -> None:
    run = gslc("estimate", model, "--devices", "4GiB", "--format", "json", "--",
               "llama-server", "-m", "x.gguf", "--port", "80", "-c", "8192", "-np", "2", "-ctk", "q8_0", "-ctv", "q8_0")  # fmt: skip
    assert run.status == 0
    assert run.json["estimate"]["devices"][0]["kv_cache"] == 2 * 8192 * 2 * 128 // 32 * 34


@pytest.mark.parametrize("given", [("--gpu-layers", "99"), ("--", "-ngl", "99")])
def test_more_layers_than_there_are_mean_all_of_them(gslc: Program, model: Path, given: tuple[str, ...]) -> None:
    run = gslc("estimate", model, "--devices", "4GiB", "--format", "json", *given)
    assert (run.status, run.json["estimate"]["gpu_layers"]) == (0, 3)
    assert [(found["code"], found["severity"]) for found in run.json["diagnostics"]] == [("GS315", "note")]


def test_contradictions_are_located_errors(gslc: Program, model: Path) -> None:
    run = gslc("estimate", model, "--devices", "4GiB,4GiB", "--format", "json", "--",
               "-ts", "1,2,3", "-fa", "off", "-ctv", "q8_0", "-ngl", "1", "-ngl", "2")  # fmt: skip
    assert run.status == 1
    assert run.json["estimate"] is None
    assert sorted(set(run.codes)) == ["GS305", "GS307", "GS308"]


@pytest.mark.parametrize("given", [("--parallel", "257"), ("--", "-np", "257", "-c", "65792")])
def test_more_slots_than_the_engine_has_are_refused(gslc: Program, model: Path, given: tuple[str, ...]) -> None:
    run = gslc("estimate", model, "--devices", "24GiB", "--format", "json", *given)
    assert (run.status, run.codes) == (1, ["GS304"])
    assert gslc("estimate", model, "--devices", "24GiB", "--parallel", "256").status == 0


@pytest.mark.parametrize(
    "given",
    [
        ("--gpu-layers", "\u00b2"), ("--gpu-layers", "9" * 5000), ("--tensor-split", "\u00b2"),
        ("--tensor-split", "9" * 5000), ("--devices", "\u0663GiB"), ("--devices", "9" * 5000),
        ("--devices", "99999999xNVIDIA L4"), ("--devices", "9" * 5000 + "xNVIDIA L4"),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_wrong_usage(gslc: Program, model: Path, given: tuple[str, ...]) -> None:
    run = gslc("estimate", model, "--devices", "24GiB", *given)
    assert run.status == 2
    assert given[0] in run.err


@pytest.mark.parametrize("version", ["llama.cpp@v0.0." + "9" * 5000, "llama-box@v0.0." + "9" * 5000])
def test_a_version_of_any_length_is_no_version(gslc: Program, model: Path, version: str) -> None:
    run = gslc("estimate", model, "--engine", version, "--format", "json")
    assert (run.status, run.codes) == (1, ["GS312"])


@pytest.mark.parametrize("given", [("-c", "8192"), ("--ctx_size", "8192"), ("--ctx-size=8192",), ("-c", "0")])
def test_the_longest_context_does_not_hang_on_the_one_given(gslc: Program, model: Path, given: tuple[str, ...]) -> None:
    asked = ("estimate", model, "--devices", "680MiB", "--max-context", "--format", "json")
    assert gslc(*asked, "--", *given).json["estimate"]["max_context"] == gslc(*asked).json["estimate"]["max_context"]


def test_the_longest_context_fits_and_one_step_more_does_not(gslc: Program, model: Path) -> None:
    size = "700MiB"
    longest = gslc("estimate", model, "--devices", size, "--max-context", "--format", "json").json["estimate"][
        "max_context"
    ]
    assert longest is not None

    def fits(context: int) -> bool:
        run = gslc("estimate", model, "--devices", size, "--context", str(context), "--format", "json")
        return bool(run.json["estimate"]["fits"])

    assert fits(longest)
    assert longest == 8192 or not fits(longest + 256)


def test_an_unknown_architecture_is_bounded_with_a_warning(gslc: Program, tmp_path: Path) -> None:
    keys = {name.replace("llama.", "novel."): value for name, value in KEYS.items()} | {"general.architecture": "novel"}
    path = tmp_path / "novel.gguf"
    made = gguf(keys, [("token_embd.weight", (256, 1000), "F32"), *block(0), *block(1)], tokens=1000)
    path.write_bytes(made.head if isinstance(made, Sparse) else made)
    if isinstance(made, Sparse):
        with path.open("r+b") as file:
            file.truncate(made.size)
    run = gslc("estimate", path, "--devices", "4GiB", "--format", "json")
    assert run.status == 0
    assert "GS310" in run.codes


@pytest.mark.parametrize(
    "wrong",
    [
        ("--devices", "24"),
        ("--devices", "Imaginary 9000"),
        ("--gpu-layers", "most"),
        ("--tensor-split", "a"),
        ("--engine", "ollama"),
        ("--host-memory", "lots"),
    ],
)
def test_wrong_usage_is_status_2(gslc: Program, model: Path, wrong: tuple[str, str]) -> None:
    assert gslc("estimate", model, *wrong).status == 2


def test_a_file_that_is_not_there_is_said(gslc: Program, tmp_path: Path) -> None:
    run = gslc("estimate", tmp_path / "none.gguf", "--format", "json")
    assert run.status in (1, 4)
    assert run.json["estimate"] is None
    assert run.codes


def test_a_projector_of_this_machine_is_counted_by_its_full_path(gslc: Program, model: Path, tmp_path: Path) -> None:
    made = projector_gguf()
    path = tmp_path / "elsewhere" / "mmproj.gguf"
    path.parent.mkdir()
    path.write_bytes(made.head + bytes(made.size - len(made.head)))
    bare, seeing = (
        gslc("estimate", model, "--devices", "1GiB", "--context", "4096", "--format", "json", "--", *args)
        for args in (("-b", "512"), ("-b", "512", "--mmproj", str(path)))
    )
    assert (bare.status, seeing.status) == (0, 0)
    more = seeing.json["estimate"]["devices"][0]["total"] - bare.json["estimate"]["devices"][0]["total"]
    assert more >= made.size - len(made.head)


def test_a_projector_that_is_not_there_is_an_error(gslc: Program, model: Path) -> None:
    run = gslc("estimate", model, "--devices", "1GiB", "--format", "json", "--", "--mmproj", "/nowhere/mmproj.gguf")
    assert run.status == 1
    assert [found["code"] for found in run.json["diagnostics"]] == ["GS259"]


def test_a_main_gpu_that_is_not_there_is_an_error(gslc: Program, model: Path) -> None:
    run = gslc("estimate", model, "--devices", "1GiB,1GiB", "--format", "json", "--", "-sm", "none", "-mg", "2")
    assert run.status == 1
    assert [found["code"] for found in run.json["diagnostics"]] == ["GS304"]


def test_what_auto_finds_fits(gslc: Program, model: Path) -> None:
    whole = gslc("estimate", model, "--devices", "1GiB", "--context", "8192", "--format", "json")
    (full,) = whole.json["estimate"]["devices"]
    for less in range(0, 6 * MIB, MIB // 2):
        size = full["total"] - less
        run = gslc(
            "estimate", model, "--devices", str(size), "--gpu-layers", "auto", "--context", "8192", "--format", "json"
        )
        assert run.status == 0
        (device,) = run.json["estimate"]["devices"]
        assert device["total"] <= size


@pytest.mark.parametrize("devices", [",", "24GiB,", " "])
def test_a_card_without_a_name_is_wrong_usage(gslc: Program, tmp_path: Path, devices: str) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"")
    refused = gslc("estimate", f"file://{model}", "--devices", devices)
    assert refused.status == 2
    assert "--devices" in refused.err
