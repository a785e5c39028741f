"""What a process takes on a card beyond the buffers it prints: driver context, libraries, kernels, pools."""

from __future__ import annotations

from gslc.ir.inputs import Vendor
from gslc.ir.plan import Basis
from gslc.ir.record import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Bytes by model class, and where the number comes from.

    dense and sparse (experts, latent attention, recurrent blocks): context, cuBLAS and kernels after the first full
    batches; no_flash is added without flash attention; streamed is added where weights stay in host memory and are
    copied to the card for large batches; batch_per_token for each token of the ubatch above 512.
    """

    dense: int
    sparse: int
    no_flash: int
    streamed: int
    batch_per_token: int
    basis: Basis
    source: str


# NVIDIA: H200, driver 580.159, CUDA 13, 55 rows: driver_used_after_batches less the buffers that llama.cpp reports:
# dense 607-616 MiB, sparse 707-719 MiB, +100-120 MiB without flash attention, +10-30 MiB with weights streamed from the
# host, +20 MiB at ubatch 2048 (+5.5 KiB a token). The table takes the upper end of each class.
NVIDIA = Overhead(
    dense=617 * MIB,
    sparse=719 * MIB,
    no_flash=111 * MIB,
    streamed=24 * MIB,
    batch_per_token=6 << 10,
    basis="measured",
    source="H200, driver 580.159, CUDA 13",
)
# No public measurement by buffer exists for the others: the engine's own margin (--fit-target 1024 MiB), less what
# the margin keeps for the pools of other programs, is the bound that upstream's users run with.
AMD = Overhead(
    dense=768 * MIB,
    sparse=896 * MIB,
    no_flash=128 * MIB,
    streamed=64 * MIB,
    batch_per_token=8 << 10,
    basis="derived",
    source="bound below llama.cpp's own margin of 1024 MiB",
)
# Metal: one address space with the host; the context is small, the residency set adds the command buffers.
APPLE = Overhead(
    dense=256 * MIB,
    sparse=320 * MIB,
    no_flash=0,
    streamed=0,
    batch_per_token=0,
    basis="derived",
    source="bound: Metal shares memory with the host and has no driver context per process",
)
BY_VENDOR: dict[Vendor, Overhead] = {
    "nvidia": NVIDIA,
    "amd": AMD,
    "apple": APPLE,
    "ascend": AMD,
    "intel": AMD,
    "mthreads": AMD,
}
# The process itself in host RAM: program, libraries, threads, HTTP buffers. llama-server 0.7.0 (CPU build) holds
# 60-90 MiB beside its buffers; with CUDA's libraries about 300 MiB more are mapped and touched.
PROCESS = 96 * MIB
PROCESS_WITH_GPU = 384 * MIB
# Tokenizer in memory: a std::string and hash entries per token (gguf-parser-go assumes 64-168 bytes a token; a map
# entry and two strings of libstdc++ are 160), merges alike.
TOKEN_BYTES = 320


def overhead_of(vendor: Vendor) -> Overhead:
    """The table row of a vendor."""
    return BY_VENDOR[vendor]
