"""The low-level AMQP client: connections on proton's C binding, driven by an epoll loop of our own.

The load generator must cost less than the router it loads, so this is as thin as it can be: one push per read, one
drain of the events after it, one write for all that came of it. No SASL: the bare AMQP header is an anonymous client.
Proton's objects are never freed here, because the process that made them ends with the measurement.
"""

import select
import socket
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from cproton_ffi import ffi, lib

Pointer: TypeAlias = Any  # a cdata pointer; the binding has no types

MAX_FRAME = 65536
_BUFFER_SIZE = 1 << 18
_TICK_SECONDS = 1.0

lib.init()
_input = ffi.new("char[]", _BUFFER_SIZE)
_input_view = memoryview(ffi.buffer(_input))
_output = ffi.new("char[]", _BUFFER_SIZE)
_output_view = memoryview(ffi.buffer(_output))

_CLOSINGS = {
    lib.PN_CONNECTION_REMOTE_CLOSE: (
        lib.pn_event_connection,
        lib.pn_connection_remote_condition,
    ),
    lib.PN_SESSION_REMOTE_CLOSE: (
        lib.pn_event_session,
        lib.pn_session_remote_condition,
    ),
    lib.PN_LINK_REMOTE_CLOSE: (lib.pn_event_link, lib.pn_link_remote_condition),
    lib.PN_LINK_REMOTE_DETACH: (lib.pn_event_link, lib.pn_link_remote_condition),
    lib.PN_TRANSPORT_ERROR: (lib.pn_event_transport, lib.pn_transport_condition),
}


class WireError(Exception):
    """The peer closed something it should not have, or did not answer in time."""


class Connection:
    """One AMQP connection over a connected socket. Subclasses own the links and the hot loop, ``drain``."""

    may_be_closed = False  # whether the peer may end the connection first

    def __init__(self, sock: socket.socket, name: str, *, server: bool = False) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.blocked = False  # the socket took less than it was given
        self.closing = False
        self.closed = False
        self.transport: Pointer = lib.pn_transport()
        self.connection: Pointer = lib.pn_connection()
        self.collector: Pointer = lib.pn_collector()
        self.opened_links = 0
        lib.pn_connection_collect(self.connection, self.collector)
        lib.pn_connection_set_container(self.connection, name.encode())
        lib.pn_transport_set_max_frame(self.transport, MAX_FRAME)
        if server:
            lib.pn_transport_set_server(self.transport)
        lib.pn_transport_bind(self.transport, self.connection)
        if not server:
            lib.pn_connection_open(self.connection)

    def open_sessions(self, count: int) -> list[Pointer]:
        """Begin ``count`` sessions; they are usable at once, proton pipelines."""
        sessions = [lib.pn_session(self.connection) for _ in range(count)]
        for session in sessions:
            lib.pn_session_open(session)
        return sessions

    def drain(self) -> None:
        """Take every event proton has. Subclasses with a hot loop override this and pass the rest to ``take_event``."""
        while event := lib.pn_collector_peek(self.collector):
            self.take_event(event)
            lib.pn_collector_pop(self.collector)

    def take_event(self, event: Pointer) -> None:
        """Deal with an event that is not about a delivery.

        Raises WireError when the peer ends the connection, a session or a link that we have not closed.
        """
        kind = lib.pn_event_type(event)
        if kind == lib.PN_LINK_FLOW:
            self.credit_changed(lib.pn_event_link(event))
        elif kind == lib.PN_LINK_REMOTE_OPEN:
            self.link_opened(lib.pn_event_link(event))
        elif kind in _CLOSINGS:
            if not self.closing and not (self.may_be_closed and kind == lib.PN_CONNECTION_REMOTE_CLOSE):
                owner, condition = _CLOSINGS[kind]
                raise WireError(f"the peer closed: {_describe(condition(owner(event)))}")
            self.closed = self.closed or kind == lib.PN_CONNECTION_REMOTE_CLOSE

    def credit_changed(self, link: Pointer) -> None:
        """The peer sent a flow for ``link``."""

    def link_opened(self, link: Pointer) -> None:
        """The peer's attach for ``link`` came."""
        self.opened_links += 1

    def work(self) -> None:
        """Called after every read and whenever the socket may take more."""
        self.flush()

    def read(self) -> None:
        """Read until the socket is empty, draining proton's events on the way."""
        size = _BUFFER_SIZE
        while size == _BUFFER_SIZE:
            try:
                size = self.sock.recv_into(_input_view)
            except BlockingIOError:
                return
            except ConnectionResetError:
                size = 0
            if size == 0:
                self.closed = True
                if not (self.closing or self.may_be_closed):
                    raise WireError("the peer ended the connection without a close")
                return
            self._push(size)

    def _push(self, size: int) -> None:
        done = 0
        while done < size:
            taken = lib.pn_transport_push(self.transport, _input + done, size - done)
            self.drain()
            if taken <= 0:
                if self.closing:
                    return
                raise WireError("proton takes no more input: the peer sent something that is not AMQP")
            done += taken

    def flush(self) -> None:
        """Write what proton has to write, as far as the socket takes it."""
        if self.blocked:
            return
        transport = self.transport
        while (size := lib.pn_transport_peek(transport, _output, _BUFFER_SIZE)) > 0:
            try:
                taken = self.sock.send(_output_view[:size])
            except BlockingIOError:
                taken = 0
            except (BrokenPipeError, ConnectionResetError):
                self.closed = True
                if not self.closing:
                    raise WireError("the peer reset the connection") from None
                return
            lib.pn_transport_pop(transport, taken)
            if taken < size:
                self.blocked = True
                break
        self._drain_written()

    def _drain_written(self) -> None:
        """Take the events that writing made. One for each message says flow, but only a read brings credit."""
        collector = self.collector
        while event := lib.pn_collector_peek(collector):
            if lib.pn_event_type(event) != lib.PN_LINK_FLOW:
                self.take_event(event)
            lib.pn_collector_pop(collector)

    def tick(self, now: float) -> None:
        """Let proton send what keeps the peer's idle time-out from firing."""
        lib.pn_transport_tick(self.transport, int(now * 1000))
        self.flush()

    def close(self) -> None:
        """Send a close."""
        self.closing = True
        lib.pn_connection_close(self.connection)
        self.flush()


class Loop:
    """An edge-triggered epoll loop over connections."""

    def __init__(self) -> None:
        self.connections: dict[int, Connection] = {}
        self._epoll = select.epoll()
        self._next_tick = time.monotonic() + _TICK_SECONDS

    def add(self, connection: Connection) -> None:
        """Watch ``connection`` and write what it has to say so far."""
        descriptor = connection.sock.fileno()
        self.connections[descriptor] = connection
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        connection.flush()

    def turn(self, seconds: float) -> None:
        """Wait at most ``seconds`` for something to do, and do it."""
        if seconds < 0.02:  # epoll's own waits are whole milliseconds
            select.select([self._epoll], [], [], max(0.0, seconds))
            seconds = 0.0
        for descriptor, mask in self._epoll.poll(seconds):
            connection = self.connections[descriptor]
            if connection.closed:
                continue
            if mask & select.EPOLLOUT:
                connection.blocked = False
            if mask & ~select.EPOLLOUT:
                connection.read()
            connection.work()
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + _TICK_SECONDS
            for connection in self.connections.values():
                connection.tick(now)

    def run_until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        """Turn until ``done()``. Raises WireError naming ``what`` was awaited when it takes longer than ``seconds``."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise WireError(f"not within {seconds:.0f} s: {what}")
            self.turn(0.05)

    def close(self, seconds: float = 10.0) -> None:
        """Close every connection and wait for the peers' closes. Raises WireError if they do not come in time."""
        for connection in self.connections.values():
            connection.close()
        self.run_until(
            lambda: all(c.closed for c in self.connections.values()),
            seconds,
            "closes answered",
        )


def connect(port: int) -> socket.socket:
    """Connect to ``port`` on loopback."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _describe(condition: Pointer) -> str:
    if not lib.pn_condition_is_set(condition):
        return "no error given"
    parts = (
        lib.pn_condition_get_name(condition),
        lib.pn_condition_get_description(condition),
    )
    return ": ".join(ffi.string(part).decode(errors="replace") for part in parts if part)
