"""Tests that leave something behind, and some that do not. Not collected here: test_conftest.py runs them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure

reactor: Any = installed_reactor
Flush = Callable[..., list[Failure]]


async def listen() -> Any:
    return await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Factory.forProtocol(Protocol))


async def connect(port: Any) -> Any:
    endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{port.getHost().port}")
    return await endpoint.connect(Factory.forProtocol(Protocol))


def lose_a_failed_deferred() -> None:
    deferred: Any = Deferred()
    deferred.itself = deferred  # only the garbage collector finds it
    deferred.errback(ValueError("nobody asked"))


@pytest_twisted.async_yield_fixture(scope="module")
async def shared_port() -> AsyncIterator[Any]:
    port = await listen()
    yield port
    await port.stopListening()


def test_delayed_call() -> None:
    reactor.callLater(60, print)


@pytest_twisted.ensureDeferred
async def test_tidy() -> None:
    port = await listen()
    client = await connect(port)
    reactor.callLater(60, print).cancel()
    await deferLater(reactor, 0.01)
    client.transport.loseConnection()
    await port.stopListening()
    Logger().error("an error without a failure is for people")


@pytest_twisted.ensureDeferred
async def test_open_port() -> None:
    await listen()


@pytest_twisted.ensureDeferred
async def test_open_connection(shared_port: Any) -> None:
    await connect(shared_port)


def test_port_of_a_wider_fixture(shared_port: Any) -> None:
    assert shared_port.getHost().port


def test_lost_failed_deferred() -> None:
    lose_a_failed_deferred()


def test_logged_failure() -> None:
    try:
        raise ValueError("it broke")
    except ValueError:
        Logger().failure("while mending")


def test_logged_legacy_error() -> None:
    log.err(ValueError("it broke"), "while mending")


def test_logged_critical() -> None:
    Logger().critical("it broke")


def test_flushed(flush_logged_errors: Flush) -> None:
    log.err(ValueError("one"))
    lose_a_failed_deferred()
    assert [str(failure.value) for failure in flush_logged_errors(ValueError)] == ["one", "nobody asked"]
    assert flush_logged_errors() == []


def test_flushed_another_type(flush_logged_errors: Flush) -> None:
    log.err(KeyError("another"))
    assert flush_logged_errors(ValueError) == []


@pytest.mark.usefixtures("flush_logged_errors")
def test_nothing_is_passed_on() -> None:
    pass
