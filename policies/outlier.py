"""`outlier`: a consumer whose messages fail sits out for a while.

For services of which single instances break in a way that leaves them attached: a lost database, a full disk, a bad
deployment. Such a one is often the quickest of all, and so draws the messages to it. What fails is what is REJECTED or
MODIFIED; if it is to be, also what is in flight, or not replied to, for too long. A consumer sits out when so many have
failed in a row, or such a share of those in a window of time. It comes back by itself, and sits out longer each time
that this follows soon. What it has in flight goes on meanwhile.

Never more than a share of the consumers sit out at a time: where most fail it is not they who are broken.

It is what Envoy calls outlier detection and Finagle failure accrual. As there, for the policy inside a consumer that
sits out has left, and what that knew of it is forgotten: a sticky policy lets others have its messages, and also those
that wait for it alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Any, Literal

from zope.interface import alsoProvides, implementer

from txrouter.interfaces import (
    IConsumer,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionWrapperFactory,
    IReassigning,
    IReplyWatcher,
    ISendWatcher,
    ISettlementWatcher,
    IWoken,
)
from txrouter.policies.wrapper import Wrapper, described

__all__ = ["Options", "Outlier", "wrapper"]

_GOOD = ("accepted", "settled")


@dataclass(frozen=True)
class Options:
    """What fails, how much of it is too much, and who sits out for how long."""

    failures: int = 5
    """So many in a row are too many. 0: that does not matter."""
    failure_rate: float = 0.0
    """Such a share of what is over in a window, between 0 and 1, is too much. 0: that does not matter."""
    window_seconds: float = 10.0
    """How long a window is."""
    window_messages: int = 20
    """How many messages have to be over in a window for their share to matter."""
    outcomes: tuple[Literal["rejected", "modified", "released"], ...] = ("rejected", "modified")
    """The outcomes of what has failed."""
    timeout_seconds: float = 0.0
    """What is in flight for longer has failed. 0: nothing has."""
    reply_seconds: float = 0.0
    """A request that is not replied to within this time has failed; or within that of the policy inside, if it waits
    for replies itself. 0: replies do not matter."""
    seconds: float = 30.0
    """How long a consumer sits out the first time; twice as long the second time, and so on."""
    longest_seconds: float = 300.0
    """The longest that it does. Each `seconds` that it was back count one time less."""
    most_share: float = 0.5
    """The share of the consumers that may sit out at a time, rounded down: of one none may, and with 0.5 one of two."""


class _Record:
    """What is kept of a consumer that has failed."""

    __slots__ = ("failed", "in_a_row", "over", "returned", "times", "until", "window_ends")

    def __init__(self) -> None:
        self.in_a_row = 0
        self.over = self.failed = 0
        """In this window."""
        self.window_ends = -inf
        self.times = 0
        """How often it sat out; fewer, the longer ago."""
        self.until = 0.0
        """When it comes back, if it sits out."""
        self.returned = 0.0


@implementer(IDistributionPolicy, IDescribed, IReassigning, ISettlementWatcher, IWoken)
class Outlier(Wrapper):
    """See the module."""

    def __init__(self, inner: IDistributionPolicy, options: Options) -> None:
        super().__init__(inner)
        self.options = options
        self._choose: Callable[[IDelivery], IConsumer | None] = inner.select
        self._consumers = 0
        self._records: dict[IConsumer, _Record] = {}
        self._out: list[tuple[float, int, IConsumer, _Record]] = []
        """A heap of those that sit out, who comes back first; and of some that have left, or are back."""
        self._numbers = count()
        self._bad = options.outcomes
        self._rate = options.failure_rate
        self._timeout = options.timeout_seconds
        self._watches = bool(options.timeout_seconds or options.reply_seconds)
        self._watched: dict[IConsumer, dict[IDelivery, bool]] = {}
        """What is in flight, and whether that is a request; where it matters how long it takes."""
        self._due: OrderedDict[IDelivery, tuple[float, IConsumer]] = OrderedDict()
        """When what is in flight has failed, the oldest first; where it can. No dict, which looks for its first among
        all those that were before it."""
        self._refused: IConsumer | None = None
        """It has just said by its outcome that there will be no reply."""
        self._sat_out = 0
        self._reassigned = False
        """What waited for one that sits out is held now."""
        self._waits_itself = IReplyWatcher.providedBy(inner)
        if options.timeout_seconds:
            alsoProvides(self, ISendWatcher)
        if options.reply_seconds:
            alsoProvides(self, IReplyWatcher)

    # -- who there is ------------------------------------------------------------------------------

    def add(self, consumer: IConsumer) -> None:
        """Nothing is known against it."""
        self._consumers += 1
        self.inner.add(consumer)

    def remove(self, consumer: IConsumer) -> None:
        """It is forgotten. If too many sit out of those that are left, who is the next to come back does now."""
        self._consumers -= 1
        self._records.pop(consumer, None)
        for delivery in self._watched.pop(consumer, ()):
            self._due.pop(delivery, None)
        self.leave(consumer)
        while len(self.apart) > self._most():
            self._return(self._next_to_return())
        if len(self._out) > 2 * len(self.apart):
            self._out = [entry for entry in self._out if self._sits_out(entry)]
            heapify(self._out)

    def _most(self) -> int:
        return int(self.options.most_share * self._consumers + 1e-9)  # 0.29 of 100 are 29

    def _sits_out(self, entry: tuple[float, int, IConsumer, _Record]) -> bool:
        until, _, consumer, record = entry
        return consumer in self.apart and self._records[consumer] is record and record.until == until

    def _next_to_return(self) -> IConsumer:
        while not self._sits_out(self._out[0]):
            heappop(self._out)
        return self._out[0][2]

    # -- choosing ----------------------------------------------------------------------------------

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """Whom the policy inside chooses of those that do not sit out."""
        if self._out or self._due:
            self._reassigned = False
            self._look_at_the_clock()
            if self._reassigned:  # that came before this one, and goes before it
                return None
        return self._choose(delivery)

    def _look_at_the_clock(self) -> None:
        now = self.clock()
        due = self._due
        while due:
            late, (when, consumer) = next(iter(due.items()))
            if when > now:
                break
            del due[late]
            self._failed(consumer)
        while self._out and self._out[0][0] <= now:
            entry = heappop(self._out)
            if self._sits_out(entry):
                self._return(entry[2])

    def _return(self, consumer: IConsumer) -> None:
        record = self._records[consumer]
        record.returned = min(record.until, self.clock())
        self.show(consumer)

    # -- what has failed ---------------------------------------------------------------------------

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """It should not take too long."""
        if self._timeout and not delivery.presettled:
            self._watched.setdefault(consumer, {})[delivery] = False
            self._due[delivery] = self.clock() + self._timeout, consumer
        if consumer not in self.apart:
            self._tell_sent(consumer, delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """It has failed, or has not."""
        if consumer not in self.apart:
            self._tell_settled(consumer, delivery, outcome, seconds)
        if self._watches and not self._is_over(consumer, delivery, outcome, seconds):
            return
        if outcome in self._bad:
            self._failed(consumer)
        elif (self._rate or consumer in self._records) and outcome in _GOOD:
            self._succeeded(consumer)

    def _is_over(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> bool:
        """Whether its outcome is still to be counted: it has not been too long, and no reply is to come."""
        request = self._watched.get(consumer, {}).pop(delivery, False)
        if request:
            self._refused = consumer if outcome not in _GOOD else None
        limit = self._timeout
        if limit and self._due.pop(delivery, None) is None:
            return False  # it was counted when the time was up
        if limit and seconds > limit:
            self._failed(consumer)
            return False
        return not request or outcome not in _GOOD

    def asked(self, consumer: IConsumer, delivery: IDelivery, request: int) -> None:
        """Its outcome may say that no reply will come."""
        if self.options.reply_seconds and not delivery.presettled:
            self._watched.setdefault(consumer, {})[delivery] = True
        super().asked(consumer, delivery, request)

    def answered(self, consumer: IConsumer, request: int, seconds: float | None) -> None:
        """It was, or it has failed."""
        super().answered(consumer, request, seconds)
        if self.options.reply_seconds:
            if seconds is not None:
                self._succeeded(consumer)
            elif consumer is not self._refused:
                self._failed(consumer)
            self._refused = None

    @property
    def reply_seconds(self) -> float:
        """As IReplyWatcher says."""
        seconds: float = self.inner.reply_seconds if self._waits_itself else self.options.reply_seconds
        return seconds

    def _record(self, consumer: IConsumer) -> _Record:
        record = self._records.get(consumer)
        if record is None:
            record = self._records[consumer] = _Record()
        return record

    def _count(self, record: _Record, failed: bool) -> None:
        """It is over, in this window or the first of another."""
        now = self.clock()
        if now >= record.window_ends:
            record.window_ends = now + self.options.window_seconds
            record.over = record.failed = 0
        record.over += 1
        record.failed += failed

    def _succeeded(self, consumer: IConsumer) -> None:
        record = self._record(consumer)
        record.in_a_row = 0
        if self._rate:
            self._count(record, False)

    def _failed(self, consumer: IConsumer) -> None:
        if consumer in self.apart:
            return
        options = self.options
        record = self._record(consumer)
        record.in_a_row += 1
        too_much = 0 < options.failures <= record.in_a_row
        if self._rate:
            self._count(record, True)
            enough = record.over >= options.window_messages
            too_much = too_much or (enough and record.failed >= self._rate * record.over)
        if too_much and len(self.apart) < self._most():
            self._send_out(consumer, record)

    def _send_out(self, consumer: IConsumer, record: _Record) -> None:
        options = self.options
        now = self.clock()
        record.times = 1 + max(0, record.times - int((now - record.returned) / options.seconds))
        record.until = now + min(options.longest_seconds, options.seconds * record.times)
        record.in_a_row = 0
        record.window_ends = -inf
        self.hide(consumer)
        if consumer.waiting:
            self._reassigned = True
            self.reassign(consumer)
        self._sat_out += 1
        heappush(self._out, (record.until, next(self._numbers), consumer, record))
        self.wake_at(record.until)

    # -- describing --------------------------------------------------------------------------------

    def describe(self) -> dict[str, object]:
        """Who sits out, for how many seconds still, and for which time; who else has failed how often in a row; how
        often anybody sat out."""
        now = self.clock()
        records = self._records
        return {
            "sitting_out": {
                each.id: {"seconds": max(0.0, record.until - now), "times": record.times}
                for each, record in records.items()
                if each in self.apart
            },
            "failures": {each.id: record.in_a_row for each, record in records.items() if record.in_a_row},
            "sat_out": self._sat_out,
            "inner": described(self.inner),
        }


@implementer(IDistributionWrapperFactory)
class _Factory:
    name = "outlier"
    summary = "a consumer whose messages fail sits out for a while"
    options = Options

    def wrap(self, build: Callable[[], IDistributionPolicy], options: Any, random: object) -> IDistributionPolicy:
        for name, least, most in (
            ("failures", 0, 1_000_000),
            ("failure_rate", 0, 1),
            ("window_seconds", 0.001, 86_400),
            ("window_messages", 1, 1_000_000),
            ("timeout_seconds", 0, 86_400),
            ("reply_seconds", 0, 86_400),
            ("seconds", 0.001, 86_400),
            ("longest_seconds", options.seconds, 86_400),
            ("most_share", 0, 1),
        ):
            value = getattr(options, name)
            if not least <= value <= most:
                raise ValueError(f"{name}: {value} is not between {least} and {most}")
        return Outlier(build(), options)


wrapper = _Factory()
