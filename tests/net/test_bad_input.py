"""Bad input: the connection that it came by ends, with an error where one can still be sent, and nobody else notices.

Every test has neighbours: a producer and a consumer on connections of their own, with a message in flight between them
while the bad input comes.
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
from tests.net.frames import (
    AMQP,
    RECEIVER,
    SASL,
    SENDER,
    attach,
    begin,
    binary,
    close,
    described,
    disposition,
    end,
    flow,
    frame,
    open_,
    symbol,
    transfer,
    ubyte,
    uint,
)
from tests.net.links import ACCEPTED, LOST, Receiver, Sender
from tests.net.raw import RawClient
from tests.net.routers import RunningRouter, quiet
from tests.net.waiting import wait_until
from txrouter.amqp import connection

HELLO = b"\0Sw\xa1\5hello"


class Neighbours:
    """A producer and a consumer that mind their own business."""

    def __init__(self, router: RunningRouter, producer: Sender, consumer: Receiver) -> None:
        self.router = router
        self.producer = producer
        self.consumer = consumer
        self._in_flight = producer.send(HELLO)

    @classmethod
    async def of(cls, router: RunningRouter) -> Neighbours:
        """New ones, with a message in flight."""
        consumer = await router.receiver("neighbours", credit=1000)
        producer = await router.sender("neighbours")
        await producer.credited()
        neighbours = cls(router, producer, consumer)
        await consumer.count(1)
        return neighbours

    async def unaffected(self) -> None:
        """See that what they do goes on as if nothing had happened."""
        for _ in range(3):
            self.consumer.flow(1)
            await self.producer.credited()
            sent = self.producer.send(HELLO)
            (await self.consumer.next()).accept()
            assert await self._in_flight.over() == ACCEPTED
            self._in_flight = sent

    async def stranger(self) -> RawClient:
        """A socket to misbehave with."""
        raw: RawClient = await self.router.dial(RawClient())
        return raw


@pytest_twisted.async_yield_fixture
async def neighbours(router: RunningRouter) -> AsyncIterator[Neighbours]:
    """Neighbours in the default router."""
    neighbours = await Neighbours.of(router)
    yield neighbours
    await neighbours.unaffected()


# -- before AMQP -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(1000),
        Random(1).randbytes(1000),
        b"AMQP\0\0\x09\x01",
        b"AMQP\0\2\0\0",
        b"AMQP\2\1\0\0",
        b"AMQP\7\1\0\0",
        b"amqp\0\1\0\0",
        open_(),
    ],
)
@ensureDeferred
async def test_what_does_not_begin_as_amqp_is_told_how_it_should(neighbours: Neighbours, data: bytes) -> None:
    raw = await neighbours.stranger()
    raw.say(data)
    await wait_until(lambda: raw.lost)
    assert raw.received == SASL
    assert neighbours.router.core.counters["refused_handshakes"] == 1


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (frame(described(0x41, symbol("PLAIN"), binary(b"\0user\0secret")), kind=1), 1),
        (frame(described(0x41, symbol("ANONYMOUS")), kind=0), None),
        (frame(described(0x44, ubyte(0)), kind=1), None),
        (frame(bytes(20), kind=1), None),
        (frame(b"", kind=1, size=0x7FFFFFFF), None),
        (frame(described(0x41, symbol("x" * 600)), kind=1), None),
        (AMQP + open_(), None),
    ],
)
@ensureDeferred
async def test_who_cannot_do_sasl_does_not_get_in(neighbours: Neighbours, data: bytes, outcome: int | None) -> None:
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

BROKEN_FRAMES = {
    "smaller than a frame can be": (frame(b"abc", size=3), "amqp:connection:framing-error"),
    "larger than allowed, as it says": (frame(b"abc", size=0x7FFFFFFF), "amqp:connection:framing-error"),
    "larger than allowed, as it is": (frame(bytes(40_000)), "amqp:connection:framing-error"),
    "a body that begins in the header": (frame(described(0x11), offset=1), "amqp:connection:framing-error"),
    "a body that begins behind its end": (frame(described(0x11), offset=200), "amqp:connection:framing-error"),
    "a frame of another protocol": (frame(described(0x11), kind=7), "amqp:decode-error"),
    "a SASL frame": (frame(described(0x41), kind=1), "amqp:decode-error"),
    "an unknown performative": (frame(described(0x99)), "amqp:decode-error"),
    "an outcome instead of a performative": (frame(described(0x24)), "amqp:decode-error"),
    "a body that is no performative": (frame(b"\xa1\3abc"), "amqp:decode-error"),
    "no AMQP type at all": (frame(b"\xff" * 20), "amqp:decode-error"),
    "a descriptor without an end": (frame(b"\0" * 1000), "amqp:decode-error"),
    "a list longer than its frame": (frame(b"\0\x53\x11\xd0\x7f\xff\xff\xff\0\0\0\5"), "amqp:decode-error"),
    "a map instead of a list": (frame(b"\0\x53\x11\xc1\1\0"), "amqp:decode-error"),
}


@pytest.mark.parametrize("what", BROKEN_FRAMES)
@ensureDeferred
async def test_a_broken_frame_ends_the_connection(neighbours: Neighbours, what: str) -> None:
    data, condition = BROKEN_FRAMES[what]
    raw = await (await neighbours.stranger()).greeted()
    raw.say(data)
    assert await raw.refused() == condition
    assert neighbours.router.core.counters["protocol_errors"] == 1


@pytest.mark.parametrize("what", BROKEN_FRAMES)
@ensureDeferred
async def test_a_broken_frame_instead_of_open_ends_the_connection(neighbours: Neighbours, what: str) -> None:
    raw = await neighbours.stranger()
    raw.say(AMQP, BROKEN_FRAMES[what][0])
    assert await raw.refused() == "amqp:connection:framing-error"


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
    assert list(router.core.addresses) == ["neighbours"]
    await neighbours.unaffected()


# -- frames in the wrong place -----------------------------------------------------------------------------------------

OUT_OF_PLACE = {
    "begin before open": ([AMQP, begin()], "amqp:connection:framing-error"),
    "attach before open": ([AMQP, attach(SENDER)], "amqp:not-allowed"),
    "transfer before open": ([AMQP, transfer(0)], "amqp:not-allowed"),
    "attach before begin": ([AMQP, open_(), attach(SENDER)], "amqp:not-allowed"),
    "flow before begin": ([AMQP, open_(), frames.flow(5)], "amqp:not-allowed"),
    "transfer before begin": ([AMQP, open_(), transfer(0)], "amqp:not-allowed"),
    "disposition before begin": ([AMQP, open_(), disposition(0, 0)], "amqp:not-allowed"),
    "detach before begin": ([AMQP, open_(), frames.detach()], "amqp:not-allowed"),
    "end before begin": ([AMQP, open_(), end()], "amqp:not-allowed"),
    "begin on a channel too high": ([AMQP, open_(), begin(256)], "amqp:connection:framing-error"),
    "an idle time-out of a millisecond": ([AMQP, open_(idle_timeout=1)], "amqp:not-allowed"),
}


@pytest.mark.parametrize("what", OUT_OF_PLACE)
@ensureDeferred
async def test_a_frame_out_of_place_ends_the_connection(neighbours: Neighbours, what: str) -> None:
    data, condition = OUT_OF_PLACE[what]
    raw = await neighbours.stranger()
    raw.say(*data)
    assert await raw.refused() == condition


IN_A_SESSION = {
    "a second open": (open_(), "amqp:illegal-state"),
    "an attach without a name": (attach(SENDER, name=None), "amqp:invalid-field"),
    "an attach with an empty name": (attach(SENDER, name=""), "amqp:invalid-field"),
    "a second link of the same name": (attach(SENDER, "known", name="out", handle=7), "amqp:invalid-field"),
    "a transfer on an unknown handle": (transfer(0, handle=7), "amqp:invalid-field"),
    "a transfer on a link that receives": (transfer(0, handle=1), "amqp:illegal-state"),
    "a transfer without a tag": (frame(described(frames.TRANSFER, uint(0)) + HELLO), "amqp:invalid-field"),
    "a transfer out of sequence": (transfer(0) + transfer(77), "amqp:session:invalid-field"),
    "a flow on an unknown handle": (flow(1, handle=7), "amqp:invalid-field"),
    "a detach of an unknown handle": (frames.detach(7), "amqp:invalid-field"),
    "a disposition of four billion messages": (disposition(0, 0xFFFFFFFF), "amqp:not allowed"),
    "a disposition that ends before it begins": (disposition(9, 3), "amqp:not allowed"),
    "more than the session's window": (
        b"".join(transfer(0, b"\0Su\xb0\x10\0\0\0" + bytes(32_000), more=True) for _ in range(140)),
        "amqp:session:window-violation",
    ),
}


async def with_links(neighbours: Neighbours) -> RawClient:
    """A client with a session: it sends to `waiting` on handle 0, where nobody takes it in, and gets on handle 1."""
    await (await neighbours.router.client()).receiver("waiting")
    raw = await (await neighbours.stranger()).greeted()
    raw.say(attach(SENDER, "waiting", name="out"), attach(RECEIVER, "received", name="in", handle=1))
    raw.say(flow(10, handle=1))
    await raw.hears(frames.ATTACH, 2)
    await wait_until(lambda: any(len(each.fields) > 6 and each.fields[6] for each in raw.heard(frames.FLOW)))
    return raw


@pytest.mark.parametrize("what", IN_A_SESSION)
@ensureDeferred
async def test_a_frame_that_is_not_allowed_ends_the_connection(neighbours: Neighbours, what: str) -> None:
    data, condition = IN_A_SESSION[what]
    raw = await with_links(neighbours)
    raw.say(data)
    assert await raw.refused() == condition


@ensureDeferred
async def test_who_sends_beyond_its_credit_is_detached(neighbours: Neighbours) -> None:
    raw = await with_links(neighbours)
    raw.say(*(transfer(number) for number in range(20)))
    assert await raw.link_refused() == "amqp:link:transfer-limit-exceeded"
    assert not raw.lost


@ensureDeferred
async def test_who_sends_without_any_credit_is_detached(neighbours: Neighbours) -> None:
    raw = await (await neighbours.stranger()).greeted()
    raw.say(attach(SENDER, "nobody"))
    await raw.hears(frames.ATTACH)
    raw.say(transfer(0))
    assert await raw.link_refused() == "amqp:link:transfer-limit-exceeded"


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


HARMLESS = {
    "a disposition of messages that never were": disposition(5, 9),
    "a disposition by the wrong end": disposition(0, 0, role=SENDER),
    "a name that is no text": attach(SENDER, name=b"\xa1\2\xff\xfe", handle=2),
    "an address that is no text": frame(
        described(
            frames.ATTACH,
            "odd",
            uint(2),
            SENDER,
            None,
            None,
            described(frames.SOURCE),
            described(frames.TARGET, b"\xa1\2\xff\xfe"),
            None,
            None,
            uint(0),
        )
    ),
    "a tag of 3,000 bytes": transfer(0, tag=bytes(3000)),
    "a flow of as much credit as can be said": flow(0xFFFFFFFF, handle=1),
    "an empty frame": frame(),
    "an attach whose handle is in use": attach(SENDER, "another", name="another", handle=0),
    "a begin on a channel in use": begin(),
}


@pytest.mark.parametrize("what", HARMLESS)
@ensureDeferred
async def test_some_odd_things_are_borne(neighbours: Neighbours, what: str) -> None:
    raw = await with_links(neighbours)
    raw.say(HARMLESS[what])
    await quiet(neighbours.producer, neighbours.consumer)
    raw.say(begin(3))
    await wait_until(lambda: any(each.channel and each.performative == frames.BEGIN for each in raw.frames))
    assert not raw.lost
    assert not raw.heard(frames.CLOSE)


@ensureDeferred
async def test_nesting_of_any_depth_in_open_is_borne(neighbours: Neighbours) -> None:
    for properties in b"\0" * 5000 + b"\x40", b"\xc1\xff\1" * 2000, b"\xc0\xff\1" * 2000:
        raw = await neighbours.stranger()
        raw.say(AMQP, frame(described(frames.OPEN, "deep", *[None] * 8, properties)))
        await wait_until(lambda: raw.frames or raw.lost)
        raw.abort()


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
    "links that are refused": attach(SENDER, "$management", name="more") + frames.detach(),
}


@pytest.mark.parametrize("what", QUESTIONS)
@ensureDeferred
async def test_who_asks_on_and_on_and_never_reads_the_answers_is_cut(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.1)
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
