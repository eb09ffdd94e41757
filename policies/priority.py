"""`priority`: the consumers of the highest priority; those of the next only while none of these has credit.

For a service with instances that are to be used first, such as those with faster disks, and others that help out. It
is what RabbitMQ calls consumer priorities, and takes the same property. How much the better ones can take is up to
them: with little credit each, they fill sooner, and the others get their share.

A consumer says its priority by the link property `priority`, or `rabbitmq:priority`, when it attaches: an integer,
higher is better, 0 if it does not say. Among equals, it is `pull`: the fewest messages in flight. There are as many
tiers as there are priorities, and a message costs one question of each that is full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
from txrouter.policies.pull import Pull

__all__ = ["Options", "Priority", "factory", "priority_of"]

_NAMES = ("priority", "rabbitmq:priority")
_LARGEST = 1 << 31


def priority_of(consumer: IConsumer) -> int | None:
    """What its link properties say; None if they say what is no priority."""
    for name in _NAMES:
        given = consumer.properties.get(name)
        if given is not None:
            number = isinstance(given, int) and not isinstance(given, bool) and -_LARGEST <= given <= _LARGEST
            return given if number else None
    return 0


class _Tier(Pull):
    """The consumers of one priority."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        super().__init__()
        self.size = 0


@implementer(IDistributionPolicy, ICreditWatcher, IDeliveryWatcher, IDescribed, IExplains)
class Priority:
    """See the module."""

    by = "the highest priority; among equals, the fewest in flight"

    def __init__(self) -> None:
        self._tiers: dict[int, _Tier] = {}
        """By priority, the highest first."""
        self._tier_of: dict[IConsumer, tuple[int, _Tier]] = {}
        self._ignored = 0

    def add(self, consumer: IConsumer) -> None:
        """It joins those of its priority."""
        priority = priority_of(consumer)
        self._ignored += priority is None
        priority = priority or 0
        if priority not in self._tiers:
            self._tiers[priority] = _Tier()
            self._tiers = dict(sorted(self._tiers.items(), reverse=True))
        tier = self._tiers[priority]
        tier.size += 1
        self._tier_of[consumer] = priority, tier
        tier.add(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It leaves them."""
        priority, tier = self._tier_of.pop(consumer)
        tier.remove(consumer)
        tier.size -= 1
        if not tier.size:
            del self._tiers[priority]

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The best of the highest that have credit."""
        for tier in self._tiers.values():
            consumer = tier.select(delivery)
            if consumer is not None:
                return consumer
        return None

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It has one more in flight."""
        self._tier_of[consumer][1].sent(consumer, delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """It has one less."""
        self._tier_of[consumer][1].settled(consumer, delivery, outcome, seconds)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It can be chosen, or not."""
        self._tier_of[consumer][1].credit_changed(consumer, delta)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, str]]:
        """Those with credit, from tier to tier, as `pull` has them."""
        for priority, tier in self._tiers.items():
            for consumer, in_flight in tier.candidates(delivery):
                yield consumer, f"priority {priority}, {in_flight:g} in flight"

    def describe(self) -> dict[str, object]:
        """What `pull` says of each tier; and how many consumers gave what is no priority."""
        tiers = {str(priority): tier.describe() for priority, tier in self._tiers.items()}
        return {"tiers": tiers, "ignored": self._ignored}


@dataclass(frozen=True)
class Options:
    """`priority` has no options."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "priority"
    summary = "the consumers of the highest priority; those of the next only while none of these has credit"
    options = Options

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return Priority()


factory = _Factory()
