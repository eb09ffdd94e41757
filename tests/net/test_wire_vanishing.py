"""Either end vanishes at any point of a transfer: the other hears of it, once, and nothing is left of it."""

from __future__ import annotations

import pytest
from pytest_twisted import ensureDeferred

from tests.net.frames import (
    ATTACH,
    FLOW,
    RECEIVER,
    SENDER,
    TRANSFER,
    attach,
    disposition,
    flow,
    transfer,
)
from tests.net.links import ACCEPTED, LOST, RELEASED, Receiver, State
from tests.net.raw import RawClient
from tests.net.routers import RunningRouter, ahead, quiet
from tests.net.waiting import wait_until

MESSAGE = b"\0Sw\xa1\5hello"
KIB = 1 << 10


async def raw_producer(router: RunningRouter) -> RawClient:
    """One that may send."""
    client: RawClient = await router.dial(RawClient())
    await client.greeted()
    client.say(attach(SENDER))
    await client.hears(FLOW)
    return client


async def raw_consumer(router: RunningRouter, credit: int = 1) -> RawClient:
    """One that has given credit."""
    client: RawClient = await router.dial(RawClient())
    await client.greeted()
    client.say(attach(RECEIVER), flow(credit))
    await client.hears(ATTACH)
    await wait_until(lambda: any(address.free >= credit for address in router.used.values()))
    return client


async def gone(router: RunningRouter, client: RawClient, others: int) -> None:
    """It vanishes, and the router knows."""
    client.abort()
    await wait_until(lambda: len(router.connections) == others)


async def takes_all(router: RunningRouter, consumer: Receiver) -> None:
    """As many messages as it has credit for still pass."""
    producer = await router.sender("x")
    credit, before = consumer.credit, len(consumer.messages)
    for _ in range(credit):
        await producer.credited()
        producer.send(MESSAGE)
    await consumer.count(before + credit)


@pytest.mark.parametrize("settled", [False, True])
@ensureDeferred
async def test_a_producer_vanishes_after_any_byte_of_a_message(router: RunningRouter, settled: bool) -> None:
    consumer = await router.receiver("x", credit=10)
    pieces = [
        transfer(0, part, more=number < 2, settled=settled)
        for number, part in enumerate([MESSAGE[:3], MESSAGE[3:7], MESSAGE[7:]])
    ]
    data = b"".join(pieces)
    for cut in range(0, len(data), 9):
        producer = await raw_producer(router)
        producer.say(data[:cut])
        await quiet(consumer)
        await gone(router, producer, others=1)
        await quiet(consumer)
        assert (consumer.messages, consumer.aborted, router.core.in_flight()) == ([], [], 0)
    producer = await raw_producer(router)
    producer.say(data)
    received = await consumer.next()
    assert received.data == MESSAGE
    await gone(router, producer, others=1)
    await wait_until(lambda: received.settled)
    await takes_all(router, consumer)


@ensureDeferred
async def test_a_producer_vanishes_after_any_frame_of_a_long_message(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=20)
    for frames in range(1, 12):
        producer = await raw_producer(router)
        producer.say(*(transfer(0, bytes(16 * KIB), more=True) for _ in range(frames)))
        producer.say(transfer(0, bytes(16 * KIB), more=True)[: 16 * KIB // frames])
        await quiet(consumer)
        if frames * 16 >= 96:
            await wait_until(lambda: consumer.coming)
        begun = len(consumer.aborted) + bool(consumer.coming)
        await gone(router, producer, others=1)
        await wait_until(lambda begun=begun: len(consumer.aborted) == begun)  # type: ignore[misc]
        await quiet(consumer)
        assert (consumer.messages, router.core.in_flight()) == ([], 0)
    assert consumer.aborted
    await takes_all(router, consumer)


@ensureDeferred
async def test_a_consumer_vanishes_after_any_byte_of_its_answer(router: RunningRouter) -> None:
    producer = await router.sender("x")
    answer = disposition(0, 0)
    for cut in [*range(0, len(answer), 4), len(answer)]:
        consumer = await raw_consumer(router)
        await producer.credited()
        sent = producer.send(MESSAGE)
        await consumer.hears(TRANSFER)
        consumer.say(answer[:cut])
        if cut == len(answer):
            assert await sent.over() == ACCEPTED
        else:
            await quiet(producer)
            consumer.abort()
            assert await sent.over() == LOST
        await gone(router, consumer, others=1)
        assert router.core.in_flight() == 0


@pytest.mark.parametrize("others", [0, 1])
@ensureDeferred
async def test_a_consumer_vanishes_before_it_has_given_credit(router: RunningRouter, others: int) -> None:
    """What waits goes to another consumer, or back."""
    producer, consumer = await ahead(router, 1)
    sent = producer.send(MESSAGE)
    await quiet(producer)
    assert not sent.settled
    remaining = [await router.receiver("x") for _ in range(others)]
    consumer.client.abort()
    for other in remaining:
        other.flow(1)
        (await other.next()).accept()
    assert await sent.over() == (ACCEPTED if others else RELEASED)


@pytest.mark.parametrize("state", [ACCEPTED, State("rejected"), State("received", section=(1, 0)), RELEASED])
@ensureDeferred
async def test_a_consumer_vanishes_that_has_said_something_and_not_settled(router: RunningRouter, state: State) -> None:
    """It may have seen the message, so it is not sent again, and ends as any other that was lost."""
    consumer = await router.receiver("x", credit=1)
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.send(MESSAGE)
    (await consumer.next()).update(state)
    await wait_until(lambda: sent.state == state)
    other = await router.receiver("x", credit=1)
    consumer.client.abort()
    assert await sent.over() == LOST
    await quiet(other, producer)
    assert not other.messages


@pytest.mark.parametrize("leave", ["abort", "close", "detach"])
@ensureDeferred
async def test_what_could_not_be_sent_to_the_only_consumer_goes_back_when_that_vanishes(
    router: RunningRouter, leave: str
) -> None:
    client = await router.client(max_frame=16 * KIB)
    stuck = await client.receiver("x", credit=100, session=client.new_session(window=64 * KIB))
    stuck.reading = False
    producer = await router.sender("x")
    await producer.credited()
    sent = [producer.send(bytes(10_000)) for _ in range(10)]
    await quiet(producer, client)
    getattr(client if leave == "abort" else stuck, leave)()
    outcomes = [await each.over() for each in sent]
    assert set(outcomes) == {LOST, RELEASED}
    assert outcomes == sorted(outcomes, key=lambda outcome: outcome == RELEASED)


@ensureDeferred
async def test_both_ends_vanish_together(router: RunningRouter) -> None:
    for _ in range(5):
        consumer = await raw_consumer(router)
        producer = await raw_producer(router)
        producer.say(transfer(0), transfer(1, bytes(100), more=True))
        await consumer.hears(TRANSFER)
        producer.abort()
        consumer.abort()
        await wait_until(lambda: not router.connections)
        assert not router.used
