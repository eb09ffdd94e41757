"""A test client's links, and the messages on them: proton's, with what has come kept where a test can look at it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import proton

from tests.net.waiting import wait_until

if TYPE_CHECKING:
    from tests.net.clients import Client


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


def error_of(condition: Any) -> Error | None:
    """What a condition of proton's says."""
    return condition and Error(condition.name, condition.description, condition.info)


def _state(delivery: Any) -> State:
    code, remote = delivery.remote_state, delivery.remote
    if not code:
        return SETTLED
    name = getattr(code, "name", f"{code}").lower()  # proton has names for those of the standard only
    if name == "modified":
        return State(name, remote.failed, remote.undeliverable, remote.annotations)
    if name == "rejected":
        return State(name, error=error_of(remote.condition))
    if name == "received":
        return State(name, section=(remote.section_number, remote.section_offset))
    return State(name)


def _say(delivery: Any, state: State) -> None:
    local = delivery.local
    local.failed, local.undeliverable, local.annotations = state.failed, state.undeliverable, state.annotations
    if state.section is not None:
        local.section_number, local.section_offset = state.section
    if state.error is not None:
        local.condition = proton.Condition(state.error.name, state.error.description, state.error.info)
    delivery.update(getattr(proton.Delivery, state.name.upper()))


def _encoded(message: bytes | proton.Message) -> bytes:
    return message if isinstance(message, bytes) else bytes(message.encode())


_AT_ONCE = 1 << 16


class Sent:
    """A message on its way."""

    def __init__(self, sender: Sender, delivery: Any, presettled: bool) -> None:
        self._sender = sender
        self._presettled = presettled
        self._delivery = delivery
        self.state: State = SETTLED
        """What the router said of it last."""
        self.settled = False
        """Whether the router has settled it."""
        self._ended = False

    def write(self, data: bytes) -> None:
        """A piece of it."""
        for at in range(0, len(data), _AT_ONCE):  # proton would spend its time moving a large one about
            self._sender.link.stream(data[at : at + _AT_ONCE])
            self._sender.client.flush()

    def end(self) -> None:
        """There are no more pieces."""
        self._ended = True
        self._sender.link.advance()
        if self._presettled:
            self._delivery.settle()
        self._settle_as_router()
        self._sender.client.flush()

    def abort(self) -> None:
        """Take it back, half sent."""
        self._ended = True
        self._sender.unsettled.pop(self._delivery, None)
        self._delivery.abort()
        self._sender.client.flush()

    def settle(self) -> None:
        """Settle it without waiting for the router."""
        self._sender.unsettled.pop(self._delivery)
        self._delivery.settle()
        self._sender.client.flush()

    def update(self, state: State) -> None:
        """Say something of it, and leave it unsettled."""
        _say(self._delivery, state)
        self._sender.client.flush()

    def updated(self) -> None:
        """The router said something of it."""
        self.state = _state(self._delivery)
        self.settled = bool(self._delivery.settled)
        self._settle_as_router()
        if self.settled and self._sender.told is not None:
            self._sender.told(self)

    def _settle_as_router(self) -> None:
        # one that is only half sent may be settled by the router, but not here
        if self.settled and self._ended and self._sender.unsettled.pop(self._delivery, None):
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
        self.data = bytearray()
        self.complete = False
        self.aborted = False
        self.settled = bool(delivery.settled)
        """Whether the router has settled it: at once, if it was sent pre-settled."""
        self.state: State = SETTLED
        """What its producer said of it last."""

    @property
    def message(self) -> proton.Message:
        """It, decoded."""
        message = proton.Message()
        message.decode(bytes(self.data))
        return message

    def update(self, state: State) -> None:
        """Say what becomes of it, and leave it unsettled."""
        _say(self._delivery, state)
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
        while not self.aborted and (data := link.recv(1 << 16)):
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
        self.closed = False
        """Whether the router has detached."""

    @property
    def open(self) -> bool:
        """Whether the router has attached its end, and not detached it."""
        return bool(self.link.state & proton.Endpoint.REMOTE_ACTIVE) and not self.closed

    @property
    def error(self) -> Error | None:
        """What the router detached it for."""
        return error_of(self.link.remote_condition)

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

    told: Callable[[Sent], None] | None = None
    """Hears of each message that the router has settled."""

    @property
    def address(self) -> str:
        """Where it sends to, as the router has it."""
        return str(self.link.remote_target.address)

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
        """Begin a message that is sent in pieces."""
        delivery = self.link.delivery(f"{next(self._tags)}")
        sent = Sent(self, delivery, presettled)
        if not presettled:
            self.unsettled[delivery] = sent
        return sent

    def send(self, message: bytes | proton.Message, *, presettled: bool = False) -> Sent:
        """Send a message; if there is no credit, it waits for some here."""
        sent = self.begin(presettled=presettled)
        data = _encoded(message)
        if len(data) > _AT_ONCE:
            sent.write(data)
        else:
            self.link.stream(data)
        sent.end()
        return sent


class Receiver(Link):
    """A link that messages are received on."""

    def __init__(self, client: Client, link: Any, takes: State | None) -> None:
        super().__init__(client, link)
        self.takes = takes
        """What it says of every message at once; None: that is left to the test."""
        self.told: Callable[[Received], None] | None = None
        """Hears of each message that has come whole."""
        self.reading = True
        """Whether it takes in what comes; if not, that fills the session's window."""
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

    def read(self) -> None:
        """Take in what has come while it was not reading."""
        self.reading = True
        if self.link.current:
            self.delivered(self.link.current)
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
            known.settled, known.state = bool(delivery.settled), _state(delivery)
            return
        if self.link.current != delivery or not self.reading:
            return
        received = self.coming = self.coming or Received(self, delivery)
        if received.arrived():
            self.coming = None
            (self.messages if received.complete else self.aborted).append(received)
            if self.takes is not None and not received.settled and received.complete:
                received.settle(self.takes)
            if self.told is not None and received.complete:
                self.told(received)
            if self.link.current:
                self.delivered(self.link.current)
