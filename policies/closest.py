"""`closest`: the consumers that cost least to reach, in turn; those further away only while none of these has credit.

For work that any consumer can do, where what is near is to be used first: those attached to this router have cost 0. A
near consumer without credit captures nothing: the message goes to the next one that can take it.

Consumers of equal cost take turns as in `round-robin`. There are as many costs as there are ways to other routers, so
trying one after the other takes next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExplains,
    ISendWatcher,
)
from txrouter.policies.round_robin import RoundRobin

__all__ = ["Closest", "Options", "factory"]


@implementer(IDistributionPolicy, ICreditWatcher, IDescribed, IExplains, ISendWatcher)
class Closest:
    """See the module."""

    by = "the least cost; among equals, whose turn it is"

    def __init__(self) -> None:
        self._circles: dict[int, RoundRobin] = {}
        """The consumers by what they cost, the cheapest first."""
        self._sizes: dict[int, int] = {}

    def add(self, consumer: IConsumer) -> None:
        """It joins those of its cost."""
        cost = consumer.cost
        consumer.place = cost
        if cost not in self._circles:
            self._circles[cost] = RoundRobin()
            self._circles = dict(sorted(self._circles.items()))
        self._sizes[cost] = self._sizes.get(cost, 0) + 1
        self._circles[cost].add(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It leaves them."""
        cost = consumer.place
        self._circles[cost].remove(consumer)
        self._sizes[cost] -= 1
        if not self._sizes[cost]:
            del self._sizes[cost], self._circles[cost]

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The next in turn of the nearest that have credit."""
        for circle in self._circles.values():
            consumer = circle.select(delivery)
            if consumer is not None:
                return consumer
        return None

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It had its turn."""
        self._circles[consumer.place].sent(consumer, delivery)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It is in turn again, if it has credit."""
        self._circles[consumer.place].credit_changed(consumer, delta)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float]]:
        """Those with credit, the nearest first, each with its cost."""
        for cost, circle in self._circles.items():
            for consumer, _turn in circle.candidates(delivery):
                yield consumer, cost

    def describe(self) -> dict[str, object]:
        """The consumers with credit by what they cost, the next in turn first."""
        return {str(cost): circle.describe()["next"] for cost, circle in self._circles.items()}


@dataclass(frozen=True)
class Options:
    """`closest` has no options."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "closest"
    summary = "this router's consumers in turn; others' only while none of these has credit"
    options = Options

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return Closest()


factory = _Factory()
