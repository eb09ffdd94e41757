"""Asking consumers how they are, at their health addresses: by HTTP, with treq.

An address is one of a network that need not mean well: nothing that comes from there is followed, kept, or larger than
it has to be.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, DeferredSemaphore, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from txrouter import __version__
from txrouter.core.capacities import Capacities
from txrouter.core.health import JITTER, Target, found_at

__all__ = ["AT_ONCE", "HealthChecks", "NoAnswer", "ask"]

_log = Logger(namespace="txrouter")

AT_ONCE: Final = 50
"""Questions that are asked at a time; others wait for their turn."""
MOST_RECEIVED: Final = 16_384
"""Bytes that may come for one question, with all headers."""
MOST_ANSWERED: Final = 4_096
"""Bytes of an answer, unpacked."""
SOON: Final = 0.1
"""Seconds within which a new address is asked first."""
_UNAVAILABLE: Final = 503


class NoAnswer(Exception):
    """There was none that is one; the message says why."""


@implementer(IAgentEndpointFactory)
class _Connection:
    """The connection of one question."""

    def __init__(self, reactor: Any, timeout: float) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._wire: _Bounded | None = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """As IAgentEndpointFactory says."""
        host = uri.host.decode("ascii")
        endpoint: Any
        if ":" in host:
            endpoint = TCP6ClientEndpoint(self._reactor, host, uri.port, self._timeout)
        elif host.replace(".", "").isdecimal():
            endpoint = TCP4ClientEndpoint(self._reactor, host, uri.port, self._timeout)
        else:
            endpoint = HostnameEndpoint(self._reactor, host, uri.port, self._timeout)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(BrowserLikePolicyForHTTPS().creatorForNetloc(uri.host, uri.port), endpoint)
        return _BoundedEndpoint(endpoint, self)

    def made(self, wire: _Bounded) -> None:
        """It is there."""
        self._wire = wire

    @property
    def overflowed(self) -> bool:
        """Whether more came than may."""
        return self._wire is not None and self._wire.left < 0

    def end(self) -> None:
        """It is not needed any more."""
        if self._wire is not None:
            self._wire.abort()


class _Bounded(ProtocolWrapper):
    """Brings so many bytes, and no more."""

    left = MOST_RECEIVED

    def dataReceived(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left < 0:
            self.abort()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def abort(self) -> None:
        """End it at once."""
        transport: Any = self.transport
        transport.abortConnection()


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    def __init__(self, endpoint: Any, connection: _Connection) -> None:
        self._endpoint = endpoint
        self._connection = connection

    def connect(self, factory: Any) -> Deferred[Any]:
        """As IStreamClientEndpoint says."""
        wrapping: Any = WrappingFactory(factory)
        wrapping.noisy = factory.noisy = False  # or the log would hear of every question
        wrapping.protocol = self._bounded
        connected: Deferred[Any] = self._endpoint.connect(wrapping)
        return connected.addCallback(_inside)

    def _bounded(self, factory: Factory, protocol: Any) -> _Bounded:
        wire = _Bounded(factory, protocol)  # type: ignore[arg-type]
        self._connection.made(wire)
        return wire


def _inside(wire: Any) -> Any:
    return wire.wrappedProtocol


def ask(reactor: Any, target: Target) -> Deferred[object]:
    """Ask there. Fires with the answer: a text, or what is at the target's field. `down` stands for status 503.

    It fails with NoAnswer where there is none, or it takes too long. It can be cancelled.
    """
    connection = _Connection(reactor, target.timeout)
    asked = _answer(reactor, connection, target)
    asked.addTimeout(target.timeout, reactor, _too_late)

    def ended(result: Any) -> Any:
        connection.end()
        if isinstance(result, Failure):
            raise NoAnswer(_why(result, connection))
        return result

    return asked.addBoth(ended)


@inlineCallbacks
def _answer(reactor: Any, connection: _Connection, target: Target) -> Generator[Deferred[Any], Any, object]:
    agent: Any = Agent.usingEndpointFactory(reactor, connection, HTTPConnectionPool(reactor, persistent=False))
    client = HTTPClient(agent)  # one for each question: it keeps cookies
    headers = Headers({"Accept": ["application/json, text/plain, */*"], "User-Agent": [f"txrouter/{__version__}"]})
    response = yield client.get(target.url, headers=headers, allow_redirects=False, unbuffered=True)
    body: bytes = yield response.content()
    if response.code == _UNAVAILABLE:
        return "down"
    if not 200 <= response.code < 300:
        raise NoAnswer(f"its status was {response.code}")
    if len(body) > MOST_ANSWERED:
        raise NoAnswer(f"it answered with more than {MOST_ANSWERED} bytes")
    return read(body, target.field)


def read(body: bytes, field: tuple[str | int, ...]) -> object:
    """What an answer says: the text, or what is at a field of the JSON document.

    :raise NoAnswer: it is none, or nothing is there.
    """
    try:
        text = body.decode()
        return found_at(field, json.loads(text)) if field else text
    except UnicodeDecodeError:
        raise NoAnswer("it answered with what is not UTF-8") from None
    except json.JSONDecodeError:
        raise NoAnswer("it answered with what is not JSON") from None
    except RecursionError:
        raise NoAnswer("it answered with JSON that is nested too deep") from None
    except ValueError as error:
        raise NoAnswer(f"in its answer: {error}") from None


def _too_late(_result: object, timeout: float) -> None:
    raise NoAnswer(f"it did not answer within {timeout:g} s")


def _why(failure: Failure, connection: _Connection) -> str:
    if connection.overflowed:
        return f"more than {MOST_RECEIVED} bytes came"
    reasons = getattr(failure.value, "reasons", None)
    return reasons[0].getErrorMessage() if reasons else failure.getErrorMessage()


def _broke(failure: Failure) -> None:
    _log.failure("what a health address answered could not be told", failure)


class _Question:
    """One that is asked again and again."""

    def __init__(self) -> None:
        self.next: IDelayedCall | None = None
        self.asked: Deferred[object] | None = None


class HealthChecks:
    """Asks at the health addresses that a router's consumers have, and tells the router what they answer.

    :param call: calls something at once and ends the turn, as `Pacemaker.call` does.
    :param ask: asks once, as `ask` here does.
    """

    def __init__(
        self,
        capacities: Capacities,
        reactor: Any,
        call: Callable[[Callable[[], None]], None],
        ask: Callable[[Any, Target], Deferred[object]] = ask,
        chance: random.Random | None = None,
    ) -> None:
        self._capacities = capacities
        self._reactor = reactor
        self._call = call
        self._ask = partial(ask, reactor)
        self._chance = chance or random.Random()
        self._room = DeferredSemaphore(AT_ONCE)
        self._questions: dict[Target, _Question] = {}
        capacities.asks = self

    def begin(self, target: Target) -> None:
        """As `txrouter.core.capacities.Asks` says. Nothing happens before the turn is over."""
        question = self._questions[target] = _Question()
        self._ask_in(self._chance.uniform(0, min(SOON, target.every)), target, question)

    def _ask_in(self, seconds: float, target: Target, question: _Question) -> None:
        question.next = self._reactor.callLater(seconds, self._put, target, question)

    def _put(self, target: Target, question: _Question) -> None:
        question.next = None
        asked = question.asked = self._room.run(self._ask, target)
        asked.addCallbacks(partial(self._answered, target, question), partial(self._failed, target, question))
        asked.addErrback(_broke)

    def _answered(self, target: Target, question: _Question, answer: object) -> None:
        if self._over(target, question):
            self._call(partial(self._capacities.answered, target, answer))

    def _failed(self, target: Target, question: _Question, failure: Failure) -> None:
        if self._over(target, question):
            self._call(partial(self._capacities.failed, target, failure.getErrorMessage()))

    def _over(self, target: Target, question: _Question) -> bool:
        """Returns whether somebody still wants to know."""
        question.asked = None
        if self._questions.get(target) is not question:
            return False
        self._ask_in(target.every * self._chance.uniform(1 - JITTER, 1 + JITTER), target, question)
        return True

    def end(self, target: Target) -> None:
        """As `txrouter.core.capacities.Asks` says."""
        question = self._questions.pop(target, None)
        if question is None:  # all have come to an end
            return
        if question.next is not None:
            question.next.cancel()
        if question.asked is not None:
            question.asked.cancel()

    def stop(self) -> None:
        """Leave no question and no connection behind."""
        for target in list(self._questions):
            self.end(target)
