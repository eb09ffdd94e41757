"""`closest`: the consumers that cost least to reach; those further away only while none of these can take a message.

For work that any consumer can do, where what is near is to be used first: those attached to this router have cost 0. A
near consumer without credit captures nothing: the message goes to the next one that can take it.

It is a wrapper: `closest + pull` chooses among consumers of equal cost as `pull` does, and so with any policy. Alone it
is `closest + round-robin`. There are as many costs as there are ways to other routers, so trying one after the other
takes next to nothing. The name is Qpid Dispatch's, where a near consumer without credit does capture messages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IDistributionWrapperFactory,
)
from txrouter.policies.round_robin import RoundRobin
from txrouter.policies.tiers import Tiers
from txrouter.policies.wrapper import described

__all__ = ["Closest", "Options", "factory", "wrapper"]


@implementer(IDistributionPolicy, IDescribed)
class Closest(Tiers):
    """See the module."""

    def tier_of(self, consumer: IConsumer) -> int:
        """Those of the least cost come first."""
        cost: int = consumer.cost
        return cost

    @property
    def by(self) -> str:
        """As IExplains says."""
        return f"the least cost; among equals, {self.sample.by}"

    def describe(self) -> dict[str, object]:
        """What the policies say of themselves, by the cost of their consumers, the nearest first."""
        return {str(cost): described(group.policy) for cost, group in self.tiers.items()}


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
