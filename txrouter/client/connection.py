"""A client's AMQP connection: proton's engine, moved by Twisted, as one connection with one session.

proton's own reactor is not used, because Twisted brings TLS wherever it runs, its signals and timers, and pipes that do
not block. Nothing here knows what the links are for.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Protocol

import proton
from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from txrouter.client.server import Server

__all__ = ["Connection", "User"]

IDLE_TIMEOUT = 60.0
"""Seconds of silence from the server after which the connection is lost; it is told half of that."""


class User(Protocol):
    """Who a connection is for, and what it hears of it."""

    def connected(self, connection: Connection) -> None:
        """The connection is there, and has said who it is."""

    def opened(self) -> None:
        """The server has opened the connection."""

    def attached(self, link: Any) -> None:
        """The server has attached its end of a link."""

    def detached(self, link: Any, reason: str) -> None:
        """The server has detached a link; `reason`, if there is one, is to be put behind other words."""

    def flowed(self, link: Any) -> None:
        """The server gave credit, or gave some back."""

    def delivery(self, delivery: Any) -> None:
        """A message came, or some of it, or news of one that was sent."""

    def ready(self) -> None:
        """All that came is served, and there is room for more to be said."""

    def lost(self, reason: str) -> None:
        """The connection is gone; `reason` is empty if it was closed in order."""


@implementer(IPushProducer)
class Connection(TwistedProtocol):
    """See the module.

    :param name: the container id begins with it.
    """

    def __init__(self, user: User, server: Server, name: str) -> None:
        self._user = user
        self._engine: Any = proton.Transport()
        self._amqp: Any = proton.Connection()
        self._amqp.container = f"{name}-{uuid.uuid4()}"
        self._amqp.hostname = server.host
        self._collector: Any = proton.Collector()
        self._amqp.collect(self._collector)
        sasl = self._engine.sasl()
        if server.user is None:
            sasl.allowed_mechs("ANONYMOUS")
        else:
            self._amqp.user, self._amqp.password = server.user, server.password or ""
            sasl.allowed_mechs("PLAIN")
            sasl.allow_insecure_mechs = True  # TLS, where there is any, is Twisted's, and proton knows nothing of it
        self._engine.idle_timeout = IDLE_TIMEOUT
        self._engine.bind(self._amqp)
        self._session: Any = self._amqp.session()
        self._reason: str = ""
        self._closing = False
        self._serving = False
        self.full = False
        """Whether the socket takes no more for now."""

    # -- links -------------------------------------------------------------------------------------

    def sender(self, address: str | None, *, settled: bool = False) -> Any:
        """Attach a link to send on; to no address for messages that say themselves where they go."""
        link = self._session.sender(f"sender-{uuid.uuid4()}")
        link.target.address = address
        link.snd_settle_mode = proton.Link.SND_SETTLED if settled else proton.Link.SND_UNSETTLED
        link.open()
        return link

    def receiver(
        self, address: str | None, *, settled: bool = False, properties: Mapping[str, object] | None = None
    ) -> Any:
        """Attach a link to receive on; from no address for one that the server makes for it."""
        link = self._session.receiver(f"receiver-{uuid.uuid4()}")
        if address is None:
            link.source.dynamic = True
        else:
            link.source.address = address
        link.snd_settle_mode = proton.Link.SND_SETTLED if settled else proton.Link.SND_MIXED
        if properties:
            link.properties = dict(properties)
        link.open()
        return link

    @property
    def unwritten(self) -> int:
        """How many bytes wait for room in the session's window."""
        return int(self._session.outgoing_bytes)

    def close(self) -> None:
        """Close in order: every link, the session, the connection."""
        if self._closing:
            return
        self._closing = True
        link = self._amqp.link_head(proton.Endpoint.LOCAL_ACTIVE)
        while link is not None:
            following = link.next(proton.Endpoint.LOCAL_ACTIVE)
            link.close()
            link = following
        self._session.close()
        self._amqp.close()
        self.write()

    def abort(self) -> None:
        """Be gone at once."""
        transport: Any = self.transport
        transport.abortConnection()

    # -- bytes -------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self._amqp.open()
        self._session.open()
        self._user.connected(self)
        self.write()

    def dataReceived(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and (room := self._engine.capacity()) > 0:
            self._engine.push(bytes(rest[:room]))
            rest = rest[room:]
            self._serve()
        self._user.ready()
        self.write()

    def write(self) -> None:
        """Write what there is to be said."""
        transport: Any = self.transport
        while (pending := self._engine.pending()) > 0:
            transport.write(bytes(self._engine.peek(pending)))
            self._engine.pop(pending)
        self._serve()
        # the server's close frame is waited for, unless it cannot come any more
        if pending < 0 and (self._reason or self._amqp.state & proton.Endpoint.REMOTE_CLOSED):
            transport.unregisterProducer()
            transport.loseConnection()

    def tick(self, now: float) -> None:
        """Let the server hear of us, and see whether we still hear of it: to be called every few seconds."""
        self._engine.tick(now)
        self._serve()
        self.write()

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False
        self._user.ready()
        self.write()

    def stopProducing(self) -> None:
        self.full = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._user.lost(self._reason if self._reason or self._closing else _why_lost(reason))

    # -- events ------------------------------------------------------------------------------------

    def _serve(self) -> None:
        if self._serving:
            return  # what is being served has led to something to write
        self._serving = True
        collector, delivery = self._collector, self._user.delivery
        while event := collector.peek():
            if event.type is proton.Event.DELIVERY:
                delivery(event.delivery)
            else:
                self._serve_rare(event)
            collector.pop()
        self._serving = False

    def _serve_rare(self, event: Any) -> None:
        kind = event.type
        if kind is proton.Event.LINK_FLOW:
            self._user.flowed(event.link)
        elif kind is proton.Event.CONNECTION_REMOTE_OPEN:
            self._user.opened()
        elif kind is proton.Event.LINK_REMOTE_OPEN:
            self._user.attached(event.link)
        elif kind in (proton.Event.LINK_REMOTE_CLOSE, proton.Event.LINK_REMOTE_DETACH):
            self._user.detached(event.link, _spoken(event.link.remote_condition))
            event.link.close()
        elif kind is proton.Event.SESSION_REMOTE_CLOSE:
            self._ended("the server ended the session" + _spoken(event.session.remote_condition))
        elif kind is proton.Event.CONNECTION_REMOTE_CLOSE:
            self._ended("the server closed the connection" + _spoken(event.connection.remote_condition))
        elif kind is proton.Event.TRANSPORT_ERROR:
            self._reason = self._reason or self._of_transport(event.transport.condition)

    def _of_transport(self, condition: Any) -> str:
        if condition and condition.name == "amqp:unauthorized-access":
            if self._amqp.user:
                return "the server does not let us in with this user and password"
            return "the server does not let us in without a user and password, as in amqp://user:password@host"
        if condition and condition.name == "amqp:connection:framing-error":
            return f"the server does not speak AMQP 1.0 as it should: {condition.description}"
        return "the connection failed" + _spoken(condition)

    def _ended(self, reason: str) -> None:
        if not self._closing:
            self._reason = reason
            self.close()


def _spoken(condition: Any) -> str:
    """An AMQP error in words, to be put behind others; nothing if there is none."""
    said = (condition.name, condition.description) if condition else ()
    return "".join(f": {each}" for each in said if each)


def _why_lost(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, TLSError):
        said = "; ".join(str(entry[-1]) for entry in (error.args[0] if error.args else ()))
        return f"TLS failed: {said or 'the server broke it off'}"
    if isinstance(error, VerificationError):
        return "TLS failed: the certificate is for another host"
    return f"the connection was lost: {error}".rstrip(".")
