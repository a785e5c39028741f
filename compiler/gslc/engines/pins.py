"""Which build of an engine runs on which host: the host's pin over the cluster's over the release's default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gslc.ir.inputs import EnginePin


def resolve_pin(
    engine: str, default: EnginePin, cluster: Mapping[str, EnginePin], host: Mapping[str, EnginePin] | None = None
) -> EnginePin:
    """Field by field: the host's, else the cluster's, else the default; another version drops the default image."""
    found = default
    for pins in (cluster, host or {}):
        pin = pins.get(engine)
        if pin is None:
            continue
        if pin.version is not None and pin.version != found.version and pin.image is None:
            found = replace(found, image=None)
        found = EnginePin(
            version=pin.version or found.version, path=pin.path or found.path, image=pin.image or found.image
        )
    return found
