"""`nvidia-smi topo -m` -> the NVLink islands of a host."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gslc.frontend.importers.foreign import check_size
from gslc.frontend.importers.records import Findings, ImportedHost, Refused
from gslc.ir.diagnostic import Diagnostic, Place
from gslc.ir.record import dataclass

COMMAND = "nvidia-smi topo -m"
EXAMPLE = "atlas.xml, atlas.topo.txt"
_LOG = "<nvidia_smi_log"
MAX_CARDS = 64  # four times the largest NVSwitch host; the matrix grows with the square
# Newer drivers underline the header even where the output is no terminal: ESC[4m … ESC[0m.
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LINK = re.compile(r"NV[1-9][0-9]{0,2}\Z")
# What the tool's own legend lists besides NV#; SOC is what drivers before 396 called SYS.
_OTHER_PATHS = frozenset({"PIX", "PXB", "PHB", "NODE", "SYS", "SOC"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What a matrix says: how many cards, the groups linked throughout, and cards linked beyond their own group."""

    cards: int
    islands: tuple[tuple[int, ...], ...]
    beyond: tuple[int, ...] = ()


def is_topology(text: str) -> bool:
    """True for text with the header of a matrix before any XML."""
    head = text.partition("<")[0] if not text.lstrip("\ufeff \t\r\n").startswith("<") else ""
    return any(_is_header(words) for _, words in _rows(head, 1))


def read_topology(text: str, first_line: int = 1) -> Topology:
    """The islands of one matrix; Refused for a matrix that is damaged or of another kind."""
    check_size(text)
    rows = _rows(text, first_line)
    start, header = next((row for row in rows if _is_header(row[1])), (first_line, []))
    names = [word for word in header if re.fullmatch(r"GPU[0-9]+", word)]
    if names != [f"GPU{number}" for number in range(len(names))] or not 0 < len(names) <= MAX_CARDS:
        raise _damaged(f"the header names {', '.join(names[:8]) or 'no GPU'}; it should count from GPU0", start)
    linked: list[set[int]] = []
    for line, words in rows:
        if len(linked) == len(names):
            break
        if words[0] != names[len(linked)]:
            raise _damaged(f"the row of {names[len(linked)]} is missing", line)
        linked.append(_links(words, len(linked), len(names), line))
    if len(linked) < len(names):
        raise _damaged(f"the row of {names[len(linked)]} is missing", start)
    if "Legend:" in text and "NV#" not in text:
        raise Refused("GS180", "this matrix leaves NVLink out", f"import the output of `{COMMAND}`, not of -mp", start)
    for card, others in enumerate(linked):
        for other in others:
            if card not in linked[other]:
                raise _damaged(f"GPU{card} is linked to GPU{other}, and GPU{other} not to GPU{card}", start)
    islands = _islands(linked)
    home = {card: island for island in islands for card in island}
    beyond = tuple(card for card, others in enumerate(linked) if others - set(home.get(card, ())))
    return Topology(cards=len(names), islands=islands, beyond=beyond)


def _rows(text: str, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """The lines with words, without escape sequences, each with its number."""
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), first_line):
        words = _ESCAPE.sub("", line).split()
        if words:
            yield number, words


def _is_header(words: Sequence[str]) -> bool:
    """True for `GPU0 GPU1 … CPU Affinity`; the row of GPU0 goes on with its X."""
    return words[0] == "GPU0" and words[1:2] != ["X"]


def _links(words: Sequence[str], card: int, count: int, line: int) -> set[int]:
    """The cards that one row shows as linked by NVLink."""
    cells = words[1 : count + 1]
    if len(cells) < count:
        raise _damaged(f"the row of GPU{card} has {len(cells)} cells, not {count}", line)
    linked = set()
    for other, cell in enumerate(cells):
        if _LINK.match(cell) and other != card:
            linked.add(other)
        elif (cell == "X") != (other == card) or (cell != "X" and cell not in _OTHER_PATHS):
            raise _damaged(
                f"GPU{card} has {cell[:20]!r} in the column of GPU{other}, which {COMMAND} doesn't print", line
            )
    return linked


def _islands(linked: Sequence[set[int]]) -> tuple[tuple[int, ...], ...]:
    """Groups in which every card is linked to every other, gathered from the lowest index on.

    With bridges and NVSwitch these are all linked cards. In the mesh of eight V100s (DGX-1) each card is linked to four
    others; there they are the two boards of four.
    """
    left = list(range(len(linked)))
    found: list[tuple[int, ...]] = []
    while left:
        island = [left.pop(0)]
        for card in list(left):
            if linked[card].issuperset(island):
                island.append(card)
                left.remove(card)
        if len(island) > 1:
            found.append(tuple(island))
    return tuple(found)


def _damaged(message: str, line: int) -> Refused:
    return Refused(
        "GS180", f"the topology matrix is damaged: {message}", f"import the output of `{COMMAND}` whole", line
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The text of a matrix, and where it stands."""

    file: str
    text: str
    first_line: int = 1


class Topologies:
    """The matrices among the files of one import, to be given to their hosts.

    A matrix belongs to the log whose file name is the same up to the first dot (atlas.xml, atlas.topo.txt); one matrix
    beside one log belongs to that whatever they are called.
    """

    def __init__(self, files: Sequence[tuple[str, str]]) -> None:
        self.left = [Matrix(file=file, text=text) for file, text in files if is_topology(text) and _LOG not in text]
        names = {matrix.file for matrix in self.left}
        self.logs = [(file, text) for file, text in files if file not in names]
        self.only = len(self.left) == len(self.logs) == 1

    def take(self, log: str, hosts: int) -> Matrix | None:
        """The matrix that belongs to a log of so many hosts; Refused where it would not be clear to which of them."""
        found = next((matrix for matrix in self.left if self.only or _stem(matrix.file) == _stem(log)), None)
        if found is None:
            return None
        self.left.remove(found)
        if hosts > 1:
            action = f"give each host's log a file of its own, or put each matrix behind its log in {log}"
            raise Refused(
                "GS186", f"it does not name its host, and {log} holds {hosts} of them", action, file=found.file
            )
        return found

    def without_log(self) -> Iterator[Diagnostic]:
        """An error for each matrix that no log took."""
        for matrix in self.left:
            yield Diagnostic(
                code="GS186",
                message=f"{matrix.file}: it does not name its host, and no log is called {_stem(matrix.file)}",
                place=Place(file=matrix.file),
                help=f"call it like the host's log up to the first dot: {EXAMPLE}",
            )


def with_matrices(file: str, logs: Sequence[tuple[int, str]]) -> list[tuple[int, str, Matrix | None]]:
    """The logs of one file with their first lines, each with the matrix that stands behind it."""
    found: list[tuple[int, str, Matrix | None]] = []
    for line, text in logs:
        if not found or not is_topology(text):
            found.append((line, text, None))
            continue
        matrix, mark, rest = text.partition("<")
        found[-1] = (*found[-1][:2], Matrix(file=file, text=matrix, first_line=line))
        if mark:
            found.append((line + matrix.count("\n"), mark + rest, None))
    return found


def with_links(found: Findings, host: ImportedHost, cards: int, matrix: Matrix) -> ImportedHost:
    """The host of so many cards with the islands of its matrix; a note says where they don't tell all."""
    try:
        topology = read_topology(matrix.text, matrix.first_line)
        if topology.cards != cards:
            message = f"it has {topology.cards} GPUs, and the log of {host.name} has {cards}"
            raise Refused("GS186", message, "take both outputs on the same host", matrix.first_line)
    except Refused as refused:
        refused.file = matrix.file
        raise
    if topology.beyond:
        groups = " and ".join(",".join(map(str, island)) for island in topology.islands)
        found.diagnostics.append(
            Diagnostic(
                code="GS197",
                message=f"not all linked cards of {host.name} are linked to each other; nvlink has groups that are, "
                f"GPU {groups}, and leaves out the links between them",
                place=Place(file=matrix.file, line=matrix.first_line),
                severity="note",
                help="write other groups into the result if yours are used otherwise",
            )
        )
    return replace(host, nvlink=topology.islands)


def _stem(file: str) -> str:
    """The name of a file up to its first dot, without its folder."""
    return re.split(r"[/\\]", file)[-1].partition(".")[0]
