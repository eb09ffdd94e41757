"""Bad input: the connection that it came by ends, with an error where one can still be sent, and nobody else notices.

Every test has neighbours: a producer and a consumer on connections of their own, with a message in flight between them
while the bad input comes. What a client can say wrong in so many words is in `conversations.py`, and tested in
`test_hostile.py`; here is what takes more than that.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from random import Random

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.net import frames
from tests.net.conftest import Start
from tests.net.conversations import BROKEN_FRAMES, HELLO, NOT_AMQP, NOT_SASL
from tests.net.frames import (
    AMQP,
    RECEIVER,
    SASL,
    SENDER,
    attach,
    begin,
    close,
    disposition,
    end,
    flow,
    open_,
    transfer,
)
from tests.net.links import ACCEPTED, LOST
from tests.net.neighbourhood import Neighbours
from tests.net.routers import RunningRouter
from tests.net.waiting import wait_until
from txrouter.amqp import deadlines


@pytest_twisted.async_yield_fixture
async def neighbours(router: RunningRouter) -> AsyncIterator[Neighbours]:
    """Neighbours in the default router."""
    neighbours = await Neighbours.of(router)
    yield neighbours
    await neighbours.unaffected()


# -- before AMQP -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", NOT_AMQP)
@ensureDeferred
async def test_what_does_not_begin_as_amqp_is_told_how_it_should(neighbours: Neighbours, what: str) -> None:
    raw = await neighbours.stranger()
    raw.say(NOT_AMQP[what])
    await wait_until(lambda: raw.lost)
    assert raw.received == SASL
    assert neighbours.router.core.counters["refused_handshakes"] == 1


@pytest.mark.parametrize("what", NOT_SASL)
@ensureDeferred
async def test_who_cannot_do_sasl_does_not_get_in(neighbours: Neighbours, what: str) -> None:
    data, outcome = NOT_SASL[what]
    raw = await neighbours.stranger()
    raw.say(SASL, data)
    await wait_until(lambda: raw.lost)
    said, _ = frames.taken_apart(raw.received[8:])
    assert [each.performative for each in said] == ([0x40] if outcome is None else [0x40, 0x44])
    assert said[1:] == [] or said[1].fields == [outcome]


@pytest.mark.parametrize(
    "data", [b"", b"AM", SASL, SASL + b"\0\0\0\x1a", AMQP, AMQP + open_()[:-1], AMQP + open_()[:6]]
)
@ensureDeferred
async def test_who_falls_silent_before_open_is_cut(start: Start, data: bytes) -> None:
    router = await start(limits={"handshake_timeout": 0.1})
    neighbours = await Neighbours.of(router)
    raw = await neighbours.stranger()
    raw.say(data)
    await wait_until(lambda: raw.lost)
    assert router.core.counters["handshake_timeouts"] == 1
    await neighbours.unaffected()


# -- frames that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", BROKEN_FRAMES)
@ensureDeferred
async def test_a_broken_frame_ends_the_connection(neighbours: Neighbours, what: str) -> None:
    data, condition = BROKEN_FRAMES[what]
    raw = await (await neighbours.stranger()).greeted()
    raw.say(data)
    assert await raw.refused() == condition
    assert neighbours.router.core.counters["protocol_errors"] == 1


@ensureDeferred
async def test_a_large_frame_before_open_ends_the_connection(neighbours: Neighbours) -> None:
    raw = await neighbours.stranger()
    raw.say(AMQP, open_("x" * 10_000))
    assert await raw.refused() == "amqp:connection:framing-error"


@pytest.mark.parametrize("leave", ["hang_up", "abort"])
@ensureDeferred
async def test_a_connection_cut_at_any_byte_leaves_nothing_behind(start: Start, leave: str) -> None:
    router = await start()
    neighbours = await Neighbours.of(router)
    links = attach(RECEIVER) + flow(10) + attach(SENDER, name="out", handle=1)
    messages = transfer(0, handle=1) + transfer(1, bytes(2000), handle=1, more=True)
    conversation = AMQP + open_() + begin() + links + messages + end() + close()
    for length in range(0, len(conversation), 7):
        raw = await neighbours.stranger()
        raw.say(conversation[:length])
        await neighbours.producer.client.sync()
        getattr(raw, leave)()
        await wait_until(lambda: raw.lost)
    await wait_until(lambda: len(router.connections) == 2)
    assert list(router.used) == ["neighbours"]
    await neighbours.unaffected()


# -- more than there is credit for ------------------------------------------------------------------------------------


@ensureDeferred
async def test_who_sends_beyond_its_credit_to_where_messages_wait_is_detached(neighbours: Neighbours) -> None:
    """Messages of an anonymous producer are out of each other's way, and count as long as they wait."""
    consumer = await neighbours.router.receiver("waiting")
    raw = await (await neighbours.stranger()).greeted()
    raw.say(attach(SENDER, None))
    await raw.hears(frames.FLOW, 2)
    message = b"\0Ss\xc0\x0c\3@@\xa1\7waiting" + HELLO
    for batch in range(5):  # the session's window is 128 frames
        raw.say(*(transfer(number, message) for number in range(50 * batch, 50 * batch + 50)), begin(1 + batch))
        await raw.hears(frames.BEGIN, 2 + batch)
    assert not raw.heard(frames.DETACH)
    raw.say(*(transfer(number, message) for number in range(250, 260)))
    assert await raw.link_refused() == "amqp:link:transfer-limit-exceeded"
    assert not consumer.messages


# -- who takes and does not give ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [1, 64, 511])
@ensureDeferred
async def test_a_client_that_takes_only_tiny_frames(neighbours: Neighbours, largest: int) -> None:
    """The specification allows none below 512 bytes; what is sent to such a client may be larger than it wanted."""
    raw = await neighbours.stranger()
    raw.say(AMQP, open_(max_frame=largest), begin(), attach(RECEIVER, "tiny"), flow(10))
    await raw.hears(frames.ATTACH)
    producer = await neighbours.router.sender("tiny")
    await producer.credited()
    sent = producer.send(bytes(20_000))
    await wait_until(lambda: sum(len(each.payload) for each in raw.heard(frames.TRANSFER)) == 20_000)
    raw.say(disposition(0, 0))
    assert await sent.over() == ACCEPTED


@ensureDeferred
async def test_a_consumer_that_never_reads_is_cut(start: Start) -> None:
    router = await start(limits={"write_timeout": 0.2}, router={"default_distribution": "round-robin"})
    neighbours = await Neighbours.of(router)
    raw = await (await neighbours.stranger()).greeted()
    raw.say(attach(RECEIVER), flow(1000))
    await raw.hears(frames.ATTACH)
    raw.stop_reading()
    healthy = await router.receiver("x", credit=100_000, takes=ACCEPTED)
    producer = await router.sender("x")
    sent = []
    while not router.core.counters["stalled"]:
        await producer.credited()
        sent.append(producer.send(bytes(30_000)))
        await producer.client.sync()
    await neighbours.unaffected()
    outcomes = [await each.over() for each in sent]
    assert set(outcomes) == {ACCEPTED, LOST}
    assert outcomes.count(ACCEPTED) == len(healthy.messages)


QUESTIONS = {
    "sessions": begin(1) + end(1),
    "links": attach(SENDER, name="more") + frames.detach(),
    "links that are refused": attach(SENDER, "$management/x", name="more") + frames.detach(),
}


@pytest.mark.parametrize("what", QUESTIONS)
@ensureDeferred
async def test_who_asks_on_and_on_and_never_reads_the_answers_is_cut(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(deadlines, "CLOSE_TIMEOUT", 0.1)
    raw = await (await neighbours.stranger()).greeted()
    raw.stop_reading()
    # or the kernel would have taken in megabytes first
    neighbours.router.connections[-1].transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for _ in range(60):
        raw.say(QUESTIONS[what] * 50)
        await neighbours.unaffected()
    await wait_until(lambda: len(neighbours.router.connections) == 2)


# -- anything ----------------------------------------------------------------------------------------------------------


def mutated(data: bytes, random: Random) -> bytes:
    """The same with a few bytes changed, taken out, put in or doubled."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(changed))
        match random.randrange(5):
            case 0:
                changed[at] = random.randrange(256)
            case 1:
                changed[at] = random.choice((0, 1, 0x40, 0x45, 0x7F, 0x80, 0xFF))
            case 2:
                del changed[at : at + random.randint(1, 8)]
            case 3:
                changed[at:at] = random.randbytes(random.randint(1, 8))
            case 4:
                changed[at:at] = changed[at : at + random.randint(1, 60)]
    return bytes(changed)


@ensureDeferred
async def test_mutated_conversations_harm_nobody(neighbours: Neighbours) -> None:
    greeting = AMQP + open_() + begin()
    links = attach(RECEIVER, "x") + flow(10) + attach(SENDER, None, name="out", handle=1)
    to_x = b"\0Ss\xc0\6\3@@\xa1\1x"
    messages = transfer(0, to_x + HELLO, handle=1) + transfer(1, to_x + bytes(500), handle=1, more=True)
    rest = disposition(0, 0) + frames.detach(0) + frames.detach(1) + end() + close()
    random = Random(2)
    for _ in range(150):
        raw = await neighbours.stranger()
        raw.say(mutated(greeting, random) if random.random() < 0.3 else greeting)
        await neighbours.producer.client.sync()
        raw.say(mutated(links, random) if random.random() < 0.5 else links)
        await neighbours.producer.client.sync()
        raw.say(mutated(messages + rest, random))
        await neighbours.producer.client.sync()
        raw.abort()
    await neighbours.unaffected()
