"""Multicast: a copy of each message to every consumer of its address.

The message that arrived is the original: it is held, or its copies are on their way, or it is over. Each `Copy` is a
delivery to one consumer, and settles by itself; with the last of them the original is settled for its producer, with
the outcome that says most.

All copies are made at once, so the bytes of a message need not be kept. While a consumer that is to be waited for has
no credit, the message is held, and those behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from txrouter.core import credit as flow
from txrouter.core.deliveries import Delivery, Malformed
from txrouter.core.links import Address, Consumer
from txrouter.core.outcomes import LOST, RELEASED, SETTLED, Outcome
from txrouter.interfaces import IConsumer, ICreditWatcher, IDelivery, IDescribed, IDistributionPolicy

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["Copies", "Copy", "Multicast"]


class Copy(Delivery):
    """One consumer's copy of a message. It has no producer: its original has. The wire subclasses it."""

    __slots__ = ("original",)

    original: Delivery

    def can_be_resent(self) -> bool:
        """Everybody else has one."""
        return False


class Copies:
    """The copies of one message that are not over, and what the others have come to."""

    __slots__ = ("_router", "live", "multicast", "original", "outcome", "stalled_since")

    def __init__(self, router: Router, multicast: Multicast, original: Delivery) -> None:
        self._router = router
        self.multicast = multicast
        self.original = original
        self.live: dict[Copy, Outcome | None] = {}
        """Each with what its consumer has said of it, without settling."""
        self.outcome: Outcome | None = None
        """What the producer is to be told, by those that are over."""
        self.stalled_since: float | None = None
        """Since when the rest of the message waits for a consumer to take what it has been sent."""

    def ended(self, copy: Copy, outcome: Outcome) -> None:
        """One is over. With the last, the original is."""
        del self.live[copy]
        if outcome is not self.outcome:
            outcome = self.outcome = self.original.keep(_more_telling(self.outcome, outcome))
        if not self.live:
            self._router.finish(self.original, outcome)

    def said(self, copy: Copy, outcome: Outcome) -> None:
        """Its consumer waits for the producer to settle first. When nothing else is to come, the producer hears what
        they have said."""
        self.live[copy] = outcome
        together = self.outcome
        for each in self.live.values():
            if each is None:
                return
            together = _more_telling(together, each)
        self.original.tell(together)  # type: ignore[arg-type]  # this one at least has said something

    def abandon(self, outcome: Outcome) -> None:
        """The original ends from its producer's side."""
        for copy in list(self.live):
            if copy.presettled:
                copy.finish(outcome)
            else:
                self._router.settle(copy, outcome)


_RANK = {"released": 0, "modified": 1, "settled": 2, "accepted": 3, "rejected": 4}


def _more_telling(first: Outcome | None, second: Outcome) -> Outcome:
    """What two copies come to: that one was refused says more than that one was taken, and that nobody took any says
    the least."""
    if first is None or _RANK[second.state] > _RANK[first.state]:
        return second
    if first.state == second.state == "modified":
        return Outcome(
            "modified",
            delivery_failed=first.delivery_failed or second.delivery_failed,
            undeliverable_here=first.undeliverable_here and second.undeliverable_here,
            origin=first.origin,
        )
    return first


@implementer(IDistributionPolicy, ICreditWatcher, IDescribed)
class Multicast:
    """Sends copies for one address. It takes the seat of the address's policy, and chooses nobody.

    :param rule: an IMulticast.
    """

    def __init__(self, router: Router, rule: Any) -> None:
        self._router = router
        self._rule = rule
        self.stream_seconds: float = rule.stream_seconds
        self._stuck: dict[IConsumer, None] = {}
        """Those that were waited for long enough, and have not given credit since."""

    # -- as a policy -------------------------------------------------------------------------------

    def add(self, consumer: IConsumer) -> None:
        """It gets what comes from now on."""

    def remove(self, consumer: IConsumer) -> None:
        """Nobody waits for it any more."""
        self._stuck.pop(consumer, None)

    def select(self, delivery: IDelivery) -> None:
        """Nobody in particular."""

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It is worth waiting for again."""
        if delta > 0:
            self._stuck.pop(consumer, None)

    def describe(self) -> dict[str, object]:
        """The consumers that go without until they give credit."""
        return {"stuck": [consumer.id for consumer in self._stuck]}

    # -- the way of a message ----------------------------------------------------------------------

    def route(self, delivery: Delivery) -> bool:
        """As `Router.route`; the address has consumers, barred or not."""
        address = delivery.destination
        holding = self._router.holding
        if address.held:
            return holding.hold(delivery, address.held)
        try:
            # what is new cannot be late; this one may have waited, unread, behind others
            if delivery.arrived < self._router.now and holding.is_late(delivery):
                return holding.turn_away_late(delivery)
        except Malformed as error:
            return holding.refuse(delivery, error)
        ready = self._ready(delivery)
        if ready is None:
            return holding.hold(delivery, address.held)
        if not ready:
            return holding.turn_away(delivery, RELEASED)
        if delivery.producer is not None:
            self._router.feeding.left(delivery.producer)
        self._send(delivery, ready)
        return True

    def offer(self, address: Address) -> None:
        """Something has changed that may let go what is held."""
        holding = self._router.holding
        while address.held:
            delivery = next(iter(address.held))
            ready = self._ready(delivery)
            if ready is None:
                return
            if ready:
                holding.take(delivery)
                self._send(delivery, ready)
            else:
                holding.give_up(delivery)

    def deadline(self, delivery: Delivery) -> float:
        """Until when a message that is held from now on waits for consumers without credit."""
        until: float = self._router.now + self._rule.seconds(delivery.presettled)
        delivery.sent_at = until  # not before; it has no other use until then
        return until

    def overdue(self, delivery: Delivery) -> None:
        """It has waited long enough."""
        self._wait_no_longer(delivery)
        self._router.holding.something_changed(delivery.destination)

    def _may_wait(self, delivery: Delivery) -> bool:
        if delivery.shelf is not None:
            return self._router.now < delivery.sent_at
        return bool(self._rule.seconds(delivery.presettled))

    def _wait_no_longer(self, delivery: Delivery) -> None:
        """Those without credit go without, until they give some."""
        detaches = self._rule.detaches(delivery.presettled)
        for consumer in delivery.destination.consumers:
            if consumer.credit <= 0 and consumer not in self._stuck and not consumer.barred:
                self._stuck[consumer] = None
                if detaches and consumer.window:  # or it has only just come, and given none yet
                    self._router.end(consumer)

    def _ready(self, delivery: Delivery) -> list[Consumer] | None:
        """Who gets a message that goes now; None if it is to wait."""
        address = delivery.destination
        ready = [consumer for consumer in address.consumers if consumer.credit > 0]
        missed = address.on_duty - len(ready)
        if not missed:
            return ready or None
        if missed > len(self._stuck):
            if self._may_wait(delivery):
                return None
            self._wait_no_longer(delivery)
        self._router.counters["multicast_dropped"] += missed
        return ready

    def _send(self, delivery: Delivery, ready: list[Consumer]) -> None:
        router = self._router
        address = delivery.destination
        presettled = delivery.presettled
        delivery.sent_at = router.now
        for consumer in ready:
            consumer.credit -= 1
            if not presettled:
                consumer.in_flight += 1
        address.free -= len(ready)
        delivery.copies = Copies(router, self, delivery)
        if not delivery.send_copies(ready):
            self._take_back(delivery, ready)
            return
        if address.sent is not None:  # somebody watches
            for consumer in ready:
                address.sent(consumer, delivery)
        if presettled:
            for consumer in ready:
                if consumer.withheld:
                    router.use_withheld(consumer)

    def _take_back(self, delivery: Delivery, ready: list[Consumer]) -> None:
        """Its producer had aborted it: nothing was sent."""
        delivery.copies = None
        for consumer in ready:
            if not delivery.presettled:
                consumer.in_flight -= 1
            self._router.credit(consumer, consumer.credit + 1 + consumer.withheld)
        self._router.counters["aborted"] += 1
        self._router.finish(delivery, SETTLED)

    def give_up_on(self, copy: Copy) -> None:
        """Its consumer does not take the rest of a long message, and the others wait for it."""
        consumer = copy.consumer
        assert consumer is not None
        router = self._router
        router.counters["multicast_dropped"] += 1
        self._stuck[consumer] = None
        if self._rule.detaches(copy.presettled):
            router.end(consumer)
        if copy.presettled:
            copy.finish(SETTLED)
        else:
            router.settle(copy, LOST)

    # -- credit ------------------------------------------------------------------------------------

    def target(self, address: Address, link_capacity: int) -> int:
        """How much credit each producer is to have: what the consumer can take that can take least, of those that are
        waited for. That is one at least: it is a message that waits which shows that one of them is stuck."""
        stuck = self._stuck
        waited_for = [each for each in address.consumers if each not in stuck and not each.barred]
        if not waited_for:
            return 0
        least = min([each.credit for each in waited_for])
        return max(1, flow.target(least, min([each.window for each in waited_for]), 1, link_capacity))
