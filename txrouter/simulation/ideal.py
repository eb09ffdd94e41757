"""The best that could be: one queue that costs nothing and knows everything about the consumers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Protocol

__all__ = ["Work", "ideal_times"]


class Work(Protocol):
    """A job: when it is due, and what it costs, in seconds at speed 1."""

    @property
    def due(self) -> float: ...

    @property
    def cost(self) -> float: ...


def ideal_times(jobs: Iterable[Work], speeds: Sequence[float]) -> list[float]:
    """Seconds from arrival to completion of each job, if the oldest always went to the fastest idle consumer.

    :param jobs: in the order they arrive.
    :param speeds: of the consumers; at least one.
    """
    idle = [(-speed, index) for index, speed in enumerate(speeds)]
    heapify(idle)
    busy: list[tuple[float, int]] = []
    times: list[float] = []
    now = 0.0
    for job in jobs:
        now = max(now, job.due)
        while busy and (busy[0][0] <= now or not idle):
            finish, index = heappop(busy)
            now = max(now, finish)
            heappush(idle, (-speeds[index], index))
        _, index = heappop(idle)
        finish = now + job.cost / speeds[index]
        heappush(busy, (finish, index))
        times.append(finish - job.due)
    return times
