"""The generated pages are current, and say what the tables say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_generate"] = module
    spec.loader.exec_module(module)
    return module


def test_the_cluster_file_page_is_current() -> None:
    written = (ROOT / "docs/cluster-file.md").read_text(encoding="utf-8")
    assert written == generator().cluster_file(), "run: python docs/generate.py cluster-file"


def test_the_gpu_page_is_current() -> None:
    assert (ROOT / "docs/gpus.md").read_text(encoding="utf-8") == generator().pages()["gpus"](), "run: make docs"


def test_every_key_of_the_schema_is_on_the_page() -> None:
    schema = json.loads((ROOT / "schemas/cluster.schema.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/cluster-file.md").read_text(encoding="utf-8")
    for name in ("", "host", "gpu", "engine", "model", "requirementPart", "part"):
        for key in (schema["$defs"][name] if name else schema)["properties"]:
            assert f"| `{key}` |" in page


def test_an_unknown_page_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert generator().main(["nothing"]) == 2
    assert "cluster-file" in capsys.readouterr().err
