"""Reading cluster files in tests: a small GPU table, and what an editor sees in a document."""

from __future__ import annotations

import re
from typing import TypeAlias

from gslc.frontend.codec import read_cluster
from gslc.frontend.source import Document, Map, Mark, Node, Sequence, read_document
from gslc.ir.diagnostic import Diagnostic, Outcome
from gslc.ir.inputs import Cluster, GpuKind

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

CARDS = {
    "NVIDIA GeForce RTX 4090": GpuKind(
        model="NVIDIA GeForce RTX 4090", vendor="nvidia", memory_bytes=25_757_220_864, compute_capability=(8, 9)
    ),
    "AMD Instinct MI300X": GpuKind(model="AMD Instinct MI300X", vendor="amd", memory_bytes=206_141_652_992),
    "Apple M3 Max": GpuKind(model="Apple M3 Max", vendor="apple", memory_bytes=0),
}
SMALLEST = "version: 1\nname: lab\nhosts: {atlas: {memory: 64GiB}}\n"


class SmallTable:
    """A GPU table of three cards."""

    def find(self, name: str) -> GpuKind | None:
        return CARDS.get(name)

    def nearest(self, name: str) -> list[str]:
        return [card for card in CARDS if card.split()[-1] in name or name[:6] == card[:6]]


def read_text(text: str | bytes, file: str = "cluster.yaml") -> Outcome[Cluster]:
    """The outcome of reading one cluster file."""
    outcome = read_document(text, file)
    if outcome.value is None:
        return Outcome(value=None, diagnostics=outcome.diagnostics)
    return read_cluster((outcome.value,), SmallTable())


def cluster_of(text: str) -> Cluster:
    """The cluster of a text that must be right."""
    outcome = read_text(text)
    assert outcome.value is not None, [f"{d.place}: {d.message}" for d in outcome.diagnostics]
    return outcome.value


def mistakes_in(text: str | bytes) -> list[str]:
    """Every diagnostic as "line:column code"."""
    return [brief(diagnostic) for diagnostic in read_text(text).diagnostics]


def only_mistake(text: str | bytes) -> Diagnostic:
    """The one diagnostic of a text."""
    (diagnostic,) = read_text(text).diagnostics
    return diagnostic


def brief(diagnostic: Diagnostic) -> str:
    """A diagnostic as "line:column code"."""
    return f"{diagnostic.place.line}:{diagnostic.place.column} {diagnostic.code}"


def with_model(keys: str) -> str:
    """A cluster of one host and the model `chat` with these keys, in flow form."""
    return f"{SMALLEST}models: {{chat: {{source: hf://a/b, {keys}}}}}\n"


def with_host(keys: str) -> str:
    """A cluster with one host of 64 GiB and these keys, in flow form."""
    return f"version: 1\nname: lab\nhosts: {{atlas: {{memory: 64GiB, {keys}}}}}\n"


# ------------------------------------------------------------------ what an editor sees

INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")


def json_view(document: Document) -> Json:
    """The document as YAML 1.2's core schema types it, which is what JSON Schema is applied to in editors."""
    return node_view(document.root, 0)


def node_view(node: Node, mark: Mark) -> Json:
    if isinstance(node, Map):
        return {key: node_view(value, at) for key, (value, at, _) in node.items()}
    if isinstance(node, Sequence):
        return [node_view(value, at) for value, at in node]
    if mark & 1:
        return node
    if node in ("", "~", "null", "Null", "NULL"):
        return None
    if node in ("true", "false"):
        return node == "true"
    if INTEGER.match(node):
        return int(node)
    return float(node) if FLOAT.match(node) else node
