"""Ending turns: the one place that knows how a reactor can be made to call back before it polls again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txrouter.amqp.turn import Turn
from txrouter.core.router import Router

__all__ = ["Pacemaker"]

BEAT = 0.25
"""Seconds between looks at every connection's deadlines."""


class Pacemaker:
    """Drives a router's time: ends its turns, wakes it when something is due, and beats for its connections.

    :param beat: called with the time, several times a second, while it runs.
    """

    def __init__(self, router: Router, reactor: Any, beat: Callable[[float], None]) -> None:
        self._router = router
        self._reactor = reactor
        self._timers: IReactorTime = reactor
        # a real reactor's own clock can be set back
        self.clock: Callable[[], float] = time.monotonic if isinstance(reactor, ReactorBase) else reactor.seconds
        self._beat = beat
        self._beating: Any = None
        self._waking: Any = None
        self._wakes_at = 0.0
        self._ending: Any = None
        self._queued = False
        self.turn = Turn(router, self._scheduler(), self.clock)

    def _scheduler(self) -> Callable[[], None]:
        # What is in this queue runs before the reactor polls again. callFromThread() would also write a byte to wake
        # the poll up, and callLater() costs more than a message does; neither is needed in the reactor's thread.
        if isinstance(self._reactor, ReactorBase) and hasattr(self._reactor, "threadCallQueue"):
            queue = self._reactor.threadCallQueue
            entry: Any = (self._end_queued, (), {})

            def schedule() -> None:
                if not self._queued:
                    self._queued = True
                    queue.append(entry)

            return schedule
        return self._later

    def _end_queued(self) -> None:
        self._queued = False
        self._end()

    def _later(self) -> None:
        if self._ending is None:
            self._ending = self._timers.callLater(0, self._end_later)

    def _end_later(self) -> None:
        self._ending = None
        self._end()

    def _end(self) -> None:
        self.turn.end()
        deadline = self._router.next_deadline()
        if deadline is not None and self._beating is not None:  # what ends after `stop` is not waited for
            self._wake_at(deadline)

    def _wake_at(self, deadline: float) -> None:
        call = self._waking
        if call is not None and call.active():
            if self._wakes_at <= deadline:
                return
            call.cancel()
        self._wakes_at = deadline
        self._waking = self._timers.callLater(max(0.0, deadline - self.clock()), self._wake)

    def _wake(self) -> None:
        self._router.now = self.clock()
        self._router.wake()
        self._end_from_timer()

    def later(self, delay: float, call: Callable[[], None]) -> IDelayedCall:
        """Call it after so many seconds, and end the turn."""
        return self._timers.callLater(delay, self.call, call)

    def wake(self) -> None:
        """Have the turn ended soon, whoever asks: a client's read, a timer, or a request."""
        self.turn.wake()
        if self._queued:
            self._reactor.wakeUp()

    def call(self, call: Callable[[], None]) -> None:
        """Call it, as something has happened that is no client's doing, and end the turn."""
        self._router.now = self.clock()
        call()
        self._end_from_timer()

    def start(self) -> None:
        """Begin to beat."""
        self._beating = self._timers.callLater(BEAT, self._tick)

    def _tick(self) -> None:
        self._beating = self._timers.callLater(BEAT, self._tick)
        self._router.now = now = self.clock()
        self._beat(now)
        self._end_from_timer()

    def _end_from_timer(self) -> None:
        # timers run after the queue of `_scheduler`: nobody else would end this turn before the next poll is over
        self._end()
        if self._queued:
            self._reactor.wakeUp()

    def stop(self) -> None:
        """Leave no timer behind."""
        for call in (self._beating, self._waking, self._ending):
            if call is not None and call.active():
                call.cancel()
        self._beating = self._waking = self._ending = None
