"""Whatever stands in a cluster file: a cluster or diagnostics, never a traceback, never a long run."""

from __future__ import annotations

import random
import time

import pytest
import yaml
from clusters import read_text
from hypothesis import given, settings
from hypothesis import strategies as st

from gslc.frontend.source import read_document

SEED_TEXT = """\
version: 1
name: lab
target: systemd
port_range: 20000-29999
engines: {vllm: {version: "0.26.0"}, llama.cpp: {path: /opt/llama, image: "a/b:c"}}
defaults: {backend_for_gguf: llama.cpp}
hosts:
  atlas:
    address: 10.0.0.11
    memory: 128GiB
    reserved: {memory: 2GiB, gpu_memory: 0}
    labels: {rack: r1}
    gpus:
      - {model: NVIDIA GeForce RTX 4090, count: 2}
      - {model: custom, vendor: nvidia, memory: 24GiB, compute_capability: "8.9", uuid: GPU-1}
models:
  chat:
    source: hf://Qwen/Qwen2.5-7B-Instruct
    replicas: 2
    context: 8192
    host_selector: {rack: r1}
    gpus: [atlas/0, atlas/1]
    args: [--enable-prefix-caching, "x y"]
    env: {A: b, C: {secret: d}}
    gpu_memory_utilization: 0.9
  rerank:
    backend: custom
    command: [server, --port, "{port}"]
    requirements:
      - {gpus: 1, gpu_memory: 3GiB, memory: 1GiB}
      - {memory: 6GiB, offload: 3GiB}
"""
PIECES = [
    "[", "]", "{", "}", ":", ": ", "- ", "? ", "&a ", "*a", "!!x ", "<<: ", "|", ">", "'", '"', "\n", "\t", "\0", "\r", "\ufeff", "\u202e",
    "%", "---\n", "...\n", "#", "\\", "\\u0000", "~", "null", "true", "no", "0", "-1", "1e999", "9" * 5000, "0x10", ".inf", ".nan", "24GiB",
    "{port}", "{", "hf://", "../", "a" * 3000, "é", "😀", "\ud800", "version: 1\n", "    ", "  ", ",", "hf_" + "a" * 40, "${X}", "$(id)",
]  # fmt: skip


def judge(text: str | bytes) -> None:
    """Read a text; it ends in a value or in diagnostics with places and words."""
    began = time.process_time()
    outcome = read_text(text)
    assert time.process_time() - began < 2
    assert outcome.value is not None or outcome.diagnostics
    for diagnostic in outcome.diagnostics:
        assert diagnostic.code.startswith("GS1")
        assert diagnostic.message
        assert diagnostic.help
        assert diagnostic.place.line >= 1
        assert diagnostic.place.column >= 1


def mutated(text: str, chance: random.Random) -> str:
    """The text with a few pieces put in, cut out, doubled or swapped."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        to = min(len(text), at + chance.choice([0, 1, 2, 5, 20, 80]))
        piece = chance.choice(PIECES)
        how = chance.randrange(5)
        if how == 0:
            text = text[:at] + piece + text[at:]
        elif how == 1:
            text = text[:at] + text[to:]
        elif how == 2:
            text = text[:to] + text[at:to] + text[to:]
        elif how == 3:
            text = text[:at] + piece + text[to:]
        else:
            lines = text.split("\n")
            one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            text = "\n".join(lines)
    return text


def fuzz(executions: int, seed: int) -> None:
    """Judge so many mutations of the seed text."""
    chance = random.Random(seed)
    for _ in range(executions):
        text = mutated(SEED_TEXT, chance)
        if chance.random() < 0.1:
            data = bytearray(text.encode("utf-8", "surrogatepass"))
            for _ in range(3):
                data[chance.randrange(len(data))] = chance.randrange(256)
            judge(bytes(data))
        else:
            judge(text)


def test_the_seed_is_a_cluster() -> None:
    assert read_text(SEED_TEXT).value is not None


def test_a_thousand_mutations_end_in_a_value_or_diagnostics() -> None:
    fuzz(1_000, seed=1)


@pytest.mark.fuzz
def test_fifty_thousand_mutations_end_in_a_value_or_diagnostics() -> None:
    fuzz(50_000, seed=2)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_ends_in_a_value_or_diagnostics(text: str) -> None:
    judge(text)
    judge("version: 1\nname: lab\nhosts:\n" + text)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_value_or_diagnostics(data: bytes) -> None:
    judge(data)


def test_a_billion_replicas_and_eight_thousand_cards_are_refused_at_once() -> None:
    host = "hosts: {a: {memory: 8GiB, gpus: [{model: NVIDIA GeForce RTX 4090, count: 8000}]}}\n"
    judge(f"version: 1\nname: lab\n{host}models: {{m: {{source: hf://a/b, replicas: 1000000000}}}}\n")


def test_many_mistakes_end_soon() -> None:
    lines = "".join(
        f"  m{number}: {{sorce: x, contxt: y, replicas: -1, gpus: [a], env: {{PATH: x}}}}\n" for number in range(8_000)
    )
    judge(f"version: 1\nname: lab\nhosts: {{a: {{memory: 8GiB}}}}\nmodels:\n{lines}")


def test_many_references_to_nothing_end_soon() -> None:
    hosts = "".join(
        f"  host-with-a-long-name-{number:05}: {{memory: 8GiB, labels: {{rack: r{number}}}}}\n"
        for number in range(3_000)
    )
    models = "".join(
        f"  m{number}: {{source: hf://a/b, gpus: [host-with-a-long-nam-{number}/0], host_selector: {{rack: q{number}}}}}\n"
        for number in range(3_000)
    )
    began = time.process_time()
    read_text(f"version: 1\nname: lab\nhosts:\n{hosts}models:\n{models}")
    assert time.process_time() - began < 5


def test_many_unknown_keys_with_a_missing_one_end_soon() -> None:
    keys = "".join(f"    memor{number}: 1\n" for number in range(20_000))
    judge(f"version: 1\nname: lab\nhosts:\n  a:\n{keys}")


def test_both_parsers_read_the_same_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    texts = [mutated(SEED_TEXT, chance) for _ in range(200)]
    fast = [read_document(text, "cluster.yaml") for text in texts]
    monkeypatch.delattr(yaml, "CLoader")
    agreed = 0
    for text, quick in zip(texts, fast, strict=True):
        slow = read_document(text, "cluster.yaml")
        if quick.value is not None and slow.value is not None:
            assert quick.value.root == slow.value.root
            agreed += 1
        elif quick.value is not None or slow.value is not None:
            # PyYAML's own parser refuses some tabs and question marks that libyaml takes; never the other way round.
            assert [diagnostic.code for diagnostic in slow.diagnostics] == ["GS100"]
    assert agreed > 20
