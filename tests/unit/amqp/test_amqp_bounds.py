"""What the consumers of a session may have in flight together."""

from __future__ import annotations

from typing import Any

from tests.unit.amqp.inmemory import Network, Receiver

LIMITS = {"max_in_flight": 100, "session_in_flight": 400}


def may_have(receiver: Receiver) -> int:
    """How many may be in flight to it."""
    name = receiver.link.name
    links: Any = receiver.client.router_end.links.values()
    [link] = [link for link in links if link.id.endswith(f"/{name.removeprefix('receiver-')}")]
    return int(link.max_in_flight)


def test_a_few_consumers_may_each_have_all_that_one_may() -> None:
    client = Network().client()
    session = client.session()
    consumers = [client.receiver(f"q{number}", session=session) for number in range(6)]
    assert [may_have(each) for each in consumers] == [1000] * 6


def test_of_many_consumers_each_may_have_a_few() -> None:
    client = Network().client()
    session = client.session()
    consumers = [client.receiver(f"q{number}", session=session) for number in range(100)]
    each = [may_have(consumer) for consumer in consumers]
    assert min(each) == 16
    assert sum(each) <= 10_000 + 100 * 16


def test_sessions_share_nothing() -> None:
    client = Network(**LIMITS).client()
    consumers = [client.receiver("q") for _ in range(5)]
    assert [may_have(each) for each in consumers] == [100] * 5


def test_who_detaches_leaves_its_share_to_the_next() -> None:
    client = Network(**LIMITS).client()
    session = client.session()
    first = client.receiver("q", session=session)
    second = client.receiver("q", session=session)
    first.closes()
    third = client.receiver("q", session=session)
    assert (may_have(second), may_have(third)) == (75, 81)


def test_no_more_is_sent_than_the_share() -> None:
    net = Network(max_in_flight=100, session_in_flight=40)
    consumer = net.client().receiver("q", credit=1000)
    producer = net.client().sender("q")
    while producer.credit:
        producer.sends(b"\0Sw\xa1\5hello")
    assert len(consumer.got) == may_have(consumer) == 16
