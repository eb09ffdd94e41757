"""How long each consumer takes for a message compared with the others, learned from when they settle. Pure.

What a message takes is thought of as a product: what it would take on the usual consumer, and how many times as long
this consumer takes. Both are learned, by moving averages: the first from all messages, so that it follows when the jobs
change; the second from the consumer's own. They are averages of logarithms, because the few very long jobs that are
usual would drown the rest.

Consumers that are alike are to be treated alike, though no two of their averages are the same. So what is said of a
consumer is one of the powers of two, and changes only when the average is far from it; which by chance, where times
are exponential, it is for one of a thousand consumers, and not for long. That is fine enough: were the speeds known
exactly, the 99th percentile would be better by some hundredths.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import log
from typing import Final

from txrouter.interfaces import IConsumer

__all__ = ["SELDOM", "USUAL", "Pace", "Usual", "one_passed_over"]

USUAL: Final = 1 << 8
"""What `pace` is of a consumer that takes as long as usual."""
SHORT: Final = 0.005
"""Seconds. Work that takes less is not compared: it is as much the network that takes them, and a consumer is not to
be left out because it is farther away; least of all one that settles first and works then."""
MOST: Final = 8
"""The powers of two that are told apart, in either direction."""
STEP: Final = log(2)
FAR: Final = 0.4
"""So far from what is said of a consumer, its average has to be to change that; more than half a step."""
REMEMBERED: Final = 1 / 64
"""The weight of a message, against all before of the same consumer."""
OF_ALL: Final = 1 / 256
"""The weight of a message, against all before of all."""
UNKNOWN: Final = 1 / 16
"""The weight of a consumer's first one, against that it is as usual."""
DOUBTFUL: Final = 1 / 5
"""The weight of its next one, when what is known of it was learned long ago."""
KEPT: Final = 0.999
"""What is left after a message of what was known of a consumer: otherwise all could become slower than usual."""
SELDOM: Final = 128
"""How many messages are learned from until one is sent to a consumer that is passed over otherwise. So fewer than one
of a hundred goes to a slow one for that."""
LOOKED_AT: Final = 4
"""How many consumers are looked at then, at most, to find one that is passed over."""


class Pace:
    """What is known of one consumer."""

    __slots__ = ("_high", "_low", "_slower", "_weight", "pace")

    def __init__(self) -> None:
        self.pace = USUAL
        """How long it takes for a message: an integer, relative to `USUAL`."""
        self._slower = 0.0
        """The logarithm of how many times as long as usual it takes."""
        self._weight = UNKNOWN
        self._low = -FAR
        self._high = FAR
        """As long as `_slower` is between them, `pace` is right."""

    def doubt(self) -> None:
        """It was long ago that it was learned: the next messages are to count for more."""
        self._weight = max(self._weight, DOUBTFUL)

    def _settle_on(self, step: int) -> None:
        self.pace = USUAL << step if step >= 0 else USUAL >> -step
        self._low = step * STEP - FAR
        self._high = step * STEP + FAR


class Usual:
    """What messages take on the usual consumer of an address."""

    __slots__ = ("_usual", "_weight")

    def __init__(self) -> None:
        self._usual = 0.0
        """The logarithm of it."""
        self._weight = 1.0

    def learn(self, pace: Pace, seconds: float) -> None:
        """A message took so long on that consumer. This runs for nearly every message."""
        weight = pace._weight
        off = log(seconds + SHORT) - self._usual - pace._slower
        self._usual += off * self._weight
        if self._weight > OF_ALL:
            self._weight /= 1 + self._weight
            if self._weight == 0.5:
                return  # it was the first of all: there was nothing to compare it with
        pace._slower = slower = (pace._slower + off * weight) * KEPT
        if weight > REMEMBERED:
            pace._weight = weight / (1 + weight)
        if not pace._low < slower < pace._high:
            pace._settle_on(max(-MOST, min(MOST, round(slower / STEP))))


def one_passed_over(
    consumers: OrderedDict[IConsumer, None], is_passed_over: Callable[[IConsumer], bool]
) -> IConsumer | None:
    """Whose turn it is to be tried, of those that are slower than others, or were when they were tried last.

    :param consumers: all there are. Those that are looked at are moved to the end.
    """
    for _ in range(min(LOOKED_AT, len(consumers))):
        consumer = next(iter(consumers))
        consumers.move_to_end(consumer)
        if is_passed_over(consumer):
            consumer.place.doubt()
            return consumer
    return None
