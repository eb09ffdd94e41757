"""Asking a router about itself: a request to `$management`, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import proton

from txrouter.client.client import Client, Sink
from txrouter.client.explained import table
from txrouter.client.options import AskOptions
from txrouter.client.report import Outcome, Report
from txrouter.client.shown import harmless, read

__all__ = ["Explanation", "Question", "Recording", "Reloading"]

MANAGEMENT = "$management"
CREDIT = 100
"""How many answers may come at a time."""
OK, MORE = 200, 206


class Question(Client):
    """Asks one question, and hears the answers.

    :param out: where they are printed.
    """

    did = ""
    """What it has done, as a report says it."""

    def __init__(self, options: AskOptions, out: Sink, reactor: Any, say: Callable[[str], None]) -> None:
        super().__init__(options, Report(self.did, options.address), reactor, say)
        self.what = options.operation
        self.options: AskOptions = options
        self._out = out
        out.room = self._go_on
        self._answers: Any = None
        self._requests: Any = None
        self._asked = False
        self._answered = False
        self._waiting: Any = None

    @property
    def done(self) -> int:
        return self.report.messages

    @property
    def complete(self) -> bool:
        return self._answered

    @property
    def excused(self) -> bool:
        return self._out.full

    def hear(self, body: dict[str, Any]) -> None:
        """An answer: the last one, or one of several."""
        raise NotImplementedError

    # -- asking ------------------------------------------------------------------------------------

    def opened(self) -> None:
        self._answers = self._connection.receiver(None)

    def attached(self, link: Any) -> None:
        if link == self._answers:
            if link.remote_source.type != proton.Terminus.UNSPECIFIED:
                link.flow(CREDIT)
                self._requests = self._connection.sender(MANAGEMENT)
        elif link.remote_target.type != proton.Terminus.UNSPECIFIED:
            self.watch()

    def detached(self, link: Any, reason: str) -> None:
        if not self.stopping:
            what = "a temporary address" if link == self._answers else MANAGEMENT
            self.fail(f"the server refuses {what}{reason}")

    def ready(self) -> None:
        """Ask, once that may be."""
        requests = self._requests
        if requests is not None and requests.credit > 0 and not self._asked and not self.stopping:
            self._asked = True
            properties: Any = {"operation": self.options.operation, **self.options.arguments}
            request = proton.Message(id=1, reply_to=self._answers.remote_source.address, properties=properties)
            requests.delivery("1")
            requests.stream(request.encode())
            requests.advance()
            if self.options.takes is not None:
                self._waiting = self._reactor.callLater(self.options.takes + self.patience, self._unanswered)
        if self._asked and not self.stopping:
            self._grant()

    def _grant(self) -> None:
        if self._answers.credit * 2 <= CREDIT and not self._out.full:
            self._answers.flow(CREDIT - self._answers.credit)

    def _go_on(self) -> None:
        if self._connection is not None and not self._over:
            self.ready()
            self._connection.write()

    # -- hearing -----------------------------------------------------------------------------------

    def delivery(self, delivery: Any) -> None:
        link = delivery.link
        if link.is_sender:
            if delivery.updated and delivery.settled:
                self._settled(delivery)
        elif delivery.readable and not delivery.partial and link.current == delivery:
            data = link.recv(delivery.pending) or b""
            link.advance()
            delivery.settle()
            self._take(data)

    def _settled(self, delivery: Any) -> None:
        if delivery.remote_state != proton.Delivery.ACCEPTED and not self.stopping:
            condition = delivery.remote.condition
            why = f": {condition.name}: {condition.description}" if condition else ""
            self.fail(f"the server did not take the request{why}")
        delivery.settle()

    def _take(self, data: bytes) -> None:
        if self.stopping:
            return
        try:
            message = read(data)
            properties: Any = message.properties or {}
            status, body = properties.get("statusCode"), json.loads(str(message.body))
        except ValueError as error:
            self.fail(f"an answer that cannot be read: {error}")
            return
        if status not in (OK, MORE):
            self.fail(harmless(str(properties.get("statusDescription"))))
            return
        self.report.ended = self._reactor.seconds()
        self.hear(body)
        if status == OK:
            self._answered = True
            self.finish()

    def _expired(self) -> None:
        self._unanswered()

    def _cleared(self) -> None:
        self._out.room = lambda: None
        if self._waiting is not None and self._waiting.active():
            self._waiting.cancel()


class Explanation(Question):
    """`txrouter explain`."""

    did = "explained"

    def hear(self, body: dict[str, Any]) -> None:
        """Show it."""
        text = json.dumps(body, ensure_ascii=False) if self.options.json else table(body)
        self._out.write(text.encode(errors="replace"))


class Reloading(Question):
    """`txrouter reload`."""

    did = "reloaded"

    def hear(self, body: dict[str, Any]) -> None:
        """Show what is different, or wrong."""
        if self.options.json:
            lines = [json.dumps(body, ensure_ascii=False)]
        else:
            lines = body.get("problems") or [each["text"] for each in body["changes"]]
            left_out = body.get("count", len(lines)) - len(lines)
            lines += [f"and {left_out:,} more"] if left_out else []
            lines = lines or ["nothing is different"]
        self._out.write("\n".join(map(harmless, lines)).encode(errors="replace"))
        if "problems" in body:
            self.fail("the config is wrong; nothing has changed")


class Recording(Question):
    """`txrouter record`."""

    did = "recorded"

    def __init__(self, options: AskOptions, out: Sink, reactor: Any, say: Callable[[str], None]) -> None:
        super().__init__(options, out, reactor, say)
        limit = options.arguments.get("messages")
        self.total = limit if isinstance(limit, int) else None
        self._began: float | None = None
        self._missing = 0

    @property
    def complete(self) -> bool:
        return self._began is not None

    def hear(self, body: dict[str, Any]) -> None:
        """Write down some lines."""
        now = self._reactor.seconds()
        if self._began is None:
            self._began = now
        for line in body["trace"]:
            if "sent" in line:
                self._count(line, now)
            elif "dropped" in line:
                self._missing = line["dropped"] + (0 if "end" in line else self._missing)
            self._write(line)

    def _count(self, line: dict[str, Any], now: float) -> None:
        report = self.report
        report.moved(now, line.get("size", 0))
        if "outcome" in line:
            report.settled(now, Outcome(line["outcome"]))
        if "settled" in line:
            report.times.add(line["settled"] - line["sent"])

    def _write(self, line: dict[str, Any]) -> None:
        self._out.write(json.dumps(line, ensure_ascii=False).encode(errors="replace"))

    def _wind_up(self) -> None:
        """It is not to go on: the last line is said here."""
        if self._began is not None:
            seconds = round(self._reactor.seconds() - self._began, 6)
            last = {"end": seconds, "messages": self.done, "dropped": self._missing, "why": "interrupted"}
            self._write(last)
        self.finish()

    def _cleared(self) -> None:
        super()._cleared()
        if self._missing:
            self._say(f"{self._missing:,} lines are missing: they did not come through in time")
