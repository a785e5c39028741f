"""file:// sources: files, folders and splits are read; pipes, devices and links that lead away are not."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from model_files import Sparse, llama_gguf, llama_split, projector_gguf, transformers_repository
from sources import model, source

from gslc.edges.facts import fetch_facts
from gslc.edges.hub import HubError, HubSettings
from gslc.edges.hub_file import open_file
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.facts import ModelFacts

SETTINGS = HubSettings()


def write(folder: Path, files: Mapping[str, bytes | Sparse]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Sparse):
            path.write_bytes(content.head)
            os.truncate(path, content.size)
        else:
            path.write_bytes(content)
    return folder


def facts(path: Path, settings: HubSettings = SETTINGS, **given: object) -> ModelFacts:
    outcome = fetch_facts(model(f"file://{path}", **given), settings)
    assert outcome.value is not None, outcome.diagnostics
    return outcome.value


def refusal(path: Path | str) -> Diagnostic:
    started = time.monotonic()
    (diagnostic,) = fetch_facts(model(f"file://{path}"), SETTINGS).diagnostics
    assert time.monotonic() - started < 2
    return diagnostic


def test_one_file_is_pinned_by_its_hash(tmp_path: Path) -> None:
    write(tmp_path, {"m.gguf": llama_gguf(), "notes.txt": b"x"})
    found = facts(tmp_path / "m.gguf")
    assert found.revision is None
    assert [(file.path, file.sha256) for file in found.files] == [
        ("m.gguf", hashlib.sha256((tmp_path / "m.gguf").read_bytes()).hexdigest())
    ]
    assert found.gguf is not None


def test_a_split_is_found_by_any_of_its_parts(tmp_path: Path) -> None:
    names = [f"m-{number:05d}-of-00002.gguf" for number in (1, 2)]
    write(tmp_path, dict(zip(names, llama_split(2), strict=True)))
    for path in (tmp_path / names[0], tmp_path / names[1], tmp_path):
        assert [file.path for file in facts(path).files] == names


def test_a_folder_of_a_transformers_model_is_read_like_a_repository(tmp_path: Path) -> None:
    write(tmp_path, transformers_repository(shards=2))
    found = facts(tmp_path)
    assert found.safetensors is not None
    assert all(file.sha256 for file in found.files)
    assert "model-00001-of-00002.safetensors" in {file.path for file in found.files}


def test_the_projector_beside_a_file_is_found(tmp_path: Path) -> None:
    write(tmp_path, {"m.gguf": llama_gguf(), "mmproj-f16.gguf": projector_gguf()})
    assert facts(tmp_path / "m.gguf").projector_file == "mmproj-f16.gguf"
    assert facts(tmp_path / "m.gguf", args=("--no-mmproj",)).projector_file is None


def test_a_folder_with_two_models_asks_which(tmp_path: Path) -> None:
    write(tmp_path, {"a-Q4_K_M.gguf": llama_gguf(), "b-Q8_0.gguf": llama_gguf(kind="Q8_0")})
    diagnostic = refusal(tmp_path)
    assert diagnostic.code == "GS254"
    assert diagnostic.help == f"name one, for example file://{tmp_path}/a-Q4_K_M.gguf"


def test_a_file_over_the_limit_is_pinned_without_hash_and_noted(tmp_path: Path) -> None:
    write(tmp_path, {"m.gguf": llama_gguf()})
    outcome = fetch_facts(model(f"file://{tmp_path}/m.gguf"), dataclasses.replace(SETTINGS, local_sha256_limit=100))
    assert outcome.value is not None
    assert outcome.value.files[0].sha256 is None
    assert [(found.code, found.severity) for found in outcome.diagnostics] == [("GS264", "note")]


def test_a_missing_path_names_it(tmp_path: Path) -> None:
    diagnostic = refusal(tmp_path / "none.gguf")
    assert diagnostic.code == "GS262"
    assert f"{tmp_path}/none.gguf can't be read: No such file or directory" in diagnostic.message


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/environ", "/proc/self/fd/0", "/sys/kernel"])
def test_what_the_system_shows_as_files_is_refused(path: str) -> None:
    assert refusal(path).code == "GS262"


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.gguf")
    assert refusal(tmp_path / "m.gguf").code == "GS262"
    assert refusal(tmp_path).code == "GS262"


def test_links_are_followed_within_their_folder_only(tmp_path: Path) -> None:
    inside = write(tmp_path / "in", {"real.bin": b"x", **transformers_repository()})
    (inside / "link.txt").symlink_to("real.bin")
    assert facts(inside).safetensors is not None
    (inside / "evil.txt").symlink_to("/etc/hostname")
    diagnostic = refusal(inside)
    assert diagnostic.code == "GS262"
    assert "leads out of" in diagnostic.message


def test_a_link_to_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").symlink_to("/dev/zero")
    assert refusal(tmp_path / "m.gguf").code == "GS262"


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").symlink_to("b.gguf")
    (tmp_path / "b.gguf").symlink_to("a.gguf")
    assert refusal(tmp_path / "a.gguf").code == "GS262"


def test_folders_that_are_links_are_not_entered(tmp_path: Path) -> None:
    write(tmp_path, transformers_repository())
    (tmp_path / "again").symlink_to(tmp_path)
    listing = open_file(source(f"file://{tmp_path}"), SETTINGS).listing
    assert not any(file.path.startswith("again") for file in listing.files)


def test_a_snapshot_of_the_hubs_cache_is_a_folder_like_any(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--o--m" / "blobs", tmp_path / "models--o--m" / "snapshots" / ("a" * 40)
    write(blobs, transformers_repository())
    snapshot.mkdir(parents=True)
    for name in transformers_repository():
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    assert facts(snapshot).safetensors is not None


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"m.gguf": llama_gguf()})

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert "Permission denied" in refusal(tmp_path / "m.gguf").message


def test_a_relative_path_is_refused() -> None:
    wrong = dataclasses.replace(source("file:///x"), path="x/m.gguf")
    with pytest.raises(HubError) as refused:
        open_file(wrong, SETTINGS)
    assert refused.value.code == "GS262"


def test_folders_below_the_eighth_and_those_of_tools_are_not_entered(tmp_path: Path) -> None:
    deep = tmp_path
    for number in range(12):
        deep = deep / f"d{number}"
    write(deep, {"deep.txt": b"x"})
    write(tmp_path, {".git/config": b"x", "__pycache__/a.pyc": b"x", "a/b.txt": b"x"})
    assert [file.path for file in open_file(source(f"file://{tmp_path}"), SETTINGS).listing.files] == ["a/b.txt"]


def test_a_folder_with_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gslc.edges.hub_file.FILES_MAX", 3)
    write(tmp_path, {f"f{number}.txt": b"" for number in range(5)})
    assert "more than 3 files" in refusal(tmp_path).message


def test_a_name_with_a_line_break_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a\nb.txt": b""})
    assert refusal(tmp_path).code == "GS265"


def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nothing")
    assert refusal(tmp_path).code == "GS262"


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert "Permission denied" in refusal(tmp_path).message


def test_a_disk_that_fails_while_hashing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"m.gguf": llama_gguf()})

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    assert "Input/output error" in refusal(tmp_path / "m.gguf").message


def test_a_disk_that_fails_while_a_header_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"m.gguf": llama_gguf()})

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    assert "Input/output error" in refusal(tmp_path / "m.gguf").message
