"""Options from `requirements`: memory that the user measured, in place of an estimate."""

from __future__ import annotations

from functools import lru_cache

from gslc.ir.inputs import Model, Requirement
from gslc.ir.placement import Choice, HostClass, Options, PartNeed
from gslc.ir.plan import DeviceMemory, Layout

MOST_KNOWN = 16_384
# Asked again for every class of hosts. By identity: requirements are slow to hash, and those kept here stay alive.
_KNOWN: dict[tuple[int, bool], tuple[tuple[Requirement, ...], Options]] = {}


def stated_options(model: Model, host_class: HostClass, *, exclusive: bool | None = None) -> Options:
    """The alternatives of `model.requirements`, best first.

    `exclusive` defaults to the model's own `exclusive_gpus`. The choices are equal objects on every class, so that a
    replica of several parts may lie on hosts of different classes.
    """
    del host_class  # what is stated holds on every host
    alone = model.exclusive_gpus if exclusive is None else exclusive
    requirements = model.requirements
    known = _KNOWN.get((id(requirements), alone))
    if known is not None:
        return known[1]
    fixed = tuple([stated_choice(requirement, index, alone) for index, requirement in enumerate(requirements)])
    options = Options(fixed=fixed)
    if len(_KNOWN) >= MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN[id(requirements), alone] = (requirements, options)
    return options


@lru_cache(maxsize=65_536)  # asked again for every class of hosts; equal arguments get the same object
def stated_choice(requirement: Requirement, index: int, exclusive: bool) -> Choice:
    """The choice that one stated alternative means; `index` is its place in `requirements`."""
    parts = tuple(
        PartNeed(
            gpus=(DeviceMemory(stated=part.gpu_memory_bytes),) * part.gpus,
            host=DeviceMemory(stated=part.memory_bytes),
            same_kind=part.gpus > 1,
        )
        for part in requirement.parts
    )
    return Choice(
        rank=index,
        label=stated_label(requirement),
        parts=parts,
        layout=Layout(requirement=index),
        offloaded_bytes=sum(part.offload_bytes for part in requirement.parts),
        exclusive=exclusive,
        basis="stated",
        across_classes=len(parts) > 1,
    )


def stated_label(requirement: Requirement) -> str:
    """A stated alternative in words: "2 GPUs", "CPU", "4 + 4 GPUs on 2 hosts"."""
    counts = [part.gpus for part in requirement.parts]
    if not any(counts):
        return "CPU" if len(counts) == 1 else f"CPU of {len(counts)} hosts"
    if len(counts) == 1:
        return "one GPU" if counts[0] == 1 else f"{counts[0]} GPUs"
    return f"{' + '.join(str(count) for count in counts)} GPUs on {len(counts)} hosts"
