"""`deadline`: what is held goes by how soon it has to; what is too late does not go at all.

For messages that are of use only until some time, under load: those that can wait make room for those that cannot. Of
what the router holds, the message with the least slack is next: the time that is left until its deadline, less what it
takes. That is optimal for one consumer as long as all deadlines can be met: "earliest deadline first" (Liu and Layland,
"Scheduling algorithms for multiprogramming in a hard-real-time environment", 1973), or "least laxity first" (Mok,
"Fundamental design problems of distributed systems for the hard-real-time environment", 1983) where it is known how
long messages take. Under overload, where not all can be met, what is too late costs the consumers nothing.

It orders only what waits in the router. So it matters where consumers grant few messages at a time; and most of what
waits does so at its producer, for want of credit. The consumer is chosen as by `pull`.

A message's deadline is when its time to live (`ttl`) ends, or what an application property says. Those that have none
follow all that have one, or are taken to have `default_seconds`; they are never too late.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    IDelivery,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExpiring,
    IRanking,
    ITimed,
)
from txrouter.policies.costs import Costs
from txrouter.policies.pull import Pull

__all__ = ["Deadline", "Options", "factory"]

MOST = 1e9
"""Seconds, more than which are not believed."""


@dataclass(frozen=True)
class Options:
    """How long messages have, and what they take."""

    deadline: str = "ttl"
    """`ttl`: the time to live in the message's header. `property:NAME`: the application property NAME, in seconds from
    when the message arrives; the time to live where there is none."""
    default_seconds: float = 0.0
    """Where messages without a deadline stand: as if they had so many seconds; 0 for after all that have one."""
    cost: str = "learned"
    """How many seconds a message takes. `learned`: as many as those with its subject took before. `property:NAME`: its
    application property NAME. 0 where nothing is known."""


@implementer(IExpiring, IRanking, ITimed)
class Deadline(Pull):
    """See the module."""

    by = "the fewest in flight; what is held goes by its slack"
    clock: Callable[[], float]

    def __init__(self, options: Options) -> None:
        super().__init__()
        self._property = "" if options.deadline == "ttl" else options.deadline.removeprefix("property:")
        self._default = options.default_seconds or inf
        self._costs = Costs(options.cost, 0.0)

    def add(self, consumer: IConsumer) -> None:
        """As `pull`."""
        self._costs.add(consumer, self.clock())
        super().add(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """As `pull`."""
        self._costs.remove(consumer)
        super().remove(consumer)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """As `pull`; nobody for what is too late. Whether a time to live has run out the router sees by itself."""
        if self._property:
            deadline = self.deadline(delivery)
            if deadline is not None and deadline <= self.clock():
                return None
        return super().select(delivery)

    def deadline(self, delivery: IDelivery) -> float | None:
        """When it is too late for it."""
        seconds = self._seconds(delivery)
        return None if seconds is None else float(delivery.arrived) + seconds

    def _seconds(self, delivery: IDelivery) -> float | None:
        """How long it has from when it arrived."""
        if self._property:
            given = delivery.application_property(self._property)
            if isinstance(given, int | float) and not isinstance(given, bool) and -MOST <= given <= MOST:
                return float(given)
        ttl = delivery.field("ttl")
        return ttl / 1000 if isinstance(ttl, int) else None

    def rank(self, delivery: IDelivery) -> float:
        """Its deadline, less what it takes: whose is lower has less slack, whatever the time is."""
        seconds = self._seconds(delivery)
        if seconds is None:
            seconds = self._default
        return float(delivery.arrived) + seconds - self._costs.of(delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """As `pull`."""
        self._costs.settled(consumer, delivery, outcome, seconds, self.clock())
        super().settled(consumer, delivery, outcome, seconds)

    def describe(self) -> dict[str, object]:
        """As `pull`; and what is known of what messages take."""
        return {**super().describe(), **self._costs.describe()}


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "deadline"
    summary = "as pull; of what is held, the message with the least slack goes first, and none that is too late"
    options = Options

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        if not re.fullmatch("ttl|property:.+", options.deadline):
            raise ValueError(f"deadline: {options.deadline!r} is neither `ttl` nor `property:NAME`")
        if not 0 <= options.default_seconds <= MOST:
            raise ValueError(f"default_seconds: {options.default_seconds} is not between 0 and {MOST:.0f}")
        return Deadline(options)


factory = _Factory()
