"""Clients for tests over real sockets: python-qpid-proton's own engine, moved by Twisted, in the router's process.

`Client` is a connection, `Sender` and `Receiver` are its links, `Sent` and `Received` are the deliveries on them. None
does anything by itself that a test has not asked for, but answer the router's close and detach frames. What a call has
to say is on its way to the socket when it returns; what it leads to is waited for with `wait_until`.
"""

from __future__ import annotations

import inspect
import itertools
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import proton
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

reactor: Any = installed_reactor

PATIENCE = 10.0
"""Seconds after which what has not come will not come."""
_LOOK_AGAIN = 0.01
"""Seconds between looks at what changes in the router without a client hearing of it."""

DYNAMIC: Final = object()
"""The address of a receiver that asks the router for one."""
COORDINATOR: Final = object()
"""The address of a sender to the transaction coordinator."""

_waiting: list[Deferred[None]] = []


async def wait_until(reached: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until `reached` says so. It is asked whenever something has come to a client, and now and then."""
    deadline = reactor.seconds() + patience
    while not reached():
        if reactor.seconds() > deadline:
            raise AssertionError(f"it never came: {inspect.getsource(reached).strip()}")
        something: Deferred[None] = Deferred()
        _waiting.append(something)
        again = reactor.callLater(_LOOK_AGAIN, something_came)
        await something
        if again.active():
            again.cancel()


def something_came() -> None:
    """Have everything that is waited for looked at."""
    waiting = _waiting[:]
    _waiting.clear()
    for each in waiting:
        each.callback(None)


@dataclass(frozen=True)
class Error:
    """An AMQP error."""

    name: str
    description: str | None = None
    info: Any = None


@dataclass(frozen=True)
class State:
    """What one end says of a delivery."""

    name: str
    failed: bool = False
    undeliverable: bool = False
    annotations: Any = None
    error: Error | None = None
    section: tuple[int, int] | None = None


ACCEPTED = State("accepted")
RELEASED = State("released")
LOST = State("modified", failed=True)
SETTLED = State("")
"""Settled, and nothing said of what became of it."""


def _error(condition: Any) -> Error | None:
    return condition and Error(condition.name, condition.description, condition.info)


def _state(delivery: Any) -> State:
    code, remote = delivery.remote_state, delivery.remote
    if not code:
        return SETTLED
    name = code.name.lower()
    if name == "modified":
        return State(name, remote.failed, remote.undeliverable, remote.annotations)
    if name == "rejected":
        return State(name, error=_error(remote.condition))
    if name == "received":
        return State(name, section=(remote.section_number, remote.section_offset))
    return State(name)


def _encoded(message: bytes | proton.Message) -> bytes:
    return message if isinstance(message, bytes) else bytes(message.encode())


class Sent:
    """A message on its way."""

    def __init__(self, sender: Sender, delivery: Any) -> None:
        self._sender = sender
        self._delivery = delivery
        self.state: State = SETTLED
        """What the router said of it last."""
        self.settled = False
        """Whether the router has settled it."""

    def write(self, data: bytes) -> None:
        """A piece of it."""
        self._sender.link.stream(data)
        self._sender.client.flush()

    def end(self) -> None:
        """There are no more pieces."""
        self._sender.link.advance()
        self._sender.client.flush()

    def abort(self) -> None:
        """Take it back, half sent."""
        self.settled = True
        self._delivery.abort()
        self._sender.client.flush()

    def settle(self) -> None:
        """Settle it without waiting for the router."""
        self._sender.unsettled.pop(self._delivery)
        self._delivery.settle()
        self._sender.client.flush()

    def updated(self) -> None:
        """The router said something of it."""
        self.state = _state(self._delivery)
        self.settled = bool(self._delivery.settled)
        if self.settled:
            self._sender.unsettled.pop(self._delivery)
            self._delivery.settle()

    async def over(self) -> State:
        """How it ended, once the router has settled it."""
        await wait_until(lambda: self.settled)
        return self.state


class Received:
    """A message that is coming, or has come."""

    def __init__(self, receiver: Receiver, delivery: Any) -> None:
        self._receiver = receiver
        self._delivery = delivery
        self.data = b""
        self.complete = False
        self.aborted = False
        self.settled = bool(delivery.settled)
        """Whether the router has settled it: at once, if it was sent pre-settled."""
        self.tag_size = 0

    @property
    def message(self) -> proton.Message:
        """It, decoded."""
        message = proton.Message()
        message.decode(self.data)
        return message

    def update(self, state: State) -> None:
        """Say what becomes of it, and leave it unsettled."""
        local = self._delivery.local
        local.failed, local.undeliverable, local.annotations = state.failed, state.undeliverable, state.annotations
        if state.section is not None:
            local.section_number, local.section_offset = state.section
        if state.error is not None:
            local.condition = proton.Condition(state.error.name, state.error.description, state.error.info)
        self._delivery.update(getattr(proton.Delivery, state.name.upper()))
        self._receiver.client.flush()

    def settle(self, state: State = SETTLED) -> None:
        """Say what became of it."""
        if state != SETTLED:
            self.update(state)
        self._receiver.unsettled.pop(self._delivery)
        self._delivery.settle()
        self._receiver.client.flush()

    def accept(self) -> None:
        """It is done."""
        self.settle(ACCEPTED)

    def arrived(self) -> bool:
        """Take in what is there of it. Returns whether that was the end of it."""
        link = self._receiver.link
        self._receiver.unsettled[self._delivery] = self
        self.aborted = bool(self._delivery.aborted)
        while not self.aborted and (data := link.recv(1 << 20)):
            self.data += data
        self.complete = not self._delivery.partial and not self.aborted
        self.settled = bool(self._delivery.settled)
        if self.complete:
            link.advance()
        if self.aborted or (self.complete and self.settled):
            self.settle()
        return self.complete or self.aborted


class Link:
    """A client's end of a link."""

    def __init__(self, client: Client, link: Any) -> None:
        self.client = client
        self.link = link
        self.unsettled: dict[Any, Any] = {}

    @property
    def open(self) -> bool:
        """Whether the router has attached, and not detached, its end."""
        return bool(self.link.state & proton.Endpoint.REMOTE_ACTIVE)

    @property
    def closed(self) -> bool:
        """Whether the router has detached."""
        return bool(self.link.state & proton.Endpoint.REMOTE_CLOSED)

    @property
    def error(self) -> Error | None:
        """What the router detached it for."""
        return _error(self.link.remote_condition)

    @property
    def credit(self) -> int:
        """What there is left of what the receiving end granted."""
        return int(self.link.credit)

    async def attached(self) -> None:
        """Wait until the router has answered."""
        await wait_until(lambda: self.open or self.closed)

    def detach(self) -> None:
        """Detach without closing."""
        self.link.detach()
        self.client.flush()

    def close(self) -> None:
        """Detach for good."""
        self.link.close()
        self.client.flush()


class Sender(Link):
    """A link that messages are sent on."""

    _tags = itertools.count()

    @property
    def drain_asked(self) -> bool:
        """Whether the router wants its credit back."""
        return bool(self.link.drain_mode)

    def drained(self) -> int:
        """Give it back."""
        given = int(self.link.drained())
        self.client.flush()
        return given

    async def credited(self, credit: int = 1) -> None:
        """Wait for credit."""
        await wait_until(lambda: self.credit >= credit)

    def begin(self, *, presettled: bool = False) -> Sent:
        """Begin a message that is sent in pieces; `presettled` is for one that has them all in one frame."""
        delivery = self.link.delivery(f"{next(self._tags)}")
        sent = Sent(self, delivery)
        if presettled:
            delivery.settle()
        else:
            self.unsettled[delivery] = sent
        return sent

    def send(self, message: bytes | proton.Message, *, presettled: bool = False) -> Sent:
        """Send a message; if there is no credit, it waits for some here."""
        delivery = self.link.delivery(f"{next(self._tags)}")
        sent = Sent(self, delivery)
        self.link.stream(_encoded(message))
        self.link.advance()
        if presettled:
            delivery.settle()
        else:
            self.unsettled[delivery] = sent
        self.client.flush()
        return sent


class Receiver(Link):
    """A link that messages are received on."""

    def __init__(self, client: Client, link: Any, takes: State | None) -> None:
        super().__init__(client, link)
        self.takes = takes
        """What it says of every message at once; None: that is left to the test."""
        self.coming: Received | None = None
        """The message of which there are more pieces to come."""
        self.messages: list[Received] = []
        """All that have come whole, in order."""
        self.aborted: list[Received] = []
        self._unread = 0

    @property
    def address(self) -> str:
        """Where it receives from, as the router has it."""
        return str(self.link.remote_source.address)

    @property
    def bodies(self) -> list[object]:
        """What the messages that have come say."""
        return [each.message.body for each in self.messages]

    def flow(self, credit: int) -> None:
        """Grant so much more."""
        self.link.flow(credit)
        self.client.flush()

    def drain(self, credit: int = 0) -> None:
        """Ask for what there is, and for the rest of the credit back."""
        self.link.drain(credit)
        self.client.flush()

    async def next(self) -> Received:
        """The next message that has come whole."""
        await wait_until(lambda: len(self.messages) > self._unread)
        self._unread += 1
        return self.messages[self._unread - 1]

    async def count(self, messages: int) -> None:
        """Wait until so many have come whole."""
        await wait_until(lambda: len(self.messages) >= messages)

    def delivered(self, delivery: Any) -> None:
        """A message, or more of one, or news of one."""
        known = self.unsettled.get(delivery)
        if known is not None and known is not self.coming:
            known.settled = bool(delivery.settled)
            return
        if self.link.current != delivery:
            return
        received = self.coming = self.coming or Received(self, delivery)
        if received.arrived():
            self.coming = None
            (self.messages if received.complete else self.aborted).append(received)
            if self.takes is not None and not received.settled and received.complete:
                received.settle(self.takes)
            if self.link.current:
                self.delivered(self.link.current)


class Client(Protocol):
    """A connection to the router.

    :param container: its container id.
    :param sasl: whether it begins with the SASL layer, as ANONYMOUS; else with a bare AMQP header.
    :param idle_timeout: how many seconds of silence it bears; half of that is announced. 0 for any number.
    """

    _names = itertools.count()

    def __init__(self, container: str, *, sasl: bool = False, idle_timeout: float = 0, max_frame: int = 0) -> None:
        self.lost = False
        """Whether the socket is gone."""
        self.engine: Any = proton.Transport()
        self.connection: Any = proton.Connection()
        self.connection.container = container
        self._collector: Any = proton.Collector()
        self.connection.collect(self._collector)
        if sasl:
            self.engine.sasl().allowed_mechs("ANONYMOUS")
        self.engine.idle_timeout = idle_timeout
        if max_frame:
            self.engine.max_frame_size = max_frame
        self.engine.bind(self.connection)
        self._links: dict[Any, Sender | Receiver] = {}
        self._session: Any = None

    # -- what the router says ----------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether the router has opened the connection, and not closed it."""
        return bool(self.connection.state & proton.Endpoint.REMOTE_ACTIVE)

    @property
    def closed(self) -> bool:
        """Whether a close frame came."""
        return bool(self.connection.state & proton.Endpoint.REMOTE_CLOSED)

    @property
    def error(self) -> Error | None:
        """What the router closed it for."""
        return _error(self.connection.remote_condition)

    async def opened(self) -> None:
        """Wait until the router has answered."""
        await wait_until(lambda: self.open or self.closed or self.lost)

    async def gone(self) -> None:
        """Wait until the socket is gone."""
        await wait_until(lambda: self.lost)

    async def sync(self) -> None:
        """Wait until the router has served all that this client has said so far, and this client has all that it led to
        here: a session is begun and ended, and whatever came before it on either way has arrived before it."""
        session = self.new_session()
        await wait_until(lambda: session.state & proton.Endpoint.REMOTE_ACTIVE)
        session.close()
        self.flush()
        await wait_until(lambda: session.state & proton.Endpoint.REMOTE_CLOSED)
        session.free()

    # -- what the client does ----------------------------------------------------------------------

    def new_session(self) -> Any:
        """Begin a session more."""
        session = self.connection.session()
        session.open()
        self.flush()
        return session

    def attach_sender(
        self,
        address: object,
        *,
        session: Any = None,
        name: str | None = None,
        mode: int = proton.Link.SND_MIXED,
        settles: int = proton.Link.RCV_FIRST,
    ) -> Sender:
        """A sender to `address`: None for one whose messages say themselves where they go. The router's answer is not
        waited for."""
        link = self._in(session).sender(name or f"link{next(self._names)}")
        if address is COORDINATOR:
            link.target.type = proton.Terminus.COORDINATOR
        else:
            link.target.address = address
        link.snd_settle_mode, link.rcv_settle_mode = mode, settles
        sender = self._links[link] = Sender(self, link)
        link.open()
        self.flush()
        return sender

    def attach_receiver(
        self,
        address: object,
        *,
        credit: int = 0,
        takes: State | None = None,
        session: Any = None,
        name: str | None = None,
        settles: int = proton.Link.RCV_FIRST,
        properties: Mapping[str, object] | None = None,
    ) -> Receiver:
        """A receiver from `address`; the router's answer is not waited for."""
        link = self._in(session).receiver(name or f"link{next(self._names)}")
        if address is DYNAMIC:
            link.source.dynamic = True
        else:
            link.source.address = address
        link.rcv_settle_mode = settles
        if properties:
            link.properties = dict(properties)
        receiver = self._links[link] = Receiver(self, link, takes)
        link.open()
        if credit:
            link.flow(credit)
        self.flush()
        return receiver

    async def sender(self, address: object, **options: Any) -> Sender:
        """As `attach_sender`, once the router has answered."""
        sender = self.attach_sender(address, **options)
        await sender.attached()
        return sender

    async def receiver(self, address: object, **options: Any) -> Receiver:
        """As `attach_receiver`, once the router has answered, and served the credit."""
        receiver = self.attach_receiver(address, **options)
        await receiver.attached()
        if receiver.open:
            await self.sync()
        return receiver

    def _in(self, session: Any) -> Any:
        if session is None:
            session = self._session = self._session or self.new_session()
        return session

    def close(self) -> None:
        """Close in order."""
        self.connection.close()
        self.flush()

    def abort(self) -> None:
        """Be gone, without a word."""
        transport: Any = self.transport
        transport.abortConnection()

    def stop_reading(self) -> None:
        """Let what comes pile up in the socket, which takes little."""
        transport: Any = self.transport
        transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        transport.pauseProducing()

    def go_on_reading(self) -> None:
        """The end of `stop_reading`."""
        transport: Any = self.transport
        transport.resumeProducing()

    # -- bytes -------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        self.connection.open()
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        while data and (room := self.engine.capacity()) > 0:
            self.engine.push(data[:room])
            data = data[room:]
            self._serve()
        self.flush()
        something_came()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        something_came()

    def flush(self) -> None:
        """Write what there is."""
        transport: Any = self.transport
        while (pending := self.engine.pending()) > 0:
            transport.write(self.engine.peek(pending))
            self.engine.pop(pending)
        self._serve()
        if pending < 0 and not self.lost:
            transport.loseConnection()

    def tick(self) -> float:
        """Let proton keep its idle time-outs; returns the seconds until it wants to be let again, 0 for never."""
        now = reactor.seconds()
        due = float(self.engine.tick(now))
        self._serve()
        self.flush()
        return max(0.001, due - now) if due else 0

    def _serve(self) -> None:
        while event := self._collector.peek():
            kind = event.type
            if kind == proton.Event.DELIVERY:
                self._delivery(event.delivery)
            elif kind in (proton.Event.LINK_REMOTE_CLOSE, proton.Event.LINK_REMOTE_DETACH):
                event.link.close()
            elif kind == proton.Event.CONNECTION_REMOTE_CLOSE:
                event.connection.close()
            self._collector.pop()

    def _delivery(self, delivery: Any) -> None:
        link = self._links.get(delivery.link)
        if isinstance(link, Receiver):
            link.delivered(delivery)
        elif link is not None and delivery in link.unsettled and delivery.updated:
            link.unsettled[delivery].updated()
