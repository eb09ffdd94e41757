"""A producer's link: how messages are taken up, held back, and streamed.

A message that is whole when it is its turn goes straight to the router, and from there to `OutgoingLink.send`. Every
other becomes the link's `head` until it has left: one that comes in pieces is streamed, one that is held stays in
proton, unread but for the few bytes somebody asked for; and what is behind it waits too. Only where those behind may
pass it is read into memory: an anonymous producer's, one that waits for a certain consumer, and where what is held goes
by priority.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from txrouter.amqp.deliveries import IncomingDelivery
from txrouter.amqp.engine import (
    BUFFER,
    CHUNK,
    FILLED,
    LONGEST_TAG,
    delivery_aborted,
    delivery_partial,
    delivery_pending,
    delivery_remote_state,
    delivery_settle,
    delivery_settled,
    delivery_tag,
    link_advance,
    link_credit,
    link_current,
    link_drain,
    link_flow,
    link_queued,
    link_recv,
    link_send,
    link_session,
)
from txrouter.amqp.multicast import forward_to_copies, slow_copies, stream_copies
from txrouter.amqp.outcomes import forward_state, say
from txrouter.amqp.sizes import KEEP, STREAM_FROM
from txrouter.core.links import Producer
from txrouter.core.outcomes import rejected
from txrouter.core.users import SHOWN

if TYPE_CHECKING:
    from txrouter.amqp.connection import Connection
    from txrouter.core.users import User

__all__ = ["IncomingLink"]

TOO_LARGE = rejected("amqp:link:message-size-exceeded", "the message is larger than this listener allows")


class IncomingLink(Producer):
    """A producer's link."""

    __slots__ = (
        "ahead",
        "ahead_size",
        "arrivals",
        "connection",
        "head",
        "max_size",
        "may_presettle",
        "plain",
        "pn",
        "rest",
        "session",
        "size",
        "small",
    )

    head: IncomingDelivery | None

    def __init__(self, id: str, connection: Connection, properties: Mapping[str, object], pn: Any) -> None:
        limits = connection.limits
        super().__init__(id, connection.container, properties, limits)
        self.connection = connection
        self.pn = pn
        self.session = link_session(pn)
        self.rate = connection.rate
        self.may_presettle = True
        self.max_size = limits.max_message_size
        self.small = min(KEEP, limits.max_held_size, limits.max_message_size or KEEP)
        """Up to this size a message is read into memory to see where it goes."""
        self.plain = True
        """A whole message can go straight to the router: nothing is before it, and where it goes is known."""
        self.head = None
        """The link's current delivery, once the router knows of it and until it has left: held, or being streamed."""
        self.size = 0
        """Bytes of `head` that were streamed."""
        self.rest: Any = None
        """The link's current delivery, if it is over before all of it has come. proton would count what still comes of
        it against the session's window for ever, once it is settled; so that is thrown away first."""
        self.ahead: dict[IncomingDelivery, int] = {}
        """Held deliveries that were read into memory, and their sizes."""
        self.ahead_size = 0
        """The sum of those."""
        self.arrivals: dict[Any, float] = {}
        """When the deliveries behind `head` came."""

    @property
    def shown(self) -> str:
        """The address it sends to, for people; empty for an anonymous producer's."""
        return self.target.name[:SHOWN] if self.target is not None else ""

    @property
    def user(self) -> User:
        """Whose link it is."""
        return self.connection.user

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
        if self.pn is not None:
            error = "more messages than there was credit for"
            self.connection.refuse("overdrawn", "producer refused", error, address=self.shown)
            self.connection.refuse_link(self, "amqp:link:transfer-limit-exceeded", error)

    def has_long_tag(self, since: float) -> bool:
        """Whether of the unsettled messages that arrived since then one has a tag that is too long."""
        for pointer, delivery in reversed(self.unsettled.items()):
            if delivery.arrived < since:
                return False
            if delivery_tag(pointer).size > LONGEST_TAG:
                return True
        return False

    # -- reading -----------------------------------------------------------------------------------

    def noted(self, pointer: Any) -> None:
        """An event for a delivery that is not the current one: one waits behind, or the producer says more about one
        that was passed on."""
        delivery = self.unsettled.get(pointer)
        if delivery is None:
            if self.head is not None:
                arrivals = self.arrivals
                arrivals[pointer] = self.connection.router.now
                if len(arrivals) > self.credit:
                    self.connection.turn.resume(self)  # to be ended, where that disturbs nobody
            return
        assert isinstance(delivery, IncomingDelivery)
        if self.connection.bears(pointer, delivery_remote_state(pointer)):
            if delivery.out is not None:
                forward_state(pointer, delivery.out)
                if delivery.consumer is not None:
                    delivery.consumer.connection.mark()
            elif delivery.copies is not None:
                forward_to_copies(pointer, delivery)
        if delivery_settled(pointer):
            self.connection.router.abandon(delivery)

    def _recount(self) -> None:
        """More seem to wait than there was credit for. But of some it may be that they are over, and their producer
        settled them at the same time as the router did."""
        if self.pn is not None and link_queued(self.pn) <= link_credit(self.pn):
            self.arrivals.clear()
        else:
            self.overdrawn()

    def read(self, one: bool = False) -> None:
        """Go on with what has arrived, as far as it may go now.

        :param one: an event is served, and the next message that has arrived has an event of its own.
        """
        if len(self.arrivals) + len(self.ahead) > self.credit:
            self._recount()
        while self.pn is not None:
            pointer = link_current(self.pn)
            if not pointer:
                self.arrivals.clear()
                return
            head = self.head
            if self.rest is not None:
                if not self._throw_away():
                    return
            elif head is None:
                if not self._start(pointer) or (one and self.head is None):
                    return
            elif delivery_aborted(pointer):
                self.connection.router.counters["aborted"] += 1
                self.connection.router.abandon(head)
            elif head.copies is not None:
                if not stream_copies(self, head):
                    return
            elif head.out is None or not self._stream(head):
                return

    def _throw_away(self) -> bool:
        """Take what there is of a message that is over. Returns False if there is more to come."""
        self.connection.mark()  # the session's window may have to be opened again
        while (count := link_recv(self.pn, BUFFER, CHUNK)) > 0:
            pass
        if count == 0:
            return False
        rest, self.rest = self.rest, None
        delivery_settle(rest)
        self.clear_head()
        return True

    def _start(self, pointer: Any) -> bool:
        """Take up the current delivery. Returns False if the link has to wait."""
        router = self.connection.router
        arrived = self.arrivals.pop(pointer, router.now)
        address = self.target
        if self.plain and address is not None and not delivery_partial(pointer):
            presettled = self.may_presettle and delivery_settled(pointer)
            delivery = IncomingDelivery(self, address, presettled, arrived, pointer)
            return router.route(delivery) or self.wait(delivery)
        pending = delivery_pending(pointer)
        # of an aborted one proton says that one byte is pending
        if address is None and 1 < pending <= self.small and not self.ahead and not delivery_partial(pointer):
            return self._take_out(pointer, arrived)
        if delivery_aborted(pointer):
            router.counters["aborted"] += 1
            self.credit -= 1
            delivery_settle(pointer)
            self.connection.mark()
            return True
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
        self.begun(delivery)
        gone = router.route(delivery) if address is not None else router.route_by_name(delivery)
        return gone or self._read_ahead(delivery)

    def _take_out(self, pointer: Any, arrived: float) -> bool:
        """A whole, small message of an anonymous producer: most are. To see where it goes it has to be read; it is
        read to its end, and is in nobody's way whatever becomes of it."""
        presettled = self.may_presettle and delivery_settled(pointer)
        delivery = IncomingDelivery(self, None, presettled, arrived, pointer)  # type: ignore[arg-type]
        delivery.prefix = FILLED[: link_recv(self.pn, BUFFER, CHUNK)]
        delivery.whole = True
        if presettled:
            delivery.pn = None
            delivery_settle(pointer)  # which advances the link
        else:
            self.unsettled[pointer] = delivery
            link_advance(self.pn)
        connection = self.connection
        if not connection.dirty:
            connection.mark()
        if not connection.router.route_by_name(delivery):
            self._keep(delivery)
        return True

    def wait(self, delivery: IncomingDelivery) -> bool:
        """The router holds the link's current delivery. Returns whether those behind it may pass."""
        self.begun(delivery)
        return self._read_ahead(delivery)

    def begun(self, delivery: IncomingDelivery) -> None:
        """The link's current delivery has not gone at once, or somebody has looked into it: it is the head now."""
        self.head = delivery
        self.plain = False
        self.size = 0
        if not delivery.presettled:
            self.unsettled[delivery.pn] = delivery

    def _read_ahead(self, delivery: IncomingDelivery) -> bool:
        """Take a held message out of the way of those behind it, where they may pass."""
        address = delivery.destination
        if self.target is not None and delivery.shelf is address.held and not address.lets_pass:
            return False
        room = self.limits.max_held_size - self.ahead_size
        if not delivery.read_all(room):
            return False
        self._keep(delivery)
        self.advance(delivery)
        return True

    def _keep(self, delivery: IncomingDelivery) -> None:
        self.ahead[delivery] = size = len(delivery.prefix or b"")
        self.ahead_size += size

    def advance(self, delivery: IncomingDelivery) -> None:
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
        self.plain = self.target is not None and not self.max_size and self.rest is None

    def let_go(self, delivery: IncomingDelivery) -> None:
        """A delivery that was held here has left; what was behind it can be taken up, when the turn ends."""
        self.ahead_size -= self.ahead.pop(delivery, 0)
        if self.head is delivery:
            self.clear_head()
        self.connection.turn.resume(self)

    # -- streaming ---------------------------------------------------------------------------------

    def _stream(self, delivery: IncomingDelivery) -> bool:
        """Move on what has arrived of the head. Returns False if it has to wait for more, or for room."""
        consumer = delivery.consumer
        assert consumer is not None
        outgoing = consumer.connection
        while True:
            room = consumer.room()
            if not room and delivery_pending(delivery.pn):
                outgoing.waiters[self] = None
                outgoing.mark()
                return False
            count = link_recv(self.pn, BUFFER, room)
            if count == 0:
                return False
            if count < 0:
                break
            self.size += count
            if self.is_too_large():
                return False
            link_send(consumer.pn, BUFFER, count)
            outgoing.streamed += count
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
        outgoing.mark()
        self.connection.mark()
        return True

    def has_room(self) -> bool:
        """Whether more can be streamed, if a message is being."""
        if self.head is not None and self.head.copies is not None:
            return not slow_copies(self)
        consumer = self.head.consumer if self.head is not None else None
        return consumer is None or consumer.streaming is None or consumer.room() > 0

    def is_too_large(self) -> bool:
        """Whether what has come of the head is more than is allowed. Then that is its end, and the link's."""
        if not self.max_size or self.size <= self.max_size or self.head is None:
            return False
        self._too_large(self.head.pn)
        return True

    def _too_large(self, pointer: Any) -> None:
        router = self.connection.router
        error = f"a message of more than {self.max_size} bytes"
        self.connection.refuse("too_large", "message refused", error, address=self.shown)
        head = self.head
        if head is not None:
            router.abandon(head, TOO_LARGE)
        else:
            say(TOO_LARGE, pointer)  # it is settled when the link is freed, as is the rest of any other
        self.connection.refuse_link(self, "amqp:link:message-size-exceeded", TOO_LARGE.description)

    def orphan(self) -> None:
        """The link is about to go: keep what was pre-settled and has arrived whole, for nobody will send it again; as
        far as it is small. The rest of it is dropped, and counted."""
        router = self.connection.router
        while self._keep_next():
            pass
        if self.head is not None and self.head.presettled:
            router.abandon(self.head)
        # of one that is not whole, what still comes leaves the session's window only if it is current to the end
        while (pointer := link_current(self.pn)) and not delivery_partial(pointer):
            if delivery_settled(pointer) and not delivery_aborted(pointer) and pointer != self.rest:
                router.counters["dropped"] += 1
            link_advance(self.pn)

    def _keep_next(self) -> bool:
        pointer = link_current(self.pn)
        if not pointer or not delivery_settled(pointer) or delivery_partial(pointer) or delivery_aborted(pointer):
            return False
        if pointer == self.rest:
            return False
        delivery = self.head
        if delivery is None:
            if self.target is None:
                return False
            delivery = IncomingDelivery(self, self.target, True, self.connection.router.now, pointer)
        if delivery.out is not None or delivery.copies is not None or not delivery.read_all(KEEP):
            return False
        self.advance(delivery)
        self.connection.router.holding.adopt(delivery)
        return True
