"""`pull`: the consumer with the fewest messages in flight; among equals, the one that has waited longest.

The default, and right wherever consumers differ in speed or jobs in size: whoever finishes sooner asks sooner. Only a
consumer with credit is chosen, so one that grants one credit at a time is never sent a job while it works on another,
and the jobs wait where any consumer that becomes free can take them. With credit 1 this is a central queue, the best
there is without knowing the jobs; with more credit it is "least outstanding" or "join the shortest queue" (Winston,
"Optimality of the shortest line discipline", 1977).

Consumers with credit stand in queues, one for each number in flight, and the first of the lowest queue is chosen. Every
send and settlement moves a consumer from one queue to the end of another. The queues are doubly linked rings, which
Python changes in half the time of an OrderedDict; a heap holds the numbers of the queues that may not be empty.
Choosing and moving so cost the same for one consumer and for 10,000.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDeliveryWatcher,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
)

__all__ = ["Options", "Pull", "factory"]


class _Place:
    """A consumer's place in a queue; or, linked to itself, in none."""

    __slots__ = ("after", "before", "consumer")

    def __init__(self, consumer: IConsumer | None) -> None:
        self.consumer = consumer
        self.before = self.after = self


class _Queue(_Place):
    """A ring of places that this one, which is nobody's, closes: `after` is the first, `before` the last."""

    __slots__ = ("listed",)

    def __init__(self) -> None:
        super().__init__(None)
        self.listed = False


@implementer(IDistributionPolicy, ICreditWatcher, IDeliveryWatcher, IDescribed)
class Pull:
    """See the module."""

    __slots__ = ("_levels", "_places", "_queues")

    def __init__(self) -> None:
        self._places: dict[IConsumer, _Place] = {}
        self._queues: list[_Queue] = []
        """By how many are in flight."""
        self._levels: list[int] = []
        """A heap of the indices of all queues that are not empty, and of some that no longer are."""

    def add(self, consumer: IConsumer) -> None:
        """It waits, if it has credit."""
        self._places[consumer] = _Place(consumer)
        self._requeue(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It waits no longer."""
        place = self._places.pop(consumer)
        place.before.after = place.after
        place.after.before = place.before

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The first of the lowest queue."""
        levels = self._levels
        while levels:
            queue = self._queues[levels[0]]
            first = queue.after
            if first is not queue:
                return first.consumer
            queue.listed = False
            heappop(levels)
        return None

    def _requeue(
        self, consumer: IConsumer, delivery: IDelivery | None = None, outcome: str = "", seconds: float = 0.0
    ) -> None:
        """Put it at the end of the queue where it belongs now, wherever it was. All in one: it runs twice a message."""
        place = self._places[consumer]
        before = place.before
        after = place.after
        before.after = after
        after.before = before
        if consumer.credit <= 0:
            place.before = place.after = place
            return
        level = consumer.in_flight
        try:
            queue = self._queues[level]
        except IndexError:
            self._queues += [_Queue() for _ in range(len(self._queues), level + 1)]
            queue = self._queues[level]
        if not queue.listed:
            queue.listed = True
            levels = self._levels
            if before is after and levels and before is self._queues[levels[0]]:
                # It was alone in the lowest queue. This one, next to that, is the lowest now.
                before.listed = False
                levels[0] = level
            else:
                heappush(levels, level)
        last = queue.before
        last.after = queue.before = place
        place.before = last
        place.after = queue

    # One more in flight, or one less; or, if it was pre-settled, as many as before, and a turn had.
    sent = settled = _requeue

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It begins or ceases to wait. Other changes of its credit make no difference."""
        place = self._places[consumer]
        if (consumer.credit > 0) is (place.after is place):
            self._requeue(consumer)

    def describe(self) -> dict[str, object]:
        """How many consumers have credit, by what they have in flight, and who is next."""
        waiting = Counter(consumer.in_flight for consumer in self._places if consumer.credit > 0)
        first = self._queues[min(waiting)].after.consumer if waiting else None
        return {"next": first and first.id, "waiting": {str(level): waiting[level] for level in sorted(waiting)}}


@dataclass(frozen=True)
class Options:
    """`pull` has no options."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "pull"
    summary = "the consumer with the fewest messages in flight, of those with credit"
    options = Options

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        return Pull()


factory = _Factory()
