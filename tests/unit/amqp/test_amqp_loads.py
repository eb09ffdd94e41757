"""How much memory a connection is said to take."""

from __future__ import annotations

import pytest

from tests.unit.amqp.inmemory import Client, Network
from txrouter.amqp.loads import CONNECTION, DELIVERY, LINK, SESSION, load_of

KEPT = 20_000
"""Bytes of a message that is kept until it is settled."""
MESSAGE = b"\0Su\xb0" + (KEPT - 8).to_bytes(4, "big") + bytes(KEPT - 8)


def sent(client: Client) -> int:
    return load_of(client.router_end).sent


def own(client: Client) -> int:
    return load_of(client.router_end).own


def test_a_connection_takes_something_by_itself() -> None:
    client = Network().client()
    assert load_of(client.router_end) == (0, CONNECTION)


def test_sessions_and_links_take_something() -> None:
    client = Network().client()
    client.receiver("q")
    client.sender("q")
    assert own(client) == CONNECTION + 2 * (SESSION + LINK)


def test_what_is_not_read_yet_takes_what_it_has_and_is_its_producers() -> None:
    net = Network()
    producer, consumer = net.client(), net.client()
    consumer.receiver("q", credit=1)
    sender = producer.sender("q")
    before = own(producer)
    for _ in range(3):
        sender.sends(MESSAGE)
    assert own(producer) - before > 2 * KEPT
    assert sent(producer) > 3 * KEPT


@pytest.mark.parametrize("count", [1, 50])
def test_what_is_in_flight_goes_with_its_consumer_and_was_sent_by_its_producer(count: int) -> None:
    net = Network()
    producer, consumer = net.client(), net.client()
    consumer.receiver("q", credit=100)
    sender = producer.sender("q")
    before = load_of(producer.router_end), load_of(consumer.router_end)
    for _ in range(count):
        sender.sends(MESSAGE)
    assert sent(producer) - before[0].sent >= count * (KEPT + DELIVERY)
    assert own(consumer) - before[1].own >= count * (KEPT + DELIVERY)
    assert own(producer) == before[0].own


def test_what_a_client_does_not_read_is_its_own() -> None:
    net = Network()
    producer, consumer = net.client(), net.client()
    consumer.receiver("q", credit=100)
    sender = producer.sender("q")
    consumer.reads, consumer.wire.room = False, 1_000
    before = own(consumer)
    sender.sends(5 * MESSAGE, presettled=True)
    assert own(consumer) - before > 10_000


def test_when_all_is_settled_nothing_is_left_of_it() -> None:
    net = Network()
    producer, consumer = net.client(), net.client()
    receiver = consumer.receiver("q", credit=10)
    sender = producer.sender("q")
    before = load_of(producer.router_end), load_of(consumer.router_end)
    sender.sends(MESSAGE)
    receiver.next().settles()
    assert (load_of(producer.router_end), load_of(consumer.router_end)) == before
