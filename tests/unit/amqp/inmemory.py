"""AMQP clients and a router in one process, without sockets: bytes are carried by hand, and time stands still.

    net = Network()
    producer, consumer = net.client().sender("q"), net.client().receiver("q", credit=1)
    sent = producer.sends(b"hello")
    got = consumer.next()
    got.settles(ACCEPTED)
    assert sent.outcome == ACCEPTED

The clients are proton's own engine. What a client does reaches the router, and the other way round, in `Network.run`,
which most methods call; with `net.by_hand` nothing moves but what a test carries: see `Client.carry`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import proton
from proton import Disposition, Event, Link

from txrouter.amqp.connection import Connection
from txrouter.amqp.turn import Turn
from txrouter.core.addresses import AddressTable, Distribution
from txrouter.core.limits import Limits
from txrouter.core.links import Address
from txrouter.core.router import Router
from txrouter.policies import pull

__all__ = [
    "ACCEPTED",
    "LOST",
    "RELEASED",
    "SETTLED",
    "Client",
    "Got",
    "Network",
    "Outcome",
    "Receiver",
    "Sender",
    "Sent",
]


@dataclass(frozen=True)
class Outcome:
    """A delivery's state with all its fields."""

    state: str
    failed: bool = False
    undeliverable: bool = False
    annotations: Mapping[str, object] = field(default_factory=dict)
    condition: str = ""
    description: str | None = None
    info: Mapping[str, object] = field(default_factory=dict)
    section: tuple[int, int] = (0, 0)

    def say(self, delivery: proton.Delivery) -> None:
        """Say it of a delivery."""
        local = delivery.local
        local.failed, local.undeliverable = self.failed, self.undeliverable
        local.section_number, local.section_offset = self.section
        if self.annotations:
            local.annotations = dict[Any, Any](self.annotations)
        if self.condition:
            info: Any = dict(self.info) or None
            local.condition = proton.Condition(self.condition, self.description, info)
        if self.state:
            delivery.update(_STATES[self.state])

    @staticmethod
    def heard(delivery: proton.Delivery) -> Outcome:
        """What the peer says of a delivery."""
        remote = delivery.remote
        state = _NAMES.get(delivery.remote_state, "")
        if state == "modified":
            return Outcome(state, bool(remote.failed), bool(remote.undeliverable), _plain(remote.annotations))
        if state == "rejected" and remote.condition is not None:
            condition = remote.condition
            return Outcome(
                state,
                condition=condition.name,
                description=condition.description,
                info=_plain(condition.info),  # type: ignore[arg-type]
            )
        if state == "received":
            return Outcome(state, section=(remote.section_number, remote.section_offset))
        return Outcome(state)


def _plain(entries: Mapping[Any, object] | None) -> dict[str, object]:
    return {str(key): value for key, value in (entries or {}).items()}


_STATES = {
    "accepted": Disposition.ACCEPTED,
    "rejected": Disposition.REJECTED,
    "released": Disposition.RELEASED,
    "modified": Disposition.MODIFIED,
    "received": Disposition.RECEIVED,
}
_NAMES = {int(state): name for name, state in _STATES.items()}

ACCEPTED = Outcome("accepted")
RELEASED = Outcome("released")
LOST = Outcome("modified", failed=True)
SETTLED = Outcome("")


class Wire:
    """The transport under the router's end of a connection. `room` is how much it takes before it is full."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.room: int | None = None
        self.paused = False
        self.closing = False
        self.aborted = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def write(self, data: memoryview) -> int:
        taken = len(data) if self.room is None else min(len(data), max(0, self.room - len(self.output)))
        self.output += data
        return taken

    def lose(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = True


class Network:
    """A router, its clients, and the time."""

    def __init__(self, factory: Any = pull.factory, **limits: Any) -> None:
        self.now = 0.0
        self.by_hand = False
        self.reports: list[tuple[str, dict[str, object]]] = []
        table = AddressTable(Distribution(factory, factory.options()))
        self.router = Router("here", table, Limits(**limits), report=lambda *report: self.reports.append(report))
        self.turn = Turn(self.router, self._schedule, lambda: self.now)
        self._turn_is_due = False
        self.clients: list[Client] = []
        self._count = 0

    def _schedule(self) -> None:
        assert not self._turn_is_due, "scheduled twice"
        self._turn_is_due = True

    @property
    def counters(self) -> Counter[str]:
        """What the router counted."""
        return self.router.counters

    def address(self, name: str = "q") -> Address:
        """An address that somebody is attached to."""
        return self.router.addresses[name]

    def client(self, max_frame: int = 0, **more: Any) -> Client:
        """A client connects and opens its connection."""
        self._count += 1
        client = Client(self, f"client-{self._count}", max_frame, **more)
        self.clients.append(client)
        self.run()
        return client

    def end_turn(self) -> bool:
        """The router's turn is over, if anything happened in it: that is returned."""
        if not self._turn_is_due:
            return False
        self._turn_is_due = False
        self.turn.end()
        return True

    def run(self) -> None:
        """Carry bytes until there are none left."""
        if self.by_hand:
            return
        for _ in range(10_000):
            moved = [client.carry() for client in list(self.clients)]
            if not any(moved) and not self._turn_is_due:
                return
            self.end_turn()
        raise AssertionError("the router and its clients never come to rest")

    def later(self, seconds: float) -> None:
        """Time passes; what is due then is done."""
        self.now += seconds
        self.router.now = self.now
        self.router.wake()
        self.turn.wake()
        self.run()

    def check(self) -> None:
        """Nothing went wrong that nobody is to blame for."""
        faults = [report for report in self.reports if report[0] in ("connection failed", "attach failed")]
        assert not faults, faults


class Client:
    """A client's connection. `reads` and `writes`: whether `Network.run` carries bytes to it, and from it."""

    def __init__(self, net: Network, name: str, max_frame: int = 0, **more: Any) -> None:
        self.net = net
        self.name = name
        self.wire = Wire()
        self.router_end = Connection(net.router, net.turn, self.wire, name)
        self.transport = proton.Transport(proton.Transport.CLIENT)
        if max_frame:
            self.transport.max_frame_size = max_frame
        self.connection = proton.Connection()
        self.connection.container = name
        for key, value in more.items():
            setattr(self.connection, key, value)
        self._collector = proton.Collector()
        self.connection.collect(self._collector)
        self.transport.bind(self.connection)
        self.connection.open()
        self.gone = False
        self.reads = True
        self.writes = True
        self.senders: dict[proton.Sender, Sender] = {}
        self.receivers: dict[proton.Receiver, Receiver] = {}
        self.sessions: list[proton.Session] = []
        self._links = 0

    # -- bytes -------------------------------------------------------------------------------------

    def carry(self) -> bool:
        """Carry what there is, where that is wanted. Returns whether there was anything."""
        return (self.writes and self.carry_out()) | (self.reads and self.carry_in())

    def carry_out(self, most: int = 1 << 30) -> bool:
        """Carry up to `most` bytes to the router."""
        moved = False
        while not self.gone and most > 0:
            pending = self.transport.pending()
            if pending <= 0:
                break
            data = bytes(self.transport.peek(min(pending, most)) or b"")
            self.transport.pop(len(data))
            self.router_end.receive(data)
            moved = True
            most -= len(data)
            self._endings()
        return moved

    def carry_in(self, most: int = 1 << 30) -> bool:
        """Carry up to `most` bytes to the client."""
        if self.gone:
            return False
        data = bytes(self.wire.output[:most])
        del self.wire.output[:most]
        self._take(data)
        if data and not self.wire.output:
            self.router_end.unblock()
        self._endings()
        return bool(data)

    def _take(self, data: bytes) -> None:
        while data:
            capacity = self.transport.capacity()
            if capacity < 0:
                return
            piece, data = data[:capacity], data[capacity:]
            self.transport.push(piece)
            self._serve_events()

    def _endings(self) -> None:
        if not self.gone and (self.wire.aborted or (self.wire.closing and not self.wire.output)):
            self.lose()

    def lose(self) -> None:
        """The connection is cut; what was on its way is lost."""
        if not self.gone:
            self.gone = True
            self.router_end.lose()
            self.transport.close_tail()
            self.transport.close_head()
            self._serve_events()
        self.net.run()

    def _serve_events(self) -> None:
        while (event := self._collector.peek()) is not None:
            if event.type == Event.DELIVERY and event.delivery is not None:
                self._delivery(event.delivery, event.link)
            del event  # before proton reuses it
            self._collector.pop()

    def _delivery(self, delivery: proton.Delivery, link: Any) -> None:
        if link in self.senders:
            self.senders[link].hears(delivery)
        elif link in self.receivers:
            self.receivers[link].hears(delivery)

    # -- what it does ------------------------------------------------------------------------------

    def session(self) -> proton.Session:
        """It begins a session."""
        session = self.connection.session()
        session.open()
        self.sessions.append(session)
        return session

    def sender(self, address: str | None, mode: int = Link.SND_MIXED, session: Any = None, **more: Any) -> Sender:
        """It attaches a producer; with None, an anonymous one. In a session of its own, if none is given."""
        self._links += 1
        link: Any = (session or self.session()).sender(f"sender-{self._links}")
        link.target.address = address
        return self._opened(Sender(self, link), link, snd_settle_mode=mode, **more)  # type: ignore[no-any-return]

    def receiver(
        self, address: str | None, credit: int = 0, dynamic: bool = False, session: Any = None, **more: Any
    ) -> Receiver:
        """It attaches a consumer, and grants credit. In a session of its own, if none is given."""
        self._links += 1
        link: Any = (session or self.session()).receiver(f"receiver-{self._links}")
        link.source.address = address
        link.source.dynamic = dynamic
        if credit:
            link.flow(credit)
        return self._opened(Receiver(self, link), link, **more)  # type: ignore[no-any-return]

    def _opened(self, ours: Any, link: Any, **more: Any) -> Any:
        for key, value in more.items():
            setattr(link, key, value)
        {Sender: self.senders, Receiver: self.receivers}[type(ours)][link] = ours  # type: ignore[index]
        link.open()
        self.net.run()
        return ours

    def ends_sessions(self) -> None:
        """It ends its sessions with all that is in them."""
        for session in self.sessions:
            session.close()
        self.net.run()

    def closes(self) -> None:
        """It closes its connection in order."""
        self.connection.close()
        self.net.run()


class Sender:
    """A producer."""

    def __init__(self, client: Client, link: proton.Sender) -> None:
        self.client = client
        self.link = link
        self.left = False
        """Whether it has closed or detached."""
        self.sent: dict[proton.Delivery, Sent] = {}
        self._tags = 0

    @property
    def credit(self) -> int:
        return self.link.credit

    @property
    def error(self) -> str | None:
        """The condition with which the router detached it."""
        condition = self.link.remote_condition
        return condition.name if condition else None

    def begins(self, data: bytes = b"") -> Sent:
        """It sends the first part of a message."""
        self._tags += 1
        sent = Sent(self, self.link.delivery(str(self._tags)))
        self.sent[sent.delivery] = sent
        sent.goes_on(data)
        return sent

    def sends_some(self, data: bytes, size: int, presettled: bool = False) -> Sent:
        """It sends a whole message, of which no more than `size` bytes reach the router until it `writes` again."""
        self.client.writes = False
        sent = self.sends(data, presettled)
        self.client.carry_out(size)
        self.client.net.run()
        return sent

    def sends(self, data: bytes, presettled: bool = False) -> Sent:
        """It sends a whole message."""
        self._tags += 1
        sent = Sent(self, self.link.delivery(str(self._tags)))
        self.sent[sent.delivery] = sent
        if data:
            self.link.stream(data)
        sent.presettled = presettled
        if presettled:
            sent.settles()
        else:
            sent.ends()
        return sent

    def hears(self, delivery: proton.Delivery) -> None:
        sent = self.sent.get(delivery)
        if sent is not None:
            sent.hears()

    def closes(self) -> None:
        self.left = True
        self.link.close()
        self.client.net.run()

    def detaches(self) -> None:
        self.left = True
        self.link.detach()
        self.client.net.run()


class Sent:
    """A message as its producer sees it. `outcome` is what it was told, once it is settled."""

    def __init__(self, sender: Sender, delivery: proton.Delivery) -> None:
        self.sender = sender
        self.delivery: Any = delivery  # let go of when it is settled: until then proton does not take it off its lists
        self.state = SETTLED
        self.outcome: Outcome | None = None
        self.presettled = False
        self._ended = False

    def goes_on(self, data: bytes) -> None:
        """More of it."""
        if data:
            self.sender.link.stream(data)
        self.sender.client.net.run()

    def ends(self) -> None:
        """That was all of it."""
        self._ended = True
        self.sender.link.advance()
        if self.outcome is not None:
            self._over().settle()
        self.sender.client.net.run()

    def aborts(self) -> None:
        """It is not sent to its end."""
        self._over().abort()
        self.sender.client.net.run()

    def settles(self, outcome: Outcome = SETTLED) -> None:
        """Its producer settles it first."""
        delivery = self._over()
        outcome.say(delivery)
        delivery.settle()
        del delivery
        self.sender.client.net.run()

    def _over(self) -> Any:
        delivery, self.delivery = self.delivery, None
        self.sender.sent.pop(delivery, None)
        return delivery

    def hears(self) -> None:
        """It settles when it is told the outcome, but not before it has sent it all: proton would send no more."""
        self.state = Outcome.heard(self.delivery)
        if self.delivery.settled:
            self.outcome = self.state
            if self._ended:
                self._over().settle()


class Receiver:
    """A consumer. `got` is every message that began to arrive."""

    def __init__(self, client: Client, link: proton.Receiver) -> None:
        self.client = client
        self.link = link
        self.left = False
        """Whether it has closed or detached."""
        self.got: list[Got] = []
        self.unsettled: dict[proton.Delivery, Got] = {}
        self._arriving: Got | None = None

    @property
    def credit(self) -> int:
        return self.link.credit

    @property
    def error(self) -> str | None:
        """The condition with which the router detached it."""
        condition = self.link.remote_condition
        return condition.name if condition else None

    @property
    def bodies(self) -> list[bytes]:
        """The messages that are there in whole."""
        return [bytes(got.data) for got in self.got if got.complete]

    def next(self) -> Got:
        """The last message that came."""
        return self.got[-1]

    def hears(self, delivery: proton.Delivery) -> None:
        known = self.unsettled.get(delivery)
        if known is not None and known is not self._arriving:
            known.settled_by_router = delivery.settled
            return
        if self.link.current != delivery:
            return
        got = self._arriving
        if got is None:
            got = self._arriving = self.unsettled[delivery] = Got(self, delivery)
            self.got.append(got)
        if delivery.aborted:
            got.aborted = True
            self._arriving = None
            got.over().settle()
            return
        while delivery.pending:
            got.data += self.link.recv(delivery.pending) or b""
        if not delivery.partial:
            got.complete = True
            got.presettled = delivery.settled
            self._arriving = None
            self.link.advance()
            if got.presettled:
                got.over().settle()

    def grants(self, credit: int) -> None:
        self.link.flow(credit)
        self.client.net.run()

    def drains(self, credit: int = 0) -> None:
        self.link.drain(credit)
        self.client.net.run()

    def closes(self) -> None:
        self.left = True
        self.link.close()
        self.client.net.run()

    def detaches(self) -> None:
        self.left = True
        self.link.detach()
        self.client.net.run()


class Got:
    """A message as its consumer sees it."""

    def __init__(self, receiver: Receiver, delivery: proton.Delivery) -> None:
        self.receiver = receiver
        self.delivery: Any = delivery
        self.data = bytearray()
        self.complete = False
        self.aborted = False
        self.presettled = False
        self.settled_by_router = False

    def updates(self, outcome: Outcome) -> None:
        """Its consumer says what becomes of it, and does not settle it."""
        outcome.say(self.delivery)
        self.receiver.client.net.run()

    def settles(self, outcome: Outcome = SETTLED) -> None:
        """Its consumer settles it."""
        delivery = self.over()
        outcome.say(delivery)
        delivery.settle()
        del delivery
        self.receiver.client.net.run()

    def over(self) -> Any:
        """It is about to be settled."""
        delivery, self.delivery = self.delivery, None
        del self.receiver.unsettled[delivery]
        return delivery
