"""How much producers may send: the arithmetic alone.

Credit follows what the consumers of an address can take. Every producer is granted all of that, not a share of it:
with shares, one idle producer sits on credit that the others need. What comes in excess waits, most of it unread and
so counted in the session's window, and goes as soon as a consumer can take it.
"""

from __future__ import annotations

__all__ = ["BACKLOG", "refill", "usable"]

BACKLOG = 2
"""How many messages beyond the consumers' credit a producer may send ahead, so that one is at hand when a consumer
gives credit again: a round trip to the producer for each would idle a consumer that takes one at a time."""


def refill(credit: int, target: int, unsettled: int, max_unsettled: int) -> int:
    """How much more to grant to a producer that has `credit` where `target` is right.

    Nothing until half of it is used: one flow frame then serves many messages.
    """
    if credit * 2 > target:
        return 0
    return max(0, min(target - credit, max_unsettled - unsettled - credit))


def usable(granted: int, in_flight: int, max_in_flight: int) -> int:
    """How much of what a consumer granted is used, so that no more than `max_in_flight` is ever sent to it."""
    return max(0, min(granted, max_in_flight - in_flight))
