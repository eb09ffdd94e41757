"""One address of a router, without the rest of it."""

from __future__ import annotations

from bisect import insort_left, insort_right
from collections.abc import Hashable
from math import inf
from typing import Any

from txrouter.interfaces import (
    ICapacityWatcher,
    ICreditWatcher,
    IDistributionPolicy,
    IExpiring,
    IRanking,
    IReassigning,
    ISelective,
    ISendWatcher,
    ISettlementWatcher,
    ITimed,
    IWoken,
)
from txrouter.testing.fakes import FakeConsumer, FakeDelivery
from txrouter.testing.replies import Replies

__all__ = ["FakeRouter"]


class FakeRouter:
    """One address of a router, without the rest of it: keeps the numbers, and tells the policy as the router does.

    `consumers` are those attached, by id; `held` the deliveries that have no consumer yet, the first to go first;
    `returned` the deliveries that a consumer has released and that wait for another; `expired` those for which it was
    too late, by what an `IExpiring` says. A delivery's `ttl` is not looked at.
    """

    def __init__(self, policy: IDistributionPolicy) -> None:
        self.now = 0.0
        self.consumers: dict[str, FakeConsumer] = {}
        self.held: list[FakeDelivery] = []
        self.returned: list[FakeDelivery] = []
        self.expired: list[FakeDelivery] = []
        self._again = False
        """Something changed, so that what is held has to be offered."""
        self._wakes_at = inf
        self._ranks: dict[FakeDelivery, float] = {}
        self._replies = Replies()
        self._queues: dict[FakeConsumer, list[FakeDelivery]] = {}
        self._unsettled: dict[FakeConsumer, list[FakeDelivery]] = {}
        self._released: dict[FakeDelivery, set[FakeConsumer]] = {}
        self._use(policy)

    def _use(self, policy: IDistributionPolicy) -> None:
        self.policy: Any = policy
        if ITimed.providedBy(self.policy):
            self.policy.clock = self._clock
        if IWoken.providedBy(self.policy):
            self.policy.wake_at = self._wake_at
        if IReassigning.providedBy(self.policy):
            self.policy.reassign = self._reassign
        self._replies.use(policy)

    def _clock(self) -> float:
        return self.now

    def _wake_at(self, when: float) -> None:
        if when < self._wakes_at:
            self._wakes_at = when

    def replace(self, policy: IDistributionPolicy) -> None:
        """Another policy is put in the place of this one. It finds consumers with credit and with messages in flight,
        of which it will hear that they are settled; it hears nothing of requests that were sent before."""
        held, returned = self.held, self.returned
        for consumer, queue in self._queues.items():
            held += queue
            queue.clear()
            consumer.waiting = 0
            consumer.place = None
        held.sort(key=lambda each: each.arrived)
        self._ranks.clear()
        self._use(policy)
        for consumer in self.consumers.values():
            self.policy.add(consumer)
        self.held, self.returned = [], []
        for shelf, deliveries in ((self.held, held), (self.returned, returned)):
            for delivery in deliveries:
                self._shelve(delivery, shelf)
        self._offer()

    # -- what happens ----------------------------------------------------------------------------------------------

    def attach(self, id: str, **more: Any) -> FakeConsumer:
        """A consumer attaches. `more` is what `FakeConsumer` takes; with `credit` or `in_flight` it is one that was
        there already when the policy was put in the place of another."""
        consumer = self.consumers[id] = FakeConsumer(id, **more)
        self._queues[consumer] = []
        self._unsettled[consumer] = [FakeDelivery() for _ in range(consumer.in_flight)]
        self.policy.add(consumer)
        self._offer()
        return consumer

    def detach(self, consumer: FakeConsumer) -> None:
        """A consumer leaves. What it had in flight is lost, untold; what waited for it is offered to others."""
        del self.consumers[consumer.id]
        self.policy.remove(consumer)
        consumer.place = None
        del self._unsettled[consumer]
        self._scatter(consumer)
        del self._queues[consumer]
        self.returned = [each for each in self.returned if self._others(each)]
        if not self.consumers:
            self.held.clear()
        self._offer()

    def later(self, seconds: float) -> None:
        """Time passes. It stands still otherwise. A policy that wants to be asked again then is asked, and replies that
        are awaited no longer are given up."""
        self.now += seconds
        self._expire()
        woken = self._wakes_at <= self.now
        if woken:
            self._wakes_at = inf
        if (self._replies.expire(self.now) and self.held) or woken:
            self._offer()

    def _scatter(self, consumer: FakeConsumer) -> None:
        """To the policy it has left."""
        self._replies.left(consumer)
        self._reassign(consumer)

    def _reassign(self, consumer: FakeConsumer) -> None:
        self._again |= bool(self._queues[consumer])
        for delivery in reversed(self._queues[consumer]):
            self._shelve(delivery, self.held, first=True)
        self._queues[consumer] = []
        consumer.waiting = 0

    def bar(self, consumer: FakeConsumer, settles: int = 0) -> None:
        """A consumer gets nothing for a while, in which it settles so many of its oldest deliveries. The policy hears
        that it left and that it came, and nothing of what was between."""
        there = self.consumers
        self.consumers = {id: each for id, each in there.items() if each is not consumer}
        self.policy.remove(consumer)
        consumer.place = None
        credit, consumer.credit = consumer.credit, 0
        self._scatter(consumer)
        self._offer()
        settled = self._unsettled[consumer][:settles]
        del self._unsettled[consumer][:settles]
        consumer.in_flight = len(self._unsettled[consumer])
        if settled and self.held:
            self._offer()
        self.consumers = there
        self.policy.add(consumer)
        if credit:
            self.set_credit(consumer, credit)
        else:
            self._offer()

    def grant(self, consumer: FakeConsumer, credit: int) -> None:
        """A consumer gives `credit` more."""
        self.set_credit(consumer, consumer.credit + credit)

    def set_credit(self, consumer: FakeConsumer, credit: int) -> None:
        """A consumer's credit becomes `credit`: 0 where it drained, or its connection can take no more for now."""
        delta = credit - consumer.credit
        if not delta:
            return
        consumer.credit = credit
        if ICreditWatcher.providedBy(self.policy):
            self.policy.credit_changed(consumer, delta)
        if delta < 0:
            self._end_turn()
            return
        queue = self._queues[consumer]
        while queue and consumer.credit > 0:
            consumer.waiting -= 1
            self._send(consumer, queue.pop(0))
        self._offer()

    def set_capacity(self, consumer: FakeConsumer, capacity: float) -> None:
        """A consumer's capacity changes."""
        consumer.capacity = capacity
        if ICapacityWatcher.providedBy(self.policy):
            self.policy.capacity_changed(consumer)
        self._end_turn()

    def send(self, delivery: FakeDelivery | None = None) -> FakeConsumer | None:
        """A message arrives. Returns who it is sent to at once; None if it is held, or waits for a consumer."""
        delivery = delivery or FakeDelivery()
        delivery.arrived = self.now
        if self.held:
            self._shelve(delivery, self.held)
            return self._offer().get(delivery) if ISelective.providedBy(self.policy) else None
        choice = self.choose(delivery)
        if choice is None:
            if self.consumers:
                self._shelve(delivery, self.held)
            return self._end_turn().get(delivery)
        taker = self._give(choice, delivery)
        return self._end_turn().get(delivery, taker)

    def settle(
        self, consumer: FakeConsumer, outcome: str = "accepted", seconds: float = 0.0, index: int = 0
    ) -> FakeConsumer | None:
        """A consumer settles a delivery: its oldest, or the one after `index` others.

        Returns who else gets it, if it is released and there is somebody who can take it.

        :raise IndexError: it has no such delivery.
        """
        delivery = self._unsettled[consumer].pop(index)
        consumer.in_flight -= 1
        if ISettlementWatcher.providedBy(self.policy):
            self.policy.settled(consumer, delivery, outcome, seconds)
        if outcome not in ("accepted", "settled"):
            self._replies.refused(consumer, delivery)
        taker = None
        if outcome == "released":
            self._released.setdefault(delivery, set()).add(consumer)
            if self._others(delivery) and not self._expires(delivery):
                taker = self._send_returned(delivery)
                if taker is None:
                    self._shelve(delivery, self.returned)
        if self.held:
            self._offer()
        return taker

    @property
    def requests(self) -> int:
        """How many replies are awaited."""
        return len(self._replies.awaited)

    def reply(self, index: int = 0) -> None:
        """A reply comes: to the oldest request, or the one after `index` others.

        :raise IndexError: there is no such request.
        """
        request = self._replies.awaited[index]
        self._replies.over(request, self.now - request.sent_at)
        if self.held:
            self._offer()

    def give_up(self, index: int = 0) -> None:
        """A reply is not awaited any more, sooner than by its time.

        :raise IndexError: there is no such request.
        """
        self._replies.over(self._replies.awaited[index], None)
        if self.held:
            self._offer()

    # -- what is asked ---------------------------------------------------------------------------------------------

    def choose(self, delivery: FakeDelivery) -> FakeConsumer | None:
        """Ask the policy.

        :raise AssertionError: it selects what is no consumer of the address.
        """
        choice: object = self.policy.select(delivery)
        if choice is None:
            return None
        consumer = self.consumers.get(getattr(choice, "id", ""))
        assert choice is consumer, f"select returned {choice!r}, which is not attached"
        return consumer

    def rank(self, delivery: FakeDelivery) -> float:
        """Ask the policy for a rank; 0 if it has none to give."""
        return float(self.policy.rank(delivery)) if IRanking.providedBy(self.policy) else 0.0

    def is_late(self, delivery: FakeDelivery) -> bool:
        """Ask the policy whether it is too late for it; it never is if that has nothing to say."""
        deadline = self.policy.deadline(delivery) if IExpiring.providedBy(self.policy) else None
        return deadline is not None and deadline <= self.now

    def kind(self, delivery: FakeDelivery) -> Hashable:
        """Ask the policy for a kind; None if all are alike to it."""
        kind: Hashable = self.policy.kind(delivery) if ISelective.providedBy(self.policy) else None
        return kind

    # -- what comes of it ------------------------------------------------------------------------------------------

    def _shelve(self, delivery: FakeDelivery, shelf: list[FakeDelivery], first: bool = False) -> None:
        if self._expires(delivery):
            return
        if delivery not in self._ranks:
            self._ranks[delivery] = self.rank(delivery)
        insort = insort_left if first else insort_right
        insort(shelf, delivery, key=self._ranks.__getitem__)

    def _give(self, choice: FakeConsumer, delivery: FakeDelivery) -> FakeConsumer | None:
        if choice.credit > 0 and not self._queues[choice]:
            self._send(choice, delivery)
            return choice
        self._shelve(delivery, self._queues[choice])
        choice.waiting = len(self._queues[choice])
        return None

    def _expires(self, delivery: FakeDelivery) -> bool:
        late = self.is_late(delivery)
        if late:
            self.expired.append(delivery)
        return late

    def _expire(self) -> None:
        for shelf in (self.held, self.returned, *self._queues.values()):
            shelf[:] = [delivery for delivery in shelf if not self._expires(delivery)]
        for consumer, queue in self._queues.items():
            consumer.waiting = len(queue)

    def _others(self, delivery: FakeDelivery) -> list[FakeConsumer]:
        """Those that have not released it; where there are none, it goes back to its producer."""
        released = self._released[delivery]
        return [consumer for consumer in self.consumers.values() if consumer not in released]

    def _send_returned(self, delivery: FakeDelivery) -> FakeConsumer | None:
        able = [consumer for consumer in self._others(delivery) if consumer.credit > 0]
        choice = self.choose(delivery)
        if choice not in able:
            choice = able[0] if able else None
        if choice is not None:
            self._send(choice, delivery)
        return choice

    def _end_turn(self) -> dict[FakeDelivery, FakeConsumer]:
        return self._offer() if self._again else {}

    def _offer(self) -> dict[FakeDelivery, FakeConsumer]:
        """Offer what is returned and what is held. Returns who got what of the latter."""
        taken: dict[FakeDelivery, FakeConsumer] = {}
        self._again = True
        while self._again:
            self._again = False
            self._offer_returned()
            taken |= self._offer_held()
        return taken

    def _offer_returned(self) -> None:
        for delivery in list(self.returned):
            if not self._any_credit():
                break
            if self._send_returned(delivery) is not None:
                self.returned.remove(delivery)

    def _offer_held(self) -> dict[FakeDelivery, FakeConsumer]:
        taken: dict[FakeDelivery, FakeConsumer] = {}
        declined: set[Hashable] = set()
        for delivery in list(self.held):
            if not self._any_credit():
                break
            kind = self.kind(delivery)
            if kind in declined:
                continue
            choice = self.choose(delivery)
            if choice is None:
                declined.add(kind)
                continue
            self.held.remove(delivery)
            if self._give(choice, delivery) is not None:
                taken[delivery] = choice
        return taken

    def _any_credit(self) -> bool:
        return any(consumer.credit > 0 for consumer in self.consumers.values())

    def _send(self, consumer: FakeConsumer, delivery: FakeDelivery) -> None:
        consumer.credit -= 1
        if not delivery.presettled:
            consumer.in_flight += 1
            self._unsettled[consumer].append(delivery)
        if ISendWatcher.providedBy(self.policy):
            self.policy.sent(consumer, delivery)
        if self._replies.sent(consumer, delivery, self.now):
            self._again |= bool(self.held)
