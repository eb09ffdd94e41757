"""A copy for every consumer of an address, over real sockets."""

from __future__ import annotations

from random import Random
from typing import Any

import proton
import pytest
from pytest_twisted import ensureDeferred

from tests.net.conftest import Start
from tests.net.links import ACCEPTED, LOST, RELEASED, Error, Receiver, Sender, State
from tests.net.routers import RunningRouter, quiet
from tests.net.waiting import wait_until

MESSAGE = b"\0Sw\xa1\5hello"
KIB, MIB = 1 << 10, 1 << 20
REFUSED = State(
    "rejected", error=Error("app:no-such-thing", "there is no such thing", {proton.symbol("tried"): [1, "two"]})
)
ANNOTATED = State("modified", annotations={proton.symbol("x-opt-tried"): "twice"})
ELSEWHERE = State("modified", undeliverable=True)


def long_message(size: int) -> bytes:
    return b"\0Su\xb0" + (size - 8).to_bytes(4, "big") + Random(size).randbytes(size - 8)


async def started(start: Start, **options: Any) -> RunningRouter:
    """A router where everything is multicast."""
    return await start(router={"default_distribution": "multicast", "default_options": options})


async def scene(
    start: Start, consumers: int = 2, credit: int = 10, takes: State | None = None, **options: Any
) -> tuple[RunningRouter, Sender, list[Receiver]]:
    """A producer and its consumers, each on a connection of its own."""
    router = await started(start, **options)
    receivers = [await router.receiver("x", credit=credit, takes=takes) for _ in range(consumers)]
    sender = await router.sender("x")
    await sender.credited()
    return router, sender, receivers


def in_flight(router: RunningRouter) -> list[int]:
    return [consumer.in_flight for consumer in router.core.addresses["x"].consumers]


# -- who gets what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("presettled", [False, True])
@pytest.mark.parametrize("data", [MESSAGE, b""])
@ensureDeferred
async def test_every_consumer_gets_the_message_unchanged(start: Start, data: bytes, presettled: bool) -> None:
    _, sender, receivers = await scene(start, consumers=3)
    sender.send(data, presettled=presettled)
    got = [await receiver.next() for receiver in receivers]
    assert [bytes(each.data) for each in got] == [data] * 3
    assert [each.settled for each in got] == [presettled] * 3


@ensureDeferred
async def test_links_of_one_connection_get_a_copy_each(start: Start) -> None:
    router = await started(start)
    client = await router.client()
    receivers = [await client.receiver("x", credit=1) for _ in range(3)]
    sender = await client.sender("x")
    await sender.credited()
    sent = sender.send(MESSAGE)
    for receiver in receivers:
        (await receiver.next()).accept()
    assert await sent.over() == ACCEPTED


@ensureDeferred
async def test_an_anonymous_producer_reaches_every_consumer(start: Start) -> None:
    _, first, receivers = await scene(start)
    sender = await first.client.sender(None)
    await sender.credited()
    sent = sender.send(proton.Message("hello", address="/x"))
    for receiver in receivers:
        (await receiver.next()).accept()
    assert await sent.over() == ACCEPTED


@ensureDeferred
async def test_messages_keep_their_order_for_each_consumer(start: Start) -> None:
    router, sender, receivers = await scene(start, consumers=3, credit=100, takes=ACCEPTED)
    for number in range(300):
        sender.send(proton.Message(number))
    for receiver in receivers:
        await receiver.count(100)
        receiver.flow(200)
    for receiver in receivers:
        await receiver.count(300)
        assert receiver.bodies == list(range(300))
    await quiet(sender, *receivers)
    assert in_flight(router) == [0, 0, 0]


# -- outcomes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (ACCEPTED, ACCEPTED, ACCEPTED),
        (ACCEPTED, REFUSED, REFUSED),
        (ACCEPTED, RELEASED, ACCEPTED),
        (ACCEPTED, ANNOTATED, ACCEPTED),
        (REFUSED, ANNOTATED, REFUSED),
        (ANNOTATED, RELEASED, ANNOTATED),
        (RELEASED, RELEASED, RELEASED),
        (ELSEWHERE, ELSEWHERE, ELSEWHERE),
        (LOST, ELSEWHERE, LOST),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
@ensureDeferred
async def test_the_producer_is_told_what_says_most_with_its_fields(
    start: Start, one: State, other: State, told: State, backwards: bool
) -> None:
    _, sender, receivers = await scene(start)
    sent = sender.send(MESSAGE)
    for receiver, state in zip(receivers, [other, one] if backwards else [one, other], strict=True):
        assert not sent.settled
        (await receiver.next()).settle(state)
        await quiet(receiver, sender)
    assert await sent.over() == told


@ensureDeferred
async def test_a_consumer_that_is_lost_does_not_take_away_what_another_accepted(start: Start) -> None:
    _, sender, (one, other) = await scene(start)
    sent = sender.send(MESSAGE)
    await one.next()
    one.client.abort()
    (await other.next()).accept()
    assert await sent.over() == ACCEPTED


@ensureDeferred
async def test_when_all_who_had_it_are_lost_it_is_modified(start: Start) -> None:
    _, sender, receivers = await scene(start)
    sent = sender.send(MESSAGE)
    for receiver in receivers:
        await receiver.next()
    for receiver in receivers:
        receiver.client.abort()
    assert await sent.over() == LOST


@ensureDeferred
async def test_a_producer_that_is_lost_settles_every_copy(start: Start) -> None:
    router, sender, receivers = await scene(start)
    sender.send(MESSAGE)
    got = [await receiver.next() for receiver in receivers]
    sender.client.abort()
    await wait_until(lambda: all(each.settled for each in got))
    assert in_flight(router) == [0, 0]


@ensureDeferred
async def test_consumers_that_leave_settling_to_the_producer_are_heard_together(start: Start) -> None:
    router = await started(start)
    receivers = [await router.receiver("x", credit=10, settles=proton.Link.RCV_SECOND) for _ in range(2)]
    sender = await router.sender("x", settles=proton.Link.RCV_SECOND)
    await sender.credited()
    sent = sender.send(MESSAGE)
    one, other = [await receiver.next() for receiver in receivers]
    one.update(ACCEPTED)
    await quiet(receivers[0], sender)
    assert sent.state.name == ""
    other.update(REFUSED)
    await wait_until(lambda: sent.state == REFUSED)
    assert not sent.settled
    sent.settle()
    await wait_until(lambda: one.settled and other.settled)


# -- consumers without credit ------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_message_waits_for_a_consumer_without_credit(start: Start) -> None:
    router, sender, receivers = await scene(start)
    full = await router.receiver("x", credit=0)
    sender.send(MESSAGE)
    await quiet(sender, *receivers)
    assert [len(each.messages) for each in receivers] == [0, 0]
    full.flow(1)
    for receiver in [*receivers, full]:
        assert (await receiver.next()).data == MESSAGE


@ensureDeferred
async def test_a_stuck_consumer_stalls_the_others_for_a_limited_time_once(start: Start) -> None:
    router, sender, receivers = await scene(start, takes=ACCEPTED, block_seconds=0.2)
    full = await router.receiver("x", credit=0)
    for _ in range(5):
        assert await sender.send(MESSAGE).over() == ACCEPTED
    assert [len(each.messages) for each in receivers] == [5, 5]
    assert full.messages == []
    assert router.core.counters["multicast_dropped"] == 5


@ensureDeferred
async def test_presettled_messages_pass_a_stuck_consumer_by_and_are_counted(start: Start) -> None:
    router, sender, receivers = await scene(start)
    await router.receiver("x", credit=0)
    for _ in range(5):
        sender.send(MESSAGE, presettled=True)
    for receiver in receivers:
        await receiver.count(5)
    assert router.core.counters["multicast_dropped"] == 5


@ensureDeferred
async def test_with_drop_a_consumer_gets_what_comes_while_it_has_credit(start: Start) -> None:
    router, sender, receivers = await scene(start, takes=ACCEPTED, when_full="drop")
    slow = await router.receiver("x", credit=1, takes=ACCEPTED)
    for number in range(5):
        assert await sender.send(proton.Message(number)).over() == ACCEPTED
    slow.flow(1)
    await quiet(slow)
    assert await sender.send(proton.Message(5)).over() == ACCEPTED
    await slow.count(2)
    assert slow.bodies == [0, 5]
    assert [len(each.messages) for each in receivers] == [6, 6]


@ensureDeferred
async def test_with_detach_a_consumer_that_has_no_credit_left_is_told_why_it_is_ended(start: Start) -> None:
    router, sender, receivers = await scene(start, takes=ACCEPTED, when_full="detach")
    slow = await router.receiver("x", credit=1, takes=ACCEPTED)
    for _ in range(2):
        assert await sender.send(MESSAGE).over() == ACCEPTED
    await wait_until(lambda: slow.closed)
    assert slow.error == Error(
        "amqp:resource-limit-exceeded", "no credit for a message that every consumer of the address gets"
    )
    assert len(slow.messages) == 1
    await wait_until(lambda: [len(each.messages) for each in receivers] == [2, 2])


# -- long messages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("presettled", [False, True])
@pytest.mark.parametrize("size", [base + more for base in (32 * KIB, 64 * KIB, 128 * KIB) for more in (-1, 0, 1)])
@ensureDeferred
async def test_a_message_of_any_size_reaches_all_unchanged(start: Start, size: int, presettled: bool) -> None:
    _, sender, receivers = await scene(start)
    data = long_message(size)
    sent = sender.send(data, presettled=presettled)
    for receiver in receivers:
        got = await receiver.next()
        assert got.data == data
        assert got.settled == presettled
        if not presettled:
            got.accept()
    if not presettled:
        assert await sent.over() == ACCEPTED


@ensureDeferred
async def test_a_long_message_begins_to_arrive_before_it_has_ended(start: Start) -> None:
    router, sender, receivers = await scene(start)
    sent = sender.begin()
    sent.write(long_message(100 * KIB))
    for receiver in receivers:
        await wait_until(lambda receiver=receiver: receiver.coming and len(receiver.coming.data) == 100 * KIB)  # type: ignore[misc]
    sent.write(b"the end")
    sent.end()
    for receiver in receivers:
        got = await receiver.next()
        assert got.data.endswith(b"the end")
        got.accept()
    assert await sent.over() == ACCEPTED
    assert in_flight(router) == [0, 0]


@ensureDeferred
async def test_small_messages_follow_a_long_one_in_order(start: Start) -> None:
    _, sender, receivers = await scene(start, takes=ACCEPTED)
    sizes = [MIB, 100, 200 * KIB, 10, 10]
    for size in sizes:
        sender.send(long_message(size))
    for receiver in receivers:
        await receiver.count(5)
        assert [len(each.data) for each in receiver.messages] == sizes


@ensureDeferred
async def test_a_long_message_that_is_aborted_is_aborted_for_all(start: Start) -> None:
    router, sender, receivers = await scene(start)
    sent = sender.begin()
    sent.write(long_message(100 * KIB))
    for receiver in receivers:
        await wait_until(lambda receiver=receiver: receiver.coming)  # type: ignore[misc]
    sent.abort()
    for receiver in receivers:
        await wait_until(lambda receiver=receiver: receiver.aborted)  # type: ignore[misc]
    assert in_flight(router) == [0, 0]
    sender.send(MESSAGE)
    for receiver in receivers:
        assert (await receiver.next()).data == MESSAGE


@ensureDeferred
async def test_a_consumer_lost_in_the_middle_does_not_stop_a_long_message(start: Start) -> None:
    _, sender, (one, other) = await scene(start)
    sent = sender.begin()
    sent.write(long_message(100 * KIB))
    await wait_until(lambda: one.coming and other.coming)
    one.client.abort()
    sent.write(b"the end")
    sent.end()
    got = await other.next()
    assert got.data.endswith(b"the end")
    got.accept()
    assert await sent.over() == ACCEPTED


@ensureDeferred
async def test_a_producer_lost_in_the_middle_aborts_a_long_message_for_all(start: Start) -> None:
    router, sender, receivers = await scene(start)
    sender.begin().write(long_message(100 * KIB))
    for receiver in receivers:
        await wait_until(lambda receiver=receiver: receiver.coming)  # type: ignore[misc]
    sender.client.abort()
    for receiver in receivers:
        await wait_until(lambda receiver=receiver: receiver.aborted)  # type: ignore[misc]
    assert in_flight(router) == [0, 0]


@ensureDeferred
async def test_a_consumer_that_has_enough_of_a_long_message_may_settle_early(start: Start) -> None:
    _, sender, (one, other) = await scene(start)
    sent = sender.begin()
    sent.write(long_message(100 * KIB))
    await wait_until(lambda: one.coming and other.coming)
    assert one.coming is not None
    one.coming.settle(REFUSED)
    sent.write(b"the end")
    sent.end()
    (await other.next()).accept()
    assert await sent.over() == REFUSED


@pytest.mark.parametrize("presettled", [False, True])
@pytest.mark.parametrize("when_full", ["auto", "detach"])
@ensureDeferred
async def test_a_consumer_that_does_not_take_the_rest_of_a_long_message_loses_its_copy(
    start: Start, when_full: str, presettled: bool
) -> None:
    router, sender, (other,) = await scene(start, consumers=1, when_full=when_full, block_seconds=0.3)
    client = await router.client()
    stuck = await client.receiver("x", credit=10, session=client.new_session(window=64 * KIB))
    stuck.reading = False
    data = long_message(2 * MIB)
    sent = sender.send(data, presettled=presettled)
    got = await other.next()
    assert got.data == data
    if not presettled:
        got.accept()
        assert await sent.over() == ACCEPTED
    assert router.core.counters["multicast_dropped"] == 1
    await quiet(client)
    assert len(router.core.addresses["x"].consumers) == (1 if when_full == "detach" else 2)
    stuck.read()
    await wait_until(lambda: stuck.aborted)
    await quiet(client)
    assert stuck.closed == (when_full == "detach")


@ensureDeferred
async def test_a_message_larger_than_allowed_is_rejected_and_aborted_for_all(start: Start) -> None:
    router = await start(router={"default_distribution": "multicast"}, limits={"max_message_size": 500 * KIB})
    receivers = [await router.receiver("x", credit=10) for _ in range(2)]
    sender = await router.sender("x")
    await sender.credited()
    sent = sender.begin()
    sent.write(long_message(400 * KIB))
    for receiver in receivers:
        await wait_until(lambda receiver=receiver: receiver.coming)  # type: ignore[misc]
    sent.write(bytes(200 * KIB))
    await wait_until(lambda: sender.closed)
    assert sender.error is not None
    assert sender.error.name == "amqp:link:message-size-exceeded"
    for receiver in receivers:
        await wait_until(lambda receiver=receiver: receiver.aborted)  # type: ignore[misc]


# -- many --------------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_thousand_consumers_get_one_copy_each(start: Start) -> None:
    router = await started(start)
    clients = [await router.client() for _ in range(10)]
    receivers = [await client.receiver("x", credit=5, takes=ACCEPTED) for client in clients for _ in range(100)]
    sender = await router.sender("x")
    await sender.credited()
    sent = sender.send(MESSAGE)
    assert await sent.over() == ACCEPTED
    assert [len(receiver.messages) for receiver in receivers] == [1] * 1000
