"""How the router speaks with the policies of its addresses: building, asking, telling, and replacing them.

Whatever a policy does, nothing is lost: what it raises is counted and reported, and something sensible done instead.
On the path of every message the router asks and tells by itself.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Hashable
from functools import partial
from math import inf, isnan
from typing import TYPE_CHECKING, Any

from txrouter.core.addresses import AddressTable, Distribution
from txrouter.core.deliveries import Delivery, Malformed
from txrouter.core.links import Address, Consumer
from txrouter.core.multicast import Multicast
from txrouter.core.shadow import Shadowed, shadow_failed
from txrouter.interfaces import IMulticast, IReassigning, IReplyWatcher, ITimed, IUnavailable, IWoken

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["Policies", "PolicyError", "Unavailable"]


class PolicyError(Exception):
    """A policy named what is not a consumer of its address."""


class Unavailable(LookupError):
    """Nobody may attach to this address."""


class Policies:
    """Those of one router.

    :param table: which distribution an address has.
    """

    def __init__(self, router: Router, table: AddressTable) -> None:
        self._router = router
        self.table = table
        self.closed: set[str] = set()
        """Addresses in use that have become unavailable."""

    # -- which an address has ----------------------------------------------------------------------

    def distribution(self, name: str) -> Distribution:
        """What is configured for an address.

        :raise Unavailable: nobody may attach to it, or send there.
        """
        distribution = self.table.find(name)
        if IUnavailable.providedBy(distribution.factory):
            raise Unavailable(f"{name} is not available")
        return distribution

    def give(self, address: Address, distribution: Distribution) -> None:
        """Build an address its policy, and the shadow that it may have. They have heard of no consumer yet."""
        self._install(address, distribution, self._build_for(address, distribution))

    def _install(self, address: Address, distribution: Distribution, policy: Any) -> None:
        router = self._router
        multicast = Multicast(router, policy) if IMulticast.providedBy(policy) else None
        shadow = self._shadow(address, distribution, multicast or policy)
        address.use(distribution, shadow or multicast or policy, multicast)
        address.shadow = shadow
        router.replies.follow(address)
        router.observations.follow(address)

    def _build_for(self, address: Address, distribution: Distribution) -> Any:
        wake_at = partial(self._router.holding.wake_at, address)
        return self._build(address, distribution, wake_at, partial(self._reassign, address))

    def _build(
        self,
        address: Address,
        distribution: Distribution,
        wake_at: Callable[[float], object],
        reassign: Callable[[Consumer], object],
    ) -> Any:
        factory: Any = distribution.factory
        policy = factory.build(distribution.options, random.Random(f"{self._router.seed}/{address.name}"))
        if ITimed.providedBy(policy):
            policy.clock = self._clock
        if IWoken.providedBy(policy):
            policy.wake_at = wake_at
        if IReassigning.providedBy(policy):
            policy.reassign = reassign
        return policy

    def _reassign(self, address: Address, consumer: Consumer) -> None:
        if consumer.source is not address:
            raise PolicyError(f"it reassigned what waits for {consumer!r}, which is no consumer of the address")
        self._router.holding.reassign(address, consumer)

    def _shadow(self, address: Address, distribution: Distribution, policy: Any) -> Shadowed | None:
        """The policy with a shadow, if there is to be one."""
        if distribution.shadow is None or isinstance(policy, Multicast):
            return None
        try:
            shadow = self._build(address, distribution.shadow, _never_mind, _never_mind)
            return Shadowed(self._router, address.name, policy, shadow, distribution.shadow)
        except Exception as error:
            shadow_failed(self._router, address.name, distribution.shadow, error)
            return None

    def _clock(self) -> float:
        return self._router.now

    def use(self, table: AddressTable) -> list[str]:
        """Distribute by another table from now on. Returns the names of the addresses in use that have another policy
        now, or other options.

        An address that has become unavailable keeps its links, and the policy it had, until the last of them is gone.
        A router that is being stopped changes nothing any more.
        """
        if self._router.stopping:
            return []
        self.table = table
        self.closed.clear()
        changed = []
        for name, address in self._router.addresses.items():
            distribution = table.find(name)
            if IUnavailable.providedBy(distribution.factory):
                self.closed.add(name)
            elif distribution != address.distribution:
                if dataclasses.replace(distribution, shadow=address.distribution.shadow) == address.distribution:
                    self._replace_shadow(address, distribution)
                elif not self.replace(address, distribution):
                    continue
                changed.append(name)
        return changed

    def replace(self, address: Address, distribution: Distribution) -> bool:
        """Give an address another policy, while it is in use: what is in flight goes on, what is held is offered again,
        in the order it was held. Returns False if it cannot be built: then the address keeps the one it has."""
        try:
            policy = self._build_for(address, distribution)
        except Exception as error:
            self.failed(address, error)
            return False
        held, returned = list(address.held), list(address.returned)
        for consumer in address.consumers:
            held += consumer.queue or ()
            consumer.queue = None
            consumer.place = None
            for delivery in consumer.unsettled.values() if address.ranked else ():
                delivery.rank = None  # if it comes back, it is the new policy's to rank
        self.end_shadow(address)
        held.sort(key=_arrival)  # those that waited for one consumer stand where they came
        self._install(address, distribution, policy)
        for consumer in address.consumers:
            if not consumer.barred:
                self.tell(address, address.policy.add, consumer)
        self._router.holding.put_back(address, held, returned)
        for producer in address.producers:
            self._router.feeding.make_hungry(producer)
        return True

    def _replace_shadow(self, address: Address, distribution: Distribution) -> None:
        """Give an address another shadow, or none. Its policy does not notice."""
        self.end_shadow(address)
        policy = address.policy if address.shadow is None else address.shadow.policy
        shadow = self._shadow(address, distribution, policy)
        held, returned = address.held, address.returned
        address.use(distribution, shadow or policy, address.multicast)
        address.held, address.returned, address.shadow = held, returned, shadow
        self._router.replies.follow(address, keeps_policy=IReplyWatcher.providedBy(address.policy))
        self._router.observations.follow(address)
        if shadow is not None:
            for consumer in address.consumers:
                if not consumer.barred:
                    shadow.introduce(consumer)

    def end_shadow(self, address: Address) -> None:
        """Say what has come of an address's shadow, if it has one."""
        if address.shadow is not None:
            address.shadow.end()

    # -- asking ------------------------------------------------------------------------------------

    def choose(self, address: Address, delivery: Delivery) -> Consumer | None:
        """Ask the policy; whatever it does, the answer is a consumer of the address, or None.

        :raise Malformed: the message could not be read where the policy wanted to look.
        """
        try:
            consumer = address.select(delivery)
            if consumer is not None and consumer.source is not address:
                raise PolicyError(f"it selected {consumer!r}, which is no consumer of the address")
            return consumer
        except Malformed:
            raise
        except Exception as error:
            return self.choose_instead(address, error)

    def choose_instead(self, address: Address, error: Exception) -> Consumer | None:
        """The policy failed to choose: any consumer with credit."""
        self.failed(address, error)
        return next((each for each in address.consumers if each.credit > 0), None)

    def rank(self, address: Address, delivery: Delivery) -> float:
        """Where a delivery that is to be held stands among others, by its policy; last where that cannot say.

        :raise Malformed: the message could not be read where the policy wanted to look.
        """
        if address.rank is None:
            return 0.0
        try:
            rank = float(address.rank(delivery))
            return inf if isnan(rank) else rank
        except Malformed:
            raise
        except Exception as error:
            self.failed(address, error)
            return inf

    def deadline(self, address: Address, delivery: Delivery) -> float | None:
        """When it is too late for a delivery, by its policy; never where that cannot say.

        :raise Malformed: the message could not be read where the policy wanted to look.
        """
        if address.deadline is None:
            return None
        try:
            deadline = address.deadline(delivery)
            return None if deadline is None or isnan(deadline) else float(deadline)
        except Malformed:
            raise
        except Exception as error:
            self.failed(address, error)
            return None

    def kind(self, address: Address, delivery: Delivery) -> Hashable:
        """Of what kind a held delivery is, by its policy; of none but its own where that cannot say."""
        if address.kind is None:
            return None
        try:
            kind = address.kind(delivery)
            hash(kind)
            return kind
        except Malformed:  # it is refused when it is offered
            return delivery
        except Exception as error:
            self.failed(address, error)
            return delivery

    # -- telling -----------------------------------------------------------------------------------

    def tell(self, address: Address, call: Callable[..., object], *arguments: object) -> None:
        """Tell the policy something, which may fail."""
        try:
            call(*arguments)
        except Exception as error:
            self.failed(address, error)

    def failed(self, address: Address, error: Exception) -> None:
        """The policy raised, or said what makes no sense."""
        self._router.counters["policy_errors"] += 1
        self._router.report("policy failed", {"address": address.name, "policy": address.policy, "error": error})


def _never_mind(_what: object) -> None:
    """A shadow wants what is held to be offered again. It holds nothing."""


def _arrival(delivery: Delivery) -> float:
    return delivery.arrived
