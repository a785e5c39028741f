"""What a graph can't be laid out without."""

from __future__ import annotations

from gslc.memory.gguf.graphs.tensor import Tensor


class UnlikeGraph(Exception):
    """The file lacks a tensor, or a number of its header, that every graph of its architecture has."""


def needed(tensor: Tensor | None, name: str) -> Tensor:
    """The tensor; UnlikeGraph where the file has none."""
    if tensor is None:
        raise UnlikeGraph(name)
    return tensor
