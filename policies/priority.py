"""`priority`: the consumers of the highest priority; those of the next only while none of these has credit.

For a service with instances that are to be used first, such as those with faster disks, and others that help out. It
is what RabbitMQ calls consumer priorities, and takes the same property. How much the better ones can take is up to
them: with little credit each, they fill sooner, and the others get their share.

A consumer says its priority by the link property `priority`, or `rabbitmq:priority`, when it attaches: an integer,
higher is better, 0 if it does not say. Among equals, it is `pull`. There are as many tiers as there are priorities,
and a message costs one question of each that is full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExplains,
)
from txrouter.policies.pull import Pull
from txrouter.policies.tiers import Tiers
from txrouter.policies.wrapper import described

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


@implementer(IDistributionPolicy, IDescribed, IExplains)
class Priority(Tiers):
    """See the module."""

    def __init__(self) -> None:
        super().__init__(Pull)
        self._ignored = 0

    def tier_of(self, consumer: IConsumer) -> int:
        """Those of the highest priority come first."""
        return -(priority_of(consumer) or 0)

    def add(self, consumer: IConsumer) -> None:
        """It joins those of its priority."""
        self._ignored += priority_of(consumer) is None
        super().add(consumer)

    @property
    def by(self) -> str:
        """As IExplains says."""
        return f"the highest priority; among equals, {self.sample.by}"

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, str]]:
        """Those with credit, from tier to tier, each with what `pull` says of it."""
        for consumer, why in super().candidates(delivery):
            yield consumer, f"priority {-self.tier_of(consumer)}: {why:g}"

    def describe(self) -> dict[str, object]:
        """What `pull` says of each tier; and how many consumers gave what is no priority."""
        tiers = {str(-tier): described(group.policy) for tier, group in self.tiers.items()}
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
