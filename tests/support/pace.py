"""How slow this machine is now beside the one on which the promised seconds were measured; promises scale with it."""

from __future__ import annotations

import time

import yaml

# The promises come from two shared cores of an EPYC Genoa, Python 3.11.7, where libyaml told the events of a cluster file
# of 149,000 nodes in 0.121 to 0.135 s of CPU. Telling events is what can be repeated anywhere: it is Python and C in turns.
REFERENCE_SECONDS_A_NODE = 0.128 / 149_000
_HOSTS = 300


def _text() -> str:
    """A cluster file like that one: hosts with cards, a label and an address."""
    lines = ["version: 1", "name: pace", "hosts:"]
    for number in range(_HOSTS):
        lines += [
            f"  h{number:04d}:",
            f"    address: 10.0.{number // 256}.{number % 256}",
            "    memory: 1TiB",
            f"    labels: {{rack: r{number // 20}}}",
            "    gpus: [{model: NVIDIA L40S, count: 8}]",
        ]
    return "\n".join(lines) + "\n"


def _seconds(text: str) -> float:
    """CPU seconds in which libyaml tells all events."""
    parser = yaml.CLoader(text)
    started = time.process_time()
    while parser.get_event().__class__ is not yaml.StreamEndEvent:
        pass
    return time.process_time() - started


def pace() -> float:
    """1 on a machine as fast as that one or faster, 2 on one half as fast."""
    text = _text()
    nodes = sum(isinstance(event, yaml.NodeEvent) for event in yaml.parse(text, Loader=yaml.CLoader))
    return max(1.0, min(_seconds(text) for _ in range(5)) / nodes / REFERENCE_SECONDS_A_NODE)
