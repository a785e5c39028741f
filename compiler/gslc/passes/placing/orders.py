"""In which order replicas are placed."""

from __future__ import annotations

from gslc.passes.placing.options import Option, option_key
from gslc.passes.placing.problem import Problem, Replica

MILLION = 1_000_000


def first_option(replica: Replica) -> Option | None:
    """The best option of a model anywhere; None where it has only elastic ones."""
    task = replica.task
    if task.first is None:
        options = [option for zone in task.zones for option in zone.options[:1]]
        options += [option for option, _ in task.wide[:1]]
        task.first = (min(options, key=option_key, default=None),)
    return task.first[0]


def demand(replica: Replica) -> tuple[int, int]:
    """Bytes on GPUs and in host memory that the best option takes."""
    task = replica.task
    if task.demand is None:
        option = first_option(replica)
        task.demand = (option.bulk, sum([part.memory for part in option.parts])) if option is not None else (0, 0)
    return task.demand


def scarce_first(replica: Replica) -> tuple[int, ...]:
    """Higher priority, then more cards, then the largest demand, then by name."""
    option = first_option(replica)
    gpus, memory = demand(replica)
    return (-replica.task.priority, -(option.gpus if option is not None else 0), -gpus, -memory, replica.id)


def largest_first(replica: Replica) -> tuple[int, ...]:
    """Higher priority, then the largest demand: the order of first-fit and best-fit decreasing."""
    gpus, memory = demand(replica)
    return (-replica.task.priority, -gpus, -memory, replica.id)


def smallest_first(replica: Replica) -> tuple[int, ...]:
    """Higher priority, then the smallest demand: places most where not all fit."""
    gpus, memory = demand(replica)
    return (-replica.task.priority, gpus, memory, replica.id)


def as_declared(replica: Replica) -> tuple[int, ...]:
    """Higher priority, then by name."""
    return (-replica.task.priority, replica.id)


def shares(problem: Problem) -> list[int]:
    """How much of the fleet each replica needs, GPUs and host memory added, in millionths."""
    cards = sum(sum(row) for row in problem.gpu_capacity) or 1
    memory = sum(problem.memory_capacity) or 1
    found = []
    for replica in problem.replicas:
        gpus, ram = demand(replica)
        found.append(1 + gpus * MILLION // cards + ram * MILLION // memory)
    return found
