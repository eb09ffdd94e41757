"""`slow-start`: a consumer that has just attached gets a share that grows, until it is like any other.

For services that are slow when they begin: caches are empty, connections are not made, code is not compiled. Without it
the least loaded policy is the worst: a new instance has nothing in flight, and is sent everything at once.

For `seconds` after it attaches, a consumer has a part of what each of the others gets, which grows from `initial` to
the whole. It works with any policy inside, also those that know no weights: after each message a newcomer seems to have
no credit, until the others have had 1 / part - 1 messages each; then the policy may choose it when it likes. What
counts is its age beside that of the others: where all are new, as when the router has started, they are equals. And
nobody starves: if nobody else can take a message, a newcomer does.

It is the slow start of HAProxy and Envoy (there with an aggression of 1), which weigh; the newcomers are paced here, as
a stride scheduler would. Then `outlier + slow-start + …` also goes easy on those that come back from sitting out.
Policies that choose one consumer for each key, and let messages wait for it, are not held back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
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
    IDistributionWrapperFactory,
    ITimed,
)
from txrouter.policies.wrapper import View, Wrapper, described

__all__ = ["Options", "SlowStart", "wrapper"]


@dataclass(frozen=True)
class Options:
    """How slow."""

    seconds: float = 30.0
    """How long it takes until a consumer has its full share."""
    initial: float = 0.1
    """The part of it that it has in the beginning, above 0."""


class _Newcomer(View):
    """A consumer that is paced, as the policy inside knows it: without credit while it has to wait."""

    __slots__ = ("credit", "due", "since", "waits")

    def __init__(self, consumer: IConsumer, since: float) -> None:
        super().__init__(consumer)
        self.credit: int = consumer.credit
        self.since = since
        self.due = 0.0
        """The round in which it waits no longer."""
        self.waits = False


@implementer(IDistributionPolicy, ICapacityWatcher, ICreditWatcher, IDeliveryWatcher, IDescribed, ITimed)
class SlowStart(Wrapper):
    """See the module.

    Time is counted in rounds: in one, each consumer that is not new has had a message, on average.
    """

    def __init__(self, inner: IDistributionPolicy, options: Options) -> None:
        super().__init__(inner)
        self._seconds = options.seconds
        self._initial = options.initial
        self._choose: Callable[[IDelivery], IConsumer | None] = inner.select
        self._newcomers: dict[IConsumer, _Newcomer] = self.apart
        """In the order they came."""
        self._sum_since = 0.0
        self._others = 0
        """How many are not new."""
        self._round = 0.0
        self._waiting: list[tuple[float, int, _Newcomer]] = []
        """A heap of the newcomers that wait, whose turn is next; and of some that do no longer."""
        self._numbers = count()

    # -- who there is ------------------------------------------------------------------------------

    def add(self, consumer: IConsumer) -> None:
        """It is new."""
        now = self.clock()
        newcomer = self._newcomers[consumer] = _Newcomer(consumer, now)
        self._sum_since += now
        self.inner.add(newcomer)

    def remove(self, consumer: IConsumer) -> None:
        """It is gone."""
        newcomer = self._newcomers.get(consumer)
        if newcomer is None:
            self._others -= 1
        else:
            newcomer.waits = False
            self._sum_since -= newcomer.since
        self.leave(consumer)

    def _grow_up(self, now: float) -> None:
        """Those whose time is over are like any other."""
        newcomers = self._newcomers
        while newcomers:
            consumer, newcomer = next(iter(newcomers.items()))
            if now - newcomer.since < self._seconds:
                return
            newcomer.waits = False
            self._sum_since -= newcomer.since
            self._others += 1
            self.leave(consumer)
            self.inner.add(consumer)
        self._sum_since = 0.0
        self._waiting.clear()

    # -- shares ------------------------------------------------------------------------------------

    def _part(self, since: float, now: float) -> float:
        """Of a full share."""
        return min(1.0, self._initial + (1 - self._initial) * (now - since) / self._seconds)

    def _largest(self, now: float) -> float:
        """The part of who is oldest."""
        if self._others:
            return 1.0
        return self._part(next(iter(self._newcomers.values())).since, now)

    def _sum(self, now: float) -> float:
        """Of all their parts."""
        newcomers = len(self._newcomers)
        grown = (1 - self._initial) * (newcomers * now - self._sum_since) / self._seconds
        return self._others + self._initial * newcomers + grown

    # -- choosing ----------------------------------------------------------------------------------

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """Whom the policy inside chooses of those that need not wait; if there is nobody, of the others."""
        if not self._newcomers:
            return self._choose(delivery)
        self._grow_up(self.clock())
        waiting = self._waiting
        while waiting and waiting[0][0] <= self._round:
            self._let_in()
        chosen = self._choose(delivery)
        while chosen is None and waiting:
            self._let_in()
            chosen = self._choose(delivery)
        return chosen.consumer if isinstance(chosen, _Newcomer) else chosen

    def _let_in(self) -> None:
        """The next one waits no longer."""
        due, _, newcomer = heappop(self._waiting)
        if newcomer.waits and newcomer.due == due:
            newcomer.waits = False
            self._show(newcomer, newcomer.consumer.credit)

    def _show(self, newcomer: _Newcomer, credit: int) -> None:
        delta = credit - newcomer.credit
        newcomer.credit = credit
        if delta:
            self._tell_credit(newcomer, delta)

    # -- what happens ------------------------------------------------------------------------------

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """A part of a round is over. A newcomer has to wait, if others are older."""
        newcomers = self._newcomers
        if not newcomers:
            self._tell_sent(consumer, delivery)
            return
        now = self.clock()
        largest = self._largest(now)
        self._round += largest / self._sum(now)
        newcomer = newcomers.get(consumer)
        if newcomer is None:
            self._tell_sent(consumer, delivery)
            return
        if newcomer.waits:  # it was sent all the same, as what another has released
            newcomer.waits = False
            self._show(newcomer, consumer.credit + 1)
        newcomer.credit = consumer.credit
        self._tell_sent(newcomer, delivery)
        part = self._part(newcomer.since, now)
        if part < largest:
            newcomer.waits = True
            newcomer.due = self._round + largest / part - 1
            heappush(self._waiting, (newcomer.due, next(self._numbers), newcomer))
            self._show(newcomer, 0)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """A newcomer that waits has none."""
        newcomer = self._newcomers.get(consumer)
        if newcomer is None:
            self._tell_credit(consumer, delta)
        elif not newcomer.waits:
            self._show(newcomer, consumer.credit)

    def describe(self) -> dict[str, object]:
        """The newcomers, each with the part of a share that it has, and how many others there are."""
        now = self.clock()
        parts = {each.id: min(1.0, self._part(each.since, now)) for each in self._newcomers.values()}
        return {"new": parts, "others": self._others, "inner": described(self.inner)}


@implementer(IDistributionWrapperFactory)
class _Factory:
    name = "slow-start"
    summary = "a consumer that has just attached gets a share that grows"
    options = Options

    def wrap(self, build: Callable[[], IDistributionPolicy], options: Any, random: object) -> IDistributionPolicy:
        if not 0 < options.seconds <= 86_400:
            raise ValueError(f"seconds: {options.seconds} is not above 0 and at most 86400")
        if not 0 < options.initial <= 1:
            raise ValueError(f"initial: {options.initial} is not above 0 and at most 1")
        return SlowStart(build(), options)


wrapper = _Factory()
