"""`subset`: only consumers whose property matches the message's.

For instances that are not all alike: those of a region, a version, a tenant, or with a certain device. A consumer says
by a link property which values it takes, one or several with commas between; a message says its value by an application
property, or by its subject or another field. Among the consumers that match, the policy inside chooses. Messages whose
value nobody takes are held, until somebody comes who does, and let others pass.

A consumer that says nothing takes everything, if it is to (`generalists`); a message that says nothing is for all.
Consumers that take the same values form a group, with a policy of its own. So a message costs one question to each
group that takes its value: those who take that alone, those who take everything, and perhaps some with several values.
Where more than one group has somebody, who has less in flight for its capacity is chosen; among equals, one who says
that it takes the value. For messages that say nothing there is one policy more, over all consumers, from when the first
such message comes.

It is what Envoy calls subset load balancing, and JMS, with more words, a selector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any
from uuid import UUID

from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionWrapperFactory,
    ISelective,
)
from txrouter.policies.wrapper import Group, Groups, View, Wrapper, described

__all__ = ["Options", "Subset", "wrapper"]

MOST_VALUES = 100
"""Of one consumer. What it says beyond that does not count."""
MOST_MISSED = 20
"""The values that nobody takes and that are remembered."""
MOST_TOLD = 8
"""Of each group, those that could be selected."""
FIELDS = ("subject", "group-id", "content-type", "user-id", "to")
_PROPERTY = "property:"
_EVERYTHING = frozenset[str]()


@dataclass(frozen=True)
class Options:
    """What has to match."""

    property: str = "subset"
    """The link property by which a consumer says which values it takes."""
    key: str = ""
    """What of a message is its value: `property:NAME` for the application property NAME; or `subject`, `group-id`,
    `content-type`, `user-id` or `to`. The application property of the same name as the consumer's, if not said."""
    generalists: bool = True
    """Whether a consumer without the property takes every message; or only those without a value."""


def text_of(value: object) -> str:
    """A value as it is compared; empty where there is none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, int | float | UUID) else ""


@implementer(IDistributionPolicy, IDescribed, ISelective)
class Subset(Groups):
    """See the module."""

    def __init__(self, build: Callable[[], IDistributionPolicy], options: Options) -> None:
        self._groups: dict[frozenset[str], Group] = {}
        """By the values that they take; those that say none take everything."""
        self._takers: dict[str, list[Group]] = {}
        """By value: the groups that take it and say so."""
        self._all: Wrapper | None = None
        """The policy over all consumers, as it knows them: if it has been needed."""
        super().__init__(build)
        self._property = options.property
        self._generalists = options.generalists
        key = options.key or _PROPERTY + options.property
        self._field = None if key.startswith(_PROPERTY) else key.replace("-", "_")
        self._name = key.removeprefix(_PROPERTY)
        self._selective = ISelective.providedBy(self.sample)
        self._missed: dict[str, None] = {}
        self._cut = 0

    def policies(self) -> Iterator[Any]:
        """As Groups says."""
        yield self.sample
        for group in self._groups.values():
            yield group.policy
        if self._all is not None:
            yield self._all.inner

    # -- who there is ------------------------------------------------------------------------------

    def _values(self, consumer: IConsumer) -> frozenset[str]:
        given = text_of(consumer.properties.get(self._property))
        values = [value for value in dict.fromkeys(map(str.strip, given.split(","))) if value]
        return frozenset(values[:MOST_VALUES])

    def add(self, consumer: IConsumer) -> None:
        """It joins those that take the same."""
        values = self._values(consumer)
        self._cut += len(values) == MOST_VALUES
        group = self._groups.get(values)
        if group is None:
            group = self._groups[values] = self.new_group()
            for value in values:
                self._takers.setdefault(value, []).append(group)
        for value in values:
            self._missed.pop(value, None)
        self.join(consumer, group)
        if self._all is not None:
            self._add_to_all(self._all, consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It leaves them."""
        values = self._values(consumer)
        group = self.leave(consumer)
        if not group.size:
            del self._groups[values]
            for value in values:
                takers = self._takers[value]
                takers.remove(group)
                if not takers:
                    del self._takers[value]
        if self._all is not None:
            self._all.leave(consumer)
            if not self.home:
                self._all = None

    # -- choosing ----------------------------------------------------------------------------------

    def _value(self, delivery: IDelivery) -> str:
        given = delivery.application_property(self._name) if self._field is None else delivery.field(self._field)
        return text_of(given)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """Whom the policies choose of those that take its value; of several, who has less in flight."""
        value = self._value(delivery)
        if not value:
            return self._choose_of_all(delivery)
        takers = self._takers.get(value)
        if takers is not None and len(takers) == 1 and _EVERYTHING not in self._groups:
            return takers[0].select(delivery)
        groups = self._who_take(value)
        if not groups:
            self._miss(value)
        return self._least_loaded(groups, delivery)

    def _who_take(self, value: str) -> list[Group]:
        groups = self._takers.get(value, [])
        general = self._groups.get(_EVERYTHING) if self._generalists else None
        return groups if general is None else [*groups, general]

    def _least_loaded(self, groups: list[Group], delivery: IDelivery) -> IConsumer | None:
        best: IConsumer | None = None
        for group in groups:
            other = group.select(delivery)
            if other is None:
                continue
            if best is None:
                best = other
            elif (other.credit > 0) is not (best.credit > 0):
                best = other if other.credit > 0 else best
            # the same as comparing (in flight + 1) / capacity
            elif (other.in_flight + 1) * best.capacity < (best.in_flight + 1) * other.capacity:
                best = other
        return best

    def _choose_of_all(self, delivery: IDelivery) -> IConsumer | None:
        if self._all is None:
            if len(self._groups) <= 1:
                for group in self._groups.values():
                    return group.select(delivery)
                return None
            self._all = Wrapper(self.new_group().policy)
            for consumer in self.home:
                self._add_to_all(self._all, consumer)
        chosen = self._all.inner.select(delivery)
        return None if chosen is None else chosen.consumer

    def _add_to_all(self, all: Wrapper, consumer: IConsumer) -> None:
        view = all.apart[consumer] = View(consumer)
        all.inner.add(view)

    def _miss(self, value: str) -> None:
        if value not in self._missed:
            if len(self._missed) >= MOST_MISSED:
                del self._missed[next(iter(self._missed))]
            self._missed[value] = None

    def kind(self, delivery: IDelivery) -> Any:
        """Its value; and its kind among those, if the policy inside knows kinds."""
        value = self._value(delivery)
        return (value, self.sample.kind(delivery)) if self._selective else value

    def rank(self, delivery: IDelivery) -> float:
        """As IRanking says, of one that takes its value."""
        takers = self._takers.get(self._value(delivery))
        return float((takers[0].policy if takers else self.sample).rank(delivery))

    @property
    def by(self) -> str:
        """As IExplains says."""
        return f"of those that take its value, {self.sample.by}"

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float | str]]:
        """As IExplains says; those of the group that has the least loaded one first."""
        value = self._value(delivery)
        if not value and self._all is not None:
            return self._all.candidates(delivery)
        groups = self._groups.values() if not value else self._who_take(value)
        found = [
            candidates for group in groups if (candidates := list(islice(group.policy.candidates(delivery), MOST_TOLD)))
        ]
        found.sort(key=lambda candidates: (candidates[0][0].in_flight + 1) / candidates[0][0].capacity)
        return chain.from_iterable(found)

    # -- what happens ------------------------------------------------------------------------------

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """As ISendWatcher says."""
        self.home[consumer].sent(consumer, delivery)
        if self._all is not None:
            self._all.sent(consumer, delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """As ISettlementWatcher says."""
        self.home[consumer].settled(consumer, delivery, outcome, seconds)
        if self._all is not None:
            self._all.settled(consumer, delivery, outcome, seconds)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """As ICreditWatcher says."""
        self.home[consumer].credit_changed(consumer, delta)
        if self._all is not None:
            self._all.credit_changed(consumer, delta)

    def capacity_changed(self, consumer: IConsumer) -> None:
        """As ICapacityWatcher says."""
        self.home[consumer].capacity_changed(consumer)
        if self._all is not None:
            self._all.capacity_changed(consumer)

    def asked(self, consumer: IConsumer, delivery: IDelivery, request: int) -> None:
        """As IReplyWatcher says."""
        self.home[consumer].asked(consumer, delivery, request)
        if self._all is not None:
            self._all.asked(consumer, delivery, request)

    def answered(self, consumer: IConsumer, request: int, seconds: float | None) -> None:
        """As IReplyWatcher says."""
        self.home[consumer].answered(consumer, request, seconds)
        if self._all is not None:
            self._all.answered(consumer, request, seconds)

    def describe(self) -> dict[str, object]:
        """What the policies say of themselves, by the values of their consumers; the values of messages that nobody
        takes, the last ones at least; and how many consumers said so many values that not all of them count."""
        groups = {",".join(sorted(values)): described(group.policy) for values, group in self._groups.items()}
        told: dict[str, object] = {"groups": groups, "nobody_for": list(self._missed), "cut": self._cut}
        if self._all is not None:
            told["all"] = described(self._all.inner)
        return told


@implementer(IDistributionWrapperFactory)
class _Factory:
    name = "subset"
    summary = "only consumers whose property matches the message's"
    options = Options

    def wrap(self, build: Callable[[], IDistributionPolicy], options: Any, random: object) -> IDistributionPolicy:
        if not options.property:
            raise ValueError("property: the name of a link property is needed")
        name = options.key.removeprefix(_PROPERTY)
        if options.key and options.key not in FIELDS and (name == options.key or not name):
            raise ValueError(f"key: {options.key!r} is not `property:NAME`, {', '.join(FIELDS)}")
        return Subset(build, options)


wrapper = _Factory()
