"""Waiting for what a test expects, as long as that is reasonable and no longer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred

reactor: Any = installed_reactor

PATIENCE = 10.0
"""Seconds after which what has not come will not come."""
_LOOK_AGAIN = 0.01
"""Seconds between looks at what changes in the router without a client hearing of it."""

_waiting: list[Deferred[None]] = []


async def wait_until(reached: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until `reached` says so. It is asked whenever something has come to a client, and now and then."""
    deadline = reactor.seconds() + patience
    while not reached():
        if reactor.seconds() > deadline:
            raise AssertionError(f"it never came: {inspect.getsource(reached).strip()}")
        something: Deferred[None] = Deferred()
        _waiting.append(something)
        again = reactor.callLater(_LOOK_AGAIN, something_came)
        await something
        if again.active():
            again.cancel()


def something_came() -> None:
    """Have everything that is waited for looked at."""
    waiting = _waiting[:]
    _waiting.clear()
    for each in waiting:
        each.callback(None)
