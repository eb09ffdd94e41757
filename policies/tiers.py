"""Consumers in tiers: those of the next get a message only while none of the better ones can take it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from txrouter.interfaces import IConsumer, IDelivery, IDistributionPolicy
from txrouter.policies.wrapper import Group, Groups

__all__ = ["Tiers"]


class Tiers(Groups):
    """A policy for each tier, all alike. A subclass says which tier a consumer is in, by a number that stays."""

    def __init__(self, build: Callable[[], IDistributionPolicy]) -> None:
        self.tiers: dict[int, Group] = {}
        """The lowest first."""
        super().__init__(build)

    def tier_of(self, consumer: IConsumer) -> int:
        """The lower, the better."""
        raise NotImplementedError

    def policies(self) -> Iterator[Any]:
        """As Groups says."""
        yield self.sample
        for group in self.tiers.values():
            yield group.policy

    def add(self, consumer: IConsumer) -> None:
        """It joins those of its tier."""
        tier = self.tier_of(consumer)
        if tier not in self.tiers:
            self.tiers[tier] = self.new_group()
            self.tiers = dict(sorted(self.tiers.items()))
        self.join(consumer, self.tiers[tier])

    def remove(self, consumer: IConsumer) -> None:
        """It leaves them."""
        if not self.leave(consumer).size:
            del self.tiers[self.tier_of(consumer)]

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """Whom the policy of the best tier chooses, or of the next, if that chooses nobody."""
        for group in self.tiers.values():
            consumer = group.select(delivery)
            if consumer is not None:
                return consumer
        return None

    def rank(self, delivery: IDelivery) -> float:
        """As IRanking says."""
        best = next((group.policy for group in self.tiers.values()), self.sample)
        return float(best.rank(delivery))

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float | str]]:
        """As IExplains says: tier by tier, the best first."""
        for group in self.tiers.values():
            yield from group.policy.candidates(delivery)
