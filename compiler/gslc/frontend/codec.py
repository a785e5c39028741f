"""Documents -> Cluster: every value read by the type its key wants, defaults applied, every mistake at its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gslc.frontend import names, sizes
from gslc.frontend.fields import MAX_PROBLEMS, EnoughProblems, Fields, Problems, Scan, read_fields
from gslc.frontend.hosts import GpuTable, HostDefaults, read_engines, read_host
from gslc.frontend.models import MODEL_KEYS, check_model, read_defaults, read_model
from gslc.frontend.places import DocumentPlaces
from gslc.frontend.references import check_references
from gslc.frontend.source import Document, Map, Mark, Node
from gslc.frontend.tokens import TOKEN
from gslc.ir.diagnostic import Diagnostic, Outcome, has_errors, sort_key
from gslc.ir.inputs import Cluster, EnginePin, Host, Model
from gslc.ir.record import dataclass

BUILTIN_TARGETS = ("systemd", "compose", "nomad")
BUILTIN_BACKENDS = ("llama-box", "llama.cpp", "vllm", "vox-box", "custom")
DEFAULT_PORT_RANGE = (20_000, 29_999)
FIRST_EPHEMERAL_PORT = 32_768  # Linux: net.ipv4.ip_local_port_range
CLUSTER_KEYS = frozenset(
    {"version", "name", "target", "include", "port_range", "engines", "defaults", "hosts", "models"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words that plug-ins may add to."""

    targets: tuple[str, ...]
    backends: tuple[str, ...]

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that can be pinned."""
        return tuple(backend for backend in self.backends if backend != "custom")


def read_cluster(
    documents: tuple[Document, ...],
    gpu_table: GpuTable,
    *,
    targets: tuple[str, ...] = BUILTIN_TARGETS,
    backends: tuple[str, ...] = BUILTIN_BACKENDS,
) -> Outcome[Cluster]:
    """The cluster that the documents describe (the cluster file first, then its includes), or every mistake in them."""
    problems = Problems()
    problems.found.extend(found for document in documents for found in document.duplicates)
    words = Words(targets=targets, backends=backends)
    scans = tuple(Scan(document, problems) for document in documents)
    try:
        cluster = read_parts(scans, words, gpu_table)
    except EnoughProblems:
        cluster = None
        message = f"there are more than {MAX_PROBLEMS} mistakes; the rest was not looked for"
        scans[0].note(0, "GS177", message, "mend these first")
    found = tuple(sorted((*problems.found, *stray_tokens(documents, problems.found)), key=sort_key))
    return Outcome(value=None if has_errors(found) else cluster, diagnostics=found)


def stray_tokens(documents: tuple[Document, ...], known: list[Diagnostic]) -> list[Diagnostic]:
    """A refusal for every literal token that stands where no other check looked: in names, labels, comments."""
    lines = {(one.place.file, one.place.line) for one in known if one.code == "GS160"}
    stray: list[Diagnostic] = []
    for document in documents:
        for match in TOKEN.finditer(document.text):
            place = document.place(match.start() * 2)  # a mark is twice the offset, plus one for a quoted scalar
            if (place.file, place.line) not in lines and len(stray) < MAX_PROBLEMS:
                stray.append(
                    Diagnostic(
                        code="GS160",
                        place=place,
                        message="holds a literal token or password",
                        help="remove it, and revoke the token: this file is made to be committed",
                    )
                )
    return stray


def read_parts(scans: tuple[Scan, ...], words: Words, gpu_table: GpuTable) -> Cluster:
    """The cluster, of use only where no mistake was noted. Raises EnoughProblems."""
    problems = scans[0].problems
    top = read_top(scans[0])
    for scan in scans[1:]:
        check_version(Fields(scan, "", scan.document.root, 0), required=False)
    target_name = names.choice(*words.targets)
    target = top.take("target", target_name, words.targets[0])
    engines = read_engine_pins(scans, words)
    defaults = HostDefaults(target=target, target_name=target_name, engines=words.engines, gpu_table=gpu_table)
    hosts = read_hosts(scans, defaults)
    models = read_models(scans, words)
    if not hosts and not problems.found:
        scans[0].refuse(0, "GS176", "the cluster has no hosts", "add one: hosts: {atlas: {memory: 64GiB}}")
    cluster = Cluster(
        name=top.need("name", names.name, "", "write one: name: lab"),
        target=target,
        port_range=top.take("port_range", sizes.port_range, DEFAULT_PORT_RANGE),
        engines=engines,
        hosts=tuple(host for _, host in hosts),
        models=tuple(model for _, model in models),
        places=DocumentPlaces(tuple(scan.document for scan in scans)),
        file=scans[0].document.file,
    )
    check_ports(top, cluster)
    if not has_errors(problems.found):
        check_references(cluster, {host.name: (fields, host) for fields, host in hosts}, models, problems)
    return cluster


def read_top(scan: Scan) -> Fields:
    """The top level of the cluster file."""
    top = read_fields(scan, scan.document.root, 0, "", CLUSTER_KEYS)
    check_version(top, required=True)
    return top


def check_version(top: Fields, *, required: bool) -> None:
    """Note a file that is written for another version of gslc."""
    if not top.has("version") and not required:
        return
    version = top.need("version", sizes.whole_number(0, 1_000_000), 1, "begin with the line: version: 1")
    if version != 1:
        top.refuse(
            "version", "GS179", f"version is {version}; this gslc reads version 1", "write version: 1, or update gslc"
        )


def check_ports(top: Fields, cluster: Cluster) -> None:
    """Warn of a port range that the kernel hands out too."""
    first, last = cluster.port_range
    if last >= FIRST_EPHEMERAL_PORT:
        message = (
            f"port_range {first}-{last} reaches into the ports that Linux gives to outgoing connections (32768-60999)"
        )
        found = top.find("port_range")
        mark = found[1][1] if found else 0
        action = "end it at 32767 or below, or reserve it with net.ipv4.ip_local_reserved_ports"
        top.scan.refuse(mark, "GS178", message, action, severity="warning")


def section_entries(scans: tuple[Scan, ...], section: str) -> Iterator[tuple[Scan, str, Node, Mark]]:
    """The entries of a joined section, sorted by name; a section that is no map is noted."""
    entries = []
    for scan in scans:
        found = scan.document.root.get(section)
        if found is None:
            continue
        for name, (node, mark, key_mark) in scan.entries(found[0], found[1], section).items():
            read = scan.scalar(name, key_mark | 1, f"the name of a {section[:-1]}", names.name, None)
            entries.append((scan, read if read is not None else name, node, mark))
    entries.sort(key=lambda entry: entry[1])
    return iter(entries)


def read_engine_pins(scans: tuple[Scan, ...], words: Words) -> dict[str, EnginePin]:
    """The engine pins of the cluster, sorted by name."""
    pins: dict[str, EnginePin] = {}
    for scan in scans:
        pins.update(read_engines(Fields(scan, "", scan.document.root, 0), words.engines))
    return dict(sorted(pins.items()))


def read_hosts(scans: tuple[Scan, ...], defaults: HostDefaults) -> list[tuple[Fields, Host]]:
    """The hosts, sorted by name, each with the map it was read from."""
    hosts = []
    for scan, name, node, mark in section_entries(scans, "hosts"):
        fields = Fields(scan, f"host {name}", node if isinstance(node, Map) else {}, mark)
        hosts.append((fields, read_host(scan, name, node, mark, defaults)))
    return hosts


def read_models(scans: tuple[Scan, ...], words: Words) -> list[tuple[Fields, Model]]:
    """The models, sorted by name, each with the map it was read from and what it inherits."""
    written = scans[0].document.root.get("defaults")
    inherited = read_defaults(scans[0], written[0], written[1], words.backends) if written else None
    models = []
    for scan, name, node, mark in section_entries(scans, "models"):
        owner = f"model {name}"
        fields = replace(read_fields(scan, node, mark, owner, MODEL_KEYS), inherited=inherited)
        model = read_model(name, fields, words.backends)
        if isinstance(node, Map):
            check_model(name, fields, model)
        models.append((fields, model))
    return models
