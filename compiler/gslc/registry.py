"""The backends and targets of a run: the built-in ones, and those of installed plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from gslc.contracts import Backend, Registry, Target
from gslc.edges.resources import resource_text

# name -> (module, class). Imported when the registry is made; a new backend is one file and one line here.
BACKENDS = {
    "llama-box": ("gslc.backends.llama_box", "LlamaBox"),
    "llama.cpp": ("gslc.backends.llama_cpp", "LlamaCpp"),
    "vllm": ("gslc.backends.vllm", "Vllm"),
    "vox-box": ("gslc.backends.vox_box", "VoxBox"),
    "custom": ("gslc.backends.custom", "Custom"),
}
TARGETS = {
    "systemd": ("gslc.targets.systemd", "SystemdTarget"),
    "compose": ("gslc.targets.compose", "ComposeTarget"),
    "nomad": ("gslc.targets.nomad", "NomadTarget"),
}
BACKEND_GROUP = "gslc.backends"
TARGET_GROUP = "gslc.targets"


def registry_of(backend_names: Iterable[str], target_names: Iterable[str]) -> Registry:
    """The backends and targets of these names; only their modules are imported, since a build needs few of them.

    A name that isn't built in is a plug-in's: reading the metadata of all installed packages costs 46 ms, and happens
    only then. Raises LookupError for a name that nobody offers.
    """
    backends: dict[str, Backend] = {}
    for name in sorted(set(backend_names)):
        backends[name] = (load(*BACKENDS[name]) if name in BACKENDS else plugin(BACKEND_GROUP, name))()
    targets: dict[str, Target] = {}
    for name in sorted(set(target_names)):
        make = load(*TARGETS[name]) if name in TARGETS else plugin(TARGET_GROUP, name)
        targets[name] = make(templates=resource_text)
    return Registry(backends=backends, targets=targets)


def load(module: str, name: str) -> Callable[..., Any]:
    """A class by module and name."""
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def plugin(group: str, name: str) -> Callable[..., Any]:
    """The class that an installed package offers under a name. Raises LookupError."""
    from importlib.metadata import entry_points

    offers = sorted(entry_points(group=group, name=name), key=lambda entry: entry.value)
    if not offers:
        raise LookupError(name)
    found: Callable[..., Any] = offers[0].load()
    return found


def plugin_names(group: str) -> frozenset[str]:
    """All names that installed packages offer in a group."""
    from importlib.metadata import entry_points

    return frozenset(entry.name for entry in entry_points(group=group))
