"""What the importers' tests share: the shipped table, the sample files, and reading a result back."""

from pathlib import Path

from gslc.edges.gpu_table import RESOURCE, load_gpu_table
from gslc.edges.resources import resource_text
from gslc.frontend.codec import read_cluster
from gslc.frontend.importers.importing import Imported, ImportOptions, import_files
from gslc.frontend.source import read_document
from gslc.ir.diagnostic import Outcome
from gslc.ir.inputs import Cluster, Host

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "import"
TABLE = load_gpu_table(resource_text(RESOURCE))
GIB = 1024**3
MIB = 1024**2


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def run(
    kind: str, text: str, *hosts: str, file: str = "in", memory: int | None = None, uuids: bool = False
) -> Outcome[Imported]:
    options = ImportOptions(hosts=hosts, memory_bytes=(memory,) if memory else (), uuids=uuids)
    return import_files(kind, [(file, text)], TABLE, options)


def imported(kind: str, text: str, *hosts: str, memory: int | None = None, uuids: bool = False) -> Imported:
    outcome = run(kind, text, *hosts, memory=memory, uuids=uuids)
    assert outcome.value is not None, outcome.diagnostics
    return outcome.value


def codes(outcome: Outcome[Imported]) -> list[str]:
    return sorted(diagnostic.code for diagnostic in outcome.diagnostics)


def cluster_of(text: str, *extra: str) -> Cluster:
    """The cluster that the codec reads from an imported file, put under a head."""
    documents = tuple(
        read_document(each, name).value
        for name, each in (("c", "version: 1\nname: lab\n"), ("in", text), *((f"x{n}", e) for n, e in enumerate(extra)))
    )
    assert all(documents)
    outcome = read_cluster(documents, TABLE)  # type: ignore[arg-type]
    assert outcome.value is not None, outcome.diagnostics
    return outcome.value


def hosts_of(text: str) -> dict[str, Host]:
    return {host.name: host for host in cluster_of(text).hosts}


def models_of(text: str) -> dict[str, object]:
    return {
        model.name: model
        for model in cluster_of(
            text,
            "hosts: {box: {memory: 64GiB, labels: {zone: east}, gpus: [{model: RTX 4090, count: 4}]}, worker-a: {memory: 64GiB, gpus: [{model: RTX 4090, count: 4}]}}\n",
        ).models
    }
