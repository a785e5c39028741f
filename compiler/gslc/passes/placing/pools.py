"""Hosts of a zone by what is free on them, so that a search looks at one of those that are alike."""

from __future__ import annotations

from typing import TypeAlias

from gslc.passes.placing.options import Key

Room: TypeAlias = tuple[int, int, int]  # the most of any host: bytes on a card, on one that nobody uses, in host memory
Way: TypeAlias = tuple[str, int]  # what is asked of a host, and of how many cards: see State.value_of


class Pool:
    """The hosts of a zone, by what is free on them: hosts in the same condition are alike to every model.

    `spots` has the answers since the last change, by part and style: see Fitter.best_spot.
    `lists[way]` has (value, condition) sorted by value for one way of asking, see `State.values_of`.
    """

    __slots__ = ("buckets", "hosts", "lists", "room", "spots")

    def __init__(self, hosts: tuple[int, ...]) -> None:
        self.hosts = hosts
        self.buckets: dict[int, list[int]] = {}  # condition -> hosts, sorted
        self.lists: dict[Way, list[tuple[int, int]]] = {}
        self.room: Room | None = None  # see State.room_of; None: not asked for since the last change
        self.spots: dict[tuple[int, int], tuple[Key, tuple[int, tuple[int, ...]]] | None] = {}
