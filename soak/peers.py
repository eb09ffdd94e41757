"""Connections that can die in every way: the tests' client, with a valve before its socket.

What a peer hears of its deliveries it passes on to whoever has to do with the link: see `soak.roles`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol

from scramp import ScramClient
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.net.clients import Client
from tests.net.frames import SASL, binary, described, frame, symbol, taken_apart
from tests.net.links import Receiver, Sender, Sent

__all__ = ["Peer", "Role", "ScramPeer"]

_PATIENCE = 2.0
"""Seconds that a peer waits for the answer to an end that it has asked for."""


class Role(Protocol):
    """What a peer does with one of its links."""

    link: Any
    session: Any

    def step(self, seconds: float) -> None:
        """So much time has passed: do what there is to do."""

    def heard(self, sent: Sent) -> None:
        """News of a message that was sent."""

    def came(self) -> None:
        """Messages may have come, or news of some that came."""

    def give_up(self) -> None:
        """Abort what is half sent: before that, proton would not write that a link or a connection is to end."""

    def over(self) -> None:
        """The link has ended, whoever ended it."""


@implementer(IPushProducer)
class _Room:
    """Whether a transport takes more for now. What it calls to produce is our writing; to stop reading is another
    thing, though its methods have the same names."""

    def __init__(self) -> None:
        self.full = False

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False

    def stopProducing(self) -> None:
        self.full = True


class _Valve:
    """A transport that can be shut, after any byte: what is written then goes nowhere, and the client does not know."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.left: int | None = None
        """Bytes that still pass; None for all."""
        self.room = _Room()
        transport.registerProducer(self.room, True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        if data:
            self._transport.write(data)

    def loseConnection(self) -> None:
        self._transport.unregisterProducer()
        self._transport.loseConnection()


class Peer(Client):
    """A connection of somebody who means well, until somebody has it do otherwise."""

    user = ""

    def __init__(self, container: str, lost: Callable[[Peer], None]) -> None:
        super().__init__(container)
        self.roles: dict[Sender | Receiver, Role] = {}
        self.reason = ""
        """Why the socket is gone, as Twisted has it."""
        self._leaving: dict[Sender | Receiver, Role] = {}
        self._leaves_within: float | None = None
        self.doomed = ""
        """What was done to it that excuses its end; empty as long as the router has no reason to end it."""
        self.stalled = False
        self.complaints: list[str] = []
        """What the router held against it."""
        self._lost = lost
        self._valve: _Valve

    # -- ways to die -------------------------------------------------------------------------------

    def vanish(self) -> None:
        """Close the socket, without a word of AMQP."""
        self._end("vanished")
        self._valve.loseConnection()

    def reset(self) -> None:
        """Have the kernel forget the socket, and tell the router so."""
        self._end("reset")
        self._valve.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._valve.abortConnection()

    def fall_silent(self, after: int) -> None:
        """Write so many bytes more, which may be half a frame, and then none."""
        self.doomed = "fell silent"
        self._valve.left = after

    def stall(self) -> None:
        """Read nothing."""
        self.doomed = "stalled"
        self.stalled = True
        self.stop_reading()

    def go_on(self) -> None:
        """Read again. It may have been lost in the meantime."""
        if self.stalled and not self.lost:
            self.stalled = False
            self.go_on_reading()

    def recover(self) -> None:
        """It has read for a while, and would know by now if it had been lost."""
        if self.doomed == "stalled" and not self.stalled:
            self.doomed = ""

    def leave(self) -> None:
        """Close in order."""
        for role in self.roles.values():
            role.give_up()
        self._end("closed")
        self._leaves_within = _PATIENCE
        self.close()

    # -- the client --------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the socket takes no more for now."""
        return self._valve.room.full

    def take(self, role: Role) -> None:
        """Have somebody hear of one of its links."""
        self.roles[role.link] = role

    def drop(self, role: Role, *, listening: bool = False) -> None:
        """A link has ended; or is about to, and what still comes is taken note of."""
        if self.roles.pop(role.link, None) is not None:
            role.over()
            if listening:
                self._leaving[role.link] = role
                self._leaves_within = _PATIENCE

    def _end(self, doomed: str) -> None:
        """Whatever proton says of its links from here on is not what the router said."""
        self.doomed = doomed
        self._leaving.clear()
        for role in list(self.roles.values()):
            self.drop(role)

    def step(self, seconds: float) -> None:
        """Let all links do what there is to do."""
        for link in [link for link in self._leaving if link.closed]:
            del self._leaving[link]
        if self._leaving or self.doomed == "closed":
            self._wait_no_longer(seconds)
        for role in list(self.roles.values()):
            if role.link.closed:
                self._detached(role)
            elif role.link.open:
                role.step(seconds)

    def _wait_no_longer(self, seconds: float) -> None:
        """Some messages, aborted ones among them, keep proton from ever writing that their link or connection ends."""
        self._leaves_within = (self._leaves_within or 0.0) - seconds
        if self._leaves_within <= 0:
            self.vanish()

    def _detached(self, role: Role) -> None:
        error = role.link.error
        if error is not None:
            self.complaints.append(f"a link of {self.connection.container} was detached with {error.name}")
        self.drop(role)

    def makeConnection(self, transport: Any) -> None:
        transport.setTcpNoDelay(True)
        self._valve = _Valve(transport)
        super().makeConnection(self._valve)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.reason = reason.getErrorMessage()
        self._end(self.doomed)
        self._lost(self)

    def _delivery(self, delivery: Any) -> None:
        link = self._links.get(delivery.link)
        role = self.roles.get(link) or self._leaving.get(link) if link is not None else None
        if role is None:
            return
        sent = link.unsettled.get(delivery) if isinstance(link, Sender) else None
        super()._delivery(delivery)
        if sent is not None:
            role.heard(sent)
        else:
            role.came()


_INIT, _RESPONSE = 0x41, 0x43


class ScramPeer(Peer):
    """One that proves first that it knows a password."""

    user = "alice"
    password = "pencil"

    def __init__(self, container: str, lost: Callable[[Peer], None], hangs_at: int = 0) -> None:
        """`hangs_at`: at which frame of the router's it falls silent, if at any."""
        super().__init__(container, lost)
        self._entering: ScramClient | None = ScramClient(["SCRAM-SHA-256"], self.user, self.password)
        self._received = b""
        self._frames = 0
        self._hangs_at = hangs_at

    def connectionMade(self) -> None:
        self._valve.write(SASL)

    def dataReceived(self, data: bytes) -> None:
        entering = self._entering
        if entering is None:
            super().dataReceived(data)
            return
        self._received += data
        frames, rest = taken_apart(self._received.removeprefix(SASL))
        for each in frames[self._frames :]:
            self._frames += 1
            if self._frames == self._hangs_at:
                self.fall_silent(3)
            self._answer(entering, each.fields)
        if self._entering is None:
            super().connectionMade()
            if rest:
                super().dataReceived(rest)

    def _answer(self, entering: ScramClient, fields: Any) -> None:
        if self._frames == 1:  # what the router offers
            first = described(_INIT, symbol("SCRAM-SHA-256"), binary(entering.get_client_first().encode()))
            self._valve.write(frame(first, kind=1))
        elif self._frames == 2:
            entering.set_server_first(fields[0].decode())
            self._valve.write(frame(described(_RESPONSE, binary(entering.get_client_final().encode())), kind=1))
        else:
            code, proof = fields
            if code == 0:
                entering.set_server_final(proof.decode())
                self._entering = None

    def tick(self) -> float:
        return super().tick() if self._entering is None else 0.0

    def flush(self) -> None:
        if self._entering is None:
            super().flush()
