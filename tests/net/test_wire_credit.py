"""Credit, as clients see it: who may send how much, and who gets it."""

from __future__ import annotations

import pytest
from pytest_twisted import ensureDeferred

from tests.net.conftest import Start
from tests.net.links import ACCEPTED, RELEASED, Receiver, Sender
from tests.net.routers import RunningRouter, ahead, quiet
from tests.net.waiting import wait_until
from txrouter.core.credit import BACKLOG

LINK_CAPACITY = 250


async def send(producer: Sender, messages: int) -> None:
    """Send as credit allows, until all are with the router."""
    for _ in range(messages):
        await producer.credited()
        producer.send(b"\0Sw\xa1\5hello")


def shares(*consumers: Receiver) -> list[int]:
    return [len(consumer.messages) for consumer in consumers]


# -- what a producer is granted ----------------------------------------------------------------------------------------


@ensureDeferred
async def test_without_a_consumer_a_producer_attaches_and_has_no_credit(router: RunningRouter) -> None:
    producer = await router.sender("x")
    await quiet(producer)
    assert producer.open
    assert producer.credit == 0


@ensureDeferred
async def test_the_first_consumer_brings_credit(router: RunningRouter) -> None:
    producer = await router.sender("x")
    await quiet(producer)
    consumer = await router.receiver("x", credit=20)
    await quiet(consumer, producer)
    assert producer.credit == 20


@ensureDeferred
async def test_a_consumer_without_credit_lets_a_producer_send_a_few_ahead(router: RunningRouter) -> None:
    consumer = await router.receiver("x")
    producer = await router.sender("x")
    await quiet(producer, consumer)
    assert producer.credit == BACKLOG


@ensureDeferred
async def test_no_producer_is_granted_more_than_the_link_capacity(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=100_000)
    producer = await router.sender("x")
    await quiet(producer, consumer)
    assert producer.credit == LINK_CAPACITY


@ensureDeferred
async def test_the_link_capacity_is_configured(start: Start) -> None:
    router = await start(limits={"link_capacity": 3})
    await router.receiver("x", credit=100)
    for address in "x", None:
        producer = await router.sender(address)
        await quiet(producer)
        assert producer.credit == 3


@ensureDeferred
async def test_an_idle_producer_keeps_no_credit_from_others(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=10, takes=ACCEPTED)
    idle, busy = await router.sender("x"), await router.sender("x")
    await quiet(idle, busy)
    assert idle.credit == busy.credit == 10
    await send(busy, 10)
    await consumer.count(10)


@ensureDeferred
async def test_an_anonymous_producer_has_credit_at_once(router: RunningRouter) -> None:
    producer = await router.sender(None)
    await quiet(producer)
    assert producer.credit == LINK_CAPACITY


@ensureDeferred
async def test_an_anonymous_producer_gets_the_credit_of_released_messages_back(router: RunningRouter) -> None:
    producer = await router.sender(None)
    await producer.credited()
    sent = [producer.send(b"\0Sw\xa1\5hello") for _ in range(LINK_CAPACITY)]
    assert [await each.over() for each in sent] == [RELEASED] * LINK_CAPACITY
    await producer.credited(LINK_CAPACITY // 2 + 1)


@pytest.mark.parametrize("presettled", [False, True])
@ensureDeferred
async def test_credit_comes_back_when_messages_leave_and_not_when_they_are_settled(
    router: RunningRouter, presettled: bool
) -> None:
    consumer = await router.receiver("x", credit=1000)
    producer = await router.sender("x")
    for _ in range(900):
        await producer.credited()
        producer.send(b"\0Sw\xa1\5hello", presettled=presettled)
    await consumer.count(900)
    assert len(consumer.unsettled) == (0 if presettled else 900)


# -- when consumers leave ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["detach", "close", "abort"])
@ensureDeferred
async def test_when_the_last_consumer_leaves_credit_is_asked_back(router: RunningRouter, leave: str) -> None:
    consumer = await router.receiver("x", credit=100)
    producer = await router.sender("x")
    await producer.credited()
    assert not producer.drain_asked
    if leave == "abort":
        consumer.client.abort()
    else:
        getattr(consumer, leave)()
    await wait_until(lambda: producer.drain_asked)
    assert producer.drained() == 100
    await quiet(producer)
    assert producer.credit == 0


@ensureDeferred
async def test_what_a_producer_still_sends_when_the_last_consumer_has_left_is_released(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=100)
    producer = await router.sender("x")
    await producer.credited()
    consumer.close()
    await wait_until(lambda: producer.drain_asked)
    sent = [producer.send(b"\0Sw\xa1\5hello") for _ in range(3)]
    assert [await each.over() for each in sent] == [RELEASED] * 3
    assert not consumer.messages


@pytest.mark.parametrize("drained", [True, False])
@ensureDeferred
async def test_a_new_consumer_brings_credit_again(router: RunningRouter, drained: bool) -> None:
    first = await router.receiver("x", credit=10)
    producer = await router.sender("x")
    await producer.credited()
    first.close()
    await wait_until(lambda: producer.drain_asked)
    if drained:
        producer.drained()
        await quiet(producer)
    second = await router.receiver("x", credit=10, takes=ACCEPTED)
    await quiet(second, producer)
    assert producer.credit == 10
    await send(producer, 10)
    await second.count(10)


@ensureDeferred
async def test_as_long_as_a_consumer_is_left_no_credit_is_asked_back(router: RunningRouter) -> None:
    leaves, stays = await router.receiver("x", credit=10), await router.receiver("x", credit=10)
    producer = await router.sender("x")
    await producer.credited()
    leaves.close()
    await quiet(leaves, producer)
    assert not producer.drain_asked
    await send(producer, 10)
    await stays.count(10)


# -- who gets a message ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["pull", "round-robin", "weighted"])
@ensureDeferred
async def test_a_consumer_of_credit_1_that_never_settles_gets_one(start: Start, policy: str) -> None:
    router = await start(router={"default_distribution": policy})
    stuck = await router.receiver("x", credit=1)
    healthy = await router.receiver("x", credit=250)
    producer = await router.sender("x")
    await send(producer, 20)
    await quiet(producer, healthy, stuck)
    assert shares(stuck, healthy) == [1, 19]


@pytest.mark.parametrize("policy", ["pull", "round-robin", "weighted"])
@ensureDeferred
async def test_a_consumer_without_credit_gets_nothing_and_stops_nobody(start: Start, policy: str) -> None:
    router = await start(router={"default_distribution": policy})
    stuck = await router.receiver("x")
    healthy = await router.receiver("x", credit=10, takes=ACCEPTED)
    producer = await router.sender("x")
    for hundred in range(1, 4):
        for _ in range(10):
            await send(producer, 10)
            await healthy.count(len(healthy.messages) + 1)
            healthy.flow(10)
        await wait_until(lambda: len(healthy.messages) == hundred * 100)
    assert not stuck.messages


@pytest.mark.parametrize("policy", ["pull", "round-robin", "weighted"])
@ensureDeferred
async def test_messages_wait_for_credit_and_go_to_whoever_gives_some(start: Start, policy: str) -> None:
    router = await start(router={"default_distribution": policy})
    producer, first = await ahead(router, 8)
    second = await router.receiver("x")
    await send(producer, 8)
    await quiet(producer, first, second)
    assert shares(first, second) == [0, 0]
    second.flow(3)
    await second.count(3)
    first.flow(100)
    await first.count(5)
    await quiet(first, second, producer)
    assert shares(first, second) == [5, 3]


@ensureDeferred
async def test_messages_that_waited_come_in_the_order_they_were_sent(router: RunningRouter) -> None:
    producer, consumer = await ahead(router, 8)
    sent = [b"\0Sw\xa1\1%d" % number for number in range(8)]
    for each in sent:
        producer.send(each)
    await quiet(producer)
    consumer.flow(3)
    await consumer.count(3)
    consumer.flow(100)
    await consumer.count(8)
    assert [each.data for each in consumer.messages] == sent


@ensureDeferred
async def test_messages_keep_their_order_from_a_producer_to_a_consumer(router: RunningRouter) -> None:
    consumers = [await router.receiver("x", credit=40, takes=ACCEPTED) for _ in range(3)]
    producers = [await router.sender("x") for _ in range(2)]
    for number in range(50):
        for producer in producers:
            await producer.credited()
            producer.send(b"\0Sw\xa0\2" + bytes((producers.index(producer), number)))
    await wait_until(lambda: sum(shares(*consumers)) == 100)
    for consumer in consumers:
        for producer_number in 0, 1:
            numbers = [each.data[-1] for each in consumer.messages if each.data[-2] == producer_number]
            assert numbers == sorted(numbers)


# -- what a consumer grants --------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_consumer_that_drains_gets_what_there_is_and_is_left_without_credit(router: RunningRouter) -> None:
    producer, consumer = await ahead(router, 6)
    await send(producer, 5)
    await quiet(producer)
    consumer.drain(100)
    await wait_until(lambda: not consumer.credit)
    assert len(consumer.messages) == 5
    await send(producer, 1)
    await quiet(producer, consumer)
    assert len(consumer.messages) == 5


@ensureDeferred
async def test_a_consumer_that_drains_with_nothing_to_get_is_left_without_credit(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=10)
    consumer.drain()
    await wait_until(lambda: not consumer.credit)
    assert not consumer.messages


@ensureDeferred
async def test_a_consumer_can_be_granted_more_after_it_drained(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=10, takes=ACCEPTED)
    producer = await router.sender("x")
    consumer.drain()
    await wait_until(lambda: not consumer.credit)
    consumer.link.drain_mode = False
    consumer.flow(2)
    await send(producer, 3)
    await quiet(producer, consumer)
    assert len(consumer.messages) == 2


@ensureDeferred
async def test_one_consumer_that_drains_takes_nothing_from_another(router: RunningRouter) -> None:
    drains, other = await router.receiver("x", credit=10), await router.receiver("x", credit=10)
    producer = await router.sender("x")
    drains.drain()
    await wait_until(lambda: not drains.credit)
    await send(producer, 10)
    await other.count(10)
    assert not drains.messages


# -- limits ------------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_however_much_a_consumer_grants_what_it_has_in_flight_is_bounded(start: Start) -> None:
    router = await start(limits={"max_in_flight": 30})
    greedy = await router.receiver("x", credit=100_000)
    producer = await router.sender("x")
    await send(producer, 30)
    await quiet(producer, greedy)
    assert len(greedy.messages) == 30
    assert producer.credit == 0
    for received in greedy.messages[:3]:
        received.accept()
    await send(producer, 3)
    await greedy.count(33)
    await quiet(producer, greedy)
    assert len(greedy.messages) == 33


@ensureDeferred
async def test_a_greedy_consumer_takes_no_more_than_its_bound_from_another(start: Start) -> None:
    router = await start(limits={"max_in_flight": 30}, router={"default_distribution": "round-robin"})
    greedy = await router.receiver("x", credit=100_000)
    healthy = await router.receiver("x", credit=1000, takes=ACCEPTED)
    producer = await router.sender("x")
    await send(producer, 300)
    await healthy.count(270)
    assert shares(greedy, healthy) == [30, 270]


@ensureDeferred
async def test_the_largest_credit_there_is_counts_as_much(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=(1 << 31) - 1, takes=ACCEPTED)
    consumer.flow((1 << 31) - 1)
    producer = await router.sender("x")
    await send(producer, 300)
    await consumer.count(300)


@ensureDeferred
async def test_presettled_messages_are_not_in_flight(start: Start) -> None:
    router = await start(limits={"max_in_flight": 1})
    consumer = await router.receiver("x", credit=1000)
    producer = await router.sender("x")
    for _ in range(50):
        await producer.credited()
        producer.send(b"\0Sw\xa1\5hello", presettled=True)
    await consumer.count(50)


@ensureDeferred
async def test_how_many_unsettled_messages_a_producer_may_have_is_bounded(start: Start) -> None:
    router = await start(limits={"max_unsettled": 40})
    consumer = await router.receiver("x", credit=1000)
    producer = await router.sender("x")
    await send(producer, 40)
    await quiet(producer, consumer)
    assert len(consumer.messages) == 40
    assert producer.credit == 0
    for received in consumer.messages:
        received.accept()
    await producer.credited(40)


@ensureDeferred
async def test_another_producer_is_not_bound_by_what_one_leaves_unsettled(start: Start) -> None:
    router = await start(limits={"max_unsettled": 40})
    consumer = await router.receiver("x", credit=1000)
    first, second = await router.sender("x"), await router.sender("x")
    await send(first, 40)
    await send(second, 40)
    await consumer.count(80)
