"""Consumers in order of some number, the lowest first: what policies that choose the least loaded have in common.

A heap of entries, of which only the newest of each consumer counts: to move one is to add an entry, and those that no
longer count are dropped when they come up, or all at once when most are like that. Moving takes O(log n), choosing
O(1) for each entry that was added.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from txrouter.interfaces import IConsumer

__all__ = ["Lowest"]

ROOM = 64
"""Entries that do not count, and are no trouble yet."""


class Lowest:
    """Those of the consumers that can be chosen. Among equals, the one that was put here first is first."""

    __slots__ = ("_heap", "_next", "_numbers")

    def __init__(self) -> None:
        self._heap: list[tuple[Any, int, IConsumer]] = []
        self._numbers: dict[IConsumer, int] = {}
        """Of the entry that counts."""
        self._next = count().__next__

    def __contains__(self, consumer: IConsumer) -> bool:
        return consumer in self._numbers

    def put(self, consumer: IConsumer, load: Any) -> None:
        """It can be chosen: after all that have the same load, or less. It may have been here before.

        :param load: a number, or a tuple of numbers.
        """
        heap, numbers = self._heap, self._numbers
        numbers[consumer] = number = self._next()
        heappush(heap, (load, number, consumer))
        if len(heap) > ROOM + 2 * len(numbers):
            self._heap = [entry for entry in heap if numbers.get(entry[2]) == entry[1]]
            heapify(self._heap)

    def discard(self, consumer: IConsumer) -> None:
        """It cannot be chosen, if it could."""
        self._numbers.pop(consumer, None)

    def all(self) -> Iterator[tuple[IConsumer, Any]]:
        """Those that can be chosen, and their loads, the first to be chosen first. For people: it sorts them."""
        for load, number, consumer in sorted(self._heap):
            if self._numbers.get(consumer) == number:
                yield consumer, load

    def first(self) -> IConsumer | None:
        """The one with the lowest load."""
        heap, numbers = self._heap, self._numbers
        while heap:
            _, number, consumer = heap[0]
            if numbers.get(consumer) == number:
                return consumer
            heappop(heap)
        return None
