"""Watching what happens at an address: who is chosen, what is sent, and what becomes of it.

Nobody watches most of the time, and then nothing here is called: while an address is observed, what the router calls of
its policy goes by way of the observers. They change nothing, and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from txrouter.core.deliveries import Delivery
from txrouter.core.links import Address, Consumer

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["Observations", "Observer"]


class Observer(Protocol):
    """Who watches."""

    def choosing(self, delivery: Delivery) -> None:
        """The policy is about to be asked."""

    def chose(self, delivery: Delivery, consumer: Consumer | None) -> None:
        """The policy has answered."""

    def sent(self, consumer: Consumer, delivery: Delivery) -> None:
        """As ISendWatcher has it."""

    def settled(self, consumer: Consumer, delivery: Delivery, outcome: str, seconds: float) -> None:
        """As ISettlementWatcher has it."""


class _Observed:
    """An address with somebody between the router and its policy."""

    def __init__(self, address: Address, observers: list[Observer]) -> None:
        self.observers = observers
        self._address = address
        self._inner = inner_select, inner_sent, inner_settled = address.select, address.sent, address.settled

        def select(delivery: Delivery) -> Consumer | None:
            for each in observers:
                each.choosing(delivery)
            consumer = inner_select(delivery)
            for each in observers:
                each.chose(delivery, consumer)
            return consumer

        def sent(consumer: Consumer, delivery: Delivery) -> None:
            for each in observers:
                each.sent(consumer, delivery)
            if inner_sent is not None:
                inner_sent(consumer, delivery)

        def settled(consumer: Consumer, delivery: Delivery, outcome: str, seconds: float) -> None:
            for each in observers:
                each.settled(consumer, delivery, outcome, seconds)
            if inner_settled is not None:
                inner_settled(consumer, delivery, outcome, seconds)

        self._outer: tuple[Callable[..., object], ...] = (select, sent, settled)
        address.select, address.sent, address.settled = select, sent, settled

    def take_out(self) -> None:
        """Have the router call the policy again; unless it does not, as it is being stopped."""
        address = self._address
        if (address.select, address.sent, address.settled) == self._outer:
            address.select, address.sent, address.settled = self._inner


class Observations:
    """Those of one router."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._observed: dict[Address, _Observed] = {}

    def begin(self, address: Address, observer: Observer) -> None:
        """Watch. An address that is forgotten, as nobody is attached to it any more, is not heard of again."""
        self._forget()
        found = self._observed.get(address)
        if found is None:
            found = self._observed[address] = _Observed(address, [])
        found.observers.append(observer)

    def end(self, address: Address, observer: Observer) -> None:
        """The end of `begin`."""
        found = self._observed.get(address)
        if found is not None:
            found.observers.remove(observer)
            if not found.observers:
                found.take_out()
                del self._observed[address]
        self._forget()

    def settled(self, consumer: Consumer, delivery: Delivery, outcome: str, seconds: float) -> None:
        """A delivery is over, of which the policy is not told."""
        found = self._observed.get(delivery.destination)
        for each in found.observers if found is not None else ():
            each.settled(consumer, delivery, outcome, seconds)

    def step_aside(self, address: Address) -> None:
        """Somebody comes in between an address and its policy: make room, until `follow`."""
        found = self._observed.get(address)
        if found is not None:
            found.take_out()

    def follow(self, address: Address) -> None:
        """The router calls something else for an address than before, as it has a new policy. Who watches goes on."""
        found = self._observed.pop(address, None)
        if found is not None:
            self._observed[address] = _Observed(address, found.observers)

    def _forget(self) -> None:
        addresses = self._router.addresses
        for address in [each for each in self._observed if addresses.get(each.name) is not each]:
            del self._observed[address]
