"""A bounded walk through the head of a file: a window of bytes that slides forward and is hashed as it leaves."""

from __future__ import annotations

import hashlib
import struct

from gslc.edges.ranges import RangeReader

LFS_POINTER = b"version https://git-lfs"  # what lies in a clone until `git lfs pull`


class HeaderError(Exception):
    """A header that can't be read: where, and what was expected there."""

    def __init__(self, name: str, offset: int, message: str) -> None:
        super().__init__(f"{name}: at byte {offset}: {message}")
        self.name = name
        self.offset = offset
        self.message = message


class Cursor:
    """Reads forward only, in chunks; never holds more than one chunk and one value."""

    def __init__(self, reader: RangeReader, *, limit_bytes: int, chunk_bytes: int) -> None:
        self._reader = reader
        self._limit = min(limit_bytes, reader.size_bytes)
        self._chunk = chunk_bytes
        self._hash = hashlib.sha256()
        self._base = 0  # offset in the file of the first byte of the window
        self.window = b""
        self.at = 0  # position in the window

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self._reader.name

    @property
    def offset(self) -> int:
        """Where in the file the next byte stands."""
        return self._base + self.at

    @property
    def bytes_left(self) -> int:
        """Bytes of the file from here on."""
        return self._reader.size_bytes - self.offset

    def fail(self, message: str, offset: int | None = None) -> HeaderError:
        """The error for this place."""
        return HeaderError(self.name, self.offset if offset is None else offset, message)

    def need(self, length: int, expected: str) -> None:
        """Makes `length` bytes available in the window from `at` on."""
        available = len(self.window) - self.at
        if available >= length:
            return
        if length > self.bytes_left:
            raise self.fail(f"expected {expected} of {length} bytes, the file ends after {max(0, self.bytes_left)}")
        if self.offset + length > self._limit:
            raise self.fail(f"the header is longer than {self._limit} bytes, which is as far as it is read")
        self._hash.update(self.window[: self.at])
        self._base += self.at
        kept = self.window[self.at :]
        self.at = 0
        parts = [kept]
        have = len(kept)
        while have < length:
            start = self._base + have
            wanted = min(max(self._chunk, length - have), self._limit - start)
            part = self._reader.read(start, wanted)
            if not part:
                raise HeaderError(
                    self.name,
                    start,
                    f"expected {expected}, the file ends here although it has {self._reader.size_bytes} bytes",
                )
            parts.append(part)
            have += len(part)
        self.window = b"".join(parts)

    def take(self, length: int, expected: str) -> bytes:
        """The next `length` bytes."""
        self.need(length, expected)
        start = self.at
        self.at += length
        return self.window[start : self.at]

    def number(self, shape: struct.Struct, expected: str) -> int:
        """The next integer."""
        self.need(shape.size, expected)
        value: int = shape.unpack_from(self.window, self.at)[0]
        self.at += shape.size
        return value

    def skip(self, length: int, expected: str) -> None:
        """Moves on by `length` bytes, hashing them, without ever holding them all."""
        if length > self.bytes_left:
            raise self.fail(f"expected {expected} of {length} bytes, the file ends after {max(0, self.bytes_left)}")
        while length > 0:
            step = min(length, max(1, len(self.window) - self.at), self._chunk)
            self.need(step, expected)
            self.at += step
            length -= step

    def digest(self) -> str:
        """sha256 of everything up to here, hex."""
        mark = self._hash.copy()
        mark.update(self.window[: self.at])
        return mark.hexdigest()
