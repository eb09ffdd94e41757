"""`txrouter send`: messages as fast as the server gives credit, or as slowly as told, and what became of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import proton

from txrouter.client.client import Client, Sink
from txrouter.client.messages import Bodies, MessageMaker
from txrouter.client.options import SendOptions
from txrouter.client.report import Outcome, Report
from txrouter.client.shown import as_bytes, as_json, read

__all__ = ["Producer"]

HINT_AFTER = 2.0
"""Seconds without credit after which it is said what that means."""
_CHUNK = 65_536
"""Bytes of a message that are given to proton at a time: it moves what it has not written about."""
_MOST_UNWRITTEN = 1 << 20
_REPLY_CREDIT = 100
"""How many requests may wait for a reply at a time."""
_GRACE = 1.0
"""Seconds that what is on its way has to get an outcome, when it is to end sooner."""
_CATCH_UP = 0.1
"""Seconds of what a rate allows that may be made up for, after a wait."""
_TERMINAL = frozenset(
    (proton.Delivery.ACCEPTED, proton.Delivery.REJECTED, proton.Delivery.RELEASED, proton.Delivery.MODIFIED)
)
_ACCEPTED = Outcome("accepted")


class Producer(Client):
    """Sends the bodies it is given to one address.

    :param out: where replies are printed.
    """

    what = "send"

    def __init__(
        self, options: SendOptions, bodies: Bodies, out: Sink, reactor: Any, say: Callable[[str], None]
    ) -> None:
        super().__init__(options, Report("sent", options.address), reactor, say)
        self.options: SendOptions = options
        self.total = options.count
        self._bodies = bodies
        self._maker = MessageMaker(options.fields)
        self._out = out
        self._link: Any = None
        self._replies: Any = None
        self._rest: memoryview | None = None
        """What is left of a long message that is on its way."""
        self._sent_at: dict[str, float] = {}
        """By its tag, when each message was sent that has no outcome yet."""
        self._asked_at: dict[str, float] = {}
        """By its id, when each request was sent that has no reply yet."""
        self._next: bytes | None = None
        """The message that is sent next, if it is made already."""
        self._delivery: Any = None
        self._next_at = 0.0
        """When the next message is due, if there is a rate."""
        self._due: Any = None
        self._hint: Any = None
        self._grace: Any = None
        if options.request:
            self.report.replies = 0

    @property
    def done(self) -> int:
        if self.options.request:
            return self.report.replies or 0
        return self.report.messages - len(self._sent_at)

    @property
    def complete(self) -> bool:
        report = self.report
        accepted = report.presettled + report.outcomes[_ACCEPTED]
        return self._all_sent and accepted == report.messages and not self._asked_at

    @property
    def _all_sent(self) -> bool:
        return self._bodies.over and self._rest is None and self._next is None

    # -- links -------------------------------------------------------------------------------------

    def opened(self) -> None:
        if self.options.request:
            self._replies = self._connection.receiver(None)
        else:
            self._attach()

    def _attach(self) -> None:
        address = None if self.options.anonymous else self.options.address
        self._link = self._connection.sender(address, settled=self.options.settled)

    def attached(self, link: Any) -> None:
        if link == self._replies:
            address = link.remote_source.address
            if address:  # otherwise it is refused, as a detach is about to say
                self._maker.reply_to(address)
                link.flow(_REPLY_CREDIT)
                self._attach()
        else:
            self.watch()
            self._next_at = self._reactor.seconds()
            self._hint = self._reactor.callLater(HINT_AFTER, self._explain)

    def _explain(self) -> None:
        if self._link.credit <= 0 and not self.report.messages and not self._all_sent and not self.stopping:
            self._say(f"waiting: the server gives no credit for {self.options.address} yet; it may have no consumer")

    # -- sending -----------------------------------------------------------------------------------

    def ready(self) -> None:
        """Send what may be sent."""
        link = self._link
        if self.stopping and not self._sent_at:
            self.finish()
        if link is None or self.stopping:
            return
        while self._may_write() and (self._rest is not None or self._begin()):
            self._write_some()
        if link.drain_mode and self._rest is None:
            link.drained()
        if self._all_sent and not self._sent_at and not self._asked_at:
            self._connection.write()
            if not self._connection.unwritten:
                self.finish()

    def _may_write(self) -> bool:
        return not self._connection.full and self._connection.unwritten < _MOST_UNWRITTEN and not self.stopping

    def _begin(self) -> bool:
        """Begin the next message, if there is one, it is due, and there is credit. Whether it was begun."""
        encoded = self._next = self._next or self._encode_next()
        if encoded is None or self._link.credit <= 0 or len(self._asked_at) >= _REPLY_CREDIT or not self._is_due():
            return False
        most = self._link.remote_max_message_size
        if most and len(encoded) > most:
            self.fail(f"the server takes messages of {most:,} bytes at most there; this one has {len(encoded):,}")
            return False
        self._next = None
        self._rest = memoryview(encoded)
        self.report.moved(self._reactor.seconds(), len(encoded))
        number = str(self.report.messages)
        self._delivery = self._link.delivery(number)
        if not self.options.settled:
            self._sent_at[number] = self.report.ended
        if self.options.request:
            self._asked_at[number] = self.report.ended
        return True

    def _encode_next(self) -> bytes | None:
        body = self._bodies.next()
        return None if body is None else self._maker.encode(self.report.messages + 1, body)

    def _is_due(self) -> bool:
        """Whether the rate lets a message go now, which it then counts as gone."""
        rate = self.options.rate
        if rate is None:
            return True
        now = self._reactor.seconds()
        if now < self._next_at:
            if self._due is None or not self._due.active():
                self._due = self._reactor.callLater(self._next_at - now, self.wake)
            return False
        self._next_at = max(self._next_at, now - _CATCH_UP) + 1 / rate
        return True

    def wake(self) -> None:
        """Go on: it is time, or there is input."""
        if self._connection is not None and not self._over:
            self.ready()
            self._connection.write()

    def _write_some(self) -> None:
        rest = self._rest
        assert rest is not None
        link = self._link
        link.stream(rest[:_CHUNK])
        if len(rest) > _CHUNK:
            self._rest = rest[_CHUNK:]
            self._connection.write()
            return
        self._rest = None
        link.advance()
        if self.options.settled:
            self._delivery.settle()
            self.report.presettled += 1
        self.heard()
        if self._connection.unwritten > _CHUNK:
            self._connection.write()

    # -- what came of it ---------------------------------------------------------------------------

    def delivery(self, delivery: Any) -> None:
        if delivery.link.is_receiver:
            self._reply(delivery)
        elif delivery.updated and (delivery.settled or delivery.remote_state in _TERMINAL):
            sent = self._sent_at.pop(delivery.tag, None)
            if sent is not None:
                now = self._reactor.seconds()
                outcome = _outcome(delivery)
                self.report.settled(now, outcome)
                if not self.options.request:
                    self.report.times.add(now - sent)
                elif outcome != _ACCEPTED:
                    self._asked_at.pop(delivery.tag, None)  # nobody is going to reply
                self.heard()
            delivery.settle()

    def _reply(self, delivery: Any) -> None:
        link = self._replies
        if delivery.aborted:
            delivery.settle()
        elif delivery.partial or link.current != delivery:
            return
        else:
            data = link.recv(delivery.pending) or b""
            link.advance()
            self._print(data, settled=delivery.settled)
            delivery.update(proton.Delivery.ACCEPTED)
            delivery.settle()
        link.flow(1)

    def _print(self, data: bytes, *, settled: bool) -> None:
        try:
            reply = read(data)
        except ValueError as error:
            self._say(f"a reply that cannot be read: {error}")
            return
        asked = self._asked_at.pop(str(reply.correlation_id), None)
        if asked is None:
            self._say(f"a reply to nothing that was asked: its correlation-id is {reply.correlation_id!r}")
            return
        assert self.report.replies is not None
        self.report.replies += 1
        self.report.times.add(self._reactor.seconds() - asked)
        self.report.ended = self._reactor.seconds()
        self.heard()
        if self.options.json:
            source = self._replies.remote_source.address
            self._out.write(as_json(reply, address=source, size=len(data), settled=settled).encode())
        else:
            self._out.write(as_bytes(reply, terminal=self._out.terminal))

    # -- endings -----------------------------------------------------------------------------------

    @property
    def excused(self) -> bool:
        waits_for_input = self._next is None and not self._bodies.over
        waits_for_its_time = self._due is not None and self._due.active()
        return (waits_for_input or waits_for_its_time) and not self._sent_at and not self._asked_at

    def _expired(self) -> None:
        if self._link.credit <= 0 and not self._all_sent:
            why = "the server gave no credit (has the address a consumer?)"
        elif self._sent_at:
            why = f"{_have(len(self._sent_at), 'message')} no outcome"
        elif self._asked_at:
            why = f"{_have(len(self._asked_at), 'request')} no reply"
        else:
            why = "the server reads nothing"
        self.fail(f"nothing happened for {self.options.timeout:g} s: {why}")

    def _wind_up(self) -> None:
        if self._sent_at:
            self._grace = self._reactor.callLater(_GRACE, self.finish)
        else:
            self.finish()

    def finish(self) -> None:
        if self._rest is not None:
            self._rest = None
            self._sent_at.pop(self._delivery.tag, None)
            self._delivery.abort()
        super().finish()

    def _cleared(self) -> None:
        for call in (self._due, self._hint, self._grace):
            if call is not None and call.active():
                call.cancel()


def _have(count: int, what: str) -> str:
    return f"1 {what} has" if count == 1 else f"{count:,} {what}s have"


def _outcome(delivery: Any) -> Outcome:
    state, remote = delivery.remote_state, delivery.remote
    if state not in _TERMINAL:
        return Outcome("none")
    name = state.name.lower()
    if name == "rejected" and remote.condition:
        return Outcome(name, remote.condition.name, remote.condition.description)
    if name == "modified":
        return Outcome(name, failed=remote.failed, undeliverable=remote.undeliverable)
    return Outcome(name)
