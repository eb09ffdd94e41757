"""`closest`: the consumers that cost least to reach; those further away only while none of these can take a message.

For work that any consumer can do, where what is near is to be used first: those attached to this router have cost 0. A
near consumer without credit captures nothing: the message goes to the next one that can take it.

It is a wrapper: `closest + pull` chooses among consumers of equal cost as `pull` does, and so with any policy. Alone it
is `closest + round-robin`. There are as many costs as there are ways to other routers, so trying one after the other
takes next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IDistributionWrapperFactory,
)
from txrouter.policies.round_robin import RoundRobin
from txrouter.policies.wrapper import Group, Groups, described

__all__ = ["Closest", "Options", "factory", "wrapper"]


@implementer(IDistributionPolicy, IDescribed)
class Closest(Groups):
    """See the module."""

    def __init__(self, build: Callable[[], IDistributionPolicy]) -> None:
        self._groups: dict[int, Group] = {}
        """By what they cost, the cheapest first."""
        super().__init__(build)

    def policies(self) -> Iterator[Any]:
        """As Groups says."""
        yield self.sample
        for group in self._groups.values():
            yield group.policy

    def add(self, consumer: IConsumer) -> None:
        """It joins those of its cost."""
        cost = consumer.cost
        if cost not in self._groups:
            self._groups[cost] = self.new_group()
            self._groups = dict(sorted(self._groups.items()))
        self.join(consumer, self._groups[cost])

    def remove(self, consumer: IConsumer) -> None:
        """It leaves them."""
        if not self.leave(consumer).size:
            del self._groups[consumer.cost]

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """Whom the policy chooses of the nearest, if it chooses one of these."""
        for group in self._groups.values():
            consumer = group.select(delivery)
            if consumer is not None:
                return consumer
        return None

    def rank(self, delivery: IDelivery) -> float:
        """As IRanking says."""
        nearest = next((group.policy for group in self._groups.values()), self.sample)
        return float(nearest.rank(delivery))

    @property
    def by(self) -> str:
        """As IExplains says."""
        return f"the least cost; among equals, {self.sample.by}"

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float | str]]:
        """Those whom the policies would choose among, the nearest first."""
        for group in self._groups.values():
            yield from group.policy.candidates(delivery)

    def describe(self) -> dict[str, object]:
        """What the policies say of themselves, by the cost of their consumers, the nearest first."""
        return {str(cost): described(group.policy) for cost, group in self._groups.items()}


@dataclass(frozen=True)
class Options:
    """`closest` has no options."""


@implementer(IDistributionWrapperFactory)
class _Wrapper:
    name = "closest"
    summary = "those that cost least to reach first; others only while none of these can take a message"
    options = Options

    def wrap(self, build: Callable[[], IDistributionPolicy], options: object, random: object) -> IDistributionPolicy:
        return Closest(build)


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "closest"
    summary = "this router's consumers in turn; others' only while none of these has credit"
    options = Options

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return Closest(RoundRobin)


factory = _Factory()
wrapper = _Wrapper()
