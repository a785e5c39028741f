"""Every mistake that a user is likely to make: a located diagnostic with help, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_server import HubServer

from cli import Program

HOSTS = """\
version: 1
name: lab
target: systemd
defaults: {backend_for_gguf: llama.cpp}
hosts:
  atlas:
    address: 10.0.0.11
    memory: 64GiB
    gpus: [{model: NVIDIA L4}]
"""
CUSTOM = """\
models:
  one:
    backend: custom
    command: [serve, --port, "{port}"]
    requirements: [{gpus: 1, gpu_memory: 3GiB}]
"""
TWO_ON_ONE_PORT = """\
models:
  one: {backend: custom, command: [x], port: 20000, requirements: [{memory: 1GiB}]}
  two: {backend: custom, command: [x], port: 20000, requirements: [{memory: 1GiB}]}
"""
WINDOWS_VLLM = """\
models:
  one:
    source: hf://makers/tiny-chat
    host_selector: {os: windows}
"""
BOARD = """\
  board:
    arch: arm64
    memory: 8GiB
models:
  one:
    source: hf://FunAudioLLM/CosyVoice-300M
    host_selector: {arch: arm64}
"""
# 0.9.2 starts several hosts by Ray, 0.26.0 by itself
SPANNING = """\
  borea: {{address: 10.0.0.12, memory: 64GiB, gpus: [{{model: NVIDIA L4}}]}}
engines: {{vllm: {{version: "{version}"}}}}
models:
  one: {{source: "hf://makers/tiny-chat", distributed: true, tensor_parallel: 1, pipeline_parallel: 2}}
"""
WINDOWS = HOSTS + "  win: {address: 10.0.0.12, os: windows, target: nomad, memory: 64GiB, gpus: [{model: NVIDIA L4}]}\n"


CASES = {
    "unknown key": (HOSTS + CUSTOM.replace("command:", "comand:"), "command", (13,)),
    "wrong type": (HOSTS + CUSTOM.replace('[serve, --port, "{port}"]', "{a: b}"), "command", (13,)),
    "duplicate key": (HOSTS + CUSTOM + "    backend: vllm\n", "backend", (15,)),
    "small bare number": (HOSTS.replace("memory: 64GiB", "memory: 64") + CUSTOM, "64GiB", (8,)),
    "unknown host in a pin": (HOSTS + CUSTOM + "    gpus: [atlsa/0]\n", "atlas", (15,)),
    "selector that matches nothing": (HOSTS + CUSTOM + "    host_selector: {rack: r9}\n", "rack", (15,)),
    "two models on one port": (HOSTS + TWO_ON_ONE_PORT, "20000", (11, 12)),
    "fits nowhere": (HOSTS + CUSTOM.replace("3GiB", "300GiB"), "one", (11,)),
    "glob that matches nothing": (
        HOSTS + "models:\n  one:\n    source: hf://makers/tiny-llama-GGUF/*q9*.gguf\n", "tiny-llama-Q4_K_M.gguf", (12,),
    ),
    "vLLM on Windows": (WINDOWS + WINDOWS_VLLM, "linux", (12, 13, 14)),
    "CosyVoice on arm64": (HOSTS + BOARD, "arm64", (14, 15, 16)),
    "literal token": (HOSTS + CUSTOM + "    env: {HF_TOKEN: hf_abcdefghijklmnopqrstuvwxyz012345}\n", "secret", (15,)),
    "env that overrides the placement": (HOSTS + CUSTOM + "    env: {CUDA_VISIBLE_DEVICES: '1'}\n", "CUDA_VISIBLE_DEVICES", (15,)),
    "LD_PRELOAD": (HOSTS + CUSTOM + "    env: {LD_PRELOAD: /tmp/x.so}\n", "LD_PRELOAD", (15,)),
    "unknown card": (HOSTS.replace("NVIDIA L4", "NVIDIA L44") + CUSTOM, "custom", (9,)),
    "an anchor": (HOSTS + CUSTOM.replace("[serve", "&a [serve"), "anchor", (13,)),
    **{
        f"{what} over hosts with {version}": (HOSTS.replace("    address: 10.0.0.11\n", given) + SPANNING.format(version=version), hint, (line,))
        for version in ("0.9.2", "0.26.0")
        for what, given, hint, line in (
            ("no address", "", "set hosts.atlas.address", 12),
            ("an address of no other host", "    address: 127.0.0.1\n", "set hosts.atlas.address to the address under which", 13),
        )
    },
    "systemd on macOS": (HOSTS.replace("    memory: 64GiB\n", "    memory: 64GiB\n    os: darwin\n") + CUSTOM, "raw_exec", (6, 7, 8, 9, 12, 3, 11)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_located_and_helped_and_nothing_is_written(
    name: str, gslc: Program, hub: HubServer, tmp_path: Path
) -> None:
    text, hint, lines = CASES[name]
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    report = gslc("build", path, "--format", "json")
    assert report.status == 1, report.out + report.err
    errors = [d for d in report.json["diagnostics"] if d["severity"] == "error"]
    assert errors
    assert all(d["file"].endswith("cluster.yaml") and d["column"] >= 1 for d in errors)
    assert {d["line"] for d in errors} & set(lines), [(d["line"], d["message"]) for d in errors]
    assert any(hint in d["message"] + (d["help"] or "") for d in errors), errors
    assert all(d["help"] for d in errors), errors
    assert not (tmp_path / "build").exists()


def test_an_address_that_leads_to_no_other_host_is_shown_beside_the_refusal(
    gslc: Program, hub: HubServer, tmp_path: Path
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(HOSTS.replace("10.0.0.11", "127.0.0.1") + SPANNING.format(version="0.26.0"))
    (found,) = gslc("build", path, "--format", "json").json["diagnostics"]
    assert (found["code"], found["line"]) == ("GS405", 13)
    assert [(one["line"], one["message"]) for one in found["related"]] == [(7, "the address of atlas")]


def test_a_split_over_more_cards_than_a_host_may_give_is_no_matter_of_addresses(
    gslc: Program, hub: HubServer, tmp_path: Path
) -> None:
    path = tmp_path / "cluster.yaml"
    text = HOSTS.replace("NVIDIA L4}", "NVIDIA L4, count: 2}")
    path.write_text(
        text + "models:\n  one: {source: hf://makers/tiny-llama-GGUF, gpus: [atlas/0], tensor_split: [1, 2]}\n"
    )
    (found,) = gslc("build", path, "--format", "json").json["diagnostics"]
    assert (found["code"], found["line"]) == ("GS405", 11)
    assert found["message"] == "one-0: no host that may run it has as many cards as its settings ask for"


def test_two_hosts_of_one_address_are_said_once(gslc: Program, hub: HubServer, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(HOSTS.replace("10.0.0.11", "10.0.0.12") + SPANNING.format(version="0.26.0"))
    assert set(gslc("build", path, "--format", "json").codes) - {"GS364"} == {"GS663"}
    one_host = SPANNING.format(version="0.26.0").replace(
        ", distributed: true, tensor_parallel: 1, pipeline_parallel: 2", ""
    )
    path.write_text(HOSTS.replace("10.0.0.11", "10.0.0.12") + one_host)
    assert set(gslc("build", path, "--format", "json").codes) - {"GS364"} == {"GS167"}


def test_a_key_given_twice_hides_no_other_mistake(gslc: Program, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(HOSTS.replace("64GiB", "64") + CUSTOM + "    backend: vllm\n    contex: 8192\n")
    report = gslc("build", path, "--format", "json")
    assert report.status == 1
    assert [(d["line"], d["code"]) for d in report.json["diagnostics"]] == [(8, "GS142"), (15, "GS108"), (16, "GS130")]


def test_a_glob_over_several_quantisations_lists_them_with_sizes(gslc: Program, hub: HubServer, tmp_path: Path) -> None:
    from model_files import llama_gguf

    hub.add("hf", "makers/two", {"two-Q4_K_M.gguf": llama_gguf(), "two-Q8_0.gguf": llama_gguf(kind="Q8_0")})
    path = tmp_path / "cluster.yaml"
    path.write_text(HOSTS + "models:\n  one:\n    source: hf://makers/two/*.gguf\n")
    refused = gslc("build", path)
    assert refused.status == 1
    assert "two-Q4_K_M.gguf" in refused.err
    assert "two-Q8_0.gguf" in refused.err
    assert "KiB" in refused.err or "MiB" in refused.err


def test_binary_and_hostile_files_end_quickly_without_a_traceback(gslc: Program, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    for content in (
        b"\x00\x01",
        b"\xff\xfe",
        b"[" * 50_000,
        b"{a: " * 20_000,
        b"a: &a [*a]",
        b"",
        b"\xef\xbb\xbf",
        b"!!python/object:x {}",
    ):
        path.write_bytes(content)
        assert gslc("build", path).status == 1


def test_explaining_a_broken_file_still_gives_the_whole_envelope(gslc: Program, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("version: 1\n")
    report = gslc("explain", path, "chat", "--format", "json")
    assert report.status == 1
    assert report.json["decisions"] == []
    assert (report.json["plan"], report.json["files"]) == (None, [])
