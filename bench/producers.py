"""The sending side of the load: saturating, one at a time, at a fixed rate, or one message without end."""

import struct
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, Protocol

from cproton_ffi import ffi, lib

from bench import workers
from bench.shapes import LINKS_PER_SESSION, Huge, Traffic
from bench.wire import Connection, Loop, Pointer, connect
from bench.workers import ACCEPTED, REFUSED, SENT, STOPPED, Counters, Ready, Result

_BURST_BYTES = 1 << 18  # written to proton between two looks at the socket
_CHUNK = 1 << 16
_MAX_UNSENT = 1 << 20

# Bound once: these are called for every message.
_peek: Final[Any] = lib.pn_collector_peek
_pop: Final[Any] = lib.pn_collector_pop
_event_delivery: Final[Any] = lib.pn_event_delivery
_delivery: Final[Any] = lib.pn_delivery
_send: Final[Any] = lib.pn_link_send
_advance: Final[Any] = lib.pn_link_advance
_settle: Final[Any] = lib.pn_delivery_settle
_is_settled: Final[Any] = lib.pn_delivery_settled
_remote_state: Final[Any] = lib.pn_delivery_remote_state
_accepted_state: Final[int] = lib.PN_ACCEPTED

_tag_bytes = ffi.new("char[]", 8)
_tag: Final[Any] = ffi.new("pn_bytes_t *", {"size": 8, "start": _tag_bytes})[0]
_tag_number: Final[Any] = ffi.cast("uint64_t *", _tag_bytes)


class _Link:
    """A producer link and the credit it has left."""

    __slots__ = ("credit", "pointer", "ready")

    def __init__(self, pointer: Pointer) -> None:
        self.pointer = pointer
        self.credit = 0
        self.ready = False  # has credit and stands in line


class ProducerConnection(Connection):
    """A connection that sends whenever it has credit and its socket takes more; its links take turns."""

    def __init__(self, port: int, shape: Traffic, links: range, counters: Counters) -> None:
        super().__init__(connect(port), f"bench-producer-{links.start}")
        self._counters = counters
        head = shape.head
        self._size = len(head) + shape.size
        self._message = ffi.new("char[]", self._size)
        self._message_view = ffi.buffer(self._message)
        self._message_view[: len(head)] = head
        self._stamp_at = len(head)
        self._settled = shape.settled
        self._limit = shape.limit or 1 << 60
        self._burst = max(1, _BURST_BYTES // self._size)
        self._at_once = self._burst if len(links) == 1 else 1
        self._links: dict[Pointer, _Link] = {}
        self._in_line: deque[_Link] = deque()
        self.wanted_links = len(links)
        self.stopped = False
        self.unsettled = 0
        self.sent_at = 0  # monotonic, nanoseconds
        mode = lib.PN_SND_SETTLED if shape.settled else lib.PN_SND_UNSETTLED
        sessions = self.open_sessions(shape.sessions)
        for position, number in enumerate(links):
            pointer = open_sender(
                sessions[position // LINKS_PER_SESSION],
                number,
                shape.address(number),
                mode,
            )
            self.own(pointer)

    def own(self, pointer: Pointer) -> None:
        """Send by this link too."""
        self._links[pointer] = _Link(pointer)

    def credit_changed(self, link: Pointer) -> None:
        """Put the link in line if it may send."""
        ours = self._links[link]
        ours.credit = lib.pn_link_credit(link)
        if ours.credit > 0 and not ours.ready:
            ours.ready = True
            self._in_line.append(ours)

    def drain(self) -> None:
        """Settle what came back. This is the hot loop: everything it uses is local."""
        collector = self.collector
        accepted = refused = 0
        while event := _peek(collector):
            delivery = _event_delivery(event)
            if not delivery:
                self.take_event(event)
            elif _remote_state(delivery) == _accepted_state:
                accepted += 1
                _settle(delivery)
            elif _is_settled(delivery):
                refused += 1
                _settle(delivery)
            _pop(collector)
        if accepted or refused:
            self.unsettled -= accepted + refused
            values = self._counters.values
            values[ACCEPTED] += accepted
            values[REFUSED] += refused

    def work(self) -> None:
        """Write what is there, then send more until the socket is full or credit or the limit is used up."""
        self.flush()
        while not self.blocked and not self.stopped and self.send(self._burst):
            self.flush()

    def send(self, most: int) -> int:
        """Send up to ``most`` messages; returns how many were sent."""
        room = min(most, self._limit - self.unsettled)
        in_line = self._in_line
        if room <= 0 or not in_line:
            return 0
        self.sent_at = time.monotonic_ns()
        struct.pack_into("<q", self._message_view, self._stamp_at, self.sent_at)
        left = room
        while left > 0 and in_line:
            link = in_line.popleft()
            count = min(link.credit, left, self._at_once)
            self._send(link.pointer, count)
            left -= count
            link.credit -= count
            link.ready = link.credit > 0
            if link.ready:
                in_line.append(link)
        sent = room - left
        self._counters.values[SENT] += sent
        if not self._settled:
            self.unsettled += sent
        return sent

    def _send(self, pointer: Pointer, count: int) -> None:
        message, size, settled = self._message, self._size, self._settled
        tag, tag_number = _tag, _tag_number
        number = tag_number[0]
        for _ in range(count):
            number += 1
            tag_number[0] = number
            delivery = _delivery(pointer, tag)
            _send(pointer, message, size)
            _advance(pointer)
            if settled:
                _settle(delivery)

    def send_one(self, pointer: Pointer, message: Any, size: int) -> Pointer:
        """Send a message that is not to be settled yet; returns its delivery."""
        _tag_number[0] += 1
        delivery = _delivery(pointer, _tag)
        _send(pointer, message, size)
        _advance(pointer)
        return delivery


class OneAtATime(ProducerConnection):
    """Sends a message when the one before has its outcome, and keeps how long that took."""

    def __init__(self, port: int, shape: Traffic, links: range, counters: Counters) -> None:
        super().__init__(port, shape, links, counters)
        self.round_trips = array("q")

    def work(self) -> None:
        """Note the time since the last send, if its outcome is there."""
        if not self.unsettled and self.sent_at and self._counters.phase == workers.MEASURE:
            self.round_trips.append(time.monotonic_ns() - self.sent_at)
            self.sent_at = 0
        super().work()


class Paced(ProducerConnection):
    """Sends at a fixed rate. Messages that are late are sent at once: the rate holds on average."""

    def __init__(self, port: int, shape: Traffic, links: range, counters: Counters) -> None:
        super().__init__(port, shape, links, counters)
        self._interval = 1.0 / shape.rate
        self._due = time.monotonic()

    def work(self) -> None:
        """Only write: the clock decides when to send."""
        self.flush()

    def pace(self) -> float:
        """Send what is due; returns the seconds until the next message is."""
        now = time.monotonic()
        if now - self._due > 0.1:  # there was no credit: a burst to catch up would be another test
            self._due = now
        while self._due <= now and not self.blocked and self.send(1):
            self._due += self._interval
        self.flush()
        return self._due - time.monotonic() if self._due > now else 0.0005


class Streamer(Connection):
    """Sends one message piece by piece, never with more than a little unsent."""

    def __init__(self, port: int, size: int, counters: Counters) -> None:
        super().__init__(connect(port), "bench-streamer")
        self._counters = counters
        self._left = size
        self._chunk = ffi.new("char[]", _CHUNK)
        self._head = b"\x00\x53\x75\xb0" + size.to_bytes(4, "big")
        self._session = self.open_sessions(1)[0]
        self._link = open_sender(self._session, 0, b"bench/0", lib.PN_SND_UNSETTLED)
        self._started = False
        self.outcome = 0
        self.wanted_links = 1
        self.may_start = False

    def drain(self) -> None:
        """Look for the outcome."""
        while event := _peek(self.collector):
            delivery = _event_delivery(event)
            if not delivery:
                self.take_event(event)
            elif _is_settled(delivery):
                self.outcome = _remote_state(delivery)
                _settle(delivery)
            _pop(self.collector)

    def work(self) -> None:
        """Send as much as may wait unsent."""
        self.flush()
        if not self._started and self.may_start and lib.pn_link_credit(self._link) > 0:
            self._started = True
            _delivery(self._link, _tag)
            _send(self._link, self._head, len(self._head))
            self._counters.values[SENT] = 1
        while self._started and self._left and not self.blocked:
            if lib.pn_session_outgoing_bytes(self._session) > _MAX_UNSENT:
                return  # the peer's session window is used up
            size = min(_CHUNK, self._left)
            _send(self._link, self._chunk, size)
            self._left -= size
            if not self._left:
                _advance(self._link)
            self.flush()


def open_sender(session: Pointer, number: int, address: bytes | None, mode: int) -> Pointer:
    """Attach a producer link; an anonymous one, if there is no address."""
    link = lib.pn_sender(session, b"producer-%d" % number)
    if address is not None:
        lib.pn_terminus_set_address(lib.pn_link_target(link), address)
    lib.pn_link_set_snd_settle_mode(link, mode)
    lib.pn_link_open(link)
    return link


def spread(links: int, connections: int) -> list[range]:
    """Lay out ``links`` numbers over ``connections`` in order, as evenly as can be."""
    edges = [links * i // connections for i in range(connections + 1)]
    return [range(start, end) for start, end in pairwise(edges)]


def produce(port: int, shape: Traffic) -> workers.Run:
    """The producers' process: runs until the phase is CLOSE, and reports the round trips if it timed any."""

    def run(counters: Counters, ready: Ready) -> Result:
        kind = OneAtATime if shape.one_at_a_time else Paced if shape.rate else ProducerConnection
        loop = Loop()
        connections = [
            kind(port, shape, links, counters) for links in spread(shape.producers, shape.producer_connections)
        ]
        for connection in connections:
            loop.add(connection)
        loop.run_until(
            lambda: all(c.opened_links == c.wanted_links for c in connections),
            60,
            "producers attached",
        )
        ready()
        send_until_closed(loop, connections, counters)
        loop.close()
        timed = [connection.round_trips for connection in connections if isinstance(connection, OneAtATime)]
        return workers.percentiles(timed[0]) if timed else {}

    return run


class _Stoppable(Protocol):
    """A connection that sends until it is stopped."""

    stopped: bool


def send_until_closed(loop: Loop, connections: Sequence[_Stoppable], counters: Counters) -> None:
    """Turn until the phase is CLOSE; from STOP on nothing more is sent."""
    paced = [connection for connection in connections if isinstance(connection, Paced)]
    deadline = workers.lifetime()
    while (phase := counters.phase) < workers.CLOSE and time.monotonic() < deadline:
        if phase == workers.STOP:
            for connection in connections:
                connection.stopped = True
            counters.values[STOPPED] = 1
        seconds = 0.05
        if phase < workers.STOP:
            seconds = min([seconds, *(connection.pace() for connection in paced)])
        loop.turn(seconds)


def stream(port: int, shape: Huge) -> workers.Run:
    """The process that sends one huge message once the phase is MEASURE; reports the seconds until its outcome."""

    def run(counters: Counters, ready: Ready) -> Result:
        loop = Loop()
        connection = Streamer(port, shape.size, counters)
        loop.add(connection)
        loop.run_until(lambda: connection.opened_links == 1, 30, "the producer attached")
        ready()
        loop.run_until(
            _phase_reached(counters, workers.MEASURE),
            60,
            "the start of the measurement",
        )
        connection.may_start = True
        connection.work()
        started = time.monotonic()
        loop.run_until(
            lambda: connection.outcome != 0,
            workers.LIFETIME_SECONDS,
            "an outcome for the message",
        )
        seconds = time.monotonic() - started
        counters.values[ACCEPTED if connection.outcome == lib.PN_ACCEPTED else REFUSED] = 1
        loop.run_until(_phase_reached(counters, workers.CLOSE), 60, "the end of the measurement")
        loop.close()
        return {"seconds": seconds}

    return run


def _phase_reached(counters: Counters, phase: int) -> Callable[[], bool]:
    return lambda: counters.phase >= phase
