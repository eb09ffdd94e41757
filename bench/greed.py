"""One client that takes all it can get: what it does beside the modest ones, each kind in a process of its own."""

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from cproton_ffi import ffi, lib

from bench import workers
from bench.consumers import ConsumerConnection, SinkConnection
from bench.producers import ProducerConnection, Streamer, open_sender, spread
from bench.shapes import Traffic
from bench.wire import Connection, Loop, Pointer, connect
from bench.workers import SENT, Counters, Ready, Result

_CREDIT: Final = 1_000  # more than the router passes on
_MANY: Final = 100
_LINKS_AT_ONCE: Final = 64
_CONNECTS_AT_ONCE: Final = 32
_BLOCK_FRAMES: Final = 1_000

Greed = Callable[[int, Counters], Sequence[Connection]]


def be_greedy(port: int, greed: str) -> workers.Run:
    """The greedy client's process: does it until the phase is CLOSE."""

    def run(counters: Counters, ready: Ready) -> Result:
        os.nice(19)  # its own CPU is not what is measured
        if greed == "connects":
            ready()
            _connect_and_go(port, counters)
            return {}
        loop = Loop()
        for connection in _GREEDS[greed](port, counters):
            loop.add(connection)
        ready()
        while counters.phase < workers.CLOSE:
            loop.turn(0.02)
        return {}

    return run


# -- messages --------------------------------------------------------------------------------------


def _send(port: int, counters: Counters, **traffic: int | bool) -> list[Connection]:
    shape = Traffic("greedy", "", credit=_CREDIT, place=b"greedy", **traffic)  # type: ignore[arg-type]
    return [*_consumers(port, shape, counters), ProducerConnection(port, shape, range(shape.producers), counters)]


def _consumers(port: int, shape: Traffic, counters: Counters) -> list[Connection]:
    connections: list[Connection] = []
    for links in spread(shape.consumers, shape.consumer_connections):
        connection = ConsumerConnection(connect(port), f"bench-greedy-{links.start}", shape, counters)
        connection.attach(shape, links)
        connections.append(connection)
    return connections


def _stream(port: int, counters: Counters) -> list[Connection]:
    streamer = Streamer(port, (1 << 32) - 1, counters)
    streamer.may_start = True
    return [SinkConnection(port, counters), streamer]


class _Anonymous(ProducerConnection):
    """A producer whose messages say where they go: to each address in turn."""

    def __init__(self, port: int, shape: Traffic, counters: Counters) -> None:
        super().__init__(port, shape, range(0), counters)
        self._texts = [_message_to(shape.address(number), shape) for number in range(shape.addresses)]
        pointer = open_sender(self.open_sessions(1)[0], 0, None, lib.PN_SND_UNSETTLED)
        self.own(pointer)
        self._next = 0

    def _send(self, pointer: Pointer, count: int) -> None:
        for _ in range(count):
            text = self._texts[self._next]
            self._next = (self._next + 1) % len(self._texts)
            self.send_one(pointer, text, len(text))


def _message_to(address: bytes, shape: Traffic) -> bytes:
    to = b"\x40\x40\xa1" + bytes((len(address),)) + address
    properties = b"\x00\x53\x73\xc0" + bytes((1 + len(to), 3)) + to
    return properties + shape.head + bytes(shape.size)


def _anonymous(port: int, counters: Counters) -> list[Connection]:
    shape = Traffic("greedy", "", consumers=_MANY, addresses=_MANY, credit=_CREDIT, place=b"greedy")
    return [*_consumers(port, shape, counters), _Anonymous(port, shape, counters)]


# -- links and connections -------------------------------------------------------------------------


class _Attaching(Connection):
    """Attaches links, and detaches each as soon as it is attached."""

    may_be_closed = True

    def __init__(self, port: int, counters: Counters) -> None:
        super().__init__(connect(port), "bench-greedy")
        self._counters = counters
        self._session = self.open_sessions(1)[0]
        self._number = 0
        for _ in range(_LINKS_AT_ONCE):
            self._attach()

    def _attach(self) -> None:
        self._number += 1
        open_sender(self._session, self._number, b"greedy/%d" % (self._number % _MANY), lib.PN_SND_UNSETTLED)
        self._counters.values[SENT] += 1

    def take_event(self, event: Pointer) -> None:
        """A link that is attached is detached, and one that is detached makes room for another."""
        kind = lib.pn_event_type(event)
        if kind == lib.PN_LINK_REMOTE_OPEN:
            lib.pn_link_close(lib.pn_event_link(event))
        elif kind == lib.PN_LINK_REMOTE_CLOSE:
            lib.pn_link_free(lib.pn_event_link(event))
            self._attach()


def _connect_and_go(port: int, counters: Counters) -> None:
    """Connect, say all that it takes to attach a producer, and leave at the first answer."""
    hello = _hello(port)
    pending: deque[socket.socket] = deque()
    while counters.phase < workers.CLOSE:
        sock = connect(port)
        sock.sendall(hello)
        pending.append(sock)
        counters.values[SENT] += 1
        if len(pending) == _CONNECTS_AT_ONCE:
            oldest = pending.popleft()
            oldest.recv(1 << 16)
            oldest.close()


def _hello(port: int) -> bytes:
    with connect(port) as sock:
        connection = Connection(sock, "bench-greedy")
        open_sender(connection.open_sessions(1)[0], 0, b"greedy/0", lib.PN_SND_UNSETTLED)
        output = ffi.new("char[]", 4096)
        return bytes(ffi.buffer(output, lib.pn_transport_peek(connection.transport, output, 4096)))


# -- frames ----------------------------------------------------------------------------------------


class _Flooding(ConsumerConnection):
    """Two consumers that say the same frames over and over, once there is a message, which they never settle."""

    def __init__(self, port: int, counters: Counters, block: bytes) -> None:
        shape = Traffic("greedy", "", credit=2, addresses=2, place=b"greedy")
        super().__init__(connect(port), "bench-greedy", shape, counters)
        self.attach(shape, range(2))
        self._block = memoryview(block)
        self._position = 0
        self._has_message = False

    def drain(self) -> None:
        """Look for the message, and for the end."""
        while event := lib.pn_collector_peek(self.collector):
            if lib.pn_event_delivery(event):
                self._has_message = True
            else:
                self.take_event(event)
            lib.pn_collector_pop(self.collector)

    def flush(self) -> None:
        """Write what proton has to say; from the message on, the frames instead."""
        if not self._has_message:
            super().flush()
            return
        block = self._block
        while True:
            try:
                taken = self.sock.send(block[self._position :])
            except BlockingIOError:
                return
            self._position = (self._position + taken) % len(block)
            self._counters.values[SENT] += taken * _BLOCK_FRAMES // len(block)


def _flood(port: int, counters: Counters, frames: Sequence[bytes]) -> list[Connection]:
    shape = Traffic("greedy", "", limit=2, place=b"greedy")
    block = b"".join(frames) * (_BLOCK_FRAMES // len(frames))
    return [_Flooding(port, counters, block), ProducerConnection(port, shape, range(1), counters)]


def _frame(code: int, fields: Sequence[bytes]) -> bytes:
    body = b"".join(fields)
    performative = b"\x00\x53" + bytes((code, 0xC0, len(body) + 1, len(fields))) + body
    return (8 + len(performative)).to_bytes(4, "big") + b"\x02\x00\x00\x00" + performative


def _uint(number: int) -> bytes:
    return b"\x70" + number.to_bytes(4, "big")


_TRUE, _FALSE, _NULL = b"\x41", b"\x42", b"\x40"


def _flow(handle: int, echo: bool) -> bytes:
    windows = [_uint(2), _uint(2048), _uint(0), _uint(2048)]
    return _frame(0x13, [*windows, _uint(handle), _uint(2), _uint(2), _uint(0), _FALSE, _TRUE if echo else _FALSE])


def _disposition(first: int, last: int) -> bytes:
    received = b"\x00\x53\x23\xc0\x03\x02\x43\x44"
    return _frame(0x15, [_TRUE, _uint(first), _uint(last), _FALSE, received])


_GREEDS: dict[str, Greed] = {
    "small": _send,
    "64KiB": partial(_send, size=1 << 16),
    "stream": _stream,
    "settled": partial(_send, settled=True),
    "producers": partial(_send, producers=_MANY),
    "addresses": partial(_send, producers=_MANY, consumers=_MANY, addresses=_MANY),
    "anonymous": _anonymous,
    "attaches": lambda port, counters: [_Attaching(port, counters)],
    "flows": partial(_flood, frames=(_flow(0, False), _flow(1, False))),
    "echoes": partial(_flood, frames=(_flow(0, True), _flow(1, True))),
    "dispositions": partial(_flood, frames=(_disposition(0, 0), _disposition(1, 1))),
    "ranges": partial(_flood, frames=(_disposition(0, 1),)),
}
