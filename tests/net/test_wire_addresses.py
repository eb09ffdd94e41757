"""Addresses, as clients see them: spelling, whose distribution is whose, anonymous producers."""

from __future__ import annotations

import proton
import pytest
from pytest_twisted import ensureDeferred

from tests.net.clients import COORDINATOR
from tests.net.conftest import Start
from tests.net.links import ACCEPTED, RELEASED
from tests.net.routers import RunningRouter, message, quiet, relay
from tests.net.waiting import wait_until

# -- one address, several spellings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["x", "/x", "amqp:/x", "amqp://localhost:5672/x", "amqps://localhost/x"])
@ensureDeferred
async def test_spellings_of_one_address(router: RunningRouter, spelling: str) -> None:
    consumer = await router.receiver("x", credit=2, takes=ACCEPTED)
    producer = await router.sender(spelling)
    anonymous = await relay(router)
    await producer.credited()
    assert await producer.send(message("by its target")).over() == ACCEPTED
    assert await anonymous.send(message("by its to", address=spelling)).over() == ACCEPTED
    assert consumer.bodies == ["by its target", "by its to"]


@pytest.mark.parametrize("spelling", ["amqp:x", "//x", "x/", "X", "_local/x"])
@ensureDeferred
async def test_what_only_resembles_an_address_is_another(router: RunningRouter, spelling: str) -> None:
    consumer = await router.receiver("x", credit=2)
    other = await router.receiver(spelling, credit=2, takes=ACCEPTED)
    anonymous = await relay(router)
    assert await anonymous.send(message(address=spelling)).over() == ACCEPTED
    await quiet(anonymous, consumer)
    assert (len(consumer.messages), len(other.messages)) == (0, 1)


@ensureDeferred
async def test_an_address_of_this_router_by_its_topological_name(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=2, takes=ACCEPTED)
    producer = await router.sender("amqp:/_topo/0/r1/x")
    await producer.credited()
    assert await producer.send(message()).over() == ACCEPTED
    assert len(consumer.messages) == 1


@ensureDeferred
async def test_a_local_address(router: RunningRouter) -> None:
    consumer = await router.receiver("_local/x", credit=1, takes=ACCEPTED)
    producer = await router.sender("amqp:/_local/x")
    await producer.credited()
    assert await producer.send(message()).over() == ACCEPTED
    assert len(consumer.messages) == 1


@pytest.mark.parametrize(
    ("address", "condition"),
    [
        ("$management/x", "amqp:not-found"),
        ("amqp:/$management/x", "amqp:not-found"),
        ("_topo/0/r1/$management/x", "amqp:not-found"),
        ("/", "amqp:invalid-field"),
        ("amqp://localhost:5672", "amqp:invalid-field"),
        ("x" * 3000, "amqp:invalid-field"),
    ],
)
@ensureDeferred
async def test_an_address_that_cannot_be_had(router: RunningRouter, address: str, condition: str) -> None:
    client = await router.client()
    links = [await client.sender(address), await client.receiver(address)]
    for link in links:
        await wait_until(lambda: link.closed)
        assert link.error is not None
        assert link.error.name == condition
    assert await client.receiver("x")


@ensureDeferred
async def test_a_refused_link_has_a_null_terminus(router: RunningRouter) -> None:
    client = await router.client()
    producer, consumer = await client.sender("$management/x"), await client.receiver("$management/x")
    await wait_until(lambda: producer.closed and consumer.closed)
    assert producer.link.remote_target.type == proton.Terminus.UNSPECIFIED
    assert consumer.link.remote_source.type == proton.Terminus.UNSPECIFIED


@ensureDeferred
async def test_a_source_without_an_address_is_refused(router: RunningRouter) -> None:
    consumer = await router.receiver(None, credit=1)
    await wait_until(lambda: consumer.closed)
    assert consumer.error is not None
    assert consumer.error.name == "amqp:invalid-field"


@ensureDeferred
async def test_there_are_no_transactions(router: RunningRouter) -> None:
    client = await router.client()
    coordinator = await client.sender(COORDINATOR)
    await wait_until(lambda: coordinator.closed)
    assert coordinator.error is not None
    assert coordinator.error.name == "amqp:not-implemented"
    consumer = await client.receiver("x", credit=1, takes=ACCEPTED)
    producer = await client.sender("x")
    assert await producer.send(message()).over() == ACCEPTED
    assert len(consumer.messages) == 1


# -- which distribution an address has ---------------------------------------------------------------------------------


async def shares(router: RunningRouter, address: str) -> tuple[int, int]:
    """Who gets eight messages that come one by one: a busy consumer, which settles none, and an idle one, which settles
    each at once and is of three times the capacity. This tells the three policies from each other."""
    busy = await router.receiver(address, credit=100, properties={"capacity": 1})
    idle = await router.receiver(address, credit=100, properties={"capacity": 3}, takes=ACCEPTED)
    producer = await router.sender(address)
    await producer.credited(8)
    for number in range(1, 9):
        sent = producer.send(message())
        await wait_until(lambda: len(busy.messages) + len(idle.messages) == number)
        await wait_until(lambda: sent.settled or len(busy.unsettled) == len(busy.messages) > 0)
        await quiet(idle, producer)
    return len(busy.messages), len(idle.messages)


PULL, ROUND_ROBIN, WEIGHTED = (1, 7), (4, 4), (2, 6)


def rules(**addresses: str) -> list[dict[str, str]]:
    return [{"pattern": pattern, "distribution": policy} for pattern, policy in addresses.items()]


@ensureDeferred
async def test_an_address_that_nothing_is_configured_for_has_the_default(start: Start) -> None:
    router = await start()
    assert await shares(router, "x") == PULL
    router = await start(router={"default_distribution": "round-robin"})
    assert await shares(router, "x") == ROUND_ROBIN


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a", WEIGHTED),
        ("a/b", WEIGHTED),
        ("a.b", WEIGHTED),
        ("a/b/c.d", WEIGHTED),
        ("amqp:/a/b", WEIGHTED),
        ("ab", PULL),
        ("ab/c", PULL),
        ("b/a", PULL),
        ("A", PULL),
    ],
)
@ensureDeferred
async def test_a_prefix_ends_at_a_token(start: Start, address: str, expected: tuple[int, int]) -> None:
    router = await start(address=[{"prefix": "a", "distribution": "weighted"}])
    assert await shares(router, address) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a/b", ROUND_ROBIN),
        ("a.b", ROUND_ROBIN),
        ("a/b/c", WEIGHTED),
        ("a", WEIGHTED),
        ("a/b.c/d", WEIGHTED),
        ("b/a", PULL),
        ("x/y/z", ROUND_ROBIN),
        ("x/z", ROUND_ROBIN),
        ("x/y", PULL),
    ],
)
@ensureDeferred
async def test_one_token_or_any_number(start: Start, address: str, expected: tuple[int, int]) -> None:
    router = await start(address=rules(**{"a/*": "round-robin", "a/#": "weighted", "x/#/z": "round-robin"}))
    assert await shares(router, address) == expected


@pytest.mark.parametrize(
    ("address", "expected"), [("a/b/c", ROUND_ROBIN), ("a/x/c", WEIGHTED), ("a/x/y", PULL), ("a/b/y", PULL)]
)
@ensureDeferred
async def test_a_literal_goes_before_one_token_and_that_before_any(
    start: Start, address: str, expected: tuple[int, int]
) -> None:
    router = await start(address=rules(**{"a/#": "pull", "a/*/c": "weighted", "a/b/c": "round-robin"}))
    assert await shares(router, address) == expected


# -- anonymous producers -----------------------------------------------------------------------------------------------


@ensureDeferred
async def test_each_message_of_an_anonymous_producer_says_where_it_goes(router: RunningRouter) -> None:
    first = await router.receiver("first", credit=10, takes=ACCEPTED)
    second = await router.receiver("second", credit=10, takes=ACCEPTED)
    producer = await relay(router)
    sent = [producer.send(message(to, address=to)) for to in ["first", "second", "/first", "amqp:/second"]]
    assert [await each.over() for each in sent] == [ACCEPTED] * 4
    assert first.bodies == ["first", "/first"]
    assert second.bodies == ["second", "amqp:/second"]


@pytest.mark.parametrize("fields", [{}, {"address": "nobody"}, {"address": "//"}, {"address": "$management/x"}])
@ensureDeferred
async def test_an_anonymous_message_to_nobody_is_released(router: RunningRouter, fields: dict[str, str]) -> None:
    producer = await relay(router)
    assert await producer.send(message(**fields)).over() == RELEASED


@ensureDeferred
async def test_the_to_is_found_behind_other_sections(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=1, takes=ACCEPTED)
    producer = await relay(router)
    sent = message(
        address="x",
        ttl=60,
        priority=7,
        id="an id",
        user_id=b"somebody",
        instructions={proton.symbol("x-opt-instruction"): "i" * 5000},
        annotations={proton.symbol("x-opt-annotation"): list(range(1000))},
    )
    assert await producer.send(sent).over() == ACCEPTED
    assert consumer.messages[0].data == sent.encode()


@ensureDeferred
async def test_one_anonymous_message_that_waits_does_not_stop_another(router: RunningRouter) -> None:
    slow = await router.receiver("slow")
    quick = await router.receiver("quick", credit=10, takes=ACCEPTED)
    producer = await relay(router)
    waits = producer.send(message(address="slow"))
    sent = [producer.send(message(address="quick")) for _ in range(3)]
    assert [await each.over() for each in sent] == [ACCEPTED] * 3
    assert not waits.settled
    slow.flow(1)
    (await slow.next()).accept()
    assert await waits.over() == ACCEPTED
    assert len(quick.messages) == 3


@ensureDeferred
async def test_messages_of_one_anonymous_producer_for_one_consumer_keep_their_order(router: RunningRouter) -> None:
    slow = await router.receiver("slow")
    other = await router.receiver("other", credit=100, takes=ACCEPTED)
    producer = await relay(router)
    for number in range(20):
        producer.send(message(number, address="slow"))
        producer.send(message(number, address="other"))
    await other.count(20)
    slow.flow(7)
    await slow.count(7)
    slow.flow(100)
    await slow.count(20)
    assert slow.bodies == other.bodies == list(range(20))
