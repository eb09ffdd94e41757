"""`weighted`: every consumer gets a share of the messages in proportion to its capacity.

For consumers of known speed whose settlements do not tell it: they accept before the work is done, or messages are
pre-settled. Where a message is settled when its work is done, `pull` finds the speeds out by itself.

Consumers of equal capacity form a group and take turns, as in `round-robin`. Among groups it is stride scheduling
(Waldspurger and Weihl, "Stride scheduling: deterministic proportional-share resource management", 1995): a group's
turns lie on a time line, 1 / (capacity * members) apart, and the group whose turn comes first is next. The n-th turn is
computed from n, not summed up, so turns that coincide do so exactly and the order repeats: 1:2:5 are 1, 2 and 5 of any
eight messages in a row. A consumer whose turn comes while it has no credit drops out until it has some, without a claim
to what it missed. The cost of a message grows with the logarithm of the number of groups, not of consumers.
"""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExplains,
    ISendWatcher,
)

__all__ = ["Options", "Weighted", "factory"]

TICKS = 1 << 64
"""How far apart the turns of one consumer of capacity 1 are. Fine enough for capacities in bytes."""


@dataclass(frozen=True)
class Options:
    """Where a consumer's capacity comes from. It is 1 where it is not given, or is not a number above 0."""

    capacity: str = "property:capacity"
    """`property:capacity`: the router, which knows what the link property of that name says, and all that it heard of
    it otherwise. `property:NAME`: the link property NAME alone, which the consumer sets at attach. `credit`: how many
    messages it lets be in flight, as its credit says."""


class _Group:
    """The consumers of one capacity that are in turn, the next one first. The group's own next turn is `due`."""

    __slots__ = ("capacity", "due", "had", "members", "number", "parts", "start", "ticks", "unit")

    def __init__(self, capacity: float, number: int, due: int) -> None:
        self.capacity = capacity
        self.number = number
        self.due = due
        self.members: OrderedDict[IConsumer, None] = OrderedDict()
        exact = Fraction(repr(capacity))  # 0.1 is a tenth, as it was written
        self.ticks = TICKS * exact.denominator
        self.unit = exact.numerator
        self.resized()

    def resized(self) -> None:
        """From the next turn on, turns are `ticks / parts` apart."""
        self.start = self.due
        self.had = 0
        self.parts = self.unit * len(self.members)

    def join(self, consumer: IConsumer) -> None:
        """It is in turn, at the back, if it was not."""
        if consumer not in self.members:
            self.members[consumer] = None
            self.resized()

    def leave(self, consumer: IConsumer) -> None:
        """It is in turn no more, if it was."""
        if consumer in self.members:
            del self.members[consumer]
            self.resized()

    def next_with_credit(self) -> IConsumer | None:
        """Whose turn it is. Those who cannot take it drop out."""
        while self.members:
            consumer = next(iter(self.members))
            if consumer.credit > 0:
                return consumer
            self.leave(consumer)
        return None


@implementer(IDistributionPolicy, ICapacityWatcher, ICreditWatcher, IDescribed, IExplains, ISendWatcher)
class Weighted:
    """See the module."""

    by = "whose turn comes first on the time line, where turns are 1 / capacity apart"

    def __init__(self, options: Options) -> None:
        self._source, _, self._property = options.capacity.partition(":")
        self._consumers: dict[IConsumer, None] = {}
        """The place of each is its capacity."""
        self._only: IConsumer | None = None
        """The only one there is: every turn is its."""
        self._groups: dict[float, _Group] = {}
        self._turns: list[tuple[int, int, _Group]] = []
        """A heap of when each group is due, or was before it had the turns that it had since."""
        self._now = 0
        self._numbers = count()
        self._ignored = 0

    def add(self, consumer: IConsumer) -> None:
        """It is in turn, at the back of its group, if it has credit."""
        self._consumers[consumer] = None
        self._only = consumer if len(self._consumers) == 1 else None
        consumer.place = self._capacity(consumer)
        self._join(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It is in turn no more."""
        self._leave(consumer)
        del self._consumers[consumer]
        self._only = next(iter(self._consumers)) if len(self._consumers) == 1 else None
        if len(self._turns) > 2 * len(self._consumers):  # mostly empty groups
            self._groups = {group.capacity: group for group in self._groups.values() if group.members}
            self._turns = [(group.due, group.number, group) for group in self._groups.values()]
            heapify(self._turns)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """The next consumer with credit of the group that is due first."""
        only = self._only
        if only is not None:
            return only if only.credit > 0 else None
        turns = self._turns
        while turns:
            due, number, group = turns[0]
            if group.due > due:
                heapreplace(turns, (group.due, number, group))
                continue
            consumer = group.next_with_credit()
            if consumer is not None:
                self._now = due
                return consumer
            heappop(turns)
            del self._groups[group.capacity]
        return None

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It had a turn, and its group with it, whoever was selected."""
        if consumer is self._only:
            return
        group = self._groups[consumer.place]
        group.members.move_to_end(consumer)
        group.had += 1
        group.due = group.start + group.had * group.ticks // group.parts

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It is in turn if it has credit. What it wants in flight can be told when it has just granted some."""
        if delta > 0 and self._source == "credit":
            self._reweigh(consumer, self._capacity(consumer))
        self._join(consumer)

    def capacity_changed(self, consumer: IConsumer) -> None:
        """The router has heard something newer."""
        if self._property == "capacity":
            self._reweigh(consumer, consumer.capacity)
            self._join(consumer)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float]]:
        """The next of each group, the one that is due first; each with how long that is from the last turn."""
        if self._only is not None:
            if self._only.credit > 0:
                yield self._only, 0.0
            return
        for group in sorted(self._groups.values(), key=lambda group: (group.due, group.number)):
            consumer = next((each for each in group.members if each.credit > 0), None)
            if consumer is not None:
                yield consumer, (group.due - self._now) / TICKS

    def describe(self) -> dict[str, object]:
        """The capacity of each consumer, and how many gave one that was ignored, as it is no number above 0."""
        capacities = {consumer.id: consumer.place for consumer in self._consumers}
        return {"capacities": capacities, "ignored": self._ignored}

    def _capacity(self, consumer: IConsumer) -> float:
        if self._source == "credit":
            return float(max(1, consumer.credit + consumer.in_flight))
        if self._property == "capacity":
            return float(consumer.capacity)
        capacity = _number(consumer.properties.get(self._property, 1.0))
        self._ignored += capacity is None
        return capacity or 1.0

    def _join(self, consumer: IConsumer) -> None:
        if consumer.credit <= 0:
            return
        capacity = consumer.place
        group = self._groups.get(capacity)
        if group is None:
            group = self._groups[capacity] = _Group(capacity, next(self._numbers), self._now)
            heappush(self._turns, (group.due, group.number, group))
        group.join(consumer)

    def _leave(self, consumer: IConsumer) -> None:
        """An empty group stays until it is due, so that nobody gains by leaving and coming back."""
        group = self._groups.get(consumer.place)
        if group is not None:
            group.leave(consumer)

    def _reweigh(self, consumer: IConsumer, capacity: float) -> None:
        if capacity != consumer.place:
            self._leave(consumer)
            consumer.place = capacity


def _number(given: object) -> float | None:
    """A capacity that somebody gave; None if it is none."""
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given <= sys.float_info.max:
        return None
    return float(given)


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "weighted"
    summary = "shares in proportion to the consumers' capacity"
    options = Options

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        if options.capacity != "credit" and not re.fullmatch("property:.+", options.capacity):
            raise ValueError(f"capacity: {options.capacity!r} is neither `property:NAME` nor `credit`")
        return Weighted(options)


factory = _Factory()
