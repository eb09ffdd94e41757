"""One AMQP connection: bytes in, events out of proton, calls on the core; and back.

`receive` and `_serve_events` are the hot path. `_serve_events` is one long function on purpose: it runs for every
message and every outcome, and a call costs as much as a tenth of what the core does with one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from txrouter.amqp import engine
from txrouter.amqp.deadlines import Deadlines
from txrouter.amqp.deliveries import IncomingDelivery
from txrouter.amqp.engine import (
    LINK_FLOW,
    LONGEST_TAG,
    OUTPUT,
    OUTPUT_BUFFER,
    OUTPUT_VIEW,
    STATE_ACCEPTED,
    TRANSPORT,
    collector_peek,
    collector_pop,
    delivery_link,
    delivery_partial,
    delivery_remote_state,
    delivery_settled,
    delivery_tag,
    event_delivery,
    event_link,
    event_type,
    link_credit,
    link_current,
    link_drained,
    link_get_drain,
    offset,
    transport_peek,
    transport_pop,
    transport_push,
    transport_tick,
)
from txrouter.amqp.incoming import IncomingLink
from txrouter.amqp.lifecycle import Lifecycle
from txrouter.amqp.outcomes import heard
from txrouter.amqp.outgoing import OutgoingLink, relieve
from txrouter.amqp.shares import LITTLE, Share
from txrouter.core.limits import LIMIT_EXCEEDED
from txrouter.core.outcomes import ACCEPTED, Outcome
from txrouter.core.rate import Rate
from txrouter.core.users import NOBODY, User, who

if TYPE_CHECKING:
    from txrouter.amqp.turn import Turn
    from txrouter.amqp.wire import Wire
    from txrouter.core.access import Permit
    from txrouter.core.limits import Limits
    from txrouter.core.links import Producer
    from txrouter.core.router import Router

__all__ = ["Connection"]

UNLIMITED = 1 << 31


class Connection:
    """A client's connection, from its AMQP header on.

    It is used by its transport's protocol (`receive`, `unblock`, `beat`, `lose`) and by its own links.
    """

    def __init__(
        self,
        router: Router,
        turn: Turn,
        wire: Wire,
        name: str,
        user: User = NOBODY,
        permit: Permit | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.router = router
        self.turn = turn
        self.limits = limits = limits or router.limits
        """What it has of everything at most."""
        rate = limits.max_message_rate
        self.rate: Rate[Producer] | None = Rate(rate, turn.clock()) if rate else None
        """How fast its producers may send together; None for as fast as they can."""
        self.name = name
        self.user = user
        """Who is at the other end."""
        self.permit = permit
        """What it may do; None for everything."""
        self.container = ""
        self.dirty = False
        self.lost = False
        self.deaf = False
        """What comes is not wanted any more: it is lost, or was closed with an error."""
        self.blocked = False
        self.heard = False
        """Something came since it was last looked whether what came may stay."""
        self.writes = 0
        """How often all that there was to write has been written."""
        self.streamed = 0
        """Bytes of long messages that were put on links here, since then."""
        self.congested: list[OutgoingLink] = []
        """Links here whose sessions have too much unsent."""
        self.waiters: dict[IncomingLink, None] = {}
        """Links of other connections whose streamed message waits for room here."""
        self._wire = wire
        self._share = Share(self, wire)
        self.pn_transport, self.pn_connection, self._collector = engine.new_connection(
            router.id, limits.max_frame_size, limits.max_sessions, limits.idle_timeout
        )
        self.links: dict[Any, IncomingLink | OutgoingLink] = {}
        self.lifecycle = Lifecycle(self)
        self._last_incoming: IncomingLink | None = None
        self._last_unsettled: dict[Any, Any] = {}
        self.deadlines = Deadlines(self, turn.clock())

    # -- bytes in ----------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes came."""
        if self.deaf:
            self._wire.lose()
        elif self._share.heavy:
            self._share.put_off(data)
        else:
            self.serve(data)

    def serve(self, data: bytes) -> None:
        """Serve what came, as far as the connection's share of the turn goes."""
        self.router.now = self.turn.clock()
        try:
            self._push(data)
        except Exception as error:
            self._broken(error)

    def _push(self, data: bytes) -> None:
        self.heard = True
        size = len(data)
        transport = self.pn_transport
        share = self._share
        taken = transport_push(transport, data, size if size < share.piece else share.piece)
        self._serve_events()
        position = taken
        while taken > 0 and not self.deaf:
            if (size > LITTLE and share.is_used_up(data, position)) or position == size:
                break
            taken = transport_push(transport, offset(data, position), min(size - position, share.piece))
            position += taken
            self._serve_events()
        if taken <= 0 and not self.lost:
            # proton wants no more: it is closing, and its error is on its way out; or it gave up without a word
            self.mark()
            self._close_soon()
        if self.congested or self.waiters:
            self.mark()
        if not self.dirty:
            self.mark()

    def _serve_events(self) -> None:
        collector = self._collector
        router = self.router
        links = self.links
        incoming = self._last_incoming
        unsettled = self._last_unsettled
        unchecked = True
        while event := collector_peek(collector):
            pointer = event_delivery(event)
            if not pointer:
                kind = event_type(event)
                if kind == LINK_FLOW:
                    self._flow(links.get(event_link(event)))
                elif kind != TRANSPORT:
                    self.lifecycle.serve(kind, event)
                    incoming = self._last_incoming
                    unsettled = self._last_unsettled
                    if self.lost:
                        return
                collector_pop(collector)
                continue
            delivery = unsettled.get(pointer) if unsettled else None
            if delivery is None and (incoming is None or link_current(incoming.pn) != pointer):
                # not of the links that the last events were for
                link = links.get(delivery_link(pointer))
                if link.__class__ is OutgoingLink:
                    unsettled = link.unsettled
                    delivery = unsettled.get(pointer)
                    if delivery is None:
                        if link_current(link.pn) == pointer:
                            self.close("amqp:illegal-state", "a transfer on a link that receives")
                        link = None
                elif link is not None:
                    if link is not incoming and link_current(link.pn) == pointer:
                        incoming = link  # type: ignore[assignment]
                    else:
                        link.noted(pointer)  # type: ignore[union-attr]
                        link = None
                if link is None:
                    collector_pop(collector)
                    continue
            if delivery is not None:
                # the consumer says what became of it
                if delivery_settled(pointer):
                    state = delivery_remote_state(pointer)
                    router.settle(delivery, ACCEPTED if state == STATE_ACCEPTED else self._heard(pointer, state))
                elif self.bears(pointer, delivery_remote_state(pointer)):
                    delivery.consumer.updated(delivery, pointer)
                collector_pop(collector)
                continue
            if unchecked:
                # the first of a read: one that comes alone is found at once, and a flood is not slowed down
                unchecked = False
                if delivery_tag(pointer).size > LONGEST_TAG:
                    self.refuse_tag()
                    collector_pop(collector)
                    continue
            if incoming.plain and not delivery_partial(pointer):  # type: ignore[union-attr]
                # a whole message, and the link's next one
                presettled = incoming.may_presettle and delivery_settled(pointer)  # type: ignore[union-attr]
                arrived = IncomingDelivery(incoming, incoming.target, presettled, router.now, pointer)  # type: ignore
                if not router.route(arrived):
                    incoming.wait(arrived)  # type: ignore[union-attr]
            else:
                incoming.read(True)  # type: ignore[union-attr]
                if incoming.pn is None:  # type: ignore[union-attr]
                    incoming = None
            collector_pop(collector)
        self._last_incoming = incoming
        self._last_unsettled = unsettled

    def _heard(self, pointer: Any, state: int) -> Outcome:
        return heard(pointer, state, with_fields=self.bears(pointer, state))

    def bears(self, pointer: Any, state: int) -> bool:
        """Whether what the peer says of a delivery can be looked at. If it says too much, the connection is closed."""
        if not self.deaf and engine.state_says_too_much(pointer, state):
            error = f"a state with more than {engine.VALUES_LIMIT} values"
            self.close_for(LIMIT_EXCEEDED, "excess_values", "values refused", error)
        return not self.deaf

    def _flow(self, link: IncomingLink | OutgoingLink | None) -> None:
        if link.__class__ is OutgoingLink:
            pn = link.pn
            granted = link_credit(pn)
            if link.boundless is None:
                link.boundless = granted < 0
            if granted < 0:
                granted = UNLIMITED if link.is_boundless(granted) else 0
            elif link.streaming is not None:
                granted -= 1  # proton counts the message when its last byte is there
            if granted != link.credit + link.withheld:
                self.router.credit(link, granted)
            if granted and link_get_drain(pn):
                self.turn.drain(link)
        elif link.__class__ is IncomingLink:
            given_back = link_drained(link.pn)
            if given_back > 0:
                self.router.feeding.drained(link, given_back)

    # -- bytes out ---------------------------------------------------------------------------------

    def mark(self) -> None:
        """Something is to be written, at the end of the turn."""
        if not self.dirty:
            self.dirty = True
            self.turn.mark(self)

    def flush(self) -> None:
        """Write what there is. Called by the turn."""
        self.dirty = False
        if self.lost or self.blocked:
            return
        transport = self.pn_transport
        write = self._wire.write
        while True:
            size = transport_peek(transport, OUTPUT_BUFFER, OUTPUT)
            if size <= 0:
                if size < 0:
                    self._wire.lose()
                elif self.lifecycle.owed is not None:
                    self.lifecycle.see_that_it_went()
                break
            taken = write(OUTPUT_VIEW[:size])
            if self.lost:
                return
            transport_pop(transport, size)
            if taken < size:
                self._block()
                break
            if size < OUTPUT // 8:
                break
        if not self.blocked:
            self.writes += 1
            self.streamed = 0
        self._skip_written()
        if self.congested:
            self.congested = relieve(self.congested)
        if self.waiters and not self.blocked:
            self.turn.crowd(self)

    def _skip_written(self) -> None:
        """Writing makes an event of each transfer, for the credit it took: no news, and there may be thousands."""
        collector = self._collector
        while True:
            event = collector_peek(collector)
            if not event:
                return
            kind = event_type(event)
            if kind != LINK_FLOW and kind != TRANSPORT:
                self._serve_events()
                return
            collector_pop(collector)

    def _block(self) -> None:
        self.blocked = True
        self.deadlines.blocked_since = self.router.now
        self._refresh_consumers()

    def unblock(self) -> None:
        """The transport can take more."""
        if self.blocked and not self.lost:
            self.blocked = False
            self._refresh_consumers()
            self.mark()

    def _refresh_consumers(self) -> None:
        for link in self.links.values():
            if link.__class__ is OutgoingLink:
                link.refresh()

    def resume_waiters(self) -> None:
        """Let the long message go on that has waited longest of those that there is room for. Called by the turn."""
        for link in self.waiters:
            if link.has_room():
                del self.waiters[link]
                self.turn.resume(link)
                if self.waiters:
                    self.turn.crowd(self)
                return

    # -- time --------------------------------------------------------------------------------------

    def tick(self, now: float) -> float:
        """Let proton see to its idle time-outs. Returns when it wants to again; 0 for never."""
        due = transport_tick(self.pn_transport, int(now * 1000) + 1)
        self._serve_events()
        self.mark()
        return float(due) / 1000

    def refuse_tag(self) -> None:
        """A delivery has a tag that is too long."""
        error = f"a delivery tag of more than {LONGEST_TAG} bytes"
        self.close_for("amqp:invalid-field", "protocol_errors", "protocol error", error)

    # -- endings -----------------------------------------------------------------------------------

    def close(self, condition: str = "", description: str = "") -> None:
        """Close in order, with an error if one is named. The transport is lost when the peer has closed too."""
        if self.lost or self.deadlines.closing_since is not None:
            return
        if condition:
            engine.set_condition(engine.connection_condition(self.pn_connection), condition, description)
            self.deaf = True
        engine.connection_close(self.pn_connection)
        self._close_soon()
        self.mark()

    def close_for(self, condition: str, counter: str, event: str, error: str) -> None:
        """Close it for what its client did, and count and report that."""
        self.refuse(counter, event, error)
        self.close(condition, error)

    def stop(self) -> None:
        """Close in order, since the router is being stopped. The error is the one upon which clients come back later by
        themselves; without any they take it that they are not needed any more.
        """
        if not self.lost and self.deadlines.closing_since is None:
            condition = engine.connection_condition(self.pn_connection)
            engine.set_condition(condition, "amqp:connection:forced", "the router is being stopped")
            self.close()

    def _close_soon(self) -> None:
        if not self.lost and self.deadlines.closing_since is None:
            self.deadlines.closing_since = self.router.now

    def refuse_link(self, link: IncomingLink | OutgoingLink, condition: str, description: str) -> None:
        """Detach a link, for a reason."""
        if not self.lost:
            self.lifecycle.close_link(link, condition, description)

    def forget(self, link: IncomingLink | OutgoingLink) -> None:
        """A link is gone: no event is to be taken for one of its."""
        if self._last_incoming is link:
            self._last_incoming = None
        if self._last_unsettled is link.unsettled:
            self._last_unsettled = {}

    def refuse(self, counter: str, event: str, error: object, **more: object) -> None:
        """Count and report that something is refused; who it is, is in the report."""
        self.router.counters[counter] += 1
        self.router.report(event, {**who(self.name, self.user), **more, "error": error})

    def failed(self, error: str) -> None:
        """proton found that the peer broke the protocol; it says so to the peer itself."""
        self.refuse("protocol_errors", "protocol error", error)
        self.deaf = True
        self._close_soon()

    def _broken(self, error: Exception) -> None:
        """Serving this connection failed, by what the peer sent or by a fault of ours: nobody else is to notice."""
        self.refuse("broken_connections", "connection failed", error)
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._wire.abort()

    def lose(self) -> None:
        """The transport is gone, whatever the reason."""
        if self.lost:
            return
        self._share.leave()
        self.lost = self.deaf = True
        self.lifecycle.leave()
        for waiting in self.waiters:
            self.turn.resume(waiting)
        self.waiters.clear()
        self.congested.clear()
        self._last_incoming = None
        self._last_unsettled = {}
        engine.free_connection(self.pn_transport, self.pn_connection, self._collector)
        self.pn_transport = self.pn_connection = self._collector = None
        # they know it too, and would leave it to the garbage collector, which has all others wait
        del self.lifecycle, self.deadlines, self._share
        self.turn.wake()
