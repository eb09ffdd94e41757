"""`reply-aware`: the consumer that can be expected to have replied soonest, by the requests that it has not replied to.

For services that accept a message when they have it, and work on it then, as servers of oslo.messaging do. There,
what is in flight says nothing about who is busy; what tells is the reply that has not come back yet. It is `pull` with
another notion of busy: a request counts from when it is sent until its reply passes through the router, whether it was
settled or not; any other message until it is settled. How long consumers take for a request is learned from when the
replies come (see `pace`): so among the idle, the fastest is next.

A consumer's credit says how many it wants to have at a time. One that accepts first gives its credit again at once, and
would have more and more. So once it owes replies to what it has settled, it is sent no more than would make as many as
the most credit it ever had at once. With credit 1 it works on one message at a time, and all others wait where any
consumer can take them: a central queue (see `pull`). With more it is "join the shortest queue" (Winston, "Optimality of
the shortest line discipline", 1977). Where credit says something else, such as how many messages may wait for a thread,
`most` says how many are good for a consumer.

A request whose reply does not come, because the server has failed or never replies, counts for `reply_seconds`, or for
as long as the message has to live, if that is less.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    IReplyWatcher,
    ITimed,
)
from txrouter.policies.lowest import Lowest
from txrouter.policies.pace import USUAL, Pace, Usual
from txrouter.policies.pull import LOOKED_AT, SELDOM

__all__ = ["Options", "ReplyAware", "factory"]


@dataclass(frozen=True)
class Options:
    """How long a consumer is busy, and with how many messages."""

    reply_seconds: float = 60.0
    """The longest that a reply is awaited."""
    most: int = 0
    """The most messages that a consumer is to have at a time; 0 for as many as its credit says."""


class _Place(Pace):
    """What a consumer is busy with, and its pace."""

    __slots__ = ("replied_at", "requests", "unsettled", "window")

    def __init__(self, window: int, now: float) -> None:
        super().__init__()
        self.replied_at = now
        """When it replied last, or came."""
        self.window = window
        """The most credit that it had at once."""
        self.requests = 0
        """Those that it has not replied to."""
        self.unsettled: set[IDelivery] = set()
        """The requests among what it has in flight, which may have been replied to."""


@implementer(IDistributionPolicy, ICreditWatcher, IDeliveryWatcher, IDescribed, IExplains, IReplyWatcher, ITimed)
class ReplyAware:
    """See the module."""

    by = "the fewest requests without a reply, times how long it takes for one; among equals, who has waited longest"

    clock: Callable[[], float]

    def __init__(self, options: Options) -> None:
        self.reply_seconds = options.reply_seconds
        self._most = options.most
        self._consumers: OrderedDict[IConsumer, None] = OrderedDict()
        """The one that was looked at last, whether it is passed over, is the last."""
        self._able = Lowest()
        """Those that can take a message, by how many they have and the one that would come, times the pace."""
        self._usual = Usual()
        self._learned = 0
        """How many replies were learned from since one that is passed over was looked for."""

    def add(self, consumer: IConsumer) -> None:
        """It waits, if it has credit."""
        self._consumers[consumer] = None
        consumer.place = _Place(consumer.credit + consumer.in_flight, self.clock())
        self._move(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It waits no longer."""
        del self._consumers[consumer]
        self._able.discard(consumer)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The one that can be expected to have replied soonest; among equals, the one that has waited longest."""
        return self._able.first()

    @staticmethod
    def _has(consumer: IConsumer) -> int:
        """How many messages it is busy with."""
        place: _Place = consumer.place
        has: int = place.requests + consumer.in_flight - len(place.unsettled)
        return has

    def _is_able(self, consumer: IConsumer, has: int) -> bool:
        place: _Place = consumer.place
        if consumer.credit <= 0:
            return False
        if self._most:
            return has < self._most
        owes = place.requests > len(place.unsettled)  # to what it has settled
        return not owes or has < place.window

    def _move(self, consumer: IConsumer) -> None:
        """It waits anew, or not at all."""
        has = self._has(consumer)
        if self._is_able(consumer, has):
            self._able.put(consumer, (has + 1) * consumer.place.pace)
        else:
            self._able.discard(consumer)

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It has one more; or, if that is pre-settled and no request, as many as before, and a turn had."""
        self._move(consumer)

    def asked(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It has that until it replies."""
        place = consumer.place
        place.requests += 1
        if delivery.presettled:
            self._move(consumer)
        else:
            place.unsettled.add(delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """It has one less, unless that is a request, which it may have begun to work on."""
        unsettled = consumer.place.unsettled
        if delivery in unsettled:
            unsettled.remove(delivery)
            self._stay(consumer)
        else:
            self._move(consumer)

    def answered(self, consumer: IConsumer, seconds: float | None) -> None:
        """It has one less."""
        place: _Place = consumer.place
        place.requests -= 1
        if seconds is not None:
            now = self.clock()
            self._usual.learn(place, min(seconds, now - place.replied_at))
            place.replied_at = now
            self._learned += 1
        self._move(consumer)
        if self._learned >= SELDOM:
            self._learned = 0
            self._try_one()

    def _try_one(self) -> None:
        """Have one be next that is passed over as long as others can take messages."""
        for _ in range(min(LOOKED_AT, len(self._consumers))):
            consumer = next(iter(self._consumers))
            self._consumers.move_to_end(consumer)
            if consumer in self._able and not self._has(consumer) and self._is_passed_over(consumer):
                consumer.place.doubt()
                self._able.put(consumer, 0)
                return

    def _is_passed_over(self, consumer: IConsumer) -> bool:
        first = self._able.first()
        return first is not None and bool(consumer.place.pace > (self._has(first) + 1) * first.place.pace)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It begins or ceases to wait. Other changes of its credit make no difference."""
        place = consumer.place
        place.window = max(place.window, consumer.credit)
        self._stay(consumer)

    def _stay(self, consumer: IConsumer) -> None:
        """It has as many as before: if it waits, and still can, it waits where it is."""
        if self._is_able(consumer, self._has(consumer)) is not (consumer in self._able):
            self._move(consumer)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float]]:
        """Those that can take one, each with what it has and the one that would come, times how many times as long as
        usual it takes."""
        return ((consumer, load / USUAL) for consumer, load in self._able.all())

    def describe(self) -> dict[str, object]:
        """Of each consumer: what it has, how many of these are requests that it owes a reply to, whether it can take
        another, and how many times as long as usual it takes; and who is next."""
        first = self._able.first()
        consumers = {
            each.id: {
                "has": self._has(each),
                "owes": each.place.requests,
                "able": each in self._able,
                "times_as_long": each.place.pace / USUAL,
            }
            for each in sorted(self._consumers, key=lambda each: each.id)
        }
        return {"next": first.id if first is not None else None, "consumers": consumers}


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "reply-aware"
    summary = "the consumer that can be expected to have replied soonest, where requests are settled before the work"
    options = Options

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        if not 0 < options.reply_seconds <= 86_400:
            raise ValueError(f"reply_seconds: {options.reply_seconds} is not between 0 and 86400")
        if options.most < 0:
            raise ValueError(f"most: {options.most} is below 0")
        return ReplyAware(options)


factory = _Factory()
