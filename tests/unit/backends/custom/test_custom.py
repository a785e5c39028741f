"""Backend custom: what the user states is what is placed and started."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_fleets import REGISTRY, cluster, host, model, need, place

from gslc.backends.custom import Custom
from gslc.ir.inputs import Cluster, EnginePin, Model, Requirement, RequirementPart, SecretRef
from gslc.ir.placement import HostClass, Request
from gslc.ir.plan import Launch
from gslc.passes.host_classes import classify_hosts


def request(entry: Model, fleet: Cluster) -> Request:
    return Request(model=entry, facts=None, backend="custom", selector={}, cluster=fleet)


def launches(entry: Model, *hosts: object, **keys: object) -> tuple[Launch, ...]:
    fleet = cluster(hosts, [entry], **keys)  # type: ignore[arg-type]
    placed = place(fleet)
    assert placed.value is not None
    (assignment,) = placed.value.assignments
    return Custom().launches(request(entry, fleet), assignment, {one.name: one for one in fleet.hosts})


def review(entry: Model) -> list[str]:
    return [found.code for found in Custom().review(request(entry, cluster([host("a")], [entry])))]


def excluded(entry: Model, **keys: object) -> list[str]:
    fleet = cluster([host("a", [24], **keys)], [entry])
    host_class: HostClass = classify_hosts(fleet, REGISTRY)["a"]
    return [found.rule for found in Custom().excludes(request(entry, fleet), host_class)]


def test_placeholders_are_filled_in() -> None:
    command = ("serve", "--port={port}", "--bind", "{host}", "{name}", "{gpus}", "{rank}/{nodes}", "{leader}")
    entry = model("m", need(2, 8, 4), command=command, env=(("NAME", "{name}"), ("TOKEN", SecretRef(name="hf"))))
    (launch,) = launches(entry, host("a", [24, 24]))
    assert launch.program == "/usr/local/bin/serve"
    assert launch.argv == ("--port=20000", "--bind", "host-a", "m-0", "0,1", "0/1", "host-a")
    assert launch.env == (("NAME", "m-0"),)
    assert launch.secret_env == (("TOKEN", "hf"),)


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        ("{leader}:{port}", "[fd00::7]:20000"),
        ("tcp://{host}:{port}", "tcp://[fd00::7]:20000"),
        ("http://{leader}/x", "http://[fd00::7]/x"),
        ("--bind={host}", "--bind=fd00::7"),
        ("[{leader}]:{port}", "[fd00::7]:20000"),
        ("{name}:{port}", "m-0:20000"),
    ],
)
def test_an_ipv6_address_has_brackets_where_a_port_follows(word: str, filled: str) -> None:
    at = replace(host("a"), address="fd00::7", listen="fd00::7")
    (launch,) = launches(model("m", need(0, 0, 1), command=("serve", word), env=(("AT", word),)), at)
    assert (launch.argv, launch.env) == ((filled,), (("AT", filled),))
    plain = launches(model("m", need(0, 0, 1), command=("serve", "{leader}:{port}")), host("a"))[0]
    assert plain.argv == ("host-a:20000",)


def test_each_part_has_its_own_command_and_rank() -> None:
    parts = (
        RequirementPart(gpus=1, gpu_memory_bytes=1),
        RequirementPart(gpus=1, gpu_memory_bytes=1, command=("follow", "{leader}", "{rank}")),
    )
    entry = replace(model("m", command=("lead", "{nodes}")), requirements=(Requirement(parts=parts),))
    leader, worker = launches(entry, host("a", [24]), host("b", [24]))
    assert (leader.role, leader.name, leader.argv) == ("leader", "m-0", ("2",))
    assert (worker.role, worker.name, worker.argv) == ("worker", "m-0-worker-1", ("host-a", "1"))
    assert leader.group_restart
    assert worker.group_restart


@pytest.mark.parametrize(
    ("engines", "program"),
    [
        ({}, "/usr/local/bin/serve"),
        ({"serve": EnginePin(path="/opt/serve/bin")}, "/opt/serve/bin/serve"),
        ({"serve": EnginePin(path="/opt/bin/serve")}, "/opt/bin/serve"),
        ({"custom": EnginePin(path="/opt/own/")}, "/opt/own/serve"),
    ],
)
def test_a_program_without_a_path_is_looked_up_in_engines(engines: dict[str, EnginePin], program: str) -> None:
    (launch,) = launches(model("m", need(0, 0, 1), command=("serve",)), host("a"), engines=engines)
    assert launch.program == program


def test_an_absolute_program_is_taken_as_it_is() -> None:
    (launch,) = launches(model("m", need(0, 0, 1), command=("/opt/x", "-v")), host("a"))
    assert (launch.program, launch.argv) == ("/opt/x", ("-v",))


def test_a_container_runs_exactly_the_command() -> None:
    entry = model("m", need(1, 8), command=("serve", "--port", "{port}"), image="an/image:1.8")
    (launch,) = launches(entry, host("a", [24], target="compose"))
    assert (launch.image, launch.image_entrypoint, launch.argv) == ("an/image:1.8", ("serve",), ("--port", "20000"))


@pytest.mark.parametrize(
    ("image", "version"),
    [(None, "custom"), ("an/image:1.8", "1.8"), ("reg:5000/an/image", "latest"), ("i@sha256:ab", "sha256:ab")],
)
def test_the_version_is_what_the_image_says(image: str | None, version: str) -> None:
    entry = model("m", need(1, 8), image=image)
    fleet = cluster([host("a", [24])], [entry])
    assert Custom().engine_version(request(entry, fleet), classify_hosts(fleet, REGISTRY)["a"]) == version


def test_containers_need_an_image_and_programs_a_command() -> None:
    assert excluded(model("m", need(1, 8)), target="compose") == ["image"]
    assert excluded(model("m", need(1, 8), command=(), image="i:1")) == ["command"]
    assert excluded(model("m", need(1, 8)), target="nomad", nomad_driver="raw_exec") == []
    assert excluded(model("m", need(1, 8)), target="nomad", nomad_driver="docker") == ["image"]


def test_a_model_without_requirements_or_command_is_refused() -> None:
    assert review(model("m")) == ["GS384"]
    assert review(model("m", need(1, 8), command=())) == ["GS385"]


def test_unknown_placeholders_and_a_missing_source_are_refused() -> None:
    assert review(model("m", need(1, 8), command=("x", "{prot}"))) == ["GS386"]
    assert review(model("m", need(1, 8), command=("x", "{model}"))) == ["GS387"]
    assert review(model("m", need(1, 8), env=(("A", "{}"),))) == ["GS386"]


def test_keys_of_other_engines_are_warned_about() -> None:
    assert review(model("m", need(1, 8), context=4096)) == ["GS388"]
