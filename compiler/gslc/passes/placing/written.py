"""Where a setting of a model is written, and the model with another value of it or without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gslc.engines.vllm_settings import human_integer
from gslc.ir.inputs import Cluster, Model
from gslc.ir.record import dataclass

# The spellings in `args` of settings that have a key too, by what serves the model.
CONTEXT_SPELLINGS = {
    "vllm": ("--max-model-len",),
    "llama.cpp": ("-c", "--ctx-size"),
    "llama-box": ("-c", "--ctx-size"),
}
UTILIZATION_SPELLINGS = ("--gpu-memory-utilization",)
LAYERS_SPELLINGS = ("-ngl", "--gpu-layers", "--n-gpu-layers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One argument: the spelling as written, its value ("" where it has none), and which words it takes."""

    spelling: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A changed model, and the action that asks for it."""

    what: str
    action: str
    model: Model


def path_of(cluster: Cluster, model: Model, key: str) -> str:
    """The path under which a key of the model is written: its own, or that of `defaults` where it is inherited."""
    return f"defaults.{key}" if inherits(cluster, model, key) else f"models.{model.name}.{key}"


def inherits(cluster: Cluster, model: Model, key: str) -> bool:
    """Whether the model has the key from `defaults`."""
    places = cluster.places
    place = places.key("models", model.name, key)
    return place == places.key("defaults", key) != places.key("models", model.name)


def found_in(args: tuple[str, ...], spellings: tuple[str, ...]) -> tuple[Found, ...]:
    """Every place of one setting in `args`, as `--flag value` or `--flag=value`."""
    return tuple(_found(args, spellings))


def _found(args: tuple[str, ...], spellings: tuple[str, ...]) -> Iterator[Found]:
    for at, word in enumerate(args):
        spelling, equals, value = word.partition("=")
        # both engines read --flag_name as --flag-name
        plain = "--" + spelling[2:].replace("_", "-") if spelling.startswith("--") else spelling
        if plain not in spellings:
            continue
        if equals:
            yield Found(spelling=spelling, value=value, start=at, end=at + 1)
        elif at + 1 < len(args):
            yield Found(spelling=spelling, value=args[at + 1], start=at, end=at + 2)


def without(args: tuple[str, ...], found: tuple[Found, ...]) -> tuple[str, ...]:
    """The arguments less the found ones."""
    gone = {at for one in found for at in range(one.start, one.end)}
    return tuple(word for at, word in enumerate(args) if at not in gone)


def shorter_contexts(
    cluster: Cluster, model: Model, backend: str, *, default: int, least: int, trained: int = 0
) -> Iterator[Change]:
    """The model with half its context, a quarter and so on, where it is written: a key, or an item of `args`.

    trained: the length that the model was trained for, which llama-server's -c 0 stands for.
    """
    found = found_in(model.args, CONTEXT_SPELLINGS.get(backend, ()))
    if not found:
        context = (model.context or default) // 2
        while context >= least:
            action = f"set models.{model.name}.context to {context}"
            yield Change(what=f"context {context}", action=action, model=replace(model, context=context))
            context //= 2
        return
    last, args = found[-1], path_of(cluster, model, "args")
    # llama-server's -c is the total of all its slots
    slots = 1 if backend == "vllm" or model.context is not None else model.parallel or 1
    context = (model.context or human_integer(last.value) or trained) // 2
    while context >= least * slots:
        if model.context is not None:
            action = f"set models.{model.name}.context to {context}, and remove {last.spelling} from {args}"
            changed = replace(model, context=context, args=without(model.args, found))
        else:
            action = f"set {last.spelling} in {args} to {context}"
            kept = without(model.args, found)
            changed = replace(model, args=(*kept, last.spelling, str(context)))
        yield Change(what=f"context {context // slots}", action=action, model=changed)
        context //= 2


def default_utilizations(cluster: Cluster, model: Model, backend: str) -> Iterator[Change]:
    """The model of vLLM without its own share of each card, so that the default is lowered to what fits."""
    found = found_in(model.args, UTILIZATION_SPELLINGS) if backend == "vllm" else ()
    if backend != "vllm" or (model.gpu_memory_utilization is None and not found):
        return
    removals = []
    if model.gpu_memory_utilization is not None:
        removals.append(f"remove {path_of(cluster, model, 'gpu_memory_utilization')}")
    if found:
        removals.append(f"remove {found[-1].spelling} from {path_of(cluster, model, 'args')}")
    changed = replace(model, gpu_memory_utilization=None, args=without(model.args, found))
    yield Change(what="default gpu_memory_utilization", action=" and ".join(removals), model=changed)


def offloads(cluster: Cluster, model: Model) -> Iterator[Change]:
    """The model with as many layers on GPUs as fit: its number of layers no longer pinned, `cpu_offload` set."""
    found = found_in(model.args, LAYERS_SPELLINGS)
    unpinned, removals = model, []
    if model.gpu_layers is not None:
        removals.append(f"remove {path_of(cluster, model, 'gpu_layers')}")
        unpinned = replace(unpinned, gpu_layers=None)
    if found:
        removals.append(f"remove {found[-1].spelling} from {path_of(cluster, model, 'args')}")
        unpinned = replace(unpinned, args=without(model.args, found))
    said = " and ".join(removals)
    if removals:
        yield Change(what="no pinned layers", action=said, model=unpinned)
    if not model.cpu_offload:
        switch = f"set models.{model.name}.cpu_offload to true"
        offloaded = replace(unpinned, cpu_offload=True)
        yield Change(what="cpu_offload", action=f"{said} and {switch}" if said else switch, model=offloaded)
