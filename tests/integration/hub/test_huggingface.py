"""Hugging Face through its real client, against a local server: revisions, files, headers by range, access."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer
from model_files import (
    decoder_tensors,
    llama_gguf,
    llama_split,
    projector_gguf,
    safetensors,
    transformers_repository,
)
from sources import model, source

from gslc.documents.lock import read_lock, write_lock
from gslc.edges.facts import facts_current, fetch_all, fetch_facts
from gslc.edges.hub import HubError, HubSettings
from gslc.edges.hub_huggingface import find_token, open_huggingface
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.facts import ModelFacts
from gslc.ir.lock import Lock


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def facts(hub: HubServer, text: str, **settings: object) -> ModelFacts:
    outcome = fetch_facts(model(text, **settings), hub.settings())
    assert outcome.value is not None, outcome.diagnostics
    return outcome.value


def refusal(hub: HubServer, text: str, settings: HubSettings | None = None, **given: object) -> Diagnostic:
    outcome = fetch_facts(model(text, **given), settings or hub.settings())
    assert outcome.value is None
    (diagnostic,) = outcome.diagnostics
    assert diagnostic.help
    assert "'chat'" in diagnostic.message
    assert "hf_" not in diagnostic.message + diagnostic.help
    return diagnostic


# ------------------------------------------------------------------ transformers


def test_a_repository_is_pinned_by_commit_files_and_tensor_table(hub: HubServer) -> None:
    commit = hub.add("hf", "o/chat", transformers_repository())
    found = facts(hub, "hf://o/chat")
    assert found.revision == commit
    assert [file.path for file in found.files] == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert found.kind == "chat"
    assert found.safetensors is not None
    assert found.safetensors.config["hidden_size"] == 64
    assert found.safetensors.tokenizer_max_length == 4096
    assert all(file.sha256 for file in found.files)
    assert found.files[2].sha256 == hashlib.sha256(b"{}").hexdigest()


def test_the_facts_survive_the_lock(hub: HubServer) -> None:
    hub.add("hf", "o/chat", transformers_repository(shards=2))
    hub.add("hf", "o/gguf", {"m.gguf": llama_gguf(), "mmproj.gguf": projector_gguf()})
    lock = Lock(cluster="a", facts={"chat": facts(hub, "hf://o/chat"), "coder": facts(hub, "hf://o/gguf")})
    assert read_lock(write_lock(lock), "gslc.lock").value == lock


def test_shards_are_read_from_the_index_and_give_the_same_table(hub: HubServer) -> None:
    hub.add("hf", "o/one", transformers_repository())
    hub.add("hf", "o/many", transformers_repository(shards=4))
    one, many = facts(hub, "hf://o/one").safetensors, facts(hub, "hf://o/many").safetensors
    assert one is not None
    assert many is not None
    assert one.tensors == many.tensors
    assert one.parameter_bytes == many.parameter_bytes
    assert one.header_sha256 != many.header_sha256


PUBLISHED = {
    # config.json of published models, and their published parameter counts.
    "llama-3.1-8b": ({"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}, 8_030_261_248),
    "llama-3.1-405b": ({"hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126, "num_attention_heads": 128, "num_key_value_heads": 8, "vocab_size": 128256}, 405_853_388_800),
    "llama-3.2-1b": ({"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": True}, 1_235_814_400),
    "qwen2.5-7b": ({"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "attention_bias": True}, 7_615_616_512),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_weight_bytes_are_the_parameter_count_times_the_type(hub: HubServer, name: str) -> None:
    config, parameters = PUBLISHED[name]
    hub.add("hf", f"o/{name}", transformers_repository(config, shards=3))
    found = facts(hub, f"hf://o/{name}").safetensors
    assert found is not None
    assert found.parameter_bytes == 2 * parameters
    assert hub.bytes_sent < 4 << 20


def test_a_quantised_checkpoint_counts_its_own_types(hub: HubServer) -> None:
    tensors = [
        ("model.layers.0.w", (64, 64), "F8_E4M3"),
        ("model.layers.0.w_scale", (1,), "F32"),
        ("model.layers.0.p", (8, 8), "I32"),
    ]
    files = {
        "config.json": json.dumps(
            {
                "architectures": ["LlamaForCausalLM"],
                "quantization_config": {"quant_method": "fp8", "ignore": ["lm_head"]},
            }
        ).encode(),
        "model.safetensors": safetensors(tensors),
    }
    hub.add("hf", "o/fp8", files)
    found = facts(hub, "hf://o/fp8").safetensors
    assert found is not None
    assert found.parameter_bytes == 64 * 64 + 4 + 256
    assert found.config["quantization_config"] == {"quant_method": "fp8", "ignore": ("lm_head",)}


def test_the_quantisers_own_file_is_kept_beside_the_configuration(hub: HubServer) -> None:
    files = {**transformers_repository(), "hf_quant_config.json": b'{"quantization": {"quant_algo": "NVFP4"}}'}
    hub.add("hf", "o/nv", files)
    found = facts(hub, "hf://o/nv").safetensors
    assert found is not None
    assert found.config["hf_quant_config"] == {"quantization": {"quant_algo": "NVFP4"}}


def test_only_one_set_of_weights_is_chosen(hub: HubServer) -> None:
    more = {
        "pytorch_model.bin": b"x" * 20_000, "consolidated.safetensors": safetensors(list(decoder_tensors({"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_key_value_heads": 1, "num_hidden_layers": 1, "vocab_size": 8}))),
        "original/consolidated.00.pth": b"x" * 20_000, "model.fp16.safetensors": safetensors([("a", (8,), "F16")]), "onnx/model.onnx": b"x", "figure.png": b"x",
        "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}', "chat_template.jinja": b"x", "tokenizer.model": b"x", "model.gguf.txt": b"",
    }  # fmt: skip
    hub.add("hf", "o/chat", {**transformers_repository(), **more})
    found = facts(hub, "hf://o/chat")
    assert [file.path for file in found.files] == [
        "1_Pooling/config.json", "chat_template.jinja", "config.json", "model.gguf.txt", "model.safetensors", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    ]  # fmt: skip


def test_pickled_weights_are_sized_and_warned_of(hub: HubServer) -> None:
    files = {
        "config.json": b'{"architectures": ["OPTForCausalLM"]}',
        "pytorch_model.bin": b"x" * 20_000,
        "training_args.bin": b"x" * 90,
    }
    hub.add("hf", "o/old", files)
    outcome = fetch_facts(model("hf://o/old"), hub.settings())
    assert outcome.value is not None
    assert outcome.value.safetensors is not None
    assert (outcome.value.safetensors.weight_format, outcome.value.safetensors.parameter_bytes) == ("pickle", 20_000)
    assert outcome.value.safetensors.tensors == ()
    assert [(found.code, found.severity) for found in outcome.diagnostics] == [("GS260", "warning")]
    assert not hub.asked("pytorch_model.bin")


def test_code_of_the_repository_is_listed_and_warned_of(hub: HubServer) -> None:
    mapping = {"auto_map": {"AutoConfig": "configuration_x.XConfig", "AutoTokenizer": ["tok_x.XTokenizer", None]}}
    hub.add(
        "hf", "o/code", {**transformers_repository(mapping), "configuration_x.py": b"raise SystemExit", "tok_x.py": b""}
    )
    outcome = fetch_facts(model("hf://o/code"), hub.settings())
    assert outcome.value is not None
    assert outcome.value.code_files == ("configuration_x.py", "tok_x.py")
    assert [found.code for found in outcome.diagnostics] == ["GS261"]
    assert {"configuration_x.py", "tok_x.py"} <= {file.path for file in outcome.value.files}


def test_sentence_transformers_give_pooling_and_kind(hub: HubServer) -> None:
    more = {
        "modules.json": b"[]",
        "1_Pooling/config.json": b'{"pooling_mode_cls_token": false, "pooling_mode_lasttoken": true}',
    }
    hub.add("hf", "o/embed", {**transformers_repository(architecture="Qwen3ForCausalLM"), **more})
    found = facts(hub, "hf://o/embed")
    assert found.kind == "embedding"
    assert found.safetensors is not None
    assert found.safetensors.pooling == "last"


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"README.md": b"x"}, "GS258", "no config.json"),
        ({"config.json": b"{}"}, "GS258", "no weights"),
        ({"config.json": b"[]", "model.safetensors": b"x" * 20}, "GS258", "no JSON object"),
        ({"config.json": b"{\n,", "model.safetensors": b"x" * 20}, "GS258", "line 2"),
        ({"model_index.json": b"{}"}, "GS266", "diffusers"),
        ({"adapter_config.json": b"{}"}, "GS258", "adapter"),
        ({"params.json": b"{}"}, "GS258", "Mistral"),
        ({"config.json": b"{}", "model.safetensors": b"x" * 200}, "GS257", "header length"),
        (
            {"config.json": b"{}", "model.safetensors.index.json": b'{"weight_map": {"a": "gone.safetensors"}}'},
            "GS258",
            "gone.safetensors",
        ),
        ({"config.json": b"{}", "model.safetensors.index.json": b'{"weight_map": 5}'}, "GS258", "weight_map"),
    ],
)
def test_an_incomplete_repository_is_refused(hub: HubServer, files: dict[str, bytes], code: str, words: str) -> None:
    hub.add("hf", "o/bad", files)
    diagnostic = refusal(hub, "hf://o/bad")
    assert diagnostic.code == code
    assert words in diagnostic.message


def test_a_part_of_a_repository_is_no_model(hub: HubServer) -> None:
    hub.add("hf", "o/chat", transformers_repository())
    assert refusal(hub, "hf://o/chat/config.json").code == "GS253"
    assert refusal(hub, "hf://o/chat/nothing").code == "GS253"
    assert refusal(hub, "hf://o/chat:Q4_K_M").code == "GS253"


# ------------------------------------------------------------------ GGUF


QUANTS = {"m-Q4_K_M.gguf": llama_gguf(), "m-Q8_0.gguf": llama_gguf(kind="Q8_0")}


def test_one_quantisation_is_chosen_and_read(hub: HubServer) -> None:
    hub.add("hf", "o/gguf", QUANTS)
    for text in ("hf://o/gguf:Q4_K_M", "hf://o/gguf:q4_k_m", "hf://o/gguf/m-Q4_K_M.gguf", "hf://o/gguf/*Q4*.gguf"):
        found = facts(hub, text)
        assert [file.path for file in found.files] == ["m-Q4_K_M.gguf"]
        assert found.gguf is not None
        assert found.gguf.file_bytes == QUANTS["m-Q4_K_M.gguf"].size


def test_several_quantisations_are_listed_with_their_sizes(hub: HubServer) -> None:
    hub.add("hf", "o/gguf", QUANTS)
    for text in ("hf://o/gguf", "hf://o/gguf/*.gguf"):
        diagnostic = refusal(hub, text)
        assert diagnostic.code == "GS254"
        assert "Q4_K_M m-Q4_K_M.gguf (0.8 MiB), Q8_0 m-Q8_0.gguf (1.5 MiB)" in diagnostic.message
        assert diagnostic.help == "name one, for example hf://o/gguf:Q4_K_M"


def test_nothing_that_matches_lists_what_is_there(hub: HubServer) -> None:
    hub.add("hf", "o/gguf", QUANTS)
    assert "m-Q8_0.gguf" in refusal(hub, "hf://o/gguf:Q2_K").message
    diagnostic = refusal(hub, "hf://o/gguf/*q8*.gguf")
    assert diagnostic.code == "GS253"
    assert diagnostic.help == "did you mean m-Q8_0.gguf? Upper and lower case count"


def test_a_split_is_one_model_with_all_its_headers(hub: HubServer) -> None:
    names = [f"Q4_K_M/m-Q4_K_M-{number:05d}-of-00003.gguf" for number in (1, 2, 3)]
    hub.add("hf", "o/split", dict(zip(names, llama_split(3), strict=True)))
    for text in ("hf://o/split", "hf://o/split:Q4_K_M", f"hf://o/split/{names[1]}", "hf://o/split/Q4_K_M"):
        found = facts(hub, text)
        assert [file.path for file in found.files] == names
        assert found.gguf is not None
        assert sum(group.count for group in found.gguf.tensors) == 39


def test_a_split_with_a_missing_part_is_refused(hub: HubServer) -> None:
    hub.add("hf", "o/split", {"m-00001-of-00002.gguf": llama_split(2)[0]})
    assert refusal(hub, "hf://o/split").code == "GS255"


PROJECTORS = {"mmproj-BF16.gguf": projector_gguf(), "MMPROJ-f16.gguf": projector_gguf(), "mmproj-model-F32.gguf": projector_gguf("F32"), "mmproj-Q8_0.gguf": projector_gguf("Q8_0")}  # fmt: skip


def test_the_most_precise_projector_is_taken(hub: HubServer) -> None:
    there = dict(PROJECTORS)
    for expected in ("mmproj-model-F32.gguf", "MMPROJ-f16.gguf", "mmproj-BF16.gguf", "mmproj-Q8_0.gguf"):
        hub.add("hf", "o/vl", {"m.gguf": llama_gguf(), **there})
        found = facts(hub, "hf://o/vl")
        assert (found.projector_file, found.kind) == (expected, "vision")
        assert [file.path for file in found.files] == ["m.gguf", expected]
        del there[expected]
    hub.add("hf", "o/vl", {"m.gguf": llama_gguf()})
    assert facts(hub, "hf://o/vl").projector_file is None


def test_a_projector_in_the_root_serves_a_model_in_a_folder(hub: HubServer) -> None:
    files = {
        "Q4/m.gguf": llama_gguf(),
        "mmproj-F16.gguf": projector_gguf(),
        "other/mmproj-F32.gguf": projector_gguf("F32"),
    }
    hub.add("hf", "o/vl", files)
    assert facts(hub, "hf://o/vl/Q4/m.gguf").projector_file == "mmproj-F16.gguf"


def test_the_model_says_which_projector_or_none(hub: HubServer) -> None:
    hub.add("hf", "o/vl", {"m.gguf": llama_gguf(), **PROJECTORS})
    chosen = facts(hub, "hf://o/vl", mmproj="mmproj-Q8_0.gguf")
    assert chosen.projector_file == "mmproj-Q8_0.gguf"
    assert chosen.asked == (("mmproj", "mmproj-Q8_0.gguf"),)
    assert facts(hub, "hf://o/vl", args=("--mmproj", "mmproj-BF16.gguf")).projector_file == "mmproj-BF16.gguf"
    assert facts(hub, "hf://o/vl", args=("--no-mmproj",)).projector_file is None
    assert refusal(hub, "hf://o/vl", mmproj="gone.gguf").code == "GS259"
    assert refusal(hub, "hf://o/vl", mmproj="m.gguf").code == "GS259"
    assert refusal(hub, "hf://o/vl/mmproj-BF16.gguf").code == "GS259"


def test_an_embedding_model_takes_no_projector(hub: HubServer) -> None:
    hub.add("hf", "o/e", {"m.gguf": llama_gguf(extra={"llama.pooling_type": 1}), **PROJECTORS})
    found = facts(hub, "hf://o/e")
    assert (found.kind, found.projector) == ("embedding", None)


def test_a_malformed_header_names_file_byte_and_expectation(hub: HubServer) -> None:
    hub.add("hf", "o/bad", {"m.gguf": b"GGUF\3\0\0\0" + b"\xff" * 100})
    diagnostic = refusal(hub, "hf://o/bad")
    assert diagnostic.code == "GS256"
    assert "m.gguf" in diagnostic.message
    assert "at byte 8: expected a tensor count" in diagnostic.message


def test_a_gguf_backend_wants_gguf_files(hub: HubServer) -> None:
    hub.add("hf", "o/chat", transformers_repository())
    diagnostic = refusal(hub, "hf://o/chat", backend="llama.cpp")
    assert diagnostic.code == "GS253"
    assert "matches no GGUF file" in diagnostic.message


def test_vllm_is_given_the_repository_even_if_vox_box_knows_it(hub: HubServer) -> None:
    hub.add("hf", "o/bark", transformers_repository(architecture="BarkModel"))
    assert facts(hub, "hf://o/bark").speech is not None
    assert facts(hub, "hf://o/bark", backend="vllm").safetensors is not None


def test_a_tensor_in_two_files_is_refused(hub: HubServer) -> None:
    one = safetensors([("a", (4,), "F16")])
    hub.add("hf", "o/twice", {"config.json": b"{}", "model-1.safetensors": one, "model-2.safetensors": one})
    assert refusal(hub, "hf://o/twice").code == "GS257"


def test_pickles_may_have_an_index_too(hub: HubServer) -> None:
    index = b'{"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}'
    files = {
        "pytorch_model-1.bin": b"x" * 11_000,
        "pytorch_model-2.bin": b"x" * 12_000,
        "pytorch_model-old.bin": b"x" * 90_000,
    }
    hub.add("hf", "o/old", {"config.json": b"{}", "pytorch_model.bin.index.json": index, **files})
    found = facts(hub, "hf://o/old").safetensors
    assert found is not None
    assert found.parameter_bytes == 23_000


def test_a_file_called_mmproj_that_is_none_is_told(hub: HubServer) -> None:
    hub.add("hf", "o/vl", {"m.gguf": llama_gguf(), "mmproj.gguf": b"GGUF" + bytes(40)})
    assert refusal(hub, "hf://o/vl").code == "GS256"
    hub.add("hf", "o/vl", {"m.gguf": llama_gguf(), "mmproj.gguf": llama_gguf()})
    assert "its name says so" in refusal(hub, "hf://o/vl").message
    hub.add("hf", "o/vl", {"m.gguf": projector_gguf()})
    assert refusal(hub, "hf://o/vl").code == "GS259"


def test_an_incomplete_split_does_not_hide_what_is_there(hub: HubServer) -> None:
    hub.add("hf", "o/gguf", {"m-00001-of-00002.gguf": llama_split(2)[0]})
    assert refusal(hub, "hf://o/gguf:Q4_K_M").code in ("GS253", "GS255")
    assert refusal(hub, "hf://o/gguf/*q4*.gguf").code == "GS253"


def test_a_model_without_a_source_is_a_mistake_of_the_caller() -> None:
    nothing = dataclasses.replace(model("hf://o/m"), source=None)
    with pytest.raises(ValueError, match="has no source"):
        fetch_facts(nothing, HubSettings())
    with pytest.raises(ValueError, match="has no source"):
        fetch_all([nothing], HubSettings())


def test_a_remote_file_of_40_gb_costs_at_most_16_mib(hub: HubServer) -> None:
    file = llama_gguf(blocks=80, tokens=130_000, width=8192, inner=28672, kv=1024)
    hub.add("hf", "o/huge", {"m-Q4_K_M.gguf": file})
    found = facts(hub, "hf://o/huge")
    assert found.gguf is not None
    assert found.gguf.file_bytes == file.size > 38 * 10**9
    assert hub.bytes_sent <= 16 << 20


# ------------------------------------------------------------------ revisions, access, settings


def test_a_revision_is_resolved_to_its_commit(hub: HubServer) -> None:
    commit = hub.add("hf", "o/chat", transformers_repository(), revisions=("main", "v1"))
    for text in ("hf://o/chat", "hf://o/chat@v1", f"hf://o/chat@{commit}"):
        assert facts(hub, text).revision == commit
    assert refusal(hub, "hf://o/chat@v2").code == "GS252"


def test_files_are_read_at_the_pinned_commit(hub: HubServer) -> None:
    commit = hub.add("hf", "o/chat", transformers_repository())
    facts(hub, "hf://o/chat")
    assert hub.asked("/resolve/") == hub.asked(f"/resolve/{commit}/") > 0


def test_private_and_gated_repositories_name_the_setting(hub: HubServer) -> None:
    hub.add("hf", "o/private", transformers_repository(), private=True)
    hub.add("hf", "o/gated", transformers_repository(), gated=True)
    for text in ("hf://o/private", "hf://o/gated", "hf://o/missing"):
        diagnostic = refusal(hub, text)
        assert diagnostic.code == "GS251"
        assert "HF_TOKEN" in str(diagnostic.help)
    assert refusal(hub, "hf://o/private", hub.settings(HF_TOKEN="hf_wrong")).code == "GS251"
    for name in ("private", "gated"):
        outcome = fetch_facts(model(f"hf://o/{name}"), hub.settings(HF_TOKEN=hub.token))
        assert outcome.value is not None
        assert hub.token not in write_lock(Lock(cluster="a", facts={"m": outcome.value}))


def test_the_token_comes_from_the_variable_or_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_filed\n")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("hf_home")
    assert find_token(HubSettings(environment={"HF_TOKEN": " hf_a "})) == "hf_a"
    assert find_token(HubSettings(environment={"HF_TOKEN_PATH": str(tmp_path / "token")})) == "hf_filed"
    assert find_token(HubSettings(environment={"HF_HOME": str(tmp_path / "home")})) == "hf_home"
    assert find_token(HubSettings(environment={"HF_TOKEN": "x", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"})) is None
    assert find_token(HubSettings(environment={"HF_TOKEN_PATH": str(tmp_path / "none")})) is None


def test_the_token_is_not_sent_to_the_host_of_a_redirect(hub: HubServer) -> None:
    with HubServer() as other:
        other.add("hf", "o/m", {"m.gguf": llama_gguf()})
        hub.add("hf", "o/m", {"m.gguf": llama_gguf()})
        target = f"{other.url}/o/m/resolve/main/m.gguf?X-Amz-Signature=secret"
        hub.fault("/resolve/", "away", times=9, Location=target)
        outcome = fetch_facts(model("hf://o/m"), hub.settings(HF_TOKEN=hub.token))
        assert outcome.value is not None
        assert all("authorization" not in request.headers for request in other.requests)
        assert hub.requests[-1].headers["authorization"] == f"Bearer {hub.token}"


def test_a_redirect_within_the_hub_is_followed_once_and_remembered() -> None:
    with HubServer(redirect=True) as hub:
        hub.add("hf", "o/m", {"m.gguf": llama_gguf(tokens=160_000)})
        assert fetch_facts(model("hf://o/m"), hub.settings()).value is not None
        assert hub.asked("/resolve/") == 1
        assert hub.asked("/cdn/") >= 2


def test_offline_settings_forbid_every_request(hub: HubServer) -> None:
    hub.add("hf", "o/chat", transformers_repository())
    for settings, words in (
        (dataclasses.replace(hub.settings(), offline_flag="--offline"), "--offline"),
        (dataclasses.replace(hub.settings(), offline_flag="--frozen"), "--frozen"),
        (hub.settings(HF_HUB_OFFLINE="1"), "HF_HUB_OFFLINE"),
    ):
        diagnostic = refusal(hub, "hf://o/chat", settings)
        assert diagnostic.code == "GS250"
        assert words in diagnostic.message
    assert hub.requests == []


def test_an_endpoint_with_a_user_name_is_refused(hub: HubServer) -> None:
    diagnostic = refusal(hub, "hf://o/chat", HubSettings(environment={"HF_ENDPOINT": "https://me:secret@hub.example"}))
    assert diagnostic.code == "GS806"
    assert "secret" not in diagnostic.message


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a\nb.json", "a\\b"])
def test_a_listing_with_an_impossible_path_is_refused(hub: HubServer, path: str) -> None:
    hub.add("hf", "o/evil", {**transformers_repository(), path: b"x"})
    assert refusal(hub, "hf://o/evil").code == "GS265"


def test_the_hubs_client_is_imported_only_when_it_is_asked() -> None:
    program = "import sys, gslc.edges.facts; sys.exit(any(name in sys.modules for name in ('huggingface_hub', 'gguf', 'numpy', 'requests', 'httpx')))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# ------------------------------------------------------------------ is the lock current?


def test_facts_are_current_until_the_model_asks_for_something_else(hub: HubServer) -> None:
    hub.add("hf", "o/vl", {"m-Q4_K_M.gguf": llama_gguf(), **PROJECTORS})
    found = facts(hub, "hf://o/vl")
    before = len(hub.requests)
    assert facts_current(model("hf://o/vl"), found)
    assert facts_current(model("hf://o/vl", backend="llama.cpp"), found)
    assert not facts_current(model("hf://o/vl:Q4_K_M"), found)
    assert not facts_current(model("hf://o/vl@main"), found)
    assert not facts_current(model("hf://o/vl", mmproj="mmproj-Q8_0.gguf"), found)
    assert not facts_current(model("hf://o/vl", backend="vox-box"), found)
    chosen = facts(hub, "hf://o/vl", mmproj="mmproj-Q8_0.gguf")
    assert not facts_current(model("hf://o/vl"), chosen)
    assert len(hub.requests) > before


def test_opening_a_listing_twice_gives_the_same(hub: HubServer) -> None:
    hub.add("hf", "o/chat", transformers_repository())
    first, second = (open_huggingface(source("hf://o/chat"), hub.settings()).listing for _ in range(2))
    assert first == second
    assert list(first.files) == sorted(first.files, key=lambda file: file.path)


def test_a_name_that_is_no_repository_is_refused() -> None:
    wrong = dataclasses.replace(source("hf://o/chat"), repository="o/--bad..name")
    with pytest.raises(HubError) as refused:
        open_huggingface(wrong, HubSettings(environment={"HF_ENDPOINT": "http://127.0.0.1:1"}, attempts=1))
    assert refused.value.code == "GS252"
