"""The key `requirements` of a model: memory that is stated instead of estimated, in its three forms."""

from __future__ import annotations

from gslc.frontend import sizes
from gslc.frontend.environment import read_command
from gslc.frontend.fields import Fields, Scan, read_fields
from gslc.frontend.source import Mark, Node, Sequence
from gslc.ir.inputs import Requirement, RequirementPart

MAX_ALTERNATIVES = 64
MAX_PARTS = 256
PART_KEYS = frozenset({"gpus", "gpu_memory", "memory", "offload", "command"})
ALTERNATIVE_KEYS = PART_KEYS | {"parts"}
part_gpus = sizes.whole_number(0, 1_024)


def read_requirements(scan: Scan, node: Node, mark: Mark, label: str) -> tuple[Requirement, ...]:
    """The alternatives, best first."""
    if isinstance(node, Sequence) and not node:
        scan.refuse(mark, "GS174", f"{label} is empty", "state one alternative: [{gpus: 1, gpu_memory: 3GiB}]")
    alternatives = []
    for number, (item, at) in enumerate(scan.items(node, mark, label, MAX_ALTERNATIVES), 1):
        fields = read_fields(scan, item, at, f"alternative {number} of {label}", ALTERNATIVE_KEYS)
        alternatives.append(read_alternative(fields))
    return tuple(alternatives)


def read_alternative(fields: Fields) -> Requirement:
    """One alternative: what one host gives, or `parts` over several."""
    if "parts" not in fields.entries:
        return Requirement(parts=(read_part(fields),), command=None)
    for key in ("gpus", "gpu_memory", "memory", "offload"):
        if key in fields.entries:
            fields.refuse(key, "GS174", f"{fields.owner} has both {key} and parts", f"state {key} in each part")
    command = fields.take_node("command", read_command, None)
    return Requirement(parts=fields.take_node("parts", read_parts, ()), command=command)


def read_parts(scan: Scan, node: Node, mark: Mark, label: str) -> tuple[RequirementPart, ...]:
    """The parts of one replica, leader first."""
    if isinstance(node, Sequence) and not node:
        scan.refuse(mark, "GS174", f"{label} is empty", "state what each host gives: [{gpus: 4, gpu_memory: 70GiB}]")
    return tuple(
        read_part(read_fields(scan, item, at, f"part {number} of {label}", PART_KEYS))
        for number, (item, at) in enumerate(scan.items(node, mark, label, MAX_PARTS), 1)
    )


def read_part(fields: Fields) -> RequirementPart:
    """What one host gives."""
    gpus = fields.take("gpus", part_gpus, 0)
    gpu_memory = fields.take("gpu_memory", sizes.demand_size, 0)
    memory = fields.take("memory", sizes.demand_size, 0)
    offload = fields.take("offload", sizes.demand_size, 0)
    check_part(fields, gpus, memory, offload)
    return RequirementPart(
        gpus=gpus,
        gpu_memory_bytes=gpu_memory,
        memory_bytes=memory,
        offload_bytes=offload,
        command=fields.take_node("command", read_command, None),
    )


def check_part(fields: Fields, gpus: int, memory: int, offload: int) -> None:
    """Note an alternative that asks for nothing or contradicts itself."""
    has_gpu_memory = "gpu_memory" in fields.entries
    if has_gpu_memory and not gpus:
        what = "gpu_memory on 0 GPUs" if "gpus" in fields.entries else "gpu_memory but no gpus"
        fields.refuse("gpu_memory", "GS174", f"{fields.owner} has {what}", "write on how many: gpus: 1")
    elif gpus and not has_gpu_memory:
        action = "write how much on each: gpu_memory: 3GiB"
        fields.refuse("gpus", "GS174", f"{fields.owner} has gpus but no gpu_memory", action)
    elif not gpus and not memory and not fields.entries.keys() - fields.known:
        fields.refuse("memory", "GS174", f"{fields.owner} asks for nothing", "state gpus and gpu_memory, or memory")
    if offload > memory:
        message = f"{fields.owner} has offload above memory ({offload} of {memory} bytes)"
        action = "offload is the part of memory that a better alternative has on a GPU"
        fields.refuse("offload", "GS174", message, action)
