"""`pull`: the consumer with the fewest messages in flight; among equals, the one that has waited longest.

The default, and right wherever consumers differ in speed or jobs in size: whoever finishes sooner asks sooner. Only a
consumer with credit is chosen, so one that grants one credit at a time is never sent a job while it works on another,
and the jobs wait where any consumer that becomes free can take them. With credit 1 this is a central queue, the best
there is without knowing the jobs; with more credit it is "least outstanding" or "join the shortest queue" (Winston,
"Optimality of the shortest line discipline", 1977).

Consumers with credit stand in queues, one for each number in flight, and the first of the lowest queue is chosen. Every
send and settlement moves a consumer from one queue to the end of another. The queues are doubly linked rings, which
Python changes in half the time of an OrderedDict; a heap holds the numbers of the queues that may not be empty.
Choosing and moving so cost the same for two consumers and for 10,000. One that has settled something is moved
only when something else happens: its settlements come many at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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
    IExplains,
)

__all__ = ["Options", "Pull", "balanced", "factory", "least_in_flight"]


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


@implementer(IDistributionPolicy, ICreditWatcher, IDeliveryWatcher, IDescribed, IExplains)
class Pull:
    """See the module."""

    __slots__ = ("_consumers", "_levels", "_only", "_queues", "_unmoved")

    by = "the fewest in flight; among equals, who has waited longest"

    def __init__(self) -> None:
        self._consumers: dict[IConsumer, None] = {}
        self._only: IConsumer | None = None
        """The only one there is: it needs no place."""
        self._queues: list[_Queue] = []
        """By how many are in flight."""
        self._levels: list[int] = []
        """A heap of the indices of all queues that are not empty, and of some that no longer are."""
        self._unmoved: IConsumer | None = None
        """The one that has just settled something, and is still where it was before."""

    def add(self, consumer: IConsumer) -> None:
        """It waits, if it has credit."""
        self._consumers[consumer] = None
        consumer.place = _Place(consumer)
        self._recount()
        self._move(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It waits no longer."""
        del self._consumers[consumer]
        place = consumer.place
        place.before.after = place.after
        place.after.before = place.before
        del place.before, place.after  # itself, perhaps
        if consumer is self._unmoved:
            self._unmoved = None
        self._recount()

    def _recount(self) -> None:
        """One alone is chosen without a queue, and moved into one when another comes."""
        only, self._only = self._only, None
        if only in self._consumers:
            self._move(only)
        if len(self._consumers) == 1:
            (self._only,) = self._consumers

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The first of the lowest queue."""
        only = self._only
        if only is not None:
            return only if only.credit > 0 else None
        if self._unmoved is not None:
            self._catch_up()
        levels = self._levels
        while levels:
            queue = self._queues[levels[0]]
            first = queue.after
            if first is not queue:
                return first.consumer
            queue.listed = False
            heappop(levels)
        return None

    def _move(self, consumer: IConsumer, delivery: IDelivery | None = None) -> None:
        """Put it at the end of the queue where it belongs now, wherever it was. This runs for every message."""
        if consumer is self._only:
            return
        if self._unmoved is not None:
            self._catch_up()
        place = consumer.place
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

    # One more in flight; or, if it was pre-settled, as many as before, and a turn had.
    sent = _move

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """One less in flight. It is moved when it has settled all that it settles now."""
        if consumer is not self._unmoved:
            self._catch_up()
            self._unmoved = consumer

    def _catch_up(self) -> None:
        unmoved, self._unmoved = self._unmoved, None
        if unmoved is not None:
            self._move(unmoved)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It begins or ceases to wait. Other changes of its credit make no difference."""
        place = consumer.place
        if (consumer.credit > 0) is (place.after is place):
            self._move(consumer)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float]]:
        """Those with credit, from queue to queue, each with what it has in flight."""
        if self._only is not None:
            if self._only.credit > 0:
                yield self._only, self._only.in_flight
            return
        if self._unmoved is not None:
            self._catch_up()
        for level in sorted(self._levels):
            queue = self._queues[level]
            place = queue.after
            while place is not queue:
                assert place.consumer is not None
                yield place.consumer, level
                place = place.after

    def describe(self) -> dict[str, object]:
        """How many consumers have credit, by what they have in flight, and who is next."""
        if self._unmoved is not None:
            self._catch_up()
        waiting = Counter(consumer.in_flight for consumer in self._consumers if consumer.credit > 0)
        first = self._only or (self._queues[min(waiting)].after.consumer if waiting else None)
        return {
            "next": first.id if first is not None and waiting else None,
            "waiting": {str(level): waiting[level] for level in sorted(waiting)},
        }


@dataclass(frozen=True)
class Options:
    """`pull` has no options."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    options = Options

    def __init__(self, name: str, summary: str) -> None:
        self.name = name
        self.summary = summary

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        return Pull()


factory = _Factory("pull", "the consumer with the fewest messages in flight, of those with credit")
least_in_flight = _Factory("least-in-flight", "another name for pull, which says what it does")
balanced = _Factory("balanced", "another name for pull, for configs made for other routers")
