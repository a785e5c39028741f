"""Diagnostic codes of this room."""

from gslc.ir.diagnostic import CodeEntry, CodeTable

REPORT = "The planner and the checker disagree, which is a fault in gslc: report it with the cluster file and the lock."


def _entry(title: str, meaning: str) -> CodeEntry:
    return CodeEntry(title=title, meaning=meaning, remedy=REPORT)


CODES: CodeTable = {
    "GS500": _entry("a GPU is overcommitted", "Its instances need more memory than the card has, less its reserve."),
    "GS501": _entry(
        "host memory is overcommitted",
        "Its instances need more memory than it has, less its reserve. With unified memory the GPUs' bytes count.",
    ),
    "GS502": _entry("an exclusive GPU is shared", "An instance that must be alone on its cards has company there."),
    "GS503": _entry("an instance names a GPU wrongly", "A card that its host does not have, or the same card twice."),
    "GS504": _entry("a port is used twice", "Two processes on one host listen on the same port."),
    "GS505": _entry("a port is out of range", "A port is neither the model's own nor in the cluster's port_range."),
    "GS506": _entry("a host does not match the selector", "An instance lies on a host without the labels it asks for."),
    "GS507": _entry("anti-affinity is broken", "Two replicas of a model with `anti_affinity: host` share a host."),
    "GS508": _entry("a GPU outside the pins is used", "An instance uses a card that its model's `gpus` do not name."),
    "GS509": _entry("parts of a replica share a host", "The parts of a replica must lie on different hosts."),
    "GS510": _entry("a name is used twice", "Two processes, or two instances, would have the same name."),
    "GS511": _entry(
        "flags and devices disagree",
        "The engine's command line asks for another number of devices, layers or ranks than the plan gives it.",
    ),
    "GS512": _entry("an illegal tensor parallel size", "The model's attention heads can't be divided by the size."),
    "GS513": _entry("a host or target is wrong", "An instance lies on an unknown host, or on one with another target."),
    "GS514": _entry("a host without an address", "Another host must reach it, and its `address` is not given."),
    "GS515": _entry("replicas are missing", "A replica is neither placed nor unplaced, or it is there twice."),
    "GS516": _entry("a process is given other GPUs", "A launch has other cards than the shard it belongs to."),
    "GS517": _entry("a process lacks an engine", "A launch has neither a program nor an image to start."),
}
