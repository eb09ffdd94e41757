"""Temporary addresses: made for one link that asks for one, known to whoever is told, and gone with that link."""

from __future__ import annotations

import re
from random import Random

import pytest
from pytest_twisted import ensureDeferred

from tests.net.clients import DYNAMIC
from tests.net.links import ACCEPTED, RELEASED, Receiver, Sender
from tests.net.processes import RouterProcess
from tests.net.routers import RunningRouter, message, quiet, relay
from tests.net.waiting import wait_until

TEMPORARY = re.compile(r"amqp:/_topo/0/r1/temp\.[A-Za-z0-9]{15}")
LEAVE = ["detach", "close the link", "end the session", "close", "abort"]


async def leave(router: RunningRouter, link: Receiver | Sender, how: str) -> None:
    """Have a link go, and wait until the router knows."""
    client, connections = link.client, len(router.connections)
    if how == "detach":
        link.detach()
    elif how == "close the link":
        link.close()
    elif how == "end the session":
        link.link.session.close()
        client.flush()
    elif how == "close":
        client.close()
    else:
        client.abort()
    if how in ("close", "abort"):
        await wait_until(lambda: len(router.connections) < connections)
    else:
        await quiet(link)


# -- made --------------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_consumer_can_ask_for_an_address(router: RunningRouter) -> None:
    consumer = await router.receiver(DYNAMIC, credit=10, takes=ACCEPTED)
    assert TEMPORARY.fullmatch(consumer.address)
    assert consumer.link.remote_source.dynamic
    producer = await router.sender(consumer.address)
    await producer.credited()
    assert await producer.send(message("by its target")).over() == ACCEPTED
    anonymous = await relay(router)
    assert await anonymous.send(message("by its to", address=consumer.address)).over() == ACCEPTED
    assert consumer.bodies == ["by its target", "by its to"]


@ensureDeferred
async def test_temporary_addresses_differ(router: RunningRouter) -> None:
    client = await router.client()
    addresses = {(await client.receiver(DYNAMIC)).address for _ in range(20)}
    assert len(addresses) == 20


@ensureDeferred
async def test_a_reply_finds_the_temporary_address_of_its_request(router: RunningRouter) -> None:
    server = await router.receiver("service", credit=10)
    answers = await relay(router)
    asks = await router.client()
    replies = await asks.receiver(DYNAMIC, credit=1, takes=ACCEPTED)
    producer = await asks.sender("service")
    await producer.credited()
    request = producer.send(message("what?", reply_to=replies.address, correlation_id="1"))
    asked = await server.next()
    asked.accept()
    reply = message("that", address=asked.message.reply_to, correlation_id=asked.message.correlation_id)
    assert await answers.send(reply).over() == ACCEPTED
    assert await request.over() == ACCEPTED
    assert replies.bodies == ["that"]


@ensureDeferred
async def test_a_producer_can_ask_for_an_address(router: RunningRouter) -> None:
    """As JMS clients make a temporary queue: whoever is told the address attaches to it."""
    producer = await router.sender(DYNAMIC)
    assert TEMPORARY.fullmatch(producer.address)
    assert producer.link.remote_target.dynamic
    consumer = await router.receiver(producer.address, credit=10, takes=ACCEPTED)
    await producer.credited()
    assert await producer.send(message("its own")).over() == ACCEPTED
    assert await (await relay(router)).send(message("by its to", address=producer.address)).over() == ACCEPTED
    assert consumer.bodies == ["its own", "by its to"]


@ensureDeferred
async def test_a_temporary_address_cannot_be_guessed(router: RunningRouter) -> None:
    """At each place of its name there may be any letter or digit: that makes 89 bits, and they come from `secrets`."""
    client = await router.client()
    names = [(await client.receiver(DYNAMIC)).address[-15:] for _ in range(200)]
    for place in range(15):
        assert len({name[place] for name in names}) > 40


@ensureDeferred
async def test_what_only_looks_like_a_temporary_address_is_an_address_like_others(router: RunningRouter) -> None:
    consumer = await router.receiver("temp.AAAAAAAAAAAAAAA", credit=1, takes=ACCEPTED)
    producer = await router.sender("temp.AAAAAAAAAAAAAAA")
    await producer.credited()
    assert await producer.send(message()).over() == ACCEPTED
    assert len(consumer.messages) == 1


# -- gone --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", LEAVE)
@ensureDeferred
async def test_what_is_sent_to_a_temporary_address_that_is_gone_is_released(router: RunningRouter, how: str) -> None:
    consumer = await router.receiver(DYNAMIC, credit=10, takes=ACCEPTED)
    address = consumer.address
    producer, anonymous = await router.sender(address), await relay(router)
    await producer.credited()
    await leave(router, consumer, how)
    assert await producer.send(message()).over() == RELEASED
    assert await anonymous.send(message(address=address)).over() == RELEASED
    assert not consumer.messages


@ensureDeferred
async def test_what_waits_at_a_temporary_address_that_goes_is_released(router: RunningRouter) -> None:
    consumer = await router.receiver(DYNAMIC)
    anonymous = await relay(router)
    sent = anonymous.send(message(address=consumer.address))
    await quiet(anonymous)
    assert not sent.settled
    consumer.close()
    assert await sent.over() == RELEASED


@pytest.mark.parametrize("how", LEAVE)
@ensureDeferred
async def test_other_consumers_of_a_temporary_address_go_with_it(router: RunningRouter, how: str) -> None:
    made = await router.sender(DYNAMIC)
    consumer = await router.receiver(made.address, credit=10)
    neighbour = await made.client.receiver(made.address, credit=10, session=made.client.new_session())
    await leave(router, made, how)
    await wait_until(lambda: consumer.closed)
    assert consumer.error is not None
    assert consumer.error.name == "amqp:resource-deleted"
    assert consumer.error.description == f"the temporary address {made.address[-20:]} is gone: its link has ended"
    if how in ("detach", "close the link", "end the session"):
        await wait_until(lambda: neighbour.closed)
    assert await (await relay(router)).send(message(address=made.address)).over() == RELEASED


@ensureDeferred
async def test_a_temporary_address_stays_while_others_come_and_go(router: RunningRouter) -> None:
    made = await router.receiver(DYNAMIC, credit=10, takes=ACCEPTED)
    for _ in range(3):
        other = await router.receiver(made.address)
        await leave(router, other, "close the link")
    assert await (await relay(router)).send(message(address=made.address)).over() == ACCEPTED


@pytest.mark.parametrize("address", ["amqp:/_topo/0/r2/temp.AAAAAAAAAAAAAAA", "_topo/0/r2/x", "amqp:/_topo/0/r2/x"])
@ensureDeferred
async def test_an_address_of_an_unknown_router_is_nobodys(router: RunningRouter, address: str) -> None:
    await router.receiver("x", credit=10)
    assert await (await relay(router)).send(message(address=address)).over() == RELEASED
    producer = await router.sender(address)
    assert producer.open
    assert producer.credit == 0


# -- many --------------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_ten_thousand_live_reply_addresses(process: RouterProcess) -> None:
    before = process.resident()
    clients = [await process.client(f"asks{number}") for number in range(4)]
    started = process.cpu()
    receivers: list[Receiver] = []
    for client in clients:
        for _ in range(10):
            session = client.new_session()
            receivers += [client.attach_receiver(DYNAMIC, credit=1, session=session) for _ in range(250)]
            await receivers[-1].attached()
    for client in clients:
        await client.sync()
    addresses = [receiver.address for receiver in receivers]
    assert len(set(addresses)) == 10_000
    assert process.cpu() - started < 5
    assert process.resident() - before < 10_000 * 8_192

    anonymous = await (await process.client("answers")).sender(None)
    chosen = Random(1).sample(range(10_000), 1_000)
    for number in chosen:
        await anonymous.credited()
        anonymous.send(message(number, address=addresses[number]), presettled=True)
    await wait_until(lambda: all(receivers[number].messages for number in chosen))
    assert [receivers[number].bodies for number in chosen] == [[number] for number in chosen]
