"""A client's connection, as Twisted sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from OpenSSL.SSL import Error as TLSError
from twisted.internet import tcp
from twisted.internet.interfaces import IPullProducer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from txrouter.amqp.connection import Connection
from txrouter.amqp.incoming import IncomingLink
from txrouter.amqp.loads import load_of
from txrouter.core.access import Permit
from txrouter.core.ceiling import Load
from txrouter.core.users import shown
from txrouter.net.authentication import Door, Entry
from txrouter.net.tls import why_refused

if TYPE_CHECKING:
    from txrouter.amqp.sasl import Negotiation
    from txrouter.amqp.turn import Turn
    from txrouter.core.access import Access
    from txrouter.core.limits import Limits
    from txrouter.core.links import Producer
    from txrouter.core.router import Router
    from txrouter.core.users import User

__all__ = ["RouterFactory", "RouterProtocol"]

_SHOWN = 64
"""The most characters of a user's name that are logged."""


@implementer(IPushProducer, IPullProducer)
class RouterProtocol(Protocol):
    """SASL first, if the client wants it, and AMQP behind it.

    On a bare socket, what is to be written is tried at once: arming the writer and waiting for the poll would double
    the system calls of a message. What the socket does not take is left to the transport, and the connection is blocked
    until it has gone. Behind TLS, and on any other transport, everything is left to the transport.
    """

    def __init__(self, factory: RouterFactory, name: str) -> None:
        self._factory = factory
        self.name = name
        self.connection: Connection | None = None
        self._entry: Entry | None = None
        self._began = 0.0
        self._closing = False
        self._full = False
        self._try_write: Any = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        bare = isinstance(transport, tcp.Connection) and not getattr(transport, "TLS", False)
        if bare:
            self._try_write = transport.writeSomeData
        # a pull producer is asked for more whenever the buffer has run empty: just what `write` below waits for
        transport.registerProducer(self, not bare)
        self._began = self._factory.turn.clock()
        self._factory.joined(self)

    # -- bytes in ----------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        connection = self.connection
        if connection is not None:
            connection.receive(data)
            return
        entry = self._entry
        if entry is None:
            # not sooner: under TLS, these are the first bytes behind the handshake
            entry = self._entry = Entry(self._factory.door, self)
        entry.receive(data)

    # -- the client of an entry --------------------------------------------------------------------

    def let_in(self, user: User, data: bytes) -> None:
        """As `txrouter.net.authentication.Client` says."""
        self._entry = None
        factory = self._factory
        permit, limits = factory.permit(self, user), factory.limits_of(user)
        self.connection = Connection(factory.router, factory.turn, self, self.name, user, permit, limits)
        self.connection.blocked = self._full
        # from here on a call less for every read
        self.dataReceived = self.connection.receive  # type: ignore[method-assign]
        self.connection.receive(data)

    def turned_away(self, negotiation: Negotiation) -> None:
        """As `txrouter.net.authentication.Client` says."""
        self._factory.turned_away(self, negotiation)
        self.lose()

    # -- bytes out: the Wire of a connection -------------------------------------------------------

    def write(self, data: memoryview) -> int:
        """As `txrouter.amqp.wire.Wire` says."""
        transport: Any = self.transport
        if self._try_write is None:
            transport.write(bytes(data))
            # pauseProducing() may have been called from there
            return 0 if self._full else len(data)
        if self._full:
            transport.write(bytes(data))
            return 0
        taken = self._try_write(data)
        if taken.__class__ is not int:
            # the socket is dead; the reactor is to find that out in its own time, not in the middle of a flush
            transport.abortConnection()
            return len(data)
        if taken < len(data):
            self._full = True
            transport.write(bytes(data[taken:]))
        return int(taken)

    def pause(self) -> None:
        """As `txrouter.amqp.wire.Wire` says."""
        transport: Any = self.transport
        transport.pauseProducing()

    def resume(self) -> None:
        """As `txrouter.amqp.wire.Wire` says."""
        transport: Any = self.transport
        transport.resumeProducing()

    def lose(self) -> None:
        """Close, after what was written."""
        if not self._closing:
            self._closing = True
            transport: Any = self.transport
            # a registered pull producer would keep loseConnection() from ever finishing
            transport.unregisterProducer()
            transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        transport: Any = self.transport
        transport.abortConnection()

    # -- memory: a client under a ceiling ----------------------------------------------------------

    def load(self) -> Load:
        """As `txrouter.core.ceiling.Client` says."""
        return load_of(self.connection) if self.connection is not None else Load(0, 0)

    def bar(self) -> None:
        """As `txrouter.core.ceiling.Client` says."""
        self._for_each_producer(self._factory.router.feeding.bar)

    def unbar(self) -> None:
        """As `txrouter.core.ceiling.Client` says."""
        self._for_each_producer(self._factory.router.feeding.unbar)

    def _for_each_producer(self, call: Callable[[Producer], None]) -> None:
        for link in self.connection.links.values() if self.connection is not None else ():
            if isinstance(link, IncomingLink):
                call(link)

    def cut(self) -> None:
        """As `txrouter.core.ceiling.Client` says."""
        self.abort()

    # -- flow: the producer of a transport ---------------------------------------------------------

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        if self._full:
            self._full = False
            if self.connection is not None:
                self.connection.unblock()

    def stopProducing(self) -> None:
        pass

    # -- time and endings --------------------------------------------------------------------------

    def beat(self, now: float) -> None:
        """See to deadlines."""
        if self.connection is not None:
            self.connection.deadlines.beat(now)
        elif now - self._began > self._factory.limits.handshake_timeout:
            self._factory.router.counters["handshake_timeouts"] += 1
            self._give_up_entry()
            self.abort()

    def _give_up_entry(self) -> None:
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.give_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.left(self)
        self._give_up_entry()
        connection = self.connection
        if connection is not None:
            self.connection = None
            connection.lose()
        elif isinstance(reason.value, TLSError):
            self._factory.refused(self, f"TLS: {why_refused(self.transport, reason.value)}")
        # what was put on the instance would keep it, and all that hangs on it, until the next full collection
        self.__dict__.pop("dataReceived", None)
        if self._try_write is None:
            transport: Any = self.transport
            transport.unregisterProducer()  # what a bare socket does by itself
        self._try_write = None


class _Refused(Protocol):
    """A connection that is not wanted. Where TLS or HAProxy's protocol come before ours, there has to be something."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


class RouterFactory(Factory):
    """The connections of one listener.

    :param access: what a user may do who comes by it; None for everything.
    :param number: which one it is of the config's listeners.
    """

    noisy = False

    def __init__(
        self,
        router: Router,
        turn: Turn,
        name: str,
        door: Door | None = None,
        access: Callable[[str], Access | None] = lambda _user: None,
        number: int = 0,
    ) -> None:
        self.router = router
        self.turn = turn
        self.name = name
        self.door = door or Door()
        self._number = number
        self._access = access
        self.protocols: dict[RouterProtocol, None] = {}
        self.lost = 0
        """How many connections are gone."""
        self._count = 0

    @property
    def limits(self) -> Limits:
        """What there is of everything at most, of clients that nobody knows yet."""
        return self.router.limits.of_listener(self._number)

    def buildProtocol(self, addr: Any) -> Protocol:
        limit = self.limits.max_connections
        if (limit and len(self.protocols) >= limit) or self.router.short_of_memory:
            why = "memory is short" if self.router.short_of_memory else f"more than {limit} connections at a listener"
            self._report("refused_connections", "connection refused", self.name, getattr(addr, "host", ""), error=why)
            return _Refused()
        self._count += 1
        return RouterProtocol(self, f"{self.name}/{self._count}")

    def permit(self, protocol: RouterProtocol, user: User) -> Permit | None:
        """What the client of a connection may do; None for everything."""
        access = self._access(user.name)
        return Permit(self.router, protocol.name, user, access) if access is not None else None

    def limits_of(self, user: User) -> Limits:
        """What the client of a connection has of everything at most."""
        return self.router.limits.of(user.name, self._number)

    def joined(self, protocol: RouterProtocol) -> None:
        """A connection is there."""
        self.protocols[protocol] = None

    def left(self, protocol: RouterProtocol) -> None:
        """A connection is lost."""
        self.protocols.pop(protocol, None)
        self.lost += 1

    def refused(self, protocol: RouterProtocol, why: str) -> None:
        """A client did not get as far as AMQP."""
        self._report_of(protocol, "refused_handshakes", "handshake refused", error=why)

    def not_proxied(self, host: str, why: str) -> None:
        """A connection that should have come by HAProxy did not."""
        self._report("refused_handshakes", "handshake refused", self.name, host, error=why)

    def turned_away(self, protocol: RouterProtocol, negotiation: Negotiation) -> None:
        """A client did not get in: it does not speak as it should, may not, or nobody could find out."""
        user = {"user": shown(negotiation.claimed, _SHOWN)} if negotiation.claimed else {}
        mechanism = {"mechanism": negotiation.mechanism} if negotiation.mechanism else {}
        if negotiation.unjudged:
            self._report_of(protocol, "failed_logins", "login failed", **user, **mechanism, error=negotiation.failure)
        elif negotiation.rejected:
            self._report_of(protocol, "refused_logins", "login refused", **user, **mechanism, error=negotiation.failure)
        else:
            self.refused(protocol, negotiation.failure)

    def _report_of(self, protocol: RouterProtocol, counter: str, event: str, **fields: str) -> None:
        host = getattr(protocol.transport.getPeer(), "host", "") if protocol.transport is not None else ""
        self._report(counter, event, protocol.name, host, **fields)

    def _report(self, counter: str, event: str, connection: str, host: str, **fields: str) -> None:
        self.router.counters[counter] += 1
        self.router.report(event, {"connection": connection, "host": host, **fields})

    def beat(self, now: float) -> None:
        """See to every connection's deadlines."""
        for protocol in list(self.protocols):
            protocol.beat(now)

    def close(self) -> None:
        """Close every connection in order."""
        for protocol in list(self.protocols):
            if protocol.connection is not None:
                protocol.connection.stop()
            else:
                protocol.lose()
