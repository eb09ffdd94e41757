"""What an address can be configured to be, other than one with a policy of one's own."""

from __future__ import annotations

from collections import Counter

import proton
import pytest
from pytest_twisted import ensureDeferred

from tests.net.conftest import Start
from tests.net.links import ACCEPTED, Error, State
from tests.net.routers import RunningRouter, ahead, quiet


def of(*rules: tuple[str, str]) -> dict[str, object]:
    return {"address": [{"pattern": pattern, "distribution": distribution} for pattern, distribution in rules]}


# -- unavailable -------------------------------------------------------------------------------------------------------

NOT_AVAILABLE = Error("amqp:not-found", "secret/x is not available")


@pytest.fixture
def closed() -> dict[str, object]:
    return of(("secret/#", "unavailable"), ("secret/open", "pull"))


@ensureDeferred
async def test_nobody_may_attach_to_an_unavailable_address(start: Start, closed: dict[str, object]) -> None:
    router = await start(**closed)
    client = await router.client()
    consumer, producer = await client.receiver("secret/x"), await client.sender("secret/x")
    assert (consumer.closed, consumer.error) == (True, NOT_AVAILABLE)
    assert (producer.closed, producer.error) == (True, NOT_AVAILABLE)
    assert (await client.receiver("secret/open")).open


@ensureDeferred
async def test_an_anonymous_message_to_an_unavailable_address_is_rejected(
    start: Start, closed: dict[str, object]
) -> None:
    router = await start(**closed)
    producer = await router.sender(None)
    await producer.credited()
    sent = producer.send(proton.Message("hello", address="secret/x"))
    assert await sent.over() == State("rejected", error=NOT_AVAILABLE)
    assert router.core.counters["rejected"] == 1


# -- closest and balanced ----------------------------------------------------------------------------------------------


@ensureDeferred
async def test_closest_takes_turns_among_the_consumers_of_this_router(start: Start) -> None:
    router = await start(**of(("x", "closest")))
    consumers = [await router.receiver("x", credit=10, takes=ACCEPTED) for _ in range(3)]
    producer = await router.sender("x")
    for _ in range(9):
        await producer.credited()
        assert await producer.send(b"\0Sw\xa1\5hello").over() == ACCEPTED
    assert [len(each.messages) for each in consumers] == [3, 3, 3]


@ensureDeferred
async def test_closest_passes_over_a_consumer_without_credit(start: Start) -> None:
    router = await start(**of(("x", "closest")))
    full = await router.receiver("x", credit=0)
    ready = await router.receiver("x", credit=10, takes=ACCEPTED)
    producer = await router.sender("x")
    for _ in range(5):
        await producer.credited()
        assert await producer.send(b"\0Sw\xa1\5hello").over() == ACCEPTED
    assert (len(full.messages), len(ready.messages)) == (0, 5)


@ensureDeferred
async def test_balanced_sends_to_whom_has_least_in_flight(start: Start) -> None:
    router = await start(**of(("x", "balanced")))
    slow = await router.receiver("x", credit=50)
    quick = await router.receiver("x", credit=50, takes=ACCEPTED)
    producer = await router.sender("x")
    await producer.credited(20)
    for _ in range(20):
        producer.send(b"\0Sw\xa1\5hello")
        await quiet(producer, quick)
    assert Counter(slow=len(slow.messages), quick=len(quick.messages)) == {"slow": 1, "quick": 19}


# -- priority ----------------------------------------------------------------------------------------------------------


def prioritised(**more: object) -> dict[str, object]:
    return {"address": [{"pattern": "x", "distribution": "pull", "priority": True, **more}]}


@ensureDeferred
async def test_what_is_held_leaves_by_its_priority(start: Start) -> None:
    router = await start(**prioritised())
    producer, consumer = await ahead(router, 5)
    for priority in 4, 0, 9, 5, 9:
        producer.send(proton.Message(f"{priority}", priority=priority))
    await quiet(producer)
    consumer.flow(5)
    await consumer.count(5)
    assert consumer.bodies == ["9", "9", "5", "4", "0"]


@ensureDeferred
async def test_without_the_switch_what_is_held_leaves_as_it_came(router: RunningRouter) -> None:
    producer, consumer = await ahead(router, 3)
    for priority in 4, 0, 9:
        producer.send(proton.Message(f"{priority}", priority=priority))
    await quiet(producer)
    consumer.flow(3)
    await consumer.count(3)
    assert consumer.bodies == ["4", "0", "9"]


@ensureDeferred
async def test_a_multicast_address_can_hold_by_priority(start: Start) -> None:
    router = await start(**prioritised(distribution="multicast"))
    producer, consumer = await ahead(router, 3)
    other = await router.receiver("x", credit=9)
    for priority in 4, 0, 9:
        producer.send(proton.Message(f"{priority}", priority=priority))
    await quiet(producer)
    consumer.flow(3)
    for each in consumer, other:
        await each.count(3)
        assert each.bodies == ["9", "4", "0"]


# -- shadows -----------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_shadow_is_compared_and_what_came_of_it_is_reported_at_the_end(start: Start) -> None:
    shadow = {"distribution": "exclusive"}
    router = await start(address=[{"pattern": "x", "distribution": "round-robin", "shadow": shadow}])
    consumers = [await router.receiver("x", credit=10, takes=ACCEPTED) for _ in range(2)]
    producer = await router.sender("x")
    for _ in range(4):
        await producer.credited()
        assert await producer.send(b"\0Sw\xa1\5hello").over() == ACCEPTED
    assert [len(each.messages) for each in consumers] == [2, 2]
    beside = router.core.addresses["x"].shadow
    assert beside is not None
    assert [each["would_have_got"] for each in beside.report()["consumers"]] == [4, 0]  # type: ignore[attr-defined]
    await router.service.stopService()
    ((event, fields),) = router.reports
    assert (event, fields["distribution"], fields["decisions"], fields["differed"]) == ("shadow", "exclusive", 4, 2)
