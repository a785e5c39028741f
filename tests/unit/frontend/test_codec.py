"""cluster.yaml to Cluster: values, defaults, and every mistake at its place."""

from __future__ import annotations

import pytest
from clusters import (
    SMALLEST,
    SmallTable,
    brief,
    cluster_of,
    mistakes_in,
    only_mistake,
    read_text,
    with_host,
    with_model,
)

from gslc.frontend.codec import read_cluster
from gslc.frontend.fields import MAX_PROBLEMS
from gslc.frontend.source import read_document
from gslc.ir.inputs import Cluster, EnginePin, GpuKind, Host, Model, Requirement, RequirementPart, SecretRef


def host_of(keys: str) -> Host:
    (host,) = cluster_of(with_host(keys)).hosts
    return host


def model_of(keys: str) -> Model:
    (model,) = cluster_of(with_model(keys)).models
    return model


# ------------------------------------------------------------------ defaults


def test_the_smallest_cluster_has_every_default() -> None:
    cluster = cluster_of(SMALLEST)
    (host,) = cluster.hosts
    assert (cluster.name, cluster.target, cluster.port_range, cluster.models) == ("lab", "systemd", (20000, 29999), ())
    assert host == Host(
        name="atlas",
        address=None,
        listen="127.0.0.1",
        os="linux",
        arch="amd64",
        memory_bytes=64 << 30,
        unified_memory=False,
        reserved_memory_bytes=2 << 30,
        reserved_gpu_memory_bytes=0,
        labels={"arch": "amd64", "host": "atlas", "os": "linux"},
        target="systemd",
        model_dir="/var/lib/gslc/models",
        engines={},
        nomad_driver=None,
        gpus=(),
    )


def test_a_model_with_a_source_alone_has_every_default() -> None:
    (model,) = cluster_of(f"{SMALLEST}models: {{chat: {{source: hf://a/b}}}}\n").models
    assert model == Model(name="chat", source=model.source)
    assert (model.replicas, model.placement, model.priority) == (1, "binpack", 0)


def test_a_host_listens_on_its_address() -> None:
    assert host_of("address: 10.0.0.11").listen == "10.0.0.11"
    assert host_of("address: 10.0.0.11, listen: 0.0.0.0").listen == "0.0.0.0"


def test_a_host_takes_the_clusters_target_unless_it_has_its_own() -> None:
    text = "version: 1\nname: lab\ntarget: nomad\nhosts:\n  a: {memory: 8GiB}\n  b: {memory: 8GiB, target: compose}\n"
    assert [host.target for host in cluster_of(text).hosts] == ["nomad", "compose"]


def test_all_keys_of_a_model_arrive() -> None:
    model = model_of(
        "replicas: 2, context: 8192, parallel: 4, host_selector: {os: linux}, cpu_offload: true, distributed: true,"
        " backend: vllm, backend_for_gguf: llama.cpp, served_name: qwen, tensor_parallel: 2, pipeline_parallel: 3,"
        " gpu_memory_utilization: 0.85, gpu_layers: 9, tensor_split: [3, 1], kv_cache_type: q8_0, placement: spread,"
        " anti_affinity: host, exclusive_gpus: true, priority: -3, port: 8000, mmproj: mmproj*.gguf, args: [--a, 1],"
        " env: {B: x, A: {secret: s}}, api_key: {secret: k}, image: 'a/b:1', requirements: [{memory: 1GiB}]"
    )
    assert model == Model(
        name="chat",
        source=model.source,
        replicas=2,
        context=8192,
        parallel=4,
        host_selector=(("os", "linux"),),
        cpu_offload=True,
        distributed=True,
        backend="vllm",
        backend_for_gguf="llama.cpp",
        served_name="qwen",
        tensor_parallel=2,
        pipeline_parallel=3,
        gpu_memory_utilization=850,
        gpu_layers=9,
        tensor_split=(3, 1),
        kv_cache_type="q8_0",
        placement="spread",
        anti_affinity="host",
        exclusive_gpus=True,
        priority=-3,
        port=8000,
        mmproj="mmproj*.gguf",
        args=("--a", "1"),
        env=(("A", SecretRef(name="s")), ("B", "x")),
        api_key=SecretRef(name="k"),
        image="a/b:1",
        requirements=(Requirement(parts=(RequirementPart(memory_bytes=1 << 30),)),),
    )


def test_a_models_own_key_wins_over_defaults() -> None:
    text = f"{SMALLEST}defaults: {{context: 4096, args: [--a]}}\nmodels:\n  a: {{source: hf://a/b, context: 99}}\n  b: {{source: hf://a/b}}\n"
    assert [(model.context, model.args) for model in cluster_of(text).models] == [(99, ("--a",)), (4096, ("--a",))]


def test_defaults_may_give_source_and_backend() -> None:
    text = f"{SMALLEST}defaults: {{source: hf://a/b}}\nmodels: {{a: {{}}, b: {{source: hf://c/d}}}}\n"
    assert [model.source and model.source.repository for model in cluster_of(text).models] == ["a/b", "c/d"]


def test_hosts_and_models_are_sorted_by_name() -> None:
    text = "version: 1\nname: lab\nmodels:\n  b: {source: hf://a/b}\n  a: {source: hf://a/b}\nhosts:\n  z: {memory: 8GiB}\n  c: {memory: 8GiB}\n"
    cluster = cluster_of(text)
    assert [host.name for host in cluster.hosts] == ["c", "z"]
    assert [model.name for model in cluster.models] == ["a", "b"]


@pytest.mark.parametrize("word", ["no", "on", "22:22", "1e3", "012", "true", "0.10"])
def test_plain_strings_stay_strings(word: str) -> None:
    quoted = "'22-22'" if word == "22:22" else word
    assert host_of(f"labels: {{rack: {word}}}").labels["rack"] == word
    assert model_of(f"args: [{word}], env: {{A: {quoted}}}").args == (word,)


def test_engine_pins_of_cluster_and_host_arrive() -> None:
    text = (
        "version: 1\nname: lab\nengines: {vllm: {version: 0.26.0}, llama.cpp: {image: 'a:b'}}\n"
        "hosts: {atlas: {memory: 8GiB, engines: {llama.cpp: {path: /opt/llama}}}}\n"
    )
    cluster = cluster_of(text)
    assert cluster.engines == {"llama.cpp": EnginePin(image="a:b"), "vllm": EnginePin(version="0.26.0")}
    assert cluster.hosts[0].engines == {"llama.cpp": EnginePin(path="/opt/llama")}


# ------------------------------------------------------------------ GPUs


def test_cards_are_numbered_in_the_order_of_the_file() -> None:
    host = host_of(
        "gpus: [{model: NVIDIA GeForce RTX 4090, count: 2},"
        " {model: custom, vendor: nvidia, memory: 24GiB, compute_capability: '8.9', uuid: GPU-1}]"
    )
    assert [(gpu.index, gpu.kind.model, gpu.uuid) for gpu in host.gpus] == [
        (0, "NVIDIA GeForce RTX 4090", None),
        (1, "NVIDIA GeForce RTX 4090", None),
        (2, "custom", "GPU-1"),
    ]
    assert host.gpus[2].kind.compute_capability == (8, 9)
    assert host.gpus[2].kind.memory_bytes == 24 << 30


def test_what_is_written_of_a_known_card_wins_over_the_table() -> None:
    host = host_of("gpus: [{model: NVIDIA GeForce RTX 4090, memory: 20GiB}]")
    assert host.gpus[0].kind.memory_bytes == 20 << 30
    assert host.gpus[0].kind.compute_capability == (8, 9)


def test_cards_of_one_kind_share_one_record() -> None:
    host = host_of("gpus: [{model: NVIDIA GeForce RTX 4090}, {model: NVIDIA GeForce RTX 4090}]")
    assert host.gpus[0].kind is host.gpus[1].kind


def test_a_card_that_shares_memory_has_at_most_the_hosts() -> None:
    apple = host_of("os: darwin, arch: arm64, unified_memory: true, gpus: [{model: Apple M3 Max}]")
    assert apple.gpus[0].kind.memory_bytes == 64 << 30
    custom = host_of("unified_memory: true, gpus: [{model: custom, vendor: nvidia, memory: 999GiB}]")
    assert custom.gpus[0].kind.memory_bytes == 64 << 30
    bare = host_of("unified_memory: true, gpus: [{model: custom, vendor: nvidia}]")
    assert bare.gpus[0].kind.memory_bytes == 64 << 30


GPU_MISTAKES = {
    "{model: NVIDIA RTX 4091}": ("GS150", "model: custom, vendor: nvidia, memory: 24GiB"),
    "{model: custom, memory: 24GiB}": ("GS151", "vendor: nvidia"),
    "{model: custom, vendor: nvidia}": ("GS151", "memory: 24GiB"),
    "{count: 2}": ("GS131", "nvidia-smi"),
    "{model: NVIDIA GeForce RTX 4090, count: 2, uuid: GPU-1}": ("GS152", "one entry a card"),
    "{model: NVIDIA GeForce RTX 4090, vendor: amd}": ("GS152", "remove vendor"),
    "{model: AMD Instinct MI300X, compute_capability: '9.0'}": ("GS152", "remove compute_capability"),
    "{model: Apple M3 Max}": ("GS152", "unified_memory: true"),
    "{model: custom, vendor: nvida, memory: 1GiB}": ("GS136", "did you mean nvidia?"),
    "{model: NVIDIA GeForce RTX 4090, count: 0}": ("GS137", "range"),
    "{model: NVIDIA GeForce RTX 4090, memory: 24}": ("GS142", "24GiB"),
    "{model: NVIDIA GeForce RTX 4090, memory: 0}": ("GS137", "24GiB"),
    "{model: NVIDIA GeForce RTX 4090, name: x}": ("GS130", "known keys"),
    "x": ("GS132", "key: value"),
}


@pytest.mark.parametrize("entry", GPU_MISTAKES)
def test_a_wrong_card_is_refused_with_what_mends_it(entry: str) -> None:
    code, hint = GPU_MISTAKES[entry]
    diagnostics = read_text(with_host(f"gpus: [{entry}]")).diagnostics
    assert (code, True) in [(d.code, hint in (d.help or "")) for d in diagnostics]


def test_the_table_is_searched_for_a_few_unknown_names_once_each() -> None:
    class Counting(SmallTable):
        def __init__(self) -> None:
            self.asked: list[str] = []

        def nearest(self, name: str) -> list[str]:
            self.asked.append(name)
            return super().nearest(name)

    entries = "".join(f"{{model: NVIDIA Card {number % 40}}}, " for number in range(400))
    document = read_document(with_host(f"gpus: [{entries}]"), "cluster.yaml").value
    assert document is not None
    table = Counting()
    found = read_cluster((document,), table).diagnostics
    assert len(found) == MAX_PROBLEMS + 1
    assert len(table.asked) == len(set(table.asked)) == 20
    assert all("model: custom" in (diagnostic.help or "") for diagnostic in found if diagnostic.code == "GS150")


def test_a_host_has_no_more_than_1024_cards() -> None:
    entry = "{model: NVIDIA GeForce RTX 4090, count: 1000}"
    assert only_mistake(with_host(f"gpus: [{entry}, {entry}]")).code == "GS153"


def test_a_card_whose_memory_nobody_knows_is_refused() -> None:
    class Bare(SmallTable):
        def find(self, name: str) -> GpuKind | None:
            return GpuKind(model=name, vendor="amd", memory_bytes=0)

    for keys, code in (("", "GS151"), (", memory: 24GiB", None)):
        document = read_document(with_host(f"gpus: [{{model: X{keys}}}]"), "cluster.yaml").value
        assert document is not None
        assert [d.code for d in read_cluster((document,), Bare()).diagnostics] == ([code] if code else [])


def test_mistakes_name_the_entry_they_are_in() -> None:
    mistake = only_mistake(with_host("gpus: [{model: NVIDIA GeForce RTX 4090}, {model: RTX 4090x}]"))
    assert mistake.message == "GPU entry 2 of host atlas: the GPU 'RTX 4090x' is not known"


def test_a_mistake_in_a_list_names_the_item_by_number() -> None:
    assert only_mistake(with_model("args: [a, ~]")).message == "item 2 of args of model chat has no value"
    assert only_mistake(with_model("gpus: [atlas]")).message.startswith("item 1 of gpus of model chat wants host/index")
    text = f"{SMALLEST}models: {{m: {{backend: custom, command: [a, [b]], requirements: [{{memory: 1GiB}}]}}}}\n"
    assert only_mistake(text).message == "item 2 of command of model m wants one value, not a list"


def test_a_pin_beyond_the_last_card_names_the_range() -> None:
    text = (
        "version: 1\nname: lab\nhosts: {a: {memory: 64GiB, gpus: [{model: NVIDIA GeForce RTX 4090, count: 3}]}}\n"
        "models: {m: {source: hf://a/b, gpus: [a/3]}}\n"
    )
    assert only_mistake(text).help == "name one of a/0 to a/2"
    assert (
        only_mistake(text.replace(", gpus: [{model: NVIDIA GeForce RTX 4090, count: 3}]", "")).help
        == "give host a its gpus"
    )


def test_one_uuid_is_on_one_card() -> None:
    card = "gpus: [{model: NVIDIA GeForce RTX 4090, uuid: GPU-1}]"
    text = f"version: 1\nname: lab\nhosts:\n  a: {{memory: 8GiB, {card}}}\n  b: {{memory: 8GiB, {card}}}\n"
    mistake = only_mistake(text)
    assert brief(mistake) == "5:27 GS154"
    assert mistake.related[0].place.line == 4


# ------------------------------------------------------------------ mistakes


MISTAKES = {
    "no version": ("name: lab\nhosts: {a: {memory: 8GiB}}\n", ["1:1 GS131"]),
    "another version": ("version: 2\nname: lab\nhosts: {a: {memory: 8GiB}}\n", ["1:10 GS179"]),
    "version 0": ("version: 0\nname: lab\nhosts: {a: {memory: 8GiB}}\n", ["1:10 GS179"]),
    "no name": ("version: 1\nhosts: {a: {memory: 8GiB}}\n", ["1:1 GS131"]),
    "no hosts": ("version: 1\nname: lab\n", ["1:1 GS176"]),
    "an empty map of hosts": ("version: 1\nname: lab\nhosts: {}\n", ["1:1 GS176"]),
    "hosts without a value": ("version: 1\nname: lab\nhosts:\n", ["3:7 GS133"]),
    "hosts as a list": ("version: 1\nname: lab\nhosts: [a]\n", ["3:8 GS132"]),
    "a host without a value": ("version: 1\nname: lab\nhosts:\n  a:\n", ["4:5 GS133"]),
    "a host without memory": ("version: 1\nname: lab\nhosts:\n  a: {}\n", ["4:6 GS131"]),
    "a mistyped key": (f"{SMALLEST}modles: {{}}\n", ["4:1 GS130"]),
    "a mistyped key that is needed": ("version: 1\nname: lab\nhosts: {a: {memroy: 8GiB}}\n", ["3:13 GS130"]),
    "a wrong host name": ("version: 1\nname: lab\nhosts: {My_Host: {memory: 8GiB}}\n", ["3:9 GS140"]),
    "a device as a model": (f"{SMALLEST}models: {{nul: {{source: hf://a/b}}}}\n", ["4:10 GS140"]),
    "null where text is wanted": ("version: 1\nname: ~\nhosts: {a: {memory: 8GiB}}\n", ["2:7 GS133"]),
    "a list where text is wanted": ("version: 1\nname: [lab]\nhosts: {a: {memory: 8GiB}}\n", ["2:7 GS132"]),
    "two mistakes": (f"{SMALLEST}target: x\nmodels: {{a: {{source: x}}}}\n", ["4:9 GS136", "5:22 GS143"]),
    "ephemeral ports": (f"{SMALLEST}port_range: 30000-40000\n", ["4:13 GS178"]),
    "memory that is all reserved": (with_host("reserved: {memory: 64GiB}"), ["3:42 GS152"]),
    "a label of gslc's own": (with_host("labels: {os: linux}"), ["3:41 GS172"]),
    "an address of all": (with_host("address: 0.0.0.0"), ["3:41 GS144"]),
    "two hosts of one address": (
        "version: 1\nname: lab\nhosts: {a: {memory: 8GiB, address: N1.example}, b: {memory: 8GiB, address: n1.example.}}\n",
        ["3:76 GS167"],
    ),
    "an unknown engine": (with_host("engines: {vlm: {}}"), ["3:42 GS130"]),
    "no source": (f"{SMALLEST}models: {{a: {{replicas: 1}}}}\n", ["4:13 GS131"]),
    "a model without a value": (f"{SMALLEST}models: {{a: }}\n", ["4:13 GS133"]),
    "too many replicas": (with_model("replicas: 10001"), ["4:45 GS137"]),
    "too many replicas in all": (
        f"{SMALLEST}models:\n" + "".join(f"  m{n}: {{source: hf://a/b, replicas: 10000}}\n" for n in range(11)),
        ["5:36 GS175"],
    ),
    "an empty split": (with_model("tensor_split: []"), ["4:49 GS137"]),
    "a split of nothing": (with_model("tensor_split: [0, 0]"), ["4:49 GS137"]),
    "a split without GPU layers": (with_model("tensor_split: [1], gpu_layers: 0"), ["4:49 GS173"]),
    "mmproj elsewhere": (with_model("mmproj: ../x"), ["4:43 GS145"]),
    "a pin to no host": (with_model("gpus: [atlsa/0]"), ["4:41 GS170"]),
    "a pin to no card": (with_model("gpus: [atlas/0]"), ["4:41 GS170"]),
    "too many alternatives": (
        with_model(f"requirements: [{', '.join(['{memory: 1GiB}'] * 65)}]"),
        ["4:49 GS175"],
    ),
    "too many variables": (
        with_model(f"env: {{{', '.join(f'A{n}: b' for n in range(1_001))}}}"),
        ["4:40 GS175"],
    ),
    "an mmproj of two lines": (with_model('mmproj: "a\\nb"'), ["4:43 GS149"]),
    "no pins": (with_model("gpus: []"), ["4:41 GS133"]),
    "a selector of no label": (with_model("host_selector: {rakc: r1}"), ["4:50 GS171"]),
    "a selector of no value": (with_model("host_selector: {os: windows}"), ["4:50 GS171"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_where_it_stands(case: str) -> None:
    text, expected = MISTAKES[case]
    assert mistakes_in(text) == expected
    assert all(diagnostic.help for diagnostic in read_text(text).diagnostics)


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    text = "version: 1\nname: Lab\nhosts:\n  b: {memory: 24}\n  a: {memory: x}\nmodels:\n  m: {source: hf://a, replicas: x}\n"
    assert mistakes_in(text) == ["2:7 GS140", "4:15 GS142", "5:15 GS141", "7:15 GS143", "7:33 GS134"]


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    mistake = only_mistake(with_model("contxt: 1"))
    assert mistake.message == "model chat has no key 'contxt'"
    assert mistake.help == "did you mean context?"


def test_a_mistake_in_defaults_is_named_once() -> None:
    text = f"{SMALLEST}defaults: {{context: x, source: y}}\nmodels: {{a: {{}}, b: {{}}}}\n"
    assert mistakes_in(text) == ["4:21 GS134", "4:32 GS143"]


def test_a_selector_that_matches_nothing_names_what_exists() -> None:
    text = (
        "version: 1\nname: lab\nhosts:\n  a: {memory: 8GiB, labels: {rack: r1, zone: z1}}\n"
        "  b: {memory: 8GiB, labels: {rack: r2, zone: z2}}\n"
        "models:\n  m: {source: hf://a/b, host_selector: {rack: SEL, zone: z2}}\n"
    )
    assert only_mistake(text.replace("SEL", "r11")).help == "did you mean rack: r1?"
    assert only_mistake(text.replace("SEL", "xyz")).help == "values of rack that exist: r1, r2"
    both = only_mistake(text.replace("SEL", "r1"))
    assert "rack: r1, zone: z2, which no host has together" in both.message
    assert both.help == "hosts with zone: z2 are b"
    assert read_text(text.replace("SEL", "r2")).value is not None


def test_a_pin_names_the_cards_that_exist() -> None:
    text = (
        "version: 1\nname: lab\nhosts: {atlas: {memory: 64GiB, gpus: [{model: NVIDIA GeForce RTX 4090, count: 2}]}}\n"
        "models: {m: {source: hf://a/b, gpus: [atlas/2, atlas/0]}}\n"
    )
    mistake = only_mistake(text)
    assert mistake.message == "gpus of model m names atlas/2, but its GPUs are 0 to 1"
    assert cluster_of(text.replace("atlas/2", "atlas/1")).models[0].gpus == (("atlas", 0), ("atlas", 1))
    assert "twice" in only_mistake(text.replace("atlas/2", "atlas/0")).message


def test_a_default_that_is_wrong_besides_good_ones_is_hidden_from_the_models() -> None:
    text = f"{SMALLEST}defaults: {{context: x, parallel: 2, sorce: hf://a/b}}\nmodels: {{a: {{source: hf://a/b}}}}\n"
    assert mistakes_in(text) == ["4:21 GS134", "4:37 GS130"]


def test_warnings_do_not_stop_a_cluster() -> None:
    outcome = read_text(f"{SMALLEST}port_range: 30000-40000\n")
    assert outcome.value is not None
    assert [diagnostic.severity for diagnostic in outcome.diagnostics] == ["warning"]


def test_the_first_mistakes_are_enough_and_the_rest_is_spoken_of() -> None:
    text = SMALLEST + "".join(f"x{number}: 1\n" for number in range(5_000))
    first, *others = read_text(text).diagnostics
    assert (first.code, first.severity) == ("GS177", "note")
    assert len(others) == MAX_PROBLEMS


def test_names_of_plug_ins_are_taken_where_they_are_said() -> None:
    text = f"{SMALLEST}target: quadlet\nengines: {{sglang: {{version: '0.5'}}}}\nmodels: {{m: {{source: hf://a/b, backend: sglang}}}}\n"
    document = read_document(text, "cluster.yaml").value
    assert document is not None
    outcome = read_cluster(
        (document,), SmallTable(), targets=("systemd", "quadlet"), backends=("vllm", "sglang", "custom")
    )
    assert isinstance(outcome.value, Cluster)
    assert outcome.value.target == "quadlet"
    assert {"GS136", "GS130"} == {diagnostic.code for diagnostic in read_text(text).diagnostics}


# ------------------------------------------------------------------ places


def test_every_value_of_the_cluster_has_its_place() -> None:
    text = f"{SMALLEST}defaults:\n  context: 4096\nmodels:\n  chat:\n    source: hf://a/b\n    args: [a, b]\n"
    places = cluster_of(text).places
    assert str(places.at("models", "chat", "source")) == "cluster.yaml:8:13"
    assert str(places.key("models", "chat", "source")) == "cluster.yaml:8:5"
    assert str(places.at("models", "chat", "args", 1)) == "cluster.yaml:9:15"
    assert str(places.at("models", "chat", "context")) == "cluster.yaml:5:12"
    assert str(places.key("models", "chat")) == "cluster.yaml:7:3"
    assert str(places.at("models", "chat", "replicas")) == "cluster.yaml:8:5"
    assert str(places.at("models", "gone")) == "cluster.yaml:7:3"
    assert str(places.at("nothing", "here")) == "cluster.yaml:1:1"
    assert str(places.at("models", "chat", "args", 9)) == "cluster.yaml:9:11"
    assert str(places.at("models", "chat", "source", "deeper")) == "cluster.yaml:8:13"
    assert str(places.at("hosts", "atlas", "memory")) == "cluster.yaml:3:25"


@pytest.mark.parametrize("line", ["    served_name: hf_abcdefghijklmnop1234", "    # hf_abcdefghijklmnop1234"])
def test_a_token_is_refused_wherever_it_stands_and_never_shown(line: str) -> None:
    text = f"version: 1\nname: lab\nhosts: {{a: {{memory: 8GiB}}}}\nmodels:\n  m:\n    source: hf://o/r\n{line}\n"
    document = read_document(text, "cluster.yaml").value
    assert document is not None
    found = [one for one in read_cluster((document,), SmallTable()).diagnostics if one.code == "GS160"]
    assert [one.place.line for one in found] == [7]
    assert "abcdefgh" not in found[0].message


# ------------------------------------------------------------------ NVLink

FOUR_CARDS = "gpus: [{model: NVIDIA GeForce RTX 4090, count: 4}]"


def nvlink_host(*lines: str) -> str:
    """A cluster of one host whose keys stand one a line, from line 5 on."""
    return "\n".join(["version: 1", "name: lab", "hosts:", "  atlas:", *(f"    {line}" for line in lines), ""])


def test_groups_of_linked_cards_arrive_in_order_however_they_are_written() -> None:
    host = host_of(f"{FOUR_CARDS}, nvlink: [[3, 2], [1, 0]]")
    assert host.nvlink == ((0, 1), (2, 3))
    assert host_of(f"{FOUR_CARDS}, nvlink: []").nvlink == host_of(FOUR_CARDS).nvlink == ()


@pytest.mark.parametrize(
    ("nvlink", "gpus", "place", "words"),
    [
        (
            "[[0, 1], [2, 4]]",
            FOUR_CARDS,
            "6:26",
            "group 2 of nvlink of host atlas names GPU 4, but host atlas has GPU 0 to 3",
        ),
        ("[[0, 1], [1, 2]]", FOUR_CARDS, "6:23", "names GPU 1 again, which stands in line 6, column 18 too"),
        ("[[0, 0]]", FOUR_CARDS, "6:18", "names GPU 0 again"),
        ("[[0], [2, 3]]", FOUR_CARDS, "6:14", "group 1 of nvlink of host atlas has one card"),
        ("[[]]", FOUR_CARDS, "6:14", "has no card"),
        ("[[0, 1]]", "os: linux", "6:15", "host atlas has no GPUs"),
        (
            "[[0, 1]]",
            "gpus: [{model: AMD Instinct MI300X, count: 2}]",
            "6:15",
            "which is made by amd (AMD Instinct MI300X)",
        ),
    ],
)
def test_a_link_that_can_t_be_is_refused_where_it_stands(nvlink: str, gpus: str, place: str, words: str) -> None:
    found = read_text(nvlink_host("memory: 64GiB", f"nvlink: {nvlink}", gpus)).diagnostics
    assert brief(found[0]) == f"{place} GS155"
    assert words in found[0].message
    assert found[0].help
    assert {diagnostic.code for diagnostic in found} == {"GS155"}


@pytest.mark.parametrize(
    ("nvlink", "mistake"),
    [
        ("0-1", "6:13 GS132"),
        ("[0, 1]", "6:14 GS132"),
        ("[[0, one]]", "6:18 GS134"),
        ('[["0", 1]]', "6:15 GS134"),
        ("[[0, 1024]]", "6:18 GS137"),
        ("", "6:12 GS133"),
    ],
)
def test_links_of_another_shape_are_refused(nvlink: str, mistake: str) -> None:
    assert mistakes_in(nvlink_host("memory: 64GiB", f"nvlink: {nvlink}", FOUR_CARDS))[0] == mistake


@pytest.mark.parametrize(
    ("nvlink", "mistake"),
    [("[[null]]", "6:15 GS133"), ("[[[0, 1]]]", "6:15 GS132"), ("[[{a: 1}]]", "6:15 GS132"), ("[[one]]", "6:15 GS134")],
)
def test_a_group_whose_only_item_is_no_index_is_one_mistake(nvlink: str, mistake: str) -> None:
    assert mistakes_in(nvlink_host("memory: 64GiB", f"nvlink: {nvlink}", FOUR_CARDS)) == [mistake]


def test_a_mistake_among_the_cards_is_told_alone() -> None:
    cards = "gpus: [{model: NVIDIA GeForce RTX 4090}, {model: NVIDIA Nothing}]"
    assert mistakes_in(nvlink_host("memory: 64GiB", cards, "nvlink: [[0, 1]]")) == ["6:54 GS150"]
