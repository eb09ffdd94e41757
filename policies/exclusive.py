"""`exclusive`: one consumer gets everything; when it leaves, the next takes over.

For work that must be done by one at a time and in order, such as a leader's, with others standing by. It is RabbitMQ's
"single active consumer". While the active one has no credit, messages are held: nobody else gets them.

The first to attach is active. When it leaves, the one with the highest priority follows (the link property `priority`
or `rabbitmq:priority`, see the policy of that name), and among equals the one that attached first. One that attaches
with a higher priority while another is active waits its turn: who is at work is not interrupted.

What the active one had in flight when it left may be under way there still, when the next one begins; only what it
cannot have seen goes to the next one. Who needs more certainty than that has to agree on a lease.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExplains,
)
from txrouter.policies.priority import priority_of

__all__ = ["Exclusive", "Options", "factory"]


@implementer(IDistributionPolicy, IDescribed, IExplains)
class Exclusive:
    """See the module."""

    by = "the active one; the others stand by"

    def __init__(self) -> None:
        self._consumers: set[IConsumer] = set()
        self._standby: list[tuple[int, int, IConsumer]] = []
        """A heap, the next one first: all but the active one, and some that have left."""
        self._active: IConsumer | None = None
        self._numbers = count()

    def add(self, consumer: IConsumer) -> None:
        """It is active, if it is alone; else it stands by."""
        self._consumers.add(consumer)
        if self._active is None:
            self._active = consumer
        else:
            heappush(self._standby, (-(priority_of(consumer) or 0), next(self._numbers), consumer))

    def remove(self, consumer: IConsumer) -> None:
        """If it was active, the next one is."""
        self._consumers.discard(consumer)
        if consumer is self._active:
            self._active = self._next()
        elif len(self._standby) > 2 * len(self._consumers):  # mostly of those that have left
            self._standby = [each for each in self._standby if each[2] in self._consumers]
            heapify(self._standby)

    def _next(self) -> IConsumer | None:
        while self._standby:
            consumer = heappop(self._standby)[2]
            if consumer in self._consumers:
                return consumer
        return None

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The active one, if it has credit."""
        active = self._active
        return active if active is not None and active.credit > 0 else None

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, str]]:
        """The active one, and those that stand by, the next one first."""
        if self._active is not None:
            yield self._active, "active"
        for priority, _number, consumer in sorted(self._standby):
            if consumer in self._consumers:
                yield consumer, f"stands by, priority {-priority}"

    def describe(self) -> dict[str, object]:
        """Who is active, and who stands by, the next one first."""
        standby = [each.id for _, _, each in sorted(self._standby) if each in self._consumers]
        return {"active": self._active.id if self._active is not None else None, "standby": standby}


@dataclass(frozen=True)
class Options:
    """`exclusive` has no options."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "exclusive"
    summary = "one consumer; the next takes over when it leaves"
    options = Options

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return Exclusive()


factory = _Factory()
