"""A client that says exactly what a test has it say, right or wrong."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.net.frames import AMQP, CLOSE, DETACH, Frame, begin, close, open_, taken_apart
from tests.net.waiting import something_came, wait_until


class RawClient(Protocol):
    """A socket."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        something_came()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        something_came()

    def say(self, *data: bytes) -> None:
        """Send these bytes."""
        transport: Any = self.transport
        transport.write(b"".join(data))

    def hang_up(self) -> None:
        """Say no more, and go on reading."""
        transport: Any = self.transport
        transport.loseWriteConnection()

    def stop_reading(self) -> None:
        """Let what comes pile up."""
        transport: Any = self.transport
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        transport.pauseProducing()

    def abort(self) -> None:
        """Be gone."""
        transport: Any = self.transport
        transport.abortConnection()

    @property
    def frames(self) -> list[Frame]:
        """The frames that came behind the AMQP header."""
        assert self.received[:8] in (AMQP, b""), self.received[:40]
        return taken_apart(self.received[8:])[0]

    def heard(self, performative: int) -> list[Frame]:
        """The frames of a kind that came."""
        return [each for each in self.frames if each.performative == performative]

    async def hears(self, performative: int, count: int = 1) -> Frame:
        """Wait for so many frames of a kind, and return the last one."""
        await wait_until(lambda: self.lost or len(self.heard(performative)) >= count)
        return self.heard(performative)[count - 1]

    async def greeted(self) -> RawClient:
        """Open the connection and begin a session, as it should be."""
        self.say(AMQP, open_(), begin())
        await wait_until(lambda: len(self.frames) >= 2)
        return self

    async def refused(self) -> str | None:
        """Wait for the router to end the connection; returns the condition of its close frame, if it sends one."""
        await wait_until(lambda: self.lost or self.heard(CLOSE))
        closed = self.heard(CLOSE)
        assert all(" " in frame.description for frame in closed if frame.error), "people are told why"
        self.say(close())
        await wait_until(lambda: self.lost)
        return closed[0].error if closed else None

    async def link_refused(self) -> str | None:
        """Wait for a detach frame; returns its condition."""
        detached = await self.hears(DETACH)
        assert detached.error is None or " " in detached.description, "people are told why"
        return detached.error
