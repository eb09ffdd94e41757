"""Outcomes, credit and addresses as clients see them, over proton's engine and without sockets."""

from __future__ import annotations

import re
from typing import Any

import proton
import pytest
from proton import Link, Message

from tests.unit.amqp.inmemory import ACCEPTED, LOST, RELEASED, SETTLED, Client, Network, Outcome, Receiver, Sender
from txrouter.amqp.incoming import IncomingLink
from txrouter.amqp.sizes import KEEP

REJECTED = Outcome("rejected", condition="app:broken", description="it was broken", info={"at": 7, "by": "me"})
MODIFIED = Outcome("modified", annotations={"x-opt-tried": 3, "x-opt-by": "me"})
FAILED = Outcome("modified", failed=True, annotations={"x-opt-a": True})
NOT_HERE = Outcome("modified", undeliverable=True, annotations={"x-opt-b": "b"})
FAILED_NOT_HERE = Outcome("modified", failed=True, undeliverable=True)
RECEIVED = Outcome("received", section=(1, 77))
ALL = [
    ACCEPTED,
    REJECTED,
    Outcome("rejected"),
    RELEASED,
    MODIFIED,
    FAILED,
    NOT_HERE,
    FAILED_NOT_HERE,
    SETTLED,
    RECEIVED,
]

MESSAGE = Message("hello", id="1", properties={"a": 1}, ttl=60.0, priority=7, durable=True).encode()


def pair(net: Network, credit: int = 10, **more: Any) -> tuple[Sender, Receiver]:
    """A consumer with credit, and a producer."""
    receiver = net.client().receiver("q", credit, **more)
    return net.client().sender("q"), receiver


# -- one producer, one consumer ------------------------------------------------------------------------


def test_a_message_and_its_acceptance_pass() -> None:
    net = Network()
    sender, receiver = pair(net)
    sent = sender.sends(MESSAGE)
    assert receiver.bodies == [MESSAGE]
    assert sent.outcome is None
    receiver.next().settles(ACCEPTED)
    assert sent.outcome == ACCEPTED


@pytest.mark.parametrize("outcome", ALL, ids=str)
def test_any_outcome_reaches_the_producer_with_all_its_fields(outcome: Outcome) -> None:
    net = Network()
    sender, receiver = pair(net)
    sent = sender.sends(MESSAGE)
    receiver.next().settles(outcome)
    assert sent.outcome == outcome
    assert net.router.in_flight() == 0


@pytest.mark.parametrize("outcome", [ACCEPTED, REJECTED, MODIFIED, Outcome("received", section=(1, 77))], ids=str)
def test_a_state_without_settlement_is_passed_on_and_no_settlement_is_invented(outcome: Outcome) -> None:
    net = Network()
    sender, receiver = pair(net, rcv_settle_mode=Link.RCV_SECOND)
    sent = sender.sends(MESSAGE)
    got = receiver.next()
    got.updates(outcome)
    assert (sent.state, sent.outcome) == (outcome, None)
    assert not got.settled_by_router
    sent.settles()
    assert got.settled_by_router
    got.settles()
    assert net.router.in_flight() == 0


def test_a_producer_may_settle_first() -> None:
    net = Network()
    sender, receiver = pair(net)
    sent = sender.sends(MESSAGE)
    sent.settles()
    assert receiver.next().settled_by_router
    receiver.next().settles(ACCEPTED)
    assert net.router.in_flight() == 0
    assert sender.sends(MESSAGE).outcome is None


def test_both_may_settle_at_the_same_time() -> None:
    net = Network()
    sender, receiver = pair(net)
    sent = sender.sends(MESSAGE)
    net.by_hand = True
    sent.settles()
    receiver.next().settles(ACCEPTED)
    net.by_hand = False
    net.run()
    assert net.router.in_flight() == 0
    net.check()


def test_a_message_that_both_ends_settle_at_once_leaves_nothing_with_those_that_wait() -> None:
    net = Network()
    receiver = net.client().receiver("q", 1)
    producer = net.client()
    sender = producer.sender("q")
    crossing = sender.sends(MESSAGE)
    got = receiver.next()
    waiting = [sender.sends(MESSAGE) for _ in range(3)]
    net.by_hand = True
    got.settles(ACCEPTED)
    crossing.delivery.settle()
    receiver.client.carry_out()
    producer.carry_out()
    net.by_hand = False
    net.run()
    receiver.grants(10)
    for each in list(receiver.got[1:]):
        each.settles(ACCEPTED)
    assert [each.outcome for each in waiting] == [ACCEPTED] * 3
    (link,) = producer.router_end.links.values()
    assert isinstance(link, IncomingLink)
    assert link.arrivals == {}


def test_a_pre_settled_message_needs_no_answer() -> None:
    net = Network()
    sender, receiver = pair(net)
    sender.sends(MESSAGE, presettled=True)
    assert receiver.bodies == [MESSAGE]
    assert receiver.next().presettled
    assert net.router.in_flight() == 0


@pytest.mark.parametrize("presettled", [True, False])
@pytest.mark.parametrize("data", [b"", b"\0", b"not AMQP at all", bytes(range(256)) * 16])
def test_a_message_passes_bit_for_bit_whatever_it_is(data: bytes, presettled: bool) -> None:
    net = Network()
    sender, receiver = pair(net)
    sender.sends(data, presettled)
    assert receiver.bodies == [data]


@pytest.mark.parametrize("asked", [Link.SND_UNSETTLED, Link.SND_SETTLED, Link.SND_MIXED])
def test_the_settle_modes_are_the_peers(asked: int) -> None:
    net = Network()
    sender = net.client().sender("q", mode=asked)
    assert sender.link.remote_snd_settle_mode == asked
    receiver = net.client().receiver("q", rcv_settle_mode=Link.RCV_SECOND)
    assert receiver.link.remote_rcv_settle_mode == Link.RCV_SECOND


def test_many_messages_and_outcomes_out_of_order() -> None:
    net = Network()
    sender, receiver = pair(net, credit=100)
    sent = [sender.sends(b"%d" % number) for number in range(60)]
    outcomes = [ALL[number % len(ALL)] for number in range(60)]
    for got, outcome in reversed(list(zip(list(receiver.got), outcomes, strict=True))):
        got.settles(outcome)
    assert [each.outcome for each in sent] == outcomes


# -- several consumers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("settled", [True, False], ids=["settled", "updated"])
@pytest.mark.parametrize("outcome", [RELEASED, NOT_HERE, FAILED_NOT_HERE], ids=str)
def test_what_one_consumer_does_not_want_another_gets(outcome: Outcome, settled: bool) -> None:
    net = Network()
    one, two = net.client().receiver("q", 5), net.client().receiver("q", 5)
    sent = net.client().sender("q").sends(MESSAGE)
    if settled:
        one.next().settles(outcome)
    else:
        one.next().updates(outcome)
        assert one.next().settled_by_router
    assert two.bodies == [MESSAGE]
    assert sent.outcome is None
    two.next().settles(REJECTED)
    assert sent.outcome == REJECTED
    assert len(one.got) == len(two.got) == 1


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ([RELEASED, RELEASED], RELEASED),
        ([RELEASED, NOT_HERE], NOT_HERE),
        ([NOT_HERE, RELEASED], RELEASED),
        ([FAILED_NOT_HERE, RELEASED], LOST),
        ([FAILED_NOT_HERE, Outcome("modified", undeliverable=True)], FAILED_NOT_HERE),
        ([FAILED_NOT_HERE, ACCEPTED], ACCEPTED),
        ([RELEASED, REJECTED], REJECTED),
    ],
    ids=str,
)
@pytest.mark.parametrize("settled", [True, False], ids=["settled", "updated"])
def test_what_the_producer_is_told_when_nobody_is_left(outcomes: list[Outcome], told: Outcome, settled: bool) -> None:
    net = Network()
    receivers = [net.client().receiver("q", 5) for _ in outcomes]
    sent = net.client().sender("q").sends(MESSAGE)
    for receiver, outcome in zip(receivers, outcomes, strict=True):
        assert sent.state == SETTLED
        (receiver.next().settles if settled else receiver.next().updates)(outcome)
    assert sent.state == told
    assert sent.outcome == (told if settled else None)


@pytest.mark.parametrize(("size", "kept"), [(KEEP, True), (KEEP + 1, False), (10 * KEEP, False)])
def test_a_message_that_is_too_large_to_be_kept_is_released_to_its_producer(size: int, kept: bool) -> None:
    net = Network()
    one, two = net.client().receiver("q", 5), net.client().receiver("q", 5)
    sent = net.client().sender("q").sends(bytes(size))
    one.next().settles(RELEASED)
    assert len(two.got) == kept
    assert sent.outcome == (None if kept else RELEASED)


def test_a_released_message_waits_for_the_credit_of_another() -> None:
    net = Network()
    one, two = net.client().receiver("q", 5), net.client().receiver("q")
    sent = net.client().sender("q").sends(MESSAGE)
    one.next().settles(RELEASED)
    assert sent.outcome is None
    two.grants(1)
    two.next().settles(ACCEPTED)
    assert sent.outcome == ACCEPTED


# -- credit --------------------------------------------------------------------------------------------


def test_a_producer_has_no_credit_without_a_consumer_and_gets_some_with_the_first() -> None:
    net = Network()
    sender = net.client().sender("q")
    assert sender.credit == 0
    net.client().receiver("q", 5)
    assert sender.credit > 0


def test_an_anonymous_producer_has_credit_at_once_and_gets_it_back() -> None:
    net = Network()
    sender = net.client().sender(None)
    credit = sender.credit
    assert credit > 0
    for _ in range(3 * credit):
        assert sender.sends(Message("x", address="nobody").encode()).outcome == RELEASED
    assert sender.credit > 0


def test_the_producer_is_drained_when_the_last_consumer_leaves() -> None:
    net = Network()
    sender, receiver = pair(net)
    receiver.closes()
    assert sender.link.drain_mode
    still = sender.sends(MESSAGE)
    assert still.outcome == RELEASED
    sender.link.drained()
    net.run()
    assert sender.credit == 0
    again = net.client().receiver("q", 5)
    assert sender.credit > 0
    sender.sends(MESSAGE)
    assert again.bodies == [MESSAGE]


def test_who_has_no_credit_gets_nothing_and_wedges_nobody() -> None:
    net = Network()
    stuck, healthy = net.client().receiver("q"), net.client().receiver("q", 10)
    sender = net.client().sender("q")
    for number in range(100):
        sent = sender.sends(b"%d" % number)
        healthy.next().settles(ACCEPTED)
        healthy.grants(1)
        assert sent.outcome == ACCEPTED
    assert (len(stuck.got), len(healthy.got)) == (0, 100)


def test_who_has_credit_1_and_never_settles_gets_1() -> None:
    net = Network()
    stuck, healthy = net.client().receiver("q", 1), net.client().receiver("q", 250)
    sender = net.client().sender("q")
    for _ in range(20):
        sender.sends(MESSAGE)
        for got in list(healthy.unsettled.values()):
            got.settles(ACCEPTED)
    assert (len(stuck.got), len(healthy.got)) == (1, 19)


def test_a_consumer_that_drains_gets_what_there_is_and_gives_back_the_rest() -> None:
    net = Network()
    sender, receiver = pair(net, credit=0)
    for _ in range(3):
        sender.sends(MESSAGE)
    receiver.drains(10)
    assert len(receiver.got) == 3
    assert receiver.credit == 0
    assert net.address().free == 0
    sender.sends(MESSAGE)
    assert len(receiver.got) == 3
    receiver.link.drain_mode = False
    receiver.grants(1)
    assert len(receiver.got) == 4


def test_a_consumer_may_take_its_credit_back() -> None:
    net = Network()
    sender, receiver = pair(net, credit=10)
    receiver.link.flow(-8)  # as far as proton is concerned, a flow may say less than before
    net.run()
    assert net.address().free == 2
    for _ in range(4):
        sender.sends(MESSAGE)
    assert len(receiver.got) == 2


def test_a_consumer_with_more_credit_than_it_may_have_in_flight() -> None:
    net = Network(max_in_flight=3)
    sender, receiver = pair(net, credit=2_000_000_000)
    for _ in range(5):
        sender.sends(MESSAGE)
    assert len(receiver.got) == 3
    for got in list(receiver.unsettled.values()):
        got.settles(ACCEPTED)
    assert len(receiver.got) == 5


def transfer(number: int, data: bytes, presettled: bool = False) -> bytes:
    """A frame with a whole message, on the first link of the first session."""
    settled = b"\x41" if presettled else b"\x42"
    fields = [b"\x43", b"\x52" + bytes([number]), b"\xa0\x01" + bytes([number]), b"\x43", settled]
    body = b"".join(fields)
    performative = b"\x00\x53\x14\xc0" + bytes([1 + len(body), len(fields)]) + body
    return (8 + len(performative) + len(data)).to_bytes(4, "big") + b"\x02\x00\x00\x00" + performative + data


@pytest.mark.parametrize("pieces", ["one", "many"])
def test_transfers_beyond_the_credit_end_the_link_and_nothing_else(pieces: str) -> None:
    net = Network(link_capacity=5)
    other, receiver = pair(net, 100)
    client = net.client()
    sender = client.sender("q")
    transfers = [transfer(number, MESSAGE) for number in range(sender.credit + 1)]
    for piece in transfers if pieces == "many" else [b"".join(transfers)]:
        client.router_end.receive(piece)
    net.run()
    assert sender.error == "amqp:link:transfer-limit-exceeded"
    assert not client.gone
    assert len(receiver.got) <= len(transfers)
    assert all(got.settled_by_router or got.presettled for got in receiver.got)
    other.sends(b"more")
    assert receiver.bodies[-1] == b"more"
    net.check()


@pytest.mark.parametrize("presettled", [False, True])
def test_empty_messages_beyond_the_credit_end_the_link_too(presettled: bool) -> None:
    net = Network()
    net.client().receiver("q")
    client = net.client()
    sender = client.sender("q")
    for number in range(sender.credit + 2):
        client.router_end.receive(transfer(number, b"" if number else MESSAGE, presettled))
    net.run()
    assert sender.error == "amqp:link:transfer-limit-exceeded"


# -- addresses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelt", ["q", "/q", "amqp:/q", "amqp://host:5672/q", "_topo/0/here/q", "/_topo/0/here/q"])
def test_one_address_may_be_spelt_in_several_ways(spelt: str) -> None:
    net = Network()
    receiver = net.client().receiver(spelt, 5)
    net.client().sender("q").sends(b"1")
    net.client().sender(None).sends(Message("x", address=spelt).encode())
    assert len(receiver.got) == 2
    assert set(net.router.addresses) == {"q"}


def test_a_dynamic_source_lives_as_long_as_its_link() -> None:
    net = Network()
    client = net.client()
    receiver, other = (client.receiver(None, 5, dynamic=True) for _ in range(2))
    name = str(receiver.link.remote_source.address)
    assert re.fullmatch(r"amqp:/_topo/0/here/temp\.[A-Za-z0-9]{15}", name)
    assert name != other.link.remote_source.address
    assert receiver.link.remote_source.dynamic
    anonymous = net.client().sender(None)
    sent = anonymous.sends(Message("reply", address=name).encode())
    receiver.next().settles(ACCEPTED)
    assert sent.outcome == ACCEPTED
    assert other.got == []
    receiver.closes()
    assert anonymous.sends(Message("late", address=name).encode()).outcome == RELEASED
    other.closes()
    assert net.router.addresses == {}


@pytest.mark.parametrize("to", [None, "nobody", "_topo/0/elsewhere/q", "$management", "/"])
def test_an_anonymous_message_for_nobody_is_released(to: str | None) -> None:
    net = Network()
    net.client().receiver("q", 5)
    assert net.client().sender(None).sends(Message("x", address=to).encode()).outcome == RELEASED


def test_an_anonymous_message_that_cannot_be_read_is_a_decode_error() -> None:
    net = Network()
    sent = net.client().sender(None).sends(b"\x00\x53\x73\xc0\xff\x01")
    assert sent.outcome is not None
    assert (sent.outcome.state, sent.outcome.condition) == ("rejected", "amqp:decode-error")


def test_anonymous_messages_pass_one_that_is_held() -> None:
    net = Network()
    stuck, free = net.client().receiver("stuck"), net.client().receiver("free", 5)
    anonymous = net.client().sender(None)
    for number in range(3):
        anonymous.sends(Message(number, address="stuck").encode())
        anonymous.sends(Message(number, address="free").encode())
    assert len(free.got) == 3
    stuck.grants(5)
    assert stuck.bodies == [Message(number, address="stuck").encode() for number in range(3)]


# -- time to live ----------------------------------------------------------------------------------------


def test_a_held_message_expires() -> None:
    net = Network()
    sender, receiver = pair(net, credit=0)
    sent = sender.sends(Message("x", ttl=2.0).encode())
    behind = sender.sends(MESSAGE)
    net.later(1.9)
    assert sent.outcome is None
    net.later(0.2)
    assert sent.outcome is not None
    assert (sent.outcome.state, sent.outcome.condition) == ("rejected", "amqp:message-expired")
    receiver.grants(5)
    assert receiver.bodies == [MESSAGE]
    assert behind.outcome is None


# -- links that are not what they should be ----------------------------------------------------------------


def attach_refused(link: proton.Link) -> str:
    """The condition with which an attach was refused."""
    assert link.state & proton.Endpoint.REMOTE_CLOSED
    assert link.remote_condition is not None
    return str(link.remote_condition.name)


@pytest.mark.parametrize(("address", "condition"), [("$management", "amqp:not-found"), ("/", "amqp:invalid-field")])
def test_an_attach_that_cannot_be_is_refused_and_the_connection_lives_on(address: str, condition: str) -> None:
    net = Network()
    client = net.client()
    assert attach_refused(client.receiver(address).link) == condition
    assert attach_refused(client.sender(address).link) == condition
    assert attach_refused(client.receiver(None).link) == "amqp:invalid-field"
    sender, receiver = pair(net)
    sender.sends(b"x")
    assert receiver.bodies == [b"x"]
    assert not client.gone
    assert net.counters["refused_links"] == 3


def test_the_transaction_coordinator_is_refused() -> None:
    net = Network()
    client = net.client()
    link = client.session().sender("tx")
    link.target.type = proton.Terminus.COORDINATOR
    link.open()
    net.run()
    assert attach_refused(link) == "amqp:not-implemented"
    assert not client.gone


def test_the_open_says_who_we_are_and_what_we_can() -> None:
    client: Client = Network().client()
    properties = client.connection.remote_properties
    assert properties is not None
    assert properties["product"] == "txrouter"
    assert properties["version"]
    assert "ANONYMOUS-RELAY" in (client.connection.remote_offered_capabilities or [])


# -- what a producer is not to be told -----------------------------------------------------------------


def _deep(depth: int) -> dict[str, object]:
    inside: dict[str, object] = {"x-opt-end": True}
    for _ in range(depth):
        inside = {"x-opt-in": inside}
    return inside


@pytest.mark.parametrize(
    ("outcome", "heard"),
    [
        (Outcome("modified", failed=True, annotations={"x-opt-x": "y" * 5000}), Outcome("modified", failed=True)),
        (Outcome("modified", annotations=_deep(20)), Outcome("modified")),
        (
            Outcome("rejected", condition="app:x", description="é" * 5000, info={"at": 7}),
            Outcome("rejected", condition="app:x", description="é" * 2045),
        ),
        (
            Outcome("rejected", condition="app:x", description="y", info=_deep(20)),
            Outcome("rejected", condition="app:x", description="y"),
        ),
    ],
    ids=["long annotations", "deep annotations", "a long description", "deep info"],
)
def test_fields_that_a_producer_may_not_bear_are_left_out(outcome: Outcome, heard: Outcome) -> None:
    net = Network()
    sender, receiver = pair(net)
    sent = sender.sends(MESSAGE)
    receiver.next().settles(outcome)
    assert sent.outcome == heard


@pytest.mark.parametrize("wrong", [["x"], "x", 7, True])
@pytest.mark.parametrize("state", ["modified", "rejected"])
def test_what_has_to_be_a_map_and_is_none_is_left_out(state: str, wrong: object) -> None:
    net = Network()
    sender, receiver = pair(net)
    sent = sender.sends(MESSAGE)
    got = receiver.next()
    if state == "modified":
        got.delivery.local.annotations = wrong
    else:
        got.delivery.local.condition = proton.Condition("app:x", "y", wrong)  # type: ignore[arg-type]
    got.settles(Outcome(state))
    assert sent.outcome is not None
    assert (sent.outcome.state, sent.outcome.annotations, sent.outcome.info) == (state, {}, {})


def test_a_producer_that_takes_only_small_frames_is_told_in_one() -> None:
    net = Network()
    receiver = net.client().receiver("q", 10)
    client = net.client(max_frame=512)
    sent = client.sender("q").sends(MESSAGE)
    receiver.next().settles(Outcome("rejected", condition="app:x", description="y" * 3000))
    assert sent.outcome == Outcome("rejected", condition="app:x", description="y" * 251)
