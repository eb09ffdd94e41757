"""Outcomes between the core's words and proton's states."""

from __future__ import annotations

from typing import Any

from txrouter.amqp.engine import (
    STATE_ACCEPTED,
    STATE_MODIFIED,
    STATE_REJECTED,
    STATE_RELEASED,
    copy_state,
    delivery_remote_state,
    delivery_update,
    modified_flags,
    update_modified,
    update_rejected,
)
from txrouter.core.outcomes import ACCEPTED, RELEASED, SETTLED, Outcome

__all__ = ["forward_state", "heard", "say"]


def heard(pointer: Any, state: int) -> Outcome:
    """What the consumer said. Its other fields are read when it is said on, before the pointer is settled."""
    if state == STATE_ACCEPTED:
        return ACCEPTED
    if state == STATE_RELEASED:
        return RELEASED
    if state == STATE_MODIFIED:
        failed, undeliverable = modified_flags(pointer)
        return Outcome("modified", delivery_failed=failed, undeliverable_here=undeliverable, origin=(pointer, state))
    if state == STATE_REJECTED:
        return Outcome("rejected", origin=(pointer, state))
    return SETTLED


def say(outcome: Outcome, pointer: Any) -> None:
    """Put the outcome on a producer's delivery."""
    if outcome is ACCEPTED:
        delivery_update(pointer, STATE_ACCEPTED)
    elif outcome.origin is not None:
        source, state = outcome.origin
        copy_state(source, state, pointer)
    elif outcome.state == "released":
        delivery_update(pointer, STATE_RELEASED)
    elif outcome.state == "modified":
        update_modified(pointer, outcome.delivery_failed, outcome.undeliverable_here)
    elif outcome.state == "rejected":
        update_rejected(pointer, outcome.condition, outcome.description)


def forward_state(source: Any, target: Any) -> None:
    """Say of `target` what the peer has said of `source` so far."""
    state = delivery_remote_state(source)
    if state:
        copy_state(source, state, target)
