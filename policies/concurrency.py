"""How many messages a consumer works on at a time, learned from when it gets them and when they are done. Pure.

It shows in two ways, as long as a consumer begins with messages in the order it gets them. If one is done before
another that was sent earlier, both were worked on: with as many earlier ones still to be done as the limit allows, all
were, and the limit is not too high. This needs nothing but the order, and so does not mind how much what messages take
differs. Where they all take about as long, they do not overtake each other; but then it shows in how long they take
whether one that was sent to a consumer with so many had to wait there: it takes longer than those that found fewer.
Times are compared as averages of logarithms, so that the few very long messages that are usual do not drown the rest,
and only where they are more than chance. A consumer that always has many is sent fewer for a moment, to compare.

A consumer has no limit until it is seen to have too many. Where what comes last has to wait, the limit becomes so much
lower as it takes longer, though not lower than was seen to be worked on; and it is raised by a quarter each time that
all that it allows are seen to be worked on. When that is not seen for long enough, it goes back to where it was, and is
tried again after some time; each time that this is in vain, after twice as long. It is the idea of congestion control
by delay (Brakmo and Peterson, "TCP Vegas: End to end congestion avoidance on a global Internet", 1995), as Netflix's
concurrency-limits have brought it to services.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable
from math import ceil, exp, log, sqrt
from typing import Final

from txrouter.policies.pace import USUAL, Pace

__all__ = ["UNLIMITED", "Concurrency"]

LONGER: Final = log(1.3)
"""A message that takes 1.3 times as long had to wait."""
SURE: Final = 2.5
"""Standard errors."""
ENOUGH: Final = 4
"""Messages that have to be seen before anything is made of how long they took."""
REMEMBERED: Final = 200
"""About how many of the last messages count."""
FEW: Final = 32
ONE_OF: Final = 4
"""How long messages took is compared after each, where it was seen of few; and then after one of so many."""
SEEN: Final = 4
"""How many times as many messages as the limit have to be done, with none overtaking all others, to take it that they
are not all worked on: by chance it is not seen in one of fifty cases, where times are exponential."""
PATIENCE: Final = 32
"""How many messages are done before it is tried again whether a consumer can do more, once that was in vain."""
RARELY: Final = 1 << 11
"""How many messages are done, at most, before it is tried again whether a consumer can do more."""
SHORTEST: Final = 1e-6
UNLIMITED: Final = 1 << 30
"""The limit of a consumer of which it is not known yet that it has too many."""


class _Mean:
    """Of the last logarithms, about `REMEMBERED`; and how far they lie apart."""

    __slots__ = ("count", "value", "variance")

    def __init__(self) -> None:
        self.count = 0
        self.value = 0.0
        self.variance = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self.count = count = min(self.count + 1, REMEMBERED)
        off = value - self.value
        self.value += off / count
        self.variance += (off * (value - self.value) - self.variance) / count

    def with_those_of(self, other: _Mean) -> _Mean:
        """Of both."""
        both = _Mean()
        both.count = self.count + other.count
        both.value = (self.count * self.value + other.count * other.value) / both.count
        both.variance = (self.count * self.variance + other.count * other.variance) / both.count
        return both

    def is_longer(self, base: _Mean) -> bool | None:
        """Whether messages took longer than those; None if that may be chance."""
        difference = self.value - base.value
        error = SURE * sqrt(self.variance / self.count + base.variance / base.count)
        if difference > LONGER and difference - error > LONGER / 2:
            return True
        return False if difference + error < LONGER else None


class Concurrency(Pace):
    """What is known of a consumer."""

    __slots__ = (
        "began",
        "compares",
        "done",
        "heard",
        "known",
        "limit",
        "most",
        "numbers",
        "patience",
        "sent",
        "since",
        "slots",
        "times",
    )

    def __init__(self) -> None:
        super().__init__()
        self.limit = UNLIMITED
        """So many it is sent; more than is known while that is tried, or less."""
        self.known = UNLIMITED
        """So many it is good for, as far as is known; or for want of that, so many as others are."""
        self.slots = 1
        """So many it was seen to work on at a time, or to be sent without that any had to wait."""
        self.sent: dict[Hashable, tuple[int, int]] = {}
        """Of each message that it has: its number, and the index of `times`."""
        self.numbers: list[int] = []
        """Theirs, in order."""
        self.times: list[_Mean] = []
        """By level: the logarithm of what messages took that were sent when it had none; had 1; had 2 or 3; 4 to 7 …"""
        self.began = 0
        """The number of the last message that was sent before the limit became what it is."""
        self.most = 1
        """How many were seen to be worked on since then."""
        self.compares = 0
        """The level that is compared with what is sent now, while less is tried than is known; or else 0."""
        self.done = 0
        """How many were done in that time, with as many in flight as that."""
        self.heard = 0
        """How many were done since it came."""
        self.since = 0
        """How many were done with as much in flight as is known to be good, or with nothing to compare that with, since
        something else was tried last."""
        self.patience = 1
        """How many it takes."""

    def begin_with(self, usual: int) -> None:
        """Others are good for so many: take it to be as well, until it is seen not to be, and try twice that."""
        self.known = max(usual, self.slots)
        self._use(2 * self.known)

    def gets(self, key: Hashable, number: int, has: int) -> None:
        """It was sent one, which is known by that key from now on.

        :param number: higher than those of all that were sent before.
        :param has: how many it has, with this one.
        """
        level = (has - 1).bit_length()
        while len(self.times) <= level:
            self.times.append(_Mean())
        self.sent[key] = number, level
        self.numbers.append(number)

    def is_known_as(self, key: Hashable, before: Hashable) -> None:
        """One of those it was sent is known by another key from now on."""
        self.sent[key] = self.sent.pop(before)

    def lets_go(self, key: Hashable) -> tuple[int, int, int] | None:
        """One of those it was sent is over. Returns its number, at what level it was sent, and how many sent before it
        are not over; None where that is not known."""
        known = self.sent.pop(key, None)
        if known is None:
            return None
        number, level = known
        earlier = bisect_left(self.numbers, number)
        del self.numbers[earlier]
        return number, level, earlier

    def did(self, number: int, level: int, earlier: int, seconds: float) -> None:
        """It has done one, with so many earlier ones still to be done."""
        if number <= self.began and level >= (self.limit - 1).bit_length():
            return  # the limit was another
        self.times[level].add(log(max(seconds, SHORTEST)))
        if number <= self.began:
            return
        if earlier >= self.most:
            self.most = earlier + 1
            self.slots = max(self.slots, self.most)
        self.heard += 1
        longer = None
        if level and (self.times[level].count < FEW or self.heard % ONE_OF == 0):
            longer = self._compared(level)
        if longer is False:
            self.slots = max(self.slots, (1 << level - 1) + 1)
        is_at_limit = len(self.numbers) + 1 >= self.limit
        self.done += is_at_limit
        if self.compares:
            self._compare()
        elif self.most >= self.limit > self.known:
            self._is_good()
        elif longer:
            self._has_too_many(level)
        elif self.done > SEEN * self.limit and self.limit > self.known:
            if self._compared((self.limit - 1).bit_length()) is False:
                self._is_good()
            else:
                self._was_in_vain()
        elif is_at_limit and self.limit == self.known:
            self.since += 1
            # Whoever is slow has others wait longer in vain.
            if self.since * USUAL >= self.patience * self.pace:
                self._use(self.known + max(1, self.known // 4))
        elif self.limit == self.known and self._is_dark(level):
            self.since += 1
            if self.since >= max(self.patience, SEEN << level):
                self._try_less(level)

    def _is_dark(self, level: int) -> bool:
        """Whether it always has so many that nobody can tell whether they wait."""
        return level > 1 and self.slots <= 1 << level - 2 and sum(each.count for each in self.times[:level]) < ENOUGH

    def _try_less(self, level: int) -> None:
        """Send it a quarter of that, to compare how long they take."""
        self._use(1 << max(0, level - 2))
        self.compares = level

    def _compare(self) -> None:
        longer = self._compared(self.compares)
        if longer:
            tried = (self.limit - 1).bit_length()
            self._has_too_many(self.compares)
            if tried:
                self._try_less(tried)
        elif longer is False or self.done > SEEN * self.limit:
            self.slots = max(self.slots, (1 << self.compares - 1) + 1)
            self._was_in_vain()

    def _compared(self, level: int) -> bool | None:
        """Whether messages sent at this level took longer than those that found it with less; or None, by chance."""
        times = self.times
        if level >= len(times) or times[level].count < ENOUGH:
            return None
        base = times[0]
        for each in times[1:level]:
            if each.count:
                base = base.with_those_of(each) if base.count else each
        return times[level].is_longer(base) if base.count >= ENOUGH else None

    def _is_good(self) -> None:
        """All that it has in flight is worked on."""
        self.known = self.slots = max(self.limit, self.most)
        self.patience = 1
        self._use(self.known + max(1, self.known // 4))

    def _has_too_many(self, level: int) -> None:
        """What is sent to it at this level has to wait."""
        if self.known < self.limit and self.slots >= self.known:
            self._was_in_vain()
        else:
            alone = next(each for each in self.times if each.count)
            times_as_long = exp(self.times[level].value - alone.value)
            it_had = (3 << level) / 4  # on average, with this one
            enough = min(max(self.limit, self.known) * 3 // 4, (1 << level) - 1, ceil(it_had / times_as_long))
            self.known = max(self.most, enough)
            self.slots = min(self.slots, self.known)
            self.patience = PATIENCE
            self._use(self.known)

    def _was_in_vain(self) -> None:
        self.patience = min(max(PATIENCE, 2 * self.patience), RARELY)
        self.known = max(self.known, self.most)
        self._use(self.known)

    def _use(self, limit: int) -> None:
        self.limit = limit
        self.began = self.numbers[-1] if self.numbers else 0
        self.most = 1
        self.compares = self.done = self.since = 0
        level = (limit - 1).bit_length()
        if level and level < len(self.times):
            self.times[level] = _Mean()  # it is not the same any more
