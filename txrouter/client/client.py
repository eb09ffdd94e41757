"""What `send` and `receive` have in common: one connection, the patience they have with it, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from txrouter.client.connection import Connection
from txrouter.client.options import ConnectOptions
from txrouter.client.report import Report

__all__ = ["PATIENCE", "Client", "Failed", "Sink"]

PATIENCE = 10.0
"""Seconds for the server to answer a connect or an attach, if no time-out is given."""
LEAST_PATIENCE = 1.0
"""Seconds that it has in any case."""
_CLOSE_TIMEOUT = 2.0
_TICK = 1.0


class Failed(Exception):
    """It did not work; the message says why, in a line for people."""


class Sink(Protocol):
    """Where what came is written, a line at a time; see `txrouter.client.streams.Output`."""

    terminal: bool
    room: Callable[[], None]

    @property
    def full(self) -> bool:
        """Whether more should not be written for now; when that is over, `room` is called."""

    def write(self, data: bytes) -> None:
        """Write a line."""


class Client:
    """A connection with a purpose. A `User` of the connection, which it has from `connected` on.

    :param say: prints a line for people.
    """

    what = ""
    """What it is called in the container id."""

    def __init__(self, options: ConnectOptions, report: Report, reactor: Any, say: Callable[[str], None]) -> None:
        self.options = options
        self.report = report
        self.total: int | None = None
        """How many messages there are to be, if that is known."""
        self.ended: Deferred[None] = Deferred()
        """Fires when all is over and the connection is gone; with `Failed` if that was not in order."""
        self.stopping = False
        self._reactor = reactor
        self._say = say
        self._failure = ""
        self._connection: Any = None
        self._over = False
        self._heard = 0.0
        self._watch: Any = None
        self._closing: Any = None
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = reactor

    # -- for whoever runs it -----------------------------------------------------------------------

    @property
    def done(self) -> int:
        """How many messages are done with."""
        raise NotImplementedError

    @property
    def complete(self) -> bool:
        """Whether all came to what it should; only then is the exit status 0."""
        raise NotImplementedError

    @property
    def patience(self) -> float:
        """Seconds that the server has to answer, before it is known to."""
        return PATIENCE if self.options.timeout is None else max(self.options.timeout, LEAST_PATIENCE)

    def protocol(self) -> Connection:
        """What it is to be connected by."""
        return Connection(self, self.options.server, f"txrouter-{self.what}")

    def unreachable(self, reason: str) -> None:
        """There is no connection."""
        if not self._over:
            self._end(reason)

    def stop(self) -> Deferred[None]:
        """End in order, before it is done. Returns `ended`, which fires without a failure then."""
        if not self.stopping and not self._over:
            self.stopping = True
            if self._connection is None:
                self._end("")
            else:
                self._wind_up()
        return self.ended

    # -- for whoever it is -------------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        self._connection = connection
        self._ticks.start(_TICK, now=False)
        self._watch = self._reactor.callLater(self.patience, self._unanswered)

    def opened(self) -> None:
        """The server has opened the connection: attach."""
        raise NotImplementedError

    def attached(self, link: Any) -> None:
        """The server has attached a link, or is about to refuse it."""

    def detached(self, link: Any, reason: str) -> None:
        """The server has detached a link: that is the end, unless it was asked for."""
        if not self.stopping:
            did = "detached" if self.report.messages else "refuses"
            self.fail(f"the server {did} {self.report.address}{reason}")

    def flowed(self, link: Any) -> None:
        """The server gave credit, or gave some back; `ready` comes next."""

    def delivery(self, delivery: Any) -> None:
        """A message came, or some of it, or news of one that was sent."""
        raise NotImplementedError

    def ready(self) -> None:
        """Everything that came is served: say what there is to say."""
        raise NotImplementedError

    def _wind_up(self) -> None:
        """Begin to end: nothing new is begun, what can be settled is, and then `finish`."""
        self.finish()

    @property
    def excused(self) -> bool:
        """Whether it is not the server that is waited for, so that `timeout` does not count."""
        raise NotImplementedError

    def _expired(self) -> None:
        """Nothing has happened for as long as `timeout` says."""
        raise NotImplementedError

    def _cleared(self) -> None:
        """It is over: leave no timer behind."""

    # -- how it goes on, and ends ------------------------------------------------------------------

    def fail(self, reason: str) -> None:
        """End for a reason that is a failure."""
        self._failure = self._failure or reason
        self.finish()

    def finish(self) -> None:
        """Close the connection in order; if the server does not, without it."""
        if self._closing is None and not self._over:
            self.stopping = True
            self._closing = self._reactor.callLater(_CLOSE_TIMEOUT, self._cut)
            self._connection.close()

    def _cut(self) -> None:
        if self._connection.full:  # what is written last takes as long as it takes
            self._closing = self._reactor.callLater(_CLOSE_TIMEOUT, self._cut)
        else:
            self._connection.abort()

    def heard(self) -> None:
        """Something happened: the time-out begins anew."""
        self._heard = self._reactor.seconds()

    def watch(self) -> None:
        """The link is there: from now on, `timeout` counts from when something happened last."""
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        self._watch = None
        self.heard()
        if self.options.timeout is not None:
            self._watch = self._reactor.callLater(self.options.timeout, self._look, self.options.timeout)

    def _look(self, timeout: float) -> None:
        left = self._heard + timeout - self._reactor.seconds()
        if left > 0:
            self._watch = self._reactor.callLater(left, self._look, timeout)
        elif self.excused:
            self.watch()
        elif not self.stopping:
            self._expired()

    def _unanswered(self) -> None:
        if not self.stopping:
            self._failure = f"{self.options.server} takes connections, but did not answer within {self.patience:g} s"
            self.stopping = True
            self._connection.abort()  # who does not answer will not answer a close frame either

    def _tick(self) -> None:
        self._connection.tick(self._reactor.seconds())

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        # what goes wrong while it ends in order changes nothing any more
        self._end(self._failure or ("" if self.stopping else reason))

    def _end(self, failure: str) -> None:
        self._over = True
        for call in (self._watch, self._closing):
            if call is not None and call.active():
                call.cancel()
        if self._ticks.running:
            self._ticks.stop()
        self._cleared()
        if failure:
            self.ended.errback(Failed(failure))
        else:
            self.ended.callback(None)
