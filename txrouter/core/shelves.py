"""In what order held deliveries stand: as they came, in an OrderedDict; or by rank, in a `Ranked`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from txrouter.core.deliveries import Delivery

__all__ = ["NORMAL", "Rank", "Ranked", "Shelf", "new_shelf"]

NORMAL = 4
"""The priority of a message that says nothing of it, as AMQP 1.0 has it."""

Rank: TypeAlias = tuple[int, float]
"""By its priority first, then by what the policy says; the lowest goes first."""


class Ranked:
    """Deliveries by their rank, which is not to change while they are here; among equals, in the order they came. It
    does what the core needs of an OrderedDict. Only the first is at hand: to go through all of them is to sort them."""

    def __init__(self) -> None:
        self._numbers: dict[Delivery, int] = {}
        self._heap: list[tuple[Rank, int, Delivery]] = []
        """Those that are here, and some that no longer are."""
        self._first = self._last = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Delivery]:
        heap, numbers = self._heap, self._numbers
        while heap and numbers.get(heap[0][2]) != heap[0][1]:
            heappop(heap)
        if heap:
            yield heap[0][2]
            there = sorted(entry for entry in heap[1:] if numbers.get(entry[2]) == entry[1])
            for _, _, delivery in there:
                yield delivery

    def __setitem__(self, delivery: Delivery, _: None) -> None:
        self._last += 1
        self._put(delivery, self._last)

    def _put(self, delivery: Delivery, number: int) -> None:
        assert delivery.rank is not None
        self._numbers[delivery] = number
        heappush(self._heap, (delivery.rank, number, delivery))

    def __delitem__(self, delivery: Delivery) -> None:
        del self._numbers[delivery]
        if len(self._heap) > 64 + 2 * len(self._numbers):
            self._heap = [entry for entry in self._heap if self._numbers.get(entry[2]) == entry[1]]
            heapify(self._heap)

    def move_to_end(self, delivery: Delivery, last: bool = True) -> None:
        """To the end, or the beginning, of those of its rank."""
        del self[delivery]
        if last:
            self[delivery] = None
        else:
            self._first -= 1
            self._put(delivery, self._first)


Shelf: TypeAlias = "OrderedDict[Delivery, None] | Ranked"


def new_shelf(ranked: bool) -> Shelf:
    """An empty one."""
    return Ranked() if ranked else OrderedDict()
