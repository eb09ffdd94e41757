"""Policies to put wrappers around, which declare what the shipped ones do not."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IRanking,
    IReplyWatcher,
    ISelective,
    ITimed,
)

__all__ = ["asking", "choosy", "inside", "sticky"]


@dataclass(frozen=True)
class Options:
    """None."""


@implementer(IDistributionPolicyFactory)
class _Factory:
    options = Options

    def __init__(self, name: str, kind: Any) -> None:
        self.name = name
        self.summary = str(kind.__doc__)
        self._kind = kind

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return self._kind()  # type: ignore[no-any-return]


@implementer(IDistributionPolicy)
class _First:
    """The first with credit."""

    def __init__(self) -> None:
        self.consumers: dict[IConsumer, None] = {}

    def add(self, consumer: IConsumer) -> None:
        assert consumer.place is None, "somebody else keeps something there"
        consumer.place = self
        self.consumers[consumer] = None

    def remove(self, consumer: IConsumer) -> None:
        assert consumer.place is self
        consumer.place = None
        del self.consumers[consumer]

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return next((each for each in self.consumers if each.credit > 0), None)


@implementer(IRanking, ISelective)
class Choosy(_First):
    """Takes one message of each subject at a time, those of high priority first."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return None if delivery.field("subject") == "z" else super().select(delivery)

    def kind(self, delivery: IDelivery) -> Hashable:
        return delivery.field("subject") == "z"

    def rank(self, delivery: IDelivery) -> float:
        priority = delivery.field("priority")
        return -priority if isinstance(priority, int) else 0.0


@implementer(IReplyWatcher, ITimed, IDescribed)
class Asking(_First):
    """The first with credit, and counts replies."""

    reply_seconds = 7.0
    clock: Callable[[], float]

    def __init__(self) -> None:
        super().__init__()
        self.awaited: dict[IConsumer, set[int]] = {}

    def remove(self, consumer: IConsumer) -> None:
        super().remove(consumer)
        self.awaited.pop(consumer, None)

    def asked(self, consumer: IConsumer, delivery: IDelivery, request: int) -> None:
        assert consumer in self.consumers
        self.awaited.setdefault(consumer, set()).add(request)

    def answered(self, consumer: IConsumer, request: int, seconds: float | None) -> None:
        assert request in self.awaited[consumer], "a reply to what was not asked"
        self.awaited[consumer].remove(request)

    def describe(self) -> dict[str, object]:
        return {
            "awaited": {consumer.id: len(requests) for consumer, requests in self.awaited.items()},
            "at": self.clock(),
        }


class Sticky(_First):
    """Each subject has its consumer, and waits for it."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        consumers = list(self.consumers)
        return consumers["xyz".find(str(delivery.field("subject"))) % len(consumers)] if consumers else None


asking = _Factory("asking", Asking)
choosy = _Factory("choosy", Choosy)
sticky = _Factory("sticky", Sticky)


def inside(wrapper: Any) -> Any:
    """The policy inside."""
    return wrapper.inner
