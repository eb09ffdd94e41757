"""A policy that notes what it sees of messages and hears of replies: `tests.unit.noting:factory`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import IDelivery, IDistributionPolicy, IDistributionPolicyFactory, IReplyWatcher, IWoken


@dataclass(frozen=True)
class Options:
    """Until when it holds everything."""

    until: float = 0.0


@implementer(IDistributionPolicy, IReplyWatcher, IWoken)
class Noting:
    """The one with the fewest requests that are not replied to."""

    reply_seconds = 100.0
    clock: Callable[[], float]
    wake_at: Callable[[float], None]

    def __init__(self, until: float) -> None:
        self.until = until
        self.awaited: dict[Any, int] = {}
        self.asked_for: list[object] = []
        """The ids of the requests that were sent."""
        self.took: list[float | None] = []
        """How long replies took."""
        self.seen: list[IDelivery] = []
        """Every message that it was to choose for."""

    def add(self, consumer: Any) -> None:
        self.awaited[consumer] = 0

    def remove(self, consumer: Any) -> None:
        del self.awaited[consumer]

    def select(self, delivery: IDelivery) -> Any:
        if delivery not in self.seen:
            self.seen.append(delivery)
        if self.clock() < self.until:
            self.wake_at(self.until)
            return None
        free = [consumer for consumer in self.awaited if consumer.credit > 0]
        return min(free, key=lambda consumer: self.awaited[consumer], default=None)

    def asked(self, consumer: Any, delivery: IDelivery, request: int) -> None:
        self.awaited[consumer] += 1
        self.asked_for.append(delivery.field("message_id"))

    def answered(self, consumer: Any, request: int, seconds: float | None) -> None:
        self.awaited[consumer] -= 1
        self.took.append(seconds)


@implementer(IDistributionPolicyFactory)
class Factory:
    name = "noting"
    summary = "notes what it sees"
    options = Options

    def __init__(self) -> None:
        self.last: Noting
        """What it built last."""

    def build(self, options: Any, random: object) -> Noting:
        self.last = Noting(options.until)
        return self.last


factory = Factory()
