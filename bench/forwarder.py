"""The floor, a plain Twisted port forwarder: ``python -m bench.forwarder PORT PEER_PORT``."""

import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import (
    ClientFactory,
    Protocol,
    ServerFactory,
    connectionDone,
)
from twisted.python.failure import Failure


class Side(Protocol):
    """One of two connections whose bytes go to the other."""

    transport: Any  # a tcp.Connection; Twisted gives its methods no types
    other: "Side | None" = None

    def connectionMade(self) -> None:
        """Send small writes at once, as the routers do."""
        self.transport.setTcpNoDelay(True)

    def join(self, other: "Side") -> None:
        """Pass bytes on to ``other``, no faster than it takes them."""
        self.other = other
        other.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        """Pass the bytes on."""
        if self.other is not None:
            self.other.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Close the other side too."""
        if self.other is not None:
            self.other.transport.unregisterProducer()
            self.other.transport.loseConnection()


class Accepted(Side):
    """The side that was connected to: it reads nothing until it is connected on."""

    def __init__(self, peer_port: int) -> None:
        self._peer_port = peer_port

    def connectionMade(self) -> None:
        """Connect on."""
        super().connectionMade()
        self.transport.pauseProducing()
        reactor.connectTCP("127.0.0.1", self._peer_port, ConnectOn(self))


class ConnectedOn(Side):
    """The side that connected on."""

    def __init__(self, accepted: Accepted) -> None:
        self._accepted = accepted

    def connectionMade(self) -> None:
        """Begin to forward."""
        super().connectionMade()
        self.join(self._accepted)
        self._accepted.join(self)
        self._accepted.transport.resumeProducing()


class ConnectOn(ClientFactory):
    """Makes the other side of an accepted connection, or ends that one."""

    noisy = False

    def __init__(self, accepted: Accepted) -> None:
        self._accepted = accepted

    def buildProtocol(self, addr: IAddress | None) -> ConnectedOn:
        """Return the other side."""
        return ConnectedOn(self._accepted)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        """Nobody listens there."""
        self._accepted.transport.loseConnection()


class Accept(ServerFactory):
    """Makes an ``Accepted`` for each connection."""

    noisy = False

    def __init__(self, peer_port: int) -> None:
        self._peer_port = peer_port

    def buildProtocol(self, addr: IAddress | None) -> Accepted:
        """Return a side that connects on to the peer."""
        return Accepted(self._peer_port)


if __name__ == "__main__":
    reactor.listenTCP(int(sys.argv[1]), Accept(int(sys.argv[2])), interface="127.0.0.1")
    reactor.run()
