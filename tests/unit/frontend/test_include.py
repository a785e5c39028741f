"""Includes: which files, what they may hold, and where two of them clash."""

from __future__ import annotations

import fnmatch

import pytest
from clusters import SmallTable, brief

from gslc.frontend import include
from gslc.frontend.codec import read_cluster
from gslc.frontend.include import load_documents
from gslc.ir.diagnostic import Diagnostic, Outcome, Place
from gslc.ir.inputs import Cluster


class Files:
    """A reader of files in memory; `cluster.yaml` is the main one."""

    def __init__(self, **files: str) -> None:
        self.files = {name.replace("__", "/") + ".yaml": text.encode() for name, text in files.items()}

    def read_main(self) -> Outcome[bytes]:
        return self.read("cluster.yaml")

    def read(self, path: str) -> Outcome[bytes]:
        if path == "hosts/forbidden.yaml":
            place = Place(file=path)
            return Outcome(value=None, diagnostics=(Diagnostic(code="GS863", message="leads out", place=place),))
        return Outcome(value=self.files[path])

    def expand(self, pattern: str) -> tuple[str, ...]:
        return tuple(sorted(path for path in self.files if fnmatch.fnmatch(path, pattern)))


MAIN = "version: 1\nname: lab\ninclude: [hosts/*.yaml, models/*.yaml]\n"
HOST = "hosts: {%s: {memory: 8GiB}}\n"
MODEL = "models: {%s: {source: hf://a/b}}\n"


def mistakes(reader: Files, file: str = "cluster.yaml") -> list[str]:
    return [f"{d.place.file}:{brief(d)}" for d in load_documents(file, reader).diagnostics]


def joined(reader: Files) -> Cluster:
    documents = load_documents("dir/cluster.yaml", reader)
    assert documents.value is not None, documents.diagnostics
    outcome = read_cluster(documents.value, SmallTable())
    assert outcome.value is not None, outcome.diagnostics
    return outcome.value


def test_maps_are_joined_and_places_name_their_file() -> None:
    cluster = joined(Files(cluster=MAIN + HOST % "a", hosts__x=HOST % "b", hosts__y=HOST % "c", models__m=MODEL % "m"))
    assert [host.name for host in cluster.hosts] == ["a", "b", "c"]
    assert str(cluster.places.at("hosts", "b", "memory")) == "dir/hosts/x.yaml:1:21"
    assert str(cluster.places.at("models", "m", "source")) == "dir/models/m.yaml:1:22"
    assert str(cluster.places.at("hosts", "a", "memory")) == "dir/cluster.yaml:4:21"


def test_models_of_an_include_inherit_the_defaults_of_the_cluster_file() -> None:
    cluster = joined(
        Files(cluster=MAIN + HOST % "a" + "defaults: {context: 77}\n", hosts__x=HOST % "b", models__m=MODEL % "m")
    )
    assert cluster.models[0].context == 77
    assert str(cluster.places.at("models", "m", "context")) == "dir/cluster.yaml:5:21"


def test_a_cross_check_of_an_inherited_key_stands_in_the_cluster_file() -> None:
    main = MAIN + "defaults: {gpus: [b/0]}\n"
    documents = load_documents("cluster.yaml", Files(cluster=main, hosts__x=HOST % "b", models__m=MODEL % "m"))
    assert documents.value is not None
    (mistake,) = read_cluster(documents.value, SmallTable()).diagnostics
    assert f"{mistake.place} {mistake.code}" == "cluster.yaml:4:18 GS170"


def test_the_same_host_in_two_files_is_refused_with_both_places() -> None:
    outcome = load_documents(
        "cluster.yaml", Files(cluster=MAIN, hosts__x=HOST % "a", hosts__y=HOST % "a", models__m=MODEL % "m")
    )
    (mistake,) = outcome.diagnostics
    assert f"{mistake.place} {mistake.code}" == "hosts/y.yaml:1:9 GS122"
    assert str(mistake.related[0].place) == "hosts/x.yaml:1:9"


def test_engines_are_joined_and_clash_too() -> None:
    engines = "engines: {vllm: {version: 0.26.0}}\n"
    good = joined(Files(cluster=MAIN + HOST % "a", hosts__x=engines, models__m=MODEL % "m"))
    assert good.engines["vllm"].version == "0.26.0"
    assert mistakes(Files(cluster=MAIN + engines, hosts__x=engines, models__m=MODEL % "m")) == [
        "hosts/x.yaml:1:11 GS122"
    ]


@pytest.mark.parametrize(
    "key", ["name: x", "target: nomad", "defaults: {}", "port_range: 1-2", "include: [a]", "hots: {}"]
)
def test_an_included_file_holds_parts_only(key: str) -> None:
    assert mistakes(Files(cluster=MAIN, hosts__x=key + "\n", models__m=MODEL % "m")) == ["hosts/x.yaml:1:1 GS123"]


@pytest.mark.parametrize(
    "pattern",
    [
        "../x.yaml",
        "/etc/passwd",
        "a/../../b",
        "./a.yaml",
        "a//b",
        "a/.",
        "..",
        "'a\\b'",
        '"a\\nb"',
        "C:/x",
        "[a]",
        "{a: b}",
        '""',
    ],
)
def test_a_pattern_never_leads_out_of_the_folder(pattern: str) -> None:
    assert mistakes(Files(cluster=f"version: 1\nname: lab\ninclude: [{pattern}]\n")) == ["cluster.yaml:3:11 GS120"]


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    assert mistakes(Files(cluster=MAIN, hosts__x=HOST % "a")) == ["cluster.yaml:3:25 GS121"]


def test_a_cluster_file_that_can_not_be_read_is_the_only_mistake() -> None:
    class Gone(Files):
        def read_main(self) -> Outcome[bytes]:
            return self.read("hosts/forbidden.yaml")

    assert mistakes(Gone()) == ["hosts/forbidden.yaml:1:1 GS863"]


def test_more_files_than_anyone_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(include, "MAX_FILES", 1)
    assert mistakes(Files(cluster=MAIN, hosts__x=HOST % "a", models__m=MODEL % "m")) == ["cluster.yaml:3:10 GS175"]


def test_include_is_a_list() -> None:
    assert mistakes(Files(cluster="version: 1\ninclude: a.yaml\n")) == ["cluster.yaml:2:10 GS132"]


def test_a_file_that_two_patterns_match_is_read_once_and_never_the_main_one() -> None:
    main = "version: 1\nname: lab\ninclude: ['*.yaml', 'h*.yaml']\n"
    documents = load_documents("cluster.yaml", Files(cluster=main, host=HOST % "a")).value
    assert documents is not None
    assert [document.file for document in documents] == ["cluster.yaml", "host.yaml"]


def test_mistakes_of_all_files_come_at_once() -> None:
    reader = Files(cluster=MAIN, hosts__x="a: &x 1\n", hosts__forbidden="", models__m="")
    assert mistakes(reader) == ["hosts/forbidden.yaml:1:1 GS863", "hosts/x.yaml:1:4 GS105", "models/m.yaml:1:1 GS104"]


def test_another_version_in_an_included_file_is_refused() -> None:
    documents = load_documents(
        "cluster.yaml", Files(cluster=MAIN, hosts__x="version: 2\n" + HOST % "a", models__m=MODEL % "m")
    )
    assert documents.value is not None
    (mistake,) = read_cluster(documents.value, SmallTable()).diagnostics
    assert f"{mistake.place} {mistake.code}" == "hosts/x.yaml:1:10 GS179"


def test_a_key_in_the_wrong_file_is_told_where_it_belongs() -> None:
    part = "include: [a]\nname: x\nhots: {}\nzzz: 1\n"
    found = load_documents("cluster.yaml", Files(cluster=MAIN, hosts__x=part, models__m=MODEL % "m")).diagnostics
    assert [(mistake.message, mistake.help) for mistake in found] == [
        ("an included file can't include others", "name the files in the cluster file's include"),
        ("name belongs into the cluster file, not into an included one", "move it there"),
        ("an included file has no key 'hots'", "did you mean hosts?"),
        ("an included file has no key 'zzz'", "it may hold engines, hosts, models, version"),
    ]
