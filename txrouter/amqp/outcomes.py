"""Outcomes between the core's words and proton's states."""

from __future__ import annotations

from typing import Any

from txrouter.amqp.engine import (
    STATE_ACCEPTED,
    STATE_MODIFIED,
    STATE_REJECTED,
    STATE_RELEASED,
    copy_fields,
    copy_state,
    delivery_remote_state,
    delivery_update,
    modified_flags,
    update_modified,
    update_rejected,
)
from txrouter.core.outcomes import ACCEPTED, RELEASED, SETTLED, Outcome

__all__ = ["forward_state", "heard", "kept", "say"]


def heard(pointer: Any, state: int, with_fields: bool = True) -> Outcome:
    """What the consumer said. Its other fields are read when it is said on, before the pointer is settled; or never."""
    if state == STATE_ACCEPTED:
        return ACCEPTED
    if state == STATE_RELEASED:
        return RELEASED
    origin = (pointer if with_fields else None, state)
    if state == STATE_MODIFIED:
        failed, undeliverable = modified_flags(pointer)
        return Outcome("modified", delivery_failed=failed, undeliverable_here=undeliverable, origin=origin)
    if state == STATE_REJECTED:
        return Outcome("rejected", origin=origin)
    return Outcome("settled", origin=origin) if state else SETTLED


def say(outcome: Outcome, pointer: Any) -> None:
    """Put the outcome on a producer's delivery."""
    if outcome is ACCEPTED:
        delivery_update(pointer, STATE_ACCEPTED)
    elif outcome.origin is not None:
        source, state = outcome.origin
        if source is not None:
            copy_fields(source, state, pointer)
        if state == STATE_MODIFIED:
            update_modified(pointer, outcome.delivery_failed, outcome.undeliverable_here)
        else:
            delivery_update(pointer, state)
    elif outcome.state == "released":
        delivery_update(pointer, STATE_RELEASED)
    elif outcome.state == "modified":
        update_modified(pointer, outcome.delivery_failed, outcome.undeliverable_here)
    elif outcome.state == "rejected":
        update_rejected(pointer, outcome.condition, outcome.description)


def kept(outcome: Outcome, pointer: Any) -> Outcome:
    """The same outcome, with its fields put on a producer's delivery already: what it was said of may go."""
    source, state = outcome.origin
    if source is None:
        return outcome
    copy_fields(source, state, pointer)
    return Outcome(
        outcome.state,
        delivery_failed=outcome.delivery_failed,
        undeliverable_here=outcome.undeliverable_here,
        origin=(None, state),
    )


def forward_state(source: Any, target: Any) -> None:
    """Say of `target` what the peer has said of `source` so far."""
    state = delivery_remote_state(source)
    if state:
        copy_state(source, state, target)
