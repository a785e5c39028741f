"""A host as a choice sees it that depends on what is free there."""

from __future__ import annotations

from gslc.ir.placement import FreeGpu, FreeHost
from gslc.passes.placing.problem import ModelTask, Problem
from gslc.passes.placing.state import ALONE, State


def free_host(problem: Problem, state: State, task: ModelTask, host: int) -> FreeHost:
    """A host as an elastic choice may see it: the model's pins and other models' exclusive cards left out."""
    source = problem.hosts[host]
    alone = task.candidates.request.model.exclusive_gpus
    users, free = state.users[host], state.free[host]
    allowed = range(len(free)) if task.pins is None else task.pins.get(host, ())
    zone = task.zone_at(host)
    assert zone is not None  # only eligible hosts are asked
    return FreeHost(
        name=source.name,
        host_class=zone.host_class,
        gpus=tuple(
            FreeGpu(index=card, kind=source.gpus[card].kind, free_bytes=free[card])
            for card in sorted(allowed)
            if card < len(free) and users[card] != ALONE and not (alone and users[card])
        ),
        memory_free=state.memory[host],
    )


def room_on(state: State, task: ModelTask, host: int) -> int:
    """The bytes that are free for a model on the cards of a host."""
    users, free = state.users[host], state.free[host]
    allowed = range(len(free)) if task.pins is None else task.pins.get(host, ())
    return sum(free[card] for card in allowed if card < len(free) and users[card] != ALONE)


def least_on_cards(task: ModelTask) -> int:
    """Fewer bytes than this on all cards together are not worth an estimate: three quarters of the weights.

    The rest, the token embeddings, may stay in host memory.
    """
    facts = task.candidates.request.facts
    return facts.gguf.file_bytes * 3 // 4 if facts is not None and facts.gguf is not None else 0
