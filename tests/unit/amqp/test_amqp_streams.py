"""Messages that come in pieces: they are forwarded as they come, aborted, held back, and never mixed up."""

from __future__ import annotations

from typing import Any

import pytest
from proton import Message
from zope.interface import implementer

from tests.unit.amqp.inmemory import ACCEPTED, LOST, RELEASED, Network, Outcome, Receiver, Sender
from txrouter.amqp.engine import session_outgoing_bytes
from txrouter.amqp.outgoing import OutgoingLink
from txrouter.amqp.sizes import KEEP, OUTGOING_HIGH, STREAM_FROM, STREAMS_AHEAD
from txrouter.core.addresses import Distribution
from txrouter.interfaces import IConsumer, IDelivery, IDistributionPolicy
from txrouter.policies import multicast

SIZES = [1, 511, 4_096, KEEP, KEEP + 1, STREAM_FROM, STREAM_FROM + 1, (1 << 17) - 1, 1 << 17, (1 << 17) + 1, 1 << 20]
PIECE = 10_000


def data(size: int) -> bytes:
    """A message, if it is 8 bytes at the least, whose bytes are not the same anywhere."""
    body = b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))
    return (b"\x00\x53\x75\xb0" + max(0, size - 8).to_bytes(4, "big") + body)[:size]


NEXT = data(20)


def pair(net: Network, credit: int = 10, max_frame: int = 0) -> tuple[Sender, Receiver]:
    """A consumer with credit, and a producer."""
    receiver = net.client(max_frame).receiver("q", credit)
    return net.client().sender("q"), receiver


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("presettled", [False, True], ids=["unsettled", "pre-settled"])
def test_a_message_of_any_size_passes_in_small_frames(size: int, presettled: bool) -> None:
    net = Network(max_frame_size=4_096)
    sender, receiver = pair(net, max_frame=1_024)
    sent = sender.sends(data(size), presettled)
    assert receiver.bodies == [data(size)]
    assert receiver.next().presettled == presettled
    if not presettled:
        receiver.next().settles(ACCEPTED)
        assert sent.outcome == ACCEPTED
    assert sender.sends(NEXT).outcome is None
    assert receiver.bodies[1:] == [NEXT]
    net.check()


@pytest.mark.parametrize("presettled", [False, True], ids=["unsettled", "pre-settled"])
@pytest.mark.parametrize("piece", [1_000, 10_000, STREAM_FROM - 100, STREAM_FROM + 100])
def test_a_message_in_many_pieces_is_put_together(piece: int, presettled: bool) -> None:
    net = Network()
    sender, receiver = pair(net)
    sent = sender.sends_some(data(300_000), piece, presettled)
    while sender.client.carry_out(piece):
        net.run()
    assert receiver.bodies == [data(300_000)]
    if not presettled:
        receiver.next().settles(ACCEPTED)
    assert sent.outcome == (None if presettled else ACCEPTED)


def test_forwarding_starts_before_the_end_has_come() -> None:
    net = Network()
    sender, receiver = pair(net)
    sent = sender.begins(data(STREAM_FROM))
    assert len(receiver.next().data) == STREAM_FROM
    assert not receiver.next().complete
    sent.goes_on(b"x" * 100)
    assert len(receiver.next().data) == STREAM_FROM + 100
    sent.ends()
    assert receiver.next().complete
    receiver.next().settles(Outcome("rejected", condition="app:too-long", description="it was"))
    assert sent.outcome == Outcome("rejected", condition="app:too-long", description="it was")


def test_what_is_small_waits_until_it_is_whole() -> None:
    net = Network()
    sender, receiver = pair(net)
    sent = sender.begins(b"a")
    assert receiver.got == []
    other = net.client().sender("q")
    other.sends(b"b")
    sent.goes_on(b"a")
    sent.ends()
    assert receiver.bodies == [b"b", b"aa"]


def test_no_other_message_goes_by_a_link_while_one_is_streamed() -> None:
    net = Network()
    streams, busy = pair(net)
    others, free = net.client().sender("q"), net.client().receiver("q")
    sent = streams.begins(data(STREAM_FROM))
    assert net.address().free == 0
    others.sends(data(10))
    assert busy.bodies == []
    free.grants(1)
    assert free.bodies == [data(10)]
    others.sends(data(11))
    sent.ends()
    assert busy.bodies == [data(STREAM_FROM), data(11)]


def test_a_consumer_may_release_what_is_still_being_streamed() -> None:
    net = Network()
    sender, receiver = pair(net)
    sent = sender.begins(data(STREAM_FROM))
    receiver.next().updates(RELEASED)
    sent.goes_on(data(PIECE))
    sent.ends()
    receiver.next().settles(RELEASED)
    assert sent.outcome == RELEASED
    sender.sends(NEXT)
    assert receiver.bodies[-1] == NEXT
    net.check()


@implementer(IDistributionPolicy)
class Reads:
    """A policy that looks at every message first; and its factory."""

    options = dict

    def build(self, options: object, random: object) -> Reads:
        self.consumers: list[Any] = []
        return self

    def add(self, consumer: IConsumer) -> None:
        self.consumers.append(consumer)

    def remove(self, consumer: IConsumer) -> None:
        self.consumers.remove(consumer)

    def select(self, delivery: IDelivery) -> Any:
        delivery.field("group_id")
        return next((each for each in self.consumers if each.credit), None)


# -- aborted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, PIECE, STREAM_FROM - 1])
def test_an_aborted_message_that_was_not_forwarded_yet_is_never_seen(size: int) -> None:
    net = Network()
    sender, receiver = pair(net, credit=2)
    for _ in range(3):
        sender.begins(data(size)).aborts()
    assert receiver.got == []
    check_goes_on(net, sender, receiver, 2)


@pytest.mark.parametrize("address", ["q", "all", None])
@pytest.mark.parametrize("size", [1, PIECE])
def test_an_aborted_message_that_would_have_had_to_wait_is_never_seen(size: int, address: str | None) -> None:
    """Half of it comes and then its end; at once, or when what was before it has left."""
    net = Network()
    net.router.policies.table.add_pattern("all", Distribution(multicast.factory, multicast.Options()))
    receiver = net.client().receiver(address or "q")
    sender = net.client().sender(address)
    first = bytes(Message(address=address or "q").encode())
    sender.begins(first + bytes(size)).aborts()
    sender.sends(first)
    sender.begins(first + bytes(size)).aborts()
    receiver.grants(5)
    assert [bytes(got.data) for got in receiver.got] == [first]
    assert net.counters["aborted"] == 2
    assert (net.counters["dropped"], net.counters["rejected"]) == (0, 0)
    receiver.next().settles(ACCEPTED)
    sender.sends(NEXT if address else first)
    assert len(receiver.bodies) == 2
    net.check()


@pytest.mark.parametrize("credit", [0, 5])
def test_an_aborted_message_of_which_a_policy_wants_to_see_something_is_never_seen(credit: int) -> None:
    net = Network(Reads())
    sender, receiver = pair(net, credit=credit)
    for _ in range(3):
        sender.begins(data(PIECE)).aborts()
    receiver.grants(5 - credit)
    assert receiver.got == []
    assert net.counters["aborted"] == 3
    check_goes_on(net, sender, receiver, 5)


@pytest.mark.parametrize("size", [STREAM_FROM, 3 * STREAM_FROM])
def test_an_aborted_message_that_was_being_forwarded_is_aborted(size: int) -> None:
    net = Network()
    sender, receiver = pair(net, credit=5)
    for number in range(3):
        sent = sender.begins(data(size))
        sent.goes_on(b"x")
        sent.aborts()
        assert receiver.got[number].aborted
    check_goes_on(net, sender, receiver, 2)


def check_goes_on(net: Network, sender: Sender, receiver: Receiver, credit: int) -> None:
    """The router and the consumer agree on how much credit there is, and it can be used."""
    assert net.address().free == receiver.credit == credit
    before = len(receiver.bodies)
    for number in range(credit):
        assert sender.credit > 0
        sender.sends(data(20 + number))
    assert receiver.bodies[before:] == [data(20 + number) for number in range(credit)]
    assert net.router.in_flight() == before + credit
    net.check()


def test_a_message_that_is_aborted_before_any_of_it_could_be_sent_costs_no_credit() -> None:
    net = Network()
    client = net.client(max_frame=4_096)
    session = client.session()
    session.incoming_capacity = 8_192
    first, second = client.receiver("first", 1, session=session), client.receiver("second", 1, session=session)
    filling, sender = net.client().sender("first"), net.client().sender("second")
    client.reads = False
    filling.sends(data(40_000))
    sender.begins(data(3 * STREAM_FROM)).aborts()
    sent = sender.sends(NEXT)
    client.reads = True
    net.run()
    assert first.bodies == [data(40_000)]
    assert second.bodies == [NEXT]
    second.drains()
    assert second.credit == 0
    second.next().settles(ACCEPTED)
    assert sent.outcome == ACCEPTED
    second.link.drain_mode = False
    second.grants(1)
    sender.sends(NEXT)
    assert second.bodies == [NEXT, NEXT]
    net.check()


def test_an_aborted_message_that_is_held_is_never_seen() -> None:
    net = Network()
    sender, receiver = pair(net, credit=0)
    sent = sender.begins(data(2 * STREAM_FROM))
    sent.aborts()
    sender.sends(NEXT)
    receiver.grants(5)
    assert receiver.bodies == [NEXT]
    assert net.counters["aborted"] == 1


def test_messages_between_aborted_ones_keep_their_order() -> None:
    net = Network(max_frame_size=512)
    sender, receiver = pair(net, credit=100)
    for number in range(20):
        broken = sender.begins(data(2_000 + 10_000 * (number % 8)))
        broken.aborts()
        sender.sends(b"%d" % number)
    assert receiver.bodies == [b"%d" % number for number in range(20)]


# -- too large -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 2, 10, 30])
@pytest.mark.parametrize("presettled", [False, True], ids=["unsettled", "pre-settled"])
def test_a_message_beyond_the_limit_is_rejected_and_its_link_closed(pieces: int, presettled: bool) -> None:
    net = Network(max_message_size=100_000)
    sender, receiver = pair(net)
    sent = sender.sends_some(bytes(120_000), 120_000 // pieces, presettled)
    while sender.error is None and sender.client.carry_out(120_000 // pieces):
        net.run()
    assert sender.error == "amqp:link:message-size-exceeded"
    assert receiver.bodies == []
    if not presettled:
        assert (sent.state.state, sent.state.condition) == ("rejected", "amqp:link:message-size-exceeded")
    assert net.counters["too_large"] == 1
    assert net.address().free == receiver.credit
    other = net.client().sender("q")
    other.sends(bytes(100_000))
    assert receiver.bodies == [bytes(100_000)]
    assert other.link.remote_max_message_size == 100_000
    net.check()


# -- held ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, KEEP + 1, 3 * STREAM_FROM])
@pytest.mark.parametrize("presettled", [False, True], ids=["unsettled", "pre-settled"])
def test_a_held_message_of_any_size_goes_when_there_is_credit(size: int, presettled: bool) -> None:
    net = Network()
    sender, receiver = pair(net, credit=0)
    messages = [Message(number.to_bytes(1, "big") * size).encode() for number in range(3)]
    for message in messages:
        sender.sends(message, presettled)
    assert receiver.got == []
    receiver.grants(1)
    assert receiver.bodies == messages[:1]
    receiver.grants(5)
    assert receiver.bodies == messages


def test_a_message_that_is_held_half_arrived_goes_on_arriving() -> None:
    net = Network()
    sender, receiver = pair(net, credit=0)
    message = Message(data(3 * STREAM_FROM)).encode()
    sent = sender.begins(message[:STREAM_FROM])
    receiver.grants(1)
    assert not receiver.next().complete
    sent.goes_on(message[STREAM_FROM:])
    sent.ends()
    assert receiver.bodies == [message]


def test_held_pre_settled_messages_outlive_their_producer() -> None:
    net = Network()
    sender, receiver = pair(net, credit=0)
    messages = [data(size) for size in (100, 5_000, KEEP)]
    for message in messages:
        sender.sends(message, presettled=True)
    sender.closes()
    receiver.grants(5)
    assert receiver.bodies == messages


@pytest.mark.parametrize("size", [KEEP + 1, 3 * STREAM_FROM])
def test_held_pre_settled_messages_too_large_to_be_kept_are_dropped_and_counted(size: int) -> None:
    net = Network()
    sender, receiver = pair(net, credit=0)
    sender.sends(data(size), presettled=True)
    sender.closes()
    assert net.counters["dropped"] == 1
    net.client().sender("q").sends(NEXT)
    receiver.grants(5)
    assert receiver.bodies == [NEXT]


# -- a consumer that reads slowly ------------------------------------------------------------------------


def test_a_slow_reader_holds_its_producer_back_and_nobody_else() -> None:
    net = Network(session_window=1 << 20, max_frame_size=1 << 15)
    sender, slow = pair(net)
    other, quick = net.client().sender("r"), net.client().receiver("r", 10)
    slow.client.wire.room = 1 << 16
    slow.client.reads = False
    sent = sender.begins()
    for _ in range(64):
        sent.goes_on(bytes(1 << 17))
    unsent = 8 * (1 << 20) - len(slow.client.wire.output)
    waiting = sender.link.session.outgoing_bytes
    assert waiting > 4 * (1 << 20), "the producer was let send it all"
    assert unsent - waiting < 2 * (1 << 20), "the router holds too much of it"
    assert other.sends(b"x").outcome is None
    assert quick.bodies == [b"x"]
    slow.client.reads = True
    slow.client.wire.room = None
    net.run()
    sent.ends()
    assert slow.bodies == [bytes(8 << 20)]
    net.check()


def test_a_blocked_connection_is_passed_over() -> None:
    net = Network()
    sender, slow = pair(net, credit=100)
    slow.client.wire.room = 0
    slow.client.reads = False
    sender.sends(b"stuck")
    assert slow.client.router_end.blocked
    quick = net.client().receiver("q", 100)
    for number in range(10):
        sender.sends(b"%d" % number)
    assert quick.bodies == [b"%d" % number for number in range(10)]
    slow.client.wire.room = None
    slow.client.reads = True
    slow.client.router_end.unblock()
    net.run()
    assert slow.bodies == [b"stuck"]


def test_a_session_with_too_much_unsent_is_passed_over_until_it_has_gone() -> None:
    net = Network()
    sender = net.client().sender("q")
    client = net.client(max_frame=4_096)
    slow = client.receiver("q", 100)
    slow.link.session.incoming_capacity = 8_192
    size = OUTGOING_HIGH // 4
    message = Message(bytes(size)).encode()
    slow.client.reads = False
    sent = [sender.sends(message) for _ in range(12)]
    assert net.address().free == 0
    quick = net.client().receiver("q", 100)
    assert len(quick.got) > 0
    slow.client.reads = True
    net.run()
    assert len(slow.bodies) + len(quick.bodies) == 12
    assert net.address().free == 200 - 12
    assert all(each.outcome is None for each in sent)


# -- long messages beside others -------------------------------------------------------------------------


@pytest.mark.parametrize("long", [1, 3])
def test_small_messages_pass_long_ones_however_small_their_session_is(long: int) -> None:
    net = Network()
    client = net.client(max_frame=4_096)
    session = client.session()
    session.incoming_capacity = 8_192
    large = [client.receiver(f"large-{number}", 1, session=session) for number in range(long)]
    small = client.receiver("small", 10, session=session)
    sent = [net.client().sender(f"large-{number}").begins(data(1 << 20)) for number in range(long)]
    client.reads = False
    for each in sent:
        each.goes_on(bytes(2 << 20))
    net.client().sender("small").sends(b"small")
    came = sum(len(each.next().data) for each in large)
    client.reads = net.by_hand = True
    while not small.got:
        assert client.carry() | net.end_turn()
    assert sum(len(each.next().data) for each in large) - came < 3 * STREAMS_AHEAD
    net.by_hand = False
    for each in sent:
        each.ends()
    assert [each.bodies for each in large] == [[data(1 << 20) + bytes(2 << 20)]] * long
    net.check()


def test_a_long_message_goes_on_where_small_ones_always_wait_for_their_session() -> None:
    net = Network()
    client = net.client(max_frame=4_096)
    session = client.session()
    session.incoming_capacity = 8_192
    large, small = client.receiver("large", 1, session=session), client.receiver("small", 200, session=session)
    sent = net.client().sender("large").begins(data(1 << 20))
    busy = net.client().sender("small")
    (consumer,) = net.address("small").consumers
    assert isinstance(consumer, OutgoingLink)
    net.by_hand = True
    for _ in range(2_000):
        while busy.link.queued < 50:
            busy.sends(bytes(4_000), presettled=True)
        for client in net.clients:
            client.carry_out()
        net.end_turn()
        assert session_outgoing_bytes(consumer.session) > STREAMS_AHEAD
        client.carry_in(4_096)
        for client in net.clients:
            client.carry_in(4_096)
        small.grants(200 - small.credit)
        if large.got and len(large.next().data) == 1 << 20:
            break
    net.by_hand = False
    sent.ends()
    assert large.bodies == [data(1 << 20)]


def test_a_turn_does_not_last_as_long_as_there_is_something_of_a_long_message() -> None:
    net = Network()
    sender, slow = pair(net)
    slow.client.wire.room = 0
    slow.client.reads = False
    sent = sender.begins(data(3 << 20))
    slow.client.wire.room = None
    net.by_hand = True
    slow.client.router_end.unblock()
    written = len(slow.client.wire.output)
    turns = 0
    while net.end_turn():
        assert len(slow.client.wire.output) - written < 4 * STREAMS_AHEAD
        written = len(slow.client.wire.output)
        turns += 1
    assert turns > 10
    net.by_hand = False
    slow.client.reads = True
    sent.ends()
    assert slow.bodies == [data(3 << 20)]


def test_long_messages_to_one_connection_take_turns() -> None:
    net = Network()
    client = net.client()
    consumers = [client.receiver(f"{number}", 1) for number in range(5)]
    client.wire.room = 1 << 16
    client.reads = False
    for number in range(5):
        net.client().sender(f"{number}").begins(data(3 << 20))
    for _ in range(200):
        client.carry_in(1 << 16)
        net.end_turn()
    came = [len(each.next().data) for each in consumers]
    assert min(came) > 1 << 20
    assert max(came) - min(came) < 4 * STREAMS_AHEAD


@pytest.mark.parametrize("how", ["lose", "closes", "aborts"])
def test_a_long_message_goes_on_where_one_that_waited_before_it_has_gone(how: str) -> None:
    net = Network()
    client = net.client()
    consumers = [client.receiver(f"{number}", 1) for number in range(2)]
    client.wire.room = 0
    client.reads = False
    first, second = (net.client().sender(f"{number}").begins(data(1 << 20)) for number in range(2))
    waiting: Any = {"lose": first.sender.client.lose, "closes": first.sender.closes, "aborts": first.aborts}[how]
    waiting()
    client.wire.room = None
    client.reads = True
    client.router_end.unblock()
    net.run()
    second.ends()
    assert [each.bodies for each in consumers] == [[], [data(1 << 20)]]
    assert consumers[0].got[0].aborted


# -- lost in the middle ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "presettled"),
    [
        (PIECE, False),
        (PIECE, True),
        (STREAM_FROM + PIECE, False),
        (STREAM_FROM + PIECE, True),
        (3 * STREAM_FROM, False),
        (3 * STREAM_FROM, True),
    ],
)
def test_a_message_whose_producer_is_lost_in_the_middle_is_aborted(size: int, presettled: bool) -> None:
    net = Network(max_frame_size=4_096)
    sender, receiver = pair(net)
    sender.sends_some(data(1 << 20), size, presettled)
    assert bool(receiver.got) == (size >= STREAM_FROM)
    sender.client.lose()
    check_aborted(net, receiver)


@pytest.mark.parametrize("size", [PIECE, STREAM_FROM, 3 * STREAM_FROM])
@pytest.mark.parametrize("how", ["closed", "detached", "ended"])
def test_a_message_whose_producer_goes_in_the_middle_is_aborted(size: int, how: str) -> None:
    net = Network()
    sender, receiver = pair(net)
    sender.begins(data(size))
    {"closed": sender.client.closes, "detached": sender.closes, "ended": sender.client.ends_sessions}[how]()
    check_aborted(net, receiver)


def check_aborted(net: Network, receiver: Receiver) -> None:
    """The consumer saw nothing, or half a message and its abortion; and it can go on."""
    assert receiver.bodies == []
    assert all(got.aborted for got in receiver.got)
    assert net.router.in_flight() == 0
    check_goes_on(net, net.client().sender("q"), receiver, 10 - len(receiver.got))


@pytest.mark.parametrize("presettled", [False, True], ids=["unsettled", "pre-settled"])
@pytest.mark.parametrize("how", ["lost", "closed", "detached", "ended"])
def test_a_message_whose_consumer_goes_in_the_middle_is_modified_and_not_sent_again(presettled: bool, how: str) -> None:
    net = Network(max_frame_size=4_096)
    sender, receiver = pair(net)
    client = receiver.client
    other = net.client().receiver("q")
    sent = sender.sends_some(data(1 << 20), STREAM_FROM + PIECE, presettled)
    assert len(receiver.got) == 1
    {"lost": client.lose, "closed": client.closes, "detached": receiver.closes, "ended": client.ends_sessions}[how]()
    assert net.counters["dropped"] == presettled
    other.grants(5)
    sender.client.writes = True
    net.run()
    assert sent.outcome == (None if presettled else LOST)
    assert other.bodies == []
    sender.sends(NEXT)
    assert other.bodies == [NEXT]
    net.check()
