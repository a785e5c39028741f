"""The codec and the JSON Schema accept the same documents, save for what only the codec can see."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
import yaml
from clusters import CARDS, Json, json_view, read_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gslc.edges.resources import resource_text
from gslc.frontend.source import read_document

SCHEMA = json.loads(resource_text("schemas/cluster.schema.json"))
VALIDATOR = Draft202012Validator(SCHEMA)

# What no schema can say, or says too clumsily to help: refused by the codec alone.
CODEC_ONLY = {
    "GS122": "what two files define",
    "GS137": "the size behind a unit (0GiB, 9999TiB), ports in order, fractions with more than three decimals",
    "GS141": "more digits than a size can have",
    "GS143": "the inner form of a source",
    "GS144": "IPv6 in detail, and addresses that no host can have",
    "GS145": "'..' in mmproj",
    "GS148": "the order of the two ports",
    "GS150": "names of GPUs",
    "GS151": "memory of a custom card, which a host with unified memory need not state",
    "GS152": "what a host's GPUs are and hold together",
    "GS153": "the sum of the counts",
    "GS154": "the same UUID on two hosts",
    "GS155": "which cards a host has, and a card in two groups",
    "GS160": "what looks like a token",
    "GS161": "variables of the placement",
    "GS162": "variables of the loader",
    "GS164": "placeholders",
    "GS170": "pins to hosts and cards",
    "GS171": "selectors that match nothing",
    "GS174": "memory 0, and offload above memory",
    "GS175": "the sum of the replicas",
}
STRICT = {
    "GS130",
    "GS131",
    "GS132",
    "GS133",
    "GS134",
    "GS135",
    "GS136",
    "GS140",
    "GS142",
    "GS146",
    "GS163",
    "GS172",
    "GS173",
    "GS179",
}

names = st.from_regex(r"\A[a-z]([a-z0-9-]{0,8}[a-z0-9])?\Z").filter(
    lambda name: name not in ("con", "aux", "nul", "prn")
)
sizes = st.sampled_from(["24GiB", "80GB", "512MiB", "1.5TiB", "24 GiB", 8589934592])
words = st.sampled_from(["a", "--flag", "x=y", "12", "true", "1e3", "ü"])
labels = st.dictionaries(st.sampled_from(["rack", "zone", "disk"]), st.sampled_from(["r1", "r2", 7, True]), max_size=2)
secrets = st.fixed_dictionaries({"secret": names})
gpus = st.one_of(
    st.fixed_dictionaries({"model": st.sampled_from(sorted(CARDS)[:2])}, optional={"count": st.integers(1, 8)}),
    st.fixed_dictionaries(
        {"model": st.just("custom"), "vendor": st.just("nvidia"), "memory": sizes},
        optional={"compute_capability": st.sampled_from(["8.9", "12.0"])},
    ),
)
engines = st.fixed_dictionaries(
    {},
    optional={
        "vllm": st.fixed_dictionaries(
            {}, optional={"version": st.just("0.26.0"), "image": st.just("vllm/vllm-openai:v0.26.0")}
        ),
        "llama.cpp": st.fixed_dictionaries({}, optional={"path": st.just("/opt/llama/bin")}),
    },
)
hosts = st.fixed_dictionaries(
    {"memory": sizes.filter(lambda size: size != "512MiB")},
    optional={
        "address": st.sampled_from(["10.0.0.11", "fd00::11", "atlas.example.org"]),
        "listen": st.sampled_from(["0.0.0.0", "::", "10.0.0.1"]),
        "os": st.sampled_from(["linux", "darwin", "windows"]),
        "arch": st.sampled_from(["amd64", "arm64"]),
        "unified_memory": st.booleans(),
        "reserved": st.fixed_dictionaries({}, optional={"memory": st.just(0), "gpu_memory": st.just("1GiB")}),
        "labels": labels,
        "target": st.sampled_from(["systemd", "compose", "nomad"]),
        "model_dir": st.just("/srv/models"),
        "engines": engines,
        "nomad_driver": st.sampled_from(["docker", "raw_exec"]),
        "gpus": st.lists(gpus, max_size=3),
        "nvlink": st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=4, unique=True), max_size=3),
    },
)
requirements = st.lists(
    st.one_of(
        st.fixed_dictionaries({"gpus": st.integers(1, 4), "gpu_memory": sizes}, optional={"memory": sizes}),
        st.fixed_dictionaries({"memory": st.just("6GiB")}, optional={"offload": st.just("3GiB")}),
        st.fixed_dictionaries(
            {
                "parts": st.lists(
                    st.fixed_dictionaries({"gpus": st.just(4), "gpu_memory": sizes}), min_size=1, max_size=2
                )
            }
        ),
    ),
    min_size=1,
    max_size=2,
)
common_keys: dict[str, st.SearchStrategy[Any]] = {
    "replicas": st.integers(0, 9),
    "distributed": st.booleans(),
    "served_name": st.sampled_from(["qwen", "Qwen/Qwen2.5:7b"]),
    "placement": st.sampled_from(["binpack", "spread"]),
    "anti_affinity": st.just("host"),
    "exclusive_gpus": st.booleans(),
    "priority": st.integers(-5, 5),
    "port": st.integers(1, 65535),
    "args": st.lists(words, max_size=3),
    "env": st.dictionaries(st.sampled_from(["A", "OMP_NUM_THREADS", "HF_TOKEN"]), secrets, max_size=2),
    "api_key": secrets,
    "image": st.just("ghcr.io/a/b:1"),
}
models = st.fixed_dictionaries(
    {"source": st.sampled_from(["hf://a/b", "hf://a/b@main/x*.gguf", "ollama://qwen:7b", "file:///m/a.gguf"])},
    optional={
        **common_keys,
        "context": st.integers(1, 100_000),
        "parallel": st.integers(1, 64),
        "cpu_offload": st.booleans(),
        "backend": st.sampled_from(["llama-box", "llama.cpp", "vllm", "vox-box"]),
        "backend_for_gguf": st.sampled_from(["llama-box", "llama.cpp"]),
        "tensor_parallel": st.integers(1, 8),
        "pipeline_parallel": st.integers(1, 8),
        "gpu_memory_utilization": st.sampled_from([0.9, 1, "auto", 0.123]),
        "gpu_layers": st.integers(1, 99),
        "tensor_split": st.sampled_from([[3, 1], [1]]),
        "kv_cache_type": st.sampled_from(["q8_0", "fp8"]),
        "mmproj": st.just("mmproj-*.gguf"),
        "requirements": requirements,
    },
)
custom_models = st.fixed_dictionaries(
    {
        "backend": st.just("custom"),
        "command": st.just(["server", "--port", "{port}"]),
        "requirements": requirements,
    },
    optional=common_keys,
)
clusters = st.fixed_dictionaries(
    {"version": st.just(1), "name": names, "hosts": st.dictionaries(names, hosts, min_size=1, max_size=3)},
    optional={
        "target": st.sampled_from(["systemd", "compose", "nomad"]),
        "port_range": st.sampled_from(["20000-29999", "20000 - 20010"]),
        "engines": engines,
        "defaults": st.fixed_dictionaries(
            {}, optional={"backend_for_gguf": st.just("llama.cpp"), "context": st.just(4096)}
        ),
        "models": st.dictionaries(names, st.one_of(models, custom_models), max_size=3),
    },
)


# libyaml where it is there: it writes the same text, sooner.
Dumper: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Plain(Dumper):
    """Writes YAML without aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


Plain.add_representer(str, quoted)


def text_of(instance: Json) -> str:
    """YAML whose strings are all quoted, so that codec and schema read the same types."""
    return yaml.dump(instance, Dumper=Plain, allow_unicode=True, width=10_000)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(clusters)
def test_a_document_built_by_the_rules_is_accepted_by_both(instance: Json) -> None:
    text = text_of(instance)
    errors = [d for d in read_text(text).diagnostics if d.severity == "error" and d.code not in CODEC_ONLY]
    assert errors == []
    assert [error.message for error in VALIDATOR.iter_errors(instance)] == []


SPOILERS: list[Json] = [
    None,
    True,
    "",
    "x",
    0,
    1,
    -1,
    24,
    1.5,
    10**9,
    [],
    {},
    ["x"],
    {"x": "y"},
    "24GiB",
    "no",
    "con",
    "A B",
    [{}],
    [1],
    [1, 1],
    [[0, 1], [2]],
]


def paths_in(node: Json, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        found += paths_in(child, (*path, key))
    return found


def spoiled(instance: Json, data: st.DataObject) -> Json:
    """The instance with one thing wrong: a value replaced, a key dropped, renamed or added."""
    result = deepcopy(instance)
    path = data.draw(st.sampled_from(paths_in(result)))
    parent: Any = result
    for step in path[:-1]:
        parent = parent[step]
    how = data.draw(st.sampled_from(["replace", "drop", "rename", "add"]))
    last = path[-1]
    if how == "replace" or not isinstance(parent, dict):
        parent[last] = deepcopy(data.draw(st.sampled_from(SPOILERS)))
    elif how == "drop":
        del parent[last]
    elif how == "rename":
        parent[f"{last}x"] = parent.pop(last)
    else:
        parent["extra"] = deepcopy(data.draw(st.sampled_from(SPOILERS)))
    return result


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(clusters, st.data())
def test_a_spoiled_document_is_judged_alike(instance: Json, data: st.DataObject) -> None:
    for _ in range(6):  # to draw a document takes longer than to judge it
        assert_judged_alike(spoiled(instance, data))


def assert_judged_alike(broken: Json) -> None:
    text = text_of(broken)
    outcome = read_text(text)
    codes = {diagnostic.code for diagnostic in outcome.diagnostics if diagnostic.severity == "error"}
    complaints = [f"{list(error.absolute_path)}: {error.message}" for error in VALIDATOR.iter_errors(broken)]
    if complaints:
        assert codes, f"the schema alone refuses: {complaints}\n{text}"
    elif codes & STRICT:
        raise AssertionError(f"the codec alone refuses: {[d.message for d in outcome.diagnostics]}\n{text}")
    else:
        assert codes <= CODEC_ONLY.keys() | {"GS149"}, (codes, text)


@pytest.mark.parametrize("word", ["no", "on", "22:22", "1e3", "012", "~x", "0x1F", "12_3"])
def test_a_plain_word_is_the_same_text_to_both(word: str) -> None:
    text = f"version: 1\nname: lab\nhosts: {{atlas: {{memory: 8GiB, labels: {{rack: {word.replace('~', '')}}}}}}}\n"
    document = read_document(text, "cluster.yaml").value
    assert document is not None
    assert VALIDATOR.is_valid(json_view(document))
    assert read_text(text).value is not None


def test_the_schema_is_a_schema_and_its_examples_hold() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for example in SCHEMA["examples"]:
        VALIDATOR.validate(example)
        assert read_text(text_of(example)).value is not None


def test_every_key_has_a_hover_text() -> None:
    bare = []

    def look(schema: object, path: str) -> None:
        if not isinstance(schema, dict):
            return
        for name, child in schema.get("properties", {}).items():
            if isinstance(child, dict) and not described(child):
                bare.append(f"{path}/{name}")
            look(child, f"{path}/{name}")

    def described(child: dict[str, Any]) -> bool:
        if "description" in child:
            return True
        target: Any = SCHEMA
        for step in child["$ref"].removeprefix("#/").split("/") if "$ref" in child else ():
            target = target[step]
        return target is not SCHEMA and "description" in target

    look({"properties": SCHEMA["properties"]}, "")
    for name, definition in SCHEMA["$defs"].items():
        if name != "completeModel":
            look(definition, name)
    assert [path for path in bare if not path.startswith("engines/")] == []


def bounded_keys() -> list[tuple[str, str, int]]:
    """Every whole number of the schema with a bound: where it stands, the key, and the bound."""
    found = []
    for where in ("model", "gpu", "requirementPart"):
        for key, value in SCHEMA["$defs"][where]["properties"].items():
            if value.get("type") == "integer":
                found += [(where, key, value["minimum"]), (where, key, value["maximum"])]
    return found


def place_for(where: str, key: str, number: int) -> str:
    host = "hosts: {atlas: {memory: 64GiB}}"
    if where == "gpu":
        host = f"hosts: {{atlas: {{memory: 64GiB, gpus: [{{model: NVIDIA GeForce RTX 4090, {key}: {number}}}]}}}}"
    keys = f", {key}: {number}" if where == "model" else ""
    if where == "requirementPart":
        keys = f", requirements: [{{memory: 1GiB, {key}: {number}{', gpu_memory: 1GiB' if number else ''}}}]"
    return f"version: 1\nname: lab\n{host}\nmodels: {{m: {{source: hf://a/b{keys}}}}}\n"


@pytest.mark.parametrize(("where", "key", "bound"), bounded_keys())
def test_ranges_end_where_the_schema_says(where: str, key: str, bound: int) -> None:
    limits = SCHEMA["$defs"][where]["properties"][key]
    outside = bound - 1 if bound == limits["minimum"] else bound + 1
    assert read_text(place_for(where, key, bound)).value is not None
    codes = {diagnostic.code for diagnostic in read_text(place_for(where, key, outside)).diagnostics}
    assert "GS137" in codes


@pytest.mark.parametrize("key", ["args", "gpus", "tensor_split", "requirements", "command"])
def test_lists_are_as_long_as_the_schema_says(key: str) -> None:
    raw = SCHEMA["$defs"]["model"]["properties"][key]
    limit = raw.get("maxItems") or SCHEMA["$defs"][raw["$ref"].rpartition("/")[2]]["maxItems"]
    item = {"gpus": "atlas/0", "tensor_split": "1", "requirements": "{memory: 1GiB}"}.get(key, "a")
    for count, refused in ((limit, False), (limit + 1, True)):
        text = f"version: 1\nname: lab\nhosts: {{atlas: {{memory: 64GiB}}}}\nmodels: {{m: {{source: hf://a/b, {key}: [{', '.join([item] * count)}]}}}}\n"
        codes = {diagnostic.code for diagnostic in read_text(text).diagnostics}
        assert ("GS175" in codes) is refused


def keys_with_defaults() -> list[tuple[str, str]]:
    """Every key of a host, GPU or model for which the schema states a default."""
    return [
        (where, key)
        for where in ("model", "host", "gpu")
        for key, value in SCHEMA["$defs"][where]["properties"].items()
        if "default" in value
    ]


@pytest.mark.parametrize(("where", "key"), keys_with_defaults())
def test_defaults_are_what_the_schema_says(where: str, key: str) -> None:
    raw = SCHEMA["$defs"][where]["properties"][key]
    host = "memory: 64GiB, gpus: [{model: NVIDIA GeForce RTX 4090%s}]%s"
    text = "version: 1\nname: lab\nhosts: {atlas: {" + host + "}}\nmodels: {m: {source: hf://a/b%s}}\n"
    value = json.dumps(raw["default"])
    said = tuple(f", {key}: {value}" if where == part else "" for part in ("gpu", "host", "model"))
    written, silent = read_text(text % said).value, read_text(text % ("", "", "")).value
    assert written is not None
    if (where, key) == ("model", "gpu_memory_utilization"):  # None: the backend writes 0.9, where it is vLLM
        assert silent is not None
        assert silent.models[0].gpu_memory_utilization is None
    else:
        assert written == silent
