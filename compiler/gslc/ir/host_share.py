"""Cards without memory of their own, and what they may take of their host's."""

from __future__ import annotations

from gslc.ir.inputs import HostShare

# Metal's recommendedMaxWorkingSetSize: two thirds of the memory up to 36 GiB, three quarters above.
METAL_SMALL_BYTES = 36 << 30


def shared_memory_bytes(share: HostShare, host_memory_bytes: int) -> int:
    """What a GPU may take of its host's memory: all (CUDA on Jetson, GB10), half (amdgpu's GTT), or Metal's limit."""
    if share == "all":
        return host_memory_bytes
    if share == "half":
        return host_memory_bytes // 2
    if host_memory_bytes <= METAL_SMALL_BYTES:
        return host_memory_bytes * 2 // 3
    return host_memory_bytes * 3 // 4
