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


def default_registry(backend_names: Iterable[str] = (), target_names: Iterable[str] = ()) -> Registry:
    """The built-in backends and targets, and the plug-ins among the names given.

    Plug-ins are looked for only when a name isn't built in: reading the metadata of all installed packages costs 46 ms.
    Raises LookupError for a name that nobody offers.
    """
    backends: dict[str, Backend] = {name: load(*where)() for name, where in BACKENDS.items()}
    targets: dict[str, Target] = {name: load(*where)(templates=resource_text) for name, where in TARGETS.items()}
    for name in sorted(set(backend_names) - backends.keys()):
        backends[name] = plugin(BACKEND_GROUP, name)()
    for name in sorted(set(target_names) - targets.keys()):
        targets[name] = plugin(TARGET_GROUP, name)(templates=resource_text)
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
