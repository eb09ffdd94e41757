"""`join-idle`: a consumer that has nothing to do, if there is one; else the less loaded of two drawn by chance.

For low delays in the common case, at the lowest price: a message goes to a consumer that is idle and waits for nothing
there, and that it is idle was said by the consumer itself, when it settled its last message. Nobody is looked for.
Only when all are busy is there a choice to make, and then two draws do (see `power-of-two`). It is Join-Idle-Queue of
Lu, Xie, Kliot, Geller, Larus and Greenberg, "Join-Idle-Queue: A novel load balancing algorithm for dynamically
scalable web services", 2011, where those who find no idle server take one by chance.

The consumers that are idle stand in line, and the one that has been idle longest is next. So at low load it is the
same as `pull`; at high load `pull` is somewhat better, as it knows the least loaded of all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

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
from txrouter.policies.ready import Ready, Rehearsal

__all__ = ["JoinIdle", "Options", "factory"]


@implementer(IDistributionPolicy, ICreditWatcher, IDeliveryWatcher, IDescribed, IExplains)
class JoinIdle:
    """See the module."""

    by = "who has been idle longest; where nobody is, the one with less in flight of two that are drawn"

    def __init__(self, random: Random) -> None:
        self._ready = Ready(random)
        self._idle: OrderedDict[IConsumer, None] = OrderedDict()
        """Those without anything in flight, the longest idle first; and some whose credit is gone. No dict, which looks
        for its first among all those that were before it."""

    def add(self, consumer: IConsumer) -> None:
        """It is idle, or can be drawn, if it has credit."""
        self.credit_changed(consumer, 0)

    def remove(self, consumer: IConsumer) -> None:
        """It is neither."""
        self._idle.pop(consumer, None)
        self._ready.discard(consumer)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The first of the idle; or the less loaded of two."""
        idle = self._idle
        while idle:
            consumer = next(iter(idle))
            if consumer.credit > 0:
                return consumer
            del idle[consumer]
        first = self._ready.one()
        second = self._ready.another(first) if first is not None else None
        if second is None or first is None:
            return first
        return second if second.in_flight < first.in_flight else first

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It is idle no more; or, if that was pre-settled, as far as anybody knows, and had its turn."""
        if self._idle.pop(consumer, self) is None and not consumer.in_flight:
            self._idle[consumer] = None

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """It may be idle now."""
        if not consumer.in_flight and consumer.credit > 0:
            self._idle.setdefault(consumer)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It can be drawn if it has credit, and is idle if it has nothing in flight."""
        self._ready.changed(consumer)
        if consumer.credit <= 0:
            self._idle.pop(consumer, None)
        elif not consumer.in_flight:
            self._idle.setdefault(consumer)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float]]:
        """The idle ones; or those that are about to be drawn. Each with what it has in flight."""
        idle = next((each for each in self._idle if each.credit > 0), None)
        if idle is not None:
            return ((each, each.in_flight) for each in self._idle if each.credit > 0)
        ready = self._ready
        self._ready = rehearsal = Rehearsal(ready)
        try:
            chosen = self.select(delivery)
        finally:
            self._ready = ready
        return ((each, each.in_flight) for each in rehearsal.candidates(chosen))

    def describe(self) -> dict[str, object]:
        """The idle ones, the next first; and how many others have credit."""
        idle = [each.id for each in self._idle if each.credit > 0]
        return {"idle": idle, "busy": len(self._ready.all()) - len(idle)}


@dataclass(frozen=True)
class Options:
    """`join-idle` has no options."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "join-idle"
    summary = "a consumer that has nothing to do; if all are busy, the less loaded of two drawn by chance"
    options = Options

    def build(self, options: object, random: Any) -> IDistributionPolicy:
        return JoinIdle(random)


factory = _Factory()
