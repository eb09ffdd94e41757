"""Clients for tests over real sockets: python-qpid-proton's own engine, moved by Twisted, in the router's process.

`Client` is a connection, `Sender` and `Receiver` are its links, `Sent` and `Received` are the deliveries on them. None
does anything by itself that a test has not asked for, but answer the router's close and detach frames. What a call has
to say is on its way to the socket when it returns; what it leads to is waited for with `wait_until`.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Mapping
from typing import Any, Final

import proton
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.net.links import Error, Receiver, Sender, State, error_of
from tests.net.waiting import reactor, something_came, wait_until

DYNAMIC: Final = object()
"""The address of a link that asks the router for one."""
COORDINATOR: Final = object()
"""The address of a sender to the transaction coordinator."""


class Client(Protocol):
    """A connection to the router.

    :param container: its container id.
    :param sasl: whether it begins with the SASL layer, as ANONYMOUS; else with a bare AMQP header.
    :param login: a user and a password; then it begins with the SASL layer, as PLAIN.
    :param idle_timeout: how many seconds of silence it bears; half of that is announced. 0 for any number.
    """

    _names = itertools.count()

    def __init__(
        self,
        container: str,
        *,
        sasl: bool = False,
        login: tuple[str, str] | None = None,
        idle_timeout: float = 0,
        max_frame: int = 0,
    ) -> None:
        self.lost = False
        """Whether the socket is gone."""
        self.engine: Any = proton.Transport()
        self.connection: Any = proton.Connection()
        self.connection.container = container
        self._collector: Any = proton.Collector()
        self.connection.collect(self._collector)
        if sasl:
            self.engine.sasl().allowed_mechs("ANONYMOUS")
        if login is not None:
            self.connection.user, self.connection.password = login
            self.engine.sasl().allowed_mechs("PLAIN")
            self.engine.sasl().allow_insecure_mechs = True  # proton knows nothing of a TLS that is Twisted's
        self.engine.idle_timeout = idle_timeout
        if max_frame:
            self.engine.max_frame_size = max_frame
        self.engine.bind(self.connection)
        self._links: dict[Any, Sender | Receiver] = {}
        self._session: Any = None
        self._serving = False

    # -- what the router says ----------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether the router has opened the connection, and not closed it."""
        return bool(self.connection.state & proton.Endpoint.REMOTE_ACTIVE)

    @property
    def closed(self) -> bool:
        """Whether a close frame came."""
        return bool(self.connection.state & proton.Endpoint.REMOTE_CLOSED)

    @property
    def error(self) -> Error | None:
        """What the router closed it for."""
        return error_of(self.connection.remote_condition)

    async def opened(self) -> None:
        """Wait until the router has answered."""
        await wait_until(lambda: self.open or self.closed or self.lost)

    async def gone(self) -> None:
        """Wait until the socket is gone."""
        await wait_until(lambda: self.lost)

    async def sync(self) -> None:
        """Wait until the router has served all that this client has said so far, and this client has all that it led to
        here: a session is begun and ended, and whatever came before it on either way has arrived before it."""
        session = self.new_session()
        await wait_until(lambda: session.state & proton.Endpoint.REMOTE_ACTIVE)
        session.close()
        self.flush()
        await wait_until(lambda: session.state & proton.Endpoint.REMOTE_CLOSED)
        session.free()

    # -- what the client does ----------------------------------------------------------------------

    def new_session(self, window: int = 0) -> Any:
        """Begin a session more, with so many bytes that may come before they are read; 0 for any number."""
        session = self.connection.session()
        if window:
            session.incoming_capacity = window
        session.open()
        self.flush()
        return session

    def attach_sender(
        self,
        address: object,
        *,
        session: Any = None,
        name: str | None = None,
        mode: int = proton.Link.SND_MIXED,
        settles: int = proton.Link.RCV_FIRST,
    ) -> Sender:
        """A sender to `address`: None for one whose messages say themselves where they go. The router's answer is not
        waited for."""
        link = self._in(session).sender(name or f"link{next(self._names)}")
        if address is COORDINATOR:
            link.target.type = proton.Terminus.COORDINATOR
        elif address is DYNAMIC:
            link.target.dynamic = True
        else:
            link.target.address = address
        link.snd_settle_mode, link.rcv_settle_mode = mode, settles
        sender = self._links[link] = Sender(self, link)
        link.open()
        self.flush()
        return sender

    def attach_receiver(
        self,
        address: object,
        *,
        credit: int = 0,
        takes: State | None = None,
        session: Any = None,
        name: str | None = None,
        mode: int = proton.Link.SND_MIXED,
        settles: int = proton.Link.RCV_FIRST,
        properties: Mapping[str, object] | None = None,
    ) -> Receiver:
        """A receiver from `address`; the router's answer is not waited for."""
        link = self._in(session).receiver(name or f"link{next(self._names)}")
        if address is DYNAMIC:
            link.source.dynamic = True
        else:
            link.source.address = address
        link.snd_settle_mode, link.rcv_settle_mode = mode, settles
        if properties:
            link.properties = dict(properties)
        receiver = self._links[link] = Receiver(self, link, takes)
        link.open()
        if credit:
            link.flow(credit)
        self.flush()
        return receiver

    async def sender(self, address: object, **options: Any) -> Sender:
        """As `attach_sender`, once the router has answered."""
        sender = self.attach_sender(address, **options)
        await sender.attached()
        return sender

    async def receiver(self, address: object, **options: Any) -> Receiver:
        """As `attach_receiver`, once the router has answered, and served the credit."""
        receiver = self.attach_receiver(address, **options)
        await receiver.attached()
        if receiver.open:
            await self.sync()
        return receiver

    def _in(self, session: Any) -> Any:
        if session is None:
            session = self._session = self._session or self.new_session()
        return session

    def close(self) -> None:
        """Close in order."""
        self.connection.close()
        self.flush()

    def abort(self) -> None:
        """Be gone, without a word."""
        transport: Any = self.transport
        transport.abortConnection()

    def stop_reading(self) -> None:
        """Let what comes pile up in the socket, which takes little."""
        transport: Any = self.transport
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        transport.pauseProducing()

    def go_on_reading(self) -> None:
        """The end of `stop_reading`."""
        transport: Any = self.transport
        transport.resumeProducing()

    # -- bytes -------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        self.connection.open()
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        while data and (room := self.engine.capacity()) > 0:
            self.engine.push(data[:room])
            data = data[room:]
            self._serve()
        self.flush()
        something_came()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        something_came()

    def flush(self) -> None:
        """Write what there is."""
        transport: Any = self.transport
        while (pending := self.engine.pending()) > 0:
            transport.write(bytes(self.engine.peek(pending)))
            self.engine.pop(pending)
        self._serve()
        if pending < 0 and self.closed and not self.lost:
            transport.loseConnection()

    def tick(self) -> float:
        """Let proton keep its idle time-outs; returns the seconds until it wants to be let again, 0 for never."""
        now = reactor.seconds()
        due = float(self.engine.tick(now))
        self._serve()
        self.flush()
        return max(0.001, due - now) if due else 0

    def _serve(self) -> None:
        if self._serving:
            return  # what is being served has led to something to write
        self._serving = True
        while event := self._collector.peek():
            kind = event.type
            if kind == proton.Event.DELIVERY:
                self._delivery(event.delivery)
            elif kind in (proton.Event.LINK_REMOTE_CLOSE, proton.Event.LINK_REMOTE_DETACH):
                self._links[event.link].closed = True
                event.link.close()
            elif kind == proton.Event.CONNECTION_REMOTE_CLOSE:
                event.connection.close()
            self._collector.pop()
        self._serving = False

    def _delivery(self, delivery: Any) -> None:
        link = self._links.get(delivery.link)
        if isinstance(link, Receiver):
            link.delivered(delivery)
        elif link is not None and delivery in link.unsettled and delivery.updated:
            link.unsettled[delivery].updated()
