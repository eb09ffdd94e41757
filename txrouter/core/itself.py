"""How messages to the router itself are distributed: to its one consumer there, whatever a config says of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from zope.interface import implementer

from txrouter.core.addresses import Distribution
from txrouter.interfaces import IConsumer, IDelivery, IDistributionPolicy, IDistributionPolicyFactory

__all__ = ["TO_ITSELF"]


@implementer(IDistributionPolicy)
class _Itself:
    def __init__(self) -> None:
        self._consumer: IConsumer | None = None

    def add(self, consumer: IConsumer) -> None:
        self._consumer = consumer

    def remove(self, consumer: IConsumer) -> None:
        self._consumer = None

    def select(self, delivery: IDelivery) -> IConsumer | None:
        consumer = self._consumer
        return consumer if consumer is not None and consumer.credit > 0 else None


@dataclass(frozen=True)
class _Options:
    """There are none."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "itself"
    summary = "the router itself"
    options = _Options

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return _Itself()


TO_ITSELF: Final = Distribution(_Factory(), _Options())
"""What the addresses are given that are the router's own: see `AddressTable.reserve`."""
