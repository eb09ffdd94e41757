"""What becomes of a message, as its producer and its consumers see it."""

from __future__ import annotations

import proton
import pytest
from pytest_twisted import ensureDeferred

from tests.net import frames
from tests.net.conftest import Start
from tests.net.links import ACCEPTED, LOST, RELEASED, SETTLED, Error, Received, Receiver, Sender, Sent, State
from tests.net.raw import RawClient
from tests.net.routers import RunningRouter, ahead, quiet
from tests.net.waiting import wait_until

MESSAGE = b"\0Sw\xa1\5hello"
REFUSED = State(
    "rejected", error=Error("app:no-such-thing", "there is no such thing", {proton.symbol("tried"): [1, "two"]})
)
ANNOTATED = State("modified", annotations={proton.symbol("x-opt-tried"): "twice"})
RECEIVED = State("received", section=(2, 77))
FINAL = [ACCEPTED, REFUSED, State("rejected"), LOST, ANNOTATED, State("modified")]
"""What is not offered to another consumer."""
ELSEWHERE = State("modified", undeliverable=True)
FAILED_ELSEWHERE = State("modified", failed=True, undeliverable=True)


async def pair(router: RunningRouter, *, credit: int = 10, **options: int) -> tuple[Sender, Receiver]:
    """A producer with credit, and its consumer."""
    consumer = await router.receiver("x", credit=credit, **options)
    producer = await router.sender("x", **options)
    await producer.credited()
    return producer, consumer


async def in_flight(router: RunningRouter) -> tuple[Sender, Receiver, Sent, Received]:
    """The same, and a message that the consumer has and has not settled."""
    producer, consumer = await pair(router)
    sent = producer.send(MESSAGE)
    return producer, consumer, sent, await consumer.next()


# -- the consumer's outcome is the producer's --------------------------------------------------------------------------


@pytest.mark.parametrize("state", [*FINAL, SETTLED, RECEIVED])
@ensureDeferred
async def test_any_outcome_reaches_the_producer_with_its_fields(router: RunningRouter, state: State) -> None:
    _, _, sent, received = await in_flight(router)
    received.settle(state)
    assert await sent.over() == state


@pytest.mark.parametrize("state", [RELEASED, ELSEWHERE, FAILED_ELSEWHERE])
@ensureDeferred
async def test_what_the_only_consumer_gives_back_goes_back_to_the_producer(router: RunningRouter, state: State) -> None:
    _, _, sent, received = await in_flight(router)
    received.settle(state)
    assert await sent.over() == state


@ensureDeferred
async def test_outcomes_may_come_in_another_order_than_the_messages(router: RunningRouter) -> None:
    producer, consumer = await pair(router)
    sent = [producer.send(MESSAGE) for _ in range(5)]
    await consumer.count(5)
    for number in 3, 0, 4, 1, 2:
        consumer.messages[number].settle(State("rejected", error=Error(f"app:{number}")))
        assert await sent[number].over() == State("rejected", error=Error(f"app:{number}"))


@pytest.mark.parametrize("presettled", [False, True])
@ensureDeferred
async def test_a_message_passes_unchanged(router: RunningRouter, presettled: bool) -> None:
    producer, consumer = await pair(router)
    message = proton.Message(
        {"a": [1, 2.5, None]},
        durable=True,
        priority=9,
        ttl=600,
        first_acquirer=True,
        delivery_count=3,
        id="an id",
        subject="s",
        instructions={proton.symbol("x-opt-a"): 1},
        annotations={proton.symbol("x-opt-b"): "two"},
        properties={"p": "q"},
    )
    producer.send(message, presettled=presettled)
    received = await consumer.next()
    assert received.data == message.encode()
    assert received.settled == presettled


@pytest.mark.parametrize("data", [b"", b"\0", b"no message at all", bytes(range(256)) * 100])
@ensureDeferred
async def test_what_need_not_be_read_may_be_anything(router: RunningRouter, data: bytes) -> None:
    producer, consumer = await pair(router)
    sent = producer.send(data)
    received = await consumer.next()
    assert received.data == data
    received.accept()
    assert await sent.over() == ACCEPTED


# -- either end may settle first ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [*FINAL, RECEIVED])
@ensureDeferred
async def test_a_state_is_passed_on_and_no_settlement_is_invented(router: RunningRouter, state: State) -> None:
    producer, consumer = await pair(router, settles=proton.Link.RCV_SECOND)
    sent = producer.send(MESSAGE)
    received = await consumer.next()
    received.update(state)
    await wait_until(lambda: sent.state == state)
    await quiet(producer, consumer)
    assert not sent.settled
    assert not received.settled
    sent.settle()
    await wait_until(lambda: received.settled)
    received.settle()
    await quiet(consumer, producer)


@ensureDeferred
async def test_a_producer_may_settle_before_its_consumer_has_said_anything(router: RunningRouter) -> None:
    producer, consumer, sent, received = await in_flight(router)
    sent.settle()
    await wait_until(lambda: received.settled)
    received.accept()
    await quiet(consumer, producer)
    assert router.core.in_flight() == 0


@pytest.mark.parametrize("state", [RELEASED, ELSEWHERE, FAILED_ELSEWHERE])
@ensureDeferred
async def test_what_is_given_back_without_settling_is_passed_on_where_nobody_else_is(
    router: RunningRouter, state: State
) -> None:
    producer, consumer = await pair(router, settles=proton.Link.RCV_SECOND)
    sent = producer.send(MESSAGE)
    received = await consumer.next()
    received.update(state)
    await wait_until(lambda: sent.state == state)
    await quiet(producer, consumer)
    assert not sent.settled
    sent.settle()
    await wait_until(lambda: received.settled)


@pytest.mark.parametrize("state", [ACCEPTED, REFUSED, LOST, RECEIVED])
@ensureDeferred
async def test_what_a_producer_says_is_passed_on_as_well(router: RunningRouter, state: State) -> None:
    producer, consumer = await pair(router, settles=proton.Link.RCV_SECOND)
    sent = producer.send(MESSAGE)
    received = await consumer.next()
    sent.update(state)
    await wait_until(lambda: received.state == state)
    await quiet(producer, consumer)
    assert not received.settled
    received.accept()
    assert await sent.over() == ACCEPTED


@pytest.mark.parametrize("state", [*FINAL, RELEASED])
@ensureDeferred
async def test_with_the_second_settle_mode_a_consumer_may_still_settle_first(
    router: RunningRouter, state: State
) -> None:
    producer, consumer = await pair(router, settles=proton.Link.RCV_SECOND)
    sent = producer.send(MESSAGE)
    (await consumer.next()).settle(state)
    assert await sent.over() == state
    await quiet(producer, consumer)
    assert router.core.in_flight() == 0


@ensureDeferred
async def test_states_one_after_the_other(router: RunningRouter) -> None:
    _, _, sent, received = await in_flight(router)
    for state in RECEIVED, State("received", section=(3, 0)), ANNOTATED, REFUSED:
        received.update(state)
        await wait_until(lambda state=state: sent.state == state)  # type: ignore[misc]
        assert not sent.settled
    received.settle()
    assert await sent.over() == REFUSED


@ensureDeferred
async def test_a_state_that_came_before_does_not_stand_for_the_last_one(router: RunningRouter) -> None:
    _, _, sent, received = await in_flight(router)
    received.update(State("received", section=(0, 5)))
    await wait_until(lambda: sent.state.name == "received")
    received.settle(REFUSED)
    assert await sent.over() == REFUSED


@ensureDeferred
async def test_the_settle_modes_that_a_client_asks_for_are_granted(router: RunningRouter) -> None:
    client = await router.client()
    second = await client.receiver("x", settles=proton.Link.RCV_SECOND)
    assert second.link.remote_rcv_settle_mode == proton.Link.RCV_SECOND
    for mode in proton.Link.SND_SETTLED, proton.Link.SND_UNSETTLED, proton.Link.SND_MIXED:
        producer = await client.sender("x", mode=mode)
        assert producer.link.remote_snd_settle_mode == mode


@ensureDeferred
async def test_a_consumer_is_not_promised_that_what_it_is_sent_will_be_settled(router: RunningRouter) -> None:
    client = await router.client()
    for mode in proton.Link.SND_SETTLED, proton.Link.SND_UNSETTLED, proton.Link.SND_MIXED:
        consumer = await client.receiver("x", mode=mode)
        assert consumer.link.remote_snd_settle_mode == proton.Link.SND_MIXED


# -- given back: another consumer has it -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [RELEASED, ELSEWHERE, FAILED_ELSEWHERE])
@ensureDeferred
async def test_what_a_consumer_gives_back_goes_to_one_that_has_not(router: RunningRouter, state: State) -> None:
    first = await router.receiver("x", credit=10)
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.send(MESSAGE)
    given_back = await first.next()
    second = await router.receiver("x", credit=10)
    given_back.settle(state)
    again = await second.next()
    assert again.data == MESSAGE
    assert not sent.settled
    again.accept()
    assert await sent.over() == ACCEPTED
    await quiet(first, producer)
    assert len(first.messages) == 1


@pytest.mark.parametrize(
    ("states", "name", "failed"),
    [
        ((RELEASED, RELEASED, RELEASED), "released", False),
        ((ELSEWHERE, ELSEWHERE, RELEASED), "released", False),
        ((RELEASED, RELEASED, ELSEWHERE), "modified", False),
        ((FAILED_ELSEWHERE, RELEASED, RELEASED), "modified", True),
        ((RELEASED, FAILED_ELSEWHERE, ELSEWHERE), "modified", True),
        ((FAILED_ELSEWHERE, RELEASED, REFUSED), "rejected", False),
    ],
)
@ensureDeferred
async def test_when_all_have_given_it_back_the_producer_has_it_back(
    router: RunningRouter, states: tuple[State, ...], name: str, failed: bool
) -> None:
    consumers = [await router.receiver("x", takes=state) for state in states]
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.send(MESSAGE)
    for consumer in consumers:
        await quiet(producer, *consumers)
        assert not sent.settled
        consumer.flow(10)
    outcome = await sent.over()
    assert (outcome.name, outcome.failed) == (name, failed)
    assert [len(consumer.messages) for consumer in consumers] == [1, 1, 1]


@ensureDeferred
async def test_a_given_back_message_waits_for_credit(router: RunningRouter) -> None:
    first = await router.receiver("x", credit=10, takes=RELEASED)
    second = await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.send(MESSAGE)
    await quiet(producer, first, second)
    assert not sent.settled
    second.flow(1)
    (await second.next()).accept()
    assert await sent.over() == ACCEPTED
    assert len(first.messages) == 1


@pytest.mark.parametrize("leave", ["close", "abort"])
@ensureDeferred
async def test_a_given_back_message_is_released_when_all_others_have_left(router: RunningRouter, leave: str) -> None:
    first = await router.receiver("x", credit=10, takes=RELEASED)
    second = await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.send(MESSAGE)
    await quiet(producer, first)
    assert not sent.settled
    getattr(second.client if leave == "abort" else second, leave)()
    assert await sent.over() == RELEASED


@ensureDeferred
async def test_a_newcomer_can_have_what_all_others_gave_back(router: RunningRouter) -> None:
    first = await router.receiver("x", credit=10, takes=RELEASED)
    await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.send(MESSAGE)
    await quiet(producer, first)
    newcomer = await router.receiver("x", credit=1, takes=ACCEPTED)
    assert await sent.over() == ACCEPTED
    assert len(newcomer.messages) == 1


@ensureDeferred
async def test_given_back_without_settling_it_goes_to_another_as_well(router: RunningRouter) -> None:
    first = await router.receiver("x", credit=10)
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.send(MESSAGE)
    given_back = await first.next()
    second = await router.receiver("x", credit=10, takes=ACCEPTED)
    given_back.update(RELEASED)
    assert await sent.over() == ACCEPTED
    assert len(second.messages) == 1
    await wait_until(lambda: given_back.settled)


@ensureDeferred
async def test_messages_behind_a_given_back_one_go_on(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=100)
    await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    first = producer.send(MESSAGE)
    (await consumer.next()).settle(RELEASED)
    for _ in range(20):
        await producer.credited()
        sent = producer.send(MESSAGE)
        (await consumer.next()).accept()
        assert await sent.over() == ACCEPTED
    assert not first.settled


# -- lost --------------------------------------------------------------------------------------------------------------


def leaves(link: Sender | Receiver, how: str) -> None:
    """A client goes, or its link."""
    if how == "end the session":
        link.link.session.close()
        link.client.flush()
        return
    client = link.client
    {"abort": client.abort, "close": client.close, "detach": link.detach, "close the link": link.close}[how]()


LEAVE = pytest.mark.parametrize("leave", ["abort", "close", "detach", "close the link", "end the session"])


@LEAVE
@ensureDeferred
async def test_what_a_lost_consumer_may_have_seen_is_never_sent_again(router: RunningRouter, leave: str) -> None:
    _, consumer, sent, _ = await in_flight(router)
    other = await router.receiver("x", credit=10)
    leaves(consumer, leave)
    assert await sent.over() == LOST
    await quiet(other)
    assert not other.messages


@pytest.mark.parametrize("leave", ["abort", "close"])
@ensureDeferred
async def test_what_waits_when_the_last_consumer_leaves_is_released(router: RunningRouter, leave: str) -> None:
    producer, consumer = await ahead(router, 5)
    sent = [producer.send(MESSAGE) for _ in range(5)]
    consumer.flow(2)
    await consumer.count(2)
    await quiet(producer)
    getattr(consumer.client if leave == "abort" else consumer, leave)()
    assert [await each.over() for each in sent] == [LOST, LOST, RELEASED, RELEASED, RELEASED]


@ensureDeferred
async def test_what_waits_when_one_consumer_leaves_goes_to_another(router: RunningRouter) -> None:
    producer, consumer = await ahead(router, 3)
    sent = [producer.send(MESSAGE) for _ in range(3)]
    consumer.flow(1)
    await consumer.count(1)
    other = await router.receiver("x", credit=10, takes=ACCEPTED)
    consumer.client.abort()
    assert [await each.over() for each in sent] == [LOST, ACCEPTED, ACCEPTED]
    assert len(other.messages) == 2


@pytest.mark.parametrize("leave", ["abort", "close", "detach"])
@ensureDeferred
async def test_what_was_not_sent_yet_goes_to_another_consumer(router: RunningRouter, leave: str) -> None:
    client = await router.client(max_frame=16_384)
    stuck = await client.receiver("x", credit=100, session=client.new_session(window=4 * 16_384))
    stuck.reading = False
    producer = await router.sender("x")
    await producer.credited()
    sent = [producer.send(b"%d" % number + bytes(10_000)) for number in range(10)]
    await quiet(producer, client)
    other = await router.receiver("x", credit=100, takes=ACCEPTED)
    getattr(client if leave == "abort" else stuck, leave)()
    outcomes = [await each.over() for each in sent]
    lost = outcomes.count(LOST)
    assert 0 < lost < 10
    assert outcomes == [LOST] * lost + [ACCEPTED] * (10 - lost)
    assert [int(each.data[:1]) for each in other.messages] == list(range(lost, 10))
    if leave != "abort":
        await client.sync()
        assert stuck.link.queued == lost


@pytest.mark.parametrize("leave", ["abort", "close", "close the link"])
@ensureDeferred
async def test_when_its_producer_is_lost_a_message_is_settled_for_its_consumer(
    router: RunningRouter, leave: str
) -> None:
    producer, consumer, _, received = await in_flight(router)
    {"abort": producer.client.abort, "close": producer.client.close, "close the link": producer.close}[leave]()
    await wait_until(lambda: received.settled)
    received.accept()
    await quiet(consumer)
    assert router.core.in_flight() == 0


@ensureDeferred
async def test_what_waits_when_its_producer_leaves_is_never_sent(router: RunningRouter) -> None:
    producer, consumer = await ahead(router, 3)
    for _ in range(3):
        producer.send(MESSAGE)
    await quiet(producer)
    producer.client.abort()
    await wait_until(lambda: len(router.connections) == 1)
    consumer.flow(10)
    await quiet(consumer)
    assert not consumer.messages


@ensureDeferred
async def test_presettled_messages_outlive_their_producer(router: RunningRouter) -> None:
    producer, consumer = await ahead(router, 5)
    for _ in range(5):
        producer.send(MESSAGE, presettled=True)
    producer.client.close()
    await producer.client.gone()
    consumer.flow(10)
    await consumer.count(5)


@ensureDeferred
async def test_a_presettled_message_that_nobody_is_left_for_is_dropped_and_counted(router: RunningRouter) -> None:
    producer, consumer = await pair(router)
    consumer.close()
    await quiet(consumer)
    producer.send(MESSAGE, presettled=True)
    await quiet(producer)
    assert router.core.counters["dropped"] == 1


@ensureDeferred
async def test_a_presettled_message_that_waits_for_nobody_is_dropped_and_counted(router: RunningRouter) -> None:
    consumer = await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    producer.send(MESSAGE, presettled=True)
    await quiet(producer)
    assert router.core.counters["dropped"] == 0
    consumer.close()
    await quiet(consumer)
    assert router.core.counters["dropped"] == 1


@ensureDeferred
async def test_an_anonymous_presettled_message_to_nobody_is_dropped_and_counted(router: RunningRouter) -> None:
    producer = await router.sender(None)
    await producer.credited()
    producer.send(proton.Message("hello", address="nobody"), presettled=True)
    await quiet(producer)
    assert router.core.counters["dropped"] == 1


# -- what the router refuses -------------------------------------------------------------------------------------------


def rejected(state: State, condition: str) -> bool:
    """Whether the router said so, and told people why."""
    if state.name != "rejected" or state.error is None or state.error.name != condition:
        return False
    return " " in (state.error.description or "")


@ensureDeferred
async def test_an_anonymous_message_that_cannot_be_read_is_rejected(router: RunningRouter) -> None:
    producer = await router.sender(None)
    await producer.credited()
    for data in b"no message at all", b"\0Ss\xc0\xff\xff", b"\0", b"\0Ss\xc0\5\3@@\x71\1":
        assert rejected(await producer.send(data).over(), "amqp:decode-error")
    assert producer.open


@ensureDeferred
async def test_a_message_that_has_to_wait_and_cannot_be_read_is_rejected(router: RunningRouter) -> None:
    producer, consumer = await pair(router, credit=1)
    taken, refused = producer.send(b"no message at all"), producer.send(b"no message at all")
    assert rejected(await refused.over(), "amqp:decode-error")
    (await consumer.next()).accept()
    assert await taken.over() == ACCEPTED


@ensureDeferred
async def test_a_message_that_waits_longer_than_its_time_to_live_is_rejected(router: RunningRouter) -> None:
    consumer = await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    short = producer.send(proton.Message("short", ttl=0.05))
    long = producer.send(proton.Message("long", ttl=60))
    assert rejected(await short.over(), "amqp:message-expired")
    consumer.flow(10)
    (await consumer.next()).accept()
    assert await long.over() == ACCEPTED
    assert consumer.bodies == ["long"]


@ensureDeferred
async def test_an_anonymous_message_that_waits_longer_than_its_time_to_live_is_rejected(router: RunningRouter) -> None:
    consumer = await router.receiver("x")
    producer = await router.sender(None)
    await producer.credited()
    assert rejected(await producer.send(proton.Message("short", address="x", ttl=0.05)).over(), "amqp:message-expired")
    consumer.flow(10)
    await quiet(consumer)
    assert not consumer.messages


@ensureDeferred
async def test_a_message_that_expires_behind_others_is_not_delivered(router: RunningRouter) -> None:
    producer, consumer = await ahead(router, 8)
    clock, _ = await ahead(router, 1, "clock")
    sent = [producer.send(proton.Message(number, ttl=0.05 if number % 2 else 0)) for number in range(8)]
    await quiet(producer)
    await clock.send(proton.Message("tick", ttl=0.05)).over()
    consumer.takes = ACCEPTED
    consumer.flow(10)
    for number, each in enumerate(sent):
        outcome = await each.over()
        assert rejected(outcome, "amqp:message-expired") if number % 2 else outcome == ACCEPTED
    assert consumer.bodies == [0, 2, 4, 6]


@ensureDeferred
async def test_an_absolute_expiry_time_is_nothing_to_the_router(router: RunningRouter) -> None:
    consumer = await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    message = proton.Message("hello", expiry_time=300.0)
    sent = producer.send(message)
    await quiet(producer)
    assert not sent.settled
    consumer.flow(1)
    (await consumer.next()).accept()
    assert await sent.over() == ACCEPTED


@ensureDeferred
async def test_a_time_to_live_counts_from_arrival_also_where_a_consumer_gave_the_message_back(
    router: RunningRouter,
) -> None:
    taker, other = await router.receiver("x", credit=1), await router.receiver("x")
    clock, _ = await ahead(router, 1, "clock")
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.send(proton.Message("hello", ttl=0.05))
    received = await taker.next()
    await clock.send(proton.Message("tick", ttl=0.06)).over()
    received.settle(RELEASED)
    assert rejected(await sent.over(), "amqp:message-expired")
    other.flow(1)
    await quiet(taker, other)
    assert not other.messages


@ensureDeferred
async def test_a_long_message_that_waits_longer_than_its_time_to_live_is_rejected(router: RunningRouter) -> None:
    """The rest of it, which comes later, is thrown away."""
    consumer = await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    message = proton.Message(bytes(200_000), ttl=0.05).encode()
    sent = producer.begin()
    sent.write(message[:100_000])
    await wait_until(lambda: rejected(sent.state, "amqp:message-expired"))
    sent.write(message[100_000:])
    sent.end()
    await sent.over()
    consumer.flow(1)
    producer.send(MESSAGE)
    assert (await consumer.next()).data == MESSAGE


@ensureDeferred
async def test_a_presettled_message_that_waits_longer_than_its_time_to_live_is_counted(router: RunningRouter) -> None:
    consumer = await router.receiver("x")
    producer = await router.sender("x")
    await producer.credited()
    producer.send(proton.Message("hello", ttl=0.05), presettled=True)
    await wait_until(lambda: router.core.counters["expired"])
    consumer.flow(1)
    await quiet(consumer)
    assert not consumer.messages
    assert router.core.counters["dropped"] == 1


@ensureDeferred
async def test_a_time_to_live_of_nothing_is_for_a_consumer_that_can_take_it_now(router: RunningRouter) -> None:
    producer, consumer = await pair(router, credit=1)
    now = b"\0Sp\xc0\x08\3@@p\0\0\0\0" + MESSAGE
    taken, late = producer.send(now), producer.send(now)
    assert rejected(await late.over(), "amqp:message-expired")
    (await consumer.next()).accept()
    assert await taken.over() == ACCEPTED


@ensureDeferred
async def test_a_message_in_flight_does_not_expire(router: RunningRouter) -> None:
    producer, consumer = await pair(router, credit=1)
    sent, clock = producer.send(proton.Message("hello", ttl=0.02)), producer.send(proton.Message("tick", ttl=0.05))
    received = await consumer.next()
    await clock.over()
    assert not sent.settled
    received.accept()
    assert await sent.over() == ACCEPTED


# -- tags --------------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_consumer_sees_tags_of_the_routers(router: RunningRouter) -> None:
    """However producers call their deliveries, also if two say the same: on a consumer's link no tag is there twice."""
    consumer: RawClient = await router.dial(RawClient())
    await consumer.greeted()
    consumer.say(frames.attach(frames.RECEIVER, "x"), frames.flow(10))
    for _ in range(2):
        producer = await router.dial(RawClient())
        await producer.greeted()
        producer.say(frames.attach(frames.SENDER, "x"))
        await producer.hears(frames.FLOW, 2)
        producer.say(frames.transfer(0, tag=b"the same"), frames.transfer(1, tag=b"another"))
    await consumer.hears(frames.TRANSFER, 4)
    tags = {frame.fields[2] for frame in consumer.heard(frames.TRANSFER)}
    assert len(tags) == 4
    assert all(len(tag) == 8 for tag in tags)
    assert not tags & {b"the same", b"another"}


# -- settled before its end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [ACCEPTED, RELEASED, SETTLED])
@ensureDeferred
async def test_a_consumer_may_have_had_enough_of_a_presettled_message(router: RunningRouter, state: State) -> None:
    """A long one, which it settles while it is still coming: it has been dropped, and is not in flight any less."""
    consumer = await router.receiver("x", credit=10)
    producer: RawClient = await router.dial(RawClient())
    await producer.greeted()
    producer.say(frames.attach(frames.SENDER, "x"))
    await producer.hears(frames.FLOW, 2)
    piece = bytes(30_000)
    producer.say(*(frames.transfer(0, piece, settled=True, more=True) for _ in range(4)))
    await wait_until(lambda: consumer.coming and len(consumer.coming.data) >= 90_000)
    assert consumer.coming is not None
    consumer.coming.settle(state)
    consumer.coming = None
    await quiet(consumer)
    assert router.core.counters["dropped"] == 1
    assert router.core.in_flight() == 0
    # the rest of it is thrown away, and what is behind it comes
    producer.say(frames.transfer(0, piece, settled=True), frames.transfer(1, MESSAGE, settled=True))
    assert (await consumer.next()).data == MESSAGE
    await quiet(consumer)
    assert router.core.counters["dropped"] == 1
    assert router.core.in_flight() == 0
    assert producer.heard(frames.DISPOSITION) == []


# -- policies that fail ------------------------------------------------------------------------------------------------

FAILING = ["raises", "returns_nonsense", "returns_one_that_left", "raises_in_every_facet", "returns_one_without_credit"]


@pytest.mark.parametrize("policy", FAILING)
@ensureDeferred
async def test_a_policy_that_fails_costs_nobody_a_message(start: Start, policy: str) -> None:
    router = await start(router={"default_distribution": f"tests.net.policies:{policy}"})
    left = await router.receiver("x", credit=10)
    consumers = [await router.receiver("x", credit=100, takes=ACCEPTED) for _ in range(2)]
    left.close()
    await quiet(left)
    producer = await router.sender("x")
    await producer.credited()
    sent = []
    for _ in range(50):
        await producer.credited()
        sent.append(producer.send(MESSAGE))
    assert [await each.over() for each in sent] == [ACCEPTED] * 50
    assert sum(len(each.messages) for each in consumers) == 50
    if policy != "returns_one_without_credit":
        assert router.core.counters["policy_errors"] >= 50
        router.forgiven.add("policy failed")


@ensureDeferred
async def test_a_policy_that_fails_is_no_matter_to_another_address(start: Start) -> None:
    router = await start(address=[{"pattern": "x", "distribution": "tests.net.policies:raises"}])
    producer, consumer = await router.sender("y"), await router.receiver("y", credit=1, takes=ACCEPTED)
    await producer.credited()
    assert await producer.send(MESSAGE).over() == ACCEPTED
    assert len(consumer.messages) == 1
    assert router.core.counters["policy_errors"] == 0
