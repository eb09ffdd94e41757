"""Who of the producers is granted credit, and when: at the end of a turn, so that one grant serves many messages."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from txrouter.core import credit as flow
from txrouter.core.links import Address, Producer
from txrouter.core.rate import Rate

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["Feeding"]


class Feeding:
    """The producers of one router that are to be looked at."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._hungry: list[Producer] = []
        self._due: list[tuple[float, int, Rate[Producer]]] = []
        """A heap: when there is something for those that wait for a rate to let them send more."""
        self._count = count()
        self._sweep_at = 64

    def join(self, producer: Producer) -> None:
        """A producer attached."""
        if producer.rate is not None:
            producer.rate.join()
        self.make_hungry(producer)

    def leave(self, producer: Producer) -> None:
        """The end of `join`."""
        if producer.rate is not None:
            producer.rate.leave(producer, producer.credit)
            self._call(producer.rate)
        producer.draining = True  # it may be hungry still, but is not to be fed any more

    def make_hungry(self, producer: Producer) -> None:
        """See at the end of the turn whether it is to have credit."""
        if not producer.hungry:
            producer.hungry = True
            self._hungry.append(producer)

    def make_wanting_hungry(self, address: Address) -> None:
        """The consumers of the address can take more: see to those that could use more."""
        for producer in address.wanting:
            self.make_hungry(producer)
        address.wanting.clear()

    def left(self, producer: Producer) -> None:
        """A delivery has left the router: its producer may send another."""
        producer.credit -= 1
        self.make_hungry(producer)

    def drained(self, producer: Producer, credit: int) -> None:
        """A producer has given back `credit`."""
        producer.draining = False
        producer.credit -= credit
        if producer.rate is not None:
            producer.rate.give_back(credit)
            self._call(producer.rate)
        self.make_hungry(producer)

    def take_back(self, address: Address) -> None:
        """Nobody can take what its producers have credit for."""
        for producer in address.producers:
            self._ask_back(producer)

    def _ask_back(self, producer: Producer) -> None:
        if producer.credit > 0 and not producer.draining:
            producer.draining = True
            producer.drain()

    def bar(self, producer: Producer) -> None:
        """Give it no more, and take back what it has."""
        producer.barred = True
        self._ask_back(producer)

    def unbar(self, producer: Producer) -> None:
        """The end of `bar`."""
        if producer.barred:
            producer.barred = False
            self.make_hungry(producer)

    def feed(self) -> None:
        """The turn ends: grant what was used up."""
        hungry, self._hungry = self._hungry, []
        for producer in hungry:
            producer.hungry = False
            self._feed(producer)

    def _feed(self, producer: Producer) -> None:
        address = producer.target
        limits = producer.limits
        if producer.credit < 0:
            producer.overdrawn()
            return
        if producer.draining or producer.barred or self._router.stopping:
            target = 0
        elif address is None:
            target = limits.link_capacity
        elif address.multicast is not None:
            target = address.multicast.target(address, limits.link_capacity)
        else:
            target = flow.target(address.free, address.window, address.on_duty, limits.link_capacity)
        rate = producer.rate
        most = target if rate is None else min(target, rate.share)
        unsettled = len(producer.unsettled)
        producer.throttled = unsettled + most > limits.max_unsettled
        granted = flow.refill(producer.credit, most, unsettled, limits.max_unsettled)
        if rate is not None:
            granted = self._ration(producer, rate, granted)
        if granted:
            producer.credit += granted
            producer.grant(granted)
        if address is not None and (granted or not producer.credit) and target < limits.link_capacity:
            address.wanting[producer] = None

    # -- rates -------------------------------------------------------------------------------------

    def _ration(self, producer: Producer, rate: Rate[Producer], wanted: int) -> int:
        """How much of the credit that is wanted the rate allows now. If it is none, the producer waits for some."""
        waited = rate.is_waiting(producer)
        granted = rate.take(producer, wanted, self._router.now)
        if wanted and not granted and not waited:
            self._router.counters["rate_limited"] += 1
        self._await(rate)
        return granted

    def _await(self, rate: Rate[Producer]) -> None:
        due = None if rate.is_due else rate.next_call()
        if due is not None:
            rate.is_due = True
            if len(self._due) >= self._sweep_at:
                self._due = [entry for entry in self._due if entry[2].is_waited_for]
                heapify(self._due)
                self._sweep_at = 64 + 2 * len(self._due)
            heappush(self._due, (due, next(self._count), rate))

    def next_deadline(self) -> float | None:
        """When `wake` is to be called next; None if nobody waits."""
        due = self._due
        while due and not due[0][2].is_waited_for:
            heappop(due)[2].is_due = False
        return due[0][0] if due else None

    def wake(self) -> None:
        """See at the end of the turn to those that waited and can have credit now."""
        now = self._router.now
        while self._due and self._due[0][0] <= now:
            rate = heappop(self._due)[2]
            rate.is_due = False
            self._call(rate)

    def _call(self, rate: Rate[Producer]) -> None:
        for producer in rate.called(self._router.now):
            self.make_hungry(producer)
