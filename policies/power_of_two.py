"""`power-of-two`: two consumers by chance, and of these the one with less in flight for its capacity.

For very many consumers, and where several routers feed the same ones. It needs no order among all consumers, so that
there is nothing to keep up to date; and no two routers run to the same consumer, as they do if each sends to the one
that it thinks is the least loaded. Two choices instead of one make the longest queue shorter by an exponent; more than
two add little (Mitzenmacher, "The power of two choices in randomized load balancing", 2001).

With `capacity`, a consumer is drawn as often as its capacity says, and what it has in flight is divided by that: with
uniform draws among unequal consumers the slow ones would be drawn more often than they can take (Mukhopadhyay, Karthik
and Mazumdar, "Randomized assignment of jobs to servers in heterogeneous clusters of shared servers", 2016). One with
less than the largest capacity is drawn again with the likelihood that it lacks, but eight times at most: among
capacities that are further apart than 1 to 8, small ones get somewhat more than their share of draws.

Where one router feeds all consumers, `pull` is better: it looks at all of them for the same price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExplains,
)
from txrouter.policies.ready import Ready, Rehearsal

__all__ = ["Options", "PowerOfTwo", "factory"]

DRAWS = 8
"""The most draws for one consumer."""


@dataclass(frozen=True)
class Options:
    """Whether consumers are equal."""

    capacity: bool = True
    """Whether a consumer's capacity counts; or all are taken to be equal."""


@implementer(IDistributionPolicy, ICapacityWatcher, ICreditWatcher, IDescribed, IExplains)
class PowerOfTwo:
    """See the module."""

    by = "of two that are drawn, the one with less in flight for its capacity"

    def __init__(self, options: Options, random: Random) -> None:
        self._ready = Ready(random)
        self._chance = random.random
        self._weighs = options.capacity
        self._capacities: dict[float, int] = {}
        """How many consumers there are of each, whether they have credit or not."""
        self._largest = 0.0

    def add(self, consumer: IConsumer) -> None:
        """It can be drawn, if it has credit."""
        consumer.place = consumer.capacity if self._weighs else 1.0
        self._count(consumer.place, 1)
        self._ready.changed(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It cannot be drawn."""
        self._ready.discard(consumer)
        self._count(consumer.place, -1)

    def _count(self, capacity: float, more: int) -> None:
        capacities = self._capacities
        capacities[capacity] = count = capacities.get(capacity, 0) + more
        if not count:
            del capacities[capacity]
        if capacity > self._largest:
            self._largest = capacity
        elif not count and capacity == self._largest:
            self._largest = max(capacities, default=0.0)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The less loaded of two."""
        first = self._ready.one()
        if first is None:
            return None
        if len(self._capacities) > 1:
            first = self._weighed(first, self._ready.one)
        second = self._ready.another(first)
        if second is None:
            return first
        if len(self._capacities) > 1:
            second = self._weighed(second, partial(self._ready.another, first))
        # the same as comparing (in flight + 1) / capacity
        if (second.in_flight + 1) * first.place < (first.in_flight + 1) * second.place:
            return second
        return first

    def _weighed(self, consumer: IConsumer, draw: Callable[[], IConsumer | None]) -> IConsumer:
        """The one that was drawn, or another in its place if it is small."""
        for _ in range(DRAWS - 1):
            if self._chance() * self._largest < consumer.place:
                break
            consumer = draw() or consumer
        return consumer

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It can be drawn if it has credit."""
        self._ready.changed(consumer)

    def capacity_changed(self, consumer: IConsumer) -> None:
        """It is drawn more or less often."""
        if self._weighs:
            self._count(consumer.place, -1)
            consumer.place = consumer.capacity
            self._count(consumer.place, 1)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float]]:
        """Those that are about to be drawn, with what they would have in flight for their capacity."""
        ready, chance = self._ready, self._chance
        self._ready = rehearsal = Rehearsal(ready)
        self._chance = rehearsal.chance
        try:
            chosen = self.select(delivery)
        finally:
            self._ready, self._chance = ready, chance
        return ((each, (each.in_flight + 1) / each.place) for each in rehearsal.candidates(chosen))

    def describe(self) -> dict[str, object]:
        """What the consumers with credit have in flight, and their capacities."""
        return {each.id: {"in_flight": each.in_flight, "capacity": each.place} for each in self._ready.all()}


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "power-of-two"
    summary = "of two consumers drawn by chance, the one with less in flight for its capacity"
    options = Options

    def build(self, options: Any, random: Any) -> IDistributionPolicy:
        return PowerOfTwo(options, random)


factory = _Factory()
