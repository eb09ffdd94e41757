"""Connections that end, in order or not, at any point: nobody else notices, and nothing of them stays."""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from proton import Message

from tests.unit.amqp.inmemory import ACCEPTED, LOST, RELEASED, Client, Network, Wire
from txrouter.amqp.connection import Connection
from txrouter.amqp.deliveries import IncomingDelivery
from txrouter.amqp.incoming import IncomingLink
from txrouter.amqp.outgoing import OutgoingLink
from txrouter.amqp.sizes import STREAM_FROM

MESSAGE = Message("hello").encode()
LARGE = Message(bytes(STREAM_FROM + 10_000)).encode()

# -- lost at any point ---------------------------------------------------------------------------------


def produce(client: Client) -> None:
    """A client opens, attaches and sends, without waiting for anything."""
    sender = client.sender("q")
    sender.sends(MESSAGE)
    sender.sends(MESSAGE, presettled=True)
    client.sender(None).sends(Message("x", address="q").encode())
    sender.sends(LARGE)
    sender.sends(MESSAGE).settles()


def consume(client: Client) -> None:
    """A client opens, attaches, drains, attaches another link, and closes the first."""
    receiver = client.receiver("q", 2)
    client.receiver("r", 5)
    client.receiver(None, 5, dynamic=True)
    receiver.drains(5)
    receiver.closes()
    client.closes()


@pytest.mark.parametrize("act", [produce, consume])
def test_a_connection_may_be_lost_after_any_byte(act: Callable[[Client], None]) -> None:
    """It is cut after every third byte of its first thousand, and less often after that."""
    length = 0
    while loses_after(length, act):
        length += 3 if length < 1_000 else 4_999


def loses_after(length: int, act: Callable[[Client], None]) -> bool:
    """A client does something, and is lost after a number of bytes. Returns whether it had more to say."""
    net = Network(max_frame_size=4_096)
    producer, consumer = net.client().sender("q"), net.client().receiver("q", 3)
    client = net.client()
    client.writes = False
    act(client)
    said = 0
    while said < length and client.carry_out(min(97, length - said)):
        said += 97
        net.run()
    client.lose()
    for got in list(consumer.unsettled.values()):
        got.settles(ACCEPTED)
    consumer.grants(5)
    assert net.address().free == consumer.credit >= 5
    sent = producer.sends(MESSAGE)
    consumer.next().settles(ACCEPTED)
    assert sent.outcome == ACCEPTED
    assert net.router.in_flight() == 0
    assert set(net.router.addresses) == {"q"}
    assert len(net.address().producers) == len(net.address().consumers) == 1
    net.check()
    return said >= length


def test_a_lost_consumer_that_was_sent_a_message_and_one_that_was_not() -> None:
    net = Network()
    lost, other = net.client().receiver("q", 1), net.client().receiver("q")
    sender = net.client().sender("q")
    sent = sender.sends(MESSAGE)
    lost.client.lose()
    assert sent.outcome == LOST
    assert other.got == []
    net.check()


def test_what_was_not_written_yet_to_a_lost_consumer_goes_to_another() -> None:
    net = Network()
    lost = net.client().receiver("q", 5)
    sender = net.client().sender("q")
    lost.client.wire.room = 0
    lost.client.reads = False
    seen = sender.sends(MESSAGE)  # is in the output of the connection, which is full from then on
    net.by_hand = True
    unseen = [sender.sends(MESSAGE) for _ in range(3)]
    net.by_hand = False
    net.run()
    other = net.client().receiver("q", 5)
    lost.client.lose()
    assert seen.outcome == LOST
    assert [each.outcome for each in unseen] == [None] * 3
    assert len(other.got) == 3
    net.check()


def test_what_was_sent_in_this_very_turn_is_not_written_yet() -> None:
    net = Network()
    lost, other = net.client().receiver("q", 5), net.client().receiver("q", 5)
    sender = net.client().sender("q")
    net.by_hand = True
    sent = [sender.sends(MESSAGE) for _ in range(4)]
    sender.client.carry_out()
    lost.client.lose()
    net.by_hand = False
    net.run()
    assert len(other.got) == 4
    for got in list(other.unsettled.values()):
        got.settles(ACCEPTED)
    assert [each.outcome for each in sent] == [ACCEPTED] * 4
    assert lost.got == []
    net.check()


@pytest.mark.parametrize("how", ["closes", "detaches", "ends_sessions"])
def test_what_was_not_written_yet_when_its_link_goes_is_sent_to_another_only(how: str) -> None:
    net = Network()
    leaving, other = net.client().receiver("q", 10), net.client().receiver("q")
    sender = net.client().sender("q")
    net.by_hand = True
    sender.sends(MESSAGE)
    sender.client.carry_out()
    getattr(leaving.client if how == "ends_sessions" else leaving, how)()
    leaving.client.carry_out()
    net.by_hand = False
    net.run()
    other.grants(1)
    assert other.bodies == [MESSAGE]
    assert leaving.got == []


def test_what_was_not_written_yet_is_released_where_nobody_else_is() -> None:
    net = Network()
    lost = net.client().receiver("q", 5)
    sender = net.client().sender("q")
    net.by_hand = True
    sent = sender.sends(MESSAGE)
    dropped = sender.sends(MESSAGE, presettled=True)
    sender.client.carry_out()
    lost.client.lose()
    net.by_hand = False
    net.run()
    assert sent.outcome == RELEASED
    assert dropped.outcome is None
    assert net.counters["dropped"] == 1
    net.check()


@pytest.mark.parametrize("who", ["producer", "consumer"])
@pytest.mark.parametrize("how", ["link closed", "link detached", "session ended", "connection closed", "lost"])
def test_however_one_end_goes_the_other_hears_of_what_is_in_flight(who: str, how: str) -> None:
    net = Network()
    sender, receiver = net.client().sender("q"), net.client().receiver("q", 10)
    sent = [sender.sends(MESSAGE) for _ in range(3)]
    held = receiver.got[0]
    link: Any = sender if who == "producer" else receiver
    {
        "link closed": link.closes,
        "link detached": link.detaches,
        "session ended": link.client.ends_sessions,
        "connection closed": link.client.closes,
        "lost": link.client.lose,
    }[how]()
    if who == "producer":
        assert all(got.settled_by_router for got in receiver.got)
        held.settles(ACCEPTED)
        assert net.address().free == 7
    else:
        assert [each.outcome for each in sent] == [LOST] * 3
        assert sender.link.drain_mode
    assert net.router.in_flight() == 0
    assert len(net.router.addresses) == 1
    net.check()


def test_both_ends_may_be_on_one_connection() -> None:
    net = Network()
    client = net.client()
    sender, receiver = client.sender("q"), client.receiver("q", 10)
    sent = sender.sends(MESSAGE)
    receiver.next().settles(ACCEPTED)
    assert sent.outcome == ACCEPTED
    sender.sends(MESSAGE)
    sender.sends_some(LARGE, STREAM_FROM)
    client.lose()
    assert net.router.addresses == {}
    net.check()


def test_many_sessions_and_links_end_with_their_connection() -> None:
    net = Network()
    client = net.client()
    receivers = [client.receiver(f"q{number % 7}", 1) for number in range(40)]
    senders = [client.sender(f"q{number % 7}") for number in range(20)]
    assert len(net.router.addresses) == 7
    for sender in senders:
        sender.sends(MESSAGE)
    assert sum(len(receiver.got) for receiver in receivers) == 20
    client.closes()
    assert net.router.addresses == {}
    assert client.router_end.links == {}
    net.check()


def test_a_connection_that_is_closed_while_it_is_blocked_ends() -> None:
    net = Network()
    receiver = net.client().receiver("q", 10)
    receiver.client.wire.room = 0
    receiver.client.reads = False
    net.client().sender("q").sends(MESSAGE)
    receiver.client.router_end.close("amqp:connection:forced", "that was it")
    receiver.client.wire.room = None
    receiver.client.reads = True
    receiver.client.router_end.unblock()
    net.run()
    condition = receiver.client.connection.remote_condition
    assert condition is not None
    assert condition.name == "amqp:connection:forced"


# -- time ----------------------------------------------------------------------------------------------


def test_who_does_not_open_in_time_is_cut() -> None:
    net = Network()
    wire = Wire()
    connection = Connection(net.router, net.turn, wire, "silent")
    connection.deadlines.beat(9.9)
    assert not wire.aborted
    connection.deadlines.beat(10.1)
    assert wire.aborted
    connection.lose()


def test_who_reads_nothing_for_too_long_is_cut() -> None:
    net = Network()
    receiver = net.client().receiver("q", 10)
    wire, end = receiver.client.wire, receiver.client.router_end
    wire.room = 0
    receiver.client.reads = False
    net.client().sender("q").sends(MESSAGE)
    end.deadlines.beat(29.9)
    assert not wire.aborted
    end.deadlines.beat(30.1)
    assert wire.aborted
    assert net.counters["stalled"] == 1


def test_who_does_not_answer_a_close_is_cut() -> None:
    net = Network()
    client = net.client()
    client.writes = False
    client.router_end.close()
    net.run()
    client.router_end.deadlines.beat(1.9)
    assert not client.wire.aborted
    client.router_end.deadlines.beat(2.1)
    assert client.wire.aborted


def test_who_says_nothing_for_longer_than_the_idle_time_out_is_cut() -> None:
    net = Network(idle_timeout=16.0)
    client = net.client()
    client.writes = False
    while not client.gone and net.now < 40:
        net.now += 2.0
        client.router_end.deadlines.beat(net.now)
        net.run()
    assert client.wire.closing or client.wire.aborted
    assert "local-idle-timeout" in str(net.reports)


def test_who_wants_to_hear_from_the_router_does() -> None:
    net = Network(idle_timeout=0)
    client = Client(net, "impatient")
    client.transport.idle_timeout = 8.0
    net.clients.append(client)
    net.run()
    client.reads = False
    for now in range(40):
        net.now = float(now)
        client.router_end.deadlines.beat(net.now)
        net.run()
    empty_frame = b"\0\0\0\x08\x02\0\0\0"
    assert client.wire.output.count(empty_frame) in range(40 // 4 - 1, 40 // 2)


# -- nothing stays -------------------------------------------------------------------------------------


def recorded(*acts: Callable[[Client], object]) -> bytes:
    """Everything a client says who does these things without waiting for an answer."""
    net = Network()
    client = Client(net, "recorded")
    for act in acts:
        act(client)
    data = b""
    while (pending := client.transport.pending()) > 0:
        data += bytes(client.transport.peek(pending) or b"")
        client.transport.pop(pending)
    client.lose()
    return data


ATTACHES = recorded(
    lambda client: client.sender("q"),
    lambda client: client.receiver("q", 10),
    lambda client: client.sender(None),
    lambda client: client.receiver(None, 10, dynamic=True),
    lambda client: client.receiver("other", 3),
)


def alive() -> int:
    """How many connections, links and deliveries there are."""
    gc.collect()
    kinds = (Connection, IncomingLink, OutgoingLink, IncomingDelivery)
    return sum(isinstance(each, kinds) for each in gc.get_objects())


def come_and_go(net: Network, count: int) -> None:
    """Clients attach, and are lost: before the turn ends or after it."""
    for number in range(count):
        connection = Connection(net.router, net.turn, Wire(), f"c{number}")
        connection.receive(ATTACHES)
        if number % 2:
            net.end_turn()
        connection.lose()
        net.end_turn()


def test_nothing_is_left_of_2000_connections() -> None:
    before = alive()
    net = Network()
    come_and_go(net, 2_000)
    assert net.router.addresses == {}
    assert alive() == before
    net.check()


def test_nothing_is_left_of_many_connections_that_were_there_together() -> None:
    before = alive()
    net = Network()
    connections = [Connection(net.router, net.turn, Wire(), f"c{number}") for number in range(300)]
    for connection in connections:
        connection.receive(ATTACHES)
    net.end_turn()
    assert len(net.address().consumers) == 300
    assert net.address().free == 3_000
    for connection in connections:
        connection.lose()
    net.end_turn()
    del connection, connections
    assert net.router.addresses == {}
    assert alive() == before


class Mallinfo(ctypes.Structure):
    """As in glibc's malloc.h; `uordblks` is how many bytes are allocated."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def test_proton_has_freed_all_it_allocated() -> None:
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        pytest.skip("needs glibc")
    mallinfo.restype = Mallinfo
    net = Network()
    come_and_go(net, 50)
    gc.collect()
    before = mallinfo().uordblks
    come_and_go(net, 200)
    gc.collect()
    assert mallinfo().uordblks - before < 200 * 500  # a connection takes some 20,000 bytes


def test_nothing_is_left_of_messages() -> None:
    net = Network()
    sender, receiver = net.client().sender("q"), net.client().receiver("q")
    before = alive()
    for size in (10, 40_000, 200_000):
        receiver.grants(10)
        for outcome in (ACCEPTED, RELEASED):
            sender.sends(Message(bytes(size)).encode())
            receiver.next().settles(outcome)
        sender.begins(bytes(size)).aborts()
        sender.sends(Message(bytes(size)).encode(), presettled=True)
    receiver.drains()
    sender.sends(Message("held", ttl=1.0).encode())
    net.later(2.0)
    assert alive() == before


def test_a_connection_that_is_lost_leaves_nothing_to_the_garbage_collector() -> None:
    net = Network()
    clients = [net.client() for _ in range(5)]
    for client in clients:
        client.sender("q")
        client.receiver("q", credit=5)
    gone = [weakref.ref(client.router_end) for client in clients]
    gc.disable()
    try:
        for client in clients:
            client.lose()
            del client.router_end
        del client
        assert [each() for each in gone] == [None] * 5
    finally:
        gc.enable()
