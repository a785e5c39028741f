"""The GPU table: what a card is called, what it can do, and how many bytes a program gets on it.

The data file (schemas/data/gpus.json) holds observations only; the bytes are worked out here, always downwards:

- `runtime_mib`: what the runtime (cudaMemGetInfo, hipMemGetInfo) gave on such a card. Used as it is.
- `reported_mib`: what the vendor's tool prints as the total. Part of it belongs to the driver.
- `board_mib`: the size on the box. The tool prints a little less, the runtime less again.

A card without memory of its own (`unified`) takes a share of its host's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Literal, TypeAlias, cast

from gslc.ir.host_share import shared_memory_bytes
from gslc.ir.inputs import GpuKind, HostShare, Vendor
from gslc.ir.record import dataclass

RESOURCE = "schemas/data/gpus.json"
MIB = 1024 * 1024

Mark: TypeAlias = Literal["measured", "published", "nominal"]

# (fixed MiB, thousandths of the total) that a program does not get, by vendor. Each bounds every reading we know:
#  nvidia, of the reported total: T4 450 of 15360 MiB, RTX 4090 485 of 24564, A100-80 869 of 81920, H200 615 of 143771.
#  nvidia, of the board size: the tool itself prints up to 1.1 % less (RTX PRO 6000: 97887 of 98304 MiB).
#  amd: hipMemGetInfo's total is what rocm-smi prints: 196592 of 196608 MiB on a MI300X, 8144 of 8192 on an RX 9060 XT.
#  ascend: 60.97 GiB of 64 on a 910B. intel: 15473 of 16384 MiB on an Arc A770.
REPORTED_LOSS: Mapping[str, tuple[int, int]] = {
    "nvidia": (384, 10),
    "amd": (0, 0),
    "apple": (0, 0),
    "ascend": (0, 60),
    "intel": (0, 0),
    "mthreads": (0, 20),
}
BOARD_LOSS: Mapping[str, tuple[int, int]] = {
    "nvidia": (384, 20),
    "amd": (0, 20),
    "apple": (0, 0),
    "ascend": (0, 60),
    "intel": (0, 70),
    "mthreads": (0, 70),
}
# Inline ECC on GDDR keeps a sixteenth: L4 23034, A40 46068, T4 15360 MiB are 15/16 of 24, 48 and 16 GiB.
ECC_KEEPS = (15, 16)

ALIKE = 0.5  # the least likeness (difflib's ratio) worth suggesting
CONTAINED_BONUS = 0.4  # the number that people remember ("A100") outweighs the words around it

# What people leave out, from the left: the maker, the family, the series.
_LEFT_OUT = (
    ("nvidia", "amd", "intel", "apple", "huawei"),
    ("geforce", "radeon", "instinct", "ascend", "tesla"),
    ("rtx", "gtx", "rx"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCard:
    """One row of the table. Sizes in MiB, None where nobody read them; `printed_as` is the tool's name, if shared."""

    name: str
    vendor: Vendor
    mark: Mark
    aliases: tuple[str, ...] = ()
    printed_as: str | None = None
    compute_capability: tuple[int, int] | None = None
    architecture: str | None = None
    unified: HostShare | None = None
    board_mib: int | None = None
    reported_mib: int | None = None
    runtime_mib: int | None = None
    ecc: bool = False
    source: str | None = None

    @property
    def memory_mib(self) -> int:
        """What a program gets at least, in MiB; 0 for a card that takes a share of its host's memory."""
        if self.runtime_mib is not None:
            return self.runtime_mib
        if self.reported_mib is not None:
            return _less(self.reported_mib, REPORTED_LOSS[self.vendor])
        if self.board_mib is None:
            return 0
        board = self.board_mib * ECC_KEEPS[0] // ECC_KEEPS[1] if self.ecc else self.board_mib
        return _less(board, BOARD_LOSS[self.vendor])

    @property
    def kind(self) -> GpuKind:
        """The card as the compiler knows it; memory_bytes is 0 for a card that shares its host's memory."""
        return GpuKind(
            model=self.name,
            vendor=self.vendor,
            memory_bytes=self.memory_mib * MIB,
            compute_capability=self.compute_capability,
            architecture=self.architecture,
            host_share=self.unified,
        )


def _less(total_mib: int, loss: tuple[int, int]) -> int:
    fixed, thousandths = loss
    return max(0, total_mib - fixed - -(-total_mib * thousandths // 1000))


def normal_name(name: str) -> str:
    """The name without case, spaces, punctuation and trade marks: `NVIDIA-RTX-A4000` is `nvidiartxa4000`."""
    plain = name.casefold().replace("(r)", "").replace("(tm)", "")
    return "".join(character for character in plain if character.isalnum())


def _short_names(normal: str) -> Iterable[str]:
    """The name as given, then without maker, family and series: `rtx4090` and `4090` for a GeForce RTX 4090."""
    yield normal
    for words in _LEFT_OUT:
        for word in words:
            if normal.startswith(word) and len(normal) > len(word) + 1:
                normal = normal.removeprefix(word)
                yield normal
                break


class GpuTable:
    """The cards by every name they go by. A name that fits two cards finds none."""

    __slots__ = ("_by_name", "_by_printed", "_found", "cards")

    def __init__(self, cards: Iterable[GpuCard]) -> None:
        self.cards: tuple[GpuCard, ...] = tuple(cards)
        exact: dict[str, GpuCard] = {}
        short: dict[str, GpuCard | None] = {}
        printed: dict[str, list[GpuCard]] = {}
        for card in self.cards:
            for name in (card.name, *card.aliases):
                normal = normal_name(name)
                exact[normal] = card
                for shorter in _short_names(normal):
                    short[shorter] = card if short.get(shorter, card) is card else None
            printed.setdefault(normal_name(card.printed_as or card.name), []).append(card)
        self._by_name: dict[str, GpuCard | None] = {**short, **exact}
        self._found: dict[str, GpuKind | None] = {}  # one record for each name asked for: a thousand hosts share it
        self._by_printed = {name: tuple(same) for name, same in printed.items()}

    def card(self, name: str) -> GpuCard | None:
        """The row of a name, an alias, or a short form of either; None when unknown or when two cards share it."""
        wanted = normal_name(name)
        if not wanted:
            return None
        found = self._by_name.get(wanted)
        if found is None and wanted not in self._by_name:
            for shorter in _short_names(wanted):
                found = found or self._by_name.get(shorter)
        return found

    def find(self, name: str) -> GpuKind | None:
        """The card of that name; memory_bytes is 0 where it shares its host's memory (see `on_host`)."""
        if name not in self._found:
            card = self.card(name)
            self._found[name] = card.kind if card else None
        return self._found[name]

    def on_host(self, name: str, host_memory_bytes: int) -> GpuKind | None:
        """The card of that name in a host with so much memory: `find`, with the share of a unified card filled in."""
        found = self.find(name)
        if found is None or found.host_share is None:
            return found
        return replace(found, memory_bytes=shared_memory_bytes(found.host_share, host_memory_bytes))

    def variants(self, printed_name: str) -> tuple[GpuKind, ...]:
        """The cards that the vendor's tool prints under this one name, smallest first (RTX 4060 Ti: 8 and 16 GB)."""
        first = self.card(printed_name)
        if first is None:
            return ()
        same = self._by_printed.get(normal_name(first.printed_as or first.name), (first,))
        return tuple(card.kind for card in sorted(same, key=lambda card: (card.memory_mib, card.name)))

    def shares_host_memory(self, name: str) -> bool:
        """True for a card without memory of its own."""
        found = self.card(name)
        return found is not None and found.unified is not None

    def usable_bytes(self, vendor: Vendor, reported_bytes: int) -> int:
        """What a program gets of the total that the vendor's tool prints, by the rule for unmeasured cards."""
        return _less(reported_bytes // MIB, REPORTED_LOSS[vendor]) * MIB

    def nearest(self, name: str, count: int = 3) -> list[str]:
        """Up to `count` names of the table that look most like `name`, best first."""
        wanted = normal_name(name)
        *_, shortest = _short_names(wanted)
        scored: list[tuple[float, str]] = []
        for card in self.cards:
            best = 0.0
            for alias in (card.name, *card.aliases):
                for shorter in _short_names(normal_name(alias)):
                    ratio = SequenceMatcher(None, wanted, shorter, autojunk=False).ratio()
                    best = max(best, ratio + (CONTAINED_BONUS if shortest and shortest in shorter else 0.0))
            scored.append((-best, card.name))
        scored.sort()
        return [card_name for score, card_name in scored[:count] if -score >= ALIKE]


def _card(row: Mapping[str, object]) -> GpuCard:
    capability = row.get("compute_capability")
    major, _, minor = str(capability).partition(".")
    return GpuCard(
        name=str(row["name"]),
        vendor=cast("Vendor", row["vendor"]),
        mark=cast("Mark", row["mark"]),
        aliases=tuple(cast("list[str]", row.get("aliases", ()))),
        printed_as=cast("str | None", row.get("printed_as")),
        compute_capability=(int(major), int(minor)) if capability is not None else None,
        architecture=cast("str | None", row.get("architecture")),
        unified=cast("HostShare | None", row.get("unified")),
        board_mib=cast("int | None", row.get("board_mib")),
        reported_mib=cast("int | None", row.get("reported_mib")),
        runtime_mib=cast("int | None", row.get("runtime_mib")),
        ecc=bool(row.get("ecc", False)),
        source=cast("str | None", row.get("source")),
    )


def load_gpu_table(resource_text: str) -> GpuTable:
    """The table of the shipped file's text."""
    return GpuTable(_card(row) for row in json.loads(resource_text)["gpus"])
