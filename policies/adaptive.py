"""`adaptive`: learns how many messages each consumer really works on at a time, and sends it no more than that.

For consumers that ask for more than they can do: clients grant 10, 100 or 1,000 credits because it is the default, and
what they have in advance waits for them while others are idle. With this policy the rest stays in the router, or
better at its producers, until somebody can begin with it. Credit of 100 is then as good as credit of 1 for a consumer
that works on one message at a time, and one that works on 30 gets 30.

How many that is shows in two ways, as long as a consumer begins with messages in the order it gets them. If one is done
before another that was sent earlier, both were worked on: with as many earlier ones still to be done as the limit
allows, all were, and the limit is not too high. This needs nothing but the order, and so does not mind how much what
messages take differs. Where they all take about as long, they do not overtake each other; but then it shows in how long
they take whether one that was sent to a consumer with so many had to wait there: it takes longer than those that found
fewer. Times are compared as averages of logarithms, so that the few very long messages that are usual do not drown the
rest, and only where they are more than chance.

A consumer has no limit until it is seen to have too many; and from when the first has one, the others have twice that,
or they would be sent what it is not. A limit is lowered by a quarter as long as what comes last has to wait, and raised
by a quarter each time that all that it allows are seen to be worked on. When that is not seen for long enough, it goes
back to where it was, and is tried again after some time; each time that this is in vain, after twice as long. It is the
idea of congestion control by delay (Brakmo and Peterson, "TCP Vegas: End to end congestion avoidance on a global
Internet", 1995), as Netflix's concurrency-limits have brought it to services.

Among those below their limits it is the fastest (see `pace`), and among equals the one with the least in flight for its
limit. Messages have to be settled when the work is done, and not pre-settled.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from math import log, sqrt
from typing import Final

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
from txrouter.policies.lowest import Lowest
from txrouter.policies.pace import USUAL, Pace, Usual

__all__ = ["Adaptive", "Options", "factory"]

LONGER: Final = log(1.3)
"""A message that takes 1.3 times as long had to wait."""
SURE: Final = 2.5
"""Standard errors."""
ENOUGH: Final = 5
"""Messages that have to be seen before anything is made of how long they took."""
REMEMBERED: Final = 200
"""About how many of the last messages count."""
SEEN: Final = 4
"""How many times as many messages as the limit have to be done, with none overtaking all others, to take it that they
are not all worked on: by chance it is not seen in one of fifty cases, where times are exponential."""
RARELY: Final = 1 << 11
"""How many messages are done, at most, before it is tried again whether a consumer can do more."""
SHORTEST: Final = 1e-6
_WORK: Final = ("accepted", "rejected", "settled")


UNLIMITED: Final = 1 << 30
"""The limit of a consumer of which it is not known yet that it has too many."""


@dataclass(frozen=True)
class Options:
    """`adaptive` has no options."""


class _Mean:
    """Of the last logarithms, about `REMEMBERED`; and how far they lie apart."""

    __slots__ = ("count", "value", "variance")

    def __init__(self) -> None:
        self.count = 0
        self.value = 0.0
        self.variance = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self.count = count = min(self.count + 1, REMEMBERED)
        off = value - self.value
        self.value += off / count
        self.variance += (off * (value - self.value) - self.variance) / count

    def with_those_of(self, other: _Mean) -> _Mean:
        """Of both."""
        both = _Mean()
        both.count = self.count + other.count
        both.value = (self.count * self.value + other.count * other.value) / both.count
        both.variance = (self.count * self.variance + other.count * other.variance) / both.count
        return both

    def is_longer(self, base: _Mean) -> bool | None:
        """Whether messages took longer than those; None if that may be chance."""
        difference = self.value - base.value
        error = SURE * sqrt(self.variance / self.count + base.variance / base.count)
        if difference > LONGER and difference - error > LONGER / 2:
            return True
        return False if difference + error < LONGER else None


class _Place(Pace):
    """What is known of a consumer."""

    __slots__ = ("began", "done", "known", "limit", "most", "numbers", "patience", "sent", "since", "slots", "times")

    def __init__(self) -> None:
        super().__init__()
        self.limit = UNLIMITED
        """So many it is sent; more than is known while that is tried."""
        self.known = UNLIMITED
        """So many it is good for, as far as that was seen."""
        self.slots = 1
        """So many it works on at a time: its limit, or while there is none, as many as it was seen to work on."""
        self.sent: dict[IDelivery, tuple[int, int]] = {}
        """Of what it has in flight: its number, and the index of `times`."""
        self.numbers: list[int] = []
        """Theirs, in order."""
        self.times: list[_Mean] = []
        """The logarithm of what messages took that were sent when it had none; when it had 1, 2 or 3, 4 to 7 …"""
        self.began = 0
        """The number of the last message that was sent before the limit became what it is."""
        self.most = 1
        """How many were seen to be worked on since then."""
        self.done = 0
        """How many were done in that time, with as many in flight as that."""
        self.since = 0
        """How many were done with as much in flight as is known to be good, since more was tried last."""
        self.patience = 1
        """How many it takes."""

    def begin_with(self, usual: int) -> None:
        """Others are good for so many: try twice that."""
        self.known = max(usual, self.most)
        self._use(2 * self.known)

    def gets(self, delivery: IDelivery, number: int) -> None:
        """It was sent one."""
        level = len(self.numbers).bit_length()
        while len(self.times) <= level:
            self.times.append(_Mean())
        self.sent[delivery] = number, level
        self.numbers.append(number)

    def lets_go(self, delivery: IDelivery) -> tuple[int, int, int] | None:
        """One of those it was sent is over. Returns its number, at what level it was sent, and how many sent before it
        are not over; None where that is not known."""
        known = self.sent.pop(delivery, None)
        if known is None:
            return None
        number, level = known
        earlier = bisect_left(self.numbers, number)
        del self.numbers[earlier]
        return number, level, earlier

    def did(self, number: int, level: int, earlier: int, seconds: float) -> None:
        """It has done one, with so many earlier ones still to be done."""
        if number <= self.began and level >= (self.limit - 1).bit_length():
            return  # the limit was another
        self.times[level].add(log(max(seconds, SHORTEST)))
        if number <= self.began:
            return
        if earlier >= self.most:
            self.most = earlier + 1
            if self.limit == UNLIMITED:
                self.slots = self.most
        is_at_limit = len(self.numbers) + 1 >= self.limit
        self.done += is_at_limit
        if self.most >= self.limit > self.known:
            self._is_good()
        elif level and self._compared(level) is True:
            self._has_too_many(level)
        elif self.done > SEEN * self.limit and self.limit > self.known:
            if self._compared((self.limit - 1).bit_length()) is False:
                self._is_good()
            else:
                self._was_in_vain()
        elif is_at_limit and self.limit == self.known:
            self.since += 1
            if self.since >= self.patience:
                self._use(self.known + max(1, self.known // 4))

    def _compared(self, level: int) -> bool | None:
        """Whether messages sent at this level took longer than those that found it with less; or None, by chance."""
        times = self.times
        if level >= len(times) or times[level].count < ENOUGH:
            return None
        base = times[0]
        for each in times[1:level]:
            if each.count:
                base = base.with_those_of(each) if base.count else each
        return times[level].is_longer(base) if base.count >= ENOUGH else None

    def _is_good(self) -> None:
        """All that it has in flight is worked on."""
        self.known = max(self.limit, self.most)
        self.patience = 1
        self._use(self.known + max(1, self.known // 4))

    def _has_too_many(self, level: int) -> None:
        """What is sent to it at this level has to wait."""
        if self.known < self.limit < UNLIMITED:
            self._was_in_vain()
        else:
            self.known = max(self.most, min(self.limit * 3 // 4, (1 << level) - 1))
            self.patience = 1
            self._use(self.known)

    def _was_in_vain(self) -> None:
        self.patience = min(2 * self.patience, RARELY)
        self.known = max(self.known, self.most)
        self._use(self.known)

    def _use(self, limit: int) -> None:
        self.limit = self.slots = limit
        self.began = self.numbers[-1] if self.numbers else 0
        self.most = 1
        self.done = self.since = 0
        level = (limit - 1).bit_length()
        if level and level < len(self.times):
            self.times[level] = _Mean()  # it is not the same any more


@implementer(IDistributionPolicy, ICreditWatcher, IDeliveryWatcher, IDescribed, IExplains)
class Adaptive:
    """See the module."""

    by = "the fastest below its limit; among equals, the least in flight for that"

    def __init__(self) -> None:
        self._consumers: dict[IConsumer, None] = {}
        self._able = Lowest()
        """Those with credit that have less than their limits."""
        self._usual = Usual()
        self._limit = UNLIMITED
        """The first that was learned, of any consumer."""
        self._sent = 0

    def add(self, consumer: IConsumer) -> None:
        """Nothing is known of it."""
        self._consumers[consumer] = None
        consumer.place = place = _Place()
        if self._limit < UNLIMITED:
            place.begin_with(self._limit)
        self._changed(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It is gone, with what was learned."""
        del self._consumers[consumer]
        self._able.discard(consumer)

    def _changed(self, consumer: IConsumer) -> None:
        """Put it where it belongs now."""
        place = consumer.place
        if consumer.credit > 0 and consumer.in_flight < place.limit:
            part = (consumer.in_flight + 1) / place.slots
            self._able.put(consumer, (place.pace * max(1.0, part), part))
        else:
            self._able.discard(consumer)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The least loaded of those below their limits."""
        return self._able.first()

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It has one more."""
        if not delivery.presettled:
            self._sent = number = self._sent + 1
            consumer.place.gets(delivery, number)
        self._changed(consumer)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """It has one less, which took so long."""
        place = consumer.place
        known = place.lets_go(delivery)
        if known is not None and outcome in _WORK:
            number, level, earlier = known
            self._usual.learn(place, seconds)
            place.did(number, level, earlier, seconds)
            if place.limit < self._limit == UNLIMITED:
                self._first_is_learned(place.limit)
        self._changed(consumer)

    def _first_is_learned(self, limit: int) -> None:
        """A consumer has too many. Without limits the others would be sent what it is not sent any more."""
        self._limit = limit
        for consumer in self._consumers:
            if consumer.place.limit == UNLIMITED:
                consumer.place.begin_with(limit)
                self._changed(consumer)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It can be sent something, or not. Other changes of its credit make no difference."""
        if (consumer.credit > 0 and consumer.in_flight < consumer.place.limit) is not (consumer in self._able):
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
