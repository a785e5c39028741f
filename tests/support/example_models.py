"""Writes the facts of the examples' models into their locks, from published shapes and revisions, without the hubs.

    PYTHONPATH=tests/support python tests/support/example_models.py [EXAMPLE...]      then: gslc build examples/EXAMPLE/cluster.yaml

The revisions are commits of the repositories on Hugging Face. Configurations and tensor tables have the published shapes;
they are served here as sparse files to the same code that talks to the hub. Hashes of weights that nobody downloaded are
not known, so none is written, and sizes are those of the shapes: `gslc lock --upgrade` replaces both before anything is
deployed (examples/README.md says so).

Needs the folder ../shared (make_gguf.py and configs.json) or GSLC_SHARED.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hub_server import Content, HubServer
from model_files import Sparse, transformers_repository

from gslc.cli.inputs import paths_of, read_cluster_file
from gslc.cli.session import Session
from gslc.documents.lock import write_lock
from gslc.edges.facts import fetch_all
from gslc.ir.facts import ModelFacts
from gslc.ir.lock import Lock

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("GSLC_SHARED", ROOT.parent / "shared"))

# repository -> (commit, file, make_gguf's name)
GGUF = {
    "Qwen/Qwen3-30B-A3B-GGUF": (
        "e4d4bafdfb96a411a163846265362aceb0b9c63a", "Qwen3-30B-A3B-Q4_K_M.gguf", "qwen3-30b-a3b-q4_k_m",
    ),
    "Qwen/Qwen3-4B-GGUF": ("bc640142c66e1fdd12af0bd68f40445458f3869b", "Qwen3-4B-Q4_K_M.gguf", "qwen3-4b-q4_k_m"),
    "gpustack/bge-m3-GGUF": ("2d48f1737679ad900d5c26c5aad5410e9c70fdca", "bge-m3-Q8_0.gguf", "bge-m3-q8_0"),
    "gpustack/bge-reranker-v2-m3-GGUF": (
        "3093af03b1a635e67b084b1d8c03c5f5e020fd05", "bge-reranker-v2-m3-Q8_0.gguf", "bge-reranker-v2-m3-q8_0",
    ),
    "lmstudio-community/Llama-3.3-70B-Instruct-GGUF": (
        "3a489fd247ce24848d8d8a3fadd707088665681f", "Llama-3.3-70B-Instruct-Q4_K_M.gguf", "llama3.3-70b-q4_k_m",
    ),
    "bartowski/Llama-3.2-1B-Instruct-GGUF": (
        "067b946cf014b7c697f3654f621d577a3e3afd1c", "Llama-3.2-1B-Instruct-Q4_K_M.gguf", "llama3.2-1b-q4_k_m",
    ),
    "ggml-org/gpt-oss-20b-GGUF": (
        "ef9b12f2ff56c69cf32153a02784e7a3c88bf524", "gpt-oss-20b-MXFP4.gguf", "gpt-oss-20b-mxfp4",
    ),
}  # fmt: skip
# repository -> (commit, weight files, query/key/value biases)
TRANSFORMERS = {
    "Qwen/Qwen2.5-7B-Instruct": ("a09a35458c702b33eeacc393d103063234e8bc28", 4, True),
    "Qwen/Qwen2.5-32B-Instruct": ("5ede1c97bbab6ce5cda5812749b4c0bdf79b18dd", 17, True),
    "meta-llama/Llama-3.1-8B-Instruct": ("0e9e39f249a16976918f6564b8830bc894c89659", 4, False),
    "meta-llama/Llama-3.1-405B-Instruct": ("be673f326cab4cd22ccfef76109faf68e41aa5f1", 191, False),
}
# repository -> (commit, bytes of model.bin)
WHISPER = {
    "Systran/faster-whisper-small": ("536b0662742c02347bc0e980a01041f333bce120", 483_546_902),
    "Systran/faster-whisper-large-v3": ("edaa852ec7e145841d8ffdb056a99866b5f0a478", 3_087_284_237),
}


def gguf_file(name: str, folder: Path) -> Sparse:
    """A GGUF file of published shape: its header in memory, its data a hole."""
    path = SHARED / "tools" / "make_gguf.py"
    spec = importlib.util.spec_from_file_location("make_gguf", path)
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    maker.main(["--out", str(folder), "--keep", "--only", name])
    index = json.loads((folder / "index.json").read_text())[name]
    with (folder / index["file"]).open("rb") as file:
        head = file.read(index["header_bytes"])
    return Sparse(head, index["file_bytes"])


def fill(hub: HubServer, wanted: set[str], folder: Path) -> None:
    """Publish the wanted repositories."""
    configs: Mapping[str, Mapping[str, object]] = json.loads((SHARED / "truth" / "configs.json").read_text())["configs"]
    for name in sorted(wanted):
        if name in GGUF:
            commit, file, shape = GGUF[name]
            hub.add("hf", name, {file: gguf_file(shape, folder), "README.md": b"# a model\n"}, commit=commit)
        elif name in TRANSFORMERS:
            commit, shards, bias = TRANSFORMERS[name]
            config = {**configs[name], "attention_bias": bias}
            files = transformers_repository(config, shards=shards, architecture=str(configs[name]["architectures"][0]))  # type: ignore[index]
            files["config.json"] = json.dumps(configs[name]).encode()
            files["tokenizer_config.json"] = b'{"model_max_length": 131072}'
            hub.add("hf", name, files, commit=commit)
        else:
            commit, size = WHISPER[name]
            whisper: dict[str, Content] = {
                "model.bin": Sparse(b"", size), "config.json": b"{}", "tokenizer.json": b"{}",
                "preprocessor_config.json": b'{"processor_class": "WhisperProcessor"}', "vocabulary.txt": b"",
            }  # fmt: skip
            hub.add("hf", name, whisper, commit=commit)


def without_hashes(facts: ModelFacts) -> ModelFacts:
    """The facts without hashes of bytes that nobody has."""
    return replace(facts, files=tuple(replace(file, sha256=None) for file in facts.files))


def main(names: list[str]) -> None:
    """Write the locks of the examples."""
    for example in names or sorted(path.parent.name for path in (ROOT / "examples").glob("*/cluster.yaml")):
        paths = paths_of(str(ROOT / "examples" / example / "cluster.yaml"), None, None)
        cluster = read_cluster_file(Session(), paths)
        models = [model for model in cluster.models if model.source is not None]
        with HubServer() as hub, tempfile.TemporaryDirectory() as folder:
            fill(hub, {model.source.repository for model in models if model.source}, Path(folder))
            outcome = fetch_all(models, hub.settings())
        for diagnostic in outcome.diagnostics:
            print(diagnostic.place, diagnostic.code, diagnostic.message)
        facts = {name: without_hashes(found) for name, found in (outcome.value or {}).items()}
        Path(paths.lock).write_text(write_lock(Lock(cluster=cluster.name, facts=facts)))
        print(paths.lock, len(facts), "models")


if __name__ == "__main__":
    main(sys.argv[1:])
