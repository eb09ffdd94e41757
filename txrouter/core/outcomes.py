"""What can become of a delivery, as AMQP 1.0 names it."""

from __future__ import annotations

from typing import Any

__all__ = ["ACCEPTED", "LOST", "RELEASED", "SETTLED", "Outcome", "modified", "rejected"]


class Outcome:
    """The end of a delivery, as a consumer or the router says it. Immutable by convention; the common ones are shared.

    `origin` is what the wire needs to pass on the fields that no decision depends on (annotations, an error's info);
    the core never looks at it.
    """

    __slots__ = (
        "asks_for_another",
        "condition",
        "delivery_failed",
        "description",
        "origin",
        "state",
        "undeliverable_here",
    )

    def __init__(
        self,
        state: str,
        *,
        delivery_failed: bool = False,
        undeliverable_here: bool = False,
        condition: str = "",
        description: str = "",
        origin: Any = None,
    ) -> None:
        self.state = state
        self.delivery_failed = delivery_failed
        self.undeliverable_here = undeliverable_here
        self.condition = condition
        self.description = description
        self.origin = origin
        self.asks_for_another = state == "released" or (state == "modified" and undeliverable_here)
        """Whether another consumer may get the message: this one has not taken it, and does not want it."""

    def __repr__(self) -> str:
        shown = [self.state]
        if self.delivery_failed:
            shown.append("delivery-failed")
        if self.undeliverable_here:
            shown.append("undeliverable-here")
        if self.condition:
            shown.append(self.condition)
        return f"<Outcome {' '.join(shown)}>"


def rejected(condition: str, description: str) -> Outcome:
    """The router itself refuses a message: `condition` for programs, `description` for people."""
    return Outcome("rejected", condition=condition, description=description)


def modified(*, delivery_failed: bool, undeliverable_here: bool = False) -> Outcome:
    """MODIFIED, with its two flags."""
    return Outcome("modified", delivery_failed=delivery_failed, undeliverable_here=undeliverable_here)


ACCEPTED = Outcome("accepted")
RELEASED = Outcome("released")
SETTLED = Outcome("settled")
"""Settled by either end with no outcome said."""
LOST = modified(delivery_failed=True)
"""The consumer is gone, and may have seen the message."""
