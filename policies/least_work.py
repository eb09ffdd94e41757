"""`least-work`: the consumer with the least work for its capacity, where messages differ in what they cost.

For jobs of which some take much longer than others, and consumers that take several ahead: there, `pull` counts a long
job and a short one alike, and short ones wait behind a long one. What a consumer has is the sum of the costs of what it
has in flight, and it is divided by its capacity. It is "least work left" (Harchol-Balter, Crovella and Murta, "On
choosing a task assignment policy for a distributed server system", 1999), but that what is left of a job that has been
begun is not known, and all of it counts. Where consumers grant one credit at a time there is nothing to weigh: `pull`
does as well.

It is for consumers that work on one message at a time. One that works on several has room beside a long job, which its
work does not tell: `pull` is better there, with as much credit as it has room.

What a message costs is said by an application property of it, in any unit; or it is learned, for each subject: from how
long it took from when the message was sent, or its consumer settled the one before it, until it was settled. That needs
messages to be settled when the work is done. Of consumers that work on several messages at a time that learns next to
nothing, and all messages cost about the same, as with `pull`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDeliveryWatcher,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExplains,
    ITimed,
)
from txrouter.policies.costs import Costs
from txrouter.policies.lowest import Lowest

__all__ = ["LeastWork", "Options", "factory"]


@dataclass(frozen=True)
class Options:
    """What a message costs. It is 1 where nothing is known."""

    cost: str = "property:cost"
    """`property:NAME`: its application property NAME, a number above 0. `learned`: what messages with its subject took
    before, in seconds."""


class _Place:
    """What a consumer has to do."""

    __slots__ = ("costs", "work")

    def __init__(self, in_flight: int) -> None:
        self.work = float(in_flight)
        """The sum of the costs of what it has in flight."""
        self.costs: dict[IDelivery, float] = {}
        """Of each that it was sent since it was added."""


@implementer(IDistributionPolicy, ICapacityWatcher, ICreditWatcher, IDeliveryWatcher, IDescribed, IExplains, ITimed)
class LeastWork:
    """See the module."""

    by = "the least work in flight for its capacity; among equals, the larger ones, and who has waited longest"
    clock: Callable[[], float]

    def __init__(self, options: Options) -> None:
        self._costs = Costs(options.cost, 1.0)
        self._consumers: dict[IConsumer, None] = {}
        self._able = Lowest()
        """Those with credit, by their work; of those that have as little, the larger ones first."""
        self._asked: IDelivery | None = None
        """The one that was to be sent last, and what it costs."""
        self._cost = 1.0

    def add(self, consumer: IConsumer) -> None:
        """It waits, if it has credit. What it has in flight costs 1 each."""
        self._consumers[consumer] = None
        consumer.place = _Place(consumer.in_flight)
        self._costs.add(consumer, self.clock())
        self._move(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It waits no longer."""
        del self._consumers[consumer]
        self._costs.remove(consumer)
        self._able.discard(consumer)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The one with the least work."""
        consumer = self._able.first()
        if consumer is not None:
            self._cost = self._costs.of(delivery)
            self._asked = delivery
        return consumer

    def _move(self, consumer: IConsumer) -> None:
        """It waits anew, or not at all."""
        if consumer.credit > 0:
            capacity = consumer.capacity
            self._able.put(consumer, (consumer.place.work / capacity, -capacity))
        else:
            self._able.discard(consumer)

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It has that to do; or, if it was pre-settled, as much as before, and a turn had."""
        if not delivery.presettled:
            cost = self._cost if delivery is self._asked else self._costs.of(delivery)
            place: _Place = consumer.place
            place.work += cost
            place.costs[delivery] = cost
        self._asked = None
        self._move(consumer)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """It has that done."""
        place: _Place = consumer.place
        cost = place.costs.pop(delivery, 1.0)
        # what is left when it has nothing is only what was lost in rounding
        place.work = max(0.0, place.work - cost) if consumer.in_flight else 0.0
        self._costs.settled(consumer, delivery, outcome, seconds, self.clock())
        self._move(consumer)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It begins or ceases to wait. Other changes of its credit make no difference."""
        if (consumer.credit > 0) is not (consumer in self._able):
            self._move(consumer)

    def capacity_changed(self, consumer: IConsumer) -> None:
        """The same work is more for it, or less."""
        self._move(consumer)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float]]:
        """Those with credit, each with its work for its capacity."""
        return ((consumer, load) for consumer, (load, _) in self._able.all())

    def describe(self) -> dict[str, object]:
        """The work and the capacity of each consumer, and who is next; how many messages gave a cost that is none; and
        what was learned."""
        first = self._able.first()
        return {
            "next": first.id if first is not None else None,
            "consumers": {each.id: {"work": each.place.work, "capacity": each.capacity} for each in self._consumers},
            **self._costs.describe(),
        }


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "least-work"
    summary = "the consumer with the least work in flight for its capacity, by what messages cost"
    options = Options

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        return LeastWork(options)


factory = _Factory()
