"""Random numbers that are the same on every machine and in every Python."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A 64-bit linear congruential generator (Knuth's MMIX constants); the high bits are used."""

    __slots__ = ("state",)

    def __init__(self, seed: int) -> None:
        self.state = (seed * 2862933555777941757 + 3037000493) & 0xFFFFFFFFFFFFFFFF

    def below(self, limit: int) -> int:
        """A number from 0 to limit - 1."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return (self.state >> 33) % limit

    def sample(self, values: list[T], count: int) -> list[T]:
        """Up to `count` different values, in random order; all of them where there are no more."""
        if len(values) <= count:
            return values
        picked: dict[int, None] = {}
        while len(picked) < count:
            picked[self.below(len(values))] = None
        return [values[index] for index in picked]

    def shuffle(self, values: list[T]) -> None:
        """Put a list into random order."""
        for index in range(len(values) - 1, 0, -1):
            other = self.below(index + 1)
            values[index], values[other] = values[other], values[index]
