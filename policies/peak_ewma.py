"""`peak-ewma`: of two consumers drawn by chance, the one where a message can be expected to be settled sooner.

For consumers whose speed differs and changes: one that is on a busy machine, collects garbage, or waits for a slow
disk is avoided within one message, and tried again after a while. What is expected is the time that its messages took,
times what it has in flight and the one that would come. It needs nothing to be configured; but messages have to be
settled when the work is done.

The time is a moving average that decays over `decay_seconds`, but for peaks: one that took longer than the average
counts at once and in full. So a consumer that becomes slow is believed at once, one that becomes fast only by and by.
While nothing is heard of one, what is known of it decays too, until it is tried again. One of which nothing is known
yet is tried with a single message. It is the balancer of Twitter's Finagle and of Linkerd ("Beyond Round Robin: Load
Balancing for Latency", 2016); for the two draws, see `power-of-two`.

With `latency = "reply"` the time is until the reply to a request passes through the router, and requests that have not
been replied to count as in flight: for services that accept a message before they work on it.

What is released, or modified, was not worked on, and says nothing of how long work takes, unless it took longer: a
consumer that refuses everything quickly must not draw everything to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp
from random import Random
from typing import Any, Literal

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExplains,
    IReplyWatcher,
    ISettlementWatcher,
    ITimed,
)
from txrouter.policies.ready import Ready, Rehearsal

__all__ = ["Options", "PeakEWMA", "factory"]

UNKNOWN = 1e6
"""Seconds that are expected of a consumer that has a message and has never settled one: it gets no second one while
there is another to choose."""
REPLY_SECONDS = 60.0
"""The longest that a reply is awaited."""
_WORK = ("accepted", "rejected", "settled")


@dataclass(frozen=True)
class Options:
    """How long what is known of a consumer counts."""

    decay_seconds: float = 10.0
    """After this time, what was known counts for 1/e."""
    latency: Literal["settlement", "reply"] = "settlement"
    """Whether messages take until they are settled, or until they are replied to."""


class _Known:
    """What is known of a consumer: the average, in seconds, as of then. None while it has settled nothing."""

    __slots__ = ("at", "owed", "seconds")

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.at = 0.0
        self.owed = 0
        """Requests that it has not replied to, where that counts."""


@implementer(IDistributionPolicy, ICreditWatcher, IDescribed, IExplains, ISettlementWatcher, ITimed)
class PeakEWMA:
    """See the module."""

    by = "of two that are drawn, the one that can be expected to settle sooner, in seconds"
    clock: Callable[[], float]

    def __init__(self, options: Options, random: Random) -> None:
        self._ready = Ready(random)
        self._decay = options.decay_seconds

    def add(self, consumer: IConsumer) -> None:
        """Nothing is known of it."""
        consumer.place = _Known()
        self._ready.changed(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It cannot be drawn."""
        self._ready.discard(consumer)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The quicker of two."""
        first = self._ready.one()
        second = self._ready.another(first) if first is not None else None
        if first is None or second is None:
            return first
        now = self.clock()
        return second if self._expected(second, now) < self._expected(first, now) else first

    def _expected(self, consumer: IConsumer, now: float) -> float:
        """The seconds until it has settled what it has and one more."""
        known = consumer.place
        in_flight: int = consumer.in_flight
        if known.owed > in_flight:
            in_flight = known.owed
        seconds: float | None = known.seconds
        if seconds is None:
            return UNKNOWN * in_flight
        return seconds * exp((known.at - now) / self._decay) * (in_flight + 1)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """It took so long."""
        self._learn(consumer.place, outcome, seconds)

    def _learn(self, known: _Known, outcome: str, seconds: float) -> None:
        now = self.clock()
        if known.seconds is None:
            if outcome not in _WORK:
                return
            known.seconds = seconds
        else:
            left = exp((known.at - now) / self._decay)
            if seconds >= known.seconds * left:
                known.seconds = seconds
            elif outcome in _WORK:
                known.seconds = seconds + (known.seconds - seconds) * left
            else:
                return
        known.at = now

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It can be drawn if it has credit."""
        self._ready.changed(consumer)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float]]:
        """Those that are about to be drawn, with the seconds until they have settled what they have and one more."""
        ready, now = self._ready, self.clock()
        self._ready = rehearsal = Rehearsal(ready)
        try:
            chosen = self.select(delivery)
        finally:
            self._ready = ready
        return ((each, self._expected(each, now)) for each in rehearsal.candidates(chosen))

    def describe(self) -> dict[str, object]:
        """Of each consumer with credit: the average in seconds, None if it is not known, and what it has in flight."""
        return {each.id: {"seconds": each.place.seconds, "in_flight": each.in_flight} for each in self._ready.all()}


@implementer(IReplyWatcher)
class PeakEWMAOfReplies(PeakEWMA):
    """The same, by replies."""

    reply_seconds = REPLY_SECONDS

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """That tells nothing."""

    def asked(self, consumer: IConsumer, delivery: IDelivery, request: int) -> None:
        """It owes one reply more."""
        consumer.place.owed += 1

    def answered(self, consumer: IConsumer, request: int, seconds: float | None) -> None:
        """It owes one less."""
        consumer.place.owed -= 1
        if seconds is not None:
            self._learn(consumer.place, "accepted", seconds)


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "peak-ewma"
    summary = "of two consumers drawn by chance, the one that can be expected to settle sooner"
    options = Options

    def build(self, options: Any, random: Any) -> IDistributionPolicy:
        if not 0 < options.decay_seconds <= 86_400:
            raise ValueError(f"decay_seconds: {options.decay_seconds} is not above 0, and 86400 at most")
        by_replies = options.latency == "reply"
        return PeakEWMAOfReplies(options, random) if by_replies else PeakEWMA(options, random)


factory = _Factory()
