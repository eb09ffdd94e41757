"""Clients that do anything in any order, whose bytes arrive in any pieces: the router neither crashes nor loses count.

What this guards is proton's pointers: the ones the router holds must be good whenever it uses them. So it is worth
running with an allocator that spoils what is freed:

    MALLOC_PERTURB_=165 PYTHONMALLOC=malloc TXROUTER_TEST_EFFORT=20 pytest tests/unit/amqp/test_amqp_machine.py
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import proton
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from proton import Endpoint

from tests.unit.amqp.inmemory import (
    ACCEPTED,
    LOST,
    RELEASED,
    SETTLED,
    Client,
    Network,
    Outcome,
    Receiver,
    Sender,
    Sent,
)
from txrouter.policies import pull, round_robin, weighted

EFFORT = int(os.environ.get("TXROUTER_TEST_EFFORT", "1"))

LIMITS: dict[str, Any] = {
    "link_capacity": 6,
    "max_in_flight": 4,
    "max_unsettled": 9,
    "max_frame_size": 2_048,
    "session_window": 1 << 18,
    "max_held_size": 1 << 17,
}
OUTCOMES = [
    ACCEPTED,
    ACCEPTED,
    RELEASED,
    LOST,
    SETTLED,
    Outcome("rejected", condition="app:broken", info={"a": 1}),
    Outcome("modified", undeliverable=True, annotations={"x": 1}),
    Outcome("received", section=(0, 1)),
]
ADDRESSES = ["q", "r", "q", None]
SIZES = [10, 0, 3_000, 33_000, 70_000, 300_000]


class Play:
    """A router and a few clients; `act` has one of them do something that two numbers choose."""

    def __init__(self, factory: Any, few: bool) -> None:
        self.net = Network(factory, **(LIMITS if few else {}))
        self.clients: list[Client] = []
        self.senders: list[Sender] = []
        self.receivers: list[Receiver] = []
        self.partial: dict[Sender, Sent] = {}
        self.sent: dict[bytes, Sent] = {}
        self.messages = 0
        for number in range(4):
            self.connect(number, number)
            self.attach_producer(number, number)
            self.attach_consumer(number, number)
        self.net.by_hand = True
        self.acts: dict[str, Callable[[int, int], None]] = {name: getattr(self, name) for name in dict.fromkeys(ACTS)}

    def act(self, name: str, which: int, how: int) -> None:
        """Have somebody do something, and see that all is well."""
        self.acts[name](which, how)
        self.check()

    # -- coming and going --------------------------------------------------------------------------

    def connect(self, which: int, how: int) -> None:
        self.clients.append(self.net.client(max_frame=(0, 512, 4_096)[how % 3]))

    def attach_producer(self, which: int, how: int) -> None:
        client = self._client(which)
        if client is not None:
            self.senders.append(client.sender(ADDRESSES[how % 4]))

    def attach_consumer(self, which: int, how: int) -> None:
        client = self._client(which)
        if client is not None:
            self.receivers.append(client.receiver(ADDRESSES[how % 4], how % 5, dynamic=how % 4 == 3))

    def close_producer(self, which: int, how: int) -> None:
        self._go(self._sender(which, True), how)

    def close_consumer(self, which: int, how: int) -> None:
        self._go(self._receiver(which), how)

    def _go(self, link: Sender | Receiver | None, how: int) -> None:
        if link is not None:
            (link.closes, link.detaches)[how % 2]()

    def end_sessions(self, which: int, how: int) -> None:
        client = self._client(which)
        if client is not None:
            client.ends_sessions()

    def close(self, which: int, how: int) -> None:
        client = self._client(which)
        if client is not None:
            client.closes()

    def lose(self, which: int, how: int) -> None:
        self.clients[which % len(self.clients)].lose()

    def _client(self, which: int) -> Client | None:
        client = self.clients[which % len(self.clients)]
        return client if not client.gone and client.connection.state & Endpoint.LOCAL_ACTIVE else None

    def _sender(self, which: int, partial: bool = False) -> Sender | None:
        sender = self.senders[which % len(self.senders)]
        return sender if self._usable(sender) and (partial or sender not in self.partial) else None

    def _receiver(self, which: int) -> Receiver | None:
        receiver = self.receivers[which % len(self.receivers)]
        return receiver if self._usable(receiver) else None

    def _usable(self, link: Any) -> bool:
        both = Endpoint.LOCAL_ACTIVE | Endpoint.REMOTE_ACTIVE
        return not link.client.gone and link.link.state == both and link.client.connection.state == both

    # -- messages ----------------------------------------------------------------------------------

    def send(self, which: int, how: int) -> None:
        sender = self._sender(which)
        for _ in range(how % 5):
            if sender is not None and sender.link.queued < 5:
                data = self._message(how)
                self.sent[data] = sender.sends(data, presettled=how % 4 == 0)

    def begin(self, which: int, how: int) -> None:
        sender = self._sender(which)
        if sender is not None and sender.link.queued < 5:
            self.partial[sender] = sender.begins(self._message(how))

    def go_on(self, which: int, how: int) -> None:
        sender = self._sender(which, True)
        if sender in self.partial:
            self.partial[sender].goes_on(bytes(SIZES[how % 6]))

    def end(self, which: int, how: int) -> None:
        sender = self._sender(which, True)
        if sender in self.partial:
            sent = self.partial.pop(sender)
            (sent.ends, sent.aborts, sent.settles)[how % 3]()

    def _message(self, how: int) -> bytes:
        """One that no other is like."""
        self.messages += 1
        message = proton.Message(bytes(SIZES[how % 6]), id=self.messages, address="qr"[how % 2])
        message.ttl = 1.5 if how % 7 == 0 else 0
        return bytes(message.encode())

    def settle_first(self, which: int, how: int) -> None:
        sender = self._sender(which)
        if sender is not None and sender.sent:
            each = list(sender.sent.values())
            each[how % len(each)].settles()

    def decide(self, which: int, how: int) -> None:
        receiver = self._receiver(which)
        if receiver is not None and receiver.unsettled:
            each = list(receiver.unsettled.values())
            got = each[how % len(each)]
            outcome = OUTCOMES[how % len(OUTCOMES)]
            if got.complete and how % 5:
                got.settles(outcome)
            else:
                got.updates(outcome)

    def accept(self, which: int, how: int) -> None:
        receiver = self._receiver(which)
        for got in list(receiver.unsettled.values()) if receiver is not None else ():
            if got.complete:
                got.settles(ACCEPTED)

    # -- credit ------------------------------------------------------------------------------------

    def grant(self, which: int, how: int) -> None:
        receiver = self._receiver(which)
        if receiver is not None:
            receiver.link.drain_mode = False
            receiver.grants(1 + how % 6)

    def drain(self, which: int, how: int) -> None:
        receiver = self._receiver(which)
        if receiver is not None:
            receiver.drains(how % 4)

    def take_back(self, which: int, how: int) -> None:
        receiver = self._receiver(which)
        if receiver is not None and receiver.credit > 1:
            receiver.grants(-1)

    def give_back(self, which: int, how: int) -> None:
        sender = self._sender(which)
        if sender is not None:
            sender.link.drained()

    # -- bytes and time ----------------------------------------------------------------------------

    def carry_out(self, which: int, how: int) -> None:
        self.clients[which % len(self.clients)].carry_out((1, 50, 3_000, 1 << 30)[how % 4])

    def carry_in(self, which: int, how: int) -> None:
        self.clients[which % len(self.clients)].carry_in((1, 50, 3_000, 1 << 30)[how % 4])

    def end_turn(self, which: int, how: int) -> None:
        self.net.end_turn()

    def carry(self, which: int, how: int) -> None:
        for client in self.clients:
            client.carry_out()
        self.net.end_turn()
        for client in self.clients:
            client.carry_in()

    def fill_socket(self, which: int, how: int) -> None:
        self.clients[which % len(self.clients)].wire.room = (0, 100, 10_000)[how % 3]

    def free_socket(self, which: int, how: int) -> None:
        self.clients[which % len(self.clients)].wire.room = None

    def wait(self, which: int, how: int) -> None:
        self.net.later((0.3, 1.0, 3.0)[how % 3])
        for client in self.clients:
            if not client.gone:
                client.router_end.beat(self.net.now)

    # -- what has to be so -------------------------------------------------------------------------

    def check(self) -> None:
        """Nothing failed, and the books balance."""
        self.net.check()
        assert not self.net.counters["policy_errors"]
        limits = self.net.router.limits
        for address in self.net.router.addresses.values():
            assert address.free == sum(consumer.credit for consumer in address.consumers)
            for consumer in address.consumers:
                assert consumer.credit >= 0
                assert 0 <= consumer.in_flight <= limits.max_in_flight
                assert consumer.in_flight == sum(not each.presettled for each in consumer.unsettled.values())
            for producer in address.producers:
                assert producer.held >= 0
                assert producer.credit <= limits.link_capacity

    def finish(self) -> None:
        """All is carried; then all leave, and nothing is left of them."""
        for client in self.clients:
            client.wire.room = None
            if not client.gone:
                client.router_end.unblock()
        self.net.by_hand = False
        self.net.run()
        for number, sender in enumerate(list(self.partial)):
            if self._usable(sender):
                self.end(self.senders.index(sender), number % 2)
        self._check_received()
        for number, client in enumerate(self.clients):
            if number % 2 and self._client(number):
                client.closes()
        self.net.run()
        for client in self.clients:
            client.lose()
        self.check()
        assert self.net.router.addresses == {}
        assert self.net.router.holding.next_deadline() is None

    def _check_received(self) -> None:
        """Whoever has a message has it whole; and only one that was given back has been had by more than one."""
        whole = [bytes(got.data) for receiver in self.receivers for got in receiver.got if got.complete]
        for receiver in self.receivers:
            assert max(Counter(receiver.bodies).values(), default=1) == 1
            assert all(got.complete or got.aborted for got in receiver.got if self._usable(receiver))
        for body, times in Counter(whole).items():
            if body in self.sent and self.sent[body].presettled:
                assert times == 1


ACTS = [
    *(["carry"] * 15),
    *(["send", "grant"] * 12),
    *(["carry_out", "carry_in", "end_turn", "decide"] * 8),
    *(["begin", "go_on", "end", "accept"] * 4),
    *(["drain", "take_back", "give_back", "settle_first", "fill_socket", "free_socket", "wait"] * 2),
    *(["attach_producer", "attach_consumer", "close_producer", "close_consumer"] * 2),
    *["connect", "end_sessions", "close", "lose"],
]


@settings(
    derandomize=EFFORT == 1,
    database=None,
    max_examples=60 * EFFORT,
    phases=[Phase.generate, Phase.shrink],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    factory=st.sampled_from([pull.factory, round_robin.factory, weighted.factory]),
    few=st.booleans(),
    script=st.lists(
        st.tuples(st.sampled_from(ACTS), st.integers(0, 7), st.integers(0, 839)), min_size=60, max_size=160
    ),
)
def test_whatever_clients_do_the_router_stands(factory: Any, few: bool, script: list[tuple[str, int, int]]) -> None:
    play = Play(factory, few)
    for act, which, how in script:
        play.act(act, which, how)
    play.finish()
