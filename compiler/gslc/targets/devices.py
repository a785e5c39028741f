"""How a process is shown its cards and no others: the variables and device nodes of each vendor's runtime."""

from __future__ import annotations

from gslc.ir.inputs import Cluster, Gpu, Host, Vendor
from gslc.ir.plan import Launch

# The variable by which each vendor's runtime chooses cards by index, for a process that runs on the host.
_VISIBLE: dict[Vendor, str] = {
    "nvidia": "CUDA_VISIBLE_DEVICES",
    "amd": "HIP_VISIBLE_DEVICES",
    "ascend": "ASCEND_RT_VISIBLE_DEVICES",
    "intel": "ZE_AFFINITY_MASK",
    "mthreads": "MUSA_VISIBLE_DEVICES",
}
# CUDA's own order is fastest first; the inventory is in nvidia-smi's, which is by PCI address.
_PCI_ORDER = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")

Variables = tuple[tuple[str, str], ...]


def host_of(cluster: Cluster, name: str) -> Host:
    """A host by name."""
    return next(host for host in cluster.hosts if host.name == name)


def process_variables(launch: Launch, host: Host) -> Variables:
    """Variables for a process on the host itself, where every card can be seen unless something hides it.

    A launch without cards is shown none: a CUDA build would else take a context and buffers on the first card even with
    all layers on the CPU. An unset variable is no pin at all; -1 hides all.
    """
    if not launch.gpus:
        return _hidden(host)
    order = (_PCI_ORDER,) if launch.vendor == "nvidia" else ()
    variable = _VISIBLE.get(launch.vendor) if launch.vendor else None
    if launch.gpu_selection == "argument" or variable is None:
        return order
    return tuple(sorted((*order, (variable, _indices(launch.gpus)))))


def container_variables(launch: Launch, host: Host) -> Variables:
    """Variables for a process in a container that was given exactly its own cards.

    Cards keep their PCI order inside and are numbered from 0, so a launch that wants them in another order says which.
    AMD's device nodes are given all together, so there the host's own numbers hold.
    """
    if not launch.gpus:
        # images of CUDA builds ask for all cards, and a host may have the NVIDIA runtime as Docker's default
        return (("NVIDIA_VISIBLE_DEVICES", "void"),) if "nvidia" in vendors_of(host) else ()
    if launch.vendor == "amd":
        return process_variables(launch, host)
    if launch.vendor == "mthreads":
        return (("MTHREADS_VISIBLE_DEVICES", _indices(tuple(sorted(launch.gpus)))),)
    renumbered = _indices(tuple(sorted(launch.gpus).index(index) for index in launch.gpus))
    order = (_PCI_ORDER,) if launch.vendor == "nvidia" else ()
    variable = _VISIBLE.get(launch.vendor) if launch.vendor else None
    return tuple(sorted((*order, *(((variable, renumbered),) if variable else ()))))


def device_ids(launch: Launch, host: Host) -> tuple[str, ...]:
    """What NVIDIA's container runtime calls the cards of a launch: UUIDs where all are known, else indices."""
    cards = {gpu.index: gpu for gpu in host.gpus}
    chosen = [cards[index] for index in sorted(launch.gpus)]
    return (
        tuple(card.uuid or str(card.index) for card in chosen)
        if _all_known(chosen)
        else tuple(str(card.index) for card in chosen)
    )


def device_nodes(launch: Launch) -> tuple[str, ...]:
    """Device nodes that a container needs for its cards; () for NVIDIA, whose runtime brings its own."""
    if launch.vendor == "amd":
        return ("/dev/dri", "/dev/kfd")
    if launch.vendor == "ascend":
        own = tuple(f"/dev/davinci{index}" for index in sorted(launch.gpus))
        return (*own, "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
    if launch.vendor == "intel":
        return ("/dev/dri",)
    return ()


def pins_memory(launch: Launch) -> bool:
    """True where a container needs the right to lock memory: NCCL and RDMA lock the buffers that they send from."""
    return launch.shared_memory_bytes > 0 or launch.group_restart


def vendors_of(host: Host) -> tuple[Vendor, ...]:
    """The vendors of a host's cards, sorted."""
    return tuple(sorted({gpu.kind.vendor for gpu in host.gpus}))


def _hidden(host: Host) -> Variables:
    return tuple(sorted((_VISIBLE[vendor], "-1") for vendor in vendors_of(host) if vendor in ("nvidia", "amd")))


def _indices(indices: tuple[int, ...]) -> str:
    return ",".join(str(index) for index in indices)


def _all_known(cards: list[Gpu]) -> bool:
    return all(card.uuid for card in cards)
