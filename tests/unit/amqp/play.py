"""Clients that do anything in any order, whose bytes arrive in any pieces; and what has to be so whatever they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import proton
from proton import Endpoint, Link

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
from txrouter.amqp.engine import link_name
from txrouter.amqp.incoming import IncomingLink
from txrouter.amqp.outgoing import OutgoingLink
from txrouter.core.addresses import Distribution
from txrouter.policies import multicast, pull, round_robin, weighted

__all__ = ["ACTS", "POLICIES", "Play"]

POLICIES = [pull.factory, round_robin.factory, weighted.factory]

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
ADDRESSES = ["q", "r", "q", None, "q", "m"]
SIZES = [10, 0, 3_000, 33_000, 70_000, 300_000]


class Play:
    """A router and a few clients; `act` has one of them do something that two numbers choose. Messages to `m` go to all
    its consumers."""

    def __init__(self, factory: Any, few: bool) -> None:
        self.net = Network(factory, **(LIMITS if few else {}))
        copies = Distribution(multicast.factory, multicast.Options(block_seconds=2.0))
        self.net.router.policies.table.add_pattern("m", copies)
        self.clients: list[Client] = []
        self.senders: list[Sender] = []
        self.receivers: list[Receiver] = []
        self.partial: dict[Sender, Sent] = {}
        self.sent: dict[bytes, Sent] = {}
        self.written: dict[Sent, bytearray] = {}
        """What there is of each message that is sent in pieces."""
        self.bodies: set[bytes] = set()
        """All messages of which nothing is to come."""
        self.withdrawn: set[Sent] = set()
        """Aborted, or settled by their producers first."""
        self.miscounting: set[Sender] = set()
        """Those whose own proton has lost count, as they settled what was not sent yet."""
        self.said: dict[Got, Outcome] = {}
        """What each consumer has said last of each message that it had whole."""
        self.given_back: set[Got] = set()
        self.messages = 0
        self.random = Random(1)
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
            mode = (Link.RCV_FIRST, Link.RCV_SECOND)[how % 2]
            session = self._session(client, how)
            self.senders.append(client.sender(ADDRESSES[how % 6], session=session, rcv_settle_mode=mode))

    def attach_consumer(self, which: int, how: int) -> None:
        client = self._client(which)
        if client is not None:
            mode = (Link.RCV_FIRST, Link.RCV_SECOND)[how % 2]
            session, address = self._session(client, how), ADDRESSES[how % 6]
            self.receivers.append(
                client.receiver(address, how % 5, dynamic=address is None, session=session, rcv_settle_mode=mode)
            )

    def _session(self, client: Client, how: int) -> Any:
        """One that is there, or a new one, whose window may be small."""
        live = [each for each in client.sessions if each.state & Endpoint.LOCAL_ACTIVE]
        if live and how % 3:
            return live[how % len(live)]
        session = client.session()
        if how % 5 == 0 and client.transport.max_frame_size:
            session.incoming_capacity = 4 * client.transport.max_frame_size
        return session

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
        endpoints = link.link, link.link.session, link.client.connection
        return not link.left and not link.client.gone and all(each.state == both for each in endpoints)

    # -- messages ----------------------------------------------------------------------------------

    def send(self, which: int, how: int) -> None:
        sender = self._sender(which)
        for _ in range(how % 5):
            if sender is not None and self._may_send(sender):
                data = self._message(how)
                self.bodies.add(data)
                self.sent[data] = sender.sends(data, presettled=how % 4 == 0)

    def _may_send(self, sender: Sender) -> bool:
        """It may have a few that wait for credit, unless it has just given that back: its proton would lose count."""
        return sender.link.queued < 5 and not (sender.link.drain_mode and sender.credit <= 0)

    def begin(self, which: int, how: int) -> None:
        sender = self._sender(which)
        if sender is not None and self._may_send(sender):
            data = self._message(how)
            self.partial[sender] = sent = sender.begins(data)
            self.written[sent] = bytearray(data)

    def go_on(self, which: int, how: int) -> None:
        sender = self._sender(which, True)
        if sender in self.partial:
            self.written[self.partial[sender]] += bytes(SIZES[how % 6])
            self.partial[sender].goes_on(bytes(SIZES[how % 6]))

    def end(self, which: int, how: int) -> None:
        sender = self._sender(which, True)
        if sender in self.partial:
            sent = self.partial.pop(sender)
            if how % 3:
                self.withdrawn.add(sent)
            if how % 3 != 1:
                self.bodies.add(bytes(self.written[sent]))
            if how % 3 == 2:
                self.miscounting.add(sent.sender)
            (sent.ends, sent.aborts, sent.settles)[how % 3]()

    def _message(self, how: int) -> bytes:
        """One that no other is like."""
        self.messages += 1
        message = proton.Message(bytes(SIZES[how % 6]), id=self.messages, address="qrm"[how % 3])
        message.ttl = 1.5 if how % 7 == 0 else 0
        return bytes(message.encode())

    def settle_first(self, which: int, how: int) -> None:
        sender = self._sender(which)
        if sender is not None and sender.sent:
            each = list(sender.sent.values())
            self.withdrawn.add(each[how % len(each)])
            each[how % len(each)].settles()

    def decide(self, which: int, how: int) -> None:
        receiver = self._receiver(which)
        if receiver is not None and receiver.unsettled:
            each = list(receiver.unsettled.values())
            got = each[how % len(each)]
            outcome = OUTCOMES[how % len(OUTCOMES)]
            if got.complete:
                self.say(got, outcome)
            if got.complete and how % 5:
                got.settles(outcome)
            else:
                got.updates(outcome)

    def accept(self, which: int, how: int) -> None:
        receiver = self._receiver(which)
        for got in list(receiver.unsettled.values()) if receiver is not None else ():
            if got.complete:
                self.say(got, ACCEPTED)
                got.settles(ACCEPTED)

    def say(self, got: Got, outcome: Outcome) -> None:
        """Note what is about to be said. Who has given a message back may say what it likes later."""
        if outcome != SETTLED or got not in self.said:  # proton says again what it said last
            self.said[got] = outcome
        if outcome.state == "released" or outcome.undeliverable:
            self.given_back.add(got)

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

    # -- the router ------------------------------------------------------------------------------

    def switch(self, which: int, how: int) -> None:
        """An address is given another policy."""
        policies = self.net.router.policies
        address = self.net.router.addresses.get("qr"[which % 2])
        if address is not None:
            factory = POLICIES[how % len(POLICIES)]
            policies.replace(address, Distribution(factory, factory.options(), bool(how % 2)))

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
                client.router_end.deadlines.beat(self.net.now)

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
        """All is carried, and all there is is taken; then all leave, and nothing is left of them."""
        for client in self.clients:
            client.wire.room = None
            if not client.gone:
                client.router_end.unblock()
        self.net.by_hand = False
        self.net.run()
        for number, sender in enumerate(list(self.partial)):
            if self._usable(sender):
                self.end(self.senders.index(sender), number % 2)
        self._check_drained()
        self._take_all()
        self._check_ended()
        self._check_credit()
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

    def _check_drained(self) -> None:
        """Who has asked for what there is, and for its credit back, has that."""
        for receiver in filter(self._usable, self.receivers):
            assert not receiver.link.drain_mode or receiver.credit <= 0, "a drain without an end"

    def _take_all(self) -> None:
        """Everybody accepts what there is, until there is nothing more."""
        taker = self.net.client()
        self.clients.append(taker)
        for receiver in filter(self._usable, self.receivers):
            # who has lowered its credit below what was on its way already has that waiting for it
            receiver.link.drain_mode = False
            receiver.grants(max(0, 1 - receiver.credit))
        self.receivers += [taker.receiver(address, 200) for address in ("q", "r", "m")]
        for _ in range(200):
            self.net.later(0.5)
            left = [got for each in self.receivers if self._usable(each) for got in each.unsettled.values()]
            for got in left:
                if got.complete:
                    self.say(got, ACCEPTED)
                    got.settles(ACCEPTED)
            for receiver in self.receivers[-3:]:
                receiver.grants(200 - receiver.credit)
            if not left and not any(each.link.queued or each.sent for each in self.senders if self._usable(each)):
                return
        raise AssertionError("there is always more")

    def _check_ended(self) -> None:
        """Every message of a producer that is there is over, and its producer was told the truth."""
        holders: dict[bytes, list[Outcome]] = {}
        for receiver in self.receivers:
            for got in receiver.got:
                if got.complete:
                    holders.setdefault(bytes(got.data), []).append(self.said.get(got, SETTLED))
        for body, sent in self.sent.items():
            if sent in self.withdrawn or sent.presettled or not self._usable(sent.sender):
                continue
            assert sent.outcome is not None, "a message that never ended"
            told, said = sent.outcome, holders.get(body, [])
            if told.state in ("accepted", "") or (told.state == "rejected" and not told.condition.startswith("amqp:")):
                assert told in said, f"told {told}, and consumers said {said}"

    def _check_credit(self) -> None:
        """What the router thinks that everybody has is what they have."""
        for client in self.clients:
            for link in [] if client.gone else client.router_end.links.values():
                name = link_name(link.pn)
                links: list[Any] = [*client.senders.values(), *client.receivers.values()]
                (ours,) = (each for each in links if each.link.name == name)
                if isinstance(link, OutgoingLink) and self._usable(ours) and ours.credit >= 0:
                    assert link.credit + link.withheld == ours.credit, f"{client.name} {name}"
                elif isinstance(link, IncomingLink) and self._usable(ours) and ours not in self.miscounting:
                    assert link.credit == ours.credit, f"{client.name} {name}"

    def _check_received(self) -> None:
        """Whoever has a message has it whole, once; and of those that it went to, all but one gave it back."""
        kept: Counter[bytes] = Counter()
        for receiver in self.receivers:
            assert max(Counter(receiver.bodies).values(), default=1) == 1
            assert self.bodies.issuperset(receiver.bodies), "a message that nobody has sent"
            assert all(got.complete or got.aborted for got in receiver.got if self._usable(receiver))
            for got in receiver.got:
                if got.complete and got not in self.given_back:
                    kept[bytes(got.data)] += receiver.link.source.address != "m"
        for body, times in kept.items():
            assert times <= 1, f"{len(body)} bytes were kept by {times}"


ACTS = [
    *(["carry"] * 15),
    *(["send", "grant"] * 12),
    *(["carry_out", "carry_in", "end_turn", "decide"] * 8),
    *(["begin", "go_on", "end", "accept"] * 4),
    *(["drain", "take_back", "give_back", "settle_first", "fill_socket", "free_socket", "wait"] * 2),
    *(["attach_producer", "attach_consumer", "close_producer", "close_consumer"] * 2),
    "switch",
    *["connect", "end_sessions", "close", "lose"],
]
