"""What the consumers of a session may have in flight together, and how much may be said of a link or a delivery."""

from __future__ import annotations

from typing import Any

import proton
import pytest

from tests.unit.amqp.inmemory import Network, Outcome, Receiver, Sender

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


# -- values ------------------------------------------------------------------------------------------------------------

MESSAGE = b"\0Sw\xa1\5hello"
ENOUGH = {f"x-opt-{number}": number for number in range(127)}
TOO_MANY = ENOUGH | {"x-opt-1000": 1000}
SAY = {
    "modified": lambda fields: Outcome("modified", undeliverable=True, annotations=fields),
    "rejected": lambda fields: Outcome("rejected", condition="x", description="y", info=fields),
}


def closed_for(link: Receiver | Sender) -> str:
    """The condition with which the router closes the connection of this one."""
    link.client.net.run()
    condition = link.client.connection.remote_condition
    return condition.name if condition is not None else ""


@pytest.mark.parametrize("kind", SAY)
def test_an_outcome_with_as_many_values_as_may_be_is_said_on(kind: str) -> None:
    net = Network()
    receiver = net.client().receiver("q", 1)
    sent = net.client().sender("q").sends(MESSAGE)
    outcome = SAY[kind](ENOUGH)
    receiver.next().settles(outcome)
    assert sent.outcome == outcome


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("kind", SAY)
def test_who_says_an_outcome_with_more_values_is_closed_and_none_is_said_on(kind: str, settled: bool) -> None:
    net = Network()
    receiver = net.client().receiver("q", 1)
    sent = net.client().sender("q").sends(MESSAGE)
    got = receiver.next()
    (got.settles if settled else got.updates)(SAY[kind](TOO_MANY))
    assert closed_for(receiver) == "amqp:resource-limit-exceeded"
    receiver.client.lose()
    assert sent.outcome is not None
    assert not sent.outcome.annotations
    assert not sent.outcome.info


def test_a_producer_that_says_a_state_with_more_values_is_closed_and_none_is_said_on() -> None:
    net = Network()
    receiver = net.client().receiver("q", 1)
    sender = net.client().sender("q")
    sender.sends(MESSAGE).settles(SAY["modified"](TOO_MANY))
    assert closed_for(sender) == "amqp:resource-limit-exceeded"
    assert Outcome.heard(receiver.next().delivery).annotations == {}
    assert [event for event, _ in net.reports] == ["values refused"]
    assert net.counters["excess_values"] == 1


def test_what_else_was_said_at_once_counts_without_its_fields() -> None:
    net = Network()
    receiver = net.client().receiver("q", 2)
    sender = net.client().sender("q")
    first, second = sender.sends(MESSAGE), sender.sends(MESSAGE)
    net.by_hand = True
    for got, fields in zip(list(receiver.got), (TOO_MANY, {"x": 1}), strict=True):
        got.settles(SAY["rejected"](fields))
    net.by_hand = False
    net.run()
    assert first.outcome == second.outcome == Outcome("rejected")


def test_a_link_with_more_properties_is_not_had() -> None:
    net = Network()
    client = net.client()
    receiver = client.receiver("q", properties={proton.symbol(key): each for key, each in TOO_MANY.items()})
    assert closed_for(receiver) == "amqp:resource-limit-exceeded"
    assert not net.router.addresses
    assert [event for event, _ in net.reports] == ["values refused"]
    assert net.counters["excess_values"] == 1


def test_a_link_with_as_many_properties_as_may_be_is_had() -> None:
    net = Network()
    client = net.client()
    client.receiver("q", properties={proton.symbol(key): each for key, each in ENOUGH.items()})
    assert net.address().consumers


def test_who_was_closed_gets_no_link_any_more() -> None:
    net = Network()
    client = net.client()
    session = client.session()
    net.by_hand = True
    client.receiver("q", session=session, properties={proton.symbol(key): each for key, each in TOO_MANY.items()})
    client.receiver("r", session=session)
    net.by_hand = False
    net.run()
    assert not net.router.addresses
