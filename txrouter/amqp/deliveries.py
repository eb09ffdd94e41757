"""A delivery with proton's pointers to its two sides, and what was read of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from txrouter.amqp import sections
from txrouter.amqp.engine import (
    BUFFER,
    CHUNK,
    FILLED,
    STATE_ACCEPTED,
    delivery_aborted,
    delivery_partial,
    delivery_pending,
    delivery_settle,
    delivery_update,
    link_current,
    link_recv,
)
from txrouter.amqp.multicast import send_copies
from txrouter.amqp.outcomes import kept, say
from txrouter.core.deliveries import Aborted, Delivery
from txrouter.core.links import Address
from txrouter.core.outcomes import ACCEPTED, Outcome

if TYPE_CHECKING:
    from txrouter.amqp.incoming import IncomingLink
    from txrouter.amqp.outgoing import OutgoingLink

__all__ = ["IncomingDelivery"]

GLANCE: Final[int] = 512
"""Bytes read of a message to find a field in it; more only if they do not reach."""
FARTHEST: Final[int] = 1 << 16
"""A field that lies further behind is not found."""


class IncomingDelivery(Delivery):
    """A delivery with proton's pointers to its two sides, and what was read of it."""

    __slots__ = ("out", "pn", "prefix", "whole")

    producer: IncomingLink | None
    consumer: OutgoingLink | None

    def __init__(
        self, producer: IncomingLink | None, destination: Address, presettled: bool, arrived: float, pn: Any
    ) -> None:
        # instead of super().__init__(): this runs for every message
        self.producer = producer
        self.destination = destination
        self.presettled = presettled
        self.arrived = arrived
        self.consumer = None
        self.sent_at = 0.0
        self.rank = None
        self.shelf = None
        self.history = None
        self.copies = None
        self.pn = pn
        self.out: Any = None
        self.prefix: bytes | None = None
        """What was read of it into memory; None while it is untouched in proton, or went by unseen."""
        self.whole = False
        """Whether `prefix` is all of it."""

    # -- what policies and the core may read -------------------------------------------------------

    def field(self, name: str) -> object:
        """As IDelivery says."""
        return self._look(sections.field, name)

    def application_property(self, name: str) -> object:
        """As IDelivery says."""
        return self._look(sections.application_property, name)

    def _look(self, find: Callable[[bytes, str, bool], object], name: str) -> object:
        reach = GLANCE
        while True:
            data = self.prefix or b""
            if not self.whole and len(data) < reach and self._is_current():
                data = self._take(reach - len(data))
            try:
                return find(data, name, self.whole)
            except sections.Short:
                if reach >= FARTHEST or len(data) < reach:
                    return None
                reach *= 8

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
        if self.prefix is None:
            producer.begun(self)
        data = self.prefix or b""
        left = size
        while left > 0:
            count = link_recv(producer.pn, BUFFER, min(left, CHUNK))
            if count <= 0:
                if delivery_aborted(self.pn):
                    raise Aborted("its producer has aborted it")
                break
            data += FILLED[:count]
            left -= count
        self.prefix = data
        self.whole = (left > 0 or not delivery_pending(self.pn)) and not delivery_partial(self.pn)
        producer.connection.mark()  # the session's window may have to be opened again
        return data

    def length(self) -> int | None:
        """As Delivery says."""
        read = len(self.prefix or b"")
        if self.whole:
            return read
        if not self._is_current() or delivery_partial(self.pn):
            return None
        return read + int(delivery_pending(self.pn))

    def read_all(self, limit: int) -> bool:
        """Have the whole message in memory, if all of it has arrived and it is no longer than `limit` bytes."""
        if self.whole:
            return True
        if not self._is_current() or delivery_partial(self.pn) or delivery_aborted(self.pn):
            return False
        rest = delivery_pending(self.pn)
        if len(self.prefix or b"") + rest > limit:
            return False
        self._take(rest)
        self.whole = True
        return True

    # -- what the core asks for --------------------------------------------------------------------

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
            producer.unsettled.pop(pn, None)  # it is not there if it was turned away at once
            if outcome is ACCEPTED:
                delivery_update(pn, STATE_ACCEPTED)
            elif not self.presettled:
                say(outcome, pn)
            self.pn = None
            if producer.head is self:
                if delivery_partial(pn):
                    producer.rest = pn
                else:
                    delivery_settle(pn)
                producer.let_go(self)
            else:
                delivery_settle(pn)
                if producer.ahead:
                    producer.let_go(self)
            connection = producer.connection
            if not connection.dirty:
                connection.mark()
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
        out = self.out
        if out is not None and self.consumer is not None:
            unsent = not self.was_sent()
            self.out = None
            self.consumer.recall(self, out, unsent)

    # -- as the original of copies -----------------------------------------------------------------

    def send_copies(self, consumers: Sequence[OutgoingLink]) -> bool:  # type: ignore[override]
        """As Delivery says."""
        return send_copies(self, consumers)

    def keep(self, outcome: Outcome) -> Outcome:
        """What its consumer said is put on the producer's side as far as it is more than a state."""
        if outcome.origin is None or self.pn is None:
            return outcome
        return kept(outcome, self.pn)

    def tell(self, outcome: Outcome) -> None:
        """As Delivery says."""
        if self.pn is not None and self.producer is not None:
            say(outcome, self.pn)
            self.producer.connection.mark()
