"""Which hosts start container images, and which start programs."""

from __future__ import annotations

from gslc.ir.placement import HostClass


def runs_containers(host_class: HostClass, image: str | None) -> bool:
    """True where the supervisor starts `image`: compose always, Nomad by its driver, which is docker with an image."""
    if host_class.target == "nomad":
        return host_class.nomad_driver == "docker" or (host_class.nomad_driver is None and image is not None)
    return host_class.target == "compose"
