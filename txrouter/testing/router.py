"""One address of a router, without the rest of it."""

from __future__ import annotations

from bisect import insort_left, insort_right
from math import inf
from typing import Any

from txrouter.interfaces import (
    ICapacityWatcher,
    ICreditWatcher,
    IDistributionPolicy,
    IRanking,
    IReplyWatcher,
    ISelective,
    ISendWatcher,
    ISettlementWatcher,
    ITimed,
    IWoken,
)
from txrouter.testing.fakes import FakeConsumer, FakeDelivery

__all__ = ["FakeRouter"]


class FakeRouter:
    """One address of a router, without the rest of it: keeps the numbers, and tells the policy as the router does.

    `consumers` are those attached, by id; `held` the deliveries that have no consumer yet, the first to go first;
    `returned` the deliveries that a consumer has released and that wait for another.
    """

    def __init__(self, policy: IDistributionPolicy) -> None:
        self.policy: Any = policy
        self.now = 0.0
        if ITimed.providedBy(self.policy):
            self.policy.clock = self._clock
        if IWoken.providedBy(self.policy):
            self.policy.wake_at = self._wake_at
        self.consumers: dict[str, FakeConsumer] = {}
        self.held: list[FakeDelivery] = []
        self.returned: list[FakeDelivery] = []
        self._wakes_at = inf
        self._ranks: dict[FakeDelivery, float] = {}
        self._requests: list[tuple[FakeConsumer, FakeDelivery, float]] = []
        self._queues: dict[FakeConsumer, list[FakeDelivery]] = {}
        self._unsettled: dict[FakeConsumer, list[FakeDelivery]] = {}
        self._released: dict[FakeDelivery, set[FakeConsumer]] = {}

    def attach(self, id: str, **more: Any) -> FakeConsumer:
        """A consumer attaches. `more` is what `FakeConsumer` takes; with `credit` or `in_flight` it is one that was
        there already when the policy was put in the place of another."""
        consumer = self.consumers[id] = FakeConsumer(id, **more)
        self._queues[consumer] = []
        self._unsettled[consumer] = [FakeDelivery() for _ in range(consumer.in_flight)]
        self.policy.add(consumer)
        self._offer_held()
        return consumer

    def _clock(self) -> float:
        return self.now

    def _wake_at(self, when: float) -> None:
        if when < self._wakes_at:
            self._wakes_at = when

    def later(self, seconds: float) -> None:
        """Time passes. It stands still otherwise. A policy that wants to be asked again then is asked."""
        self.now += seconds
        if self._wakes_at <= self.now:
            self._wakes_at = inf
            self._offer_held()

    def detach(self, consumer: FakeConsumer) -> None:
        """A consumer leaves. What it had in flight is lost, untold; what waited for it is offered to others."""
        del self.consumers[consumer.id]
        self.policy.remove(consumer)
        del self._unsettled[consumer]
        self._requests = [each for each in self._requests if each[0] is not consumer]
        for delivery in reversed(self._queues.pop(consumer)):
            self._hold(delivery, first=True)
        consumer.waiting = 0
        if not self.consumers:
            self.held.clear()
        self._offer_held()

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
            return
        queue = self._queues[consumer]
        while queue and consumer.credit > 0:
            consumer.waiting -= 1
            self._send(consumer, queue.pop(0))
        self._offer_held()

    def set_capacity(self, consumer: FakeConsumer, capacity: float) -> None:
        """A consumer's capacity changes."""
        consumer.capacity = capacity
        if ICapacityWatcher.providedBy(self.policy):
            self.policy.capacity_changed(consumer)

    def send(self, delivery: FakeDelivery | None = None) -> FakeConsumer | None:
        """A message arrives. Returns who it is sent to at once; None if it is held, or waits for a consumer."""
        delivery = delivery or FakeDelivery()
        if not self.held:
            return self._place(delivery)
        self._hold(delivery)
        return self._offer_held().get(delivery) if ISelective.providedBy(self.policy) else None

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
            for request in [each for each in self._requests if each[:2] == (consumer, delivery)]:
                self.give_up(self._requests.index(request))
        taker = None
        if outcome == "released":
            self._released.setdefault(delivery, set()).add(consumer)
            taker = self._place(delivery)
        self._offer_held()
        return taker

    def reply(self, index: int = 0) -> None:
        """A reply comes: to the oldest request, or the one after `index` others.

        :raise IndexError: there is no such request.
        """
        consumer, _, since = self._requests.pop(index)
        self.policy.answered(consumer, self.now - since)
        self._offer_held()

    def give_up(self, index: int = 0) -> None:
        """A reply is not awaited any more.

        :raise IndexError: there is no such request.
        """
        consumer = self._requests.pop(index)[0]
        self.policy.answered(consumer, None)
        self._offer_held()

    @property
    def requests(self) -> int:
        """How many replies are awaited."""
        return len(self._requests)

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

    def _place(self, delivery: FakeDelivery) -> FakeConsumer | None:
        if delivery in self._released:
            return self._place_returned(delivery, self._released[delivery])
        choice = self.choose(delivery)
        if choice is None:
            self._hold(delivery)
            return None
        return self._give(choice, delivery)

    def _give(self, choice: FakeConsumer, delivery: FakeDelivery) -> FakeConsumer | None:
        if choice.credit > 0 and not self._queues[choice]:
            self._send(choice, delivery)
            return choice
        choice.waiting += 1
        self._queues[choice].append(delivery)
        return None

    def _place_returned(self, delivery: FakeDelivery, released: set[FakeConsumer]) -> FakeConsumer | None:
        others = [consumer for consumer in self.consumers.values() if consumer not in released]
        if not others:
            return None  # it goes back to its producer
        able = [consumer for consumer in others if consumer.credit > 0]
        choice = self.choose(delivery)
        if choice not in able:
            choice = able[0] if able else None
        if choice is None:
            self.returned.append(delivery)
        else:
            self._send(choice, delivery)
        return choice

    def _hold(self, delivery: FakeDelivery, first: bool = False) -> None:
        if IRanking.providedBy(self.policy) and delivery not in self._ranks:
            self._ranks[delivery] = float(self.policy.rank(delivery))
        insort = insort_left if first else insort_right
        insort(self.held, delivery, key=lambda each: self._ranks.get(each, 0.0))

    def _offer_held(self) -> dict[FakeDelivery, FakeConsumer]:
        returned, self.returned = self.returned, []
        for delivery in returned:
            self._place_returned(delivery, self._released[delivery])
        taken: dict[FakeDelivery, FakeConsumer] = {}
        selective = ISelective.providedBy(self.policy)
        declined = set()
        for delivery in list(self.held):
            kind = self.policy.kind(delivery) if selective else None
            if not self._any_credit() or kind in declined:
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
        if IReplyWatcher.providedBy(self.policy) and delivery.fields.get("reply_to") is not None:
            self._requests.append((consumer, delivery, self.now))
            self.policy.asked(consumer, delivery)
