"""What other programs call operating systems, processors and vendors -> what cluster.yaml calls them."""

from __future__ import annotations

import re

from gslc.ir.inputs import Arch, Os, Vendor

_ARCHES: dict[str, Arch] = {"amd64": "amd64", "x86_64": "amd64", "x64": "amd64", "arm64": "arm64", "aarch64": "arm64"}
_SYSTEMS: dict[str, Os] = {
    "linux": "linux",
    "darwin": "darwin",
    "macos": "darwin",
    "windows": "windows",
    "win32nt": "windows",
}
_VENDORS: dict[str, Vendor] = {
    "nvidia": "nvidia",
    "amd": "amd",
    "ati": "amd",
    "apple": "apple",
    "ascend": "ascend",
    "huawei": "ascend",
    "intel": "intel",
    "mthreads": "mthreads",
    "moore threads": "mthreads",
}
LABEL_KEY_OR_VALUE = 253  # longer ones are no labels of people


def arch_of(text: str | None) -> Arch | None:
    """The processor, or None where gslc has no such one."""
    return _ARCHES.get((text or "").strip().lower())


def os_of(text: str | None) -> Os | None:
    """The operating system, or None where gslc has no such one."""
    return _SYSTEMS.get((text or "").strip().lower())


def vendor_of(text: str | None) -> Vendor | None:
    """The maker of a card, or None where gslc has no such one."""
    return _VENDORS.get((text or "").strip().lower())


def capability_of(text: str | None) -> tuple[int, int] | None:
    """`8.9` as (8, 9); None for anything else (AMD's is `gfx942`)."""
    match = re.fullmatch(r"([0-9]{1,2})\.([0-9])", text or "")
    return (int(match.group(1)), int(match.group(2))) if match else None
