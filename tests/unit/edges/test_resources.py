"""Where shipped files are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gslc.edges import resources


def test_a_schema_is_found_by_its_path() -> None:
    assert json.loads(resources.resource_text("schemas/cluster.schema.json"))["title"] == "gslc cluster file"


def test_an_installed_package_holds_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gslc"
    (package / "edges").mkdir(parents=True)
    (package / "schemas").mkdir()
    (package / "schemas" / "x.json").write_text("{}\n")
    monkeypatch.setattr(resources, "__file__", str(package / "edges" / "resources.py"))
    resources.resource_root.cache_clear()
    try:
        assert resources.resource_root() == str(package)
        assert resources.resource_text("schemas/x.json") == "{}\n"
    finally:
        resources.resource_root.cache_clear()


@pytest.mark.parametrize("path", ["../pyproject.toml", "/etc/passwd", "schemas/../../x", "", "schemas//x", "./schemas"])
def test_no_path_leads_out_of_the_root(path: str) -> None:
    with pytest.raises(ValueError, match="not a resource path"):
        resources.resource_text(path)


def test_a_file_that_was_not_packaged_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.json"):
        resources.resource_text("schemas/missing.json")
