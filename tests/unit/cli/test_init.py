"""gslc init and gslc schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from cli import Program, tree
from gslc import __version__
from gslc.edges.gpu_table import RESOURCE, load_gpu_table
from gslc.edges.includes import ClusterFiles
from gslc.edges.resources import resource_text
from gslc.frontend.codec import read_cluster
from gslc.frontend.include import load_documents


def test_init_writes_a_cluster_that_the_codec_and_the_schema_take(gslc: Program, tmp_path: Path) -> None:
    run = gslc("init", tmp_path / "fleet")
    assert run.status == 0
    main = tmp_path / "fleet" / "cluster.yaml"
    reader = ClusterFiles(main=str(main))
    documents = load_documents(reader.name, reader).value
    assert documents is not None
    outcome = read_cluster(documents, load_gpu_table(resource_text(RESOURCE)))
    assert outcome.value is not None
    assert outcome.diagnostics == ()
    assert [model.name for model in outcome.value.models] == ["chat", "listen"]
    schema = json.loads((tmp_path / "fleet" / "cluster.schema.json").read_text())
    Draft202012Validator(schema).validate(yaml.safe_load(main.read_text()))


def test_the_commented_links_of_cards_hold_once_there_are_two(gslc: Program, tmp_path: Path) -> None:
    gslc("init", tmp_path)
    main = tmp_path / "cluster.yaml"
    text = main.read_text()
    assert "    # nvlink: [[0, 1]]\n" in text
    main.write_text(text.replace("# nvlink:", "nvlink:").replace("count: 1", "count: 2"))
    reader = ClusterFiles(main=str(main))
    documents = load_documents(reader.name, reader).value
    assert documents is not None
    outcome = read_cluster(documents, load_gpu_table(resource_text(RESOURCE)))
    assert outcome.diagnostics == ()
    assert outcome.value is not None
    assert outcome.value.hosts[0].nvlink == ((0, 1),)


def test_init_writes_what_editors_ci_and_git_need(gslc: Program, tmp_path: Path) -> None:
    run = gslc("init", tmp_path)
    files = {path: data.decode() for path, data in tree(tmp_path).items()}
    assert sorted(files) == [".github/workflows/gslc.yml", ".gitignore", "cluster.schema.json", "cluster.yaml"]
    assert files["cluster.yaml"].startswith("# yaml-language-server: $schema=cluster.schema.json\n")
    assert files["cluster.schema.json"] == resource_text("schemas/cluster.schema.json")
    assert "!build/" in files[".gitignore"].split("\n")
    steps = yaml.safe_load(files[".github/workflows/gslc.yml"])["jobs"]["build-is-current"]["steps"]
    assert f"pip install gslc=={__version__}" in [step.get("run") for step in steps]
    assert "gslc build cluster.yaml --check --frozen --format github" in [step.get("run") for step in steps]
    assert all(path in run.out for path in files)


def test_init_never_overwrites_a_cluster(gslc: Program, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("mine\n")
    run = gslc("init", tmp_path)
    assert run.status == 1
    assert "GS690" in run.err
    assert tree(tmp_path) == {"cluster.yaml": b"mine\n"}


def test_init_never_follows_a_link_in_the_way(gslc: Program, tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "cluster.yaml").symlink_to(tmp_path / "elsewhere")
    assert gslc("init", tmp_path / "fleet").status == 1
    assert not (tmp_path / "elsewhere").exists()


def test_init_keeps_other_files_and_says_so(gslc: Program, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("build/\n")
    run = gslc("init", tmp_path)
    assert run.status == 0
    assert (tmp_path / ".gitignore").read_text() == "build/\n"
    assert "note[GS691]" in run.err
    assert "see that it does not ignore build/" in run.err


def test_init_reports_json(gslc: Program, tmp_path: Path) -> None:
    run = gslc("init", tmp_path, "--format", "json")
    assert run.json["files"] == ["cluster.yaml", "cluster.schema.json", ".github/workflows/gslc.yml", ".gitignore"]
    again = gslc("init", tmp_path, "--format", "json")
    assert (again.status, again.codes) == (1, ["GS690"])


def test_init_in_a_place_that_can_not_be_written_is_status_4(gslc: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = gslc("init", tmp_path / "file" / "below")
    assert run.status == 4
    assert "GS692" in run.err


@pytest.mark.parametrize("name", ["cluster", "lock", "plan", "part"])
def test_schema_prints_a_schema_with_a_title(gslc: Program, name: str) -> None:
    run = gslc("schema", name)
    assert run.status == 0
    schema = run.json
    Draft202012Validator.check_schema(schema)
    assert schema["title"].startswith("gslc")
    assert schema["description"]


def test_schema_prints_the_clusters_by_default(gslc: Program) -> None:
    assert gslc("schema").out == resource_text("schemas/cluster.schema.json")


def test_an_unknown_schema_is_wrong_usage(gslc: Program) -> None:
    assert gslc("schema", "nothing").status == 2


def test_the_schema_of_a_part_takes_hosts_and_refuses_a_name() -> None:
    base = "https://example.org/"
    registry = Registry().with_resource(
        f"{base}cluster.schema.json", Resource.from_contents(json.loads(resource_text("schemas/cluster.schema.json")))
    )
    part = {"$id": f"{base}part.schema.json", **json.loads(resource_text("schemas/part.schema.json"))}
    validator = Draft202012Validator(part, registry=registry)
    assert validator.is_valid({"hosts": {"a": {"memory": "8GiB"}}, "models": {"m": {"source": "hf://a/b"}}})
    assert not validator.is_valid({"name": "lab"})
    assert not validator.is_valid({"hosts": {"a": {"memroy": "8GiB"}}})
