"""Policies that read the messages they decide on: nothing else about a message changes for it."""

from __future__ import annotations

from typing import Any

import pytest
from proton import Message
from zope.interface import implementer

from tests.unit.amqp.inmemory import ACCEPTED, RELEASED, Network
from txrouter.amqp.sizes import KEEP, STREAM_FROM
from txrouter.interfaces import IDelivery, IDistributionPolicy, IDistributionPolicyFactory
from txrouter.policies.round_robin import Options, RoundRobin


class Reader(RoundRobin):
    """In turn; and it looks at what it is given, first."""

    seen: list[tuple[object, object]]

    def select(self, delivery: IDelivery) -> Any:
        self.seen.append((delivery.field("subject"), delivery.application_property("tier")))
        return super().select(delivery)


@implementer(IDistributionPolicyFactory)
class ReaderFactory:
    name = "reader"
    summary = "in turn"
    options = Options

    def __init__(self) -> None:
        self.seen: list[tuple[object, object]] = []

    def build(self, options: object, random: object) -> IDistributionPolicy:
        policy = Reader()
        policy.seen = self.seen
        return policy


def message(number: int, size: int = 10) -> bytes:
    return bytes(Message(b"." * size, subject=f"{number}", properties={"tier": "gold"}).encode())


@pytest.mark.parametrize("presettled", [False, True])
@pytest.mark.parametrize("size", [0, 10, 600, KEEP - 100, KEEP + 100, STREAM_FROM + 100, 300_000])
def test_messages_of_any_size_pass_a_policy_that_reads_them(size: int, presettled: bool) -> None:
    factory = ReaderFactory()
    net = Network(factory)
    receiver = net.client().receiver("q", 10)
    sender = net.client().sender("q")
    messages = [message(number, size) for number in range(5)]
    sent = [sender.sends(each, presettled=presettled) for each in messages]
    assert receiver.bodies == messages
    assert set(factory.seen) == {(f"{number}", "gold") for number in range(5)}
    if not presettled:
        for each in list(receiver.got):
            each.settles(ACCEPTED)
        assert [each.outcome for each in sent] == [ACCEPTED] * 5
    assert net.router.in_flight() == 0


@pytest.mark.parametrize("presettled", [False, True])
def test_held_messages_pass_a_policy_that_reads_them(presettled: bool) -> None:
    net = Network(ReaderFactory())
    receiver = net.client().receiver("q")
    sender = net.client().sender("q")
    messages = [message(number) for number in range(5)]
    for each in messages:
        sender.sends(each, presettled=presettled)
    receiver.grants(10)
    assert receiver.bodies == messages


def test_messages_that_a_policy_has_read_are_turned_away_when_nobody_is_left() -> None:
    net = Network(ReaderFactory())
    receiver = net.client().receiver("q", 1)
    sender = net.client().sender("q")
    sent = [sender.sends(message(number)) for number in range(3)]
    receiver.next().settles(RELEASED)
    receiver.closes()
    assert [each.outcome for each in sent] == [RELEASED] * 3


def test_a_message_that_a_policy_has_read_and_its_consumer_released_goes_to_another() -> None:
    net = Network(ReaderFactory())
    one, other = net.client().receiver("q", 1), net.client().receiver("q", 1)
    sent = net.client().sender("q").sends(message(1))
    one.next().settles(RELEASED)
    assert other.bodies == [message(1)]
    other.next().settles(ACCEPTED)
    assert sent.outcome == ACCEPTED
