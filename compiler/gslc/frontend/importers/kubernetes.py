"""`kubectl get nodes -o json` -> hosts."""

from __future__ import annotations

from gslc.frontend.importers.foreign import as_list, as_map, integer_of, member, read_json, text_of
from gslc.frontend.importers.hosts import add_host
from gslc.frontend.importers.platforms import capability_of
from gslc.frontend.importers.records import MIB, CardTable, Findings, ProbedCard

KUBERNETES_COMMAND = "kubectl get nodes -o json"
_UNITS = {
    "Ki": 1024,
    "Mi": 1024**2,
    "Gi": 1024**3,
    "Ti": 1024**4,
    "k": 1000,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "": 1,
}
# Labels that the system writes, not people: they would only be noise, or say what gslc's own labels say.
_SYSTEM_LABELS = ("kubernetes.io", "k8s.io", "nvidia.com", "amd.com", "feature.node", "beta.")
MOST_GPUS = 64  # of one node; a count above it is no count of cards


def kubernetes_hosts(found: Findings, text: str, table: CardTable, *, uuids: bool) -> None:
    """The nodes of a list (or one node). GPUs come from the labels of feature discovery; no UUIDs there."""
    value = read_json(text, KUBERNETES_COMMAND)
    taken: set[str] = set()
    for node in as_list(member(value, "items")) or [value]:
        if text_of(node, "kind") not in (None, "Node"):
            continue
        name = text_of(node, "metadata", "name")
        if name is None:
            continue
        labels = {
            key: item for key, item in as_map(member(node, "metadata", "labels")).items() if isinstance(item, str)
        }
        if "-MIG-" in labels.get("nvidia.com/gpu.product", "") or any(
            key.startswith("nvidia.com/mig-") for key in labels
        ):
            found.say("GS187", f"node {name} is left out: its GPUs run MIG; gslc numbers whole cards")
            continue
        addresses = {
            text_of(row, "type"): text_of(row, "address") for row in as_list(member(node, "status", "addresses"))
        }
        add_host(
            found,
            name,
            taken,
            table,
            _node_cards(found, name, labels, member(node, "status", "capacity")),
            uuids=uuids,
            address=addresses.get("InternalIP") or addresses.get("Hostname"),
            system=text_of(node, "status", "nodeInfo", "operatingSystem") or labels.get("kubernetes.io/os"),
            machine=text_of(node, "status", "nodeInfo", "architecture") or labels.get("kubernetes.io/arch"),
            memory_bytes=_quantity(text_of(node, "status", "capacity", "memory")),
            labels={key: item for key, item in labels.items() if not any(part in key for part in _SYSTEM_LABELS)},
        )


def _node_cards(found: Findings, node: str, labels: dict[str, str], capacity: object) -> list[ProbedCard]:
    product = labels.get("nvidia.com/gpu.product")
    count = integer_of(labels, "nvidia.com/gpu.count") or integer_of(capacity, "nvidia.com/gpu") or 0
    if product is not None and count:
        # With sharing switched on the product ends in -SHARED and the capacity is a multiple; the count label is not.
        memory_mib = integer_of(labels, "nvidia.com/gpu.memory")
        major, minor = labels.get("nvidia.com/gpu.compute.major"), labels.get("nvidia.com/gpu.compute.minor")
        card = ProbedCard(
            name=product.removesuffix("-SHARED").replace("-", " "),
            vendor="nvidia",
            reported_bytes=memory_mib * MIB if memory_mib else None,
            compute_capability=capability_of(f"{major}.{minor}"),
        )
        return [card] * min(count, MOST_GPUS)
    product = labels.get("amd.com/gpu.product-name")
    count = integer_of(capacity, "amd.com/gpu") or 0
    if product is not None and count:
        vram = _quantity((labels.get("amd.com/gpu.vram") or "").replace("G", "Gi"))
        return [ProbedCard(name=product.replace("_", " "), vendor="amd", reported_bytes=vram)] * min(count, MOST_GPUS)
    gpus = integer_of(capacity, "nvidia.com/gpu") or integer_of(capacity, "amd.com/gpu")
    if gpus:
        found.say(
            "GS186",
            f"node {node} has {gpus} GPUs, but no label says which; they are left out",
            "install GPU feature discovery, or write `gpus:` by hand",
        )
    return []


def _quantity(text: str | None) -> int | None:
    """A Kubernetes quantity in bytes."""
    if not text:
        return None
    digits = text.rstrip("KMGTik")
    unit = _UNITS.get(text[len(digits) :])
    return (
        int(digits) * unit if digits.isascii() and digits.isdigit() and len(digits) < 19 and unit is not None else None
    )
