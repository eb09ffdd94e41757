"""`round-robin`: each consumer in turn, passing over those without credit.

For consumers of equal speed and jobs of equal size. Where either differs, a slow consumer is given as much as a fast
one, and what is sent to it waits for it: `pull` finishes the same work sooner.

There is one rotation, of those that may have credit. A consumer goes to the back of it when it is sent a message, and
drops out if its turn comes while it has no credit; once it has some, it joins again at the back. So credit that comes
and goes neither gains a consumer a turn nor costs it one that was still to come, and 9,999 consumers without credit
cost the one that has some nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExplains,
    ISendWatcher,
)

__all__ = ["Options", "RoundRobin", "factory"]


@implementer(IDistributionPolicy, ICreditWatcher, IDescribed, IExplains, ISendWatcher)
class RoundRobin:
    """See the module."""

    by = "whose turn it is, of those with credit"

    def __init__(self) -> None:
        self._turns: OrderedDict[IConsumer, None] = OrderedDict()

    def add(self, consumer: IConsumer) -> None:
        """It joins at the back, if it has credit."""
        self.credit_changed(consumer, 0)

    def remove(self, consumer: IConsumer) -> None:
        """It has no turn any more."""
        self._turns.pop(consumer, None)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The next in turn that has credit."""
        while self._turns:
            consumer = next(iter(self._turns))
            if consumer.credit > 0:
                return consumer
            del self._turns[consumer]
        return None

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It had its turn: whoever was selected, what counts is who got the message."""
        if consumer in self._turns:
            self._turns.move_to_end(consumer)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It joins at the back, unless it is in turn already."""
        if consumer.credit > 0:
            self._turns.setdefault(consumer)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float]]:
        """Those with credit, as their turns come: 1 is the next."""
        return ((each, turn) for turn, each in enumerate((each for each in self._turns if each.credit > 0), 1))

    def describe(self) -> dict[str, object]:
        """The consumers with credit, the next in turn first."""
        return {"next": [consumer.id for consumer in self._turns if consumer.credit > 0]}


@dataclass(frozen=True)
class Options:
    """`round-robin` has no options."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "round-robin"
    summary = "each consumer in turn, passing over those without credit"
    options = Options

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        return RoundRobin()


factory = _Factory()
