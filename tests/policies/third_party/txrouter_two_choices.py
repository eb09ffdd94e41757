"""`two-choices`: of two consumers drawn at random, the one with fewer messages in flight.

Nearly as even as `pull`, with almost nothing to keep (Mitzenmacher, "The power of two choices in randomized load
balancing", 2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
)


@implementer(IDistributionPolicy, ICreditWatcher, IDescribed)
class TwoChoices:
    """See the module."""

    def __init__(self, choices: int, random: Any) -> None:
        self._choices = choices
        self._random = random
        self._able: list[IConsumer] = []
        """The consumers with credit, and some that have used theirs up; in no order, to be drawn from."""
        self._index: dict[IConsumer, int] = {}

    def add(self, consumer: IConsumer) -> None:
        """It can be drawn, if it has credit."""
        self.credit_changed(consumer, 0)

    def remove(self, consumer: IConsumer) -> None:
        """It cannot be drawn any more: the last one takes its place."""
        index = self._index.pop(consumer, None)
        if index is None:
            return
        last = self._able.pop()
        if last is not consumer:
            self._able[index] = last
            self._index[last] = index

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """Draw, and take the best."""
        best = self._draw()
        for _ in range(self._choices - 1):
            other = self._draw()
            if best is None or (other is not None and other.in_flight < best.in_flight):
                best = other
        return best

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It can be drawn, if it has credit."""
        if consumer.credit > 0 and consumer not in self._index:
            self._index[consumer] = len(self._able)
            self._able.append(consumer)

    def describe(self) -> dict[str, object]:
        """How many consumers can be drawn."""
        return {"able": sum(consumer.credit > 0 for consumer in self._able)}

    def _draw(self) -> IConsumer | None:
        while self._able:
            consumer: IConsumer = self._random.choice(self._able)
            if consumer.credit > 0:
                return consumer
            self.remove(consumer)
        return None


@dataclass(frozen=True)
class Options:
    """How many consumers are drawn for each message."""

    choices: int = 2


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "two-choices"
    summary = "of two consumers drawn at random, the one with fewer messages in flight"
    options = Options

    def build(self, options: Any, random: Any) -> IDistributionPolicy:
        if options.choices < 1:
            raise ValueError("choices: at least 1")
        return TwoChoices(options.choices, random)


factory = _Factory()
