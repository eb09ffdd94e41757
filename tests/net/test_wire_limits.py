"""Limits that are for some clients and not for others; and what is said, counted and logged where one is exceeded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import proton
import pytest
from pytest_twisted import ensureDeferred

from tests.net import frames
from tests.net.clients import Client
from tests.net.conftest import Start
from tests.net.links import ACCEPTED, Link
from tests.net.raw import RawClient
from tests.net.routers import LOOPBACK, RunningRouter, quiet
from tests.net.waiting import reactor, wait_until

LIMIT_EXCEEDED = "amqp:resource-limit-exceeded"


async def refused(end: Link | Client) -> tuple[str, str]:
    """What a link or a connection is ended for, once it is."""
    await wait_until(lambda: end.closed)
    assert end.error is not None
    return end.error.name, str(end.error.description)


async def alice_and_bob(start: Start, passwords: Path, **limits: Any) -> tuple[RunningRouter, Client, Client]:
    """A router with these limits for alice; alice, and bob, who has those of everybody."""
    listener = {"endpoint": LOOPBACK, "passwords": str(passwords), "plain_without_tls": True}
    router = await start(listener=[listener], limits={"client": [{"users": ["alice"], **limits}]})
    alice, bob = [await router.client(login=(name, "pencil")) for name in ("alice", "bob")]
    return router, alice, bob


def reported(router: RunningRouter, event: str, error: str, **more: object) -> None:
    """What was refused to alice was reported, with who she is and why."""
    about = {"connection": "listener0/1", "host": "127.0.0.1", "user": "'alice'", **more, "error": error}
    assert router.reports == [(event, about)]


# -- sessions and links ------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_client_has_links_of_its_own_number(start: Start, passwords: Path) -> None:
    router, alice, bob = await alice_and_bob(start, passwords, max_links=1)
    assert (await alice.sender("x")).open
    error = "more than 1 links in a session"
    assert await refused(await alice.sender("x")) == (LIMIT_EXCEEDED, error)
    assert [(await bob.sender("x")).open for _ in range(3)] == [True] * 3
    reported(router, "link refused", error)
    assert router.core.counters["excess_links"] == router.core.counters["refused_links"] == 1


@ensureDeferred
async def test_who_goes_on_attaching_loses_the_connection(start: Start, passwords: Path) -> None:
    router, alice, bob = await alice_and_bob(start, passwords, max_links=1)
    for _ in range(3):
        alice.attach_sender("x")
    assert (await refused(alice))[0] == LIMIT_EXCEEDED
    assert router.core.counters["excess_links"] == 2
    assert (await bob.sender("x")).open


@ensureDeferred
async def test_a_session_more_than_a_client_has_is_reported(start: Start) -> None:
    router = await start(limits={"max_sessions": 1})
    raw = await router.dial(RawClient())
    # what has ended counts until it is written that it has
    raw.say(frames.AMQP, frames.open_(), frames.begin(0), frames.end(0), frames.begin(0))
    assert await raw.refused() == LIMIT_EXCEEDED
    about = {"connection": "listener0/1", "host": "127.0.0.1", "user": "'anonymous'"}
    assert router.reports == [("session refused", {**about, "error": "more than 1 sessions"})]
    assert router.core.counters["refused_sessions"] == 1


@ensureDeferred
async def test_a_client_is_told_its_own_limits(start: Start, passwords: Path) -> None:
    limits = {"max_sessions": 3, "max_frame_size": 1024, "idle_timeout": 60}
    _, alice, bob = await alice_and_bob(start, passwords, **limits)
    assert [each.engine.remote_channel_max for each in (alice, bob)] == [2, 255]
    assert [each.engine.remote_max_frame_size for each in (alice, bob)] == [1024, 32_768]
    assert [each.engine.remote_idle_timeout for each in (alice, bob)] == [30, 8]


@ensureDeferred
async def test_a_frame_that_is_too_large_is_reported_with_whose_it_is(start: Start) -> None:
    router = await start(limits={"max_frame_size": 512})
    raw = await router.dial(RawClient())
    raw.say(frames.AMQP, frames.open_(), frames.begin(0), b"\0\0\4\0\2\0\0\0" + bytes(1016))
    await raw.refused()
    ((event, fields),) = router.reports
    assert event == "protocol error"
    assert (fields["user"], fields["host"]) == ("'anonymous'", "127.0.0.1")
    assert router.core.counters["protocol_errors"] == 1


# -- deliveries --------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_producer_has_the_credit_of_its_own_client(start: Start, passwords: Path) -> None:
    _, alice, bob = await alice_and_bob(start, passwords, link_capacity=3)
    await bob.receiver("x", credit=1000)
    producers = [await each.sender(address) for each in (alice, bob) for address in ("x", None)]
    for each in producers:
        await each.credited()
    await quiet(*producers)
    assert [each.credit for each in producers] == [3, 3, 250, 250]


@ensureDeferred
async def test_a_producer_may_have_more_credit_than_others(start: Start, passwords: Path) -> None:
    _, alice, bob = await alice_and_bob(start, passwords, link_capacity=400)
    consumer = await bob.receiver("x", credit=1000, takes=ACCEPTED)
    producer = await alice.sender("x")
    await producer.credited(400)
    for _ in range(200):
        producer.send(b"\0Sw\xa1\5hello")
    await consumer.count(200)
    await producer.credited(400)


@ensureDeferred
async def test_a_producer_has_as_much_unsettled_as_its_own_client_may(start: Start, passwords: Path) -> None:
    _, alice, bob = await alice_and_bob(start, passwords, max_unsettled=5)
    await bob.receiver("x", credit=1000)
    producers = [await each.sender("x") for each in (alice, bob)]
    for each in producers:
        await each.credited()
        for _ in range(5):
            each.send(b"\0Sw\xa1\5hello")
    await quiet(*producers)
    assert (producers[0].credit, producers[1].credit > 0) == (0, True)


@ensureDeferred
async def test_a_consumer_has_as_much_in_flight_as_its_own_client_may(start: Start, passwords: Path) -> None:
    limits = {"max_in_flight": 1, "client": [{"users": ["alice"], "max_in_flight": 3}]}
    listener = {"endpoint": LOOPBACK, "passwords": str(passwords), "plain_without_tls": True}
    router = await start(listener=[listener], limits=limits)
    alice, bob = [await router.client(login=(name, "pencil")) for name in ("alice", "bob")]
    consumers = [await each.receiver("x", credit=100) for each in (alice, bob)]
    producer = await router.client(login=("bob", "pencil"))
    sender = await producer.sender("x")
    await sender.credited()
    for _ in range(8):
        sender.send(b"\0Sw\xa1\5hello")
    await quiet(sender, *consumers)
    assert [len(each.messages) for each in consumers] == [3, 1]


@ensureDeferred
async def test_a_message_larger_than_its_client_may_send_is_reported(start: Start, passwords: Path) -> None:
    router, alice, bob = await alice_and_bob(start, passwords, max_message_size=1000)
    await bob.receiver("x", credit=10, takes=ACCEPTED)
    producers = [await each.sender("x") for each in (alice, bob)]
    for each in producers:
        await each.credited()
        each.send(proton.Message(b"b" * 2000))
    assert (await refused(producers[0]))[0] == "amqp:link:message-size-exceeded"
    await quiet(producers[1])
    assert producers[1].open
    reported(router, "message refused", "a message of more than 1000 bytes", address="x")
    assert router.core.counters["too_large"] == 1


@ensureDeferred
async def test_who_sends_more_than_there_is_credit_for_is_reported(start: Start) -> None:
    router = await start(limits={"link_capacity": 3})
    await router.receiver("x", credit=1)
    raw = await (await router.dial(RawClient())).greeted()
    raw.say(frames.attach(frames.SENDER), *(frames.transfer(number) for number in range(20)))
    assert await raw.link_refused() == "amqp:link:transfer-limit-exceeded"
    about = {"connection": "listener0/2", "host": "127.0.0.1", "user": "'anonymous'", "address": "x"}
    assert router.reports == [("producer refused", {**about, "error": "more messages than there was credit for"})]
    assert router.core.counters["overdrawn"] == 1


# -- rate --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "count", "producers"), [(10, 20, 1), (10, 20, 4), (1_000, 2_000, 2)])
@ensureDeferred
async def test_a_client_sends_as_fast_as_it_may_and_no_faster(
    start: Start, passwords: Path, rate: int, count: int, producers: int
) -> None:
    router, alice, bob = await alice_and_bob(start, passwords, max_message_rate=rate)
    consumer = await bob.receiver("x", credit=count, takes=ACCEPTED)
    began = reactor.seconds()
    for producer in [await alice.sender("x") for _ in range(producers)]:
        for _ in range(count // producers):
            producer.send(b"\0Sw\xa1\5hello")
    await consumer.count(count)
    took = reactor.seconds() - began
    assert count <= rate * took + rate + 1 + producers
    assert took < 2 * count / rate
    assert router.core.counters["rate_limited"] > 0
    assert not router.reports


@ensureDeferred
async def test_another_client_is_not_bound_by_that_rate(start: Start, passwords: Path) -> None:
    router, _, bob = await alice_and_bob(start, passwords, max_message_rate=1)
    consumer, producer = await bob.receiver("x", credit=1_000), await bob.sender("x")
    for _ in range(1_000):
        producer.send(b"\0Sw\xa1\5hello")
    await consumer.count(1_000)
    assert not router.core.counters["rate_limited"]


@ensureDeferred
async def test_an_anonymous_producer_has_the_rate_of_its_client_too(start: Start, passwords: Path) -> None:
    router, alice, bob = await alice_and_bob(start, passwords, max_message_rate=10)
    await bob.receiver("x", credit=100, takes=ACCEPTED)
    producer = await alice.sender(None)
    began = reactor.seconds()
    for _ in range(15):
        producer.send(proton.Message("hello", address="x"))
    await wait_until(lambda: router.core.counters["rate_limited"])
    await wait_until(lambda: not producer.unsettled)
    assert 10 * (reactor.seconds() - began) + 12 >= 15


# -- connections -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["user", "host"])
@ensureDeferred
async def test_a_client_may_have_connections_of_its_own_number(start: Start, passwords: Path, whose: str) -> None:
    router, *_ = await alice_and_bob(start, passwords, **{f"max_connections_per_{whose}": 2})
    third = await router.client(login=("bob", "pencil"))
    await third.sync()
    assert third.open
    more = [await router.client(login=("alice", "pencil")) for _ in range(2)]
    error = f"more than 2 connections of one {whose}"
    assert await refused(more[-1]) == (LIMIT_EXCEEDED, error)
    assert {str(fields["error"]) for _, fields in router.reports} == {error}


@ensureDeferred
async def test_a_listener_may_have_connections_of_its_own_number(start: Start) -> None:
    limits = {"client": [{"users": ["*"], "listener": 0, "max_connections": 1}]}
    router = await start(listener=[{"endpoint": LOOPBACK}] * 2, limits=limits)
    await router.client()
    one_more = await router.dial(Client("one more"))
    await one_more.gone()
    about = {"connection": "listener0", "host": "127.0.0.1"}
    assert router.reports == [("connection refused", {**about, "error": "more than 1 connections at a listener"})]
    ports: list[Any] = await router.service.when_listening()
    router.port = ports[1].getHost().port
    for _ in range(2):
        assert (await router.client()).open


@ensureDeferred
async def test_a_listener_may_have_a_handshake_timeout_of_its_own(start: Start) -> None:
    router = await start(limits={"client": [{"users": ["*"], "handshake_timeout": 0.1}]})
    silent = await router.dial(RawClient())
    await wait_until(lambda: silent.lost)
    assert router.core.counters["handshake_timeouts"] == 1
