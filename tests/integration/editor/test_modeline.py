"""The schema modeline in VS Code's own YAML language server: mistakes, hover texts, completion."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from language_server import LanguageServer

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "schemas" / "cluster.schema.json"
GOOD = """\
# yaml-language-server: $schema={schema}
version: 1
name: lab
hosts:
  atlas:
    memory: 64GiB
    gpus:
      - {{model: NVIDIA L4, count: 2}}
models:
  chat:
    source: hf://Qwen/Qwen2.5-7B-Instruct
    replicas: 2
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LanguageServer]:
    with LanguageServer() as running:
        yield running


def write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text.format(schema=SCHEMA) if "{schema}" in text else text)
    return path


def test_the_schemastore_entry_claims_no_common_name() -> None:
    entry = json.loads((ROOT / "docs" / "schemastore.json").read_text())
    assert set(entry) == {"name", "description", "fileMatch", "url"}
    assert "cluster.yaml" not in entry["fileMatch"]
    assert entry["url"].endswith("/schemas/cluster.schema.json")


@pytest.mark.real
def test_a_good_file_has_no_complaint(server: LanguageServer, tmp_path: Path) -> None:
    uri = server.open(write(tmp_path, GOOD))
    assert server.diagnostics[uri] == []


@pytest.mark.real
@pytest.mark.parametrize(
    "example", sorted(path.name for path in (ROOT / "examples").iterdir() if (path / "cluster.yaml").exists())
)
def test_the_examples_have_no_complaint(server: LanguageServer, tmp_path: Path, example: str) -> None:
    text = (ROOT / "examples" / example / "cluster.yaml").read_text()
    lines = [line for line in text.splitlines() if "yaml-language-server" not in line]
    path = tmp_path / "cluster.yaml"
    path.write_text("\n".join([f"# yaml-language-server: $schema={SCHEMA}", *lines]) + "\n")
    assert server.diagnostics[server.open(path)] == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("replicas: 2", "replica: 2", 11),
        ("replicas: 2", "replicas: two", 11),
        ("memory: 64GiB", "memory: 64 apples", 5),
        ("name: lab", "name: Lab_1", 2),
    ],
)
def test_a_mistake_is_marked_at_its_line(server: LanguageServer, tmp_path: Path, old: str, new: str, line: int) -> None:
    uri = server.open(write(tmp_path, GOOD.replace(old, new)))
    assert line in {found["range"]["start"]["line"] for found in server.diagnostics[uri]}  # type: ignore[index]


@pytest.mark.real
def test_hovering_a_key_shows_its_description(server: LanguageServer, tmp_path: Path) -> None:
    uri = server.open(write(tmp_path, GOOD))
    for line, character in ((5, 6), (10, 6), (11, 6)):
        text = json.dumps(server.at("textDocument/hover", uri, line, character))
        assert len(text) > 80, text


@pytest.mark.real
def test_the_keys_of_a_model_are_offered(server: LanguageServer, tmp_path: Path) -> None:
    uri = server.open(write(tmp_path, GOOD + "    \n"))
    answer = server.at("textDocument/completion", uri, 12, 4)
    offered = {item["label"] for item in answer["items"]}  # type: ignore[attr-defined]
    assert {"context", "tensor_parallel", "host_selector", "cpu_offload"} <= offered
