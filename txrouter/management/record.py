"""`record`: a trace of an address, as docs/traces.md has it, in many answers.

Arguments: `address`; `seconds`, after which it ends (a week, if not said), and `messages`, likewise. Each answer has
some lines of the trace, as `trace`; the last one has the last. Who asks gives credit for them: what cannot be sent in
time is dropped and counted. Where nobody is left to take them, or the link that asked is gone, it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from math import inf
from typing import Any, Final

from txrouter.amqp.management import BUSY, CONFLICT, Later, Refused, Request
from txrouter.core.deliveries import Delivery, Malformed
from txrouter.core.links import Address, Consumer
from txrouter.core.router import Router
from txrouter.management.explain import found, name_of

__all__ = ["Record", "Trace"]

VERSION: Final = 1
CONSUMERS: Final = 1_000
"""Consumers that the first line lists."""
RECORDINGS: Final = 4
"""At a time."""
PENDING: Final = 50_000
"""Messages that may be sent and not settled; of more, nothing is written."""
WAITING: Final = 10_000
"""Lines that wait to be sent; what would be more is dropped."""
AT_ONCE: Final = 100
"""Lines in one answer."""
EVERY: Final = 0.05
"""Seconds between answers."""
LOOK_EVERY: Final = 0.5
"""Seconds between looks at whether consumers have left."""
SUBJECT: Final = 256
"""Characters of a subject."""
WEEK: Final = 7 * 86_400.0
_WORK: Final = ("accepted", "rejected", "settled")

Line = dict[str, object]


def _time(seconds: float) -> float:
    return round(seconds, 6)


class Trace:
    """An observer of one address that writes lines, from now on until `end`.

    :param most: how many messages are written.
    """

    def __init__(self, router: Router, address: Address, most: float = inf) -> None:
        self._router = router
        self._address = address
        self._most = most
        self._began = router.now
        self._looked = router.now
        self._pending: dict[Delivery, Line] = {}
        """Messages that are sent and not settled."""
        self._known = dict.fromkeys(islice(address.consumers, CONSUMERS), -inf)
        """The consumers that the trace tells of, and when each last settled something."""
        self._dropped = 0
        self.lines: list[Line] = [self._first_line()]
        """What has been written, and not taken."""
        self.messages = 0
        """How many messages were written."""
        self.dropped = 0
        """How many lines were not."""
        router.observations.begin(address, self)

    def _first_line(self) -> Line:
        address = self._address
        line: Line = {
            "txrouter": "trace",
            "version": VERSION,
            "router": self._router.id,
            "address": address.name,
            "policy": name_of(address),
            "consumers": [_about(each) for each in self._known],
        }
        if len(address.consumers) > CONSUMERS:
            line["more_consumers"] = len(address.consumers) - CONSUMERS
        return line

    @property
    def complete(self) -> bool:
        """Whether as many messages are written as there were to be."""
        return self.messages >= self._most

    def end(self, why: str) -> None:
        """Write no more, but the last lines."""
        self._router.observations.end(self._address, self)
        for line in self._pending.values():
            self._write_message(line)
        self._pending.clear()
        self._say_dropped()
        last: Line = {"end": self._now(), "messages": self.messages, "dropped": self.dropped, "why": why}
        self.lines.append(last)

    def take(self, most: int) -> list[Line]:
        """Some of the lines, the first ones."""
        taken, self.lines = self.lines[:most], self.lines[most:]
        if taken:
            self._say_dropped()
        return taken

    def _now(self) -> float:
        return _time(self._router.now - self._began)

    # -- the observer ------------------------------------------------------------------------------

    def choosing(self, delivery: Delivery) -> None:
        """As Observer has it."""

    def chose(self, delivery: Delivery, consumer: Consumer | None) -> None:
        """As Observer has it."""

    def sent(self, consumer: Consumer, delivery: Delivery) -> None:
        """As Observer has it."""
        if consumer not in self._known:
            self._known[consumer] = -inf
            self._write({"at": self._now(), "attached": _about(consumer)})
        line: Line = {"at": _time(delivery.arrived - self._began), "sent": self._now(), "consumer": consumer.id}
        _add_fields(line, delivery)
        again = self._pending.pop(delivery, None)
        if again is not None:  # it was taken back before anybody saw it
            line["attempt"] = again.get("attempt", 1)
        elif delivery.history is not None:
            line["attempt"] = len(delivery.history.released_by) + 1
        if delivery.presettled:
            self._write_message(line)
        elif len(self._pending) < PENDING:
            self._pending[delivery] = line
        else:
            self._drop()

    def settled(self, consumer: Consumer, delivery: Delivery, outcome: str, seconds: float) -> None:
        """As Observer has it."""
        line = self._pending.pop(delivery, None)
        now, before = self._router.now, self._known.get(consumer, -inf)
        if consumer in self._known:
            self._known[consumer] = now
        if line is None:
            return
        line["settled"], line["outcome"] = self._now(), outcome
        if outcome in _WORK:
            line["cost"] = _time(now - max(delivery.sent_at, before))
        self._write_message(line)

    def look(self) -> None:
        """See whether consumers have left; what they had and did not settle is lost."""
        if self._router.now - self._looked < LOOK_EVERY:
            return
        self._looked = self._router.now
        address = self._address
        left = [each for each in self._known if each.source is not address]
        for consumer in left:
            del self._known[consumer]
            self._write({"at": self._now(), "left": consumer.id})
        if not left:
            return
        for delivery, line in [each for each in self._pending.items() if _is_lost(each[0], address)]:
            del self._pending[delivery]
            line["outcome"] = "lost"
            self._write_message(line)

    # -- writing -----------------------------------------------------------------------------------

    def _write_message(self, line: Line) -> None:
        if not self.complete and self._write(line):
            self.messages += 1

    def _write(self, line: Line) -> bool:
        if len(self.lines) >= WAITING:
            self._drop()
            return False
        self.lines.append(line)
        return True

    def _drop(self) -> None:
        self.dropped += 1
        self._dropped += 1

    def _say_dropped(self) -> None:
        """Say where in the trace something is missing: behind what was written before."""
        if self._dropped:
            self.lines.append({"at": self._now(), "dropped": self._dropped})
            self._dropped = 0


def _about(consumer: Consumer) -> Line:
    return {
        "consumer": consumer.id,
        "credit": consumer.credit,
        "in_flight": consumer.in_flight,
        "capacity": consumer.capacity,
    }


def _add_fields(line: Line, delivery: Delivery) -> None:
    size = delivery.length()
    if size is not None:
        line["size"] = size
    try:
        priority, ttl, subject = delivery.field("priority"), delivery.field("ttl"), delivery.field("subject")
    except Malformed:  # that is between its producer and its consumer
        return
    if isinstance(priority, int):
        line["priority"] = priority
    if isinstance(ttl, int):
        line["ttl"] = ttl / 1000
    if isinstance(subject, str):
        line["subject"] = subject[:SUBJECT]


def _is_lost(delivery: Delivery, address: Address) -> bool:
    consumer = delivery.consumer
    return delivery.shelf is None and (consumer is None or consumer.source is not address)


class Record:
    """The operation."""

    def __init__(self, router: Router, later: Later) -> None:
        self._router = router
        self._later = later
        self._recordings: set[_Recording] = set()

    def __call__(self, request: Request) -> None:
        """:raise Refused: an argument makes no sense, the address is one for copies, or others are recording."""
        if len(self._recordings) >= RECORDINGS:
            raise Refused(BUSY, f"{RECORDINGS} recordings are under way already")
        address = found(self._router, request)
        if address.multicast is not None:
            raise Refused(CONFLICT, f"{name_of(address)} sends copies to all consumers: there is nothing to record")
        seconds = request.number("seconds", WEEK, 0, WEEK)
        most = request.argument("messages")
        trace = Trace(self._router, address, inf if most is None else int(request.number("messages", 0, 1, 1e12)))
        recording = _Recording(self._later, request, trace, self._router.now + seconds, self._router)
        self._recordings.add(recording)
        recording.begin(self._recordings.discard)


class _Recording:
    """A trace on its way to who asked for it."""

    def __init__(self, later: Later, request: Request, trace: Trace, until: float, router: Router) -> None:
        self._later = later
        self._request = request
        self._trace = trace
        self._until = until
        self._router = router
        self._over = False
        self._call: Any = None
        self._gone: Callable[[_Recording], object]

    def begin(self, gone: Callable[[_Recording], object]) -> None:
        """Go on until it is over; then call `gone`."""
        self._gone = gone
        self._request.stop = self._stop
        self._go_on()

    def _go_on(self) -> None:
        self._trace.look()
        why = self._why_over()
        if why:
            self._end(why)
        self._send_more()
        request = self._request
        if self._over and (request.abandoned or (request.room and len(self._trace.lines) <= AT_ONCE)):
            self._answer()
        else:
            self._call = self._later(EVERY, self._go_on)

    def _why_over(self) -> str:
        if self._request.abandoned:
            return "interrupted"
        if self._trace.complete:
            return "messages"
        return "seconds" if self._router.now >= self._until else ""

    def _end(self, why: str) -> None:
        if not self._over:
            self._over = True
            self._trace.end(why)

    def _send_more(self) -> None:
        """Send lines as long as there is room, but the last, which are the answer."""
        trace, request = self._trace, self._request
        while len(trace.lines) > (AT_ONCE if self._over else 0) and request.room:
            request.more({"trace": trace.take(AT_ONCE)})

    def _stop(self) -> None:
        self._call.cancel()
        self._end("stopped")
        self._send_more()
        self._answer()

    def _answer(self) -> None:
        self._request.answer({"trace": self._trace.lines[-AT_ONCE:]})
        self._gone(self)
