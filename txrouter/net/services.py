"""Listening, as Twisted services."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from txrouter.net.protocol import RouterFactory

__all__ = ["ListenerService"]

BACKLOG = 1_024
"""Connections the kernel may hold for us: a thousand clients that reconnect at once are usual."""


class ListenerService(Service):
    """Accepts connections on one endpoint.

    :param endpoint: a Twisted server endpoint string.
    """

    def __init__(self, reactor: Any, endpoint: str, factory: RouterFactory) -> None:
        self._reactor = reactor
        self.endpoint = endpoint
        self.factory = factory
        self._listening: Deferred[IListeningPort] | None = None
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        # some endpoints find out that they cannot listen when they are made: that is no different from later
        self._listening = maybeDeferred(self._listen).addCallback(self._opened)

    def _listen(self) -> Deferred[IListeningPort]:
        listening: Deferred[IListeningPort] = serverFromString(self._reactor, with_backlog(self.endpoint)).listen(
            self.factory
        )
        return listening

    def _opened(self, port: IListeningPort) -> IListeningPort:
        self._port = port
        return port

    def when_listening(self) -> Deferred[IListeningPort]:
        """Fires with the port when it accepts; fails with what `listen` failed with."""
        assert self._listening is not None, "not started"
        heard: Deferred[IListeningPort] = Deferred()

        def relay(result: IListeningPort | Failure) -> None:
            heard.callback(result)  # a Failure makes it fail

        self._listening.addBoth(relay)
        return heard

    @inlineCallbacks
    def stop_listening(self) -> Generator[Deferred[Any], Any, None]:
        """Accept no more; connections stay."""
        port, self._port = self._port, None
        if port is not None:
            stopped = port.stopListening()
            if stopped is not None:
                yield stopped

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]
        if self._listening is not None and self._port is None:
            self._listening.cancel()
        return self.stop_listening()


def with_backlog(endpoint: str) -> str:
    """The endpoint string with a backlog fit for a router, where its kind has one and it does not say."""
    kind = endpoint.partition(":")[0]
    if kind in ("tcp", "tcp6", "ssl", "unix") and ":backlog=" not in endpoint:
        return f"{endpoint}:backlog={BACKLOG}"
    return endpoint
