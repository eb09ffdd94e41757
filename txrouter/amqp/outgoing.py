"""A consumer's link: where the bytes of a message move from its producer's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from txrouter.amqp import sections
from txrouter.amqp.deliveries import IncomingDelivery
from txrouter.amqp.engine import (
    BUFFER,
    CHUNK,
    FILLED,
    TAG,
    TAG_COUNTER,
    delivery_abort,
    delivery_aborted,
    delivery_pending,
    delivery_remote_state,
    delivery_settle,
    link_advance,
    link_credit,
    link_drained,
    link_get_drain,
    link_queued,
    link_recv,
    link_send,
    link_session,
    new_delivery,
    next_tag,
    session_outgoing_bytes,
)
from txrouter.amqp.multicast import OutgoingCopy
from txrouter.amqp.outcomes import forward_state, heard, say
from txrouter.amqp.sizes import KEEP, LARGE, OUTGOING_HIGH, SHARE, STREAMS_AHEAD
from txrouter.core.deliveries import Malformed
from txrouter.core.limits import LIMIT_EXCEEDED
from txrouter.core.links import Consumer

if TYPE_CHECKING:
    from txrouter.amqp.connection import Connection
    from txrouter.amqp.incoming import IncomingLink
    from txrouter.core.users import User

__all__ = ["OutgoingLink", "relieve"]

HEADER: Final[int] = 128
"""Bytes in which a message's header lies, if it has one: its five fields take 34 at most."""


class OutgoingLink(Consumer):
    """A consumer's link."""

    __slots__ = ("began", "boundless", "congested", "connection", "pn", "session", "streaming")

    def __init__(self, id: str, connection: Connection, properties: Mapping[str, object], pn: Any) -> None:
        super().__init__(id, connection.container, properties)
        self.connection = connection
        self.pn = pn
        self.session = link_session(pn)
        self.streaming: IncomingDelivery | OutgoingCopy | None = None
        """The message that is being sent in pieces: until its end no other can go by this link."""
        self.began = 0
        """When, by its connection's `writes`, the bytes of it that are unsent began to be put there."""
        self.congested = False
        """Its session has more unsent bytes than are good."""
        self.boundless: bool | None = None
        """Whether it has given more credit than proton can count; None before it has given any."""

    @property
    def user(self) -> User:
        """Whose link it is."""
        return self.connection.user

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
        connection = self.connection
        if delivery.arrived < connection.router.now and self._is_late(delivery, count):
            return
        TAG_COUNTER[0] = next_tag()
        pn = self.pn
        out = new_delivery(pn, TAG)
        link_send(pn, BUFFER, count)
        if delivery.presettled:
            # settling a link's current delivery advances the link
            delivery_settle(out)
            delivery_settle(delivery.pn)
            if not producer.connection.dirty:
                producer.connection.mark()
        else:
            link_advance(producer.pn)
            link_advance(pn)
            delivery.out = out
            self.unsettled[out] = delivery
            producer.unsettled[delivery.pn] = delivery
            if count <= KEEP:
                delivery.prefix = FILLED[:count]
                delivery.whole = True
        if not connection.dirty:
            connection.mark()
        if count > LARGE and session_outgoing_bytes(self.session) > OUTGOING_HIGH:
            self.congest()

    def _send_odd(self, delivery: IncomingDelivery, producer: IncomingLink, count: int) -> None:
        """The buffer is full, so there is more; or there was nothing, so it is an empty message, or an aborted one."""
        if count < 0 and delivery_aborted(delivery.pn):
            self.connection.router.counters["aborted"] += 1
            self.connection.router.abandon(delivery)
            self._not_used()
            return
        delivery.prefix = FILLED[: max(0, count)]
        producer.begun(delivery)
        self._send_prefix(delivery)

    def _is_late(self, delivery: IncomingDelivery, count: int) -> bool:
        """It waited behind others, unread: has its time to live run out? It is in the buffer. Most say nothing of one,
        which the first bytes tell: there is no header, or it is an empty list."""
        start = FILLED[:4]
        if start[:3] != b"\x00\x53\x70" or start[3:] == b"\x45":
            return False
        start = FILLED[: min(count, HEADER)]
        router = self.connection.router
        try:
            ttl = sections.field(start, "ttl", count <= HEADER)
        except (Malformed, sections.Short):
            return False
        if not isinstance(ttl, int) or delivery.arrived + ttl / 1000 > router.now:
            return False
        if not delivery.presettled:
            delivery.producer.unsettled[delivery.pn] = delivery  # type: ignore[union-attr]
        router.holding.expire_unsent(delivery)
        self._not_used()
        return True

    def _not_used(self) -> None:
        """What was to be sent is not: the credit for it is still there."""
        self.connection.router.credit(self, max(0, link_credit(self.pn)))

    def _send_prefix(self, delivery: IncomingDelivery) -> None:
        """Send what was read before, and then the rest as it comes."""
        producer = delivery.producer
        if not delivery.whole:
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
                producer.advance(delivery)
                producer.let_go(delivery)
            elif producer.ahead:
                producer.let_go(delivery)
        if delivery.presettled:
            delivery.out = None
            delivery_settle(out)
        else:
            self.unsettled[out] = delivery
        if session_outgoing_bytes(self.session) > OUTGOING_HIGH:
            self.congest()

    def room(self) -> int:
        """How many bytes more of the message that is streamed may be put on this link now.

        None where some were left by a write: proton serves messages in the order in which they got bytes to send, so
        one that always has some would let no other of its session pass before its end, where the session's window is
        small. And little where much of the session waits.
        """
        connection = self.connection
        if connection.blocked:
            return 0
        least = 0
        unsent = int(session_outgoing_bytes(self.session))
        if not unsent or not delivery_pending(self.streaming.out):  # type: ignore[union-attr]
            self.began = connection.writes
            least = SHARE
        elif self.began != connection.writes:
            return 0
        return min(max(STREAMS_AHEAD - unsent, least), max(STREAMS_AHEAD - connection.streamed, 0))

    def recall(self, delivery: IncomingDelivery | OutgoingCopy, out: Any, unsent: bool = False) -> None:
        """Let go of what was sent. If it was still being streamed it is aborted; if nothing of it had gone, the credit
        for it has come back. What is `unsent`, though whole, is aborted too: if it were settled it would be sent."""
        self.unsettled.pop(out, None)
        if self.streaming is delivery:
            delivery_abort(out)
            self.streaming = None
            self._not_used()
            self.refresh()
        elif unsent:
            delivery_abort(out)
        else:
            delivery_settle(out)
        self.connection.mark()

    def overrun(self) -> None:
        """It was not there when there was something for all."""
        self.connection.refuse_link(
            self, LIMIT_EXCEEDED, "no credit for a message that every consumer of the address gets"
        )

    def congest(self) -> None:
        """Too much of its session is unsent."""
        if not self.congested:
            self.congested = True
            self.refresh()
            self.connection.congested.append(self)

    def refresh(self) -> None:
        """Let the core send to it, or not, as things are now."""
        wanted = self.streaming is not None or self.congested or self.connection.blocked
        if wanted != self.suspended:
            router = self.connection.router
            if wanted:
                router.suspend(self)
            else:
                router.resume(self)
                if link_get_drain(self.pn):
                    self.connection.turn.drain(self)

    def is_boundless(self, credit: int) -> bool:
        """What it means that proton counts less than no credit: that it gave 2^31 or more, if that is what it gave
        first, or a step up from what it had; else that it has lowered it below what is on its way to it."""
        self.boundless = self.boundless or credit - (self.credit + self.withheld) <= -(1 << 31)
        return self.boundless

    def drained(self) -> None:
        """It was sent what there was, and wants no more: give back the rest of its credit. While there is more than can
        be sent to it, that is put off."""
        if self.pn is None or self.suspended or not link_get_drain(self.pn):
            return
        if link_queued(self.pn):
            # its session's window is full, and proton would forget to say it later
            self.congest()
        else:
            link_drained(self.pn)
            self.connection.router.credit(self, max(0, link_credit(self.pn)))
            self.connection.mark()

    def unsent_presettled(self) -> int:
        """How many pre-settled messages are on the link and not on their way yet."""
        unsettled = sum(1 for each in self.unsettled.values() if not each.was_sent())
        return max(0, int(link_queued(self.pn)) - unsettled)

    def updated(self, delivery: IncomingDelivery | OutgoingCopy, pointer: Any) -> None:
        """The consumer said something about a delivery without settling it: the producer hears it."""
        if isinstance(delivery, OutgoingCopy):
            delivery.updated(pointer)
            return
        outcome = heard(pointer, delivery_remote_state(pointer))
        if self.connection.router.holding.goes_to_another(delivery, outcome):
            self.connection.router.settle(delivery, outcome)
        elif delivery.pn is not None and delivery.producer is not None:
            history = delivery.history
            together = outcome if history is None else history.last_word(outcome)
            if together is outcome:
                forward_state(pointer, delivery.pn)
            else:
                say(together, delivery.pn)
            delivery.producer.connection.mark()


def relieve(congested: list[OutgoingLink]) -> list[OutgoingLink]:
    """Let those be sent to again of whose sessions enough has gone. Returns the others."""
    still = []
    for link in congested:
        if link.pn is None:
            continue
        if session_outgoing_bytes(link.session) > OUTGOING_HIGH // 2:
            still.append(link)
        else:
            link.congested = False
            link.refresh()
    return still
