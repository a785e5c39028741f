"""The importers' one door: files of a kind -> hosts and models, with everything the user must know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TypeVar

from gslc.frontend.importers.cards import imported_cards
from gslc.frontend.importers.emit import document
from gslc.frontend.importers.hosts import say_no_memory
from gslc.frontend.importers.kinds import CARD_KINDS, KINDS, MODEL_KINDS
from gslc.frontend.importers.names import free_name
from gslc.frontend.importers.records import CardTable, Findings, ImportedHost, ImportedModel, ProbedCard, Refused
from gslc.frontend.importers.topology import Topologies, with_links, with_matrices
from gslc.frontend.importers.trial import accepted_host, accepted_model
from gslc.ir.diagnostic import Diagnostic, Outcome, Place, has_errors
from gslc.ir.inputs import Arch, Os
from gslc.ir.record import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the user says about the files. A list holds one value for each host in order, or one for all, or none."""

    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    memory_bytes: tuple[int, ...] = ()
    os: Os | None = None
    arch: Arch | None = None
    uuids: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What the files hold, and the lines that name them."""

    header: tuple[str, ...]
    hosts: tuple[ImportedHost, ...]
    models: tuple[ImportedModel, ...]

    def text(self) -> str:
        """A file for `include`."""
        return document(self.header, self.hosts, self.models)


def import_files(
    kind: str, files: Sequence[tuple[str, str]], table: CardTable, options: ImportOptions
) -> Outcome[Imported]:
    """What (name, text) files of a kind hold; None when a file can't be read as that kind or nothing is left."""
    hosts: list[ImportedHost] = []
    models: list[ImportedModel] = []
    diagnostics: list[Diagnostic] = []
    sources: list[str] = []
    seats = _Seats(options)
    topologies = Topologies(files if kind == "nvidia-smi" else ())
    if kind == "nvidia-smi":
        files = topologies.logs
    taken_hosts: dict[str, str] = {}
    taken_models: dict[str, str] = {}
    for file, text in files:
        found = Findings(file=file)
        try:
            sources.append(f"{_base_name(file)}{_read(kind, found, text, table, options, seats, topologies)}")
            _keep_accepted(found, table)
            for host in found.hosts:
                _once(taken_hosts, "host", host.name, file)
            for model in found.models:
                _once(taken_models, "model", model.name, file)
        except Refused as refused:
            where = refused.file or file
            place = Place(file=where, line=refused.line, column=refused.column)
            message = f"{where}: {refused.message}"
            found.diagnostics.append(
                Diagnostic(code=refused.code, message=message, place=place, help=refused.help_line)
            )
        hosts += found.hosts
        models += found.models
        diagnostics += found.diagnostics
    diagnostics += topologies.without_log()
    if not hosts and not models and not has_errors(diagnostics):
        diagnostics.append(
            Diagnostic(
                code="GS183",
                message=f"no {'model' if kind in MODEL_KINDS else 'host'} is left to import",
                place=Place(file=files[0][0] if files else "-"),
                help=f"this kind reads {KINDS[kind]}",
            )
        )
    if has_errors(diagnostics):
        return Outcome(value=None, diagnostics=tuple(diagnostics))
    header = (f"Made by `gslc import {kind}` from {', '.join(sources)}.",)
    imported = Imported(header=header, hosts=tuple(hosts), models=tuple(models))
    return Outcome(value=imported, diagnostics=tuple(diagnostics))


def _keep_accepted(found: Findings, table: CardTable) -> None:
    """Leave out, with a warning, what the codec would refuse."""
    hosts, models = [], []
    for host in found.hosts:
        kept_host, said = accepted_host(host, table, found.file)
        found.diagnostics += said
        hosts += [kept_host] if kept_host is not None else []
    for model in found.models:
        kept_model, said = accepted_model(model, table, found.file)
        found.diagnostics += said
        models += [kept_model] if kept_model is not None else []
    found.hosts[:], found.models[:] = hosts, models


def _once(taken: dict[str, str], what: str, name: str, file: str) -> None:
    if name in taken:
        raise Refused("GS189", f"the {what} {name} is in {taken[name]} too", "give each file its own name with --host")
    taken[name] = file


def _base_name(file: str) -> str:
    """The file's name without its folder, so that the result is the same wherever the file lay."""
    return "standard input" if file == "-" else PurePath(file).name


def _read(
    kind: str,
    found: Findings,
    text: str,
    table: CardTable,
    options: ImportOptions,
    seats: _Seats,
    topologies: Topologies,
) -> str:
    """Fill the findings from one file; returns what its name in the header should be followed by."""
    if kind == "nvidia-smi":
        return _nvidia(found, text, table, seats, topologies)
    if kind in CARD_KINDS:
        name = seats.host_of(found.file)
        _add_cards(found, seats, name, _card_reader(kind)(found, name, text), table)
    elif kind == "compose":
        from gslc.frontend.importers.compose import compose_models

        compose_models(found, text, options.hosts[0] if options.hosts else None)
    elif kind == "llama-swap":
        from gslc.frontend.importers.llama_swap import llama_swap_models

        llama_swap_models(found, text)
    elif kind == "gpustack-models":
        from gslc.frontend.importers.gpustack_models import gpustack_models

        gpustack_models(found, text)
    else:
        _machine_reader(kind)(found, text, table, uuids=options.uuids)
    return ""


def _card_reader(kind: str) -> Callable[[Findings, str, str], list[ProbedCard]]:
    if kind == "gpustack-runtime":
        from gslc.frontend.importers.gpustack_runtime import runtime_cards

        return runtime_cards
    from gslc.frontend.importers.amd import amd_smi_cards, rocm_smi_cards

    read = rocm_smi_cards if kind == "rocm-smi" else amd_smi_cards
    return lambda _found, _host, text: read(text)


def _machine_reader(kind: str) -> Callable[..., None]:
    if kind == "kubernetes":
        from gslc.frontend.importers.kubernetes import kubernetes_hosts

        return kubernetes_hosts
    if kind == "nomad":
        from gslc.frontend.importers.nomad import nomad_hosts

        return nomad_hosts
    if kind == "ansible":
        from gslc.frontend.importers.ansible import ansible_hosts

        return ansible_hosts
    from gslc.frontend.importers.gpustack_workers import gpustack_hosts

    return gpustack_hosts


def _nvidia(found: Findings, text: str, table: CardTable, seats: _Seats, topologies: Topologies) -> str:
    from gslc.frontend.importers.nvidia_smi import cards_of_log, driver_of_log, read_log, split_logs

    drivers: list[str] = []
    logs = with_matrices(found.file, list(split_logs(text)))
    beside = topologies.take(found.file, len(logs))
    for first_line, log, matrix in logs:
        root = read_log(log, first_line)
        name = seats.host_of(found.file)
        cards, sliced = cards_of_log(root)
        if sliced:
            which = ", ".join(str(index) for index in sliced)
            raise Refused(
                "GS187",
                f"GPU {which} of {name} runs MIG; gslc numbers whole cards",
                "switch MIG off (nvidia-smi -mig 0), or leave this host out",
                first_line,
            )
        drivers.append(driver_of_log(root))
        _add_cards(found, seats, name, cards, table)
        for own in (matrix, beside):
            if own is not None:
                found.hosts[-1] = with_links(found, found.hosts[-1], len(cards), own)
    also = f", {_base_name(beside.file)}" if beside is not None else ""
    return f" ({', '.join(dict.fromkeys(drivers))}){also}"


def _add_cards(found: Findings, seats: _Seats, foreign: str, cards: Sequence[ProbedCard], table: CardTable) -> None:
    """A host of which only the cards are known, with what the user said about it."""
    if not cards:
        raise Refused("GS183", f"{foreign} has no GPU in this file", "run the command as a user who may see the GPUs")
    name = free_name(found, "host", foreign, seats.taken)
    memory_bytes = seats.memory_bytes()
    if memory_bytes is None:
        say_no_memory(found, name)
    found.hosts.append(
        ImportedHost(
            name=name,
            address=seats.address(),
            os=seats.options.os,
            arch=seats.options.arch,
            memory_bytes=memory_bytes,
            unified_memory=any(table.shares_host_memory(card.name) for card in cards),
            gpus=imported_cards(found, name, cards, table, uuids=seats.options.uuids),
        )
    )


class _Seats:
    """Hands the names, addresses and sizes of the command line to the hosts of the files, in order."""

    def __init__(self, options: ImportOptions) -> None:
        self.options = options
        self.taken: set[str] = set()
        self.count = 0

    def host_of(self, file: str) -> str:
        """The next host's name: of the command line, else the file's name without its ending."""
        self.count += 1
        if self.options.hosts:
            if self.count > len(self.options.hosts):
                raise Refused(
                    "GS186",
                    f"there are more hosts than names: --host was given {len(self.options.hosts)} times",
                    "give --host NAME once for each host, in order",
                )
            return self.options.hosts[self.count - 1]
        if file == "-":
            raise Refused("GS186", "standard input has no name", "give --host NAME")
        if self.count > 1 and PurePath(file).stem in self.taken:
            raise Refused("GS186", "the file holds several hosts", "give --host NAME once for each of them, in order")
        return PurePath(file).stem

    def address(self) -> str | None:
        """The address of the host that was named last."""
        return self._nth(self.options.addresses)

    def memory_bytes(self) -> int | None:
        """The memory of the host that was named last: one value of the command line is for all hosts."""
        sizes = self.options.memory_bytes
        return sizes[0] if len(sizes) == 1 else self._nth(sizes)

    def _nth(self, values: Sequence[T]) -> T | None:
        return values[self.count - 1] if self.count <= len(values) else None
