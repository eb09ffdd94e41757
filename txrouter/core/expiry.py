"""Held deliveries that have a time to live."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from txrouter.core.deliveries import Delivery

__all__ = ["Expiry"]


class Expiry:
    """A heap of deadlines. An entry is not removed when its delivery leaves: it is passed over when its time comes,
    or swept out when most entries are like that."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Delivery]] = []
        self._order = count()
        self._sweep_at = 64

    def add(self, delivery: Delivery, deadline: float) -> None:
        """Watch a delivery that is being held."""
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if entry[2].shelf is not None]
            heapq.heapify(self._heap)
            self._sweep_at = 64 + 2 * len(self._heap)
        heapq.heappush(self._heap, (deadline, next(self._order), delivery))

    def next_deadline(self) -> float | None:
        """When something may have to be done next; None for never."""
        heap = self._heap
        while heap and heap[0][2].shelf is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[Delivery]:
        """Every delivery that is held and whose deadline has come, once."""
        while self._heap and self._heap[0][0] <= now:
            delivery = heapq.heappop(self._heap)[2]
            if delivery.shelf is not None:
                yield delivery
