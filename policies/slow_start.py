"""`slow-start`: a consumer that has just attached gets a share that grows, until it is like any other.

For services that are slow when they begin: caches are empty, connections are not made, code is not compiled. Without it
the least loaded policy is the worst: a new instance has nothing in flight, and is sent everything at once.

For `seconds` after it attaches, a consumer gets a part of what it would get otherwise, which grows from `initial` to
the whole. It works with any policy inside, also those that know no weights: of the times that the policy chooses it, a
newcomer takes that part, and seems to have no credit the other times, so that the policy chooses another. To a policy
that would choose it time and again, as one that looks for the least loaded does, it seems to have none for as long as
the others have a message each. What counts is its age beside that of the oldest: where all are new, as when the router
has started, they are equals. And nobody starves: if nobody else can take a message, a newcomer does.

It is the slow start of HAProxy and Envoy (there with an aggression of 1), which reduce a weight. As in Envoy, those
that come back after sitting out can be gone easy on: `outlier + slow-start + pull`.
Policies that choose one consumer for each key, and let messages wait for it, are not held back.
"""

from __future__ import annotations

from collections import OrderedDict
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

MOST_PASSED = 32
"""So many newcomers at most let one message pass."""
OFTEN = 0.8
"""So many messages of each other consumer are to be between two times that a newcomer is chosen;"""
EARLY = 4
"""but it may be so many times ahead of that, as where chance decides, such times come in streaks."""


@dataclass(frozen=True)
class Options:
    """How slow."""

    seconds: float = 30.0
    """How long it takes until a consumer has its full share."""
    initial: float = 0.1
    """The part of it that it has in the beginning, above 0."""


class _Newcomer(View):
    """A consumer that is new, as the policy inside knows it: sometimes it seems to have no credit."""

    __slots__ = ("chosen", "credit", "due", "rest", "since", "turn", "waits")

    def __init__(self, consumer: IConsumer, since: float) -> None:
        super().__init__(consumer)
        self.credit: int = consumer.credit
        self.since = since
        self.turn = 1.0
        """It takes a message when this is 1: a part is added each time it is chosen. It takes the first one."""
        self.chosen = False
        """It takes the next message;"""
        self.rest = 0.0
        """and then the others are to have so many."""
        self.due = 0.0
        """When it is to be chosen next, counted in messages."""
        self.waits = False
        """It was chosen too early, and seems to have no credit."""


@implementer(IDistributionPolicy, ICapacityWatcher, ICreditWatcher, IDeliveryWatcher, IDescribed, ITimed)
class SlowStart(Wrapper):
    """See the module."""

    def __init__(self, inner: IDistributionPolicy, options: Options) -> None:
        super().__init__(inner)
        self._seconds = options.seconds
        self._initial = options.initial
        self._choose: Callable[[IDelivery], IConsumer | None] = inner.select
        self._newcomers: OrderedDict[IConsumer, _Newcomer] = OrderedDict()
        """In the order they came."""
        self.apart = self._newcomers
        self._first_ends = 0.0
        """When it is to be looked who is new no more; not after the first of them is."""
        self._sum_since = 0.0
        self._others = 0
        """How many are not new."""
        self._messages = 0
        """How many were sent while somebody was new."""
        self._waiting: list[tuple[float, int, _Newcomer]] = []
        """A heap of the newcomers that wait, the next first; and of some that do no longer."""
        self._numbers = count()

    # -- who there is ------------------------------------------------------------------------------

    def add(self, consumer: IConsumer) -> None:
        """It is new."""
        now = self.clock()
        newcomer = self._newcomers[consumer] = _Newcomer(consumer, now)
        self._sum_since += now
        if len(self._newcomers) == 1:
            self._first_ends = now + self._seconds
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
            self._first_ends = newcomer.since + self._seconds
            if now < self._first_ends:
                return
            newcomer.waits = False
            self._sum_since -= newcomer.since
            self._others += 1
            self.leave(consumer)
            self.inner.add(consumer)
        self._sum_since = 0.0
        self._waiting.clear()

    # -- parts -------------------------------------------------------------------------------------

    def _part(self, since: float, now: float) -> float:
        """Of a full share."""
        return min(1.0, self._initial + (1 - self._initial) * (now - since) / self._seconds)

    def _part_and_others(self, newcomer: _Newcomer) -> tuple[float, float]:
        """Its part of what the oldest gets, and all the others' together."""
        now = self.clock()
        newcomers = len(self._newcomers)
        grown = (1 - self._initial) * (newcomers * now - self._sum_since) / self._seconds
        every = self._others + self._initial * newcomers + grown
        oldest = 1.0 if self._others else self._part(next(iter(self._newcomers.values())).since, now)
        part = self._part(newcomer.since, now)
        return part / oldest, (every - part) / oldest

    def _takes(self, newcomer: _Newcomer) -> bool:
        """It was chosen: whether it is to have the message."""
        if newcomer.chosen:
            return True
        part, others = self._part_and_others(newcomer)
        early = newcomer.due - EARLY * OFTEN * others
        if early > self._messages:
            newcomer.waits = True
            heappush(self._waiting, (early, next(self._numbers), newcomer))
            return False
        newcomer.turn += part
        if newcomer.turn >= 1 - 1e-9:
            newcomer.turn -= 1
            newcomer.chosen = True
            newcomer.rest = (1 - part) * others
            return True
        self._is_due_after(newcomer, others)
        return False

    def _is_due_after(self, newcomer: _Newcomer, messages: float) -> None:
        newcomer.due = max(newcomer.due, self._messages) + OFTEN * messages

    # -- choosing ----------------------------------------------------------------------------------

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """Whom the policy inside chooses that need not let it pass; or if there is nobody, one who should."""
        if not self._newcomers:
            return self._choose(delivery)
        now = self.clock()
        if now >= self._first_ends:
            self._grow_up(now)
        waiting = self._waiting
        while waiting and waiting[0][0] <= self._messages:
            self._let_in()
        chosen = self._choose(delivery)
        # one without credit is the choice of a policy that sticks to it
        if isinstance(chosen, _Newcomer) and chosen.credit > 0 and not self._takes(chosen):
            chosen = self._choose_another(chosen, delivery)
        while chosen is None and waiting:
            self._let_in()
            chosen = self._choose(delivery)
        return chosen.consumer if isinstance(chosen, _Newcomer) else chosen

    def _choose_another(self, newcomer: _Newcomer, delivery: IDelivery) -> IConsumer | None:
        """This one lets it pass, as may some others; somebody may be found who does not."""
        passed: list[_Newcomer] = []
        chosen: IConsumer | None = newcomer
        while isinstance(chosen, _Newcomer) and chosen.credit > 0 and len(passed) < MOST_PASSED:
            if passed and self._takes(chosen):
                break
            self._show(chosen, 0)
            passed.append(chosen)
            chosen = self._choose(delivery)
        for each in passed:
            if not each.waits:
                self._show(each, each.consumer.credit)
        return self._choose(delivery) if chosen is None else chosen

    def _let_in(self) -> None:
        """The next one waits no longer."""
        newcomer = heappop(self._waiting)[2]
        if newcomer.waits:
            newcomer.waits = False
            self._show(newcomer, newcomer.consumer.credit)

    def _show(self, newcomer: _Newcomer, credit: int) -> None:
        delta = credit - newcomer.credit
        newcomer.credit = credit
        if delta:
            self._tell_credit(newcomer, delta)

    # -- what happens ------------------------------------------------------------------------------

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """A newcomer is not to be chosen again at once, unless it is among the oldest."""
        newcomers = self._newcomers
        if not newcomers:
            self._tell_sent(consumer, delivery)
            return
        self._messages += 1
        newcomer = newcomers.get(consumer)
        if newcomer is None:
            self._tell_sent(consumer, delivery)
            return
        if newcomer.waits:  # it was sent all the same, as what another has released
            newcomer.waits = False
            self._show(newcomer, consumer.credit + 1)
        newcomer.credit = consumer.credit
        self._tell_sent(newcomer, delivery)
        if newcomer.chosen:
            newcomer.chosen = False
            self._is_due_after(newcomer, newcomer.rest)
        else:
            newcomer.turn = max(0.0, newcomer.turn - 1)

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
