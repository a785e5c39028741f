"""Random numbers that are the same on every machine and in every Python."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")
FACTOR, STEP, MASK = 6364136223846793005, 1442695040888963407, 0xFFFFFFFFFFFFFFFF


class Dice:
    """A 64-bit linear congruential generator (Knuth's MMIX constants); the high bits are used."""

    __slots__ = ("state",)

    def __init__(self, seed: int) -> None:
        self.state = (seed * 2862933555777941757 + 3037000493) & 0xFFFFFFFFFFFFFFFF

    def below(self, limit: int) -> int:
        """A number from 0 to limit - 1."""
        state = self.state = (self.state * FACTOR + STEP) & MASK
        return (state >> 33) % limit

    def sample(self, values: list[T], count: int) -> list[T]:
        """Up to `count` different values, in random order; all of them where there are no more."""
        size = len(values)
        if size <= count:
            return values
        picked: dict[int, None] = {}
        state = self.state  # `below`, written out: half of a search's numbers are drawn here
        while len(picked) < count:
            state = (state * FACTOR + STEP) & MASK
            picked[(state >> 33) % size] = None
        self.state = state
        return [values[index] for index in picked]

    def shuffle(self, values: list[T]) -> None:
        """Put a list into random order."""
        state = self.state
        for index in range(len(values) - 1, 0, -1):
            state = (state * FACTOR + STEP) & MASK
            other = (state >> 33) % (index + 1)
            values[index], values[other] = values[other], values[index]
        self.state = state
