"""`sticky`: messages with the same key go to the same consumer, as far as it is not much busier than the others.

For consumers that remember something: a cache, a session, a lock. What is the key is up to the option `key`: the
message's group-id, its subject, an application property, or who sent it. Which consumer has it follows from the
consumers that are attached and nothing else (see `rendezvous`): when one comes or goes, about as many keys move as it
has to get, or had. A consumer is known by the container id of its connection, so one that comes back has its keys
again, and after the router has been started anew all have theirs. Several links of one container count in the order
they attach; when one goes, the last takes its place. Shares are in proportion to the consumers' capacities.

A message waits for its consumer where that has no credit. So that a key that is in demand does not overload one while
others are idle, none has more than `load` times its share of all that is in flight or waits: what is beyond that goes
to the next consumer of that key, which is as constant (Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with
bounded loads", 2018). With few messages in flight that share is soon reached: for keys that must never be at two
consumers at a time, or for the order of a group to be kept, the load must not be bounded.

Messages without a key go to the consumer with the fewest messages in flight, of those with credit.

Who has a key is looked up once, in a few microseconds, and remembered until a consumer comes or goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDeliveryWatcher,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExplains,
)
from txrouter.policies.lowest import Lowest
from txrouter.policies.rendezvous import Rendezvous

__all__ = ["Options", "Sticky", "factory"]

CHOICES = 8
"""Consumers of a key that are remembered: the first, and those that follow when it has too much."""
TRIES = 16
"""How often one is looked for beyond these, until all are looked at."""
MOST_KEYS = 32_768
"""Keys whose consumers are remembered. When there are more, all are looked up anew."""
LONGEST_KEY = 128
"""Characters or bytes. Of a longer one, the digest is remembered."""
_LEAST, _MOST = 1e-6, 1e6
"""Capacities that count."""

_Key = str | bytes


@dataclass(frozen=True)
class Options:
    """What keeps together, and how far."""

    key: str = "group-id"
    """`group-id`, `subject`, `property:NAME` (an application property of the message), or `producer` (the container id
    of its connection)."""
    load: float = 1.25
    """How many times its share of all messages, in flight or waiting, a consumer may have; 0 for any number."""


class _Place:
    """What is known of a consumer."""

    __slots__ = ("counted", "number", "weight")

    def __init__(self, number: int, weight: float) -> None:
        self.number = number
        """Of those of its container."""
        self.weight = weight
        self.counted = 0
        """What it had, in flight or waiting, when it was looked at last."""


@implementer(IDistributionPolicy, ICapacityWatcher, ICreditWatcher, IDeliveryWatcher, IDescribed, IExplains)
class Sticky:
    """See the module."""

    by = "whose the key is, and the next where it has too much; without a key, the fewest in flight"

    def __init__(self, options: Options) -> None:
        self._key = _reader(options.key)
        self._load = options.load
        self._consumers: dict[IConsumer, None] = {}
        self._links: dict[str, list[IConsumer]] = {}
        """Of each container; the place of one is its number."""
        self._members: Rendezvous[IConsumer] = Rendezvous()
        self._choices: dict[_Key, list[IConsumer]] = {}
        """Whose each key is, in turn, as far as that was asked."""
        self._able = Lowest()
        """Those with credit, by what they have in flight."""
        self._all = 0
        """What all have, in flight or waiting. What waited in vain counts until its consumer is looked at."""
        self._share = 0.0
        """How much of that a consumer may have, for each of its capacity."""
        self._tries = 0
        self._passed_on = 0

    # -- consumers ---------------------------------------------------------------------------------

    def add(self, consumer: IConsumer) -> None:
        """It gets its keys."""
        self._consumers[consumer] = None
        links = self._links.setdefault(consumer.container, [])
        consumer.place = _Place(len(links), _weight(consumer))
        links.append(consumer)
        self._join(consumer)
        self._members_changed()
        self._count(consumer)
        self._move(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """Its keys go to others: to the last of the links of its container, if it has others. That may be the same
        client, which has connected again before it was seen that its old connection is gone."""
        del self._consumers[consumer]
        self._members.remove(consumer)
        place: _Place = consumer.place
        links = self._links[consumer.container]
        last = links.pop()
        if last is not consumer:
            links[place.number] = last
            last.place.number = place.number
            self._members.remove(last)
            self._join(last)
        elif not links:
            del self._links[consumer.container]
        self._members_changed()
        self._all -= place.counted
        self._able.discard(consumer)

    def _join(self, consumer: IConsumer) -> None:
        place: _Place = consumer.place
        self._members.add(consumer, f"{consumer.container}#{place.number}", place.weight)

    def capacity_changed(self, consumer: IConsumer) -> None:
        """It gets more keys, or has fewer."""
        consumer.place.weight = weight = _weight(consumer)
        self._members.reweigh(consumer, weight)
        self._members_changed()

    def _members_changed(self) -> None:
        self._choices.clear()
        self._share = self._load / self._members.weight if self._consumers else 0.0

    def _count(self, consumer: IConsumer) -> int:
        """What it has."""
        place: _Place = consumer.place
        has: int = consumer.in_flight + consumer.waiting
        self._all += has - place.counted
        place.counted = has
        return has

    # -- choosing ----------------------------------------------------------------------------------

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """Whose its key is, or the next that has not too much."""
        key = self._key(delivery)
        if key is None:
            return self._able.first()
        choices = self._choices.get(key)
        if choices is None:
            choices = self._look_up(key)
            if not choices:
                return None
        consumer = choices[0]
        if self._share and self._count(consumer) >= self._share * consumer.place.weight * (self._all + 1):
            consumer = self._next(key, choices)
        if consumer.credit <= 0:  # then it waits
            consumer.place.counted += 1
            self._all += 1
        return consumer

    def _look_up(self, key: _Key) -> list[IConsumer]:
        first = self._members.find(_bytes(key))
        if first is None:
            return []
        if len(self._choices) >= MOST_KEYS:
            self._choices.clear()
        choices = self._choices[key] = [first]
        return choices

    def _has_room(self, consumer: IConsumer) -> bool:
        has = self._count(consumer)
        return has < self._share * float(consumer.place.weight) * (self._all + 1)

    def _next(self, key: _Key, choices: list[IConsumer]) -> IConsumer:
        """Who gets it, as the first of them has too much."""
        self._passed_on += 1
        for consumer in choices[1:]:
            if self._has_room(consumer):
                return consumer
        while len(choices) < min(CHOICES, len(self._consumers)):
            consumer = self._another(key, choices)
            choices.append(consumer)
            if self._has_room(consumer):
                return consumer
        least = self._able.first()
        if least is not None and self._has_room(least):
            return least
        for _ in range(TRIES if len(choices) < len(self._consumers) else 0):
            self._tries += 1
            found = self._members.find(b"%d " % self._tries + _bytes(key))
            if found is not None and self._has_room(found):
                return found
        # Somebody has less than the average. This is for one of a thousand of those that are passed on.
        return min(self._consumers, key=lambda each: self._count(each) / each.place.weight)

    def _another(self, key: _Key, choices: list[IConsumer]) -> IConsumer:
        """Whose key it is after those."""
        for number in range(len(choices), len(choices) + TRIES):
            found = self._members.find(b"%d/" % number + _bytes(key))
            if found is not None and found not in choices:
                return found
        return next(each for each in self._consumers if each not in choices)

    # -- what happens ------------------------------------------------------------------------------

    def _move(self, consumer: IConsumer) -> None:
        if consumer.credit > 0:
            self._able.put(consumer, consumer.in_flight)
        else:
            self._able.discard(consumer)

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It has one more in flight, which may have waited for it."""
        self._count(consumer)
        self._move(consumer)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """It has one less."""
        self._count(consumer)
        self._move(consumer)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """It can take messages without a key, or not."""
        if (consumer.credit > 0) is not (consumer in self._able):
            self._move(consumer)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, int]]:
        """Who gets it, and the others whose its key is, in turn, as far as that was asked; without a key, those with
        credit. Each with what it has in flight or waiting."""
        key = self._key(delivery)
        if key is None:
            yield from self._able.all()
            return
        before = self._all, self._tries, self._passed_on
        counted = [(each.place, each.place.counted) for each in self._consumers]
        chosen = self.select(delivery)
        self._all, self._tries, self._passed_on = before
        for place, count in counted:
            place.counted = count
        others = (each for each in self._choices.get(key, ()) if each is not chosen)
        for consumer in (chosen, *others) if chosen is not None else ():
            yield consumer, consumer.in_flight + consumer.waiting

    def describe(self) -> dict[str, object]:
        """How many keys are remembered, how many messages were not for the first consumer of their key; and of each
        consumer its capacity, and what it has in flight or waiting."""
        consumers = {
            each.id: {"capacity": each.place.weight, "has": each.in_flight + each.waiting} for each in self._consumers
        }
        return {"keys": len(self._choices), "passed_on": self._passed_on, "consumers": consumers}


def _weight(consumer: IConsumer) -> float:
    return min(max(float(consumer.capacity), _LEAST), _MOST)


def _bytes(key: _Key) -> bytes:
    return key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key


def _short(value: object) -> _Key | None:
    """A key that somebody gave, as it is remembered; None where it says nothing."""
    if value is None:
        return None
    key = value if isinstance(value, str | bytes) else f"{type(value).__name__}:{value}"
    if not key:
        return None
    if len(key) > LONGEST_KEY:
        return blake2b(_bytes(key), digest_size=16).digest()
    return key


def _reader(key: str) -> Callable[[IDelivery], _Key | None]:
    """What reads the key of a message."""
    if key == "group-id":
        return lambda delivery: _short(delivery.field("group_id"))
    if key == "subject":
        return lambda delivery: _short(delivery.field("subject"))
    if key == "producer":
        return _producer
    name = key.removeprefix("property:")
    return lambda delivery: _short(delivery.application_property(name))


def _producer(delivery: IDelivery) -> _Key | None:
    producer = delivery.producer
    return _short(producer.container or producer.id) if producer is not None else None


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "sticky"
    summary = "messages with the same key to the same consumer, unless that has too much"
    options = Options

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        key = options.key
        if not re.fullmatch("group-id|subject|producer|property:.+", key):
            raise ValueError(f"key: {key!r} is not `group-id`, `subject`, `producer` or `property:NAME`")
        if options.load and not 1 <= options.load <= 1e6:
            raise ValueError(f"load: {options.load} is neither 0 nor between 1 and 1000000")
        return Sticky(options)


factory = _Factory()
