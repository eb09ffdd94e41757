"""`pull`: the consumer that can be expected to be done soonest; among equals, the one that has waited longest.

The default, and right wherever consumers differ in speed or jobs in size: whoever finishes sooner asks sooner. Only a
consumer with credit is chosen, so one that grants one credit at a time is never sent a job while it works on another,
and the jobs wait where any consumer that becomes free can take them. With credit 1 this is a central queue, the best
there is without knowing the jobs; with more credit it is "join the shortest queue" (Winston, "Optimality of the
shortest line discipline", 1977) where consumers are alike, and "shortest expected delay" where they are not.

What is expected is what the consumer has in flight and the one that would come, times how long it takes for one, which
is learned (see `pace`). So among the idle the fastest is next; and where consumers are alike, or nothing is known of
them, the one with the fewest in flight. One that is passed over again and again is tried now and then all the same: it
may have been slow only for a while.

Consumers with credit stand in queues, one for each number that this comes to, and the first of the lowest queue is
chosen. Every send and settlement moves a consumer from one queue to the end of another. The queues are doubly linked
rings, which Python changes in half the time of an OrderedDict; a heap holds the numbers of the queues that may not be
empty. Choosing and moving so cost the same for two consumers and for 10,000. One that has settled something is moved
only when something else happens: its settlements come many at a time, and of these the first tells how long it takes.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
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
from txrouter.policies.pace import SELDOM, SHORT, USUAL, Pace, Usual, one_passed_over

__all__ = ["Options", "Pull", "factory"]

ONE_OF: Final = 8
"""Where messages are many, one of so many is learned from: where they take less than is compared, and where a consumer
has at least so many more in flight."""


class _Place(Pace):
    """A consumer's pace, and its place in a queue; or, linked to itself, in none."""

    __slots__ = ("after", "before", "consumer")

    def __init__(self, consumer: IConsumer | None) -> None:
        super().__init__()
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

    __slots__ = ("_consumers", "_learned", "_levels", "_only", "_queues", "_skipped", "_unmoved", "_usual")

    by = "the least in flight, with this one, times how long it takes; among equals, who has waited longest"

    def __init__(self) -> None:
        self._consumers: OrderedDict[IConsumer, None] = OrderedDict()
        """The one that was looked at last, whether it is passed over, is the last."""
        self._only: IConsumer | None = None
        """The only one there is: it needs no place."""
        self._queues: dict[int, _Queue] = {}
        """By what is in flight and the one that would come, times the pace."""
        self._levels: list[int] = []
        """A heap of the keys of all queues that are not empty, and of some that no longer are."""
        self._unmoved: IConsumer | None = None
        """The one that has just settled something, and is still where it was before."""
        self._usual = Usual()
        self._learned = 0
        """How many messages were learned from since one that is passed over was looked for."""
        self._skipped = 0
        """How many messages were not learned from, where they are many, since one was."""

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
        if only is not None and only in self._consumers:
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
        level = (consumer.in_flight + 1) * place.pace
        try:
            queue = self._queues[level]
        except KeyError:
            queue = self._queues[level] = _Queue()
        if not queue.listed:
            queue.listed = True
            levels = self._levels
            if before is after and levels and before is self._queues[levels[0]]:
                # It was alone in the lowest queue, which is empty now.
                before.listed = False
                heapreplace(levels, level)
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
            # What refuses its messages is not fast.
            if outcome == "accepted" and self._only is None:
                if seconds < SHORT or consumer.in_flight >= ONE_OF:
                    self._skipped = skipped = (self._skipped + 1) % ONE_OF
                    if skipped:
                        return
                self._usual.learn(consumer.place, seconds)
                self._learned += 1
                if self._learned >= SELDOM:
                    self._learned = 0
                    self._try_one()

    def _try_one(self) -> None:
        """Have one be next that is passed over as long as others have credit."""
        tried = one_passed_over(self._consumers, self._is_passed_over)
        if tried is not None:
            place = tried.place
            place.before.after = place.after
            place.after.before = place.before
            lowest = self._queues[self._levels[0]]
            place.before = lowest
            place.after = lowest.after
            lowest.after.before = lowest.after = place

    def _is_passed_over(self, consumer: IConsumer) -> bool:
        """Whether it is idle, and others are always sooner."""
        place = consumer.place
        return bool(place.after is not place and not consumer.in_flight and place.pace > self._levels[0])

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
        """Those with credit, from queue to queue, each with what it would have, times how long it takes."""
        if self._only is not None:
            if self._only.credit > 0:
                yield self._only, self._only.in_flight + 1
            return
        if self._unmoved is not None:
            self._catch_up()
        for level in sorted(self._levels):
            queue = self._queues[level]
            place = queue.after
            while place is not queue:
                assert place.consumer is not None
                yield place.consumer, level / USUAL
                place = place.after

    def describe(self) -> dict[str, object]:
        """How many consumers have credit, by what they have in flight; who is next; and how many times as long as usual
        consumers take, of those where it is not about as long."""
        waiting = Counter(consumer.in_flight for consumer in self._consumers if consumer.credit > 0)
        unmoved = self._unmoved
        any_delivery: Any = None
        first = Pull.select(self, any_delivery)  # which is not looked at here, but may be by who builds on this
        self._unmoved = unmoved  # where it belongs, but its next settlements tell nothing, as if nobody had asked
        return {
            "next": first.id if first is not None else None,
            "waiting": {str(level): waiting[level] for level in sorted(waiting)},
            "times_as_long": {
                consumer.id: consumer.place.pace / USUAL
                for consumer in sorted(self._consumers, key=lambda each: each.id)
                if consumer.place.pace != USUAL
            },
        }


@dataclass(frozen=True)
class Options:
    """`pull` has no options."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "pull"
    summary = "the consumer that can be expected to be done soonest, of those with credit"
    options = Options

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return Pull()


factory = _Factory()
