"""Connections and sessions, from the first byte to the last: how they begin, how long they last, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import proton
import proton.utils
import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.endpoints import clientFromString, wrapClientTLS
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread

import txrouter
from tests.net import frames
from tests.net.clients import Client
from tests.net.conftest import Start
from tests.net.links import ACCEPTED, LOST, RELEASED, Error, Receiver, Sender
from tests.net.raw import RawClient
from tests.net.routers import RunningRouter, ahead, quiet
from tests.net.waiting import reactor, wait_until
from txrouter import service

HELLO = b"\0Sw\xa1\5hello"


async def works(producer: Sender, consumer: Receiver) -> None:
    """See that a message gets from the one to the other, and its outcome back."""
    before = len(consumer.messages)
    await producer.credited()
    sent = producer.send(HELLO)
    await consumer.count(before + 1)
    consumer.messages[before].accept()
    assert await sent.over() == ACCEPTED


# -- the first bytes ---------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_the_router_says_what_it_is(router: RunningRouter) -> None:
    client = await router.client()
    assert client.connection.remote_container == "r1"
    assert client.connection.remote_properties == {"product": "txrouter", "version": txrouter.__version__}
    assert list(client.connection.remote_offered_capabilities) == ["ANONYMOUS-RELAY"]


@ensureDeferred
async def test_the_router_says_what_it_bears(router: RunningRouter) -> None:
    raw = await (await router.dial(RawClient())).greeted()
    (opened,) = raw.heard(frames.OPEN)
    _container, _host, max_frame, channel_max, idle_timeout, *_ = opened.fields
    assert (max_frame, channel_max, idle_timeout) == (32_768, 255, 8_000)


@pytest.mark.parametrize("sasl", [False, True])
@ensureDeferred
async def test_with_a_sasl_layer_and_without(router: RunningRouter, sasl: bool) -> None:
    client = await router.client(sasl=sasl)
    await works(await client.sender("x"), await client.receiver("x", credit=1))


@ensureDeferred
async def test_a_listener_may_insist_on_the_sasl_layer(start: Start) -> None:
    router = await start(listener=[{"endpoint": "tcp:0:interface=127.0.0.1", "allow_bare": False}])
    bare = await router.dial(RawClient())
    bare.say(frames.AMQP, frames.open_())
    await wait_until(lambda: bare.lost)
    assert bare.received == frames.SASL
    client = await router.client(sasl=True)
    await works(await client.sender("x"), await client.receiver("x", credit=1))


@ensureDeferred
async def test_nothing_of_the_routers_answers_has_to_be_waited_for(router: RunningRouter) -> None:
    producer = await router.sender("x")
    client = await router.dial(Client("hasty"))
    consumer = client.attach_receiver("x", credit=1)
    more = client.attach_receiver("x", credit=1, session=client.new_session())
    assert not client.open
    await producer.credited(2)
    for _ in range(2):
        producer.send(HELLO)
    await wait_until(lambda: len(consumer.messages) == len(more.messages) == 1)


# -- the blocking client that proton brings ----------------------------------------------------------------------------


@pytest.mark.parametrize("sasl", [True, False])
@ensureDeferred
async def test_protons_blocking_client(router: RunningRouter, sasl: bool) -> None:
    def connect() -> proton.utils.BlockingConnection:
        return proton.utils.BlockingConnection(f"127.0.0.1:{router.port}", sasl_enabled=sasl, timeout=10)

    def receive() -> list[object]:
        connection = connect()
        receiver = connection.create_receiver("x", credit=10)
        bodies: list[object] = []
        for _ in range(20):
            bodies.append(receiver.receive().body)
            receiver.accept()
        connection.close()
        return bodies

    def send() -> list[int]:
        connection = connect()
        sender = connection.create_sender("x")
        states = [sender.send(proton.Message(number)).remote_state for number in range(20)]
        connection.close()
        return states

    received, sent = deferToThread(receive), deferToThread(send)
    assert await received == list(range(20))
    assert await sent == [proton.Delivery.ACCEPTED] * 20


@ensureDeferred
async def test_protons_request_and_response(router: RunningRouter) -> None:
    server, answers = await router.receiver("service", credit=10), await router.sender(None)

    def ask() -> object:
        connection = proton.utils.BlockingConnection(f"127.0.0.1:{router.port}", timeout=10)
        client = proton.utils.SyncRequestResponse(connection, "service")
        body = client.call(proton.Message("what?")).body
        connection.close()
        return body

    asked = deferToThread(ask)
    request = await server.next()
    request.accept()
    message = request.message
    answers.send(proton.Message("that", address=message.reply_to, correlation_id=message.correlation_id))
    assert await asked == "that"


# -- sessions and links ------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_session_for_each_link(router: RunningRouter) -> None:
    """Forty RPC servers of OpenStack have three consumers each, and one producer for all, on one connection."""
    client = await router.client()
    producer = await client.sender(None, session=client.new_session())
    addresses = [f"rpc/{number}" for number in range(120)]
    consumers = [await client.receiver(each, credit=1, session=client.new_session()) for each in addresses]
    await producer.credited()
    for address, consumer in zip(addresses, consumers, strict=True):
        sent = producer.send(proton.Message("hello", address=address))
        (await consumer.next()).accept()
        assert await sent.over() == ACCEPTED


@ensureDeferred
async def test_sessions_that_end_make_room_for_others(start: Start) -> None:
    router = await start(limits={"max_sessions": 2})
    client = await router.client()
    for _ in range(20):
        await client.sync()
    await works(await client.sender("x"), await client.receiver("x", credit=1))


@ensureDeferred
async def test_a_session_more_than_allowed_ends_the_connection(start: Start) -> None:
    router = await start()
    raw = await router.dial(RawClient())
    raw.say(frames.AMQP, frames.open_(), *(frames.begin(channel) for channel in range(256)))
    await raw.hears(frames.BEGIN, 256)
    raw.say(frames.begin(256))
    assert await raw.refused() in ("amqp:connection:framing-error", "amqp:resource-limit-exceeded", "amqp:not-allowed")


@ensureDeferred
async def test_a_link_more_than_allowed_is_refused_and_the_others_live_on(router: RunningRouter) -> None:
    client = await router.client()
    consumers = [client.attach_receiver("x", credit=1) for _ in range(255)]
    producer = await client.sender("x")
    one_more = await client.sender("x")
    await wait_until(lambda: one_more.closed)
    assert one_more.error is not None
    assert one_more.error.name == "amqp:resource-limit-exceeded"
    assert all(each.open for each in consumers)
    await producer.credited(200)
    for _ in range(200):
        producer.send(HELLO)
    await wait_until(lambda: sum(len(each.messages) for each in consumers) == 200)


@ensureDeferred
async def test_a_link_that_is_closed_makes_room_for_another(start: Start) -> None:
    router = await start(limits={"max_links": 2})
    client = await router.client()
    consumer = await client.receiver("x", credit=20)
    for _ in range(20):
        producer = await client.sender("x")
        await works(producer, consumer)
        producer.close()
        await client.sync()


@pytest.mark.parametrize("leave", ["detach", "close"])
@ensureDeferred
async def test_a_detach_is_answered(router: RunningRouter, leave: str) -> None:
    client = await router.client()
    for link in await client.sender("x"), await client.receiver("x", credit=1):
        getattr(link, leave)()
        await wait_until(lambda: link.closed)
        assert link.error is None
    assert not router.used


@ensureDeferred
async def test_a_link_of_the_same_name_can_be_attached_again(router: RunningRouter) -> None:
    client = await router.client()
    for _ in range(3):
        consumer, producer = await client.receiver("x", name="in", credit=1), await client.sender("x", name="out")
        await works(producer, consumer)
        consumer.close()
        producer.close()
        await client.sync()


@ensureDeferred
async def test_when_a_session_ends_its_links_are_gone(router: RunningRouter) -> None:
    client = await router.client()
    session = client.new_session()
    consumer = await client.receiver("x", credit=10, session=session)
    await client.receiver("y", credit=10, session=session)
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.send(HELLO)
    await consumer.count(1)
    session.close()
    client.flush()
    assert await sent.over() == LOST
    assert list(router.used) == ["x"]
    await works(producer, await client.receiver("x", credit=10))


@ensureDeferred
async def test_a_close_is_answered(router: RunningRouter) -> None:
    client = await router.client()
    await client.receiver("x", credit=1)
    client.close()
    await wait_until(lambda: client.closed)
    assert client.error is None
    await client.gone()


# -- many connections --------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_connection_more_than_allowed_is_refused_and_the_others_live_on(start: Start) -> None:
    router = await start(limits={"max_connections": 2})
    consumer, producer = await router.receiver("x", credit=10), await router.sender("x")
    one_more = await router.dial(Client("one more"))
    await one_more.gone()
    assert not one_more.open
    await works(producer, consumer)
    assert router.core.counters["refused_connections"] == 1
    consumer.client.close()
    await consumer.client.gone()
    await works(producer, await router.receiver("x", credit=10))


# -- silence -----------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_client_that_is_silent_for_too_long_is_closed(start: Start) -> None:
    router = await start(limits={"idle_timeout": 1})
    silent = await router.client()
    began = reactor.seconds()
    await silent.gone()
    assert silent.error is not None
    assert silent.error.name == "amqp:resource-limit-exceeded"
    assert reactor.seconds() - began > 0.9


@ensureDeferred
async def test_who_keeps_the_announced_silence_is_not_closed(start: Start) -> None:
    """Both ways: the router announces half of what it bears, and says something as often as its client asks for."""
    router = await start(limits={"idle_timeout": 1})
    client = await router.client(idle_timeout=2)
    assert client.engine.remote_idle_timeout == 0.5
    ticks = LoopingCall(client.tick)
    ticks.start(0.1)
    before = client.engine.frames_input
    await wait_until(lambda: client.lost or client.engine.frames_input >= before + 3)
    ticks.stop()
    assert not client.closed
    assert not client.lost


@ensureDeferred
async def test_a_silence_of_less_than_a_second_is_not_agreed_to(router: RunningRouter) -> None:
    client = await router.client(idle_timeout=0.5)
    await client.gone()
    assert client.error is not None
    assert client.error.name == "amqp:not-allowed"


# -- the orderly stop --------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_stop_waits_for_what_is_in_flight(start: Start) -> None:
    router = await start(router={"stop_timeout": 60})
    consumer, producer = await router.receiver("x", credit=10), await router.sender("x")
    await producer.credited()
    sent = [producer.send(HELLO) for _ in range(3)]
    await consumer.count(3)
    stopped = router.service.stopService()
    await wait_until(lambda: producer.drain_asked)
    assert not producer.client.closed
    for received in consumer.messages:
        received.accept()
    assert [await each.over() for each in sent] == [ACCEPTED] * 3
    await stopped
    for client in producer.client, consumer.client:
        assert client.closed
        # which clients take for a reason to come back by themselves
        assert client.error == Error("amqp:connection:forced", "the router is being stopped")
        await client.gone()


@ensureDeferred
async def test_a_stop_does_not_wait_for_ever(start: Start) -> None:
    router = await start(router={"stop_timeout": 0.1})
    consumer, producer = await router.receiver("x", credit=10), await router.sender("x")
    await producer.credited()
    sent = producer.send(HELLO)
    await consumer.count(1)
    await router.service.stopService()
    assert not sent.settled
    assert producer.client.closed
    assert consumer.client.closed


@ensureDeferred
async def test_while_it_stops_the_router_takes_nothing_new(start: Start) -> None:
    router = await start(router={"stop_timeout": 60})
    consumer, producer = await router.receiver("x", credit=10), await router.sender("x")
    idle = await router.client()
    await producer.credited(3)
    in_flight = producer.send(HELLO)
    await consumer.count(1)
    stopped = router.service.stopService()
    await wait_until(lambda: producer.drain_asked)
    assert await producer.send(HELLO).over() == RELEASED
    for link in await idle.sender("x"), await idle.sender(None), await idle.receiver("x"):
        await wait_until(lambda: link.closed)
        assert link.error is not None
        assert link.error.name == "amqp:connection:forced"
    with pytest.raises(ConnectionRefusedError):
        await router.dial(Client("late"))
    consumer.messages[0].accept()
    assert await in_flight.over() == ACCEPTED
    await stopped
    assert len(consumer.messages) == 1


@ensureDeferred
async def test_a_stop_releases_what_waits(start: Start) -> None:
    router = await start(router={"stop_timeout": 60})
    producer, consumer = await ahead(router, 3)
    anonymous = await router.sender(None)
    await anonymous.credited()
    sent = [producer.send(HELLO) for _ in range(3)]
    sent.append(anonymous.send(proton.Message("hello", address="x")))
    await quiet(producer, anonymous, consumer)
    await router.service.stopService()
    assert [each.state for each in sent] == [RELEASED] * 4


@ensureDeferred
async def test_a_stop_does_not_wait_for_clients_that_do_not_answer(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_CLOSE_WITHIN", 0.1)
    router = await start()
    mute = await (await router.dial(RawClient())).greeted()
    half = await router.dial(RawClient())
    half.say(frames.SASL)
    await wait_until(lambda: half.received)
    await router.service.stopService()
    await wait_until(lambda: mute.lost and half.lost)
    assert mute.heard(frames.CLOSE)


# -- other kinds of sockets --------------------------------------------------------------------------------------------


@ensureDeferred
async def test_over_a_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "router"
    router = await start(listener=[{"endpoint": f"unix:{path}"}])
    client = await router.dial(Client("local"), clientFromString(reactor, f"unix:{path}"))
    await works(await client.sender("x"), await client.receiver("x", credit=1))
    data = bytes(3 << 20)
    consumer = await client.receiver("y", credit=1, takes=ACCEPTED)
    assert await (await client.sender("y")).send(data).over() == ACCEPTED
    assert consumer.messages[0].data == data


async def over_tls(start: Start, certificate: Path, **limits: object) -> tuple[RunningRouter, Callable[[], Any]]:
    """A router that listens with TLS, and what connects a client to it."""
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={certificate}:certKey={certificate}"
    router = await start(listener=[{"endpoint": endpoint}], limits=limits)
    trusted = optionsForClientTLS("localhost", trustRoot=Certificate.loadPEM(certificate.read_bytes()))

    async def connect() -> Client:
        plain = clientFromString(reactor, f"tcp:127.0.0.1:{router.port}")
        client: Client = await router.dial(Client("secret"), wrapClientTLS(trusted, plain))
        await client.opened()
        return client

    return router, connect


@ensureDeferred
async def test_over_tls(start: Start, certificate: Path) -> None:
    _, connect = await over_tls(start, certificate)
    producer, consumer = await (await connect()).sender("x"), await (await connect()).receiver("x", credit=1)
    await works(producer, consumer)
    consumer.flow(1)
    consumer.takes = ACCEPTED
    data = bytes(3 << 20)
    assert await producer.send(data).over() == ACCEPTED
    assert consumer.messages[1].data == data


@ensureDeferred
async def test_over_tls_a_slow_reader_holds_its_producer_back(start: Start, certificate: Path) -> None:
    _, connect = await over_tls(start, certificate, session_window=256 << 10)
    producer, consumer = await (await connect()).sender("x"), await (await connect()).receiver("x", credit=1)
    await producer.credited()
    consumer.client.stop_reading()
    sent, size, left = producer.begin(), 0, -1
    session = producer.link.session
    while size < 32 << 20 and left != session.outgoing_bytes:
        while session.outgoing_bytes < 1 << 19:
            sent.write(bytes(1 << 16))
            size += 1 << 16
        left = session.outgoing_bytes
        await producer.client.sync()
    assert size < 12 << 20
    consumer.client.go_on_reading()
    sent.end()
    assert (await consumer.next()).data == bytes(size)


@ensureDeferred
async def test_over_tls_a_reader_that_is_stuck_is_cut(start: Start, certificate: Path) -> None:
    router, connect = await over_tls(start, certificate, write_timeout=0.2)
    producer, consumer = await (await connect()).sender("x"), await (await connect()).receiver("x", credit=1000)
    consumer.client.stop_reading()
    sent = []
    while not router.core.counters["stalled"]:
        await wait_until(lambda: producer.credit or router.core.counters["stalled"])
        if producer.credit:
            sent.append(producer.send(bytes(30_000)))
        await producer.client.sync()
    assert LOST in [await each.over() for each in sent]
