"""`adaptive`: learns how many messages each consumer really works on at a time, and sends it no more than that.

For consumers that ask for more than they can do: clients grant 10, 100 or 1,000 credits because it is the default, and
what they have in advance waits for them while others are idle. With this policy the rest stays in the router, or
better at its producers, until somebody can begin with it. Credit of 100 is then as good as credit of 1 for a consumer
that works on one message at a time, and one that works on 30 gets 30.

How that is learned, and from what, is in `concurrency`. A consumer has no limit until it is seen to have too many; and
from when the first has one, the others have twice that, or they would be sent what it is not.

Among those below their limits it is the fastest (see `pace`), and among equals the one with the least in flight for its
limit. Messages have to be settled when the work is done, and not pre-settled.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final

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
from txrouter.policies.concurrency import UNLIMITED, Concurrency
from txrouter.policies.lowest import Lowest
from txrouter.policies.pace import SELDOM, USUAL, Usual, one_passed_over

__all__ = ["Adaptive", "Options", "factory"]

_WORK: Final = ("accepted", "rejected", "settled")


@dataclass(frozen=True)
class Options:
    """`adaptive` has no options."""


@implementer(IDistributionPolicy, ICreditWatcher, IDeliveryWatcher, IDescribed, IExplains)
class Adaptive:
    """See the module."""

    by = "the fastest below its limit; among equals, the least in flight for that"

    def __init__(self) -> None:
        self._consumers: OrderedDict[IConsumer, None] = OrderedDict()
        """The one that was looked at last, whether it is passed over, is the last."""
        self._able = Lowest()
        """Those with credit that have less than their limits."""
        self._usual = Usual()
        self._learned = 0
        """How many messages were learned from since one that is passed over was looked for."""
        self._limit = UNLIMITED
        """The first that was learned, of any consumer."""
        self._sent = 0

    def add(self, consumer: IConsumer) -> None:
        """Nothing is known of it."""
        self._consumers[consumer] = None
        consumer.place = place = self._place(consumer)
        if self._limit < UNLIMITED:
            place.begin_with(self._limit)
        self._changed(consumer)

    def _place(self, consumer: IConsumer) -> Concurrency:
        return Concurrency()

    def remove(self, consumer: IConsumer) -> None:
        """It is gone, with what was learned."""
        del self._consumers[consumer]
        self._able.discard(consumer)

    def _has(self, consumer: IConsumer) -> int:
        """How many messages it is busy with."""
        in_flight: int = consumer.in_flight
        return in_flight

    def _is_able(self, consumer: IConsumer, has: int) -> bool:
        """Whether it can take one more."""
        return bool(consumer.credit > 0 and has < consumer.place.limit)

    def _changed(self, consumer: IConsumer) -> None:
        """Put it where it belongs now."""
        has = self._has(consumer)
        if self._is_able(consumer, has):
            place = consumer.place
            part = (has + 1) / place.slots
            self._able.put(consumer, (place.pace * max(1.0, part), part))
        else:
            self._able.discard(consumer)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The least loaded of those below their limits."""
        return self._able.first()

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It has one more; or, if that is pre-settled, as many as before, and a turn had."""
        if not delivery.presettled:
            self._gets(consumer, delivery)
        self._changed(consumer)

    def _gets(self, consumer: IConsumer, key: Hashable) -> None:
        self._sent = number = self._sent + 1
        consumer.place.gets(key, number, self._has(consumer))

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """It has one less, which took so long."""
        self._is_over(consumer, delivery, seconds if outcome in _WORK else None)

    def _is_over(self, consumer: IConsumer, key: Hashable, seconds: float | None) -> None:
        """It has one less, which took so long; or with None, was not done."""
        place = consumer.place
        known = place.lets_go(key)
        if known is not None and seconds is not None:
            self._usual.learn(place, seconds)
            self._learned += 1
            number, level, earlier = known
            place.did(number, level, earlier, seconds)
            if place.known < self._limit == UNLIMITED:
                self._first_is_learned(place.known)
        self._changed(consumer)
        if self._learned >= SELDOM:
            self._learned = 0
            tried = one_passed_over(self._consumers, self._is_passed_over)
            if tried is not None:
                self._able.put(tried, (0, 0))

    def _is_passed_over(self, consumer: IConsumer) -> bool:
        """Whether it is idle, and others are always sooner."""
        if consumer not in self._able or self._has(consumer):
            return False
        first: Any = self._able.first()
        return bool(consumer.place.pace > first.place.pace * max(1.0, (self._has(first) + 1) / first.place.slots))

    def _first_is_learned(self, limit: int) -> None:
        """A consumer has too many. Without limits the others would be sent what it is not sent any more."""
        self._limit = limit
        for consumer in self._consumers:
            if consumer.place.known == UNLIMITED:
                consumer.place.begin_with(limit)
                self._changed(consumer)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It can be sent something, or not. Other changes of its credit make no difference."""
        self._stay(consumer)

    def _stay(self, consumer: IConsumer) -> None:
        """It has as many as before: if it can take one, and still can, it waits where it is."""
        if self._is_able(consumer, self._has(consumer)) is not (consumer in self._able):
            self._changed(consumer)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float]]:
        """Those below their limits, as they would be chosen."""
        return ((consumer, pace / USUAL + part) for consumer, (pace, part) in self._able.all())

    def describe(self) -> dict[str, object]:
        """Of each consumer: how many it is known to be good for, and its limit, if any; and what it has in flight."""
        return {
            each.id: {"known": _shown(each.place.known), "limit": _shown(each.place.limit), "in_flight": each.in_flight}
            for each in self._consumers
        }


def _shown(limit: int) -> int | None:
    return limit if limit < UNLIMITED else None


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "adaptive"
    summary = "no more to each consumer than it works on at a time, whatever credit it grants"
    options = Options

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return Adaptive()


factory = _Factory()
