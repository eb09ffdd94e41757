"""The wire's side of producers, consumers and deliveries: where the bytes of a message move.

A message that is whole when its consumer is chosen, the plain case, moves in `OutgoingLink.send`: one copy, through one
buffer. Every other goes through `IncomingLink.read`: one that comes in pieces is streamed, one that is held stays
in proton, unread but for the few bytes somebody asked for, as its link's `head`; what is behind it waits too.
Only where those behind may pass (an anonymous producer's, or one that waits for a certain consumer) it is read into memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from txrouter.amqp import sections
from txrouter.amqp.engine import (
    BUFFER,
    CHUNK,
    STATE_ACCEPTED,
    TAG,
    TAG_COUNTER,
    delivery_abort,
    delivery_aborted,
    delivery_partial,
    delivery_pending,
    delivery_remote_state,
    delivery_settle,
    delivery_settled,
    delivery_update,
    link_advance,
    link_credit,
    link_current,
    link_drain,
    link_drained,
    link_flow,
    link_get_drain,
    link_queued,
    link_recv,
    link_send,
    link_session,
    new_delivery,
    next_tag,
    session_outgoing_bytes,
    unpack,
)
from txrouter.amqp.outcomes import forward_state, heard, say
from txrouter.core.deliveries import Delivery
from txrouter.core.links import Address, Consumer, Producer
from txrouter.core.outcomes import ACCEPTED, Outcome, rejected

if TYPE_CHECKING:
    from txrouter.amqp.connection import Connection

__all__ = ["IncomingDelivery", "IncomingLink", "OutgoingLink"]

STREAM_FROM: Final[int] = 1 << 16
"""A message that is still arriving is started when this much of it is there."""
KEEP: Final[int] = 1 << 15
"""A message up to this size is kept until it is settled, so that another consumer can have it if this one releases it."""
OUTGOING_HIGH: Final[int] = 1 << 18
"""A session with more unsent bytes takes nothing more until they have gone."""
LARGE: Final[int] = 1 << 12
"""A message below this size is not worth asking how much its session has unsent: credit bounds those well enough."""
GLANCE: Final[int] = 512
"""Bytes read of a message to find a field in it; more only if they do not reach."""
FARTHEST: Final[int] = 1 << 16
"""A field that lies further behind is not found."""

TOO_LARGE = rejected(
    "amqp:link:message-size-exceeded", "the message is larger than this listener allows"
)


class IncomingDelivery(Delivery):
    """A delivery with proton's pointers to its two sides, and what was read of it."""

    __slots__ = ("out", "pn", "prefix", "whole")

    producer: IncomingLink | None
    consumer: OutgoingLink | None

    def __init__(
        self,
        producer: IncomingLink | None,
        destination: Address,
        presettled: bool,
        arrived: float,
        pn: Any,
    ) -> None:
        # instead of super().__init__(): this runs for every message
        self.producer = producer
        self.destination = destination
        self.presettled = presettled
        self.arrived = arrived
        self.consumer = None
        self.sent_at = 0.0
        self.shelf = None
        self.history = None
        self.pn = pn
        self.out: Any = None
        self.prefix: bytes | None = None
        """What was read of it into memory; None while it is untouched in proton, or went by unseen."""
        self.whole = False
        """Whether `prefix` is all of it."""

    # -- what policies and the core may read -----------------------------------------------------------------------

    def field(self, name: str) -> object:
        """As IDelivery says."""
        return self._look(
            lambda data, complete: sections.field(data, name, complete), name
        )

    def application_property(self, name: str) -> object:
        """As IDelivery says."""
        return self._look(
            lambda data, complete: sections.application_property(data, name, complete),
            name,
        )

    def _look(self, find: Any, name: str) -> object:
        reach = GLANCE
        while True:
            data = self._read_up_to(reach)
            try:
                return find(data, self.whole)
            except sections.Short:
                if reach >= FARTHEST or len(data) < reach:
                    return None
                reach *= 8

    def _read_up_to(self, reach: int) -> bytes:
        data = self.prefix
        if data is None:
            data = self.prefix = b""
        if not self.whole and len(data) < reach and self._is_current():
            data = self._take(reach - len(data))
        return data

    def _is_current(self) -> bool:
        producer = self.producer
        return (
            self.out is None
            and self.pn is not None
            and producer is not None
            and producer.pn is not None
            and bool(link_current(producer.pn) == self.pn)
        )

    def _take(self, size: int) -> bytes:
        """Read up to `size` bytes more of the current delivery."""
        producer = self.producer
        assert producer is not None
        data = self.prefix or b""
        while size > 0:
            count = link_recv(producer.pn, BUFFER, min(size, CHUNK))
            if count <= 0:
                break
            data += unpack(BUFFER, count)
            size -= count
        self.prefix = data
        self.whole = not delivery_partial(self.pn) and not delivery_pending(self.pn)
        producer.connection.mark()
        return data

    def read_all(self, limit: int) -> bool:
        """Have the whole message in memory, if all of it has arrived and it is no longer than `limit` bytes."""
        if self.whole:
            return True
        if not self._is_current() or delivery_partial(self.pn):
            return False
        rest = delivery_pending(self.pn)
        if len(self.prefix or b"") + rest > limit:
            return False
        self._take(rest)
        self.whole = True
        return True

    # -- what the core asks for --------------------------------------------------------------------------------------

    def can_be_resent(self) -> bool:
        """Whether the whole message is still here."""
        return self.whole

    def was_sent(self) -> bool:
        """Whether any frame of it may have been made."""
        if not self.whole or not self.prefix:
            return True
        return bool(delivery_pending(self.out) < len(self.prefix))

    def finish(self, outcome: Outcome) -> None:
        """Tell the producer, and settle both sides."""
        producer = self.producer
        pn = self.pn
        if pn is not None and producer is not None:
            if self.presettled:
                producer.unsettled.pop(pn, None)
            else:
                del producer.unsettled[pn]
                if outcome is ACCEPTED:
                    delivery_update(pn, STATE_ACCEPTED)
                else:
                    say(outcome, pn)
            self.pn = None
            delivery_settle(pn)
            connection = producer.connection
            if not connection.dirty:
                connection.mark()
            if producer.head is self or producer.ahead:
                producer.let_go(self)
        out = self.out
        if out is not None:
            consumer = self.consumer
            if consumer.streaming is self:  # type: ignore[union-attr]  # with an `out` there is one
                self.recall()
                return
            del consumer.unsettled[out]  # type: ignore[union-attr]
            self.out = None
            delivery_settle(out)
            connection = consumer.connection  # type: ignore[union-attr]
            if not connection.dirty:
                connection.mark()

    def recall(self) -> None:
        """Let go of the consumer's side; a half-sent message is aborted."""
        consumer = self.consumer
        out = self.out
        if out is None or consumer is None:
            return
        consumer.unsettled.pop(out, None)
        self.out = None
        if consumer.streaming is self:
            delivery_abort(out)
            consumer.streaming = None
            consumer.refresh()
        else:
            delivery_settle(out)
        consumer.connection.mark()


class IncomingLink(Producer):
    """A producer's link."""

    __slots__ = (
        "ahead",
        "arrivals",
        "connection",
        "head",
        "max_size",
        "may_presettle",
        "plain",
        "pn",
        "session",
        "size",
    )

    head: IncomingDelivery | None

    def __init__(
        self, id: str, connection: Connection, properties: Mapping[str, object], pn: Any
    ) -> None:
        super().__init__(id, connection.container, properties)
        self.connection = connection
        self.pn = pn
        self.session = link_session(pn)
        self.may_presettle = True
        self.max_size = connection.limits.max_message_size
        self.plain = True
        """A whole message can go straight to the router: nothing is before it, and where it goes is known."""
        self.head = None
        """The link's current delivery, once the router knows of it and until it has left: held, or being streamed."""
        self.size = 0
        """Bytes of `head` that were streamed."""
        self.ahead: dict[IncomingDelivery, int] = {}
        """Held deliveries that were read into memory, and their sizes."""
        self.arrivals: dict[Any, float] = {}
        """When the deliveries behind `head` came."""

    def grant(self, credit: int) -> None:
        """Let it send more."""
        link_flow(self.pn, credit)
        self.connection.mark()

    def drain(self) -> None:
        """Ask for the credit back."""
        link_drain(self.pn, 0)
        self.connection.mark()

    def overdrawn(self) -> None:
        """It sent more than it was granted."""
        self.connection.refuse_link(
            self,
            "amqp:link:transfer-limit-exceeded",
            "more messages than there was credit for",
        )

    # -- reading -------------------------------------------------------------------------------------------------------

    def noted(self, pointer: Any) -> None:
        """An event for a delivery that is not the current one: one waits behind, or the producer says more about one
        that was passed on."""
        delivery = self.unsettled.get(pointer)
        if delivery is None:
            if self.head is not None:
                self.arrivals.setdefault(pointer, self.connection.router.now)
            return
        assert isinstance(delivery, IncomingDelivery)
        if delivery.out is not None:
            forward_state(pointer, delivery.out)
            if delivery.consumer is not None:
                delivery.consumer.connection.mark()
        if delivery_settled(pointer):
            self.connection.router.abandon(delivery)

    def read(self) -> None:
        """Go on with what has arrived, as far as it may go now."""
        while self.pn is not None:
            pointer = link_current(self.pn)
            if not pointer:
                return
            head = self.head
            if head is None:
                if not self._start(pointer):
                    return
            elif delivery_aborted(pointer):
                self.connection.router.counters["aborted"] += 1
                self.connection.router.abandon(head)
            elif head.out is None or not self._stream(head):
                return

    def _start(self, pointer: Any) -> bool:
        """Take up the current delivery. Returns False if the link has to wait."""
        router = self.connection.router
        arrived = self.arrivals.pop(pointer, router.now)
        address = self.address
        if self.plain and address is not None and not delivery_partial(pointer):
            presettled = self.may_presettle and delivery_settled(pointer)
            delivery = IncomingDelivery(self, address, presettled, arrived, pointer)
            return router.route(delivery) or self.wait(delivery)
        if delivery_aborted(pointer):
            router.counters["aborted"] += 1
            self.credit -= 1
            delivery_settle(pointer)
            self.connection.mark()
            return True
        pending = delivery_pending(pointer)
        if self.max_size and pending > self.max_size:
            self._too_large(pointer)
            return False
        if delivery_partial(pointer) and pending < STREAM_FROM:
            if arrived != router.now:
                self.arrivals[pointer] = arrived
            return False
        presettled = self.may_presettle and delivery_settled(pointer)
        delivery = IncomingDelivery(self, address, presettled, arrived, pointer)  # type: ignore[arg-type]
        delivery.prefix = b""
        self._set_head(delivery)
        if not presettled:
            self.unsettled[pointer] = delivery
        gone = (
            router.route(delivery)
            if address is not None
            else router.route_by_name(delivery)
        )
        return gone or self._read_ahead(delivery)

    def wait(self, delivery: IncomingDelivery) -> bool:
        """The router holds the link's current delivery. Returns whether those behind it may pass."""
        self._set_head(delivery)
        if not delivery.presettled:
            self.unsettled[delivery.pn] = delivery
        return self._read_ahead(delivery)

    def _set_head(self, delivery: IncomingDelivery) -> None:
        self.head = delivery
        self.plain = False
        self.size = 0

    def _read_ahead(self, delivery: IncomingDelivery) -> bool:
        """Take a held message out of the way of those behind it, where they may pass."""
        if self.address is not None and delivery.shelf is delivery.destination.held:
            return False
        room = self.connection.limits.max_held_size - sum(self.ahead.values())
        if not delivery.read_all(room):
            return False
        self.ahead[delivery] = len(delivery.prefix or b"")
        self._advance(delivery)
        return True

    def _advance(self, delivery: IncomingDelivery) -> None:
        """The head has been read to its end."""
        link_advance(self.pn)
        self.clear_head()
        if delivery.presettled and delivery.pn is not None:
            delivery_settle(delivery.pn)
            delivery.pn = None
        self.connection.mark()

    def clear_head(self) -> None:
        """The current delivery, if there is one, is new to the router."""
        self.head = None
        self.plain = self.address is not None and not self.max_size

    def let_go(self, delivery: IncomingDelivery) -> None:
        """A delivery that was held here has left; what was behind it can be taken up, when the turn ends."""
        self.ahead.pop(delivery, None)
        if self.head is delivery:
            self.clear_head()
        self.connection.turn.resume(self)

    # -- streaming -------------------------------------------------------------------------------------------------------

    def _stream(self, delivery: IncomingDelivery) -> bool:
        """Move on what has arrived of the head. Returns False if it has to wait for more, or for room."""
        consumer = delivery.consumer
        assert consumer is not None
        outgoing = consumer.connection
        while True:
            if (
                outgoing.blocked
                or session_outgoing_bytes(consumer.session) > OUTGOING_HIGH
            ):
                outgoing.waiters[self] = None
                outgoing.mark()
                return False
            count = link_recv(self.pn, BUFFER, CHUNK)
            if count == 0:
                return False
            if count < 0:
                break
            self.size += count
            if self.max_size and self.size > self.max_size:
                self._too_large(delivery.pn)
                return False
            link_send(consumer.pn, BUFFER, count)
            outgoing.mark()
            self.connection.mark()  # the session's window may have to be opened again
        if delivery_aborted(delivery.pn):
            return True  # read() sees to it
        link_advance(self.pn)
        link_advance(consumer.pn)
        consumer.streaming = None
        self.clear_head()
        if delivery_settled(delivery.pn):
            # pre-settled, or settled with its last frame
            self.connection.router.abandon(delivery)
        consumer.refresh()
        if link_get_drain(consumer.pn):
            outgoing.turn.drain(consumer)
        outgoing.mark()
        self.connection.mark()
        return True

    def _too_large(self, pointer: Any) -> None:
        router = self.connection.router
        router.counters["too_large"] += 1
        head = self.head
        if head is not None:
            router.abandon(head, TOO_LARGE)
        else:
            say(TOO_LARGE, pointer)
            delivery_settle(pointer)
        self.connection.refuse_link(
            self, "amqp:link:message-size-exceeded", TOO_LARGE.description
        )

    def orphan(self) -> None:
        """The link is about to go: keep what was pre-settled and has arrived whole, for nobody will send it again."""
        router = self.connection.router
        while True:
            pointer = link_current(self.pn)
            if (
                not pointer
                or not delivery_settled(pointer)
                or delivery_partial(pointer)
                or delivery_aborted(pointer)
            ):
                return
            delivery = self.head
            if delivery is None:
                if self.address is None:
                    return
                delivery = IncomingDelivery(
                    self, self.address, True, router.now, pointer
                )
            if delivery.out is not None or not delivery.read_all(KEEP):
                return
            self._advance(delivery)
            router.holding.adopt(delivery)


class OutgoingLink(Consumer):
    """A consumer's link."""

    __slots__ = ("congested", "connection", "pn", "session", "streaming")

    def __init__(
        self,
        id: str,
        connection: Connection,
        properties: Mapping[str, object],
        pn: Any,
        capacity: float,
    ) -> None:
        super().__init__(id, connection.container, properties, capacity)
        self.connection = connection
        self.pn = pn
        self.session = link_session(pn)
        self.streaming: IncomingDelivery | None = None
        """The message that is being sent in pieces: until its end no other can go by this link."""
        self.congested = False
        """Its session has more unsent bytes than are good."""

    def send(self, delivery: IncomingDelivery) -> None:  # type: ignore[override]
        """Put the message, or what is there of it, on this link."""
        if delivery.prefix is not None:
            self._send_prefix(delivery)
            return
        producer: IncomingLink = delivery.producer  # type: ignore[assignment]
        count = link_recv(producer.pn, BUFFER, CHUNK)
        if count >= CHUNK or count <= 0:
            self._send_odd(delivery, producer, count)
            return
        link_advance(producer.pn)
        TAG_COUNTER[0] = next_tag()
        pn = self.pn
        out = new_delivery(pn, TAG)
        link_send(pn, BUFFER, count)
        link_advance(pn)
        if delivery.presettled:
            delivery_settle(out)
            delivery_settle(delivery.pn)
            connection = producer.connection
            if not connection.dirty:
                connection.mark()
        else:
            delivery.out = out
            self.unsettled[out] = delivery
            producer.unsettled[delivery.pn] = delivery
            if count <= KEEP:
                delivery.prefix = unpack(BUFFER, count)
                delivery.whole = True
        connection = self.connection
        if not connection.dirty:
            connection.mark()
        if count > LARGE and session_outgoing_bytes(self.session) > OUTGOING_HIGH:
            connection.congest(self)

    def _send_odd(
        self, delivery: IncomingDelivery, producer: IncomingLink, count: int
    ) -> None:
        """The buffer is full, so there is more; or there was nothing, so it is an empty message, or an aborted one."""
        if count < 0 and delivery_aborted(delivery.pn):
            router = self.connection.router
            router.counters["aborted"] += 1
            router.abandon(delivery)
            router.credit(self, max(0, link_credit(self.pn)))
            return
        delivery.prefix = unpack(BUFFER, count) if count > 0 else b""
        producer._set_head(delivery)
        if not delivery.presettled:
            producer.unsettled[delivery.pn] = delivery
        self._send_prefix(delivery)
        producer.read()

    def _send_prefix(self, delivery: IncomingDelivery) -> None:
        """Send what was read before, and then the rest as it comes."""
        producer = delivery.producer
        delivery.read_all(KEEP)
        TAG_COUNTER[0] = next_tag()
        out = delivery.out = new_delivery(self.pn, TAG)
        if delivery.prefix:
            link_send(self.pn, delivery.prefix, len(delivery.prefix))
        self.connection.mark()
        if not delivery.whole:
            assert producer is not None
            self.unsettled[out] = delivery
            self.streaming = delivery
            producer.size = len(delivery.prefix or b"")
            if producer.size > KEEP:
                delivery.prefix = b""
            self.refresh()
            self.connection.turn.resume(producer)
            return
        link_advance(self.pn)
        if producer is not None:
            if producer.head is delivery:
                producer._advance(delivery)
            producer.let_go(delivery)
        if delivery.presettled:
            delivery.out = None
            delivery_settle(out)
        else:
            self.unsettled[out] = delivery
        if session_outgoing_bytes(self.session) > OUTGOING_HIGH:
            self.connection.congest(self)

    def refresh(self) -> None:
        """Let the core send to it, or not, as things are now."""
        wanted = self.streaming is not None or self.congested or self.connection.blocked
        if wanted != self.suspended:
            router = self.connection.router
            if wanted:
                router.suspend(self)
            else:
                router.resume(self)

    def drained(self) -> None:
        """It has got what there was, and wants no more: give back the rest of its credit."""
        if self.pn is not None and self.streaming is None and link_get_drain(self.pn):
            link_drained(self.pn)
            self.connection.router.credit(self, max(0, link_credit(self.pn)))
            self.connection.mark()

    def unsent_presettled(self) -> int:
        """How many pre-settled messages are on the link and not on their way yet."""
        unsettled = sum(1 for each in self.unsettled.values() if not each.was_sent())
        return max(0, int(link_queued(self.pn)) - unsettled)

    def updated(self, delivery: IncomingDelivery, pointer: Any) -> None:
        """The consumer said something about a delivery without settling it: the producer hears it."""
        outcome = heard(pointer, delivery_remote_state(pointer))
        if self.connection.router.holding.goes_to_another(delivery, outcome):
            self.connection.router.settle(delivery, outcome)
        elif delivery.pn is not None and delivery.producer is not None:
            forward_state(pointer, delivery.pn)
            delivery.producer.connection.mark()
