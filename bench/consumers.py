"""The receiving side of the load: accepts and settles everything, tops credit up at half its window, times a sample."""

import socket
import struct
import time
from array import array
from functools import partial
from typing import Any, Final

from cproton_ffi import ffi, lib

from bench import workers
from bench.producers import spread
from bench.shapes import LINKS_PER_SESSION, STAMP_SIZE, Huge, Idle, Traffic
from bench.wire import Connection, Loop, Pointer, connect
from bench.workers import DAMAGED, RECEIVED, RECEIVED_BYTES, Counters, Ready, Result

_BUFFER_SIZE = 1 << 18
_ONE_FRAME = 4096  # a message up to this size comes in one frame
_SAMPLE_EVERY = 32  # at saturation; at a fixed rate every message is timed
_WAVE = 32  # connections in the making at one time: fewer than any listen backlog

# Bound once: these are called for every message.
_peek: Final[Any] = lib.pn_collector_peek
_pop: Final[Any] = lib.pn_collector_pop
_event_delivery: Final[Any] = lib.pn_event_delivery
_delivery_link: Final[Any] = lib.pn_delivery_link
_current: Final[Any] = lib.pn_link_current
_receive: Final[Any] = lib.pn_link_recv
_advance: Final[Any] = lib.pn_link_advance
_flow: Final[Any] = lib.pn_link_flow
_update: Final[Any] = lib.pn_delivery_update
_settle: Final[Any] = lib.pn_delivery_settle
_partial: Final[Any] = lib.pn_delivery_partial
_accepted_state: Final[int] = lib.PN_ACCEPTED

_buffer: Final[Any] = ffi.new("char[]", _BUFFER_SIZE)
_buffer_view = ffi.buffer(_buffer)


class _Link:
    """A consumer link: its credit, and how much of its current message has come if that took several reads."""

    __slots__ = ("credit", "pointer", "size", "stamp")

    def __init__(self, pointer: Pointer) -> None:
        self.pointer = pointer
        self.credit = 0
        self.size = 0
        self.stamp = bytes(STAMP_SIZE)


class ConsumerConnection(Connection):
    """A connection whose links take whatever comes."""

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        shape: Traffic,
        counters: Counters,
        *,
        server: bool = False,
    ) -> None:
        super().__init__(sock, name, server=server)
        self._counters = counters
        self._window = shape.credit
        self._settled = shape.settled
        self._stamp_at = len(shape.head)
        self._message_size = len(shape.head) + shape.size
        self._sample_every = 1 if shape.rate else _SAMPLE_EVERY
        self._until_sample = self._sample_every
        self._links: dict[Pointer, _Link] = {}
        self.wanted_links = 0
        self.latencies = array("q")

    def attach(self, shape: Traffic, links: range) -> None:
        """Attach the links of these numbers, as far as possible over all the sessions the shape has."""
        sessions = self.open_sessions(shape.sessions)
        self.wanted_links = len(links)
        for position, number in enumerate(links):
            pointer = open_receiver(
                sessions[position // LINKS_PER_SESSION],
                number,
                shape.address(number),
            )
            # Staggered, so that many links do not all top up in the same turn.
            self._give(pointer, self._window - position % (self._window // 2 or 1))

    def _give(self, pointer: Pointer, credit: int) -> None:
        link = self._links[pointer] = _Link(pointer)
        link.credit = credit
        _flow(pointer, credit)

    def drain(self) -> None:
        """Take what came. This is the hot loop: everything it uses is local."""
        collector, links = self.collector, self._links
        window, half, settled, size = (
            self._window,
            self._window // 2,
            self._settled,
            self._message_size,
        )
        one_frame = size <= _ONE_FRAME
        received = 0
        link = pointer = None
        while event := _peek(collector):
            delivery = _event_delivery(event)
            if not delivery:
                self.take_event(event)
                _pop(collector)
                continue
            if link is None or _current(pointer) != delivery:
                pointer = _delivery_link(delivery)
                if _current(pointer) != delivery:  # a late event for one that is done
                    _pop(collector)
                    continue
                link = links[pointer]
            taken = _receive(pointer, _buffer, _BUFFER_SIZE)
            whole = taken == size and (one_frame or not _partial(delivery))
            if whole or self._complete(link, delivery, taken):
                _advance(pointer)
                if not settled:
                    _update(delivery, _accepted_state)
                _settle(delivery)
                received += 1
                link.credit -= 1
                if link.credit <= half:
                    _flow(pointer, window - link.credit)
                    link.credit = window
                self._until_sample -= 1
                if not self._until_sample:
                    self._sample()
            _pop(collector)
        if received:
            self._counters.values[RECEIVED] += received

    def _complete(self, link: _Link, delivery: Pointer, taken: int) -> bool:
        """Add up a message that comes in pieces; true once it is all there, with its stamp where a whole one has it."""
        stamp = slice(self._stamp_at, self._stamp_at + STAMP_SIZE)
        while taken > 0:
            if not link.size:
                link.stamp = _buffer_view[stamp]
            link.size += taken
            taken = _receive(link.pointer, _buffer, _BUFFER_SIZE)
        if _partial(delivery) and not lib.pn_delivery_aborted(delivery):
            return False
        if link.size != self._message_size:
            self._counters.values[DAMAGED] += 1
        link.size = 0
        _buffer_view[stamp] = link.stamp
        return True

    def _sample(self) -> None:
        self._until_sample = self._sample_every
        if self._counters.phase == workers.MEASURE and len(self.latencies) < workers.MAX_SAMPLES:
            (sent_at,) = struct.unpack_from("<q", _buffer_view, self._stamp_at)
            self.latencies.append(time.monotonic_ns() - sent_at)


class PeerConnection(ConsumerConnection):
    """The consumer as the producer's peer, without a router: it is connected to, and answers what is opened."""

    may_be_closed = True

    def take_event(self, event: Pointer) -> None:
        """Open what the other side opened."""
        kind = lib.pn_event_type(event)
        if kind == lib.PN_CONNECTION_REMOTE_OPEN:
            lib.pn_connection_open(self.connection)
        elif kind == lib.PN_SESSION_REMOTE_OPEN:
            lib.pn_session_open(lib.pn_event_session(event))
        else:
            super().take_event(event)
            if kind == lib.PN_CONNECTION_REMOTE_CLOSE:
                self.closing = True
                lib.pn_connection_close(self.connection)

    def link_opened(self, link: Pointer) -> None:
        """Accept the link and give it credit."""
        super().link_opened(link)
        lib.pn_terminus_copy(lib.pn_link_source(link), lib.pn_link_remote_source(link))
        lib.pn_terminus_copy(lib.pn_link_target(link), lib.pn_link_remote_target(link))
        lib.pn_link_open(link)
        self._give(link, self._window)


class SinkConnection(Connection):
    """Takes one message of any size, a piece at a time, and keeps nothing of it."""

    def __init__(self, port: int, counters: Counters) -> None:
        super().__init__(connect(port), "bench-sink")
        self._counters = counters
        _flow(open_receiver(self.open_sessions(1)[0], 0, b"bench/0"), 1)

    def drain(self) -> None:
        """Count the bytes that came."""
        while event := _peek(self.collector):
            delivery = _event_delivery(event)
            if not delivery:
                self.take_event(event)
            elif _current(pointer := _delivery_link(delivery)) == delivery:
                while (taken := _receive(pointer, _buffer, _BUFFER_SIZE)) > 0:
                    self._counters.values[RECEIVED_BYTES] += taken
                if not _partial(delivery):
                    self._counters.values[RECEIVED] += 1
                    _advance(pointer)
                    _update(delivery, _accepted_state)
                    _settle(delivery)
            _pop(self.collector)


class IdleConnection(Connection):
    """A client that has one consumer link and waits."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(connect(port), f"bench-idle-{number}")
        _flow(open_receiver(self.open_sessions(1)[0], number, b"bench/%d" % number), 1)


def open_receiver(session: Pointer, number: int, address: bytes) -> Pointer:
    """Attach a consumer link."""
    link = lib.pn_receiver(session, b"consumer-%d" % number)
    lib.pn_terminus_set_address(lib.pn_link_source(link), address)
    lib.pn_link_open(link)
    return link


def consume(port: int, shape: Traffic) -> workers.Run:
    """The consumers' process, connected to the router: runs until the phase is END and reports latencies."""

    def run(counters: Counters, ready: Ready) -> Result:
        loop = Loop()
        connections = []
        for links in spread(shape.consumers, shape.consumer_connections):
            connection = ConsumerConnection(connect(port), f"bench-consumer-{links.start}", shape, counters)
            connection.attach(shape, links)
            loop.add(connection)
            connections.append(connection)
        loop.run_until(
            lambda: all(c.opened_links == c.wanted_links for c in connections),
            60,
            "consumers attached",
        )
        ready()
        return _receive_until_end(loop, connections, counters)

    return run


def listen(port: int, shape: Traffic) -> workers.Run:
    """The consumer's process when there is no router: it listens at ``port`` for the one producer."""

    def run(counters: Counters, ready: Ready) -> Result:
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(30)
            ready()
            sock = _accept(listener)
        loop = Loop()
        connection = PeerConnection(sock, "bench-peer", shape, counters, server=True)
        loop.add(connection)
        return _receive_until_end(loop, [connection], counters)

    return run


def sink(port: int, _shape: Huge) -> workers.Run:
    """The process that takes one huge message."""

    def run(counters: Counters, ready: Ready) -> Result:
        loop = Loop()
        connection = SinkConnection(port, counters)
        loop.add(connection)
        loop.run_until(lambda: connection.opened_links == 1, 30, "the consumer attached")
        ready()
        loop.run_until(
            lambda: counters.phase >= workers.END,
            workers.LIFETIME_SECONDS,
            "the end of the measurement",
        )
        loop.close()
        return {}

    return run


def idle(port: int, shape: Idle) -> workers.Run:
    """The idle clients' process: a few first, for what the router makes only once; the rest from MEASURE on."""

    def run(counters: Counters, ready: Ready) -> Result:
        loop = Loop()
        _attach_idle(loop, port, range(_WAVE))
        ready()
        loop.run_until(
            lambda: counters.phase >= workers.MEASURE,
            60,
            "the start of the measurement",
        )
        _attach_idle(loop, port, range(_WAVE, _WAVE + shape.clients))
        ready()
        loop.run_until(
            lambda: counters.phase >= workers.END,
            workers.LIFETIME_SECONDS,
            "the end of the measurement",
        )
        loop.close(30)
        return {}

    return run


def _attach_idle(loop: Loop, port: int, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, _WAVE):
        wave = [IdleConnection(port, number) for number in range(start, min(start + _WAVE, numbers.stop))]
        for connection in wave:
            loop.add(connection)
        loop.run_until(partial(_all_opened, wave), 60, "idle clients attached")


def _all_opened(connections: list[IdleConnection]) -> bool:
    return all(connection.opened_links for connection in connections)


def _receive_until_end(loop: Loop, connections: list[ConsumerConnection], counters: Counters) -> Result:
    deadline = workers.lifetime()
    while counters.phase < workers.END and time.monotonic() < deadline:
        loop.turn(0.05)
    loop.close()
    latencies = array("q")
    for connection in connections:
        latencies.extend(connection.latencies)
    return workers.percentiles(latencies)


def _accept(listener: socket.socket) -> socket.socket:
    """Accept the first connection that says something: the forwarder passes on even the look at whether it is up."""
    while True:
        sock, _ = listener.accept()
        sock.settimeout(10)
        if sock.recv(1, socket.MSG_PEEK):
            return sock
        sock.close()
