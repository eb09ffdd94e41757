"""Requests and replies: clients with a temporary address each, and servers that answer there by an anonymous producer.

Every message is written with its properties in the same places, so that neither end has to look for them: of a request
the `reply-to` and the `correlation-id`, of a reply the `to` and the `correlation-id`. The latter is the time at which
the request was sent.
"""

import struct
import time
from array import array
from collections import deque
from typing import Any, Final

from cproton_ffi import ffi, lib

from bench import workers
from bench.consumers import open_receiver
from bench.producers import open_sender, send_until_closed
from bench.shapes import Traffic
from bench.wire import Connection, Loop, Pointer, connect
from bench.workers import ACCEPTED, RECEIVED, REFUSED, REPLIED, SENT, Counters, Ready, Result

_BUFFER_SIZE = 1 << 17
_SAMPLE_EVERY = 32

# Bound once: these are called for every message.
_peek: Final[Any] = lib.pn_collector_peek
_pop: Final[Any] = lib.pn_collector_pop
_event_delivery: Final[Any] = lib.pn_event_delivery
_delivery: Final[Any] = lib.pn_delivery
_delivery_link: Final[Any] = lib.pn_delivery_link
_current: Final[Any] = lib.pn_link_current
_receive: Final[Any] = lib.pn_link_recv
_send: Final[Any] = lib.pn_link_send
_advance: Final[Any] = lib.pn_link_advance
_flow: Final[Any] = lib.pn_link_flow
_update: Final[Any] = lib.pn_delivery_update
_settle: Final[Any] = lib.pn_delivery_settle
_is_settled: Final[Any] = lib.pn_delivery_settled
_partial: Final[Any] = lib.pn_delivery_partial
_remote_state: Final[Any] = lib.pn_delivery_remote_state
_accepted_state: Final[int] = lib.PN_ACCEPTED

_buffer: Final[Any] = ffi.new("char[]", _BUFFER_SIZE)
_buffer_view = ffi.buffer(_buffer)
_tag_bytes = ffi.new("char[]", 8)
_tag: Final[Any] = ffi.new("pn_bytes_t *", {"size": 8, "start": _tag_bytes})[0]
_tag_number: Final[Any] = ffi.cast("uint64_t *", _tag_bytes)

_NULL = b"\x40"
_STAMP = struct.Struct(">Q")  # as an AMQP ulong has it, behind its constructor
_REPLY_TO_AT = 12
"""Where the characters of a request's reply-to begin; their number is in the byte before."""


def _properties(before: int, address: bytes, between: int) -> bytes:
    """A properties section: an address behind so many nulls, and the correlation id behind so many more."""
    fields = _NULL * before + b"\xa1" + bytes((len(address),)) + address + _NULL * between + b"\x80" + bytes(8)
    return b"\x00\x53\x73\xc0" + bytes((1 + len(fields), before + 1 + between + 1)) + fields


def _message(properties: bytes, shape: Traffic) -> tuple[Pointer, memoryview, int, int]:
    """A message that can be sent again and again: itself, a view of it, its size, and where its stamp is."""
    data = properties + shape.head + bytes(shape.size)
    message = ffi.new("char[]", data)
    return message, memoryview(ffi.buffer(message)), len(data), len(properties) - _STAMP.size


class Requester(Connection):
    """A client that always has so many requests unanswered, as far as its credit allows."""

    def __init__(self, port: int, shape: Traffic, number: int, counters: Counters) -> None:
        super().__init__(connect(port), f"bench-requester-{number}")
        self._counters = counters
        self._shape = shape
        self._settled = shape.settled
        session = self.open_sessions(1)[0]
        self._requests = open_sender(session, number, shape.address(number), _mode(shape))
        self._replies = lib.pn_receiver(session, b"replies")
        lib.pn_terminus_set_dynamic(lib.pn_link_source(self._replies), True)
        lib.pn_link_open(self._replies)
        self._window = self._reply_credit = 2 * shape.credit
        _flow(self._replies, self._window)
        self._unanswered = 0
        self._until_sample = _SAMPLE_EVERY
        self._request: tuple[Pointer, memoryview, int, int] | None = None
        self.stopped = False
        self.latencies = array("q")

    def link_opened(self, link: Pointer) -> None:
        """Learn the temporary address."""
        super().link_opened(link)
        if link == self._replies:
            address = ffi.string(lib.pn_terminus_get_address(lib.pn_link_remote_source(link)))
            self._request = _message(_properties(4, address, 0), self._shape)

    def drain(self) -> None:
        """Take outcomes and replies."""
        replies, settled = self._replies, self._settled
        accepted = refused = replied = 0
        while event := _peek(self.collector):
            delivery = _event_delivery(event)
            if not delivery:
                self.take_event(event)
            elif _delivery_link(delivery) == replies:
                if _current(replies) == delivery and not _partial(delivery):
                    size = _receive(replies, _buffer, _BUFFER_SIZE)
                    _advance(replies)
                    if not settled:
                        _update(delivery, _accepted_state)
                    _settle(delivery)
                    replied += 1
                    self._until_sample -= 1
                    if not self._until_sample:
                        self._sample(size)
            elif _remote_state(delivery) == _accepted_state:
                accepted += 1
                _settle(delivery)
            elif _is_settled(delivery):
                refused += 1
                _settle(delivery)
            _pop(self.collector)
        values = self._counters.values
        values[ACCEPTED] += accepted
        values[REFUSED] += refused
        values[REPLIED] += replied
        self._unanswered -= replied
        self._reply_credit -= replied
        if self._reply_credit <= self._window // 2:
            _flow(replies, self._window - self._reply_credit)
            self._reply_credit = self._window

    def _sample(self, size: int) -> None:
        self._until_sample = _SAMPLE_EVERY
        if self._counters.phase == workers.MEASURE and len(self.latencies) < workers.MAX_SAMPLES:
            stamp_at = size - self._shape.size - len(self._shape.head) - _STAMP.size
            self.latencies.append(time.monotonic_ns() - _STAMP.unpack_from(_buffer_view, stamp_at)[0])

    def work(self) -> None:
        """Ask as much as may be asked."""
        self.flush()
        if not self.blocked and not self.stopped and self._request is not None and self._ask(*self._request):
            self.flush()

    def _ask(self, message: Pointer, view: memoryview, size: int, stamp_at: int) -> int:
        requests, settled = self._requests, self._settled
        count = max(0, min(int(lib.pn_link_credit(requests)), self._shape.credit - self._unanswered))
        _STAMP.pack_into(view, stamp_at, time.monotonic_ns())
        for _ in range(count):
            _tag_number[0] += 1
            delivery = _delivery(requests, _tag)
            _send(requests, message, size)
            _advance(requests)
            if settled:
                _settle(delivery)
        self._unanswered += count
        self._counters.values[SENT] += count
        return count


class Server(Connection):
    """A consumer of requests that answers each at once, as far as its credit allows."""

    def __init__(self, port: int, shape: Traffic, number: int, counters: Counters) -> None:
        super().__init__(connect(port), f"bench-server-{number}")
        self._counters = counters
        self._shape = shape
        self._settled = shape.settled
        session = self.open_sessions(1)[0]
        self._requests = open_receiver(session, number, shape.address(number))
        self._credit = shape.credit
        _flow(self._requests, self._credit)
        self._answers = open_sender(session, number, None, _mode(shape))
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        """The reply-to and the correlation id of requests that are not answered yet."""
        self._replies: dict[bytes, tuple[Pointer, memoryview, int, int]] = {}

    def drain(self) -> None:
        """Take requests, and outcomes of replies."""
        requests, settled = self._requests, self._settled
        behind = self._shape.size + len(self._shape.head)
        received = 0
        while event := _peek(self.collector):
            delivery = _event_delivery(event)
            if not delivery:
                self.take_event(event)
            elif _delivery_link(delivery) == requests:
                if _current(requests) == delivery and not _partial(delivery):
                    size = _receive(requests, _buffer, _BUFFER_SIZE)
                    end = _REPLY_TO_AT + _buffer_view[_REPLY_TO_AT - 1][0]
                    stamp = _buffer_view[size - behind - _STAMP.size : size - behind]
                    self._waiting.append((_buffer_view[_REPLY_TO_AT:end], stamp))
                    _advance(requests)
                    if not settled:
                        _update(delivery, _accepted_state)
                    _settle(delivery)
                    received += 1
            elif _is_settled(delivery):
                _settle(delivery)
            _pop(self.collector)
        self._counters.values[RECEIVED] += received
        self._credit -= received
        if self._credit <= self._shape.credit // 2:
            _flow(requests, self._shape.credit - self._credit)
            self._credit = self._shape.credit

    def work(self) -> None:
        """Answer what may be answered."""
        self._answer()
        self.flush()

    def _answer(self) -> None:
        answers, settled = self._answers, self._settled
        for _ in range(min(len(self._waiting), lib.pn_link_credit(answers))):
            address, stamp = self._waiting.popleft()
            reply = self._replies.get(address)
            if reply is None:
                reply = self._replies[address] = _message(_properties(2, address, 2), self._shape)
            message, view, size, stamp_at = reply
            view[stamp_at : stamp_at + _STAMP.size] = stamp
            _tag_number[0] += 1
            delivery = _delivery(answers, _tag)
            _send(answers, message, size)
            _advance(answers)
            if settled:
                _settle(delivery)


def _mode(shape: Traffic) -> int:
    return int(lib.PN_SND_SETTLED if shape.settled else lib.PN_SND_UNSETTLED)


def ask(port: int, shape: Traffic) -> workers.Run:
    """The requesters' process: runs until the phase is CLOSE, and reports how long replies took."""

    def run(counters: Counters, ready: Ready) -> Result:
        loop = Loop()
        connections = [Requester(port, shape, number, counters) for number in range(shape.producers)]
        for connection in connections:
            loop.add(connection)
        loop.run_until(lambda: all(each.opened_links == 2 for each in connections), 60, "requesters attached")
        ready()
        send_until_closed(loop, connections, counters)
        loop.close()
        latencies = array("q")
        for connection in connections:
            latencies.extend(connection.latencies)
        return workers.percentiles(latencies)

    return run


def answer(port: int, shape: Traffic) -> workers.Run:
    """The servers' process: runs until the phase is END."""

    def run(counters: Counters, ready: Ready) -> Result:
        loop = Loop()
        connections = [Server(port, shape, number, counters) for number in range(shape.consumers)]
        for connection in connections:
            loop.add(connection)
        loop.run_until(lambda: all(each.opened_links == 2 for each in connections), 60, "servers attached")
        ready()
        deadline = workers.lifetime()
        while counters.phase < workers.END and time.monotonic() < deadline:
            loop.turn(0.05)
        loop.close()
        return {}

    return run
