"""How connections, sessions and links begin and end: everything that does not happen for every message.

proton checks little of the order things come in, and bounds none of their numbers; so it is done here.
"""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, Any, Final

from txrouter import __version__
from txrouter.amqp import engine, termini
from txrouter.amqp.incoming import IncomingLink
from txrouter.amqp.outgoing import OutgoingLink
from txrouter.core.access import UNAUTHORIZED, Action, refusal_without_rules
from txrouter.core.addresses import CAPACITY_REPORTS, TEMPORARY_LENGTH, is_reserved, is_temporary, normalise
from txrouter.core.credit import share
from txrouter.core.limits import LIMIT_EXCEEDED
from txrouter.core.policies import Unavailable
from txrouter.core.users import Headcount

if TYPE_CHECKING:
    from txrouter.amqp.connection import Connection

__all__ = ["Lifecycle"]

SHORTEST_IDLE_TIMEOUT = 1_000
"""Milliseconds; a peer that wants to hear from us more often would have us do nothing else."""
_FEW_FRAMES = 8
"""That every session has room for: small messages take one each."""
_A_FEW = 16
"""Deliveries that may be in flight to every consumer."""
_PRIORITIES: Final = frozenset({"priority", "rabbitmq:priority"})
"""Link properties by which a consumer says that it comes before others."""
_ALPHABET = string.ascii_letters + string.digits


class Refusal(Exception):
    """An attach is refused: an AMQP condition, and a sentence for people."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(description)
        self.condition = condition


class Parted:
    """Sessions and links that are over, while the answers that say so are not written yet. They count as well: for a
    client that goes on asking and does not read the answers, they would pile up."""

    def __init__(self, writes: int) -> None:
        self.writes = writes
        self.ended = 0
        self.detached = 0


class Session:
    """A live session, and what it shares out or has a share of."""

    __slots__ = ("in_flight_left", "links", "window")

    def __init__(self, window: int, in_flight_left: int) -> None:
        self.links = 0
        """How many it has, refused ones included until the peer has let go of them."""
        self.window = window
        """Bytes that it may send ahead."""
        self.in_flight_left = in_flight_left
        """How many deliveries may be in flight to consumers that are still to come."""


class Lifecycle:
    """The endpoints of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.opened = False
        self.sessions: dict[Any, Session] = {}
        self._window_left = connection.limits.connection_window
        self._parted = Parted(0)
        self._count = 0
        self._counted: list[tuple[Headcount, str]] = []
        """Where this connection is counted, and as whose."""
        self.owed: int | None = None
        """How many frames had been written when a begin or an attach was answered last; None if the answer has gone."""
        self._made: dict[IncomingLink | OutgoingLink, str] = {}
        """The temporary addresses, by the links that they were made for."""

    def serve(self, kind: int, event: Any) -> None:
        """An event that is neither a delivery's nor a link's flow."""
        if kind == engine.CONNECTION_REMOTE_OPEN:
            self._open()
        elif kind == engine.SESSION_REMOTE_OPEN:
            self._begin(engine.event_session(event))
        elif kind == engine.SESSION_REMOTE_CLOSE:
            self._end(engine.event_session(event))
        elif kind == engine.LINK_REMOTE_OPEN:
            self._attach(engine.event_link(event))
        elif kind == engine.LINK_REMOTE_CLOSE:
            self._detached(engine.event_link(event), engine.link_close)
        elif kind == engine.LINK_REMOTE_DETACH:
            self._detached(engine.event_link(event), engine.link_detach)
        elif kind == engine.CONNECTION_REMOTE_CLOSE:
            self.detach_all()
            self._connection.close()
        elif kind == engine.TRANSPORT_ERROR:
            self._connection.failed(engine.transport_error(self._connection.pn_transport))
        elif kind == engine.TRANSPORT_TAIL_CLOSED:
            self._break_off()

    # -- connection --------------------------------------------------------------------------------

    def _open(self) -> None:
        connection = self._connection
        if self.opened:
            connection.close("amqp:illegal-state", "the connection is open already")
            return
        self._answer_open()
        connection.container = engine.remote_container(connection.pn_connection)
        idle_timeout = engine.remote_idle_timeout(connection.pn_transport)
        if 0 < idle_timeout < SHORTEST_IDLE_TIMEOUT:
            connection.close("amqp:not-allowed", f"an idle-time-out of {idle_timeout} ms; at least 1000 are needed")
        elif connection.router.stopping:
            connection.close("amqp:connection:forced", "the router is being stopped")
        else:
            self._enter()

    def _enter(self) -> None:
        """Count the connection as its user's, and its host's; or close it, if there are too many."""
        connection = self._connection
        router, user, limits = connection.router, connection.user, connection.limits
        for what, headcount, name, most in (
            ("user", router.users, user.name, limits.max_connections_per_user),
            ("host", router.hosts, user.host, limits.max_connections_per_host),
        ):
            if not name:
                continue
            if not headcount.enter(name, most):
                error = f"more than {most} connections of one {what}"
                connection.close_for(LIMIT_EXCEEDED, "refused_connections", "connection refused", error)
                self._uncount()
                return
            self._counted.append((headcount, name))

    def _uncount(self) -> None:
        for headcount, name in self._counted:
            headcount.leave(name)
        self._counted.clear()

    def _break_off(self) -> None:
        """Nothing that the peer sends makes sense any more."""
        connection = self._connection
        if connection.deadlines.closing_since is not None:
            return
        if self.opened:
            connection.close("amqp:decode-error", "a frame that cannot be decoded")
            connection.failed("amqp:decode-error")
        else:
            engine.transport_close_tail(connection.pn_transport)  # proton opens, and closes with an error of its own
            connection.mark()

    def _answer_open(self) -> None:
        self.opened = True
        pn_connection = self._connection.pn_connection
        engine.transport_set_max_frame(self._connection.pn_transport, self._connection.limits.max_frame_size)
        engine.describe_connection(pn_connection, {"product": "txrouter", "version": __version__}, ["ANONYMOUS-RELAY"])
        engine.connection_open(pn_connection)

    # -- sessions ----------------------------------------------------------------------------------

    def _begin(self, session: Any) -> None:
        connection = self._connection
        if not self.opened:
            self._break_off()
            return
        if len(self.sessions) + self._parting().ended >= connection.limits.max_sessions:
            error = f"more than {connection.limits.max_sessions} sessions"
            connection.close_for(LIMIT_EXCEEDED, "refused_sessions", "session refused", error)
            return
        window = self._window()
        self._window_left -= window
        self.sessions[session] = Session(window, connection.limits.session_in_flight)
        self._owe()
        engine.session_set_incoming_capacity(session, window)
        engine.session_open(session)

    def _window(self) -> int:
        """How many bytes a new session may send ahead: its share of what all sessions of the connection may."""
        limits = self._connection.limits
        least = min(limits.session_window, _FEW_FRAMES * limits.max_frame_size)
        return share(self._window_left, limits.session_window, least)

    def _end(self, session: Any) -> None:
        if session not in self.sessions:
            return
        for pointer, link in list(self._connection.links.items()):
            if link.session == session and self._connection.links.pop(pointer, None) is not None:
                self.detach(link)
        self._window_left += self.sessions.pop(session).window
        self._parting().ended += 1
        engine.session_close(session)
        engine.session_free(session)

    def _owe(self) -> None:
        self.owed = engine.transport_frames_output(self._connection.pn_transport)

    def see_that_it_went(self) -> None:
        """There is nothing to write, but there was an answer. If it is not on its way, proton has found no handle for
        it in the range that the peer named, and will not write a word any more."""
        connection = self._connection
        if engine.transport_frames_output(connection.pn_transport) == self.owed:
            connection.failed("amqp:not-allowed: more links than it says it can have")
            connection.abort()
        self.owed = None

    def _parting(self) -> Parted:
        if self._parted.writes != self._connection.writes:
            self._parted = Parted(self._connection.writes)
        return self._parted

    # -- links -------------------------------------------------------------------------------------

    def _attach(self, pointer: Any) -> None:
        connection = self._connection
        session = engine.link_session(pointer)
        if session not in self.sessions or connection.deaf:
            return
        self.sessions[session].links += 1
        self._owe()
        links = self.sessions[session].links + self._parting().detached
        limit = connection.limits.max_links
        if not engine.link_name(pointer):
            connection.close("amqp:invalid-field", "attach without a name")
        elif links > 2 * limit:
            error = f"more than {limit} links in a session, and more refused"
            connection.close_for(LIMIT_EXCEEDED, "excess_links", "link refused", error)
        elif engine.link_says_too_much(pointer):
            error = f"attach with more than {engine.VALUES_LIMIT} values"
            connection.close_for(LIMIT_EXCEEDED, "excess_values", "values refused", error)
        else:
            try:
                if links > limit:
                    error = f"more than {limit} links in a session"
                    connection.refuse("excess_links", "link refused", error)
                    raise Refusal(LIMIT_EXCEEDED, error)
                self._accept(pointer)
            except Refusal as refusal:
                self._refuse(pointer, refusal.condition, str(refusal))
            except Unavailable as error:
                self._refuse(pointer, "amqp:not-found", str(error))
            except Exception as error:
                connection.router.report("attach failed", {"connection": connection.name, "error": error})
                self._refuse(pointer, "amqp:internal-error", "the router failed to attach the link")

    def _refuse(self, pointer: Any, condition: str, description: str) -> None:
        self._connection.router.counters["refused_links"] += 1
        termini.refuse(pointer)
        engine.link_open(pointer)
        engine.set_condition(engine.link_condition(pointer), condition, description)
        engine.link_close(pointer)

    def _accept(self, pointer: Any) -> None:
        connection = self._connection
        router = connection.router
        sends = bool(engine.link_is_sender(pointer))
        name, made = self._address(pointer, sends)
        if sends and termini.asks_to_be_kept(pointer):
            raise Refusal("amqp:not-implemented", "there are no durable subscriptions: the router stores nothing")
        termini.accept(pointer)
        mode = engine.adopt_settle_modes(pointer)
        self._count += 1
        id = f"{connection.name}/{self._count}"
        link = self._consumer(id, pointer, name) if sends else self._producer(id, pointer, name, mode)
        connection.links[pointer] = link
        if made:
            self._made[link] = name
            router.temporary.add(name)
            termini.make_dynamic(pointer, f"amqp:/_topo/0/{router.id}/{name}")
        engine.link_open(pointer)

    def _consumer(self, id: str, pointer: Any, name: str) -> OutgoingLink:
        properties = engine.remote_link_properties(pointer)
        if not self._connection.router.capacities.claims.isdisjoint(properties):
            self._check_access("capacity")
        if not _PRIORITIES.isdisjoint(properties):
            self._check_access("priority")
        link = OutgoingLink(id, self._connection, properties, pointer)
        link.name = engine.link_name(pointer)
        link.permit = self._connection.permit
        session = self.sessions[link.session]
        limits = self._connection.limits
        link.max_in_flight = share(session.in_flight_left, limits.max_in_flight, min(limits.max_in_flight, _A_FEW))
        self._connection.router.attach_consumer(link, name)
        session.in_flight_left -= link.max_in_flight
        link.refresh()
        return link

    def _producer(self, id: str, pointer: Any, name: str, mode: int) -> IncomingLink:
        link = IncomingLink(id, self._connection, engine.remote_link_properties(pointer), pointer)
        link.may_presettle = mode != engine.SENDS_UNSETTLED
        engine.link_set_max_message_size(pointer, self._connection.limits.max_message_size)
        link.permit = self._connection.permit
        self._connection.router.attach_producer(link, name or None)
        link.clear_head()
        return link

    def _address(self, pointer: Any, sends: bool) -> tuple[str, bool]:
        """The (name, newly made) of the address that a link attaches to; an empty name for an anonymous producer.

        :raise Refusal: it cannot.
        """
        router = self._connection.router
        kind, address, dynamic = termini.asked_for(pointer)
        if kind == termini.COORDINATOR:
            raise Refusal("amqp:not-implemented", "there are no transactions: the router stores nothing")
        if router.stopping:
            raise Refusal("amqp:connection:forced", "the router is being stopped")
        if dynamic:
            self._check_access("dynamic")
            return "temp." + "".join(secrets.choice(_ALPHABET) for _ in range(TEMPORARY_LENGTH)), True
        if not address:
            if sends:
                raise Refusal("amqp:invalid-field", "a source without an address, and not dynamic")
            self._check_access("anonymous_producer")
            return "", False
        try:
            path = normalise(address)
            name = router.resolve(path)
        except ValueError as error:
            raise Refusal("amqp:invalid-field", str(error)) from None
        if not name:
            raise Refusal("amqp:invalid-field", f"{path[:80]!r} names no address")
        self._check_access("receive" if sends else "send", path)
        if is_reserved(name):
            self._check_reserved(name, sends)
        if name != path and is_temporary(name) and name not in router.temporary:
            raise Refusal("amqp:not-found", _gone(name))
        if sends and name.startswith("_topo/"):
            raise Refusal(
                "amqp:not-found", f"{name[:80]} is an address of another router: consumers attach to it there"
            )
        return name, False

    def _check_reserved(self, name: str, sends: bool) -> None:
        """:raise Refusal: the router is not to be had at that address, or not by this client."""
        connection = self._connection
        if sends or name not in connection.router.addresses:
            raise Refusal("amqp:not-found", f"{name[:80]} is reserved")
        if connection.permit is None and name != CAPACITY_REPORTS:
            refusal = refusal_without_rules(connection.router, connection.name, connection.user)
            if refusal is not None:
                connection.router.counters["unauthorized_links"] += 1
                raise Refusal(UNAUTHORIZED, refusal)

    def _check_access(self, action: Action, path: str = "") -> None:
        """:raise Refusal: the user may not do this."""
        permit = self._connection.permit
        refusal = permit.refusal(action, path) if permit is not None else None
        if refusal is not None:
            self._connection.router.counters["unauthorized_links"] += 1
            raise Refusal(UNAUTHORIZED, refusal)

    def _detached(self, pointer: Any, answer: Any) -> None:
        link = self._connection.links.pop(pointer, None)
        if link is not None:
            self.detach(link)
        session = engine.link_session(pointer)
        if session in self.sessions:
            self.sessions[session].links -= 1
        self._parting().detached += 1
        answer(pointer)
        engine.link_free(pointer)

    def close_link(self, link: IncomingLink | OutgoingLink, condition: str, description: str) -> None:
        """Detach a link that was attached, for a reason; it is freed when the peer has answered."""
        pointer = link.pn
        if pointer is None:
            return
        self._connection.links.pop(pointer, None)
        self.detach(link)
        engine.set_condition(engine.link_condition(pointer), condition, description)
        engine.link_close(pointer)
        self._connection.mark()

    def detach(self, link: IncomingLink | OutgoingLink) -> None:
        """Take a link, which is out of the connection's map already, out of the router."""
        if link.pn is None:
            return
        router = self._connection.router
        if isinstance(link, OutgoingLink):
            router.counters["dropped"] += link.unsent_presettled()
            router.detach_consumer(link)
            if link.session in self.sessions:
                self.sessions[link.session].in_flight_left += link.max_in_flight
        else:
            link.orphan()
            router.detach_producer(link)
        link.pn = None
        self._connection.forget(link)
        name = self._made.pop(link, None)
        if name is not None:
            self._end_temporary(name)

    def _end_temporary(self, name: str) -> None:
        """The link that a temporary address was made for is gone, and the address with it. Producers stay: what they
        send still is RELEASED."""
        router = self._connection.router
        router.temporary.discard(name)
        address = router.addresses.get(name)
        for consumer in list(address.consumers) if address is not None else ():
            assert isinstance(consumer, OutgoingLink)
            consumer.connection.refuse_link(consumer, "amqp:resource-deleted", _gone(name))

    def leave(self) -> None:
        """The connection is lost."""
        self._uncount()
        self.detach_all()

    def detach_all(self) -> None:
        """Take every link out of the router."""
        links = list(self._connection.links.values())
        self._connection.links.clear()
        for link in links:
            self.detach(link)


def _gone(name: str) -> str:
    return f"the temporary address {name} is gone: its link has ended"
