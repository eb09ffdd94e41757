"""How much of a turn a connection gets: what it sends is served at once if that is little, and else after others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from txrouter.amqp.connection import Connection
    from txrouter.amqp.wire import Wire

__all__ = ["LIGHT", "LITTLE", "SLICE", "Share"]

SLICE = 0.001
"""Seconds at the end of a turn in which what was put off is served. Others wait for that, and no longer."""
LIGHT = SLICE / 4
"""Seconds in which what a connection has sent is served at once; and the least that it gets of a slice."""
LITTLE = 1 << 10
"""Bytes of which it is not asked how long they took: so little is not worth a look at the clock."""
WHOLE = 1 << 16
"""Bytes that may be served without a look at the clock: proton takes 8 KiB at once, or a frame."""
LEAST = 1 << 9
"""The same, where there is much to do for few: links to be attached, outcomes to be told."""


class Share:
    """The share of one connection.

    It is light until what was read of it at once takes longer than `LIGHT`. From then on what it sends is put off until
    the turn has served and written all else, and as long as that takes more than one turn no more is read of it. It is
    light again when all that was read of it has taken less.
    """

    __slots__ = ("_connection", "_paused", "_rest", "_seconds", "_wire", "heavy", "piece")

    def __init__(self, connection: Connection, wire: Wire) -> None:
        self._connection = connection
        self._wire = wire
        self.heavy = False
        """What it sends is to be put off."""
        self.piece = WHOLE
        """How many bytes are to be served without a look at the clock."""
        self._seconds = LIGHT
        self._rest = b""
        self._paused = False

    def is_used_up(self, data: bytes, served: int) -> bool:
        """Whether it has had its share of this turn, by what was served of these bytes since `Router.now`. Then what is
        left of them is put off."""
        connection = self._connection
        used = connection.turn.clock() - connection.router.now
        if used < self._seconds:
            return False
        self.heavy = True
        self.piece = min(max(int(served * LIGHT / used), LEAST), WHOLE)
        if served < len(data):
            self.put_off(data[served:])
        return True

    def put_off(self, data: bytes) -> None:
        """Keep what was read for the end of this turn, or for that of the next."""
        if self._rest:
            # the transport had it in its hands already
            self._rest += data
            self._pause()
        else:
            self._rest = data
            self._connection.turn.put_off(self)

    def go_on(self, seconds: float) -> None:
        """Serve what was put off, as far as it can be done in so many seconds. Called by the turn."""
        connection = self._connection
        rest, self._rest = self._rest, b""
        if not connection.deaf:
            self._seconds = seconds
            connection.serve(rest)
            self._seconds = LIGHT
        if self._rest:
            if not self._paused:
                self._pause()
        elif self._paused:
            self._paused = False
            if not connection.lost:
                self._wire.resume()
        elif connection.turn.clock() - connection.router.now < LIGHT:
            self.heavy = False
            self.piece = WHOLE

    def _pause(self) -> None:
        self._paused = True
        self._wire.pause()

    def leave(self) -> None:
        """The connection is lost: what was read of it before is served, as ever."""
        self._seconds = math.inf
        rest, self._rest = self._rest, b""
        if rest and not self._connection.deaf:
            self._connection.serve(rest)
