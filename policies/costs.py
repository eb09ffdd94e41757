"""What messages cost, told by a property of theirs or learned: what policies that weigh messages have in common."""

from __future__ import annotations

import re
from collections import OrderedDict

from txrouter.interfaces import IConsumer, IDelivery

__all__ = ["Costs"]

LEAST, MOST = 1e-6, 1e9
"""Costs between these are believed."""
MOST_SUBJECTS = 1_000
"""Subjects whose costs are remembered. With more, the one of which nothing was heard for longest is forgotten."""
LONGEST_SUBJECT = 128
"""Characters by which a subject is known."""
WEIGHT = 1 / 16
"""Of a message in what is learned, once there have been some."""
_WORK = ("accepted", "rejected", "settled")


class _Average:
    """What messages take."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.count = 0

    def learn(self, seconds: float) -> None:
        self.count += 1
        self.seconds += (seconds - self.seconds) * max(WEIGHT, 1 / self.count)


class Costs:
    """The costs of messages.

    :param source: `property:NAME`: it is said by the application property NAME, as a number above 0. `learned`: it is
        what messages with the same subject took before, in seconds at capacity 1: each from when it was sent, or its
        consumer settled the one before it, until it was settled. So it is right for consumers that work on one message
        at a time.
    :param unknown: what one costs of which nothing is known.
    :raise ValueError: the source is neither.
    """

    def __init__(self, source: str, unknown: float) -> None:
        if not re.fullmatch("learned|property:.+", source):
            raise ValueError(f"cost: {source!r} is neither `property:NAME` nor `learned`")
        self.learns = source == "learned"
        self.ignored = 0
        """How many messages said what is no number, or none that is believed."""
        self._property = source.removeprefix("property:")
        self._unknown = unknown
        self._subjects: OrderedDict[str, _Average] = OrderedDict()
        self._usual = _Average()
        self._settled_at: dict[IConsumer, float] = {}
        """When each settled something last, or came."""

    def add(self, consumer: IConsumer, now: float) -> None:
        """A consumer to learn from."""
        self._settled_at[consumer] = now

    def remove(self, consumer: IConsumer) -> None:
        """It is gone."""
        del self._settled_at[consumer]

    def of(self, delivery: IDelivery) -> float:
        """What it costs."""
        if self.learns:
            known = self._subjects.get(_subject(delivery), self._usual)
            return max(LEAST, known.seconds) if known.count else self._unknown
        given = delivery.application_property(self._property)
        if given is None:
            return self._unknown
        if isinstance(given, int | float) and not isinstance(given, bool) and LEAST <= given <= MOST:
            return float(given)
        self.ignored += 1
        return self._unknown

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float, now: float) -> None:
        """A message is done."""
        if not self.learns:
            return
        if outcome in _WORK:  # what was released says nothing of how long it takes
            self._learn(_subject(delivery), min(seconds, now - self._settled_at[consumer]) * consumer.capacity)
        self._settled_at[consumer] = now

    def _learn(self, subject: str, seconds: float) -> None:
        known = self._subjects.pop(subject, None)
        if known is None:
            known = _Average()
            if len(self._subjects) >= MOST_SUBJECTS:
                self._subjects.popitem(last=False)
        self._subjects[subject] = known
        known.learn(seconds)
        self._usual.learn(seconds)

    def describe(self) -> dict[str, object]:
        """What was learned; or how many messages said what is not believed."""
        if self.learns:
            return {"seconds": {subject: known.seconds for subject, known in self._subjects.items()}}
        return {"ignored": self.ignored}


def _subject(delivery: IDelivery) -> str:
    given = delivery.field("subject")
    return given[:LONGEST_SUBJECT] if isinstance(given, str) else ""
