"""The compute graphs of the architectures that llama.cpp builds."""

KNOWN: frozenset[str] = frozenset()


def is_known(architecture: str) -> bool:
    """True when the architecture's own graph is laid out here."""
    return architecture in KNOWN
