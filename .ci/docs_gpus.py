"""Prints docs/gpus.md from the GPU table: `python .ci/docs_gpus.py > docs/gpus.md`."""

from __future__ import annotations

import sys

from gslc.edges.gpu_table import RESOURCE, GpuCard, GpuTable, load_gpu_table
from gslc.edges.resources import resource_text

VENDORS = {
    "nvidia": "NVIDIA",
    "amd": "AMD",
    "apple": "Apple",
    "ascend": "Ascend",
    "intel": "Intel",
    "mthreads": "Moore Threads",
}
SHARES = {"all": "all of the host's", "half": "half of the host's", "metal": "2/3 of the host's up to 36 GiB, else 3/4"}
HEAD = """# The GPU table

Write a card in `hosts.*.gpus[].model` as its vendor's tool prints it (`nvidia-smi -L`, `rocm-smi --showproductname`).
Case, spaces, punctuation and the words `NVIDIA`, `GeForce`, `AMD`, `Radeon` may be left out as long as one card
remains: `rtx 4090` and `NVIDIA-GeForce-RTX-4090` are the same card, `RTX 4000` is three and therefore refused.

**Memory** is what a program can get on the card at most, not the size on the box: vLLM takes its share of what
`cudaMemGetInfo` calls total, and that is 2-9 % less. Each figure says where it is from:

- *measured*: read from the CUDA runtime on such a card for this table.
- *published*: read on such a card by somebody who published it (the link). Where only the vendor tool's total is
  published, the runtime's figure is that total less 384 MiB and 1 % (NVIDIA), nothing (AMD), 6 % (Ascend).
- *nominal*: the size on the box, less 384 MiB and 2 % (NVIDIA; after 1/16 where inline ECC is on as delivered),
  2 % (AMD), 6 % (Ascend), 7 % (Intel, Moore Threads). Capacity is always rounded down.

ECC that you switched on yourself on a workstation card with GDDR memory (RTX A6000, RTX 6000 Ada …) takes another 1/16:
state such a card by hand, or let `gslc import nvidia-smi` do it. Several cards exist with two sizes under one name
(RTX 4060 Ti, RTX 3060 …): the plain name is the smaller one.

A card that is not here:

```yaml
gpus:
  - {model: custom, vendor: nvidia, memory: 24GiB, compute_capability: "8.9", count: 2}
```

`gslc import` writes that for you, with the memory that the probe saw. MiB = 1,048,576 bytes.
"""


def memory_cell(card: GpuCard) -> str:
    """The memory column: MiB, or the share of the host's memory."""
    return SHARES[card.unified] if card.unified else f"{card.memory_mib:,} MiB"


def origin_cell(card: GpuCard) -> str:
    """The origin column: the mark, with its link."""
    if card.source is None:
        return card.mark
    return f"[{card.mark}]({card.source})" if card.source.startswith("https://") else f"{card.mark}: {card.source}"


def gpus_md(table: GpuTable) -> str:
    """The whole page."""
    parts = [HEAD]
    for vendor, title in VENDORS.items():
        cards = [card for card in table.cards if card.vendor == vendor]
        parts.append(f"\n## {title} ({len(cards)})\n")
        parts.append(
            "| model | also | memory | compute capability | architecture | figure |\n|---|---|---:|---|---|---|"
        )
        for card in cards:
            capability = "{}.{}".format(*card.compute_capability) if card.compute_capability else ""
            cells = (
                card.name,
                ", ".join(card.aliases),
                memory_cell(card),
                capability,
                card.architecture or "",
                origin_cell(card),
            )
            parts.append("| " + " | ".join(cells) + " |")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(gpus_md(load_gpu_table(resource_text(RESOURCE))))
