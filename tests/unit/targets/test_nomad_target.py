"""What the Nomad target writes, read by python-hcl2 and by the specification's rules for strings."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.support.hcl_reader import read_string
from tests.support.hostile import CLIENT_REFERENCES, HOSTILE
from tests.support.plans import (
    host_class,
    make_cluster,
    make_gpus,
    make_host,
    make_instance,
    make_launch,
    make_plan,
    templates,
)

from gslc.ir.inputs import Host, Model
from gslc.ir.plan import Instance, ModelFile
from gslc.targets.nomad import NomadTarget

FILE = ModelFile(
    path="/var/lib/gslc/models/hf/a/b/m.gguf", size_bytes=3, sha256="0" * 64, url="https://hub/m", token="HF_TOKEN"
)


def instance(*launches: Any, **changes: Any) -> Instance:
    return make_instance(tuple(launches), target="nomad", **changes)


def host(name: str = "atlas", **changes: Any) -> Host:
    return make_host(name, target="nomad", **changes)


def text_of(*instances: Instance, hosts: tuple[Host, ...] = (host(gpus=make_gpus(4)),)) -> str:
    outcome = NomadTarget(templates=templates).render(make_plan(*instances), make_cluster(*hosts, target="nomad"))
    [file] = outcome.value or ()
    return file.text


def job_of(*instances: Instance, hosts: tuple[Host, ...] = (host(gpus=make_gpus(4)),)) -> Any:
    import hcl2

    [job] = hcl2.loads(text_of(*instances, hosts=hosts))["job"]
    return next(value for key, value in job.items() if key != "__is_block__")


def named(blocks: list[Any], name: str) -> Any:
    return next(block[key] for block in blocks for key in block if key.strip('"') == name)


def server(*instances: Instance, group: str = "chat-0", **options: Any) -> Any:
    return named(named(job_of(*instances, **options)["group"], group)["task"], "server")


def strings(text: str, start: str) -> list[str]:
    """The strings of the first list that starts after `start`."""
    body = text[text.index(start) + len(start) :]
    return [
        read_string(match)
        for match in re.findall(r'^ +("(?:[^"\\]|\\.)*"),$', body[: body.index("\n        ]")], re.MULTILINE)
    ]


def review(*instances: Instance, hosts: tuple[Host, ...] = (host(),)) -> list[str]:
    target = NomadTarget(templates=templates)
    return [found.code for found in target.review(make_plan(*instances), make_cluster(*hosts, target="nomad"))]


def test_a_model_is_one_job_and_a_replica_one_group_on_its_node() -> None:
    job = job_of(instance(make_launch()), instance(make_launch("chat-1", host="borea")), hosts=(host(), host("borea")))
    for name, node in (("chat-0", "atlas"), ("chat-1", "borea")):
        group = named(job["group"], name)
        constraints = {one["attribute"].strip('"'): one["value"].strip('"') for one in group["constraint"]}
        assert constraints == {
            "${node.unique.name}": node, "${attr.kernel.name}": "linux", "${attr.cpu.arch}": "amd64",
        }  # fmt: skip
        assert group["reschedule"][0]["attempts"] == 0
        assert group["reschedule"][0]["unlimited"] is False


def test_arguments_and_variables_come_out_as_they_went_in() -> None:
    given = tuple(text for text in HOSTILE if "${HOME}" not in text)
    launch = make_launch(argv=given, env=tuple((f"V{number}", text) for number, text in enumerate(given)))
    text = text_of(instance(launch))
    assert strings(text, 'task "server"') == list(given)
    for number, value in enumerate(given):
        [raw] = re.findall(rf'^ +"V{number}" += (".*")$', text, re.MULTILINE)
        assert read_string(raw) == value


def test_a_fetch_runs_before_the_server() -> None:
    tasks = named(job_of(instance(make_launch(files=(FILE,))))["group"], "chat-0")["task"]
    fetch = named(tasks, "fetch")
    assert fetch["lifecycle"][0]["hook"].strip('"') == "prestart"
    assert [read_string(mount["source"]) for mount in fetch["config"][0]["mount"]] == ["/var/lib/gslc/models"]


def test_a_deadline_leaves_time_to_fetch() -> None:
    from dataclasses import replace

    large = replace(FILE, size_bytes=400 * 10**9)
    update = named(job_of(instance(make_launch(files=(large,))))["group"], "chat-0")["update"][0]
    assert int(update["healthy_deadline"].strip('"s')) > 40_000
    assert int(update["progress_deadline"].strip('"s')) > int(update["healthy_deadline"].strip('"s'))


def test_cards_of_one_job_alone_with_uuids_take_the_device_block() -> None:
    hosts = (host(gpus=make_gpus(4, uuids=True)),)
    found = server(instance(make_launch(gpus=(2, 0), vendor="nvidia"), exclusive=True), hosts=hosts)
    device = named(found["resources"][0]["device"], "nvidia/gpu")
    assert device["count"] == 2
    assert read_string(device["constraint"][0]["value"]) == (
        "GPU-00000000-0000-4000-8000-000000000000,GPU-00000002-0000-4000-8000-000000000000"
    )
    assert "runtime" not in found["config"][0]


def test_a_shared_card_makes_all_tasks_of_its_node_use_variables() -> None:
    hosts = (host(gpus=make_gpus(4, uuids=True)),)
    alone = instance(make_launch("chat-0", gpus=(2,), vendor="nvidia"), exclusive=True)
    shared = instance(make_launch("chat-1", port=20001, gpus=(0,), vendor="nvidia"))
    found = server(alone, shared, hosts=hosts)
    assert "device" not in found["resources"][0]
    assert read_string(found["config"][0]["runtime"]) == "nvidia"
    assert review(alone, shared, hosts=hosts) == ["GS656"]


def test_a_program_is_run_by_raw_exec() -> None:
    hosts = (host(os="darwin", arch="arm64", gpus=make_gpus(1, "apple")),)
    found = server(instance(make_launch(image=None, gpus=(0,), vendor="apple")), hosts=hosts)
    assert read_string(found["driver"]) == "raw_exec"
    assert read_string(found["config"][0]["command"]) == "/usr/local/bin/server"


def test_raw_exec_sees_cards_by_index() -> None:
    hosts = (host(nomad_driver="raw_exec", gpus=make_gpus(4)),)
    text = text_of(instance(make_launch(gpus=(2,), vendor="nvidia")), hosts=hosts)
    assert re.search(r'"CUDA_VISIBLE_DEVICES" += "2"', text)
    assert "NVIDIA_VISIBLE_DEVICES" not in text


def test_secrets_come_from_the_jobs_own_variable() -> None:
    launch = make_launch(secret_env=(("VLLM_API_KEY", "chat-key"),), hub_token=True)
    templates_found = {read_string(one["data"]) for one in server(instance(launch))["template"]}
    assert (
        'VLLM_API_KEY={{ with nomadVar "nomad/jobs/gslc-lab-chat" }}{{ .chat_key.Value | toJSON }}{{ end }}\n'
        in templates_found
    )


def test_what_another_host_must_have_ready_is_waited_for() -> None:
    rpc = make_launch("chat-0-rpc-0", role="rpc", port=20001, health_path=None, host="borea", listen="10.0.0.2")
    hosts = (host(), host("borea", address="10.0.0.2"))
    tasks = named(job_of(instance(make_launch(after=("chat-0-rpc-0",)), rpc), hosts=hosts)["group"], "chat-0")["task"]
    assert '"tcp://10.0.0.2:20001"' in named(tasks, "wait")["config"][0]["args"]


def test_memory_is_rounded_up_and_limited_by_the_host() -> None:
    resources = server(instance(make_launch(memory_bytes=(1 << 30) + 1)))["resources"][0]
    assert (resources["memory"], resources["memory_max"]) == (1025, 65536)


@pytest.mark.parametrize("text", CLIENT_REFERENCES)
def test_text_that_the_client_would_replace_is_refused(text: str) -> None:
    assert review(instance(make_launch(argv=(text,)))) == ["GS654"]
    assert review(instance(make_launch(env=(("A", text),)))) == ["GS654"]


def test_a_model_of_two_targets_is_refused() -> None:
    other = make_instance(make_launch("chat-1", host="borea"))
    assert review(instance(make_launch()), other, hosts=(host(), make_host("borea"))) == ["GS650"]


def test_docker_on_macos_is_refused() -> None:
    target = NomadTarget(templates=templates)
    assert target.excludes(host_class(os="darwin", target="nomad", nomad_driver="docker")) is not None
    assert target.excludes(host_class(os="darwin", target="nomad", nomad_driver="raw_exec")) is None
    assert target.excludes(host_class(os="windows", target="nomad")) is None
    hosts = (host(os="darwin", nomad_driver="docker"),)
    assert review(instance(make_launch()), hosts=hosts) == ["GS658"]


@pytest.mark.parametrize(("driver", "said"), [("docker", ["GS665"]), ("raw_exec", [])])
def test_files_of_the_host_are_missing_in_a_container_alone(driver: Any, said: list[str]) -> None:
    models = (Model(name="chat", source=None, args=("--chat-template-file", "/etc/x.jinja")),)
    cluster = make_cluster(host(nomad_driver=driver), models=models, target="nomad")
    found = NomadTarget(templates=templates).review(make_plan(instance(make_launch())), cluster)
    assert [one.code for one in found] == said


def test_raw_exec_without_a_program_is_refused() -> None:
    assert review(instance(make_launch(program="", image=None))) == ["GS651"]


def test_a_windows_program_is_an_absolute_path() -> None:
    hosts = (host(os="windows", nomad_driver="raw_exec"),)
    launch = make_launch(program="C:\\llama\\llama-server.exe", image=None)
    assert review(instance(launch), hosts=hosts) == []
    assert read_string(server(instance(launch), hosts=hosts)["config"][0]["command"]) == launch.program


def test_text_that_hcl_would_normalise_is_refused() -> None:
    assert review(instance(make_launch(argv=("e\u0301",)))) == ["GS661"]
    assert review(instance(make_launch(argv=("\u00e9",)))) == []
