"""`reply-aware`: no more requests to each consumer than it works on at a time, by the replies that have not come yet.

For services that accept a message when they have it, and work on it then, as servers of oslo.messaging do. There,
what is in flight says nothing about who is busy; what tells is the reply that has not come back yet. It is `adaptive`
with another notion of busy: a request counts from when it is sent until its reply passes through the router, whether it
was settled or not; any other message until it is settled. So it is learned from when replies come how many messages a
consumer works on at a time, and how long it takes for one: however much credit it gives, it is sent no more than that,
and among the idle, the fastest is next.

A consumer's credit says how many it wants to have at a time. One that accepts first gives its credit again at once, and
would have more and more. So once it owes replies to what it has settled, it is sent no more than would make as many as
the most credit it ever had at once: with credit 1 that is one message at a time from the first on. Where it is known
how many messages are good for a consumer, such as its number of threads, `most` says so, and it need not be learned.

A request whose reply does not come, because the server has failed or never replies, counts for `reply_seconds`, or for
as long as the message has to live, if that is less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    IDelivery,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IReplyWatcher,
)
from txrouter.policies.adaptive import Adaptive
from txrouter.policies.concurrency import Concurrency

__all__ = ["Options", "ReplyAware", "factory"]


@dataclass(frozen=True)
class Options:
    """How long a consumer is busy, and with how many messages."""

    reply_seconds: float = 60.0
    """The longest that a reply is awaited."""
    most: int = 0
    """The most messages that a consumer is to have at a time; 0 for as many as its credit says, and it is seen to work
    on."""


class _Place(Concurrency):
    """What a consumer is busy with, and what is known of it."""

    __slots__ = ("requests", "unsettled", "window")

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window
        """The most credit that it had at once."""
        self.requests = 0
        """Those that it has not replied to."""
        self.unsettled: set[IDelivery] = set()
        """The requests among what it has in flight, which may have been replied to."""


@implementer(IReplyWatcher)
class ReplyAware(Adaptive):
    """See the module."""

    by = "the fastest that can take one; among equals, the fewest requests without a reply, for what it works on"

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.reply_seconds = options.reply_seconds
        self._most = options.most

    def _place(self, consumer: IConsumer) -> _Place:
        return _Place(consumer.credit + consumer.in_flight)

    def _has(self, consumer: IConsumer) -> int:
        place: _Place = consumer.place
        has: int = place.requests + consumer.in_flight - len(place.unsettled)
        return has

    def _is_able(self, consumer: IConsumer, has: int) -> bool:
        place: _Place = consumer.place
        if self._most:
            return bool(consumer.credit > 0 and has < self._most)
        owes = place.requests > len(place.unsettled)  # to what it has settled
        return super()._is_able(consumer, has) and (not owes or has < place.window)

    def asked(self, consumer: IConsumer, delivery: IDelivery, request: int) -> None:
        """It has that until it replies."""
        place: _Place = consumer.place
        place.requests += 1
        if delivery.presettled:
            self._gets(consumer, request)
            self._changed(consumer)
        else:
            place.unsettled.add(delivery)
            place.is_known_as(request, delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """It has one less, unless that is a request, which it may have begun to work on."""
        unsettled = consumer.place.unsettled
        if delivery in unsettled:
            unsettled.remove(delivery)
            self._stay(consumer)
        else:
            super().settled(consumer, delivery, outcome, seconds)

    def answered(self, consumer: IConsumer, request: int, seconds: float | None) -> None:
        """It has one less."""
        consumer.place.requests -= 1
        self._is_over(consumer, request, seconds)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """As `adaptive` has it; and it may be more than ever."""
        place = consumer.place
        place.window = max(place.window, consumer.credit)
        super().credit_changed(consumer, delta)

    def describe(self) -> dict[str, object]:
        """Of each consumer, besides what `adaptive` says: how many messages it has, how many of these are requests that
        it owes a reply to."""
        described: dict[str, Any] = super().describe()
        for each in self._consumers:
            described[each.id] |= {"has": self._has(each), "owes": each.place.requests}
        return described


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "reply-aware"
    summary = "no more to each consumer than it works on, where requests are settled before the work"
    options = Options

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        if not 0 < options.reply_seconds <= 86_400:
            raise ValueError(f"reply_seconds: {options.reply_seconds} is not above 0, and 86400 at most")
        if options.most < 0:
            raise ValueError(f"most: {options.most} is below 0")
        return ReplyAware(options)


factory = _Factory()
