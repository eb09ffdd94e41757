"""Copies of a message on the wire: its bytes are read once, and put on the link of each consumer.

A message that is there whole goes at once. One that is still arriving, or longer than the buffer, is streamed to all
its consumers together, at the pace of the slowest; one that stalls the others for too long loses its copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from txrouter.amqp.engine import (
    BUFFER,
    CHUNK,
    STATE_RECEIVED,
    TAG,
    TAG_COUNTER,
    delivery_aborted,
    delivery_pending,
    delivery_remote_state,
    delivery_settle,
    delivery_settled,
    link_advance,
    link_recv,
    link_send,
    new_delivery,
    next_tag,
    session_outgoing_bytes,
)
from txrouter.amqp.outcomes import forward_state, heard
from txrouter.amqp.sizes import KEEP, LARGE, OUTGOING_HIGH
from txrouter.core.multicast import Copy
from txrouter.core.outcomes import RELEASED, Outcome

if TYPE_CHECKING:
    from txrouter.amqp.deliveries import IncomingDelivery
    from txrouter.amqp.incoming import IncomingLink
    from txrouter.amqp.outgoing import OutgoingLink

__all__ = ["OutgoingCopy", "forward_to_copies", "give_up_on_slow", "send_copies", "slow_copies", "stream_copies"]


class OutgoingCopy(Copy):
    """One consumer's copy, with proton's pointer to it."""

    __slots__ = ("out", "size")

    original: IncomingDelivery
    consumer: OutgoingLink

    def __init__(self, original: IncomingDelivery, consumer: OutgoingLink, out: Any, size: int) -> None:
        # instead of super().__init__(): one is made for every consumer of every message
        self.producer = None
        self.destination = original.destination
        self.presettled = original.presettled
        self.arrived = original.arrived
        self.consumer = consumer
        self.sent_at = original.sent_at
        self.shelf = None
        self.history = None
        self.copies = None
        self.original = original
        self.out: Any = out
        self.size = size
        """Bytes of it that were put on the link when it was made; none if more were to follow."""

    def was_sent(self) -> bool:
        """Whether any frame of it may have been made."""
        return not self.size or bool(delivery_pending(self.out) < self.size)

    def finish(self, outcome: Outcome) -> None:
        """It is over, and with the last one so is the original."""
        consumer = self.consumer
        never_sent = outcome is RELEASED and not self.was_sent()
        self.original.copies.ended(self, outcome)  # type: ignore[union-attr]  # while there is a copy, it has them
        out, self.out = self.out, None
        if never_sent or consumer.streaming is self:
            consumer.recall(self, out, never_sent)
            return
        del consumer.unsettled[out]
        delivery_settle(out)
        if not consumer.connection.dirty:
            consumer.connection.mark()

    def updated(self, pointer: Any) -> None:
        """Its consumer said something of it without settling."""
        state = delivery_remote_state(pointer)
        if state and state != STATE_RECEIVED:
            self.original.copies.said(self, heard(pointer, state))  # type: ignore[union-attr]


def send_copies(delivery: IncomingDelivery, consumers: Sequence[OutgoingLink]) -> bool:
    """Put the message, or what is there of it, on the links of all these consumers. Returns False if there is nothing
    to be put, as it was aborted."""
    producer = delivery.producer
    untouched = delivery.prefix is None
    if untouched:
        assert producer is not None
        size = link_recv(producer.pn, BUFFER, CHUNK)
        if size < 0 and delivery_aborted(delivery.pn):
            return False
        size = max(0, size)
        data: Any = BUFFER
        delivery.whole = size < CHUNK
    else:
        delivery.read_all(KEEP)
        data = delivery.prefix
        size = len(data)
    if delivery.whole:
        _send_whole(delivery, consumers, data, size)
        _leave_producer(delivery, untouched)
    else:
        _begin_streams(delivery, consumers, data, size)
    return True


def _send_whole(delivery: IncomingDelivery, consumers: Sequence[OutgoingLink], data: Any, size: int) -> None:
    presettled = delivery.presettled
    live = delivery.copies.live  # type: ignore[union-attr]  # it has just been given them
    for consumer in consumers:
        TAG_COUNTER[0] = next_tag()
        pn = consumer.pn
        out = new_delivery(pn, TAG)
        if size:
            link_send(pn, data, size)
        if presettled:
            delivery_settle(out)
        else:
            link_advance(pn)
            consumer.unsettled[out] = copy = OutgoingCopy(delivery, consumer, out, size)
            live[copy] = None
        connection = consumer.connection
        if not connection.dirty:
            connection.mark()
        if size > LARGE and session_outgoing_bytes(consumer.session) > OUTGOING_HIGH:
            consumer.congest()


def _leave_producer(delivery: IncomingDelivery, untouched: bool) -> None:
    """The message has been read to its end."""
    producer = delivery.producer
    if producer is None:
        return
    if not untouched:
        delivery.prefix = b""
        if producer.head is delivery:
            producer.advance(delivery)
        producer.let_go(delivery)
    elif delivery.presettled:
        delivery_settle(delivery.pn)  # which advances the link
        delivery.pn = None
    else:
        link_advance(producer.pn)
        producer.unsettled[delivery.pn] = delivery
    producer.connection.mark()


def _begin_streams(delivery: IncomingDelivery, consumers: Sequence[OutgoingLink], data: Any, size: int) -> None:
    """Send what is there; the rest follows as it comes."""
    producer = delivery.producer
    assert producer is not None
    producer.begun(delivery)
    producer.size = size
    live = delivery.copies.live  # type: ignore[union-attr]  # it has just been given them
    for consumer in consumers:
        TAG_COUNTER[0] = next_tag()
        out = new_delivery(consumer.pn, TAG)
        if size:
            link_send(consumer.pn, data, size)
        consumer.unsettled[out] = copy = OutgoingCopy(delivery, consumer, out, 0)
        live[copy] = None
        consumer.streaming = copy
    for consumer in consumers:
        consumer.refresh()
        consumer.connection.mark()
    delivery.prefix = b""
    producer.connection.turn.resume(producer)


def stream_copies(link: IncomingLink, head: IncomingDelivery) -> bool:
    """Move on what has arrived of the head. Returns False if it has to wait for more, or for a consumer."""
    copies = head.copies
    assert copies is not None
    while True:
        room = _room(head)
        if not room and delivery_pending(head.pn):
            for copy in slow_copies(link):
                copy.consumer.connection.waiters[link] = None
                copy.consumer.connection.mark()
            if copies.stalled_since is None:
                copies.stalled_since = link.connection.router.now
            return False
        copies.stalled_since = None
        count = link_recv(link.pn, BUFFER, room)
        if count == 0:
            return False
        if count < 0:
            break
        link.size += count
        if link.is_too_large():
            return False
        for consumer in _consumers(head):
            link_send(consumer.pn, BUFFER, count)
            consumer.connection.streamed += count
            consumer.connection.mark()
        link.connection.mark()  # the session's window may have to be opened again
    if not delivery_aborted(head.pn):
        _end_streams(link, head)
    return True  # of an aborted one, read() sees to the rest


def _end_streams(link: IncomingLink, head: IncomingDelivery) -> None:
    consumers = _consumers(head)
    link_advance(link.pn)
    for consumer in consumers:
        link_advance(consumer.pn)
        consumer.streaming = None
    link.clear_head()
    if delivery_settled(head.pn):
        # pre-settled, or settled with its last frame
        link.connection.router.abandon(head)
    for consumer in consumers:
        consumer.refresh()
        consumer.connection.mark()
    link.connection.mark()


def give_up_on_slow(link: IncomingLink, now: float) -> None:
    """Called now and then while a link waits: who has kept the others waiting for too long has waited in vain."""
    head = link.head
    copies = head.copies if head is not None else None
    if head is None or copies is None or copies.stalled_since is None:
        return
    if now - copies.stalled_since < copies.multicast.stream_seconds:
        return
    for copy in slow_copies(link):
        copies.multicast.give_up_on(copy)
    link.connection.turn.resume(link)


def forward_to_copies(pointer: Any, delivery: IncomingDelivery) -> None:
    """Say of every copy what the producer has said of the original."""
    for copy in delivery.copies.live:  # type: ignore[union-attr]
        assert isinstance(copy, OutgoingCopy)
        forward_state(pointer, copy.out)
        copy.consumer.connection.mark()


def _consumers(head: IncomingDelivery) -> list[OutgoingLink]:
    return [copy.consumer for copy in head.copies.live]  # type: ignore[union-attr, misc]


def _room(head: IncomingDelivery) -> int:
    """How many bytes more of the head can be put on the links of all its consumers, of which some may share a
    connection."""
    consumers = _consumers(head)
    together = Counter(consumer.connection for consumer in consumers)
    return min((-(-consumer.room() // together[consumer.connection]) for consumer in consumers), default=CHUNK)


def slow_copies(link: IncomingLink) -> list[OutgoingCopy]:
    """The copies of its head whose consumers cannot take more for now."""
    head = link.head
    if head is None or head.copies is None:
        return []
    live: Any = head.copies.live
    return [copy for copy in live if not copy.consumer.room()]
