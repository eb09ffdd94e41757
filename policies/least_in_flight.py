"""`least-in-flight`: the consumer with the fewest messages in flight; among equals, the one that has waited longest.

The plain rule that other routers and balancers know by other names: `balanced` in Qpid Dispatch Router, `leastconn` in
HAProxy, `least_conn` in nginx. It is "join the shortest queue" (Winston, "Optimality of the shortest line discipline",
1977), which is best where consumers are alike and nothing is known of the jobs.

It is `pull` without what that learns. Use it where the rule is to be that simple, or where how soon a consumer settles
says nothing about how fast it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from txrouter.interfaces import IConsumer, IDelivery, IDistributionPolicy, IDistributionPolicyFactory
from txrouter.policies.pull import Pull

__all__ = ["LeastInFlight", "Options", "balanced", "factory"]


class LeastInFlight(Pull):
    """See the module."""

    __slots__ = ()

    by = "the least in flight, with this one; among equals, who has waited longest"

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """One less in flight. It is moved when it has settled all that it settles now."""
        if consumer is not self._unmoved:
            self._catch_up()
            self._unmoved = consumer


@dataclass(frozen=True)
class Options:
    """`least-in-flight` has no options."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    options = Options

    def __init__(self, name: str, summary: str) -> None:
        self.name = name
        self.summary = summary

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return LeastInFlight()


factory = _Factory("least-in-flight", "the consumer with the fewest in flight, of those with credit")
balanced = _Factory("balanced", "another name for least-in-flight, for configs made for other routers")
