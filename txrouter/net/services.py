"""Listening, as Twisted services."""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from txrouter.net.protocol import RouterFactory
from txrouter.net.proxied import behind_haproxy
from txrouter.net.tls import Certificates, TLSSettings

__all__ = ["ListenerService"]

BACKLOG = 1_024
"""Connections the kernel may hold for us: a thousand clients that reconnect at once are usual."""

ACCEPTS = 1
"""Connections accepted in one turn. To accept, greet and lose one is as much work as thirty messages."""


class ListenerService(Service):
    """Accepts connections on one endpoint.

    :param endpoint: a Twisted server endpoint string.
    :param tls: what is to be known for TLS, where it runs over that endpoint.
    """

    def __init__(self, reactor: Any, endpoint: str, factory: RouterFactory, tls: TLSSettings | None = None) -> None:
        self._reactor = reactor
        self.endpoint = endpoint
        self.factory = factory
        self._tls = tls
        self._certificates: Certificates | None = None
        self._collected = 0
        self._listening: Deferred[None] | None = None
        self._outcome: IListeningPort | Failure | None = None
        self._waiting: list[Deferred[IListeningPort]] = []
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        # some endpoints find out that they cannot listen when they are made: that is no different from later
        self._listening = maybeDeferred(self._listen).addBoth(self._decided)

    def _listen(self) -> Deferred[IListeningPort]:
        factory: Any = self.factory
        endpoint: Any
        if self._tls is not None:
            self._certificates = Certificates(self._tls, self._not_renewed)
            factory = TLSMemoryBIOFactory(self._certificates, False, factory, clock=self._reactor)
        kind, _, rest = self.endpoint.partition(":")
        if kind.lower() == "haproxy":
            endpoint = behind_haproxy(serverFromString(self._reactor, with_backlog(rest)), self.factory.not_proxied)
        else:
            endpoint = serverFromString(self._reactor, with_backlog(self.endpoint))
        listening: Deferred[IListeningPort] = endpoint.listen(factory)
        return listening

    def _not_renewed(self, why: str) -> None:
        router = self.factory.router
        router.counters["failed_renewals"] += 1
        router.report("certificate not renewed", {"listener": self.factory.name, "error": why})

    def beat(self, now: float) -> None:
        """See to deadlines, and to certificates that were renewed on disk."""
        if self._certificates is not None:
            self._certificates.look(now)
            self._collect_lost()
        self.factory.beat(now)

    def _collect_lost(self) -> None:
        """Free what TLS connections had that are gone: 50 KB each. Where a peer leaves without TLS's own goodbye, the
        exception that Twisted catches is in a cycle with its frames. They are young, whatever the connection's age."""
        if self.factory.lost != self._collected:
            self._collected = self.factory.lost
            gc.collect(0)

    def _decided(self, outcome: IListeningPort | Failure) -> None:
        self._outcome = outcome
        if not isinstance(outcome, Failure):
            self._port = outcome
            accept_few(outcome)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(outcome)

    def when_listening(self) -> Deferred[IListeningPort]:
        """Fires with the port when it accepts; fails with what `listen` failed with."""
        heard: Deferred[IListeningPort] = Deferred()
        if self._outcome is None:
            self._waiting.append(heard)
        else:
            heard.callback(self._outcome)  # a Failure makes it fail
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
        if self._listening is not None and self._outcome is None:
            self._listening.cancel()
        return self.stop_listening()


def accept_few(port: Any) -> None:
    """Let a port accept `ACCEPTS` in a turn. Twisted would come to accept all that want to connect at once, while those
    who are connected wait."""
    if hasattr(port, "numberAccepts"):
        accept = port.doRead

        def do_read() -> None:
            port.numberAccepts = ACCEPTS
            accept()

        port.doRead = do_read


def with_backlog(endpoint: str) -> str:
    """The endpoint string with a backlog fit for a router, where its kind has one and it does not say."""
    kind = endpoint.partition(":")[0]
    if kind in ("tcp", "tcp6", "unix") and ":backlog=" not in endpoint:
        return f"{endpoint}:backlog={BACKLOG}"
    return endpoint
