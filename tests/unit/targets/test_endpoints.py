"""The lists that say where everything answers."""

from __future__ import annotations

import json

import yaml
from tests.support.hostile import HOSTILE
from tests.support.plans import make_cluster, make_host, make_instance, make_launch, make_plan

from gslc.ir.inputs import Model, SecretRef
from gslc.targets.endpoints import render_endpoints


def files(*instances: object, models: tuple[Model, ...] = ()) -> dict[str, str]:
    plan = make_plan(*instances)  # type: ignore[arg-type]
    return {file.path: file.text for file in render_endpoints(plan, make_cluster(make_host(), models=models))}


def test_each_model_lists_its_replicas() -> None:
    found = json.loads(
        files(make_instance(make_launch("chat-1", port=20001)), make_instance(make_launch("chat-0")))["endpoints.json"]
    )
    assert [one["url"] for one in found["models"]["chat"]] == ["http://127.0.0.1:20000", "http://127.0.0.1:20001"]
    assert found["models"]["chat"][0] == {
        "instance": "chat-0", "url": "http://127.0.0.1:20000", "host": "atlas", "address": "127.0.0.1", "port": 20000,
        "served_name": "chat", "kind": "chat", "backend": "llama.cpp",
    }  # fmt: skip


def test_a_server_on_all_addresses_is_named_by_its_hosts() -> None:
    from dataclasses import replace

    instance = make_instance(make_launch(listen="0.0.0.0"))
    leader = replace(instance.shards[0], address="fd00::1")
    found = json.loads(files(replace(instance, shards=(leader,)))["endpoints.json"])
    assert found["models"]["chat"][0]["url"] == "http://[fd00::1]:20000"


def test_prometheus_has_one_group_of_labels_a_replica() -> None:
    [found] = json.loads(files(make_instance(make_launch()))["prometheus/targets.json"])
    assert found["targets"] == ["127.0.0.1:20000"]
    assert found["labels"]["replica"] == "chat-0"
    assert all(isinstance(value, str) for value in found["labels"].values())


def test_litellm_balances_the_replicas_of_a_model_and_leaves_custom_programs_out() -> None:
    text = files(
        make_instance(make_launch("chat-0")),
        make_instance(make_launch("chat-1", port=20001)),
        make_instance(make_launch("own-0", port=20002), kind="custom"),
        make_instance(make_launch("rank-0", port=20003), kind="reranker"),
    )["litellm/config.yaml"]
    models = yaml.safe_load(text)["model_list"]
    assert [one["model_name"] for one in models] == ["chat", "chat", "rank"]
    assert models[0]["litellm_params"] == {
        "model": "openai/chat",
        "api_base": "http://127.0.0.1:20000/v1",
        "api_key": "none",
    }
    assert models[2]["model_info"]["mode"] == "rerank"


def test_litellm_takes_a_key_from_its_environment() -> None:
    models = (Model(name="chat", source=None, api_key=SecretRef(name="chat-key")),)
    text = files(make_instance(make_launch()), models=models)["litellm/config.yaml"]
    assert yaml.safe_load(text)["model_list"][0]["litellm_params"]["api_key"] == "os.environ/CHAT_KEY"


def test_litellm_takes_a_key_that_only_the_environment_of_the_engine_has() -> None:
    for variable, expected in (("LLAMA_API_KEY", "os.environ/OWN"), ("VLLM_API_KEY", "none")):
        models = (Model(name="chat", source=None, env=((variable, SecretRef(name="own")),)),)
        text = files(make_instance(make_launch()), models=models)["litellm/config.yaml"]
        assert yaml.safe_load(text)["model_list"][0]["litellm_params"]["api_key"] == expected


def test_no_instance_makes_empty_lists() -> None:
    found = files()
    assert json.loads(found["endpoints.json"])["models"] == {}
    assert json.loads(found["prometheus/targets.json"]) == []
    assert yaml.safe_load(found["litellm/config.yaml"]) == {"model_list": []}


def test_a_served_name_comes_out_as_it_went_in() -> None:
    for name in HOSTILE:
        text = files(make_instance(make_launch(), served_name=name))["litellm/config.yaml"]
        assert yaml.safe_load(text)["model_list"][0]["model_name"] == name
