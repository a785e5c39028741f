"""Bytes of one file by range, wherever the file is."""

from __future__ import annotations

import os
from typing import Protocol


class RangeReader(Protocol):
    """A file that can be read in pieces. `read` may return fewer bytes than asked for at the end of the file only."""

    name: str
    size_bytes: int

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on, at most `length` of them."""
        ...


class BytesReader:
    """A file that is in memory."""

    def __init__(self, content: bytes, name: str = "(bytes)") -> None:
        self.name = name
        self.size_bytes = len(content)
        self._content = content

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on, at most `length` of them."""
        return self._content[offset : offset + length]


class DescriptorReader:
    """An open file. The caller has made sure that it is a regular one, and closes it."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self.size_bytes = os.fstat(descriptor).st_size
        self._descriptor = descriptor

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on, at most `length` of them."""
        return os.pread(self._descriptor, length, offset)
