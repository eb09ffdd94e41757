"""Clients that do anything in any order, whose bytes arrive in any pieces: the router neither crashes nor loses count.

What this guards is proton's pointers: the ones the router holds must be good whenever it uses them. So it is worth
running with an allocator that spoils what is freed:

    MALLOC_PERTURB_=165 PYTHONMALLOC=malloc TXROUTER_TEST_EFFORT=20 pytest tests/unit/amqp/test_amqp_machine.py
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import proton
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from proton import Endpoint

from tests.unit.amqp.inmemory import (
    ACCEPTED,
    LOST,
    RELEASED,
    SETTLED,
    Client,
    Got,
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
    RELEASED,
    LOST,
    SETTLED,
    Outcome("rejected", condition="app:broken", info={"a": 1}),
    Outcome("modified", undeliverable=True, annotations={"x": 1}),
    Outcome("received", section=(0, 1)),
]
ADDRESSES = st.sampled_from(["q", "r"])
SIZES = st.sampled_from([0, 10, 3_000, 33_000, 70_000, 300_000])
INDEX = st.integers(0, 9)
CARRIED = st.sampled_from([2, 2, 2, 0])


def open_still(link: proton.Link) -> bool:
    """Whether neither end has closed it."""
    return link.state == Endpoint.LOCAL_ACTIVE | Endpoint.REMOTE_ACTIVE


class WireMachine(RuleBasedStateMachine):
    """Random clients of a router, over proton's engine. Nothing moves but what a rule carries."""

    clients = Bundle("clients")
    senders = Bundle("senders")
    receivers = Bundle("receivers")

    @initialize(few=st.booleans(), factory=st.sampled_from([pull.factory, round_robin.factory, weighted.factory]))
    def begin(self, few: bool, factory: Any) -> None:
        self.net = Network(factory, **(LIMITS if few else {}))
        self.net.by_hand = True
        self.partial: dict[Sender, Sent] = {}
        self.sent: dict[bytes, Sent] = {}
        self.count = 0
        self.all_receivers: list[Receiver] = []

    def _message(self, size: int, to: str | None) -> bytes:
        """One that no other is like."""
        self.count += 1
        message = proton.Message(bytes(size), id=self.count, address=to)
        if self.count % 7 == 0:
            message.ttl = 1.5
        return bytes(message.encode())

    # -- coming and going --------------------------------------------------------------------------

    @rule(target=clients, max_frame=st.sampled_from([0, 512, 4_096]), carried=CARRIED)
    def a_client_connects(self, max_frame: int, carried: int) -> Client:
        client = self.net.client(max_frame)
        self.everything_is_carried(carried)
        return client

    @rule(target=senders, client=clients, address=ADDRESSES | st.none(), carried=CARRIED)
    def a_producer_attaches(self, client: Client, address: str | None, carried: int) -> Sender | None:
        if not self._can(client):
            return None
        sender = client.sender(address)
        self.everything_is_carried(carried)
        return sender

    @rule(target=receivers, client=clients, address=ADDRESSES, credit=st.integers(0, 6), carried=CARRIED)
    def a_consumer_attaches(self, client: Client, address: str, credit: int, carried: int) -> Receiver | None:
        if not self._can(client):
            return None
        receiver = client.receiver(address, credit)
        self.all_receivers.append(receiver)
        self.everything_is_carried(carried)
        return receiver

    @rule(client=clients)
    def a_dynamic_consumer_attaches(self, client: Client) -> None:
        if self._can(client):
            client.receiver(None, 3, dynamic=True)

    def _can(self, client: Client) -> bool:
        return not client.gone and bool(client.connection.state & Endpoint.LOCAL_ACTIVE)

    @rule(link=senders | receivers, how=st.sampled_from(["closes", "detaches"]))
    def a_link_goes(self, link: Sender | Receiver | None, how: str) -> None:
        if self._usable(link):
            getattr(link, how)()

    @rule(client=clients)
    def a_client_ends_its_sessions(self, client: Client) -> None:
        if self._can(client):
            client.ends_sessions()

    @rule(client=clients)
    def a_client_closes(self, client: Client) -> None:
        if self._can(client):
            client.closes()

    @rule(client=clients)
    def a_client_is_lost(self, client: Client) -> None:
        client.lose()

    def _usable(self, link: Any) -> bool:
        return link is not None and self._can(link.client) and open_still(link.link)

    # -- messages ----------------------------------------------------------------------------------

    @rule(sender=senders, size=SIZES, presettled=st.booleans(), to=ADDRESSES, count=st.integers(1, 4))
    def a_producer_sends(self, sender: Sender | None, size: int, presettled: bool, to: str, count: int) -> None:
        for _ in range(count):
            if not self._usable(sender) or sender in self.partial or sender.link.queued > 3:  # type: ignore[union-attr]
                return
            data = self._message(size, to)
            self.sent[data] = sender.sends(data, presettled)  # type: ignore[union-attr]

    @rule(sender=senders, size=SIZES, to=ADDRESSES)
    def a_producer_begins_a_message(self, sender: Sender | None, size: int, to: str) -> None:
        if self._usable(sender) and sender not in self.partial:
            self.partial[sender] = sender.begins(self._message(size, to))  # type: ignore[union-attr, index]

    @rule(sender=senders, size=SIZES)
    def a_producer_goes_on_with_a_message(self, sender: Sender | None, size: int) -> None:
        if sender in self.partial and self._usable(sender):
            self.partial[sender].goes_on(bytes(size))

    @rule(sender=senders, how=st.sampled_from(["ends", "aborts", "settles"]))
    def a_producer_ends_a_message(self, sender: Sender | None, how: str) -> None:
        if sender in self.partial and self._usable(sender):
            sent = self.partial.pop(sender)
            getattr(sent, how)()

    @rule(sender=senders, index=INDEX)
    def a_producer_settles(self, sender: Sender | None, index: int) -> None:
        if self._usable(sender) and sender.sent and sender not in self.partial:  # type: ignore[union-attr]
            each = list(sender.sent.values())  # type: ignore[union-attr]
            each[index % len(each)].settles()

    @rule(receiver=receivers, index=INDEX, outcome=st.sampled_from(OUTCOMES), settled=st.booleans())
    def a_consumer_decides(self, receiver: Receiver | None, index: int, outcome: Outcome, settled: bool) -> None:
        if not self._usable(receiver):
            return
        each: list[Got] = list(receiver.unsettled.values())  # type: ignore[union-attr]
        if each:
            got = each[index % len(each)]
            if settled and (got.complete or got.settled_by_router):
                got.settles(outcome)
            else:
                got.updates(outcome)

    # -- credit ------------------------------------------------------------------------------------

    @rule(receiver=receivers, credit=st.integers(1, 6))
    def a_consumer_grants(self, receiver: Receiver | None, credit: int) -> None:
        if self._usable(receiver) and not receiver.link.drain_mode:  # type: ignore[union-attr]
            receiver.grants(credit)  # type: ignore[union-attr]

    @rule(receiver=receivers, credit=st.integers(0, 3))
    def a_consumer_drains(self, receiver: Receiver | None, credit: int) -> None:
        if self._usable(receiver):
            receiver.drains(credit)  # type: ignore[union-attr]

    @rule(receiver=receivers)
    def a_consumer_drains_no_more(self, receiver: Receiver | None) -> None:
        if self._usable(receiver):
            receiver.link.drain_mode = False  # type: ignore[union-attr]
            receiver.grants(1)  # type: ignore[union-attr]

    @rule(receiver=receivers)
    def a_consumer_takes_credit_back(self, receiver: Receiver | None) -> None:
        if self._usable(receiver) and receiver.credit > 1:  # type: ignore[union-attr]
            receiver.grants(-1)  # type: ignore[union-attr]

    @rule(sender=senders)
    def a_producer_gives_credit_back(self, sender: Sender | None) -> None:
        if self._usable(sender) and sender not in self.partial:
            sender.link.drained()  # type: ignore[union-attr]

    # -- bytes and time ----------------------------------------------------------------------------

    @rule(client=clients, size=st.sampled_from([1, 50, 1_000, 1 << 30]))
    def bytes_reach_the_router(self, client: Client, size: int) -> None:
        client.carry_out(size)

    @rule(client=clients, size=st.sampled_from([1, 50, 1_000, 1 << 30]))
    def bytes_reach_a_client(self, client: Client, size: int) -> None:
        client.carry_in(size)

    @rule()
    def a_turn_ends(self) -> None:
        self.net.end_turn()

    @rule(times=st.integers(1, 2))
    def everything_is_carried(self, times: int) -> None:
        for _ in range(times):
            for client in self.net.clients:
                client.carry_out()
            self.net.end_turn()
            for client in self.net.clients:
                client.carry_in()

    @rule(client=clients, room=st.sampled_from([None, None, 0, 100, 10_000]))
    def a_socket_has_room(self, client: Client, room: int | None) -> None:
        client.wire.room = room

    @rule(seconds=st.sampled_from([0.3, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.net.later(seconds)
        for client in self.net.clients:
            if not client.gone:
                client.router_end.beat(self.net.now)

    # -- what has to be so ---------------------------------------------------------------------------

    @invariant()
    def nothing_failed(self) -> None:
        if hasattr(self, "net"):
            self.net.check()
            assert not self.net.counters["policy_errors"]

    @invariant()
    def the_books_balance(self) -> None:
        if not hasattr(self, "net"):
            return
        for address in self.net.router.addresses.values():
            assert address.free == sum(consumer.credit for consumer in address.consumers)
            for consumer in address.consumers:
                assert consumer.credit >= 0
                assert 0 <= consumer.in_flight <= self.net.router.limits.max_in_flight
                assert consumer.in_flight == sum(not each.presettled for each in consumer.unsettled.values())
            for producer in address.producers:
                assert producer.held >= 0
                assert len(producer.unsettled) <= self.net.router.limits.max_unsettled

    def teardown(self) -> None:
        """When all is carried, whoever has a message has it whole and once; when all have left, nothing is there."""
        if not hasattr(self, "net"):
            return
        for client in self.net.clients:
            client.wire.room = None
            if not client.gone:
                client.router_end.unblock()
        self.net.by_hand = False
        self.net.run()
        self._check_received()
        for number, client in enumerate(self.net.clients):
            if number % 2 and self._can(client):
                client.closes()
            else:
                client.lose()
        self.net.run()
        for client in self.net.clients:
            client.lose()
        self.net.end_turn()
        self.net.check()
        assert self.net.router.addresses == {}
        assert self.net.router.holding.next_deadline() is None

    def _check_received(self) -> None:
        for receiver in self.all_receivers:
            whole = [bytes(got.data) for got in receiver.got if got.complete]
            assert max(Counter(whole).values(), default=1) == 1, "a consumer has a message twice"
        everywhere = [body for receiver in self.all_receivers for body in receiver.bodies if body in self.sent]
        for body, times in Counter(everywhere).items():
            sent = self.sent[body]
            assert times == 1 or sent.delivery is None or sent.outcome != SETTLED


def _with_effort(case: Any) -> Any:
    case.settings = settings(
        derandomize=EFFORT == 1,
        database=None,
        max_examples=60 * EFFORT,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return case


TestWire = _with_effort(WireMachine.TestCase)
