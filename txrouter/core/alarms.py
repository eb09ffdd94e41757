"""Things that want to be seen to at some time."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from itertools import count
from typing import Generic, TypeVar

__all__ = ["Alarms", "soonest"]

T = TypeVar("T", bound=Hashable)


def soonest(*deadlines: float | None) -> float | None:
    """The first of them; None if there is none."""
    return min([each for each in deadlines if each is not None], default=None)


class Alarms(Generic[T]):
    """One time for each; it is the earliest that was set."""

    def __init__(self) -> None:
        self._times: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []
        """Those times, and some that no longer count."""
        self._order = count()

    def set(self, thing: T, when: float) -> None:
        """It wants to be seen to then, if not sooner."""
        if when < self._times.get(thing, float("inf")):
            self._times[thing] = when
            heapq.heappush(self._heap, (when, next(self._order), thing))

    def clear(self, thing: T) -> None:
        """It does not want to be seen to any more, if it did."""
        self._times.pop(thing, None)

    def forget(self, thing: T) -> None:
        """It wants nothing any more."""
        self._times.pop(thing, None)

    def next_deadline(self) -> float | None:
        """When something wants to be seen to next; None for never."""
        heap = self._heap
        while heap and self._times.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[T]:
        """Everything whose time has come, once."""
        while (when := self.next_deadline()) is not None and when <= now:
            thing = heapq.heappop(self._heap)[2]
            del self._times[thing]
            yield thing
