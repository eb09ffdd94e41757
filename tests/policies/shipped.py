"""The policies and wrappers that txrouter comes with, for tests of all of them. What is new belongs here."""

from __future__ import annotations

from txrouter.policies import (
    adaptive,
    closest,
    deadline,
    exclusive,
    join_idle,
    least_in_flight,
    least_work,
    outlier,
    peak_ewma,
    power_of_two,
    priority,
    pull,
    reply_aware,
    round_robin,
    slow_start,
    sticky,
    subset,
    weighted,
)

__all__ = ["AROUND", "CHOOSING"]

CHOOSING = (
    adaptive,
    deadline,
    exclusive,
    join_idle,
    least_in_flight,
    least_work,
    peak_ewma,
    power_of_two,
    priority,
    pull,
    reply_aware,
    round_robin,
    sticky,
    weighted,
)
"""Modules of policies that choose a consumer for each message, but `closest`, which is a wrapper as well."""
AROUND = (closest, outlier, slow_start, subset)
"""Modules of wrappers."""
