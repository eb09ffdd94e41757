"""Which consumers of an address are on duty.

All that are attached are, but those that are barred: they get nothing new, as they asked for it or an operator did. A
policy knows of those on duty alone: to it, one that is barred has left. What is in flight to it goes on, and is
settled; what waited for it alone waits for any. While nobody is on duty at an address that has consumers, messages are
held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txrouter.core.deliveries import Delivery
from txrouter.core.links import Address, Consumer

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["Rota"]


class Rota:
    """That of one router."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def enter(self, consumer: Consumer, address: Address) -> None:
        """It is on duty."""
        router = self._router
        address.on_duty += 1
        router.policies.tell(address, address.policy.add, consumer)
        if address.on_duty == 1:
            for producer in address.producers:
                producer.draining = False
                router.feeding.make_hungry(producer)
        router.holding.something_changed(address)

    def leave(self, consumer: Consumer, address: Address) -> None:
        """It is not any more. Its numbers are still as they were."""
        router = self._router
        address.on_duty -= 1
        router.policies.tell(address, address.policy.remove, consumer)
        consumer.place = None
        if not address.on_duty:
            router.feeding.take_back(address)

    def bar(self, consumer: Consumer) -> None:
        """Send it nothing new, until `unbar`."""
        address = consumer.source
        if address is None or consumer.barred:
            return
        self.leave(consumer, address)
        consumer.barred = True
        consumer.stint += 1
        self._router.use_withheld(consumer)
        self._router.holding.scatter(consumer, address)

    def settled(self, consumer: Consumer, delivery: Delivery, outcome: str) -> None:
        """One that is barred has settled what it had in flight. All but the policy hear of it."""
        router = self._router
        router.observations.settled(consumer, delivery, outcome, router.now - delivery.sent_at)
        router.replies.settled(delivery, outcome)

    def unbar(self, consumer: Consumer) -> None:
        """The end of `bar`. What it granted meanwhile counts."""
        address = consumer.source
        if address is None or not consumer.barred:
            return
        consumer.barred = False
        self.enter(consumer, address)
        self._router.use_withheld(consumer)
