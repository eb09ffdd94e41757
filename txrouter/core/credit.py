"""How much producers may send: the arithmetic alone.

Credit follows what the consumers of an address can take. Every producer is granted all of that, not a share of it:
with shares, one idle producer sits on credit that the others need. What comes in excess waits, most of it unread and
so counted in the session's window, and goes as soon as a consumer can take it.
"""

from __future__ import annotations

__all__ = ["BACKLOG", "WIDE", "refill", "share", "target", "usable"]

BACKLOG = 8
"""How many messages beyond the consumers' credit a producer may send ahead where consumers take few at a time, so that
one is at hand when a consumer gives credit again: it would be idle for a round trip to the producer otherwise."""
WIDE = 4
"""A consumer that lets this many be in flight or on their way has work while the next is fetched: it needs no backlog,
and without one every grant is as large as can be, and one flow frame serves many messages."""


def target(free: int, window: int, consumers: int, link_capacity: int) -> int:
    """How much credit each producer of an address is to have.

    :param free: the credit of its consumers.
    :param window: that, and what they had in flight when they last gave credit.
    :param consumers: how many there are.
    """
    if not consumers:
        return 0
    return min(link_capacity, free if window >= WIDE * consumers else free + BACKLOG)


def refill(credit: int, target: int, unsettled: int, max_unsettled: int) -> int:
    """How much more to grant to a producer that has `credit` where `target` is right.

    Nothing until half of it is used: one flow frame then serves many messages.
    """
    if credit * 2 > target:
        return 0
    return max(0, min(target - credit, max_unsettled - unsettled - credit))


def share(left: int, most: int, least: int) -> int:
    """What the next one gets of something that any number share: all that it can use while there is plenty, and no more
    than a quarter of what is left, so that there is some for those that come after it.

    :param left: how much is not given away; below 0 if there was too little for all.
    :param most: as much as it can use.
    :param least: what everybody gets.
    """
    return max(least, min(most, left // 4))


def usable(granted: int, in_flight: int, max_in_flight: int) -> int:
    """How much of what a consumer granted is used, so that no more than `max_in_flight` is ever sent to it."""
    return max(0, min(granted, max_in_flight - in_flight))
