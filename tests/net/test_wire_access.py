"""What access rules and limits of connections refuse, as clients see it; and that nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import proton
import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.endpoints import clientFromString

from tests.net.clients import DYNAMIC, Client
from tests.net.conftest import Start
from tests.net.links import ACCEPTED, RELEASED, Link
from tests.net.routers import LOOPBACK, RunningRouter, quiet
from tests.net.waiting import reactor, wait_until

UNAUTHORIZED = "amqp:unauthorized-access"


async def refused(link: Link) -> tuple[str, str]:
    """What a link is refused for, once it is."""
    await wait_until(lambda: link.closed)
    assert link.error is not None
    return link.error.name, str(link.error.description)


def rule(*users: str, **keys: Any) -> dict[str, Any]:
    return {"users": list(users or ("*",)), **keys}


async def with_users(start: Start, passwords: Path, *rules: dict[str, Any]) -> tuple[RunningRouter, Client, Client]:
    """A router with these rules; alice, and bob."""
    listener = {"endpoint": LOOPBACK, "passwords": str(passwords), "plain_without_tls": True}
    router = await start(listener=[listener], access=list(rules))
    alice, bob = [await router.client(login=(name, "pencil")) for name in ("alice", "bob")]
    return router, alice, bob


@ensureDeferred
async def test_links_that_are_allowed_work_and_the_others_are_refused(start: Start, passwords: Path) -> None:
    rules = rule("alice", send=["jobs.*"]), rule("bob", receive=["jobs.*"])
    router, alice, bob = await with_users(start, passwords, *rules)
    assert await refused(await alice.receiver("jobs.a")) == (UNAUTHORIZED, "'alice' may not receive from jobs.a")
    assert await refused(await bob.sender("jobs.a")) == (UNAUTHORIZED, "'bob' may not send to jobs.a")
    assert await refused(await alice.sender("other")) == (UNAUTHORIZED, "'alice' may not send to other")
    consumer = await bob.receiver("jobs.a", credit=1, takes=ACCEPTED)
    producer = await alice.sender("jobs.a")
    await producer.credited()
    assert await producer.send(b"hello").over() == ACCEPTED
    assert len(consumer.messages) == 1
    assert router.core.counters["unauthorized_links"] == router.core.counters["refused_links"] == 3


@ensureDeferred
async def test_who_was_refused_what_and_why_is_reported(start: Start) -> None:
    router = await start(access=[rule("alice", send=["#"])])
    client = await router.client()
    await refused(await client.sender("x"))
    assert router.reports == [
        (
            "access refused",
            {
                "connection": "listener0/1",
                "host": "127.0.0.1",
                "user": "'anonymous'",
                "action": "send",
                "address": "x",
                "error": "no rule is for this user and listener",
            },
        )
    ]


@pytest.mark.parametrize("spelling", ["/x", "amqp:/x", "amqp://host/x", "amqp:/_topo/0/r1/x", "_topo/0/r1//x"])
@ensureDeferred
async def test_no_spelling_gets_around_a_rule(start: Start, spelling: str) -> None:
    router = await start(access=[rule(send=["y"], receive=["y"])])
    client = await router.client()
    assert (await refused(await client.sender(spelling)))[0] == UNAUTHORIZED
    assert (await refused(await client.receiver(spelling)))[0] == UNAUTHORIZED


@ensureDeferred
async def test_another_routers_address_is_allowed_by_what_it_is_there(start: Start) -> None:
    router = await start(access=[rule(send=["x"])])
    client = await router.client()
    assert (await client.sender("amqp:/_topo/0/r2/x")).open
    assert (await refused(await client.sender("amqp:/_topo/0/r2/y")))[0] == UNAUTHORIZED


@ensureDeferred
async def test_a_name_that_is_nothing_behind_the_routers_is_no_address(router: RunningRouter) -> None:
    client = await router.client()
    for link in (await client.sender("_topo/0/r1/"), await client.receiver("_topo/0/r1/")):
        assert (await refused(link))[0] == "amqp:invalid-field"


@ensureDeferred
async def test_an_address_with_the_users_name(start: Start, passwords: Path) -> None:
    _, alice, bob = await with_users(start, passwords, rule(receive=["reply/${user}/#"]))
    assert (await alice.receiver("reply/alice/1")).open
    assert (await refused(await bob.receiver("reply/alice/1")))[0] == UNAUTHORIZED
    assert (await refused(await bob.receiver("reply/${user}/1")))[0] == UNAUTHORIZED


@ensureDeferred
async def test_a_rule_for_another_listener_is_none(start: Start) -> None:
    router = await start(listener=[{"endpoint": LOOPBACK}] * 2, access=[rule(listener=1, send=["x"])])
    assert (await refused(await router.sender("x")))[0] == UNAUTHORIZED
    ports: list[Any] = await router.service.when_listening()
    router.port = ports[1].getHost().port
    assert (await router.sender("x")).open


# -- temporary addresses -----------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_temporary_address_has_to_be_allowed(start: Start, passwords: Path) -> None:
    _, alice, bob = await with_users(start, passwords, rule("alice", dynamic=True))
    assert (await alice.receiver(DYNAMIC)).open
    assert await refused(await bob.receiver(DYNAMIC)) == (UNAUTHORIZED, "'bob' may not have a temporary address")
    assert (await refused(await bob.sender(DYNAMIC)))[0] == UNAUTHORIZED


@ensureDeferred
async def test_an_answer_goes_to_a_temporary_address_without_a_rule(start: Start, passwords: Path) -> None:
    rules = rule("alice", dynamic=True), rule("bob", anonymous_producer=True)
    _, alice, bob = await with_users(start, passwords, *rules)
    consumer = await alice.receiver(DYNAMIC, credit=2, takes=ACCEPTED)
    producer, anonymous = await bob.sender(consumer.address), await bob.sender(None)
    await producer.credited()
    await anonymous.credited()
    assert await producer.send(b"hello").over() == ACCEPTED
    assert await anonymous.send(proton.Message("hello", address=consumer.address)).over() == ACCEPTED
    assert (await refused(await bob.receiver(consumer.address)))[0] == UNAUTHORIZED
    consumer.close()
    await quiet(alice, bob)
    assert await anonymous.send(proton.Message("hello", address=consumer.address)).over() == RELEASED


# -- anonymous producers -----------------------------------------------------------------------------------------------


@ensureDeferred
async def test_an_anonymous_producer_has_to_be_allowed(start: Start) -> None:
    router = await start(access=[rule(send=["#"])])
    assert await refused(await router.sender(None)) == (UNAUTHORIZED, "'anonymous' may not be an anonymous producer")


@pytest.mark.parametrize("size", [1, 200_000])
@ensureDeferred
async def test_each_message_of_an_anonymous_producer_is_allowed_by_its_to(start: Start, size: int) -> None:
    router = await start(access=[rule(send=["x", "z"], receive=["#"], anonymous_producer=True)])
    consumers = [await router.receiver(address, credit=10, takes=ACCEPTED) for address in "xy"]
    producer = await router.sender(None)
    await producer.credited()
    body = b"b" * size
    sent = [producer.send(proton.Message(body, address=to)) for to in ["x", "y", "_topo/0/r1/y", "x", "z", "nobody"]]
    outcomes = [await each.over() for each in sent]
    assert [each.name for each in outcomes] == ["accepted", "rejected", "rejected", "accepted", "released", "rejected"]
    error = outcomes[1].error
    assert error is not None
    assert (error.name, error.description) == (UNAUTHORIZED, "'anonymous' may not send to y")
    assert [len(each.messages) for each in consumers] == [2, 0]
    assert router.core.counters["unauthorized_messages"] == len(router.reports) == 3


@ensureDeferred
async def test_a_pre_settled_message_that_is_not_allowed_is_dropped_and_counted(start: Start) -> None:
    router = await start(access=[rule(send=["x"], receive=["#"], anonymous_producer=True)])
    consumer = await router.receiver("y", credit=10)
    producer = await router.sender(None)
    await producer.credited()
    producer.send(proton.Message("hello", address="y"), presettled=True)
    await quiet(producer, consumer)
    assert not consumer.messages
    assert router.core.counters["dropped"] == router.core.counters["unauthorized_messages"] == 1


@ensureDeferred
async def test_a_producer_that_is_refused_all_its_messages_does_not_run_out_of_credit(start: Start) -> None:
    router = await start(access=[rule(send=["x"], anonymous_producer=True)], limits={"link_capacity": 4})
    producer = await router.sender(None)
    for _ in range(20):
        await producer.credited()
        assert (await producer.send(proton.Message("hello", address="y")).over()).name == "rejected"


# -- capacity and priority ---------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_consumer_that_says_what_its_capacity_is_has_to_be_allowed_to(start: Start, passwords: Path) -> None:
    rules = rule(receive=["x"]), rule("alice", capacity=True)
    router, alice, bob = await with_users(start, passwords, *rules)
    assert (await alice.receiver("x", properties={"capacity": 5})).open
    assert await refused(await bob.receiver("x", properties={"capacity": 5})) == (
        UNAUTHORIZED,
        "'bob' may not set a capacity",
    )
    assert (await bob.receiver("x", properties={"colour": "red"})).open
    assert [each.capacity for each in router.core.addresses["x"].consumers] == [5, 1]
    assert router.core.counters["unauthorized_links"] == router.core.counters["refused_links"] == 1


@pytest.mark.parametrize("property", ["priority", "rabbitmq:priority"])
@ensureDeferred
async def test_a_consumer_that_says_what_its_priority_is_has_to_be_allowed_to(
    start: Start, passwords: Path, property: str
) -> None:
    rules = rule(receive=["x"]), rule("alice", priority=True)
    _, alice, bob = await with_users(start, passwords, *rules)
    assert (await alice.receiver("x", properties={property: 5})).open
    assert await refused(await bob.receiver("x", properties={property: 5})) == (
        UNAUTHORIZED,
        "'bob' may not set priorities",
    )


@ensureDeferred
async def test_without_rules_anybody_may_say_what_its_capacity_is(router: RunningRouter) -> None:
    assert (await router.receiver("x", properties={"capacity": 5})).open


@ensureDeferred
async def test_priorities_count_of_those_who_may_set_them(start: Start, passwords: Path) -> None:
    rules = rule(send=["x"], receive=["x"]), rule("alice", priority=True)
    listener = {"endpoint": LOOPBACK, "passwords": str(passwords), "plain_without_tls": True}
    address = {"pattern": "x", "distribution": "pull", "priority": True}
    router = await start(listener=[listener], access=list(rules), address=[address])
    alice, bob = [await router.client(login=(name, "pencil")) for name in ("alice", "bob")]
    consumer = await bob.receiver("x", credit=4)
    producers = [await each.sender("x") for each in (alice, bob)]
    for each in producers:
        await each.credited(2)
    consumer.drain()
    await wait_until(lambda: not consumer.credit)
    consumer.link.drain_mode = False
    for name, producer, priority in ("bob 9", 1, 9), ("alice 5", 0, 5), ("bob 0", 1, 0), ("alice 3", 0, 3):
        producers[producer].send(proton.Message(name, priority=priority))
        await quiet(producers[producer])
    consumer.flow(4)
    await consumer.count(4)
    assert consumer.bodies == ["alice 5", "bob 9", "bob 0", "alice 3"]
    assert [each.message.priority for each in consumer.messages] == [5, 9, 0, 3]
    assert router.core.counters["unauthorized_priorities"] == 2


# -- limits of connections ---------------------------------------------------------------------------------------------


async def closed_for(client: Client) -> tuple[str, str]:
    """What a connection is closed for, once it is."""
    await wait_until(lambda: client.closed)
    assert client.error is not None
    return client.error.name, str(client.error.description)


@ensureDeferred
async def test_a_user_has_so_many_connections_at_all_listeners_together(start: Start, passwords: Path) -> None:
    listener = {"endpoint": LOOPBACK, "passwords": str(passwords), "plain_without_tls": True}
    router = await start(listener=[listener] * 2, limits={"max_connections_per_user": 2})
    first = await router.client(login=("alice", "pencil"))
    ports: list[Any] = await router.service.when_listening()
    router.port = ports[1].getHost().port
    await router.client(login=("alice", "pencil"))
    third = await router.client(login=("alice", "pencil"))
    assert await closed_for(third) == ("amqp:resource-limit-exceeded", "more than 2 connections of one user")
    assert (await router.client(login=("bob", "pencil"))).open
    assert router.core.counters["refused_connections"] == 1
    about = {"connection": "listener1/2", "host": "127.0.0.1", "user": "'alice'"}
    assert router.reports == [
        ("connection refused", {**about, "error": "more than 2 connections of one user"}),
    ]
    await third.gone()
    first.abort()
    await wait_until(lambda: len(router.connections) == 2)
    fourth = await router.client(login=("alice", "pencil"))
    await fourth.sync()
    assert fourth.open


@ensureDeferred
async def test_a_host_has_so_many_connections(start: Start, passwords: Path) -> None:
    limits = {"max_connections_per_host": 1, "max_connections_per_user": 1}
    listener = {"endpoint": LOOPBACK, "passwords": str(passwords), "plain_without_tls": True}
    router = await start(listener=[listener], limits=limits)
    first = await router.client(login=("alice", "pencil"))
    second = await router.client(login=("bob", "pencil"))
    assert await closed_for(second) == ("amqp:resource-limit-exceeded", "more than 1 connections of one host")
    first.abort()
    await second.gone()
    await wait_until(lambda: not router.connections)
    third = await router.client(login=("bob", "pencil"))
    await third.sync()
    assert third.open


@ensureDeferred
async def test_clients_at_a_unix_socket_have_no_host(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    router = await start(listener=[{"endpoint": f"unix:{path}"}], limits={"max_connections_per_host": 1})
    for _ in range(2):
        client = await router.dial(Client("local"), clientFromString(reactor, f"unix:{path}"))
        await client.opened()
        await client.sync()
        assert client.open
