"""Messages of many frames: they pass through the router as they come, and it never has much of them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.net.conftest import Start
from tests.net.links import ACCEPTED, LOST, RELEASED, SETTLED, Receiver, Sender, Sent, State
from tests.net.processes import RouterProcess
from tests.net.routers import RunningRouter, quiet
from tests.net.waiting import reactor, wait_until

KIB, MIB = 1 << 10, 1 << 20
PIECE = Random(1).randbytes(100 * KIB)
"""Enough for the router to begin with a message."""


def message(size: int) -> bytes:
    """A message of `size` bytes of noise."""
    return b"\0Su\xb0" + (size - 8).to_bytes(4, "big") + Random(size).randbytes(size - 8)


async def pair(router: RunningRouter, *, credit: int = 10, takes: State | None = None) -> tuple[Sender, Receiver]:
    consumer = await router.receiver("x", credit=credit, takes=takes)
    producer = await router.sender("x")
    await producer.credited()
    return producer, consumer


async def half_sent(router: RunningRouter) -> tuple[Sender, Receiver, Sent]:
    """A producer that has sent a part of a message, and a consumer that has it."""
    producer, consumer = await pair(router)
    sent = producer.begin()
    sent.write(PIECE)
    await wait_until(lambda: consumer.coming and consumer.coming.data == PIECE)
    return producer, consumer, sent


async def works(producer: Sender, consumer: Receiver) -> None:
    """See that a message gets from the one to the other, and its outcome back."""
    await producer.credited()
    before = len(consumer.messages)
    sent = producer.send(b"\0Sw\xa1\4next")
    await consumer.count(before + 1)
    assert consumer.messages[before].data == b"\0Sw\xa1\4next"
    consumer.messages[before].accept()
    assert await sent.over() == ACCEPTED


# -- whole -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("presettled", [False, True])
@pytest.mark.parametrize("size", [base + more for base in (32 * KIB, 64 * KIB, 128 * KIB) for more in (-1, 0, 1)])
@ensureDeferred
async def test_a_message_of_any_size_passes_unchanged(router: RunningRouter, size: int, presettled: bool) -> None:
    producer, consumer = await pair(router)
    data = message(size)
    sent = producer.send(data, presettled=presettled)
    received = await consumer.next()
    assert received.data == data
    assert received.settled == presettled
    if not presettled:
        received.accept()
        assert await sent.over() == ACCEPTED


@pytest.mark.parametrize("address", ["x", None])
@ensureDeferred
async def test_eight_mebibytes_pass_unchanged(router: RunningRouter, address: str | None) -> None:
    consumer = await router.receiver("x", credit=1, takes=ACCEPTED)
    producer = await router.sender(address)
    await producer.credited()
    data = b"\0Ss\xc0\6\3@@\xa1\1x" + message(8 * MIB)
    assert await producer.send(data).over() == ACCEPTED
    assert consumer.messages[0].data == data


@ensureDeferred
async def test_frames_of_the_smallest_size(router: RunningRouter) -> None:
    small = await router.client(max_frame=512)
    consumer = await small.receiver("x", credit=1, takes=ACCEPTED)
    producer = await router.sender("x")
    await producer.credited()
    data = message(300 * KIB)
    assert await producer.send(data).over() == ACCEPTED
    assert consumer.messages[0].data == data


@ensureDeferred
async def test_large_messages_of_several_producers_do_not_mix(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=10, takes=ACCEPTED)
    producers = [await router.sender("x") for _ in range(3)]
    data = [message(500 * KIB + number) for number in range(3)]
    sent = [producer.begin() for producer in producers]
    for at in range(0, 500 * KIB + 3, 50 * KIB):
        for each, whole in zip(sent, data, strict=True):
            each.write(whole[at : at + 50 * KIB])
        await quiet(*producers)
    for each in sent:
        each.end()
    assert [await each.over() for each in sent] == [ACCEPTED] * 3
    assert sorted((bytes(each.data) for each in consumer.messages), key=len) == data


@ensureDeferred
async def test_small_messages_behind_a_large_one_keep_their_order(router: RunningRouter) -> None:
    producer, consumer = await pair(router, takes=ACCEPTED)
    large = producer.begin()
    large.write(PIECE)
    await wait_until(lambda: consumer.coming)
    large.write(PIECE)
    large.end()
    small = [producer.send(b"%d" % number) for number in range(5)]
    assert [await each.over() for each in [large, *small]] == [ACCEPTED] * 6
    assert [bytes(each.data) for each in consumer.messages] == [PIECE * 2, b"0", b"1", b"2", b"3", b"4"]


# -- as it comes -------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_forwarding_begins_before_the_last_frame_has_come(router: RunningRouter) -> None:
    producer, consumer, sent = await half_sent(router)
    sent.write(b"more")
    await wait_until(lambda: consumer.coming and consumer.coming.data == PIECE + b"more")
    assert not consumer.messages
    sent.end()
    received = await consumer.next()
    assert received.data == PIECE + b"more"
    received.accept()
    assert await sent.over() == ACCEPTED
    await works(producer, consumer)


@ensureDeferred
async def test_the_end_may_be_a_frame_without_data(router: RunningRouter) -> None:
    _, consumer, sent = await half_sent(router)
    await quiet(consumer)
    sent.end()
    assert (await consumer.next()).data == PIECE


@ensureDeferred
async def test_a_message_that_is_coming_does_not_stop_others(router: RunningRouter) -> None:
    """Neither those for another consumer of the address nor those for another address."""
    _, consumer, sent = await half_sent(router)
    for address in "x", "y":
        other = await router.receiver(address, credit=1)
        await works(await router.sender(address), other)
    sent.end()
    await consumer.count(1)


@ensureDeferred
async def test_a_large_message_waits_for_credit(router: RunningRouter) -> None:
    consumer = await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    data = message(MIB)
    sent = producer.send(data)
    await quiet(producer, consumer)
    assert not consumer.coming
    consumer.flow(1)
    received = await consumer.next()
    assert received.data == data
    received.accept()
    assert await sent.over() == ACCEPTED


@ensureDeferred
async def test_a_consumer_that_drains_in_the_middle_gets_the_rest(router: RunningRouter) -> None:
    _, consumer, sent = await half_sent(router)
    consumer.drain()
    sent.end()
    await consumer.next()
    await wait_until(lambda: not consumer.credit)


@pytest.mark.parametrize("state", [ACCEPTED, RELEASED, State("rejected"), LOST, SETTLED])
@ensureDeferred
async def test_a_consumer_may_settle_before_the_end(router: RunningRouter, state: State) -> None:
    producer, consumer, sent = await half_sent(router)
    assert consumer.coming
    consumer.coming.settle(state)
    consumer.coming = None
    await wait_until(lambda: sent.state == state)
    sent.write(PIECE)
    sent.end()
    assert await sent.over() == state
    await works(producer, consumer)


# -- not to the end ----------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_an_aborted_message_is_aborted_for_its_consumer(router: RunningRouter) -> None:
    producer, consumer, sent = await half_sent(router)
    sent.abort()
    await wait_until(lambda: consumer.aborted)
    await works(producer, consumer)


@ensureDeferred
async def test_a_message_aborted_before_it_was_forwarded_is_never_seen(router: RunningRouter) -> None:
    producer, consumer = await pair(router)
    sent = producer.begin()
    sent.write(b"a few bytes")
    await quiet(producer)
    sent.abort()
    await works(producer, consumer)
    assert (len(consumer.messages), len(consumer.aborted)) == (1, 0)


@pytest.mark.parametrize("piece", [b"a few bytes", PIECE])
@ensureDeferred
async def test_a_message_aborted_while_it_waits_is_never_seen(router: RunningRouter, piece: bytes) -> None:
    consumer = await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.begin()
    sent.write(piece)
    await quiet(producer)
    sent.abort()
    await quiet(producer)
    consumer.flow(1)
    await works(producer, consumer)
    assert (len(consumer.messages), len(consumer.aborted)) == (1, 0)


@pytest.mark.parametrize("piece", [b"a few bytes", PIECE])
@ensureDeferred
async def test_aborted_messages_cost_no_credit(start: Start, piece: bytes) -> None:
    router = await start(limits={"link_capacity": 5})
    producer, consumer = await pair(router, credit=5)
    for number in range(12):
        await producer.credited()
        sent = producer.begin()
        sent.write(piece)
        if piece == PIECE:
            await wait_until(lambda: consumer.coming)
        sent.abort()
        await quiet(producer, consumer)
        assert len(consumer.aborted) == (number + 1 if piece == PIECE else 0)
        consumer.flow(5 - consumer.credit)
    for _ in range(5):
        await works(producer, consumer)


@pytest.mark.parametrize("leave", ["abort", "close the link", "detach"])
@ensureDeferred
async def test_a_consumer_lost_in_the_middle(router: RunningRouter, leave: str) -> None:
    producer, consumer, sent = await half_sent(router)
    {"abort": consumer.client.abort, "close the link": consumer.close, "detach": consumer.detach}[leave]()
    await wait_until(lambda: sent.state == LOST)
    other = await router.receiver("x", credit=10)
    sent.write(PIECE)
    sent.end()
    assert await sent.over() == LOST
    await works(producer, other)
    assert len(other.messages) == 1


@ensureDeferred
async def test_the_rest_of_a_message_that_is_over_is_thrown_away(start: Start) -> None:
    router = await start(limits={"session_window": 256 * KIB})
    producer, consumer, sent = await half_sent(router)
    consumer.client.abort()
    await wait_until(lambda: sent.state == LOST)
    other = await router.receiver("x", credit=10)
    sent.write(bytes(2 * MIB))
    sent.end()
    await works(producer, other)
    assert sent.settled
    assert len(other.messages) == 1


@pytest.mark.parametrize("leave", ["abort", "close", "close the link", "detach"])
@ensureDeferred
async def test_a_producer_lost_in_the_middle(router: RunningRouter, leave: str) -> None:
    producer, consumer, _ = await half_sent(router)
    {
        "abort": producer.client.abort,
        "close": producer.client.close,
        "close the link": producer.close,
        "detach": producer.detach,
    }[leave]()
    await wait_until(lambda: consumer.aborted)
    consumer.flow(10 - consumer.credit)
    await quiet(consumer)
    for _ in range(10):
        await works(await router.sender("x"), consumer)


@ensureDeferred
async def test_a_producer_lost_while_its_message_waits(router: RunningRouter) -> None:
    consumer = await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    producer.begin().write(PIECE)
    await quiet(producer)
    producer.client.abort()
    await wait_until(lambda: len(router.connections) == 1)
    consumer.flow(1)
    await works(await router.sender("x"), consumer)
    assert (len(consumer.messages), len(consumer.aborted)) == (1, 0)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("credit", [0, 1])
@ensureDeferred
async def test_what_a_link_leaves_behind_does_not_use_up_its_session(start: Start, credit: int, whole: bool) -> None:
    router = await start(limits={"session_window": 256 * KIB})
    consumer = await router.receiver("x", credit=credit)
    client = await router.client()
    for _ in range(10):
        producer = await client.sender("x")
        await producer.credited()
        sent = producer.begin()
        sent.write(bytes(200 * KIB))
        if whole:
            sent.end()
        await quiet(producer, consumer)
        producer.close()
        await client.sync()
        consumer.flow(credit - consumer.credit)
    consumer.flow(1)
    await works(await client.sender("x"), consumer)


# -- too large ---------------------------------------------------------------------------------------------------------


def refused(sent: Sent) -> bool:
    error = sent.state.error
    return sent.state.name == "rejected" and error is not None and error.name == "amqp:link:message-size-exceeded"


@pytest.mark.parametrize("address", ["x", None])
@ensureDeferred
async def test_a_message_larger_than_allowed_is_rejected_and_its_link_closed(start: Start, address: str | None) -> None:
    router = await start(limits={"max_message_size": 50_000})
    consumer = await router.receiver("x", credit=10)
    producer = await router.sender(address)
    await producer.credited()
    sent = producer.send(b"\0Ss\xc0\6\3@@\xa1\1x" + message(60_000))
    await wait_until(lambda: producer.closed)
    assert producer.error is not None
    assert producer.error.name == "amqp:link:message-size-exceeded"
    assert refused(sent)
    await works(await producer.client.sender("x"), consumer)
    assert len(consumer.messages) == 1


@ensureDeferred
async def test_messages_larger_than_allowed_do_not_use_up_their_session(start: Start) -> None:
    router = await start(limits={"max_message_size": 50_000, "session_window": 256 * KIB})
    consumer = await router.receiver("x", credit=10)
    client = await router.client()
    for _ in range(10):
        producer = await client.sender("x")
        await producer.credited()
        sent = producer.send(message(200 * KIB))
        await wait_until(lambda: producer.closed)
        assert refused(sent)
    await works(await client.sender("x"), consumer)


@ensureDeferred
async def test_a_message_that_turns_out_too_large_is_aborted_for_its_consumer(start: Start) -> None:
    router = await start(limits={"max_message_size": 150 * KIB})
    producer, consumer, sent = await half_sent(router)
    sent.write(PIECE)
    await wait_until(lambda: producer.closed)
    assert refused(sent)
    await wait_until(lambda: consumer.aborted)
    consumer.flow(1)
    await works(await producer.client.sender("x"), consumer)


@pytest.mark.parametrize("size", [20_000, 100 * KIB])
@ensureDeferred
async def test_a_message_of_just_the_largest_size_is_allowed(start: Start, size: int) -> None:
    router = await start(limits={"max_message_size": size})
    producer, consumer = await pair(router, takes=ACCEPTED)
    assert producer.link.remote_max_message_size == size
    assert await producer.send(message(size)).over() == ACCEPTED
    assert consumer.messages[0].data == message(size)


# -- slow readers ------------------------------------------------------------------------------------------------------


async def fill(sent: Sent, producer: Sender) -> int:
    """Send to a consumer that does not read, until nothing more is taken; returns how many bytes were sent, of which
    less than a mebibyte has not left."""
    session, size, left = producer.link.session, 0, -1
    while size < 32 * MIB and left != session.outgoing_bytes:
        while session.outgoing_bytes < MIB // 2:
            sent.write(bytes(64 * KIB))
            size += 64 * KIB
        left = session.outgoing_bytes
        await producer.client.sync()
    return size


@ensureDeferred
async def test_a_slow_reader_holds_its_producer_back(start: Start) -> None:
    router = await start(limits={"session_window": 256 * KIB})
    producer, consumer, sent = await half_sent(router)
    consumer.client.stop_reading()
    size = await fill(sent, producer)
    assert size < 12 * MIB  # nearly all of it in the kernel's buffers
    await works(await router.sender("x"), await router.receiver("x", credit=1))
    consumer.client.go_on_reading()
    sent.end()
    received = await consumer.next()
    assert received.data == PIECE + bytes(size)


@ensureDeferred
async def test_a_consumer_that_does_not_take_in_what_it_reads_holds_its_producer_back(start: Start) -> None:
    router = await start(limits={"session_window": 256 * KIB})
    client = await router.client(max_frame=16 * KIB)
    consumer = await client.receiver("x", credit=1, session=client.new_session(window=64 * KIB))
    consumer.reading = False
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.begin()
    size = await fill(sent, producer)
    assert size < 2 * MIB
    await works(await router.sender("x"), await router.receiver("x", credit=1))
    consumer.read()
    sent.end()
    assert (await consumer.next()).data == bytes(size)


@ensureDeferred
async def test_a_reader_that_is_stuck_is_cut(start: Start) -> None:
    router = await start(limits={"write_timeout": 0.2})
    producer, consumer, sent = await half_sent(router)
    consumer.client.stop_reading()
    await fill(sent, producer)
    await wait_until(lambda: sent.state == LOST)
    assert router.core.counters["stalled"] == 1
    other = await router.receiver("x", credit=1)
    sent.end()
    await works(producer, other)


@ensureDeferred
async def test_a_reader_that_is_slow_but_reads_is_not_cut(start: Start) -> None:
    router = await start(limits={"write_timeout": 0.5})
    producer, consumer, sent = await half_sent(router)
    began = reactor.seconds()
    while reactor.seconds() < began + 1.0:
        consumer.client.stop_reading()
        size = await fill(sent, producer)
        consumer.client.go_on_reading()
        await wait_until(lambda: consumer.coming and len(consumer.coming.data) >= size)
        assert consumer.coming
        consumer.coming.data.clear()
    sent.end()
    await consumer.next()
    assert router.core.counters["stalled"] == 0


# -- memory ------------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_large_message_takes_little_memory(process: RouterProcess) -> None:
    clients: list[Any] = [await process.client(name) for name in ("receives", "sends")]
    consumer = await clients[0].receiver("x", credit=1)
    producer = await clients[1].sender("x")
    await producer.credited()
    before = most = process.resident()
    sent = producer.begin()
    piece = Random(1).randbytes(MIB)
    for _ in range(128):
        sent.write(piece)
        await wait_until(lambda: consumer.coming and len(consumer.coming.data) == MIB)
        assert consumer.coming.data == piece
        consumer.coming.data.clear()
        most = max(most, process.resident())
    sent.end()
    (await consumer.next()).accept()
    assert await sent.over() == ACCEPTED
    assert most - before < 8 * MIB
