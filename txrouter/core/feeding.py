"""Who of the producers is granted credit, and when: at the end of a turn, so that one grant serves many messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txrouter.core import credit as flow
from txrouter.core.links import Address, Producer

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["Feeding"]


class Feeding:
    """The producers of one router that are to be looked at."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._hungry: list[Producer] = []

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
            target = flow.target(address.free, address.window, len(address.consumers), limits.link_capacity)
        unsettled = len(producer.unsettled)
        producer.throttled = unsettled + target > limits.max_unsettled
        granted = flow.refill(producer.credit, target, unsettled, limits.max_unsettled)
        if granted:
            producer.credit += granted
            producer.grant(granted)
        if address is not None and (granted or not producer.credit) and target < limits.link_capacity:
            address.wanting[producer] = None
