"""What is put off to the end of a turn of the reactor: one flush for each connection, however many messages it got."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from txrouter.amqp.shares import LIGHT, SLICE

if TYPE_CHECKING:
    from txrouter.amqp.connection import Connection
    from txrouter.amqp.incoming import IncomingLink
    from txrouter.amqp.outgoing import OutgoingLink
    from txrouter.amqp.shares import Share
    from txrouter.core.router import Router

__all__ = ["Turn"]


class Turn:
    """Everything marked since the last turn ended.

    :param schedule: asks for `end` to be called when what is going on now has been served; called once a turn.
    :param clock: seconds, monotonic.
    """

    def __init__(self, router: Router, schedule: Callable[[], None], clock: Callable[[], float]) -> None:
        self._router = router
        self._schedule = schedule
        self._scheduled = False
        self.clock = clock
        self._dirty: list[Connection] = []
        self._put_off: list[Share] = []
        self._crowded: dict[Connection, None] = {}
        self._resumed: dict[IncomingLink, None] = {}
        self._draining: dict[OutgoingLink, None] = {}
        self.after: list[Callable[[], None]] = []
        """Called once each, after the next turn has ended."""

    def mark(self, connection: Connection) -> None:
        """This connection has something to write."""
        self._dirty.append(connection)
        self.wake()

    def wake(self) -> None:
        """Have the turn ended soon."""
        if not self._scheduled:
            self._scheduled = True
            self._schedule()

    def resume(self, link: IncomingLink) -> None:
        """This link can go on reading."""
        self._resumed[link] = None
        self.wake()

    def put_off(self, share: Share) -> None:
        """This connection goes on when what others sent was served, and what there is for them was written."""
        self._put_off.append(share)
        self.wake()

    def crowd(self, connection: Connection) -> None:
        """Long messages wait for room on this connection. They go on in the next turn: others are to be read before."""
        self._crowded[connection] = None
        self.wake()

    def drain(self, link: OutgoingLink) -> None:
        """This consumer wants what there is now, and to be left with no credit."""
        self._draining[link] = None
        self.wake()

    def end(self) -> None:
        """Serve what was put off, until nothing is left but what is for the next turn."""
        self._scheduled = True  # what is marked from here on is served here
        self._router.now = self.clock()
        if self._crowded:
            crowded, self._crowded = self._crowded, {}
            for connection in crowded:
                connection.resume_waiters()
        self._settle()
        if self._put_off:
            put_off, self._put_off = self._put_off, []
            for share in put_off:
                share.go_on(max(SLICE / len(put_off), LIGHT))
            self._settle()
        self._scheduled = False
        if self._crowded or self._put_off:
            self.wake()
        if self.after:
            after, self.after = self.after, []
            for call in after:
                call()

    def _settle(self) -> None:
        """Let what was served take effect, and write it."""
        while True:
            self._router.turn()
            if self._resumed:
                resumed, self._resumed = self._resumed, {}
                for incoming in resumed:
                    incoming.read()
            elif self._dirty:
                dirty, self._dirty = self._dirty, []
                for connection in dirty:
                    connection.flush()
            elif self._draining:
                draining, self._draining = self._draining, {}
                for outgoing in draining:
                    outgoing.drained()
            else:
                return
