"""Flow frames, as clients see them: what a consumer lowers, stops, drains and asks to hear again."""

from __future__ import annotations

import pytest
from pytest_twisted import ensureDeferred

from tests.net import frames
from tests.net.frames import END, FLOW, RECEIVER, TRANSFER
from tests.net.links import ACCEPTED, Sender
from tests.net.raw import RawClient
from tests.net.routers import RunningRouter, ahead, quiet
from tests.net.waiting import wait_until

BODY = b"\0Sw\xa0\1"
KIB = 1 << 10


async def raw(router: RunningRouter, *more: bytes) -> RawClient:
    """A consumer of `x`, by frames made by hand; `more` comes in one piece with its attach."""
    client: RawClient = await router.dial(RawClient())
    await client.greeted()
    client.say(frames.attach(RECEIVER, "x"), *more)
    return client


async def answered(client: RawClient) -> None:
    """Wait until the router has served, and answered, all that the client has said."""
    client.say(frames.begin(1), frames.end(1))
    await client.hears(END, len(client.heard(END)) + 1)


def flows(client: RawClient) -> list[tuple[int, int, bool]]:
    """What the router said of its side of the link: its delivery-count, its credit, and whether it drains."""
    of_the_link = [frame.fields for frame in client.heard(FLOW) if len(frame.fields) > 4]
    return [(fields[5], fields[6], fields[8]) for fields in of_the_link]


async def waiting(router: RunningRouter, *messages: bytes) -> Sender:
    """A producer whose messages are in the router, for want of credit."""
    producer, _ = await ahead(router, len(messages))
    for message in messages:
        producer.send(message)
    await quiet(producer)
    return producer


def numbered(count: int) -> list[bytes]:
    return [BODY + bytes((number,)) for number in range(count)]


def numbers(client: RawClient) -> list[int]:
    return [frame.payload[-1] for frame in client.heard(TRANSFER)]


# -- credit, drain and what there is, in every combination -------------------------------------------------------------


@pytest.mark.parametrize("available", [0, 1, 3, 5])
@pytest.mark.parametrize("credit", [0, 1, 3])
@pytest.mark.parametrize("drain", [False, True])
@ensureDeferred
async def test_a_consumer_gets_what_there_is_as_far_as_its_credit_goes(
    router: RunningRouter, credit: int, available: int, drain: bool
) -> None:
    await waiting(router, *numbered(available))
    client = await raw(router, frames.flow(credit, drain=drain))
    await answered(client)
    sent = min(credit, available)
    assert numbers(client) == list(range(sent))
    # what is left of the credit is given back, if that was asked for: the count is then as if it had been used
    assert flows(client) == ([(credit, 0, True)] if drain and sent < credit else [])


@pytest.mark.parametrize("available", [0, 1, 1 << 31])
@ensureDeferred
async def test_what_a_consumer_says_is_available_is_no_matter(router: RunningRouter, available: int) -> None:
    await waiting(router, *numbered(3))
    client = await raw(router, frames.flow(2, available=available))
    await answered(client)
    assert numbers(client) == [0, 1]


# -- drained -----------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_drain_asked_for_twice_at_once_is_answered_once(router: RunningRouter) -> None:
    client = await raw(router, frames.flow(5, drain=True), frames.flow(5, drain=True))
    await answered(client)
    assert flows(client) == [(5, 0, True)]


@ensureDeferred
async def test_each_drain_is_answered(router: RunningRouter) -> None:
    client = await raw(router)
    for number in range(1, 4):
        client.say(frames.flow(5, count=5 * (number - 1), drain=True))
        await answered(client)
        assert flows(client) == [(5 * each, 0, True) for each in range(1, number + 1)]


@ensureDeferred
async def test_a_drain_without_credit_has_nothing_to_give_back_and_harms_nothing(router: RunningRouter) -> None:
    client = await raw(router, frames.flow(5, drain=True))
    await answered(client)
    client.say(frames.flow(0, count=5, drain=True))
    await answered(client)
    assert flows(client) == [(5, 0, True)]
    producer = await router.sender("x")
    client.say(frames.flow(1, count=5))
    await producer.credited()
    producer.send(BODY + b"\0")
    await client.hears(TRANSFER)


@ensureDeferred
async def test_a_drain_that_is_taken_back_at_once_is_none(router: RunningRouter) -> None:
    client = await raw(router, frames.flow(5, drain=True), frames.flow(5))
    await answered(client)
    assert flows(client) == []
    producer = await router.sender("x")
    await producer.credited(5)
    for message in numbered(5):
        producer.send(message)
    await client.hears(TRANSFER, 5)


@pytest.mark.parametrize("drain", [False, True])
@ensureDeferred
async def test_credit_after_a_drain_is_used(router: RunningRouter, drain: bool) -> None:
    """Also with the flag still set: what has come in the meantime is there for it."""
    client = await raw(router, frames.flow(2, drain=True))
    await answered(client)
    producer = await router.sender("x")
    await producer.credited()
    for message in numbered(3):
        producer.send(message)
    await quiet(producer)
    assert numbers(client) == []
    client.say(frames.flow(2, count=2, drain=drain))
    await client.hears(TRANSFER, 2)
    await answered(client)
    assert numbers(client) == [0, 1]


@ensureDeferred
async def test_a_drain_brings_all_that_waits_even_where_it_is_too_much_to_send_at_once(router: RunningRouter) -> None:
    large = b"\0Su\xb0\0\0\xfa\0" + bytes(64_000)
    producer = await waiting(router, *[large] * 30)
    consumer = await router.receiver("x", takes=ACCEPTED)
    consumer.drain(100)
    await wait_until(lambda: not consumer.credit)
    assert len(consumer.messages) == 30
    await quiet(producer, consumer)
    assert not producer.unsettled


@ensureDeferred
async def test_a_drain_waits_for_a_consumer_that_reads_slowly(router: RunningRouter) -> None:
    """Its session's window is full: it has to take in what came before it gets the rest."""
    await waiting(router, *[b"\0Su\xb0\0\0\x27\x10" + bytes(10_000)] * 20)
    client = await router.client("slow", max_frame=1024)
    consumer = await client.receiver("x", session=client.new_session(window=16 * KIB))
    consumer.reading = False
    consumer.drain(50)
    await quiet(client)
    assert (consumer.credit, len(consumer.messages)) == (50, 0)
    consumer.read()
    await wait_until(lambda: not consumer.credit)
    assert len(consumer.messages) == 20


@ensureDeferred
async def test_a_drain_in_the_middle_of_a_message_brings_the_rest_and_what_is_behind(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=10)
    producer = await router.sender("x")
    await producer.credited(3)
    sent = producer.begin()
    sent.write(b"\0Su\xb0\0\1\x86\xa0" + bytes(90_000))
    await wait_until(lambda: consumer.coming)
    consumer.drain()
    await quiet(producer, consumer)
    assert consumer.credit == 10
    sent.write(bytes(10_000))
    sent.end()
    for message in numbered(2):
        producer.send(message)
    await wait_until(lambda: not consumer.credit)
    assert len(consumer.messages) == 3


# -- less credit, and none ---------------------------------------------------------------------------------------------


@ensureDeferred
async def test_credit_can_be_lowered(router: RunningRouter) -> None:
    client = await raw(router, frames.flow(10), frames.flow(2))
    producer = await router.sender("x")
    await producer.credited(3)
    for message in numbered(3):
        producer.send(message)
    await quiet(producer)
    await answered(client)
    assert numbers(client) == [0, 1]


@pytest.mark.parametrize("presettled", [False, True])
@ensureDeferred
async def test_credit_lowered_below_what_is_on_its_way_is_none(router: RunningRouter, presettled: bool) -> None:
    """The consumer cannot know of it yet: its delivery-count is that of before."""
    client = await raw(router, frames.flow(10))
    producer = await router.sender("x")
    await producer.credited(10)
    for message in numbered(4):
        producer.send(message, presettled=presettled)
    await client.hears(TRANSFER, 4)
    client.say(frames.flow(2, count=0))
    await answered(client)
    for message in numbered(3):
        producer.send(message, presettled=presettled)
    await quiet(producer)
    await answered(client)
    assert len(numbers(client)) == 4
    client.say(frames.flow(2, count=4))
    await client.hears(TRANSFER, 6)
    await answered(client)
    assert len(numbers(client)) == 6


@ensureDeferred
async def test_a_stop_holds_until_there_is_credit_again(router: RunningRouter) -> None:
    client = await raw(router, frames.flow(10))
    producer = await router.sender("x")
    await producer.credited(3)
    producer.send(BODY + b"\0")
    await client.hears(TRANSFER)
    client.say(frames.flow(0, count=1))
    await answered(client)
    for message in numbered(2):
        producer.send(message)
    await quiet(producer)
    await answered(client)
    assert len(numbers(client)) == 1
    client.say(frames.flow(10, count=1))
    await client.hears(TRANSFER, 3)


@ensureDeferred
async def test_what_one_consumer_stops_is_for_the_others(router: RunningRouter) -> None:
    client = await raw(router, frames.flow(10))
    other = await router.receiver("x", credit=5, takes=ACCEPTED)
    client.say(frames.flow(0))
    await answered(client)
    producer = await router.sender("x")
    await producer.credited(5)
    for message in numbered(5):
        producer.send(message)
    await other.count(5)
    assert numbers(client) == []


@pytest.mark.parametrize("before", [0, (1 << 31) - 1])
@ensureDeferred
async def test_as_much_credit_as_can_be_said(router: RunningRouter, before: int) -> None:
    client = await raw(router, *[frames.flow(before)] * bool(before))
    await answered(client)
    client.say(frames.flow((1 << 32) - 1))
    await answered(client)
    producer = await router.sender("x")
    for message in numbered(20):
        await producer.credited()
        producer.send(message)
    await client.hears(TRANSFER, 20)


@ensureDeferred
async def test_credit_step_by_step_brings_one_message_each(router: RunningRouter) -> None:
    await waiting(router, *numbered(20))
    client = await raw(router)
    for number in range(20):
        client.say(frames.flow(1, count=number))
        await client.hears(TRANSFER, number + 1)
        await answered(client)
        assert numbers(client) == list(range(number + 1))


# -- echo --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("credit", [0, 3])
@ensureDeferred
async def test_an_echo_that_a_consumer_asks_for_harms_nothing(router: RunningRouter, credit: int) -> None:
    await waiting(router, *numbered(5))
    client = await raw(router, frames.flow(credit, echo=True), frames.flow(credit, echo=True))
    await answered(client)
    assert numbers(client) == list(range(credit))


@ensureDeferred
async def test_a_drain_that_asks_for_an_echo_is_answered_once(router: RunningRouter) -> None:
    client = await raw(router, frames.flow(3, drain=True, echo=True))
    await answered(client)
    assert flows(client) == [(3, 0, True)]
