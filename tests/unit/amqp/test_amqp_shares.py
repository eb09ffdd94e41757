"""Who sends much at once is served in shares, after those who send little; and loses nothing by it.

Time passes by so much with every look at the clock. So what is served of a connection in a turn is counted in looks: in
the pieces between them, of at most 8 KiB.
"""

from __future__ import annotations

import itertools

import pytest

from tests.unit.amqp.inmemory import Client, Network, Receiver, Sender
from txrouter.amqp.shares import LEAST, LIGHT, LITTLE, SLICE

MESSAGE = b"\x00\x53\x75\xa0\x40" + bytes(64)
PIECE = 8_192
MANY = 600
"""Messages that come in one read."""


def numbered(count: int) -> list[bytes]:
    return [b"\x00\x53\x75\xa0\x40" + number.to_bytes(4, "big") + bytes(60) for number in range(count)]


class Clock:
    """A clock on which so much time passes between two looks."""

    def __init__(self, net: Network, step: float) -> None:
        self._net = net
        self.step = step
        net.turn.clock = self

    def __call__(self) -> float:
        self._net.now += self.step
        return self._net.now


def flow(net: Network, address: str) -> tuple[Sender, Receiver]:
    """A consumer, and a producer with credit, each with a connection of its own."""
    receiver = net.client().receiver(address, credit=1_000)
    return net.client().sender(address), receiver


def floods(sender: Sender, count: int = MANY) -> list[bytes]:
    """It sends pre-settled messages, all of which reach the router in one read."""
    net, client, bodies = sender.client.net, sender.client, numbered(count)
    net.by_hand = True
    for body in bodies:
        sender.sends(body, presettled=True)
    read(client)
    return bodies


def read(client: Client) -> int:
    """The router reads all that the client has to say, at once. Returns how much that was."""
    pending = client.transport.pending()
    data = b""
    while pending > 0:
        data += bytes(client.transport.peek(pending) or b"")
        client.transport.pop(pending)
        pending = client.transport.pending()
    client.router_end.receive(data)
    return len(data)


def come(receiver: Receiver) -> int:
    """How many messages have come to the consumer's end."""
    receiver.client.carry_in()
    return len(receiver.bodies)


@pytest.fixture
def net() -> Network:
    return Network(link_capacity=MANY, max_frame_size=4_096)  # small frames: the more of them may come


def test_in_one_turn_no_more_of_a_flood_is_served_than_its_share(net: Network) -> None:
    greedy, consumer = flow(net, "greedy")
    Clock(net, SLICE)
    floods(greedy)
    served: list[int] = []
    while net.end_turn():
        served.append(come(consumer) - sum(served))
    assert sum(served) == MANY
    assert max(served) <= PIECE // len(MESSAGE)
    assert len(served) > 5


def test_a_flood_is_served_after_what_others_say_in_the_same_turn(net: Network) -> None:
    greedy, flooded = flow(net, "greedy")
    modest, consumer = flow(net, "modest")
    Clock(net, SLICE)
    floods(greedy)
    net.end_turn()
    before = come(flooded)
    assert before < MANY // 2
    modest.sends(MESSAGE)
    read(modest.client)
    net.end_turn()
    assert come(consumer) == 1
    assert come(flooded) - before <= PIECE // len(MESSAGE)


def test_nothing_of_a_flood_is_lost_or_out_of_order(net: Network) -> None:
    greedy, consumer = flow(net, "greedy")
    Clock(net, SLICE)
    bodies = floods(greedy)
    net.by_hand = False
    net.run()
    assert consumer.bodies == bodies
    net.check()


def test_no_more_is_read_of_a_connection_while_some_is_to_be_served(net: Network) -> None:
    greedy, _ = flow(net, "greedy")
    Clock(net, SLICE)
    floods(greedy)
    wire = greedy.client.wire
    paused = []
    while net.end_turn():
        paused.append(wire.paused)
    assert paused[0]
    assert not paused[-1]
    assert paused == sorted(paused, reverse=True), "it is resumed once"


def test_what_comes_of_a_paused_connection_all_the_same_is_served_in_order(net: Network) -> None:
    greedy, consumer = flow(net, "greedy")
    Clock(net, SLICE)
    bodies = floods(greedy, MANY - 1)
    net.end_turn()
    greedy.client.wire.paused = False  # somebody else had reasons to
    greedy.sends(MESSAGE, presettled=True)
    read(greedy.client)
    assert greedy.client.wire.paused
    net.by_hand = False
    net.run()
    assert consumer.bodies == [*bodies, MESSAGE]


def test_what_is_little_is_served_at_once(net: Network) -> None:
    producer, consumer = flow(net, "modest")
    Clock(net, SLICE)
    net.by_hand = True
    producer.sends(MESSAGE)
    read(producer.client)
    assert net.counters.total() == 0
    producer.client.net.end_turn()
    assert come(consumer) == 1
    assert not producer.client.wire.paused


def test_who_has_sent_much_and_sends_little_is_served_at_once_again(net: Network) -> None:
    producer, _ = flow(net, "q")
    clock = Clock(net, SLICE)
    floods(producer, MANY - 2)
    while net.end_turn():
        pass
    clock.step = 0
    (attached,) = net.address("q").consumers
    producer.sends(MESSAGE)
    read(producer.client)
    assert attached.in_flight == 0
    while net.end_turn():
        pass
    assert attached.in_flight == 1
    producer.sends(MESSAGE)
    read(producer.client)
    assert attached.in_flight == 2


def test_who_sends_little_that_is_much_to_do_is_served_after_others_from_then_on(net: Network) -> None:
    client = net.client()
    Clock(net, SLICE)
    net.by_hand = True
    session = client.session()
    attached = []
    for number in range(2):
        for name in range(20):
            link = session.sender(f"{number}/{name}" + "x" * 100)
            link.target.address = "q"
            link.open()
        assert LITTLE < read(client) < PIECE
        attached.append(len(client.router_end.links))
    assert attached == [20, 20]
    net.end_turn()
    assert len(client.router_end.links) > 20


@pytest.mark.parametrize("floods_at_once", [2, 4, 8])
def test_those_who_send_much_share_what_is_left_of_a_turn(net: Network, floods_at_once: int) -> None:
    flows = [flow(net, f"greedy/{number}") for number in range(floods_at_once)]
    clock = Clock(net, LIGHT)
    for greedy, _ in flows:
        floods(greedy)
    longest = 0.0
    while True:
        began = net.now
        if not net.end_turn():
            break
        longest = max(longest, net.now - began)
        arrived = [come(consumer) for _, consumer in flows]
        assert max(arrived) - min(arrived) <= 2 * PIECE // len(MESSAGE)
    assert longest <= max(SLICE, LIGHT * floods_at_once) + 8 * clock.step * floods_at_once
    assert [len(consumer.bodies) for _, consumer in flows] == [MANY] * floods_at_once


def test_where_little_is_much_to_do_less_is_done_before_the_next_look_at_the_clock(net: Network) -> None:
    client = net.client()
    Clock(net, 10 * SLICE)
    net.by_hand = True
    session = client.session()
    for number in range(400):
        link = session.sender(f"link-{number}" + "x" * 200)
        link.target.address = "q"
        link.open()
    size = read(client)
    assert size > 2 * PIECE
    attached = [len(client.router_end.links)]
    while net.end_turn():
        attached.append(len(client.router_end.links))
    steps = [after - before for before, after in itertools.pairwise(attached)]
    assert max(steps[1:]) <= LEAST // 200 + 1
    net.check()


def test_what_was_read_of_a_connection_that_is_lost_is_served(net: Network) -> None:
    greedy, consumer = flow(net, "greedy")
    Clock(net, SLICE)
    bodies = floods(greedy)
    net.end_turn()
    greedy.client.router_end.lose()
    net.by_hand = False
    greedy.client.gone = True
    net.run()
    assert consumer.bodies == bodies
    net.check()


def test_nothing_is_served_of_one_who_broke_the_protocol(net: Network) -> None:
    greedy, consumer = flow(net, "greedy")
    Clock(net, SLICE)
    net.by_hand = True
    for body in numbered(200):
        greedy.sends(body, presettled=True)
    client = greedy.client
    data = b""
    while (pending := client.transport.pending()) > 0:
        data += bytes(client.transport.peek(pending) or b"")
        client.transport.pop(pending)
    client.router_end.receive(data[: len(data) // 2] + b"\xff" * PIECE + data)
    while net.end_turn():
        come(consumer)
    assert len(consumer.bodies) < 150
    assert net.counters["protocol_errors"] == 1
    assert not client.wire.paused
